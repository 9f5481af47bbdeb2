"""A child process that ends with its parent, even when the parent is killed.

The child imports nothing heavy before it is bound to its parent: importing torch takes seconds, and a child
whose parent died in that time would stay.
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
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler

from render.system import interrupts

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start(target: Callable, *args) -> BaseProcess:
    """Start a process that calls `target(*args)` and ends when this process does.

    Call it from the thread that waits for the process: on Linux the child ends with that thread.
    """
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    process = context.Process(target=_run, args=(os.getpid(), _Later(target, args)), daemon=True)
    if os.name == "posix":
        # If multiprocessing started it inside the block below, it would unblock the signals.
        multiprocessing.resource_tracker.ensure_running()
    with interrupts.blocked():  # inherited by the child: no Ctrl-C reaches it before it is ready for one
        process.start()
    return process


class _Later:
    """A call whose modules are imported when the child makes it, not when the child unpickles it."""

    def __init__(self, target: Callable, args: tuple):
        self.call = target, args

    def __reduce__(self):
        # With multiprocessing's own pickler: connections can travel only to a process that is being started.
        return _Pickled, (bytes(ForkingPickler.dumps(self.call)),)


class _Pickled:
    def __init__(self, data: bytes):
        self.data = data

    def __call__(self) -> None:
        target, args = pickle.loads(self.data)
        target(*args)


def _run(parent: int, call: _Pickled) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupts.unblock()
    _end_with(parent)
    call()


def _end_with(parent: int) -> None:
    """Bind this process to its parent: it ends when the parent does, at once and without cleaning up.

    Nothing is lost, since files appear whole or not at all; and the user's next run must not meet a process
    of this run that still writes.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)
    else:
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:  # None only in a process that multiprocessing did not start
        parent.join()
    os._exit(1)
