"""Small real pictures, and files that are none."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32  # of the picture below


def photo_pixels(size=(48, 64), seed=0) -> np.ndarray:
    """(H, W, 3) uint8: a lit disc before a graded sky."""
    height, width = size
    y, x = np.mgrid[:height, :width] / (max(size) - 1)
    sky = np.stack([0.3 + 0.4 * y, 0.4 + 0.2 * x, 0.9 - 0.5 * y], -1)
    disc = ((x - 0.3 - 0.1 * seed) ** 2 + (y - 0.3) ** 2 < 0.04)[..., None]
    return np.uint8(255 * np.where(disc, [0.95, 0.8, 0.3], sky))


def painting_pixels(size=(60, 80), seed=0) -> np.ndarray:
    """(H, W, 3) uint8: blots of a few colours."""
    blots = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blots).resize(size[::-1], Image.Resampling.BICUBIC))


def save(path: Path, image: Image.Image | np.ndarray, **options) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def save_photo(path: Path, size=(48, 64), seed=0) -> Path:
    return save(path, photo_pixels(size, seed))


def save_painting(path: Path, seed=0) -> Path:
    return save(path, painting_pixels(seed=seed))


def special(path: Path, kind: str) -> Path:
    """What is no regular file: a "pipe" that nobody writes into, or a link to a "device" that never ends."""
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path
