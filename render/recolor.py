"""Other colours for finished prints, from what was painted: nothing is rendered again."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from render import export, images
from render.errors import PictureError, UsageError
from render.events import Done
from render.finish import Finish, finish, proof_path
from render.images import PICTURE_ENDINGS
from render.jobs import Settings, finished_id
from render.ledger import Ledger
from render.pipeline import Keeping, Painted, load_painted, read_photo, store_painted
from render.prints import Layout


def find_prints(entries: Iterable[Path]) -> Iterator[Path]:
    """Prints named by files and by folders, which are searched. Raises UsageError where there is none."""
    for entry in entries:
        if not entry.is_dir():
            yield entry
            continue
        found = [path for path in sorted(entry.rglob("*")) if path.suffix.lower() in PICTURE_ENDINGS and path.is_file()
                 and not any(part.startswith(".") for part in path.relative_to(entry).parts)
                 and not path.name.endswith(proof_path(Path("x.png")).name[1:])]
        if not found:
            raise UsageError(f"{entry}: no prints there. Name a print, or the --output folder of a batch.")
        yield from found


def recolor(path: Path, color: str, *, photo: Path | None = None) -> Done:
    """Replaces a finished print by itself in other colours.

    color: one of colour.AFTER; photo: needed only where the print's batch is not known. The painted picture is the one
    that was kept, or the print itself when it shows it unchanged. Raises PictureError and UsageError.
    """
    started = time.monotonic()
    facts = export.read_provenance(path)
    if facts is None or "painted" not in facts:
        raise PictureError(f"{path}: does not say how it was rendered, so it cannot be recoloured. Render it again.")
    old = Settings(**facts["settings"])
    if old.color == "match":
        raise UsageError(f"{path}: its colours were matched before it was painted. Render it again with --color {color}.")
    new, folder = replace(old, color=color), _batch_folder(path)
    photo = photo or _photo_of(path, folder)
    layout = Layout(**{name: tuple(value) if isinstance(value, list) else value for name, value in facts["layout"].items()})
    keeping = None if folder is None else Keeping.under(folder / ".render")
    painted = load_painted(keeping, facts["painted"])
    if painted is None:
        painted = _from_print(path, old, layout)
        if keeping is not None and new.changes_what_was_painted:
            store_painted(keeping, facts["painted"], painted)
    if images.probe(photo) != tuple(facts["photo_size"]):
        raise PictureError(f"{photo}: is not the photograph of {path}, it has another size. Name the right one with --photo.")
    seen, layout = read_photo(photo, layout)
    job_id = finished_id(facts["painted"], new)
    facts |= {"job": job_id, "settings": facts["settings"] | {"color": color}}
    findings = finish(path, painted.pixels, seen, layout, Finish.of(new), provenance=facts, borders=painted.borders)
    done = Done(time.monotonic() - started, path.stat().st_size, painted.loss, findings)
    if folder is not None:
        ledger = Ledger(folder)
        try:
            ledger.recoloured(path.absolute(), job_id, new, done)
        finally:
            ledger.close()
    return done


def _from_print(path: Path, settings: Settings, layout: Layout) -> Painted:
    if settings.changes_what_was_painted:
        raise PictureError(f"{path}: what was painted is not kept beside it (.render/painted), and the file shows other "
                           "colours. Render it again.")
    sheet = images.read(path).pixels
    (top, left), (height, width) = layout.offset, layout.picture
    return Painted(sheet[top : top + height, left : left + width], float("nan"), ((), ()))


def _batch_folder(path: Path) -> Path | None:
    """The output folder of the batch that made the print and still knows it."""
    for folder in path.absolute().parents:
        if (folder / ".render" / "ledger.sqlite").is_file():
            return folder if _row(path, folder) is not None else None
    return None


def _row(path: Path, folder: Path):
    ledger = Ledger.peek(folder)
    try:
        key = path.absolute().relative_to(folder).as_posix()
        return next((row for row in ledger.rows() if row["output"] == key), None)
    finally:
        ledger.close()


def _photo_of(path: Path, folder: Path | None) -> Path:
    if folder is None:
        raise UsageError(f"{path}: its photograph is not known here. Name it: --photo FILE.")
    return Path(_row(path, folder)["photo"])
