"""Linear algebra whose answers no thread count changes, so that a picture does not depend on who shares the
cores.

Libraries split a long sum over their threads when the result alone is too small to share out; which sums,
they do not say. The rule here: either so many independent products that each is one thread's, or one thread
for all of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

CHUNK_PX = 512  # rows summed by one product
FEWEST_CHUNKS = 64  # products from which each is one thread's, on any machine up to that many cores
SLAB_CHUNKS = 128  # chunks in memory as float32 at a time
FEWEST_ROWS = 4096  # of a plain product, likewise
CPU_BAND_PX = 2**16  # 0.8 MB of three channels in float32
GPU_BAND_PX = 2**23
# Convolutions of smaller images are one thread's: in float32 their sums depend on the thread count at 48 px
# by 2 threads, at 64 px by 8; at 200 px they are equal from 1 to 16 (measured with oneDNN).
SMALL_IMAGE_PX = 30_000


def eigh(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.linalg.eigh of (C, C) (measured at C = 512: 24 ms by one thread, 20 ms by two)."""
    with one_thread(matrix.device.type == "cpu"):
        try:
            return torch.linalg.eigh(matrix)
        except torch.linalg.LinAlgError:
            # LAPACK's float32 iteration fails on some covariances of very few pixels: 5 values above nought
            # of 512.
            values, vectors = torch.linalg.eigh(matrix.double())
            return values.to(matrix.dtype), vectors.to(matrix.dtype)


def sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x (..., C) of any float type -> sum of its vectors (C,), sum of their outer products (C, C), in
    float64.

    The plain twin: `x.double().sum(0), x.double().T @ x.double()` of x (N, C). Chunks are multiplied in
    float32 and added in float64; a slab at a time, so that a large map is never there twice.
    """
    channels = x.shape[-1]
    total, outer = (x.new_zeros(shape, dtype=torch.float64) for shape in ((channels,), (channels, channels)))
    for slab in _slabs(x):
        slab_total, slab_outer = _slab_sums(slab if x.dtype == torch.float64 else slab.float())
        total += slab_total
        outer += slab_outer
    return total, outer


def _slabs(x: torch.Tensor) -> Iterator[torch.Tensor]:
    """(n, C) each, whole rows of (H, W, C)."""
    if x.numel():
        rows_px = max(1, x.shape[1]) if x.dim() == 3 else 1
        for slab in x.split(max(1, SLAB_CHUNKS * CHUNK_PX // rows_px)):
            yield slab.reshape(-1, x.shape[-1])


def _slab_sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, channels = x.shape
    missing = -rows % CHUNK_PX
    if missing:  # rows of nought change no sum
        x = torch.cat([x, x.new_zeros(missing, channels)])
    chunks = x.view(-1, CHUNK_PX, channels)
    with one_thread(x.device.type == "cpu" and len(chunks) < FEWEST_CHUNKS):
        return chunks.sum(1).sum(0, dtype=torch.float64), torch.bmm(chunks.transpose(1, 2), chunks).sum(
            0, dtype=torch.float64
        )


def affine(x: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """x (..., C) @ matrix (C, C) + offset (C,) -> (N, C)."""
    x = x.reshape(-1, x.shape[-1])
    with one_thread(x.device.type == "cpu" and x.shape[0] < FEWEST_ROWS):
        return torch.addmm(offset, x, matrix)


def band_rows(image: torch.Tensor) -> int:
    """How many rows of (1, 3, H, W) to take at a time through several operations: on a CPU what lies between
    two of them then stays in a core's cache, on a GPU little of the image is there twice."""
    return max(1, (CPU_BAND_PX if image.device.type == "cpu" else GPU_BAND_PX) // image.shape[-1])


def for_image(image: torch.Tensor):
    """The context to run the network in on an image (1, 3, H, W), forward and backward."""
    return one_thread(image.device.type == "cpu" and image.shape[-2] * image.shape[-1] < SMALL_IMAGE_PX)


@contextmanager
def one_thread(wanted: bool) -> Iterator[None]:
    threads = torch.get_num_threads()
    if not wanted or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
