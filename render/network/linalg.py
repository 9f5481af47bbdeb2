"""Linear algebra with the same result for every number of threads, so that a picture does not depend on what
else runs on the machine.

When a result is too small to be divided among the threads, libraries divide the sums that lead to it, and do
not document when. The rule here: either so many independent products that no product is divided, or one
thread for the whole computation.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

CHUNK_PX = 512  # rows summed by one product
FEWEST_CHUNKS = 64  # from this many products on, none is divided among threads, on up to as many cores
SLAB_CHUNKS = 128  # chunks in memory as float32 at a time
FEWEST_ROWS = 4096  # from this many rows on, no sum of a plain matrix product is divided
CPU_BAND_PX = 2**16  # 0.8 MB of three channels in float32
GPU_BAND_PX = 2**23
# Convolutions of smaller images use one thread: in float32 their sums depend on the thread count at 48 px
# with 2 threads and at 64 px with 8; at 200 px they are equal from 1 to 16 threads (measured with oneDNN).
SMALL_IMAGE_PX = 30_000


def eigh(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues (C,) and eigenvectors (C, C) of a symmetric matrix (C, C), as torch.linalg.eigh.

    At C = 512 one thread takes 24 ms, two take 20 ms (measured).
    """
    with one_thread(matrix.device.type == "cpu"):
        try:
            return torch.linalg.eigh(matrix)
        # It is documented, but torch's types do not mark it as public.
        except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
            # LAPACK's float32 iteration fails on some covariances of very few pixels (seen: 5 of 512
            # eigenvalues above zero).
            values, vectors = torch.linalg.eigh(matrix.double())
            return values.to(matrix.dtype), vectors.to(matrix.dtype)


def sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the vectors of x (C,) and sum of their outer products (C, C), in float64.

    x: (H, W, C) or (N, C), of any float type. The plain twin: `x.double().sum(0), x.double().T @ x.double()`
    of x (N, C). Chunks are multiplied in float32 and added in float64, one slab at a time, so that a large
    map is never copied whole.
    """
    channels = x.shape[-1]
    total, outer = (x.new_zeros(shape, dtype=torch.float64) for shape in ((channels,), (channels, channels)))
    for slab in _slabs(x):
        slab_total, slab_outer = _slab_sums(slab if x.dtype == torch.float64 else slab.float())
        total += slab_total
        outer += slab_outer
    return total, outer


def _slabs(x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Split x (H, W, C) into slabs (n, C) of whole rows."""
    if x.numel():
        rows_px = max(1, x.shape[1]) if x.dim() == 3 else 1
        for slab in x.split(max(1, SLAB_CHUNKS * CHUNK_PX // rows_px)):
            yield slab.reshape(-1, x.shape[-1])


def _slab_sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, channels = x.shape
    missing = -rows % CHUNK_PX
    if missing:  # rows of zeros change no sum
        x = torch.cat([x, x.new_zeros(missing, channels)])
    chunks = x.view(-1, CHUNK_PX, channels)  # (N / CHUNK_PX, CHUNK_PX, C)
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
    """How many rows of an image (1, 3, H, W) to take at a time through several operations: on a CPU so few
    that intermediate results stay in a core's cache, on a GPU so few that they take little memory."""
    return max(1, (CPU_BAND_PX if image.device.type == "cpu" else GPU_BAND_PX) // image.shape[-1])


def for_image(image: torch.Tensor) -> AbstractContextManager[None]:
    """The context in which to run the network on an image (1, 3, H, W), forward and backward."""
    return one_thread(image.device.type == "cpu" and image.shape[-2] * image.shape[-1] < SMALL_IMAGE_PX)


@contextmanager
def one_thread(wanted: bool) -> Iterator[None]:
    """Let torch use one thread inside this context, if `wanted`."""
    threads = torch.get_num_threads()
    if not wanted or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
