"""Where a batch stores unfinished jobs and finished paintings: files in OUTPUT/.render."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from render.painting import checkpoint

Borders = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Painting:
    """A picture as the optimiser left it, before it is finished."""

    pixels: np.ndarray
    """(H, W, 3) float32 sRGB in [0, 1], rounded to 16 bits, so that it is the same whether it was stored or
    not."""
    loss: float
    """The last one of its optimisation."""
    borders: Borders
    """Where tiles met: (rows, columns)."""
    exact: bool = True
    """False when it was read from a print that shows it less finely: good enough for other colors of that
    print only."""


@dataclass(frozen=True)
class Storage:
    """The folders of unfinished jobs and finished paintings."""

    checkpoints: Path
    """Folder of the checkpoints of unfinished jobs."""
    paintings: Path
    """Folder of the paintings whose colors their prints do not show."""
    interval_s: float = 300.0
    """Time between checkpoints within a scale."""

    @classmethod
    def under(cls, folder: Path, *, interval_s: float = 300.0) -> "Storage":
        return cls(folder / "checkpoints", folder / "painted", interval_s)

    def absolute(self) -> "Storage":
        return Storage(self.checkpoints.absolute(), self.paintings.absolute(), self.interval_s)

    def checkpoint_path(self, painting_id: str) -> Path:
        return checkpoint.path_of(self.checkpoints, painting_id)

    def painting_path(self, painting_id: str) -> Path:
        return checkpoint.path_of(self.paintings, painting_id)


def store_painting(storage: Storage, painting_id: str, painting: Painting) -> None:
    """Store a painting at 16 bits, so that other colors can be given to its print."""
    values = torch.from_numpy(np.rint(painting.pixels * 65535).astype(np.uint16))
    facts = {"loss": painting.loss, "borders": painting.borders, "exact": painting.exact}
    checkpoint.save(storage.painting_path(painting_id), {"pixels": values}, facts)


def load_painting(storage: Storage | None, painting_id: str) -> Painting | None:
    """None when it was not stored, or is damaged."""
    found = checkpoint.read(storage.painting_path(painting_id)) if storage is not None else None
    if found is None:
        return None
    tensors, facts = found
    try:
        rows, columns = map(tuple, facts["borders"])
        pixels = tensors["pixels"].numpy() / np.float32(65535)
        return Painting(pixels, facts["loss"], (rows, columns), facts["exact"])
    except (TypeError, KeyError, ValueError):
        return None


def forget_painting(storage: Storage, painting_id: str) -> None:
    """So that the next job with this identity is painted again."""
    checkpoint.forget(storage.paintings, painting_id)


def forget_unfinished(storage: Storage, painting_id: str) -> None:
    """Of a job that turns out to be done: its process was killed after the print, before the checkpoint was
    deleted."""
    checkpoint.forget(storage.checkpoints, painting_id)
