"""The files that are already in an output folder: which of them a batch may replace, and which of its inputs
are prints of an earlier batch and no photographs."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from render.errors import PictureError, UsageError
from render.jobs.events import Done
from render.jobs.inputs import Input
from render.jobs.job import Job
from render.jobs.ledger import Ledger
from render.pictures import images, print_file

RecipeOf = Callable[[Path], dict | None]


def recipe_of(path: Path) -> dict | None:
    """The provenance in a print; None for a file that is no print of ours, or is cut short."""
    try:
        content = images.load(path)
        found = print_file.read_provenance(content)
        if found is not None:
            images.read(content)
        return found
    except PictureError:
        return None


def without_prints(inputs: Sequence[Input], output: Path) -> tuple[list[Input], list[Input]]:
    """(photographs, prints that an earlier batch wrote into its output folder). A glob like 'photos/*.png'
    may name both."""
    inside = os.path.join(os.path.realpath(output), "")
    prints = [
        item
        for item in inputs
        if os.path.realpath(item.path).startswith(inside) and _is_print(item.path, output)
    ]
    known = {item.path for item in prints}
    return [item for item in inputs if item.path not in known], prints


def _is_print(path: Path, output: Path) -> bool:
    try:
        return print_file.read_provenance(path) is not None or _knows(output, path)
    except PictureError:  # reported where it is read as a photograph
        return False


def _knows(output: Path, path: Path) -> bool:
    try:
        ledger = Ledger.peek(output)
    except UsageError:  # damaged: the batch reports it
        return False
    try:
        return ledger.knows(output / os.path.relpath(os.path.realpath(path), os.path.realpath(output)))
    finally:
        ledger.close()


def sorted_out(
    jobs: Iterable[Job],
    ledger: Ledger,
    *,
    recipe_of: RecipeOf = recipe_of,
    adopt: Callable[[Job, Done], None],
    failed: Callable[[Path, str], None],
) -> tuple[list[Job], list[Job]]:
    """(jobs to be rendered, jobs whose very print exists although the ledger does not know it).

    A file in a print's place that is ours by neither the ledger nor its own provenance belongs to somebody
    else: its job is left out.

    Args:
        recipe_of: the provenance in a print, see `recipe_of`.
        adopt: adopt(job, done) is called for each print that is found.
        failed: failed(file, why) is called for each file that belongs to somebody else.
    """
    to_do, found = [], []
    for job in jobs:
        recipe = recipe_of(job.output) if ledger.exists(job.output) and not ledger.knows(job.output) else None
        if recipe is not None and recipe.get("job") == job.id:
            found.append(job)
            adopt(job, _done(job, recipe, ledger))
        elif (foreign := _foreign(job, ledger, recipe_of)) is not None:
            failed(
                foreign,
                "is there already, and no batch of this folder has made it. Move it away, choose "
                "another --output, or have it replaced with --overwrite.",
            )
        else:
            to_do.append(job)
    return to_do, found


def _foreign(job: Job, ledger: Ledger, recipe_of: RecipeOf) -> Path | None:
    """A file in the job's way that is not ours."""
    *beside, output = job.products
    if ledger.exists(output) and not ledger.knows(output):
        return output
    for path in beside:
        if ledger.exists(path) and (recipe_of(path) or {}).get("proof_of") != output.name:
            return path
    return None


def _done(job: Job, recipe: dict, ledger: Ledger) -> Done:
    loss = recipe.get("loss")
    size_bytes = ledger.size_of(job.output) or 0
    return Done(0.0, size_bytes, float(loss) if isinstance(loss, int | float) else None)


def refuse_to_replace(path: Path, photo_sha256: str) -> None:
    """For a single picture, which has no ledger. Raises UsageError unless the file is not there, or is an
    earlier print of the same photograph."""
    if os.path.lexists(path) and (recipe_of(path) or {}).get("photo_sha256") != photo_sha256:
        raise UsageError(
            f"--output {path}: is there already, and is no print of that photograph. Choose "
            "another name, or have it replaced with --overwrite."
        )


def refuse_existing(paths: Iterable[Path], *, word: str) -> None:
    """Raises UsageError for the first of these files that exists. word: the option that replaces it all the
    same."""
    for path in paths:
        if os.path.lexists(path):
            raise UsageError(
                f"--output: {path} is there already. Choose another --output, or have it replaced "
                f"with {word}."
            )
