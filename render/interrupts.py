"""Ctrl-C and a scheduler's SIGTERM: one interrupt, however often they come.

The first one raises KeyboardInterrupt. Those that follow are ignored while the program winds down: they would cut off
what keeps its work, ends its processes and tells how it went. A person who asks at least PATIENCE times, and still after
IMPATIENT_AFTER_S, ends it at once.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

INTERRUPTED = 130  # exit status
PATIENCE = 3
IMPATIENT_AFTER_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """Of this process. last_words: called before the program is ended at once."""

    def __init__(self):
        self.installed = False
        self.count = 0
        self.first_s = 0.0
        self.held = 0
        self.waiting = False  # an interrupt, for the end of `held`
        self.last_words: Callable[[], None] | None = None


_state = _State()


def install() -> dict:
    """For the rest of this process. The handlers that were there before, by signal."""
    global _state
    _state = _State()
    _state.installed = True
    # A shell's background jobs ignore Ctrl-C, and that stays so.
    return {each: signal.signal(each, _handle) for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN}


@contextmanager
def as_one() -> Iterator[None]:
    """Signals are handled so meanwhile. Does nothing when they already are, or outside the main thread, which gets none."""
    if _state.installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = install()
    try:
        yield
    finally:
        _state.installed = False
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def held() -> Iterator[None]:
    """An interrupt that comes meanwhile is raised afterwards."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
    if _state.waiting and not _state.held:
        _state.waiting = False
        raise KeyboardInterrupt


def hold() -> None:
    """From now on no interrupt is raised: the work is over and what is left takes a moment."""
    _state.held += 1


def before_an_end_at_once(last_words: Callable[[], None] | None) -> None:
    _state.last_words = last_words


def ignore() -> None:
    """For the last moments of a process, whose exit status is settled."""
    if threading.current_thread() is threading.main_thread():
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)


def _handle(signum, frame) -> None:
    _state.count += 1
    if _state.count == 1:
        _state.first_s = time.monotonic()
        if _state.held:
            _state.waiting = True
            return
        raise KeyboardInterrupt
    if _state.count >= PATIENCE and time.monotonic() - _state.first_s >= IMPATIENT_AFTER_S:
        _end_at_once()


def _end_at_once() -> None:
    ignore()
    for child in multiprocessing.active_children():
        child.kill()
    if _state.last_words is not None:
        with suppress(Exception):
            _state.last_words()
    os._exit(INTERRUPTED)
