"""What happens to a task while it runs, as values that cross processes."""

from collections.abc import Callable
from dataclasses import dataclass

from render.jobs.task import JobRef


@dataclass(frozen=True)
class Done:
    """What a finished task says of itself."""

    seconds: float
    """From its start to its last file."""
    bytes: int
    """Size of its output file."""
    loss: float | None
    """The last one; None for samples."""
    findings: tuple[str, ...] = ()
    """What the automatic checks saw and a person should look at."""
    busy_s: float = 0.0
    """Those of its seconds in which the device worked; the rest went into files and finishing."""


@dataclass(frozen=True)
class JobStarted:
    job: JobRef


@dataclass(frozen=True)
class Progress:
    """One iteration."""

    job: JobRef
    scale: int
    """From 1."""
    scales: int
    size: tuple[int, int]
    """(height, width) of the scale in px."""
    iteration: int
    """Of this scale, from 1."""
    iterations: int
    """Of this scale."""
    loss: float
    work: float
    """Share of the job's work that is done, in [0, 1]."""


@dataclass(frozen=True)
class Notice:
    """Something that a person should know of a job that continues all the same."""

    job: JobRef
    text: str


@dataclass(frozen=True)
class JobDone:
    job: JobRef
    done: Done


@dataclass(frozen=True)
class JobFailed:
    job: JobRef
    message: str
    """For people."""
    trace: str = ""
    """A Python traceback, when it was not the user's mistake."""
    out_of_memory: bool = False
    """With smaller tiles, or in another process, it might work."""


Event = JobStarted | Progress | Notice | JobDone | JobFailed

Report = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A `Report` for callers that do not want events."""
