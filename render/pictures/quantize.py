"""From float pixels to the integers of a file: profile, transparency, rounding and dithering, in bands."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from render.pictures import icc, images
from render.pictures.bands import row_slices
from render.pictures.icc import Profile


@dataclass(frozen=True, eq=False)
class PrintPixels:
    """The pixels of one print; made into integers one band of rows at a time."""

    pixels: np.ndarray  # (H, W, 3) float32, sRGB in [0, 1]
    alpha: np.ndarray | None  # (H, W) float32 in [0, 1]
    keep_alpha: bool  # or composite over white
    bit_depth: int  # per channel, 8 or 16; 8 bits are dithered
    profile: Profile  # what the integers are in
    intent: str  # of the conversion, a name in icc.INTENTS

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), or (H, W, 4) with alpha."""
        height, width = self.pixels.shape[:2]
        return height, width, 4 if self.alpha is not None and self.keep_alpha else 3

    @property
    def size_bytes(self) -> int:
        """Uncompressed."""
        height, width, channels = self.shape
        return height * width * channels * self.bit_depth // 8

    def bands(self, rows_each: int) -> Iterator[np.ndarray]:
        """(rows_each or fewer, W, 3 or 4) uint8 or uint16, from the top."""
        for rows in row_slices(self.pixels.shape, rows_each=rows_each):
            yield self._band(rows)

    def _band(self, rows: slice) -> np.ndarray:
        pixels, alpha = self.pixels[rows], None if self.alpha is None else self.alpha[rows]
        if alpha is not None and not self.keep_alpha:
            pixels, alpha = images.over_white(pixels, alpha), None
        values = icc.convert(pixels, self.profile, self.intent)
        values = dithered(values, top_px=rows.start) if self.bit_depth == 8 else _rounded(values, 16)
        return values if alpha is None else np.dstack([values, _rounded(alpha, self.bit_depth)])


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    scaled = np.clip(values, 0, 1) * np.float32(2**bits - 1)
    return np.rint(scaled, out=scaled).astype(np.uint8 if bits == 8 else np.uint16)


LEVEL_MARGIN = 0.01  # of an 8-bit level: a value this near to a level is on it, float32's rounding considered


def dithered(values: np.ndarray, *, top_px: int = 0) -> np.ndarray:
    """(H, W, C) in [0, 1] -> uint8: the level below or above, in such proportion that local means stay.

    The pattern depends on the position alone (top_px: row number of the first row). It is interleaved
    gradient noise, which is even over any few pixels (Jimenez 2014, Next Generation Post Processing in Call
    of Duty), shifted by a third between channels, so that the brightness of grays varies least. Values on a
    level stay there: flat white and black get no speckle.
    """
    height, width, channels = values.shape
    y, x = np.arange(top_px, top_px + height)[:, None], np.arange(width)
    noise = 52.9829189 * ((0.06711056 * x + 0.00583715 * y) % 1) % 1
    result = np.empty(values.shape, np.uint8)
    for i in range(channels):
        threshold = LEVEL_MARGIN + (1 - 2 * LEVEL_MARGIN) * ((noise + i / 3) % 1)
        scaled = np.clip(values[..., i], 0, 1) * np.float32(255)
        result[..., i] = np.floor(scaled + threshold.astype(np.float32))
    return result
