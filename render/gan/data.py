"""Training data of GANs: images (N, C, H, W) as bytes in memory, from IDX files or a folder of pictures."""

import contextlib
import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from render.errors import PictureError, UsageError, brief
from render.jobs.inputs import find_inputs
from render.network import device
from render.network.torchvision_guard import import_torchvision
from render.pictures import images
from render.system import files

NAMED = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # in torchvision.datasets
TRAINING_IMAGES = "train-images-idx3-ubyte"
CROPS = ("centre", "tiles")
TILES_ACROSS = 3  # of a picture's short side, with half a tile of overlap
UNSIGNED_BYTE = 8  # in an IDX file's magic number
MAX_IDX_BYTES = 2_000_000_000  # MNIST has 47 MB, all of EMNIST 547 MB
PIECE_BYTES = 1 << 24
COPIES = 3  # of the squares in memory at a time: as cut, stacked, and with the channels first
SCALED_BYTES = 36  # per pixel of a picture that is cut: three float32, as read, scaled and in between


@dataclass(frozen=True)
class Data:
    """Images to learn from."""

    images: torch.Tensor
    """(N, C, H, W) uint8."""
    name: str
    """Where they are from."""

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, places: torch.Tensor, *, signed: bool) -> torch.Tensor:
        """Float images, in [-1, 1] if `signed`, else in [0, 1]."""
        x = self.images[places].float() / 255
        return 2 * x - 1 if signed else x


def load(source: str, shape: tuple[int, int, int], *, crop: str | None, cache: Path) -> Data:
    """Load training data. Raises UsageError, PictureError.

    Args:
        source: "mnist" or "fashion-mnist", downloaded to `cache` once; a folder with IDX files; or a folder
            of pictures.
        shape: (C, H, W) of the images that the architecture makes.
        crop: one of CROPS, for pictures that are not squares of one size.
    """
    if source in NAMED:
        return _of_shape(_from_idx(_downloaded(source, cache), source), shape)
    folder = Path(source)
    if not os.path.isdir(folder):
        raise UsageError(
            f"--data {brief(source)}: no such folder, and not one of {', '.join(NAMED)}. Name "
            "a folder with pictures or IDX files."
        )
    if (idx := _idx_file(folder)) is not None:
        return _of_shape(_from_idx(idx, source), shape)
    return _from_pictures(folder, shape, crop)


def _of_shape(data: Data, shape: tuple[int, int, int]) -> Data:
    if tuple(data.images.shape[1:]) != shape:
        found, wanted = ("x".join(map(str, side)) for side in (data.images.shape[1:], shape))
        raise UsageError(
            f"--data {data.name}: images of {found} (channels, height, width), and the architecture "
            f"makes {wanted}. "
            "Choose another --architecture."
        )
    return data


# ---- IDX ---------------------------------------------------------------------------------------------------


def _downloaded(name: str, cache: Path) -> Path:
    datasets = import_torchvision().datasets
    try:
        getattr(datasets, NAMED[name])(cache, train=True, download=True)
    except (
        OSError,
        RuntimeError,
    ) as error:  # urllib's are OSErrors; RuntimeError: no mirror, or another checksum
        raise UsageError(
            f"--data {name}: cannot be downloaded ({error}). Fetch its four .gz files elsewhere and pass "
            f"--data FOLDER."
        ) from error
    found = _idx_file(cache / NAMED[name] / "raw")
    if found is None:
        raise UsageError(
            f"--data {name}: the download has no {TRAINING_IMAGES}. Fetch its four .gz files elsewhere and "
            "pass --data FOLDER."
        )
    return found


def _idx_file(folder: Path) -> Path | None:
    for name in (TRAINING_IMAGES, TRAINING_IMAGES.replace("-idx", ".idx")):
        for ending in ("", ".gz"):
            if os.path.lexists(folder / f"{name}{ending}"):
                return folder / f"{name}{ending}"
    return None


def _from_idx(path: Path, name: str) -> Data:
    return Data(torch.from_numpy(read_idx(path, dimensions=3))[:, None], name)


def read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """The bytes of an IDX file, gzipped or not (http://yann.lecun.com/exdb/mnist/, "The IDX file format").

    Raises PictureError for a file of another kind, and one that is cut short, too large or empty.
    """
    with files.opened(path, what="IDX file") as file:
        try:
            with gzip.open(file) if path.suffix == ".gz" else contextlib.nullcontext(file) as unpacked:
                return _parsed_idx(path, unpacked, dimensions)
        except (OSError, EOFError, zlib.error) as error:
            raise PictureError(f"{path}: cannot be read ({brief(error)}). Download it again.") from error


