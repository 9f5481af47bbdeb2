"""Many photographs in many styles: which pairs are meant, and a batch into a folder."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from render.api.inputs import Store, style_of
from render.api.options import number
from render.errors import ArgumentError, ArgumentTypeError, RenderError, UsageError, brief
from render.jobs import outputs
from render.jobs.events import Report
from render.jobs.inputs import Input, find_inputs
from render.jobs.ledger import Ledger
from render.jobs.look import Look
from render.jobs.plan import plan_jobs
from render.jobs.settings import Settings
from render.jobs.styles import Style, find_styles
from render.network.device import Device
from render.painting.renderer import MakeRenderer
from render.painting.storage import Storage
from render.runners.batch import Summary, run_batch
from render.runners.folder import outstanding
from render.runners.local import LocalRunner
from render.wording import plain

log = logging.getLogger(__name__)


def pairs(photos: Any, styles: Any) -> tuple[tuple[Any, Any], ...]:
    """(photograph, style) of every picture meant, a style at a time; those in files as paths and Styles."""
    named = _photos(photos)
    paths = {item.path: None for item in _found([each for _, each in named if _is_path(each)])}
    others = [each for _, each in named if not _is_path(each)]
    found, rest = _styles(styles)
    return tuple((photo, style) for style in (*found, *rest) for photo in (*paths, *others))


def shown(photo: Any, style: Any) -> str:
    """A pair, for messages."""
    return f"{_name(photo)} x {style.name if isinstance(style, Style) else _name(style)}"


def _name(picture: Any) -> str:
    return os.fsdecode(picture) if _is_path(picture) else type(picture).__name__


def _is_path(entry: Any) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(entry, str | os.PathLike)


def _listed(entries: Any, argument: str) -> list[Any]:
    """One as a list of one. Raises ArgumentError when there is none."""
    if not isinstance(entries, list | tuple):
        return [entries]
    if not entries:
        raise ArgumentError(f"{argument} is empty and must hold at least one picture.")
    return list(entries)


def _photos(photos: Any) -> list[tuple[str | None, Any]]:
    """(name or None, picture)."""
    if not isinstance(photos, Mapping):
        return [(None, each) for each in _listed(photos, "photos")]
    if not photos:
        raise ArgumentError("photos is empty and must hold at least one picture.")
    for name in photos:
        if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ArgumentTypeError(f"photos: the name {brief(name)} must be a text that can name a file.")
    return list(photos.items())


def _found(entries: Sequence[Any], *, without: Path | None = None) -> tuple[Input, ...]:
    return find_inputs([os.fsdecode(each) for each in entries], without=without) if entries else ()


def _styles(
    styles: Any, failed: Callable[[RenderError], None] | None = None
) -> tuple[tuple[Style, ...], list[Any]]:
    """(styles in files, the others as they came). failed: see `find_styles`."""
    entries: list[Any] = [styles] if isinstance(styles, Mapping) else _listed(styles, "styles")
    paths = [os.fsdecode(each) for each in entries if _is_path(each)]
    found = find_styles(paths, failed=failed) if paths else ()
    return found, [each for each in entries if not _is_path(each)]


@dataclass(frozen=True)
class FolderPlan:
    """A batch into a folder, as `render batch` runs it."""

    device: Device
    settings: Settings
    look_of: Callable[[Style], Look]
    store: Store  # where pictures go that are no files
    weights_sha256: str
    output: Path
    workers: int
    fresh: bool  # what is finished is painted again
    overwrite: bool  # files that are not ours are replaced
    checkpoint_every_s: float

    def run(self, photos: Any, styles: Any, report: Report) -> Summary:
        if self.workers > 1 and self.device.name != "cpu":
            raise ArgumentError(f"workers is {self.workers} and must be 1 on a GPU: one process each.")
        number("checkpoint_every_s", self.checkpoint_every_s, least=0)
        summary = Summary()

        def failed(what: str, why: str) -> None:
            summary.failed.append((what, why))

        planned = plan_jobs(
            self._inputs(photos),
            self._looks(styles, failed),
            self.settings,
            self.output,
            weights_sha256=self.weights_sha256,
            failed=failed,
        )
        with closing(Ledger(self.output, tell=_tell)) as ledger:
            storage = Storage.under(ledger.folder, interval_s=self.checkpoint_every_s)
            to_do, finished = outstanding(
                planned,
                ledger,
                storage,
                fresh=self.fresh,
                overwrite=self.overwrite,
                failed=lambda path, why: failed(str(path), why),
            )
            summary.skipped = len(finished)
            runner = LocalRunner(self.device, MakeRenderer(self.settings, storage), workers=self.workers)
            run_batch(to_do, runner, ledger, summary, report)
        return summary

    def _inputs(self, photos: Any) -> list[Input]:
        inputs = []
        for i, (name, picture) in enumerate(_photos(photos)):
            if name is None and _is_path(picture):
                inputs += _found([picture], without=self.output)
            else:
                path = self.store.path_of(picture, f"photos[{i if name is None else repr(name)}]")
                inputs.append(Input(path, name or path.stem))
        inputs, prints = outputs.without_prints(_each_once(inputs), self.output)
        if not inputs:
            raise UsageError(f"photos: all {len(prints)} are prints that were made in {self.output}.")
        if prints:
            _tell(f"{len(prints)} of photos are prints that were made in {self.output}, and left out")
        return inputs

    def _looks(self, styles: Any, failed: Callable[[str, str], None]) -> list[tuple[Style, Look]]:
        found, others = _styles(styles, lambda error: failed("a style", str(error)))
        made = [style_of(each, self.store, f"styles[{i}]") for i, each in enumerate(others)]
        return [(style, self.look_of(style)) for style in (*found, *made)]


def _each_once(inputs: Sequence[Input]) -> list[Input]:
    """By path, the first name counts: a folder and a file in it name one photograph."""
    found: dict[Path, Input] = {}
    for item in inputs:
        found.setdefault(Path(os.path.abspath(item.path)), item)
    return list(found.values())


def _tell(text: str) -> None:
    log.warning("%s", plain(text))
