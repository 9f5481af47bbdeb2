"""Linear algebra whose answers no thread count changes, so that a picture does not depend on who shares the cores.

Libraries split a long sum over their threads when the result alone is too small to share out; which sums, they do not
say. The rule here: either so many independent products that each is one thread's, or one thread for all of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

CHUNK_PX = 512  # rows summed by one product
FEWEST_CHUNKS = 64  # products from which each is one thread's, on any machine up to that many cores
FEWEST_ROWS = 4096  # of a plain product, likewise


def eigh(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.linalg.eigh of (C, C) (measured at C = 512: 24 ms by one thread, 20 ms by two)."""
    with _one_thread(matrix.device.type == "cpu"):
        return torch.linalg.eigh(matrix)


def sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x (N, C) -> sum of rows (C,), sum of their outer products (C, C). The plain twin: `x.sum(0), x.T @ x`."""
    rows, channels = x.shape
    missing = -rows % CHUNK_PX
    if missing:  # rows of nought change no sum
        x = torch.cat([x, x.new_zeros(missing, channels)])
    chunks = x.view(-1, CHUNK_PX, channels)
    with _one_thread(x.device.type == "cpu" and len(chunks) < FEWEST_CHUNKS):
        return chunks.sum(1).sum(0), torch.bmm(chunks.transpose(1, 2), chunks).sum(0)


def affine(x: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """x (N, C) @ matrix (C, C) + offset (C,)."""
    with _one_thread(x.device.type == "cpu" and x.shape[0] < FEWEST_ROWS):
        return torch.addmm(offset, x, matrix)


@contextmanager
def _one_thread(wanted: bool) -> Iterator[None]:
    threads = torch.get_num_threads()
    if not wanted or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
