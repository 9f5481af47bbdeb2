"""What of a planned batch remains to be done in its output folder, for the command line and for Python."""

from collections.abc import Callable, Sequence
from pathlib import Path

from render.jobs import outputs
from render.jobs.events import Done, JobDone
from render.jobs.job import Job
from render.jobs.ledger import Ledger
from render.jobs.outputs import RecipeOf, recipe_of
from render.painting.storage import Storage, forget_painting, forget_unfinished
from render.runners.batch import split


def outstanding(
    planned: Sequence[Job],
    ledger: Ledger,
    storage: Storage | None,
    *,
    fresh: bool,
    overwrite: bool,
    failed: Callable[[Path, str], None],
    read_recipe: RecipeOf = recipe_of,
) -> tuple[list[Job], list[Job]]:
    """(jobs to do, finished jobs). Files that are not ours stay, unless they may be overwritten.

    Args:
        storage: where unfinished work is; None: only look, and record and forget nothing.
        fresh: every job is to be done again, and its stored painting is forgotten.
        overwrite: files in a print's place that render did not make are replaced.
        failed: called with an output that stays as it is, and why.
        read_recipe: how a print that the ledger does not know says what it is.
    """

    def adopt(job: Job, done: Done) -> None:
        if storage is not None:
            ledger.record(job, JobDone(job.ref, done))
            forget_unfinished(storage, job.painting_id)

    to_do, finished = split(planned, ledger, fresh=fresh)
    if fresh and storage is not None:
        for job in to_do:
            forget_painting(storage, job.painting_id)
    if not fresh and not overwrite:
        to_do, found = outputs.sorted_out(to_do, ledger, adopt=adopt, recipe_of=read_recipe, failed=failed)
        finished = [*finished, *found]
    return to_do, finished
