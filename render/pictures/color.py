"""Whose colors a print shows: the painting's, the photo's under the painted lightness, or the photo's
distribution of colors.

Pixels are float32 (H, W, 3), sRGB in [0, 1]. Colors are separated in Oklab (Ottosson 2020): lightness L in
[0, 1], and a, b in about [-0.4, 0.4], whose length is the chroma and whose angle is the hue. CIELAB gives
similar pictures, except that a deep blue turns pink where it becomes lighter than in the photo; and
`cv2.cvtColor` clips each channel.

Every step is a function of one pixel and of sums over the picture that do not depend on how its rows are
grouped, so print-sized pictures are processed in bands of rows, without a seam.
"""

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np

from render.pictures.bands import in_bands, row_slices
from render.pictures.opencv import raised, transformed

MODES = {
    "style": "the painting's colors, as painted",
    "luminance": "the photograph's colors under the painted lightness",
    "match": "the style picture's colors are matched to the photograph's before painting",
    "histogram": "the photograph's distribution of colors is imposed on the finished picture",
}
AFTER = ("style", "luminance", "histogram")  # what `recolor` does to a finished picture; "match" acts before

# Added to variances, (2.5 gray levels)^2: what varies less is noise, and is not amplified to match.
RIDGE = 1e-4
RANGES = ((-0.5, 1.5), (-1.0, 1.0), (-1.0, 1.0))  # of L, a, b once the covariance is matched
SMOOTHNESS = 0.3  # chosen by looking: 0.15 still tears skies, 0.6 begins to lose the photo's contrast
BINS = 1024  # half a gray level each

# Beside pure blue the gamut is dented: on the way from gray, green falls to -0.0074 L^3 (measured over its
# surface). Bisection must step over that: without tolerance deep blues lose a seventh of their chroma, with
# less than this they are striped.
DENT = 0.008

LINEAR_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)  # linear sRGB to cone responses; Ottosson, "A perceptual color space for image processing", 2020
LMS_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)  # of the cube roots; same source


