"""What a runner gives tasks to. There are two kinds: `painting.renderer.MakeRenderer` makes workers that
paint, `gan.rendering.MakeShardRenderer` makes workers that draw samples."""

import traceback
from typing import Protocol, Self, TypeVar

from render.errors import RenderError
from render.jobs.events import Done, JobDone, JobFailed, Report
from render.jobs.task import Task
from render.network.device import Device, is_out_of_memory
from render.painting.storage import Storage

T_contra = TypeVar("T_contra", bound=Task, contravariant=True)
T = TypeVar("T", bound=Task)


class Worker(Protocol[T_contra]):
    """Runs tasks one after another on one device, in the thread that made it."""

    device: Device
    """Where it runs. A runner lowers its memory budget after a task has run out of memory."""

    def run(self, task: T_contra, report: Report, /) -> Done:
        """Write the task's products. Raises RenderError for what the user can fix."""
        ...


class MakeWorker(Protocol[T_contra]):
    """Makes a worker, in whatever process it is called. Can be pickled, and is small."""

    @property
    def precision(self) -> str:
        """Of the network: "float32" or "bfloat16"."""
        ...

    @property
    def longest_px(self) -> int:
        """Long side of the largest picture that one task makes, about; 0 where no task has tiles to share."""
        ...

    def __call__(self, device: Device, /) -> Worker[T_contra]:
        """Raises RenderError for what no worker can start with, such as weights that are not there."""
        ...

    def with_storage(self, storage: Storage) -> Self:
        """A copy whose workers store unfinished work there."""
        ...


def attempt(worker: Worker[T], task: T, report: Report) -> JobDone | JobFailed:
    """Run one task; whatever goes wrong becomes an event that says so."""
    try:
        return JobDone(task.ref, worker.run(task, report))
    except RenderError as error:
        return JobFailed(task.ref, str(error))
    except Exception as error:
        return JobFailed(task.ref, _explain(task, error), traceback.format_exc(), is_out_of_memory(error))


def _explain(task: Task, error: Exception) -> str:
    if is_out_of_memory(error):
        return (
            f"{task.ref.label}: out of memory, with the smallest tiles too. Use a larger --memory, a smaller "
            "size or fewer --workers; what is done so far is kept."
        )
    return (
        f"{task.ref.label}: unexpected {type(error).__name__}: {error}. Please report it with the traceback "
        "in the ledger."
    )
