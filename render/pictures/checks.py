"""Automatic checks of a finished print: seams, dead patches, specks, clipping, a frame.

Pixels are (H, W, 3) float32, sRGB in [0, 1]; gray levels are of 255. The work goes in bands and strips, so
that a large print needs little more memory than itself. Every check looks for what paintings and photographs
do not show by themselves. The thresholds were set on the twelve shipped paintings and on classic paintings
and photographs, plain and enlarged twice (the numbers beside them), and on faults planted in those.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from render.pictures.bands import row_slices

Place = tuple[int, int, int, int]  # (top, left, height, width)
Borders = tuple[tuple[int, ...], tuple[int, ...]]

BAND_ROWS = 256


@dataclass(frozen=True)
class Finding:
    """A likely fault."""

    kind: str  # "seam", "dead patch", "specks", "clipping" or "border"
    message: str  # for people: what, how strong, where, and what to do
    place: Place  # where it is, or is strongest, in px


def examine(pixels: np.ndarray, photo: np.ndarray, *, borders: Borders = ((), ())) -> tuple[Finding, ...]:
    """At most one finding of each kind, the strongest.

    pixels: the print; photo: what it was made from, at the same size; borders: rows and columns where a tile
    begins. Raises ValueError when the sizes differ.
    """
    if pixels.shape != photo.shape:
        raise ValueError(f"a print of {pixels.shape} cannot be compared with a photograph of {photo.shape}")
    found = (
        seam(pixels, photo, borders),
        dead_patch(pixels, photo),
        specks(pixels, photo),
        clipping(pixels, photo),
        frame(pixels, photo),
    )
    return tuple(finding for finding in found if finding is not None)


def _gray(pixels: np.ndarray) -> np.ndarray:
    """(H, W) float32 gray levels, 0 to 255."""
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY) * 255


# --- seams --------------------------------------------------------------------------------------------------

REACH_PX = 24  # parallel lines on either side of a border, with which it is compared
NEAR_PX = 3  # those that the seam itself may touch
SHORTEST_SEGMENT_PX = 64
# Standard deviations beyond which one side of a tile counts no more: a straight edge of the picture may lie
# there. A tile with one side only can therefore never be judged (TILE_Z is more), and a print of two tiles is
# not.
MOST_Z = 6.0
# Step, contrast, roughness. Highest of any sound tile: 6.0 and 6.0 (stained glass, whose leads are straight;
# others 4.4 and 5.3), and 5.9 (JPEG's own blocks in a painting enlarged twice; others 4.4). Planted in one
# tile of 256 px, 1024 px long: 2 gray levels 4 to 9 in calm paintings, 0 to 6 in rough ones, where nobody
# sees them; contrast x 1.05: 5 to 11 and 1 to 3; moved by 1 px: 4 to 7. So a faint fault of one small tile
# may pass; what all tiles have does not.
TILE_Z = np.array([6.2, 6.5, 6.0])
# median of all segments; highest in calibration 1.8 (JPEG blocks, The Scream); planted: mostly 2 to 6,
GRID_Z = 1.7
# but 1.7 in the canvas of Starry Night


@dataclass(frozen=True)
class _Segment:
    """A stretch of a tile border, and by how many deviations it differs from the lines beside it: in the step
    across it, in how the step grows with lightness (a contrast), and in the roughness across it."""

    before: tuple[int, int]  # the tile above or left of it, (row, column)
    after: tuple[int, int]
    place: Place
    z: np.ndarray  # (3,): step, contrast, roughness
    step: float  # gray levels
    roughness: float  # factor


def seam(pixels: np.ndarray, photo: np.ndarray, borders: Borders) -> Finding | None:
    """Tiles that do not join: one that is lighter, of more contrast or moved, or a texture that breaks at
    every border."""
    segments = list(_segments(pixels, photo, borders))
    return _broken_texture(segments) or _odd_tile(segments)


def _segments(pixels: np.ndarray, photo: np.ndarray, borders: Borders) -> Iterator[_Segment]:
    for across in (
        False,
        True,
    ):  # borders that are rows, then those that are columns: these lie in the transposed picture
        turned, turned_photo = (p.swapaxes(0, 1) if across else p for p in (pixels, photo))
        lines, crossings = borders[::-1] if across else borders
        height, width = turned.shape[:2]
        ends = (0, *crossings, width)
        for i, line in enumerate(lines):
            top, bottom = max(0, line - REACH_PX - 2), min(height, line + REACH_PX + 2)
            if min(line - top, bottom - line) < REACH_PX // 2:
                continue  # at the picture's edge there is too little to compare with
            strip, photo_strip = _gray(turned[top:bottom]), _gray(turned_photo[top:bottom])
            for j, (start, stop) in enumerate(zip(ends, ends[1:])):
                if stop - start < SHORTEST_SEGMENT_PX:
                    continue
                z, excess = _deviations(strip[:, start:stop], photo_strip[:, start:stop], line - top)
                turn = (lambda pair: pair[::-1]) if across else tuple
                top_left, size = turn((line - 1, start)), turn((2, stop - start))
                yield _Segment(
                    turn((i, j)),
                    turn((i + 1, j)),
                    (*top_left, *size),
                    z,
                    float(excess[0]),
                    float(np.exp(excess[2])),
                )


def _deviations(strip: np.ndarray, photo_strip: np.ndarray, line: int) -> tuple[np.ndarray, np.ndarray]:
    """How line `line` of a strip, (lines, length) gray levels, differs from its parallels in (step, contrast,
    roughness): as standard deviations, and as it is. What the photograph has there too is no fault (an edge,
    the blocks of its JPEG) and is taken off."""
    excess, spread = _excess(strip, line)
    given, _ = _excess(photo_strip, line)
    given = np.where(np.sign(given) == np.sign(excess), np.abs(given), 0)
    return np.sign(excess) * np.maximum(0, np.abs(excess) - given) / spread, excess


def _excess(strip: np.ndarray, line: int) -> tuple[np.ndarray, np.ndarray]:
    """(step, contrast, roughness) of a line less the median of its parallels, and the spread of these.

    The step is taken from second differences, so that slopes cancel; each place along the line is measured by
    its own roughness, so that one strong edge that crosses the line does not decide.
    """
    first = strip[2:-1] - strip[1:-2]  # (N, L): line j lies between rows j+1 and j+2
    steps = 1.5 * first - 0.5 * (strip[3:] - strip[:-3])
    lightness = 0.5 * (strip[2:-1] + strip[1:-2])
    middle = line - 2
    others = np.abs(np.arange(len(first)) - middle) >= NEAR_PX

    unit = 1 / (np.abs(steps[others]).mean(0) + 0.5)  # (L,)
    steps = np.clip(steps * unit, -4, 4)
    total = (unit * unit).sum()
    step = (steps * unit).sum(1) / total  # (N,): least squares, in gray levels
    lightness -= (lightness * unit * unit).sum(1, keepdims=True) / total
    # 25: without a spread of lightness of some 5 gray levels there is no contrast to measure.
    contrast = (steps * unit * lightness).sum(1) / ((lightness * unit) ** 2 + 25 * unit * unit).sum(1)

    plain_unit = 1 / (np.abs(first[others]).mean(0) + 0.5)
    roughness = np.log(np.clip(np.abs(first) * plain_unit, 0, 4).mean(1) + 0.05)

    values = np.stack([step, contrast, roughness])  # (3, N)
    usual = np.median(values[:, others], axis=1)
    spread = 1.4826 * np.median(np.abs(values[:, others] - usual[:, None]), axis=1) + (0.1, 0.002, 0.03)
    return values[:, middle] - usual, spread


def _broken_texture(segments: list[_Segment]) -> Finding | None:
    """Half of all segments rougher than the lines beside them: no picture does that on a grid."""
    if len(segments) < 2:
        return None
    z = float(np.median([segment.z[2] for segment in segments]))
    if z < GRID_Z + 3 / np.sqrt(len(segments)):  # few segments vary more
        return None
    worst = max(segments, key=lambda segment: segment.z[2])
    factor = float(np.median([segment.roughness for segment in segments]))
    return Finding(
        "seam",
        (
            f"the texture breaks at the tile borders: pixels differ across them {factor:.1f} times as "
            f"much as beside them, "
            f"most at row {worst.place[0]}, column {worst.place[1]}. Use larger tiles, and look there "
            f"before printing."
        ),
        worst.place,
    )


def _odd_tile(segments: list[_Segment]) -> Finding | None:
    """A tile that differs from its neighbors at all its sides in one sense (Stouffer's sum of z)."""
    sides: dict[tuple[int, int], list[tuple[float, _Segment]]] = {}
    for segment in segments:
        sides.setdefault(segment.after, []).append((1.0, segment))
        sides.setdefault(segment.before, []).append((-1.0, segment))
    scores = {tile: _tile_z(around) for tile, around in sides.items()}
    if not scores or max(scores.values()) < 1:
        return None
    tile = max(scores, key=lambda tile: scores[tile])
    place = sides[tile][0][1].place
    step = float(np.mean([sign * segment.step for sign, segment in sides[tile]]))
    count = sum(score >= 1 for score in scores.values())
    return Finding(
        "seam",
        (
            f"a tile does not join its neighbors: it is {step:+.1f} gray levels off at its sides, or of "
            f"another contrast, or "
            f"moved (tiles like it: {count}). See its border at row {place[0]}, column {place[1]}. Use "
            f"larger tiles, or print "
            "it smaller."
        ),
        place,
    )


def _tile_z(around: list[tuple[float, _Segment]]) -> float:
    """The largest of its three sums, in units of what is too much; around: +1 where the tile is after the
    segment."""
    z = np.array(
        [[sign, sign, 1.0] * np.clip(segment.z, -MOST_Z, MOST_Z) for sign, segment in around]
    )  # (sides, 3)
    z[:, 2] = np.abs(
        z[:, 2]
    )  # moved by a pixel, a tile is rougher at three sides and repeats a line at the fourth
    return float((np.abs(z.sum(0)) / np.sqrt(len(z)) / TILE_Z).max())


# --- dead patches -------------------------------------------------------------------------------------------

BLOCKS_ALONG = 256  # blocks along the long side, of at least 8 px
DEAD_LEVELS = 0.5  # a block of one color, after rounding to 8 bits
TEXTURED_LEVELS = 2.0  # the median block of a print that has brush strokes; shipped paintings: 18 to 60
DEAD_SHARE = 0.02  # of the picture, in one piece; an enlarged night photograph has 1 %
PAPER, INK = 0.95, 0.12  # lighter and darker than this is plain white and black (a night sky: 0.1)


def dead_patch(pixels: np.ndarray, photo: np.ndarray) -> Finding | None:
    """A large patch of one color in a textured print, unless both print and photograph are plain white or
    black there."""
    block_px = max(8, max(pixels.shape[:2]) // BLOCKS_ALONG)
    mean, deviation = _blocks(pixels, block_px)
    if deviation.size == 0 or np.median(deviation) < TEXTURED_LEVELS:
        return None
    photo_mean, photo_deviation = _blocks(photo, block_px)
    plain = (
        (_extreme(mean) == _extreme(photo_mean)) & (_extreme(mean) != 0) & (photo_deviation < 2 * DEAD_LEVELS)
    )
    dead = ((deviation < DEAD_LEVELS) & ~plain).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dead, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if areas.size == 0 or areas.max() < DEAD_SHARE * dead.size:
        return None
    largest = 1 + int(areas.argmax())
    left, top, width, height = (int(value) * block_px for value in stats[largest, :4])
    color = ", ".join(f"{255 * value:.0f}" for value in mean[labels == largest].mean(0))
    share = areas[areas >= DEAD_SHARE * dead.size].sum() / dead.size
    return Finding(
        "dead patch",
        (
            f"{share:.0%} of the print is one flat color (RGB {color}) without strokes, at row {top}, "
            f"column {left}, "
            f"{width}x{height} px. Use more iterations (--quality best) or a higher style_weight."
        ),
        (top, left, height, width),
    )


def _extreme(mean: np.ndarray) -> np.ndarray:
    """(rows, columns): 1 where plain white, -1 where plain black, else 0."""
    return (mean.min(-1) >= PAPER).astype(int) - (mean.max(-1) <= INK)


def _blocks(pixels: np.ndarray, block_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Of every whole block the mean, (rows, columns, 3) in [0, 1], and the deviation of its channel that
    varies most, (rows, columns) in gray levels."""
    rows, columns = (side // block_px for side in pixels.shape[:2])
    means: list[np.ndarray] = [np.zeros((0, columns, 3))]
    deviations: list[np.ndarray] = [np.zeros((0, columns))]
    for blocks in row_slices((rows, columns), rows_each=max(1, BAND_ROWS // block_px)):
        band = pixels[blocks.start * block_px : blocks.stop * block_px, : columns * block_px]
        size = (columns, blocks.stop - blocks.start)
        mean = cv2.resize(band, size, interpolation=cv2.INTER_AREA)
        centered = band - cv2.resize(
            mean, band.shape[1::-1], interpolation=cv2.INTER_NEAREST
        )  # float32 keeps half a level
        variance = cv2.resize(centered * centered, size, interpolation=cv2.INTER_AREA)
        means.append(mean)
        deviations.append(255 * np.sqrt(variance.max(-1)))
    return np.concatenate(means), np.concatenate(deviations)


# --- specks -------------------------------------------------------------------------------------------------

SPECK_LEVELS = 60  # beyond all eight neighbors ...
SPECK_FACTOR = 1.5  # ... and this many times their own range
SPECKS_PER_MEGAPIXEL = (
    60  # clean: at most 33 (Starry Night's canvas); with 200 black ones planted: 82 to 173 are seen
)
FEWEST_SPECKS = 8
_RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)


def specks(pixels: np.ndarray, photo: np.ndarray) -> Finding | None:
    """Single pixels far darker or lighter than their neighbors, which agree with one another; more than the
    photo has."""
    count, (row, column) = _count_specks(pixels)
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    usual = max(FEWEST_SPECKS, SPECKS_PER_MEGAPIXEL * megapixels)
    if count < usual:
        return None
    photo_count, _ = _count_specks(photo)
    if count < usual + 1.5 * photo_count:
        return None
    return Finding(
        "specks",
        (
            f"{count / megapixels:.0f} single odd pixels per megapixel (the photograph: "
            f"{photo_count / megapixels:.0f}), the "
            f"first at row {row}, column {column}. Use optimiser=lbfgs or more iterations, or a smaller size."
        ),
        (row, column, 1, 1),
    )


def _count_specks(pixels: np.ndarray) -> tuple[int, tuple[int, int]]:
    """How many, and the place of the first."""
    count, first = 0, (0, 0)
    for rows in row_slices(pixels.shape, rows_each=BAND_ROWS):
        start = max(0, rows.start - 1)
        gray = np.rint(_gray(pixels[start : rows.stop + 1])).astype(np.uint8)
        # Outside the picture cv2 takes what never wins, so edges need no care.
        most, least = cv2.dilate(gray, _RING), cv2.erode(gray, _RING)
        outside = np.maximum(cv2.subtract(least, gray), cv2.subtract(gray, most))
        found = (outside > SPECK_LEVELS) & (cv2.subtract(most, least) * SPECK_FACTOR < outside)
        found = found[rows.start - start : rows.stop - start]
        if count == 0 and found.any():
            row, column = np.argwhere(found)[0]
            first = (rows.start + int(row), int(column))
        count += int(np.count_nonzero(found))
    return count, first


# --- clipping -----------------------------------------------------------------------------------------------

CLIPPED_SHARE = 0.05  # pure white or black; shipped paintings: at most 2 % (ink)
CLIPPED_CHANNEL_SHARE = 0.18  # a channel at its end, as in pure red; shipped paintings: at most 13 %
MORE_THAN_PHOTO = 3.0


def clipping(pixels: np.ndarray, photo: np.ndarray) -> Finding | None:
    """Tones that ran into black or white: far more pixels at exactly 0 or 1 (after rounding to 8 bits) than
    in the photo."""
    shares, photo_shares = _clipped(pixels), _clipped(photo)
    for share, photo_share, most, what in zip(
        shares,
        photo_shares,
        (CLIPPED_SHARE, CLIPPED_CHANNEL_SHARE),
        ("pure black or white", "a channel at 0 or 255"),
        strict=True,
    ):
        if share > most and share > MORE_THAN_PHOTO * photo_share:
            return Finding(
                "clipping",
                (
                    f"{share:.0%} of the pixels have {what} (the photograph: {photo_share:.0%}), so "
                    f"tones are lost all over. "
                    "Use a lower style_weight, or a style picture with softer contrast."
                ),
                (0, 0, *pixels.shape[:2]),
            )
    return None


def _clipped(pixels: np.ndarray) -> tuple[float, float]:
    """The shares of pixels with all channels, and with any channel, within half a level of 0 or 1."""
    every = some = 0
    for rows in row_slices(pixels.shape, rows_each=BAND_ROWS):
        band = pixels[rows]
        ends = (band < 0.5 / 255) | (band > 254.5 / 255)
        every += np.count_nonzero(ends.all(-1))
        some += np.count_nonzero(ends.any(-1))
    count = pixels.shape[0] * pixels.shape[1]
    return every / count, some / count


# --- a frame ------------------------------------------------------------------------------------------------

WIDEST_FRAME_PX = 3
FRAME_MOST_Z = 8.0
# calibration: at most 6.5, but for The Scream's scan: 12, of 2 levels. Edges darkened by a fifth: 14 to 16
FRAME_Z = 8.0
FRAME_LEVELS = 3.0  # as measured; in rough pictures a step measures about half of what it is


def frame(pixels: np.ndarray, photo: np.ndarray) -> Finding | None:
    """The outermost 1 to 3 lines lighter, or darker, than the next ones, at all four sides as at no line
    further in."""
    if min(pixels.shape[:2]) < 2 * REACH_PX:
        return None
    found = [_frame(pixels, photo, width_px) for width_px in range(1, WIDEST_FRAME_PX + 1)]
    found = [item for item in found if abs(item[0]) >= FRAME_Z and abs(item[1]) >= FRAME_LEVELS]
    if not found:
        return None
    _, step, width_px = max(
        found, key=lambda item: abs(item[1])
    )  # the lines beside a step show it weakly, turned round
    return Finding(
        "border",
        (
            f"the outermost {width_px} px are {'darker' if step > 0 else 'lighter'} than the picture "
            f"inside them, by some "
            f"{abs(step):.0f} gray levels at all sides. Cut {width_px} px off every side, or print with "
            f"a bleed."
        ),
        (0, 0, *pixels.shape[:2]),
    )


def _frame(pixels: np.ndarray, photo: np.ndarray, width_px: int) -> tuple[float, float, int]:
    """(z of the four sides, gray levels the picture is lighter than its outermost `width_px` lines,
    width_px)."""
    sides = [
        _deviations(strip, photo_strip, 2 + width_px)
        for strip, photo_strip in zip(_sides(pixels), _sides(photo), strict=True)
    ]
    z = [np.clip(z[0], -FRAME_MOST_Z, FRAME_MOST_Z) for z, _ in sides]
    return float(np.sum(z)) / 2, float(np.mean([excess[0] for _, excess in sides])), width_px


def _sides(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Four strips of (2 + 2 * REACH_PX, length) gray levels, the outermost line first, after two that mirror
    the next."""
    for turned in (pixels, pixels[::-1], pixels.swapaxes(0, 1), pixels.swapaxes(0, 1)[::-1]):
        yield cv2.copyMakeBorder(_gray(turned[: 2 * REACH_PX]), 2, 0, 0, 0, cv2.BORDER_REFLECT_101)
