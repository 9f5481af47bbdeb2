"""Ctrl-C and a scheduler's SIGTERM: one interrupt, however often they come.

The first one raises KeyboardInterrupt. Those that follow are ignored while the program winds down: they
would cut off what keeps its work, ends its processes and tells how it went. A person who asks at least
PATIENCE times, and still after IMPATIENT_AFTER_S, ends it at once.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

INTERRUPTED = 130  # exit status
PATIENCE = 3
IMPATIENT_AFTER_S = 5.0
AGAIN_AFTER_S = 0.02
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
    unblock()
    sys.unraisablehook = _not_raised
    # A shell's background jobs ignore Ctrl-C, and that stays so.
    heard = [each for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
    return {each: signal.signal(each, _handle) for each in heard}


@contextmanager
def as_one() -> Iterator[None]:
    """Signals are handled so meanwhile. Does nothing when they already are, or in a thread that gets none."""
    if _state.installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    hook, before = sys.unraisablehook, install()
    try:
        yield
    finally:
        _state.installed = False
        sys.unraisablehook = hook
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


@contextmanager
def blocked() -> Iterator[None]:
    """Interrupts wait meanwhile, and if this process becomes another program, until that one is ready for
    them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    """What `blocked` of the process that started this one, or was this one, has left behind."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def hold() -> None:
    """From now on no interrupt is raised: the work is over and what is left takes a moment."""
    _state.held += 1


def before_an_end_at_once(last_words: Callable[[], None] | None) -> None:
    _state.last_words = last_words


def ignore() -> None:
    """For the last moments of a process, whose exit status is settled."""
    # An interrupt within any exec() of source text (a dataclass being made) leaves Python determined to die
    # by SIGINT, although the interrupt was caught. The next exec() makes it forget that.
    exec("")
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


def _not_raised(unraisable) -> None:
    """An interrupt that met Python in a callback of its own (of the import system, of a weak reference) is
    lost there: it comes once more, a moment later."""
    if unraisable.exc_type is not KeyboardInterrupt:
        return sys.__unraisablehook__(unraisable)
    _state.count = 0
    threading.Timer(AGAIN_AFTER_S, _interrupt_main).start()


def _interrupt_main() -> None:
    """From another thread, also where the main thread sleeps."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)


def _end_at_once() -> None:
    ignore()
    if "multiprocessing" in sys.modules:  # this module is imported first of all and must be quick
        for child in sys.modules["multiprocessing"].active_children():
            child.kill()
    if _state.last_words is not None:
        with suppress(Exception):
            _state.last_words()
    os._exit(INTERRUPTED)
