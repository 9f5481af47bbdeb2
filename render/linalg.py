"""The symmetric eigendecomposition, with an answer that no thread count changes."""

import torch


def eigh(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.linalg.eigh of (C, C); on a CPU by one thread, since LAPACK's rounding depends on their number
    (measured at C = 512: 24 ms by one thread, 20 ms by two)."""
    if matrix.device.type != "cpu":
        return torch.linalg.eigh(matrix)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return torch.linalg.eigh(matrix)
    finally:
        torch.set_num_threads(threads)
