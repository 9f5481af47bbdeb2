"""Marbled paper: floating ink drops, combed and swirled by exact maps of the plane.

Every tool (drop, comb, wave, swirl) moves the whole bath by a map with a known
inverse, so each sample is walked back through the tools to the ink it came from.
"""

import cv2
import numpy as np

from . import canvas, shapes

TITLE = "Marbled paper"
DESCRIPTION = "Combed and swirled ink: feathered bands of indigo, madder, ochre and cream."

HEIGHT_TO_WIDTH = 0.74
SUPERSAMPLE = 2
STRIP_ROWS = 8  # small enough for a strip's samples to stay in the processor's cache
VIEW = 0.80  # share of the bath's width that the sheet takes up
INKS = [
    canvas.rgb(code)
    for code in (
        "#efe2c4",
        "#16284f",
        "#a3262d",
        "#d79a2f",
        "#2c7f86",
        "#f4ecd8",
        "#11151f",
        "#d9674a",
    )
]
BATH = 0
# Inks of the rings inside one drop, from the middle outwards.
RINGS = [
    (1, 5, 1),
    (2, 3, 2, 6),
    (4, 5, 1),
    (3, 6, 3),
    (5, 4, 1, 5),
    (2, 5, 2),
    (1, 4, 5, 6),
    (7, 5, 2),
    (5, 1),
    (3, 2, 5),
    (6, 5, 3, 1),
]


def _drops(rng):
    """First-to-last drops of the ground: (x, y, radius, rings)."""
    # A first sowing covers the bath evenly, well beyond the sheet.
    spots = [(x, y) for x in np.arange(-0.25, 1.3, 0.145) for y in np.arange(-0.3, 1.1, 0.145)]
    drops = []
    for i, k in enumerate(rng.permutation(len(spots))):
        x, y = (float(place) for place in spots[k] + rng.normal(0, 0.025, 2))
        drops.append((x, y, rng.uniform(0.09, 0.125), RINGS[i % len(RINGS)]))
    for i in range(30):
        x, y = rng.uniform(-0.1, 1.1), rng.uniform(-0.1, 0.84)
        drops.append((x, y, rng.uniform(0.02, 0.06), RINGS[i % len(RINGS)][:2]))
    return drops


def _stones(rng):
    """Drops let fall after the combing: a few large eyes and a spray of small ones."""
    stones = []
    for x, y in (
        (0.17, 0.20),
        (0.47, 0.13),
        (0.82, 0.25),
        (0.30, 0.53),
        (0.63, 0.47),
        (0.90, 0.60),
        (0.08, 0.63),
    ):
        for radius, rings in ((0.042, (5, 1, 5, 2)), (0.026, (3, 6, 5))):
            stones.append((x + rng.normal(0, 0.006), y + rng.normal(0, 0.006), radius, rings))
    for _ in range(45):
        stones.append(
            (
                rng.random(),
                rng.random() * HEIGHT_TO_WIDTH,
                rng.uniform(0.002, 0.009),
                RINGS[rng.integers(len(RINGS))][:2],
            )
        )
    return stones


def _undo_drop(x, y, ink, tone, drop):
    """Walk samples back over one drop; those inside it take its ink."""
    centre_x, centre_y, radius, rings = drop
    # At this distance a drop pushes by a fiftieth of its radius: less than shows.
    if y.min() > centre_y + 25 * radius or y.max() < centre_y - 25 * radius:
        return
    dx, dy = x - centre_x, y - centre_y
    nearness = np.float32(radius**2) / (dx * dx + dy * dy + np.float32(1e-12))
    if nearness.max() > 1:
        inside = (nearness > 1) & (ink < 0)
        # Equal areas: each ring is one more drop of the same volume.
        place = len(rings) / nearness[inside]
        ring = np.minimum(place.astype(np.int32), len(rings) - 1)
        ink[inside] = np.array(rings, np.int8)[ring]
        tone[inside] = place - ring
    squeeze = np.sqrt(np.maximum(1 - nearness, 0))
    x[...] = centre_x + dx * squeeze
    y[...] = centre_y + dy * squeeze


def _tines(position, *, period, reach):
    """Pull in [0, 1] of a comb's teeth, strongest at each tooth."""
    off = np.abs((position / period) % 1 - 0.5) * period
    return np.exp(-off / reach)


def _zigzag(position, *, period):
    """Pull in [-1, 1] of a comb drawn forth, then back between its own tracks."""
    return 4 * np.abs((position / period) % 1 - 0.5) - 1


