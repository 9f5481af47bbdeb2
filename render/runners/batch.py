"""Many jobs through a runner, each recorded in the ledger."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from render.jobs.events import Event, JobDone, JobFailed
from render.jobs.job import Job
from render.jobs.ledger import Ledger
from render.system.files import clear_halves

Stop = Callable[[], bool]


def never() -> bool:
    return False


class JobRunner(Protocol):
    """Runs jobs. workers: how many devices, or processes on one, it keeps at work."""

    workers: int

    def run(self, jobs: Sequence[Job], report: Callable[[Event], None], stop: Stop = never) -> None:
        """Reports JobStarted, Progress, and JobDone or JobFailed for every job. Asks `stop` before each: once
        it says True, no further job is started, nothing is reported of those that are left, and the running
        ones are finished."""


@dataclass
class Summary:
    """pictures: made by the jobs done, one each but for samples; skipped: finished by an earlier run; left:
    for the next run, neither done nor failed; failed: (what, why), unreadable inputs and styles included;
    look_at: (print, what the checks saw) of those done that a person should look at; busy_s: of all workers
    together, see Done; unrecorded: jobs that ended without the ledger knowing, because of ledger_trouble."""

    done: int = 0
    pictures: int = 0
    skipped: int = 0
    left: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    look_at: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    busy_s: float = 0.0
    workers: int = 1
    unrecorded: int = 0
    ledger_trouble: str | None = None

    @property
    def exit_status(self) -> int:
        return 1 if self.failed or self.unrecorded else 0

    @property
    def pictures_per_hour(self) -> float | None:
        return self.pictures / self.seconds * 3600 if self.done and self.seconds else None

    @property
    def devices_busy(self) -> float | None:
        """Share of the workers' time in which they painted what was finished, in [0, 1]."""
        return min(1.0, self.busy_s / (self.workers * self.seconds)) if self.done and self.seconds else None


def split(jobs: Sequence[Job], ledger: Ledger, *, fresh: bool) -> tuple[list[Job], list[Job]]:
    """(jobs to do, jobs that an earlier run finished). `fresh`: all are to do."""
    finished = [] if fresh else [job for job in jobs if ledger.is_done(job)]
    skip = {job.output for job in finished}
    return [job for job in jobs if job.output not in skip], finished


def run_batch(
    jobs: Sequence[Job],
    runner: JobRunner,
    ledger: Ledger | None,
    summary: Summary,
    report: Callable[[Event], None],
    *,
    stop: Stop = never,
    shown: Callable[[Path], str] = str,
) -> None:
    """Runs the jobs until `stop` says True, records each in the ledger (if there is one) and counts it in
    `summary`, which is true at every moment. shown: where people find a print, see remote.Output."""
    started = time.monotonic()
    summary.left, summary.workers = len(jobs), runner.workers

    def record(event: Event) -> None:
        if ledger is not None:
            ledger.record(event)
        if isinstance(event, JobDone):
            summary.done += 1
            summary.pictures += event.job.pictures
            summary.left -= 1
            summary.busy_s += event.done.busy_s
            summary.look_at += [(shown(event.job.output), finding) for finding in event.done.findings]
        elif isinstance(event, JobFailed):
            summary.failed.append((event.job.label, event.message))
            summary.left -= 1
        summary.seconds = time.monotonic() - started
        report(event)

    # Also what no ledger knows of: that of a single image, or of a run whose ledger is gone.
    for folder in {job.output.parent for job in jobs}:
        clear_halves(folder)
    try:
        if jobs:
            runner.run(jobs, record, stop)
    finally:
        summary.seconds = time.monotonic() - started
        if ledger is not None:
            ledger.settle()
            summary.unrecorded, summary.ledger_trouble = ledger.unrecorded, ledger.trouble
