"""Standard output and standard error that may fail, on a full disk or because their reader has gone,
without ending the work that they tell of."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Lost(Exception):
    """A stream can no longer be written, and the command does nothing but write to it."""


class Guarded:
    """A text stream whose first failed write is remembered; from then on it leads nowhere."""

    def __init__(self, stream, name: str):
        self._stream, self._name = stream, name
        self.failure: OSError | None = None
        self.needed = False  # raise Lost instead of going on without it

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def writelines(self, lines) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    @property
    def told(self) -> str:
        why = self.failure.strerror or self.failure
        return f"{self._name} could not be written ({why}), so what was told there is incomplete"

    def _attempt(self, action) -> None:
        if self.failure is None:
            try:
                action()
            except OSError as error:
                self.failure = error
                self._lead_nowhere()
        if self.failure is not None and self.needed:
            raise Lost

    def _lead_nowhere(self) -> None:
        """Or what is still in its buffer would fail once more when the program ends."""
        with suppress(OSError, ValueError, AttributeError):  # not a file: a test's
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()


@contextmanager
def guarded() -> Iterator[None]:
    """sys.stdout and sys.stderr are `Guarded` meanwhile."""
    _occupy()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _guard(sys.stdout, "standard output"), _guard(sys.stderr, "standard error")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def need() -> None:
    """From now on a command ends when its standard output is lost: it makes nothing else."""
    if isinstance(sys.stdout, Guarded):
        sys.stdout.needed = True


def lost() -> list[Guarded]:
    guards = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, Guarded)]
    return [guard for guard in guards if guard.failure is not None]


def verdict(status: int, *, as_json: bool = False) -> int:
    """The exit status at the end of a command that would end with this one.

    A stream that was lost is told by the other one, and is no success. as_json: standard output holds one
    JSON object per line.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(Lost):
            stream.flush()
    gone = lost()
    if sys.stdout in gone and not _has_seen_enough(sys.stdout):
        print(f"render: {sys.stdout.told}", file=sys.stderr)
    elif sys.stderr in gone:
        with suppress(Lost):
            text = sys.stderr.told
            print(json.dumps({"event": "lost", "text": text}) if as_json else f"render: {text}", flush=True)
    return status or (1 if gone else 0)


def _has_seen_enough(stream: Guarded) -> bool:
    """`render presets list | head`"""
    return stream.needed and isinstance(stream.failure, BrokenPipeError)


def _guard(stream, name: str):
    if stream is None:  # closed before the program began: print() would take the other one
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, Guarded):
        return stream
    with suppress(AttributeError, ValueError):
        stream.reconfigure(errors="backslashreplace")  # a name that a terminal cannot show stops nothing
    return Guarded(stream, name)


def _occupy() -> None:
    """Numbers 0 to 2 where they are closed: or a print, being the next file opened, would be some library's
    standard error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