def _undo_combs(x, y):
    """Ground pattern: forth and back, across, then a fine comb and a waving rake."""
    x += 0.030 * np.sin(2 * np.pi * (y / 0.37 + 0.15)) + 0.011 * np.sin(2 * np.pi * y / 0.123)
    y += 0.016 * np.sin(2 * np.pi * (x / 0.29))
    y -= 0.055 * (_tines(x + 0.1 * y, period=0.036, reach=0.0085) - 0.3)
    x -= 0.050 * _zigzag(y, period=0.11)
    y -= 0.075 * _zigzag(x, period=0.19)


def _undo_swirl(x, y, swirl):
    centre_x, centre_y, reach, turn = swirl
    dx, dy = x - centre_x, y - centre_y
    distance = np.hypot(dx, dy)
    angle = -turn * np.exp(-((distance / reach) ** 2) * 1.6) * (1 - 0.4 * np.minimum(distance / reach, 1))
    cos, sin = np.cos(angle), np.sin(angle)
    x[...] = centre_x + cos * dx - sin * dy
    y[...] = centre_y + sin * dx + cos * dy


def _undo_stylus(x, y, pull):
    """A needle drawn from one point towards another; the bath follows near its track."""
    from_x, from_y, to_x, to_y, reach = pull
    along = np.array([to_x - from_x, to_y - from_y], np.float32)
    length = np.hypot(*along)
    along /= length
    dx, dy = x - from_x, y - from_y
    across = dx * along[1] - dy * along[0]
    forward = dx * along[0] + dy * along[1]
    near = np.exp(-((across / reach) ** 2)) * np.exp(
        -((np.maximum(np.abs(forward - length / 2) - length / 2, 0) / reach) ** 2)
    )
    x -= along[0] * near * length * 0.6
    y -= along[1] * near * length * 0.6


def paint(size_px, rng):
    drop_rng, stone_rng, tool_rng, paper_rng, tint_rng, fine_rng = rng.spawn(6)
    drops, stones = _drops(drop_rng), _stones(stone_rng)
    swirls = [
        (x + tool_rng.normal(0, 0.01), y + tool_rng.normal(0, 0.01), reach, turn)
        for x, y, reach, turn in (
            (0.20, 0.36, 0.15, 3.4),
            (0.73, 0.17, 0.13, -3.6),
            (0.50, 0.62, 0.14, 3.2),
            (0.93, 0.45, 0.11, -3.2),
            (0.03, 0.08, 0.12, 3.0),
            (0.45, 0.30, 0.09, -3.2),
            (0.77, 0.66, 0.08, 2.8),
        )
    ]
    pulls = [(x, y - 0.05, x + 0.01, y + 0.07, 0.010) for x, y, radius, _ in stones[:14:2]]

    image = shapes.blank(size_px, height_to_width=HEIGHT_TO_WIDTH)
    height_px, width_px = image.shape[:2]
    inks = np.array(INKS, np.float32)
    step = VIEW / (SUPERSAMPLE * size_px)
    for top_px in range(0, height_px, STRIP_ROWS):
        rows_px = min(STRIP_ROWS, height_px - top_px)
        y, x = np.mgrid[0 : rows_px * SUPERSAMPLE, 0 : width_px * SUPERSAMPLE].astype(np.float32)
        x, y = (x + 0.5) * step + 0.1, (y + 0.5) * step + 0.08 + VIEW * top_px / size_px
        ink = np.full(x.shape, -1, np.int8)
        tone = np.full(x.shape, 0.5, np.float32)
        for swirl in reversed(swirls):
            _undo_swirl(x, y, swirl)
        for pull in pulls:
            _undo_stylus(x, y, pull)
        for drop in reversed(stones):
            _undo_drop(x, y, ink, tone, drop)
        _undo_combs(x, y)
        for drop in reversed(drops):
            _undo_drop(x, y, ink, tone, drop)
        ink[ink < 0] = BATH
        # Ink gathers at the rim of a ring as the next one pushes it outwards.
        samples = inks[ink] * (1.05 - 0.14 * tone**2)[..., None]
        image[top_px : top_px + rows_px] = cv2.resize(
            samples, (width_px, rows_px), interpolation=cv2.INTER_AREA
        )

    paper = shapes.paper_fibre(image.shape, rng=paper_rng)
    cloud = canvas.noise(image.shape[:2], tint_rng, cells=8, octaves=3)
    # Ink takes less on the high fibres, and not evenly over the sheet.
    thin = canvas.smoothstep(paper + 0.6 * cloud, 0.4, 3.2) * 0.22
    image = canvas.mix(image, np.float32([0.93, 0.88, 0.76]), thin)
    image *= (1 + 0.030 * cloud)[..., None]
    specks = canvas.noise(image.shape[:2], fine_rng, cells=250, octaves=2)
    image = canvas.mix(image, inks[BATH], 0.5 * canvas.smoothstep(specks, 2.1, 2.5))
    image = shapes.emboss(image, paper, strength=0.04)
    return np.clip(image, 0, 1).astype(np.float32)
