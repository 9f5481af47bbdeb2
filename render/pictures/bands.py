"""Large pictures a band of rows at a time, so that temporary values stay small beside the picture.

Used only for work in which each row is independent of the bands: the result is then the same for bands of any
height, and there are no seams.
"""

from collections.abc import Callable, Iterator

import numpy as np

BAND_PX = 2**18  # the float32 temporaries of a band of colors take some 20 MB


def row_slices(size: tuple[int, ...], *, rows_each: int | None = None) -> Iterator[slice]:
    """Slices of rows, from the top, that cover a picture of this (height, width, ...).

    rows_each: rows per slice; by default about BAND_PX pixels, and at least one row. The last slice may be
    shorter.
    """
    height, width = size[:2]
    step = max(1, BAND_PX // width) if rows_each is None else rows_each
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def in_bands(change: Callable[..., np.ndarray], *pictures: np.ndarray) -> np.ndarray:
    """`change` applied to equally large (H, W, 3) pictures, band by band: (H, W, 3) float32.

    Beside the result, only one band's temporary values are held.
    """
    out = np.empty(pictures[0].shape, np.float32)
    for rows in row_slices(out.shape):
        out[rows] = change(*(picture[rows] for picture in pictures))
    return out
