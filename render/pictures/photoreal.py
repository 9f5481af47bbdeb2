"""Restore the photograph's structure in a painted picture: the screened Poisson equation for the whole print.

Mechrez, Shechtman, Zelnik-Manor 2017, "Photorealistic Style Transfer with Screened Poisson Equation": of all
pictures u, take the one that least differs from the painting in value and from the photo in gradient, channel
by channel:

    minimize  |u - painted|^2 + length^2 |grad u - grad photo|^2

The length, in px, is how far an edge's correction reaches: the Green's function decays as exp(-distance /
length). With K, minus the Laplacian with Neumann borders, the solution is

    u = photo + (1 + length^2 K)^-1 (painted - photo)

a low-pass of the difference: what is coarser than the length comes from the painting, what is finer from the
photo.

The authors' code (github.com/roimehrez/photorealism) works in CIELAB and weighs the gradients of L, a, b with
5, 1, 1: these are lengths in px, in pictures of about 700. Chosen by looking, we leave it in three places.
Oklab, because of its gamut (`color`); one length for all channels, since shorter ones leave the strokes'
colors as blotches in a sky; and a length in proportion to the picture, so that a print looks as its preview
did, four times longer, so that no stroke is left.

There are no tiles: their halos would be 7 lengths wide (to 1/1000), 2000 px in a print of 10 000 px. One
solve has no seams, and holds one picture more than its inputs.
"""

from collections.abc import Callable

import cv2
import numpy as np

from render.pictures import color
from render.pictures.bands import in_bands, row_slices

# 0.015 leaves blotches in skies; from 0.1 on, little but one tint of the painting is left.
DEFAULT_STRENGTH = 0.03
# Of lightness, that is bent back and not clipped: at least the middle, 0.3 to 0.7, then stays.
LARGEST_EXCESS = 0.15


def keep_structure(
    painted: np.ndarray, photo: np.ndarray, *, strength: float = DEFAULT_STRENGTH
) -> np.ndarray:
    """The painted picture's colors with the photo's edges and texture. (H, W, 3) each, sRGB in [0, 1].

    strength: the length as a share of the long side, 0 and more. 0 leaves the painting; at 10, all but the
    mean color is the photo's. ValueError for a negative one, or where the pictures differ in size.
    """
    color.check_same_size(painted, photo)
    if not (strength >= 0 and np.isfinite(strength)):
        raise ValueError(f"strength is {strength}: it must be a number, 0 or more")
    difference = in_bands(lambda a, b: color.to_oklab(a) - color.to_oklab(b), painted, photo)
    for channel in range(3):
        screen(difference[..., channel], strength * max(painted.shape[:2]))
    return _added(difference, photo)


def _added(difference: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """sRGB of photo + difference, written over the difference; lightness is bent, and chroma lost, to fit."""
    for rows in row_slices(photo.shape):
        difference[rows] += color.to_oklab(photo[rows])
    lightness = difference[..., 0]
    low, high = float(lightness.min()), float(lightness.max())
    for rows in row_slices(photo.shape):
        lightness[rows] = bent(lightness[rows], low, high)
        difference[rows] = color.from_oklab(difference[rows])
    return difference


def bent(lightness: np.ndarray, low: float, high: float) -> np.ndarray:
    """Lightness from low to high brought into [0, 1]. Where clipping would flatten, slopes fall from 1 to
    1/3."""
    shade, light = (min(max(excess, 0.0), LARGEST_EXCESS) for excess in (-low, high - 1))
    return lightness - _beyond(lightness, light) + _beyond(1 - lightness, shade)


def _beyond(x: np.ndarray, excess: float) -> np.ndarray:
    """What to take from x: nothing up to 1 - 2 excess, then a parabola that takes the excess at 1 +
    excess."""
    if excess == 0:
        return np.zeros_like(x)
    return (x - (1 - 2 * excess)).clip(0, 3 * excess) ** 2 / (9 * excess)


def screen(plane: np.ndarray, length_px: float) -> None:
    """Replace the plane (H, W) by (1 + length^2 K)^-1 plane, K minus the five-point Laplacian with Neumann
    borders.

    The cosine transform diagonalizes K. Rows are transformed in bands, then columns in bands, which are
    filtered and transformed back at once: no memory but the plane's own grows with its size.
    """
    rows, columns = (length_px**2 * _eigenvalues(count) for count in plane.shape)
    _in_place(plane, lambda band, _: forward(band))
    _in_place(plane.T, lambda band, here: backward(forward(band) / (1 + columns[here, None] + rows)))
    _in_place(plane, lambda band, _: backward(band))


def _eigenvalues(count: int) -> np.ndarray:
    return (2 - 2 * np.cos(np.pi * np.arange(count) / count)).astype(np.float32)


def _in_place(plane: np.ndarray, change: Callable[[np.ndarray, slice], np.ndarray]) -> None:
    for here in row_slices(plane.shape):
        plane[here] = change(np.ascontiguousarray(plane[here]), here)


# --- the cosine transform -----------------------------------------------------------------------------------
# OpenCV's takes even lengths only, and a row of padding would change the border's equation: odd lengths are
# numpy's. For even lengths OpenCV's is 1.1 times (2304) to twenty times (3508 = 4 * 877) as fast.


def forward(x: np.ndarray) -> np.ndarray:
    """(h, N) the type-II cosine transform of each row, in a scale of its own; `backward` undoes it."""
    return dct(x) if x.shape[1] % 2 else cv2.dct(x, flags=cv2.DCT_ROWS)


def backward(x: np.ndarray) -> np.ndarray:
    """(h, N) the rows of which `forward` was taken."""
    return idct(x) if x.shape[1] % 2 else cv2.idct(x, flags=cv2.DCT_ROWS)


def dct(x: np.ndarray) -> np.ndarray:
    """(..., N) the type-II cosine transform along the last axis, unscaled: Makhoul 1980, "A Fast Cosine
    Transform"."""
    count = x.shape[-1]
    folded = np.concatenate([x[..., ::2], x[..., 1::2][..., ::-1]], axis=-1)
    turned = np.fft.rfft(folded) * _turns(count)
    return np.concatenate([turned.real, -turned.imag[..., 1 : (count + 1) // 2][..., ::-1]], axis=-1).astype(
        x.dtype
    )


def idct(x: np.ndarray) -> np.ndarray:
    """(..., N) what `dct` was taken of."""
    count = x.shape[-1]
    half = count // 2 + 1
    mirrored = np.concatenate([np.zeros_like(x[..., :1]), x[..., :-half:-1]], axis=-1)
    folded = np.fft.irfft((x[..., :half] - 1j * mirrored) / _turns(count), count)
    out = np.empty_like(x)
    out[..., ::2] = folded[..., : (count + 1) // 2]
    out[..., 1::2] = folded[..., (count + 1) // 2 :][..., ::-1]
    return out


def _turns(count: int) -> np.ndarray:
    return np.exp(-0.5j * np.pi * np.arange(count // 2 + 1) / count).astype(np.complex64)