def _parsed_idx(path: Path, file: BinaryIO | gzip.GzipFile, dimensions: int) -> np.ndarray:
    head = file.read(4 + 4 * dimensions)
    if head[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise PictureError(f"{path}: not an IDX file of bytes in {dimensions} dimensions. Download it again.")
    if len(head) < 4 + 4 * dimensions:
        raise PictureError(f"{path}: cut short after {len(head)} bytes, within its head. Download it again.")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    size_bytes, shown = math.prod(shape), " x ".join(map(str, shape))
    if size_bytes == 0:
        raise PictureError(f"{path}: holds nothing ({shown}). Download it again.")
    if size_bytes > MAX_IDX_BYTES:
        raise PictureError(
            f"{path}: is too large ({shown} bytes; at most {MAX_IDX_BYTES / 1e9:.0f} GB). Download it again."
        )
    data = _read_up_to(file, size_bytes + 1)  # no more, however much a small gzip file unpacks to
    if len(data) != size_bytes:
        what = f"cut short: {len(data)} bytes" if len(data) < size_bytes else "too long: more bytes than"
        raise PictureError(f"{path}: {what} for {shown}. Download it again.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_up_to(file: BinaryIO | gzip.GzipFile, count: int) -> bytearray:
    """Read in pieces, because the header may claim gigabytes that the file does not have."""
    data = bytearray()
    while piece := file.read(min(PIECE_BYTES, count - len(data))):
        data += piece
    return data


# ---- pictures ----------------------------------------------------------------------------------------------


def _from_pictures(folder: Path, shape: tuple[int, int, int], crop: str | None) -> Data:
    paths = [item.path for item in find_inputs([str(folder)])]
    if shape[0] != 3:
        raise UsageError(
            f"--data {folder}: pictures in colour, and the architecture makes grey ones of {shape[2]} x "
            f"{shape[1]} px. "
            "Use --architecture compact."
        )
    if crop is None:
        _refuse_unlike(paths)
    _refuse_too_many(folder, paths, shape[1], crop or "centre")
    squares = [square for path in paths for square in _squares(path, shape[1], crop or "centre")]
    return Data(torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous(), os.fspath(folder))


def _squares(path: Path, size_px: int, crop: str) -> list[np.ndarray]:
    """The squares of a picture as bytes: as floats they would need four times the memory, and overlapping
    ones would keep the whole picture in memory."""
    squares = cut(images.read(path).pixels, size_px, crop)
    return [np.rint(square * 255).astype(np.uint8) for square in squares]


def _refuse_too_many(folder: Path, paths: Sequence[Path], size_px: int, crop: str) -> None:
    """Raises UsageError when the pictures would not fit into the memory that is free."""
    scaled = {path: _scaled(images.probe(path), size_px, crop) for path in paths}
    squares = sum(math.prod(len(_starts(side, size_px, crop)) for side in size) for size in scaled.values())
    largest = max(paths, key=lambda path: math.prod(scaled[path]))
    needed = squares * 3 * size_px**2 * COPIES + math.prod(scaled[largest]) * SCALED_BYTES
    free = device.free_memory_bytes("cpu")
    if needed > free:
        sides = " x ".join(map(str, scaled[largest][::-1]))
        raise UsageError(
            f"--data {folder}: needs {needed / 1e9:.1f} GB for {squares} squares of {size_px} px, and "
            f"{free / 1e9:.1f} GB of memory "
            f"are free. The largest picture, {largest}, becomes {sides} px. Use a smaller --size, --crop "
            "centre, or take out "
            "pictures that are very long."
        )


def _refuse_unlike(paths: Sequence[Path]) -> None:
    sizes = {path: images.probe(path) for path in paths}
    first, size = next(iter(sizes.items()))
    for path, other in sizes.items():
        if other != size or other[0] != other[1]:
            which = (
                f"{size[1]} x {size[0]} px"
                if other == size
                else f"{other[1]} x {other[0]} px and {first.name} {size[1]} x {size[0]} px"
            )
            raise UsageError(
                f"{path}: {which}: the pictures must be squares of one size. Add --crop centre (the "
                f"middle of each) or "
                "--crop tiles (many squares of each)."
            )


def cut(pixels: np.ndarray, size_px: int, crop: str) -> list[np.ndarray]:
    """Squares (size_px, size_px, 3) of a picture (H, W, 3) in [0, 1]: the middle one ("centre"), or
    overlapping ones of which TILES_ACROSS lie side by side in the short side ("tiles")."""
    pixels = images.resize(pixels, _scaled(pixels.shape[:2], size_px, crop))
    tops, lefts = (_starts(side, size_px, crop) for side in pixels.shape[:2])
    return [pixels[top : top + size_px, left : left + size_px] for top in tops for left in lefts]


def _scaled(size: tuple[int, int], size_px: int, crop: str) -> tuple[int, int]:
    """(height, width) from which the squares are cut."""
    across = TILES_ACROSS if crop == "tiles" else 1
    factor = across * size_px / min(size)
    height, width = (max(across * size_px, round(side * factor)) for side in size)
    return height, width


def _starts(side: int, size_px: int, crop: str) -> list[int]:
    room = side - size_px
    if crop == "centre":
        return [room // 2]
    steps = -(-room // (size_px // 2))
    return [round(i * room / steps) for i in range(steps + 1)] if steps else [0]
