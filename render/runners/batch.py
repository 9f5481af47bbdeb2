"""Many jobs through a runner, each recorded in the ledger."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from render.jobs.events import Event, JobDone, JobFailed, Report
from render.jobs.ledger import Ledger
from render.jobs.task import Task
from render.system.files import clear_halves

Stop = Callable[[], bool]

T = TypeVar("T", bound=Task)


def never() -> bool:
    return False


class Runner(Protocol):
    """Runs tasks, whatever they are: on this machine or on others."""

    @property
    def workers(self) -> int:
        """How many devices, or processes on one, it keeps at work."""
        ...

    def run(self, tasks: Sequence[Task], report: Report, stop: Stop = never) -> None:
        """Report JobStarted, Progress, and JobDone or JobFailed for every task.

        `stop` is called before each task is started. Once it returns True, no further task is started,
        nothing is reported of those that are left, and the running ones are finished.
        """


@dataclass
class Summary:
    """What a batch adds up to, true at every moment of it."""

    done: int = 0
    """Jobs that this run finished."""
    pictures: int = 0
    """Made by the jobs done: one each, except for samples."""
    skipped: int = 0
    """Jobs that an earlier run finished."""
    left: int = 0
    """Jobs neither done nor failed, left for the next run."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(what, why), unreadable inputs and styles included."""
    look_at: list[tuple[str, str]] = field(default_factory=list)
    """(print, what the checks saw) of those done that a person should look at."""
    seconds: float = 0.0
    """Since the batch began."""
    busy_s: float = 0.0
    """`Done.busy_s` of all workers together."""
    workers: int = 1
    """How many the runner keeps at work."""
    unrecorded: int = 0
    """Jobs that ended without the ledger recording it, because of `ledger_trouble`."""
    ledger_trouble: str | None = None
    """Why the ledger could not be written; None when it could."""

    @property
    def exit_status(self) -> int:
        return 1 if self.failed or self.unrecorded else 0

    @property
    def pictures_per_hour(self) -> float | None:
        return self.pictures / self.seconds * 3600 if self.done and self.seconds else None

    @property
    def devices_busy(self) -> float | None:
        """Share of the workers' time that their devices spent on what was finished, in [0, 1]."""
        return min(1.0, self.busy_s / (self.workers * self.seconds)) if self.done and self.seconds else None


def split(tasks: Sequence[T], ledger: Ledger, *, fresh: bool) -> tuple[list[T], list[T]]:
    """(tasks to do, tasks that an earlier run finished). `fresh`: all are to do."""
    finished = [] if fresh else [task for task in tasks if ledger.is_done(task)]
    skip = {task.output for task in finished}
    return [task for task in tasks if task.output not in skip], finished


def run_batch(
    tasks: Sequence[Task],
    runner: Runner,
    ledger: Ledger | None,
    summary: Summary,
    report: Report,
    *,
    stop: Stop = never,
    shown: Callable[[Path], str] = str,
) -> None:
    """Run the tasks until `stop` returns True, record each in the ledger (if there is one) and count it in
    `summary`. shown: where people find the print of a path, see remote.Output."""
    started = time.monotonic()
    summary.left, summary.workers = len(tasks), runner.workers
    by_output = {task.output: task for task in tasks}

    def record(event: Event) -> None:
        task = by_output[event.job.output]
        if ledger is not None:
            ledger.record(task, event)
        if isinstance(event, JobDone):
            summary.done += 1
            summary.pictures += task.pictures
            summary.left -= 1
            summary.busy_s += event.done.busy_s
            summary.look_at += [(shown(event.job.output), finding) for finding in event.done.findings]
        elif isinstance(event, JobFailed):
            summary.failed.append((event.job.label, event.message))
            summary.left -= 1
        summary.seconds = time.monotonic() - started
        report(event)

    # Half-written files that no ledger knows of: those of a single image, or of a run whose ledger is gone.
    for folder in {task.output.parent for task in tasks}:
        clear_halves(folder)
    try:
        if tasks:
            runner.run(tasks, record, stop)
    finally:
        summary.seconds = time.monotonic() - started
        if ledger is not None:
            ledger.settle()
            summary.unrecorded, summary.ledger_trouble = ledger.unrecorded, ledger.trouble
