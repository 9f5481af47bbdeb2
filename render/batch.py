"""Many jobs through a runner, each recorded in the ledger."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from render.events import Event, JobDone, JobFailed
from render.jobs import Job
from render.ledger import Ledger


class JobRunner(Protocol):
    """Runs jobs and reports JobStarted, Progress, and JobDone or JobFailed for every one of them."""

    def run(self, jobs: Sequence[Job], report: Callable[[Event], None]) -> None: ...


@dataclass
class Summary:
    """skipped: finished by an earlier run; failed: (what, why), unreadable inputs and styles included;
    look_at: (print, what the checks saw) of those done that a person should look at."""

    done: int = 0
    skipped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    look_at: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        return 1 if self.failed else 0


def split(jobs: Sequence[Job], ledger: Ledger, *, fresh: bool) -> tuple[list[Job], list[Job]]:
    """(jobs to do, jobs that an earlier run finished). `fresh`: all are to do."""
    finished = [] if fresh else [job for job in jobs if ledger.is_done(job)]
    skip = {job.output for job in finished}
    return [job for job in jobs if job.output not in skip], finished


def run_batch(jobs: Sequence[Job], runner: JobRunner, ledger: Ledger | None, summary: Summary,
              report: Callable[[Event], None]) -> None:
    """Runs the jobs, records each in the ledger (if there is one) and counts it in `summary`, which is true at every
    moment."""
    started = time.monotonic()

    def record(event: Event) -> None:
        if ledger is not None:
            ledger.record(event)
        if isinstance(event, JobDone):
            summary.done += 1
            summary.look_at += [(str(event.job.output), finding) for finding in event.done.findings]
        elif isinstance(event, JobFailed):
            summary.failed.append((event.job.label, event.message))
        summary.seconds = time.monotonic() - started
        report(event)

    if jobs:
        runner.run(jobs, record)
