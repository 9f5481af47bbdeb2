"""Other colors for finished prints, from their stored paintings: nothing is rendered again."""

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from render.errors import PictureError, UsageError
from render.jobs.events import Done
from render.jobs.job import finished_id, proof_path
from render.jobs.ledger import Ledger
from render.jobs.settings import Settings
from render.painting.finish import Finish, finish
from render.painting.renderer import read_photo
from render.painting.storage import Painting, Storage, load_painting, store_painting
from render.pictures import images, print_file
from render.pictures.images import PICTURE_ENDINGS
from render.pictures.paper import Layout
from render.system.files import Content


def find_prints(entries: Iterable[Path]) -> tuple[Path, ...]:
    """Prints named by files and by folders, which are searched. Raises UsageError where there is none."""
    return tuple(path for entry in entries for path in (_in_folder(entry) if entry.is_dir() else [entry]))


def _in_folder(folder: Path) -> list[Path]:
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PICTURE_ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.name.endswith(proof_path(Path("x.png")).name[1:])
    ]
    if not found:
        raise UsageError(f"{folder}: no prints there. Name a print, or the --output folder of a batch.")
    return found


def recolor(path: Path, color: str, *, photo: Path | None = None) -> Done:
    """Replace a finished print by itself in other colors.

    The painting is the one that was stored, or the print itself when its colors were never changed. Raises
    PictureError and UsageError; the print is then as it was.

    Args:
        color: one of `color.AFTER`.
        photo: the photograph; needed only where the print's batch is not known, or its photograph has moved.
    """
    known, folder = _Known.of(path), _batch_folder(path)
    if known.settings.color == "match":
        raise UsageError(
            f"{path}: its colours were matched before it was painted. Render it again with --color {color}."
        )
    content = _photo_of(path, folder, known.photo_sha256, photo)
    if folder is None:
        return _recolored(path, known, color, content, None)
    with closing(Ledger(folder)) as ledger:  # before any work: no batch may be rendering there
        done = _recolored(path, known, color, content, Storage.under(ledger.folder))
        settings = known.settings.model_copy(update={"color": color})
        ledger.recoloured(
            path.absolute(), finished_id(known.painting_id, settings), settings, known.facts["look"], done
        )
    return done


def _recolored(path: Path, known: "_Known", color: str, photo: Content, storage: Storage | None) -> Done:
    started = time.monotonic()
    settings = known.settings.model_copy(update={"color": color})
    finishing = Finish.of(settings)
    painting = load_painting(storage, known.painting_id)
    if painting is None:
        painting = _from_print(path, known)
        if storage is not None and settings.changes_what_was_painted:
            store_painting(storage, known.painting_id, painting)
    seen, layout = read_photo(photo, known.layout)
    provenance = known.facts | {
        "job": finished_id(known.painting_id, settings),
        "settings": known.facts["settings"] | {"color": color},
    }
    findings = finish(
        path, painting.pixels, seen, layout, finishing, provenance=provenance, borders=painting.borders
    )
    return Done(time.monotonic() - started, path.stat().st_size, painting.loss, findings)


@dataclass(frozen=True)
class _Known:
    """What a print says of itself."""

    facts: dict
    """All of its provenance."""
    settings: Settings
    layout: Layout
    painting_id: str
    photo_sha256: str
    loss: float

    @classmethod
    def of(cls, path: Path) -> "_Known":
        facts = print_file.read_provenance(path) or {}
        if "proof_of" in facts:
            raise PictureError(
                f"{path}: is the soft proof of {facts['proof_of']}. Name that one: its proof is made "
                f"again with it."
            )
        try:
            layout: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in facts["layout"].items()
            }
            facts["look"]
            return cls(
                facts,
                Settings(**facts["settings"]),
                Layout(**layout),
                facts["painted"],
                facts["photo_sha256"],
                facts["loss"],
            )
        except (KeyError, TypeError, AttributeError, ValidationError):
            raise PictureError(
                f"{path}: does not say how this version of render made it, so it cannot be recoloured. "
                "Render it again."
            ) from None


def _from_print(path: Path, known: _Known) -> Painting:
    if known.settings.changes_what_was_painted:
        raise PictureError(
            f"{path}: what was painted is not kept beside it (.render/painted), and the file shows other "
            "colours. Render it again."
        )
    seen, layout = images.read(path), known.layout
    if seen.size != layout.sheet:
        raise PictureError(f"{path}: is no longer as it was rendered: its size has changed. Render it again.")
    sheet = seen.pixels
    if seen.alpha is not None:  # taken off the white it was laid on; where nothing is seen, anything will do
        sheet = np.clip(1 - (1 - sheet) / np.maximum(seen.alpha, 1e-3)[..., None], 0, 1)
    (top, left), (height, width) = layout.offset, layout.picture
    exact = known.settings.bit_depth == 16 and known.settings.profile == "srgb" and seen.alpha is None
    return Painting(sheet[top : top + height, left : left + width], known.loss, ((), ()), exact)


def _batch_folder(path: Path) -> Path | None:
    """The output folder of the batch that made the print and still knows it."""
    for folder in path.absolute().parents:
        if (folder / ".render" / "ledger.sqlite").is_file():
            return folder if _row(path, folder) is not None else None
    return None


def _row(path: Path, folder: Path):
    with closing(Ledger.peek(folder)) as ledger:
        key = path.absolute().relative_to(folder).as_posix()
        return next((row for row in ledger.rows() if row["output"] == key), None)


def _photo_of(path: Path, folder: Path | None, wanted_sha256: str, named: Path | None) -> Content:
    if named is not None:
        photo = named
    elif folder is None:
        raise UsageError(f"{path}: its photograph is not known here. Name it: --photo FILE.")
    else:
        row = _row(path, folder)
        if row is None:
            raise UsageError(f"{path}: its photograph is not known here. Name it: --photo FILE.")
        photo = Path(row["photo"])
        if not photo.exists():
            raise PictureError(
                f"{path}: its photograph {photo} is not there any more. Name it: --photo FILE."
            )
    content = images.load(photo)
    if content.sha256 != wanted_sha256:
        raise PictureError(
            f"{photo}: is not the file that {path} was made from, or has changed since. Name the right "
            f"one with "
            "--photo, or render again."
        )
    return content
