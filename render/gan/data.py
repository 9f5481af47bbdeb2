"""What a GAN learns from: images (N, C, H, W) as bytes in memory, from IDX files or a folder of pictures."""

import gzip
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from render import images
from render.errors import PictureError, UsageError
from render.jobs import find_inputs
from render.torchvision_guard import import_torchvision

NAMED = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # in torchvision.datasets
TRAINING_IMAGES = "train-images-idx3-ubyte"
CROPS = ("centre", "tiles")
TILES_ACROSS = 3  # of a picture's short side, with half a tile of overlap
UNSIGNED_BYTE = 8  # in an IDX file's magic number


@dataclass(frozen=True)
class Data:
    """images: (N, C, H, W) uint8; name: where they are from."""

    images: torch.Tensor
    name: str

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, places: torch.Tensor, *, signed: bool) -> torch.Tensor:
        """Float images, in [-1, 1] if `signed`, else in [0, 1]."""
        x = self.images[places].float() / 255
        return 2 * x - 1 if signed else x


def load(source: str, shape: tuple[int, int, int], *, crop: str | None, cache: Path) -> Data:
    """source: "mnist" or "fashion-mnist", downloaded to `cache` once; a folder with IDX files; or a folder of pictures, for
    shape (C, H, W). crop: one of CROPS, for pictures that are not squares of one size.

    Raises UsageError, PictureError.
    """
    if source in NAMED:
        return _of_shape(_from_idx(_downloaded(source, cache), source), shape)
    folder = Path(source)
    if not folder.is_dir():
        raise UsageError(f"--data {source}: no such folder, and not one of {', '.join(NAMED)}. Name a folder with pictures or IDX files.")
    if (idx := _idx_file(folder)) is not None:
        return _of_shape(_from_idx(idx, source), shape)
    return _from_pictures(folder, shape, crop)


def _of_shape(data: Data, shape: tuple[int, int, int]) -> Data:
    if tuple(data.images.shape[1:]) != shape:
        found, wanted = ("x".join(map(str, side)) for side in (data.images.shape[1:], shape))
        raise UsageError(f"--data {data.name}: images of {found} (channels, height, width), and the architecture makes {wanted}. "
                         "Choose another --architecture.")
    return data


# ---- IDX ------------------------------------------------------------------------------------------------------------


def _downloaded(name: str, cache: Path) -> Path:
    datasets = import_torchvision().datasets
    try:
        getattr(datasets, NAMED[name])(cache, train=True, download=True)
    except (OSError, RuntimeError) as error:  # urllib's are OSErrors; RuntimeError: no mirror, or another checksum
        raise UsageError(f"--data {name}: cannot be downloaded ({error}). Fetch its four .gz files elsewhere and pass --data FOLDER.") from error
    return _idx_file(cache / NAMED[name] / "raw")


def _idx_file(folder: Path) -> Path | None:
    for name in (TRAINING_IMAGES, TRAINING_IMAGES.replace("-idx", ".idx")):
        for ending in ("", ".gz"):
            if (folder / f"{name}{ending}").is_file():
                return folder / f"{name}{ending}"
    return None


def _from_idx(path: Path, name: str) -> Data:
    return Data(torch.from_numpy(read_idx(path, dimensions=3))[:, None], name)


def read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """Bytes of an IDX file, gzipped or not (http://yann.lecun.com/exdb/mnist/, "The IDX file format").

    Raises PictureError for a file of another kind, and one that was cut short.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise PictureError(f"{path}: cannot be read ({error}). Download it again.") from error
    if len(data) < 4 or data[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise PictureError(f"{path}: not an IDX file of bytes in {dimensions} dimensions. Download it again.")
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise PictureError(f"{path}: cut short after {len(data)} bytes, within its head. Download it again.")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    wanted = int(np.prod(shape, dtype=object))
    if len(data) - start != wanted:
        word = "cut short" if len(data) - start < wanted else "too long"
        raise PictureError(f"{path}: {word}: {len(data) - start} bytes for {' x '.join(map(str, shape))}. Download it again.")
    return np.frombuffer(data, np.uint8, wanted, start).reshape(shape).copy()


# ---- pictures -------------------------------------------------------------------------------------------------------


def _from_pictures(folder: Path, shape: tuple[int, int, int], crop: str | None) -> Data:
    paths = [item.path for item in find_inputs([str(folder)])]
    if shape[0] != 3:
        raise UsageError(f"--data {folder}: pictures in colour, and the architecture makes grey ones of {shape[2]} x {shape[1]} px. "
                         "Use --architecture compact.")
    if crop is None:
        _refuse_unlike(paths)
    squares = [square for path in paths for square in cut(images.read(path).pixels, shape[1], crop or "centre")]
    found = np.rint(np.stack(squares) * 255).astype(np.uint8)
    return Data(torch.from_numpy(found).permute(0, 3, 1, 2).contiguous(), os.fspath(folder))


def _refuse_unlike(paths: Sequence[Path]) -> None:
    sizes = {path: images.probe(path) for path in paths}
    first, size = next(iter(sizes.items()))
    for path, other in sizes.items():
        if other != size or other[0] != other[1]:
            which = f"{size[1]} x {size[0]} px" if other == size else f"{other[1]} x {other[0]} px and {first.name} {size[1]} x {size[0]} px"
            raise UsageError(f"{path}: {which}: the pictures must be squares of one size. Add --crop centre (the middle of each) or "
                             "--crop tiles (many squares of each).")


def cut(pixels: np.ndarray, size_px: int, crop: str) -> list[np.ndarray]:
    """Squares (size_px, size_px, 3) of a picture (H, W, 3) in [0, 1]: the middle one ("centre"), or overlapping ones of
    which TILES_ACROSS lie side by side in the short side ("tiles")."""
    across = TILES_ACROSS if crop == "tiles" else 1
    height, width = pixels.shape[:2]
    factor = across * size_px / min(height, width)
    pixels = images.resize(pixels, tuple(max(across * size_px, round(side * factor)) for side in (height, width)))
    tops, lefts = (_starts(side, size_px, crop) for side in pixels.shape[:2])
    return [pixels[top:top + size_px, left:left + size_px] for top in tops for left in lefts]


def _starts(side: int, size_px: int, crop: str) -> list[int]:
    room = side - size_px
    if crop == "centre":
        return [room // 2]
    steps = -(-room // (size_px // 2))
    return [round(i * room / steps) for i in range(steps + 1)] if steps else [0]
