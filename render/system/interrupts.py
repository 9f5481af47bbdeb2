"""Ctrl-C and a scheduler's SIGTERM: one interrupt, however many signals arrive.

The first signal raises KeyboardInterrupt. Those that follow are ignored while the program winds down: they
would cut off the code that saves its work, ends its processes and prints the summary. The program ends at
once only when PATIENCE signals or more have come and the last one IMPATIENT_AFTER_S after the first.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

INTERRUPTED = 130  # exit status: 128 + SIGINT, the convention of shells
PATIENCE = 3  # signals, see above
IMPATIENT_AFTER_S = 5.0
AGAIN_AFTER_S = 0.02  # until an interrupt that Python lost is sent again
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """What this process knows of its interrupts."""

    def __init__(self):
        self.installed = False
        self.count = 0  # signals received
        self.first_s = 0.0  # when the first came, by time.monotonic()
        self.held = 0  # how many `held` contexts are open
        self.waiting = False  # an interrupt came meanwhile, and is raised when they end
        self.last_words: Callable[[], None] | None = None  # called before the program is ended at once


_state = _State()


def install() -> dict:
    """Handle interrupts for the rest of this process. Returns the previous handlers: {signal: handler}."""
    global _state
    _state = _State()
    _state.installed = True
    unblock()
    sys.unraisablehook = _not_raised
    # A shell starts background jobs with Ctrl-C ignored, and it must stay ignored.
    heard = [each for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
    return {each: signal.signal(each, _handle) for each in heard}


@contextmanager
def as_one() -> Iterator[None]:
    """Handle interrupts inside this context. Does nothing if they are handled already, or outside the main
    thread, which alone receives signals."""
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
    """Raise an interrupt that comes inside this context only at its end."""
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
    """Let the kernel keep interrupts back inside this context. If this process is replaced by another program
    there, they wait until that program calls `unblock`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    """End the blocking that this process inherited from `blocked` in its parent, or in the program that it
    replaced."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def hold() -> None:
    """From now on, raise no interrupt: the work is over, and what is left takes a moment."""
    _state.held += 1


def before_an_end_at_once(last_words: Callable[[], None] | None) -> None:
    """Set what is called if the program must be ended at once (None: nothing)."""
    _state.last_words = last_words


def ignore() -> None:
    """Ignore interrupts, in the last moments of a process whose exit status is settled."""
    # After an interrupt within an exec() of source text (which is how dataclasses are made) Python will end
    # itself by SIGINT, although the interrupt was caught. Another exec() resets that.
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
    """Repeat, a moment later, an interrupt that Python lost: one raised inside a callback of Python's own (of
    the import system, or of a weak reference) ends there."""
    if unraisable.exc_type is not KeyboardInterrupt:
        return sys.__unraisablehook__(unraisable)
    _state.count = 0
    threading.Timer(AGAIN_AFTER_S, _interrupt_main).start()


def _interrupt_main() -> None:
    """Interrupt the main thread from another one, even while it sleeps."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)


def _end_at_once() -> None:
    ignore()
    if "multiprocessing" in sys.modules:  # not imported above: this module comes first and must be quick
        for child in sys.modules["multiprocessing"].active_children():
            child.kill()
    if _state.last_words is not None:
        with suppress(Exception):
            _state.last_words()
    os._exit(INTERRUPTED)