def recolor(mode: str, painted: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """The finished picture in the colors of `mode`, one of AFTER. (H, W, 3) each, sRGB in [0, 1].

    "style" returns the array itself; the others make a new one.
    ValueError for another mode, or where the two differ in size.
    """
    if mode not in AFTER:
        raise ValueError(
            f"color mode {mode!r} does nothing to a finished picture: use one of {', '.join(AFTER)}"
        )
    check_same_size(painted, photo)
    if mode == "style":
        return painted
    change = _painted_lightness if mode == "luminance" else imposed(painted, photo)
    return in_bands(change, painted, photo)


def check_same_size(painted: np.ndarray, photo: np.ndarray) -> None:
    """ValueError unless both are (H, W, 3) and equally large."""
    if painted.shape != photo.shape or painted.ndim != 3 or painted.shape[2] != 3:
        raise ValueError(
            f"the painted picture {painted.shape} and the photo {photo.shape} must both be (H, W, 3)"
        )


def _painted_lightness(painted: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Luminance-only transfer (Gatys et al. 2016, as below)."""
    lab = to_oklab(photo)
    lab[..., 0] = to_oklab(painted)[..., 0]
    return from_oklab(lab)


def match_colors(style: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """The style picture with the mean and covariance of the photo's sRGB colors, clipped. (h, w, 3), like the
    style.

    Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer"; (H, W, 3) photos of any size.
    """
    move = matching(moments(style), moments(photo))
    return in_bands(lambda band: np.clip(move(band), 0, 1), style)


def imposed(painted: np.ndarray, photo: np.ndarray) -> Callable[..., np.ndarray]:
    """The change of a painted band into the photo's distribution: first its covariance, then each Oklab
    channel's CDF.

    Chosen by looking. Channels alone leave the painting's hues where the photo has none: a purple sky stays
    purple. The covariance alone blows out highlights. Iterative distribution transfer (Pitie et al. 2005)
    makes dark flat areas blotchy, and costs more. The channels' distributions become similar, not equal
    (`matching_curve`; and some colors are outside sRGB).
    """
    move = matching(moments(painted, to_oklab), moments(photo, to_oklab))
    found = histograms(painted, lambda band: move(to_oklab(band)))
    wanted = histograms(photo, to_oklab)
    curves = [matching_curve(*pair) for pair in zip(found, wanted, strict=True)]
    return lambda band, _photo: from_oklab(_along_curves(move(to_oklab(band)), curves))


# --- covariance ---------------------------------------------------------------------------------------------

Moments = tuple[np.ndarray, np.ndarray]  # mean (3,) and covariance (3, 3), float64


def moments(picture: np.ndarray, space: Callable[..., np.ndarray] = np.asarray) -> Moments:
    """Mean and covariance of the pixels in `space`. Summed by rows, so bands change nothing."""
    totals, outers = [], []
    for rows in row_slices(picture.shape):
        x = np.moveaxis(space(picture[rows]), -1, 0).astype(np.float64, order="C")  # (3, rows, W)
        totals.append(x.sum(axis=-1))
        outers.append(np.stack([(x[i] * x[j]).sum(axis=-1) for i in range(3) for j in range(3)]))
    count = picture.shape[0] * picture.shape[1]
    mean = np.concatenate(totals, axis=1).sum(axis=1) / count
    outer = np.concatenate(outers, axis=1).sum(axis=1).reshape(3, 3) / count
    return mean, outer - np.outer(mean, mean)


def matching(found: Moments, wanted: Moments) -> Callable[[np.ndarray], np.ndarray]:
    """The change of colors (..., 3) that gives pixels with the `found` moments the `wanted` ones.

    Of all linear maps that do, the symmetric one, which moves colors least (Monge-Kantorovich; Pitie and
    Kokaram 2007). Gatys et al. take a product of the two roots, as image analogies did, or of Cholesky
    factors.
    """
    (mean, have), (aim, want) = found, wanted
    have, want = have + RIDGE * np.eye(3), want + RIDGE * np.eye(3)
    root = _power(have, 0.5)
    matrix = _power(have, -0.5) @ _power(root @ want @ root, 0.5) @ _power(have, -0.5)
    shift = (aim - matrix @ mean).astype(np.float32)
    return lambda colors: transformed(colors, matrix) + shift


def _power(covariance: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.maximum(values, RIDGE**2) ** exponent) @ vectors.T


# --- distributions ------------------------------------------------------------------------------------------
# Plain numpy, because OpenCV does it no better. cv2.calcHist drops what is outside the range, so values must
# be clipped first: 2.5 ms for a band of 2^18 pixels, and 2.2 by bincount. cv2.remap knows 32 places between
# two nodes of a curve, so that it needs finer curves: 18 ms a band, and 13 here.


def histograms(picture: np.ndarray, space: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(3, BINS) counts of each channel of the pixels in `space` over RANGES; what is outside counts in the
    first or last bin."""
    counts = np.zeros((3, BINS), np.int64)
    for rows in row_slices(picture.shape):
        colors = space(picture[rows])
        for channel in range(3):
            bins = _place(colors, channel).astype(np.int64).clip(0, BINS - 1)
            counts[channel] += np.bincount(bins.ravel(), minlength=BINS)
    return counts


def matching_curve(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(BINS,) float32: where the middle of each bin moves, in bins, so that the `found` counts become about
    the `wanted` ones.

    Both counts are of equally many pixels. The moves are averaged over pixels of similar color, SMOOTHNESS
    deviations of the wanted colors wide: exact matching tears a sky apart where it holds more pixels than the
    photo's, and its darkest parts take the color of the photo's black roofs.
    """
    have, want = (np.concatenate([[0], np.cumsum(counts)]) for counts in (found, wanted))
    middle = np.arange(BINS) + 0.5
    moves = (_inverse(want, have[:-1], "right") + _inverse(want, have[1:], "left")) / 2 - middle
    spread = float(np.sqrt(np.cov(middle, fweights=wanted, bias=True)))
    summed, weight = (_blurred(values, max(SMOOTHNESS * spread, 0.5)) for values in (moves * found, found))
    return (middle + summed / np.maximum(weight, 1e-6)).astype(np.float32)


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    row = values[None].astype(np.float64)
    return cv2.GaussianBlur(row, (0, 0), sigmaX=sigma, sigmaY=0.1, borderType=cv2.BORDER_CONSTANT)[0]


def _inverse(rising: np.ndarray, value: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """The place, in bins, where the distribution reaches the value; of a level stretch its left or right
    end."""
    above = np.searchsorted(rising, value, side).clip(1, len(rising) - 1)
    step = np.maximum(rising[above] - rising[above - 1], 1)
    return above - 1 + (value - rising[above - 1]) / step


def _along_curves(colors: np.ndarray, curves: list[np.ndarray]) -> np.ndarray:
    """(..., 3): each channel moved along its curve of (BINS,), linear between the middles of bins."""
    out = np.empty_like(colors)
    for channel, curve in enumerate(curves):
        low, high = RANGES[channel]
        place = (_place(colors, channel) - 0.5).clip(0, BINS - 1)
        below = np.minimum(place.astype(np.int64), BINS - 2)
        share = place - below.astype(np.float32)
        moved = curve[below] * (1 - share) + curve[below + 1] * share
        out[..., channel] = low + moved * ((high - low) / BINS)
    return out


def _place(colors: np.ndarray, channel: int) -> np.ndarray:
    """Where the colors lie in the channel's range, in bins."""
    low, high = RANGES[channel]
    return (colors[..., channel] - low) * (BINS / (high - low))


# --- Oklab --------------------------------------------------------------------------------------------------


def to_oklab(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) float32 Oklab from sRGB in [0, 1]."""
    lms = transformed(_linear_of_srgb(np.asarray(rgb, np.float32)), LINEAR_TO_LMS)
    np.maximum(lms, 0, out=lms)  # `raised` makes NaN of negative numbers
    return transformed(raised(lms, 1 / 3), LMS_TO_OKLAB)


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """(..., 3) float32 sRGB in [0, 1]. A color outside sRGB gives up chroma and keeps its lightness and its
    hue.

    Clipping each channel instead would change all three: the shadows of a deep blue would be flat, and its
    highlights turquoise.
    """
    shape = lab.shape
    lab = np.array(lab, np.float32).reshape(-1, 3)  # a copy
    np.clip(lab[:, 0], 0, 1, out=lab[:, 0])
    linear = _linear_of_oklab(lab)
    outside = ~_in_gamut(linear, _floor(lab[:, 0]))
    if outside.any():
        colors = lab[outside]
        linear[outside] = _linear_of_oklab(_with_chroma(colors, _largest_share(colors)))
    return _srgb_of_linear(np.clip(linear, 0, 1, out=linear)).reshape(shape)


def _linear_of_srgb(rgb: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, float32."""
    out = rgb * np.float32(1 / 1.055)
    out += np.float32(0.055 / 1.055)
    out = raised(out, 2.4)
    return np.multiply(rgb, np.float32(1 / 12.92), out=out, where=rgb <= 0.04045)


def _srgb_of_linear(linear: np.ndarray) -> np.ndarray:
    """The same, the other way."""
    out = raised(linear, 1 / 2.4)
    out *= np.float32(1.055)
    out -= np.float32(0.055)
    return np.multiply(linear, np.float32(12.92), out=out, where=linear <= 0.0031308)


def _linear_of_oklab(lab: np.ndarray) -> np.ndarray:
    """(..., 3) linear sRGB, outside [0, 1] where no screen shows the color."""
    lms = raised(transformed(lab, np.linalg.inv(LMS_TO_OKLAB)), 3)
    return transformed(lms, np.linalg.inv(LINEAR_TO_LMS))


def _in_gamut(linear: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """(N,) bool: whether sRGB holds the colors, (N, 3) linear; floor: (N,), from their lightness."""
    red, green, blue = linear[:, 0], linear[:, 1], linear[:, 2]  # ninety times faster than min(axis=1)
    least = np.minimum(np.minimum(red, green), blue)
    return (least >= floor) & (np.maximum(np.maximum(red, green), blue) <= 1 + 1e-4)


def _floor(lightness: np.ndarray) -> np.ndarray:
    """(N,) the least linear value that counts as inside the gamut at this Oklab lightness (N,)."""
    return -DENT * lightness * lightness * lightness - np.float32(1e-6)


def _with_chroma(lab: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(N, 3) Oklab with this share (N,) of its chroma."""
    out = lab.copy()
    out[:, 1] *= share
    out[:, 2] *= share
    return out


def _largest_share(lab: np.ndarray) -> np.ndarray:
    """(N,) the largest share of each color's chroma that sRGB holds, by bisection; gray (0) always fits."""
    low, high = np.zeros(len(lab), np.float32), np.ones(len(lab), np.float32)
    floor = _floor(lab[:, 0])
    for _ in range(12):  # to 1/4096 of the chroma
        share = (low + high) / 2
        fits = _in_gamut(_linear_of_oklab(_with_chroma(lab, share)), floor)
        low, high = np.where(fits, share, low), np.where(fits, high, share)
    return low
