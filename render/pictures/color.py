"""Whose colours a print shows: the painting's, the photo's under the painted lightness, or the photo's
distribution.

Pixels are float32 (H, W, 3), sRGB in [0, 1]. Colours are taken apart in Oklab (Ottosson 2020): lightness L in
[0, 1], and a, b in about [-0.4, 0.4], whose length is the chroma and whose angle is the hue. On photographs
CIELAB looks alike; but lighter than it is in the photo, a deep blue turns pink there. And `cv2.cvtColor`
clips each channel.

Every step is a function of one pixel and of sums over the picture that do not depend on how its rows are
grouped, so print-sized pictures go through in bands of rows, without a seam.
"""

from collections.abc import Callable

import cv2
import numpy as np

from render.pictures.bands import in_bands, row_slices

MODES = {
    "style": "the painting's colours, as painted",
    "luminance": "the photograph's colours under the painted lightness",
    "match": "the style picture's colours are matched to the photograph's before painting",
    "histogram": "the photograph's distribution of colours is imposed on the finished picture",
}
AFTER = ("style", "luminance", "histogram")  # what `recolour` does to a finished picture; "match" acts before

RIDGE = (
    1e-4  # added to variances, (2.5 grey levels)^2: what varies less is noise, and is not amplified to match
)
RANGES = ((-0.5, 1.5), (-1.0, 1.0), (-1.0, 1.0))  # of L, a, b once the covariance is matched
SMOOTHNESS = 0.3  # chosen by looking: 0.15 still tears skies, 0.6 begins to lose the photo's contrast
BINS = 1024  # half a grey level each

# Beside pure blue the gamut is dented: on the way from grey, green falls to -0.0074 L^3 (measured over its
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


