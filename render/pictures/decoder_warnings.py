"""What a decoder warns of, said once for each file, with the file's name."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from render.wording import plain

log = logging.getLogger(__name__)

PILLOW = "PIL"  # as the root of its loggers and of its modules


@lru_cache(
    maxsize=10_000
)  # a photograph is read once for each style; who has more bad ones hears of some again
def warn_once(path: Path, text: str) -> None:
    """For the log: both come from outside."""
    log.warning("%s: %s", plain(path), plain(text))


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Warnings of Pillow's in the body, from this thread, are told at its end. When the body fails they are
    dropped: the error tells."""
    heard: list[str] = []
    before, _here.heard = getattr(_here, "heard", None), heard
    try:
        with _listening():
            yield
    finally:
        _here.heard = before
    for text in dict.fromkeys(heard):
        warn_once(path, f"{text}. The picture is used as it was read; look at it, or export it again.")


_here = threading.local()  # heard: texts, while this thread reads a picture
_lock = threading.Lock()
_users = 0
_outside = warnings.catch_warnings()


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """The process's hooks for warnings are ours while any thread of ours decodes; the last one out puts them
    back."""
    global _users, _outside
    with _lock:
        if _users == 0:
            _outside = warnings.catch_warnings()
            _outside.__enter__()
            warnings.filterwarnings(
                "always", module=PILLOW
            )  # or the second picture with a fault would pass for whole
            warnings.showwarning = _hearing(warnings.showwarning)
            logging.getLogger(PILLOW).addHandler(_ear)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                logging.getLogger(PILLOW).removeHandler(_ear)
                _outside.__exit__(None, None, None)


def _hearing(elsewhere):
    def show(message, category, filename, *where, **more):
        if not issubclass(category, DeprecationWarning) and _hear(str(message)):
            return
        elsewhere(message, category, filename, *where, **more)

    return show


def _hear(text: str) -> bool:
    heard = getattr(_here, "heard", None)
    if heard is not None:
        heard.append(" ".join(text.split()).rstrip("."))
    return heard is not None


class _Ear(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _hear(record.getMessage())


_ear = _Ear(logging.WARNING)
