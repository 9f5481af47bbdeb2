"""A process that works for another one and ends with it, even when that one is killed.

It imports nothing heavy before it is bound: torch takes seconds, in which a process that nobody needs any
more would stay.
"""

import ctypes
import multiprocessing
import multiprocessing.resource_tracker
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable

from render.system import interrupts

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start(target: Callable, *args) -> multiprocessing.Process:
    """A process, started, that calls the target and ends when this one does.

    Call it from the thread that waits for the process: on Linux the process ends with that thread.
    """
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    process = context.Process(target=_run, args=(os.getpid(), _Later(target, args)), daemon=True)
    if os.name == "posix":
        # Started later, it would unblock what is blocked here.
        multiprocessing.resource_tracker.ensure_running()
    with interrupts.blocked():  # the process inherits that: Ctrl-C finds none that is not ready for it
        process.start()
    return process


class _Later:
    """A call whose modules are imported when it is made, not when it arrives in the other process."""

    def __init__(self, target: Callable, args: tuple):
        self.call = target, args

    def __reduce__(self):
        # By multiprocessing's own pickler: connections travel with the process that is being started.
        return _Pickled, (bytes(multiprocessing.reduction.ForkingPickler.dumps(self.call)),)


class _Pickled:
    def __init__(self, data: bytes):
        self.data = data

    def __call__(self) -> None:
        target, args = pickle.loads(self.data)
        target(*args)


def _run(parent: int, call: _Pickled) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupts.unblock()
    _end_with(parent)
    call()


def _end_with(parent: int) -> None:
    """At once and without cleaning up, as the parent was ended: files appear whole or not at all, and the
    next run must not meet a writer of this one."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)
    else:
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