def recolour(mode: str, painted: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """The finished picture in the colours that `mode`, one of AFTER, asks for. (H, W, 3) each, sRGB in [0,
    1].

    "style" gives back the array itself; the others make a new one.
    ValueError for another mode, or where the two differ in size.
    """
    if mode not in AFTER:
        raise ValueError(
            f"colour mode {mode!r} does nothing to a finished picture: use one of {', '.join(AFTER)}"
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


def match_colours(style: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """The style picture with the mean and covariance of the photo's sRGB colours, clipped. (h, w, 3), like
    the style.

    Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer"; (H, W, 3) photos of any size.
    """
    move = matching(moments(style), moments(photo))
    return in_bands(lambda band: np.clip(move(band), 0, 1), style)


def imposed(painted: np.ndarray, photo: np.ndarray) -> Callable[..., np.ndarray]:
    """The change of a painted band into the photo's distribution: first its covariance, then each Oklab
    channel's CDF.

    Chosen by looking. Channels alone leave the painting's hues where the photo has none: a purple sky stays
    purple. The covariance alone blows lights. Iterative distribution transfer (Pitie et al. 2005) blotches
    dark flat places, and costs more. The channels' distributions end alike, not equal (`matching_curve`; and
    some colours no screen shows).
    """
    move = matching(moments(painted, to_oklab), moments(photo, to_oklab))
    found = histograms(painted, lambda band: move(to_oklab(band)))
    wanted = histograms(photo, to_oklab)
    curves = [matching_curve(*pair) for pair in zip(found, wanted, strict=True)]
    return lambda band, _photo: from_oklab(_along_curves(move(to_oklab(band)), curves))


# --- covariance ---------------------------------------------------------------------------------------------


def moments(picture: np.ndarray, space: Callable = np.asarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3,) and covariance (3, 3) in float64 of the pixels in `space`. Summed by rows, so bands change
    nothing."""
    totals, outers = [], []
    for rows in row_slices(picture.shape):
        x = np.moveaxis(space(picture[rows]), -1, 0).astype(np.float64, order="C")  # (3, rows, W)
        totals.append(x.sum(axis=-1))
        outers.append(np.stack([(x[i] * x[j]).sum(axis=-1) for i in range(3) for j in range(3)]))
    count = picture.shape[0] * picture.shape[1]
    mean = np.concatenate(totals, axis=1).sum(axis=1) / count
    outer = np.concatenate(outers, axis=1).sum(axis=1).reshape(3, 3) / count
    return mean, outer - np.outer(mean, mean)


def matching(found: tuple, wanted: tuple) -> Callable[[np.ndarray], np.ndarray]:
    """The change of colours (..., 3) that gives pixels with the `found` (mean, covariance) the `wanted` one.

    Of all linear maps that do, the symmetric one, which moves colours least (Monge-Kantorovich; Pitie and
    Kokaram 2007). Gatys et al. take a product of the two roots, as image analogies did, or of Cholesky
    factors.
    """
    (mean, have), (aim, want) = found, wanted
    have, want = have + RIDGE * np.eye(3), want + RIDGE * np.eye(3)
    root = _power(have, 0.5)
    matrix = _power(have, -0.5) @ _power(root @ want @ root, 0.5) @ _power(have, -0.5)
    shift = (aim - matrix @ mean).astype(np.float32)
    return lambda colours: mixed(colours, matrix) + shift


def _power(covariance: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.maximum(values, RIDGE**2) ** exponent) @ vectors.T


# --- distributions ------------------------------------------------------------------------------------------


def histograms(picture: np.ndarray, space: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(3, BINS) counts of each channel of the pixels in `space` over RANGES; what lies outside counts at the
    end."""
    counts = np.zeros((3, BINS), np.int64)
    for rows in row_slices(picture.shape):
        colours = space(picture[rows])
        for channel in range(3):
            bins = _place(colours, channel).astype(np.int64).clip(0, BINS - 1)
            counts[channel] += np.bincount(bins.ravel(), minlength=BINS)
    return counts


def matching_curve(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(BINS,) where the middle of each bin goes, in bins, so that the `found` counts become about the
    `wanted` ones.

    Both counts are of equally many pixels. The moves are averaged over pixels of like colour, SMOOTHNESS
    deviations of the wanted colours wide: exact matching tears a sky apart where it holds more pixels than
    the photo's, and its darkest go to the photo's black roofs.
    """
    have, want = (np.concatenate([[0], np.cumsum(counts)]) for counts in (found, wanted))
    middle = np.arange(BINS) + 0.5
    moves = (_inverse(want, have[:-1], "right") + _inverse(want, have[1:], "left")) / 2 - middle
    spread = np.sqrt(np.cov(middle, fweights=wanted, bias=True))
    summed, weight = (_blurred(values, max(SMOOTHNESS * spread, 0.5)) for values in (moves * found, found))
    return (middle + summed / np.maximum(weight, 1e-6)).astype(np.float32)


def _blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    row = values[None].astype(np.float64)
    return cv2.GaussianBlur(row, (0, 0), sigmaX=sigma, sigmaY=0.1, borderType=cv2.BORDER_CONSTANT)[0]


def _inverse(rising: np.ndarray, value: np.ndarray, side: str) -> np.ndarray:
    """The place, in bins, where the distribution reaches the value; of a level stretch its left or right
    end."""
    above = np.searchsorted(rising, value, side).clip(1, len(rising) - 1)
    step = np.maximum(rising[above] - rising[above - 1], 1)
    return above - 1 + (value - rising[above - 1]) / step


def _along_curves(colours: np.ndarray, curves: list[np.ndarray]) -> np.ndarray:
    out = np.empty_like(colours)
    for channel, curve in enumerate(curves):
        low, high = RANGES[channel]
        place = (_place(colours, channel) - 0.5).clip(0, BINS - 1)
        below = np.minimum(place.astype(np.int64), BINS - 2)
        share = place - below.astype(np.float32)
        out[..., channel] = low + (curve[below] * (1 - share) + curve[below + 1] * share) * (
            (high - low) / BINS
        )
    return out


def _place(colours: np.ndarray, channel: int) -> np.ndarray:
    """Where the colours lie in the channel's range, in bins."""
    low, high = RANGES[channel]
    return (colours[..., channel] - low) * (BINS / (high - low))


# --- Oklab --------------------------------------------------------------------------------------------------


def to_oklab(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) Oklab from sRGB in [0, 1]."""
    rgb = np.asarray(rgb, np.float32)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    return mixed(np.cbrt(mixed(linear, LINEAR_TO_LMS)), LMS_TO_OKLAB)


def from_oklab(lab: np.ndarray) -> np.ndarray:
    """(..., 3) sRGB in [0, 1]. A colour that no screen shows gives up chroma and keeps its lightness and its
    hue.

    Clipping each channel instead would change all three: a deep blue's shadows would be flat, and its lights
    turquoise.
    """
    lab = np.concatenate([np.clip(lab[..., :1], 0, 1), lab[..., 1:]], axis=-1)
    outside = ~_shown(lab)
    lab[outside, 1:] *= _chroma_shown(lab[outside])[:, None]
    linear = np.clip(_linear(lab), 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def mixed(colours: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., 3), each colour times the (3, 3) matrix. Written out: BLAS may round otherwise in another
    band."""
    x, y, z = (np.ascontiguousarray(colours[..., i]) for i in range(3))
    return np.stack([x * p + y * q + z * r for p, q, r in matrix.astype(colours.dtype)], axis=-1)


def _linear(lab: np.ndarray) -> np.ndarray:
    return mixed(mixed(lab, np.linalg.inv(LMS_TO_OKLAB)) ** 3, np.linalg.inv(LINEAR_TO_LMS))


def _shown(lab: np.ndarray) -> np.ndarray:
    linear = _linear(lab)
    shown = (linear >= -DENT * lab[..., :1] ** 3 - 1e-6) & (linear <= 1 + 1e-4)
    return shown[..., 0] & shown[..., 1] & shown[..., 2]  # ten times faster than all(axis=-1)


def _chroma_shown(lab: np.ndarray) -> np.ndarray:
    """(N,) the largest share of each colour's chroma that sRGB shows, by bisection; grey (0) is always
    shown."""
    low, high = np.zeros(len(lab), np.float32), np.ones(len(lab), np.float32)
    for _ in range(12):  # to 1/4096 of the chroma
        share = (low + high) / 2
        shown = _shown(lab * np.stack([np.ones_like(share), share, share], axis=-1))
        low, high = np.where(shown, share, low), np.where(shown, high, share)
    return low
