"""Runs a command of the user's with the summary of a batch."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from render.errors import RenderError

TIMEOUT_S = 60.0
_running: list[subprocess.Popen] = []


def notify(command: str, record: Mapping, *, timeout_s: float = TIMEOUT_S) -> None:
    """Runs a command line of the shell with the record as one line of JSON on its standard input, which it
    need not read. Raises RenderError when it fails or takes longer than timeout_s; then it is ended with all
    that it started."""
    try:
        process = subprocess.Popen(
            command,
            shell=True,
            text=True,
            encoding="utf-8",
            stdin=subprocess.PIPE,
            stdout=2,  # standard output is --json's
            start_new_session=True,  # the Ctrl-C that ended the batch is none of its business
        )
    except (OSError, ValueError) as error:  # no shell, no memory, a null byte
        raise RenderError(f"--notify {command!r}: cannot be run ({error}). Try it by hand.") from error
    _running.append(process)
    try:
        process.communicate(json.dumps(record) + "\n", timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise RenderError(
            f"--notify {command}: took longer than {timeout_s:g} s and was ended. Let it work in the "
            f"background."
        ) from None
    finally:
        _running.remove(process)
        if process.poll() is None:
            _end(process)
    if process.returncode:
        raise RenderError(
            f"--notify {command}: ended with status {process.returncode}. Try it by hand: echo '{{}}' | "
            f"{command}"
        )


def end_now() -> None:
    """Ends the command that is running, if one is, with all that it started."""
    for process in _running:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
