"""Plans a batch: photographs x styles as a tuple of jobs. Reads names and bytes, never pixels."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path

from render.errors import PictureError, UsageError
from render.jobs.inputs import Input
from render.jobs.job import Job, make_job, products, sha256
from render.jobs.look import Look
from render.jobs.settings import Settings
from render.jobs.styles import Style
from render.pictures.print_file import FORMATS
from render.system import files


def plan_jobs(
    inputs: Sequence[Input],
    looks: Sequence[tuple[Style, Look]],
    settings: Settings,
    output: Path,
    *,
    weights_sha256: str,
    failed: Callable[[str, str], None],
) -> tuple[Job, ...]:
    """Every photograph in every style, one style after the other, so that each style's targets are made once.

    Args:
        inputs: The photographs.
        looks: The styles, each with the look that its prints get.
        settings: Of all jobs.
        output: Folder of the prints.
        weights_sha256: Of the network's weights, a part of every job's identity.
        failed: Called with (name, why) of every file that cannot be read, which is left out.

    Raises UsageError when two jobs would write one file, or one would replace a file that a job is made from.
    """
    refuse_collisions(inputs, looks, settings, output)
    jobs, broken = [], set()
    for style, look in looks:
        for item in inputs:
            if item.path in broken:
                continue
            try:
                sha256(item.path)
            except PictureError as error:
                broken.add(item.path)
                failed(str(item.path), str(error))
                continue
            try:
                jobs.append(
                    make_job(
                        item.path,
                        style,
                        look,
                        settings,
                        output_path(item, style, settings, output),
                        weights_sha256=weights_sha256,
                    )
                )
            except PictureError as error:
                failed(f"style {style.name}", str(error))
                break
    refuse_to_replace_sources(*jobs)
    return tuple(jobs)


def output_path(item: Input, style: Style, settings: Settings, output: Path) -> Path:
    """Where the print of a photograph in a style goes, under the folder `output`."""
    return output / f"{item.name}--{style.name}{FORMATS[settings.format].extensions[0]}"


def refuse_collisions(
    inputs: Sequence[Input], looks: Sequence[tuple[Style, Look]], settings: Settings, output: Path
) -> None:
    """Raises UsageError when two jobs would write one file, the preview beside a print included."""
    writers: dict[Hashable, str] = {}
    for path, item, style in _to_be_written(inputs, looks, settings, output):
        writer = f"{item.path} x {style.path}"
        # Also by name: on this disk "A" and "a" may be two files, and prints are carried to others.
        for key in (files.identity(path), str(path).casefold()):
            other = writers.setdefault(key, writer)
            if other != writer:
                raise UsageError(
                    f"{path} would be written by two jobs: {other} and {writer}. Rename one, or render them "
                    "to two --output folders."
                )


def refuse_to_replace_sources(*jobs: Job) -> None:
    """Raises UsageError when a job would write over a file that it, or another one, is made from."""
    sources = {files.identity(path): path for path in {path for job in jobs for path in job.sources}}
    for job in jobs:
        for path in job.products:
            source = sources.get(files.identity(path))
            if source is not None:
                raise UsageError(
                    f"{path}: the print of {job.label} would replace {source}, from which prints are made. "
                    "Choose another --output."
                )


def _to_be_written(
    inputs: Sequence[Input], looks: Sequence[tuple[Style, Look]], settings: Settings, output: Path
) -> Iterator[tuple[Path, Input, Style]]:
    for style, _ in looks:
        for item in inputs:
            for path in products(output_path(item, style, settings, output), settings):
                yield path, item, style
