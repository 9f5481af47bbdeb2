"""Standard output and standard error that may fail (on a full disk, or because the program that reads them
has ended) without ending the work that they report."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Lost(Exception):
    """A stream can no longer be written, and the command does nothing but write to it."""


class Guarded:
    """A text stream that remembers its first failed write and discards everything written after it."""

    def __init__(self, stream, name: str):
        self._stream, self._name = stream, name
        self.failure: OSError | None = None
        self.needed = False  # raise Lost instead of going on without the stream

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def message(self) -> str:
        """What to report about a failed stream on the other one."""
        why = self.failure and (self.failure.strerror or self.failure)
        return f"{self._name} could not be written ({why}), so what was reported there is incomplete"

    def _attempt(self, action: Callable[[], object]) -> None:
        if self.failure is None:
            try:
                action()
            except OSError as error:
                self.failure = error
                self._discard()
        if self.failure is not None and self.needed:
            raise Lost

    def _discard(self) -> None:
        """Point the stream to the null device: what is left in its buffer would fail again at exit."""
        with suppress(OSError, ValueError, AttributeError):  # in tests it is not a file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()


@contextmanager
def guarded() -> Iterator[None]:
    """Inside this context sys.stdout and sys.stderr are `Guarded`."""
    _occupy()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _guard(sys.stdout, "standard output"), _guard(sys.stderr, "standard error")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def need() -> None:
    """From now on, end the command when its standard output is lost: it produces nothing else."""
    if isinstance(sys.stdout, Guarded):
        sys.stdout.needed = True


def lost() -> list[Guarded]:
    """The guarded streams that have failed."""
    guards = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, Guarded)]
    return [guard for guard in guards if guard.failure is not None]


def verdict(status: int, *, as_json: bool = False) -> int:
    """The exit status of a command that would otherwise end with `status`.

    A lost stream is reported on the other one, and makes a success (0) a failure (1).
    as_json: standard output holds one JSON object per line.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(Lost):
            stream.flush()
    gone = lost()
    to_report = [guard for guard in gone if not _has_seen_enough(guard)]
    if to_report:
        _report_on_the_other(to_report[0], as_json=as_json)
    return status or (1 if gone else 0)


def _report_on_the_other(guard: Guarded, *, as_json: bool) -> None:
    if guard is sys.stdout:
        print(f"render: {guard.message}", file=sys.stderr)
        return
    record = json.dumps({"event": "lost", "text": guard.message})
    with suppress(Lost):
        print(record if as_json else f"render: {guard.message}", flush=True)


def _has_seen_enough(stream: Guarded) -> bool:
    """Whether the reader simply stopped reading: `render presets list | head`."""
    return stream.needed and isinstance(stream.failure, BrokenPipeError)


def _guard(stream, name: str):
    if stream is None:  # closed before the program began: print() would write to the other stream
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, Guarded):
        return stream
    with suppress(AttributeError, ValueError):
        stream.reconfigure(errors="backslashreplace")  # a name that a terminal cannot show stops nothing
    return Guarded(stream, name)


def _occupy() -> None:
    """Open the file descriptors 0 to 2 where they are closed. Otherwise the next file to be opened, a print
    perhaps, would get such a number, and some library would write its error messages into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
