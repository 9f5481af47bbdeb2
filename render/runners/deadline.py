"""The time after which a batch starts no more tasks: a time of day or a duration, as people type it."""

import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from render.errors import UsageError

_UNITS_S = {"h": 3600, "min": 60, "m": 60, "s": 1}

_LONGEST_S = 366 * 24 * 3600


@dataclass(frozen=True)
class Deadline:
    """A moment by the clock on the wall, so that it also passes while a laptop sleeps."""

    time_s: float
    """Unix time."""

    def __call__(self) -> bool:
        """Whether it has passed."""
        return time.time() >= self.time_s

    def __str__(self) -> str:
        return datetime.fromtimestamp(self.time_s).strftime("%a %H:%M")


def parse_deadline(text: str, now: datetime | None = None) -> Deadline:
    """ "07:00" is the next time that a clock here shows it; "8h", "90min", "1.5h", "8h30m" count from now.

    now: local time without a zone. Raises UsageError for a text that is neither.
    """
    now = now or datetime.now()
    if clock := re.fullmatch(r"(\d{1,2}):(\d\d)", text.strip()):
        return Deadline(_next(now, int(clock[1]), int(clock[2]), text).timestamp())
    parts = re.findall(r"(\d+(?:\.\d+)?) ?(h|min|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise _refused(text, "is neither a time of day nor a duration")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not 0 < seconds <= _LONGEST_S:
        raise _refused(text, "must be more than 0 and at most a year")
    return Deadline(now.timestamp() + seconds)  # not now + seconds: a night may have an hour more or less


def _next(now: datetime, hour: int, minute: int, text: str) -> datetime:
    try:
        today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except ValueError:
        raise _refused(text, "is no time of day (00:00 to 23:59)") from None
    return today if today > now else today + timedelta(days=1)  # in local time: also where a day has 23 hours


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"--stop-at {text}: {why}. Write it like 07:00 (the next one) or 8h, 90min, 1h30m.")
