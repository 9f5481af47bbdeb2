"""What happens to a job while it runs, as values that cross processes."""

from dataclasses import dataclass

from render.jobs.job import Job


@dataclass(frozen=True)
class Done:
    """What a finished job says of itself. findings: what the automatic checks saw and a person should look
    at; busy_s: those of its seconds in which the device painted, the rest being files and finish; loss: None
    for samples."""

    seconds: float
    bytes: int
    loss: float | None
    findings: tuple[str, ...] = ()
    busy_s: float = 0.0


@dataclass(frozen=True)
class JobStarted:
    job: Job


@dataclass(frozen=True)
class Progress:
    """One iteration. scale, iteration: from 1; size: (height, width); work: share of the job's work that is
    done."""

    job: Job
    scale: int
    scales: int
    size: tuple[int, int]
    iteration: int
    iterations: int
    loss: float
    work: float


@dataclass(frozen=True)
class Notice:
    """Something that a person should know of a job that goes on all the same."""

    job: Job
    text: str


@dataclass(frozen=True)
class JobDone:
    job: Job
    done: Done


@dataclass(frozen=True)
class JobFailed:
    """message: for people; trace: a Python traceback when it was not the user's mistake; out_of_memory: with
    less to do, or in another process, it might work."""

    job: Job
    message: str
    trace: str = ""
    out_of_memory: bool = False


Event = JobStarted | Progress | Notice | JobDone | JobFailed
