"""What decoders warn of, reported once for each file, with the file's name.

Pillow warns through Python (`named`). The C libraries inside Pillow and OpenCV, libtiff and libpng, write to
the process's standard error without a name (`libraries_named`).
"""

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from render.wording import plain

log = logging.getLogger(__name__)

PILLOW = "PIL"  # as the root of its loggers and of its modules


# A photograph is read once for each style; whoever has more than this many bad ones sees some again.
@lru_cache(maxsize=10_000)
def warn_once(path: Path, text: str) -> None:
    """A warning in the log. Both arguments come from outside and are made fit to be printed."""
    log.warning("%s: %s", plain(path), plain(text))


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Report the warnings that this thread's decoders give in the body, when it ends. When the body raises,
    they are dropped: the error says what is wrong."""
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


def _hear(text: str) -> bool:
    """False where this thread reads no picture, and the text is somebody else's."""
    heard = getattr(_here, "heard", None)
    if heard is not None:
        heard.append(" ".join(text.split()).rstrip("."))
    return heard is not None


# --- Pillow -------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_users = 0
_outside = warnings.catch_warnings()


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """The process's hooks for warnings are ours while any thread decodes; the last one to finish restores
    them."""
    global _users, _outside
    with _lock:
        if _users == 0:
            _outside = warnings.catch_warnings()
            _outside.__enter__()
            # "always", or only the first of two pictures with the same fault would be reported.
            warnings.filterwarnings("always", module=PILLOW)
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


class _Ear(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _hear(record.getMessage())


_ear = _Ear(logging.WARNING)

# --- C libraries --------------------------------------------------------------------------------------------

STANDARD_ERROR = 2
MOST_LINES = 5  # of one picture's; a damaged TIFF can bring one for each of its strips
MOST_BYTES = 4000

_capture_lock = threading.Lock()
_saved: int | None = None  # a duplicate of standard error, while it is captured


@contextlib.contextmanager
def libraries_named() -> Iterator[None]:
    """What is written to file descriptor 2 in the body counts as this thread's decoder's, for `named`.

    For the call that decodes, and no more. Meanwhile Python's own sys.stderr leads where it did before, for
    all threads. What other C code writes in these milliseconds is reported as this picture's.
    """
    with _capture_lock, contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            _begin(file.fileno())
        except OSError:  # no standard error, no room for the file, or no descriptor free: nothing is captured
            yield
            return
        try:
            yield
        finally:
            _end()
            file.seek(0)
            _hear_lines(file.read(MOST_BYTES).decode("utf-8", "replace"))


def _begin(descriptor: int) -> None:
    global _saved
    for stream in (sys.stderr, sys.__stderr__):
        _move(stream)
    _saved = os.dup(STANDARD_ERROR)
    os.dup2(descriptor, STANDARD_ERROR, inheritable=True)


def _end() -> None:
    global _saved
    if _saved is not None:
        os.dup2(_saved, STANDARD_ERROR, inheritable=True)
        os.close(_saved)
        _saved = None


def _move(stream) -> None:
    """A stream that writes to descriptor 2 writes to a duplicate of it from now on, for good.

    In place, because log handlers and other threads hold the stream itself: FileIO may be initialized again.
    Streams that lead elsewhere (a test's, a notebook's) stay.
    """
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # unbuffered (python -u), the buffer is the file
    if isinstance(raw, io.FileIO) and not raw.closed and raw.fileno() == STANDARD_ERROR and not raw.closefd:
        raw.__init__(os.dup(STANDARD_ERROR), "wb", closefd=False)


def _hear_lines(text: str) -> None:
    lines = list(dict.fromkeys(line for line in text.splitlines() if line.strip()))
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = ["and more of the same kind"]
    for line in lines:
        if not _hear(line):  # outside `named`
            log.warning("%s", plain(line))


def _begin_again_in_child() -> None:
    """A process forked while another thread captures has its own standard error, and no lock that is held
    forever."""
    global _capture_lock
    _end()
    _capture_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again_in_child)
