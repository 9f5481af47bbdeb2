"""Palette knife: a harbour at sunset in slabs of oil paint, each dragged in one pull."""

from dataclasses import replace

import numpy as np

from painting import strokes as st
from painting.canvas import (
    mix,
    noise,
    palette,
    picture_shape,
    polygon,
    ramp,
    relief,
    rgb,
    smoothstep,
    unit_grid,
    weave,
)

TITLE = "Harbour at sunset"
DESCRIPTION = "Palette knife: bold dragged slabs of vermilion, orange, cream and teal."

ASPECT = 1.32
SCENE_PX = 1024
HORIZON = 0.375
SUN = (0.60, 0.285, 0.045)
COLOURS = palette(
    "#fff1d2",
    "#fbd37a",
    "#f7a13a",
    "#ef6a2a",
    "#d23a24",
    "#98232c",
    "#f2a98c",
    "#c96a72",
    "#4a2338",
    "#1b1a2b",
    "#0f5a64",
    "#1f8a8a",
    "#74c0b2",
    "#c8dcc4",
    "#2c3f5c",
    "#7a4a3a",
)
# x, waterline, length, hull, mast height, sail
BOATS = (
    (0.205, 0.560, 0.300, "#7c1f2a", 0.430, "#f6e2b8"),
    (0.800, 0.480, 0.200, "#123f4c", 0.300, "#e0542c"),
    (0.485, 0.425, 0.095, "#2a1a2c", 0.145, "#f2b070"),
)


def paint(size_px, rng):
    """The painting, float32 (height, width, 3) sRGB in [0, 1], its long side `size_px`."""
    scene = _scene(rng)
    shape = picture_shape(size_px, ASPECT)
    picture = st.Picture(
        np.broadcast_to(rgb("#5a2a30"), (*shape, 3)), weave(shape, rng, threads=220) * size_px / 1500
    )
    knife = st.brush_textures(
        st.Brush(
            bristles=13, ragged=0.16, dry=0.22, ridge=0.75, groove=0.30, cap=0.03, soft=0.05, wobble=0.05
        ),
        rng,
        variants=16,
    )
    everywhere = np.ones(scene.shape, np.float32)
    for length, width, spacing, where, edge, thickness in (
        (0.170, 0.075, 0.040, everywhere, 0.45, 0.05),
        (0.115, 0.046, 0.027, everywhere, 0.35, 0.07),
        (0.075, 0.029, 0.022, 0.12 + 0.6 * scene.detail, 0.28, 0.09),
    ):
        _slabs(
            picture,
            scene,
            knife,
            rng,
            length=length,
            width=width,
            spacing=spacing,
            where=where,
            edge=edge,
            thickness=thickness,
        )
    _slabs(
        picture,
        scene,
        knife,
        rng,
        length=0.048,
        width=0.0150,
        spacing=0.0170,
        where=0.6 * scene.detail**1.5,
        edge=0.25,
        thickness=0.11,
    )
    _boats(picture, knife, rng)
    _masts(picture, knife, rng)
    return relief(picture.colour, picture.height_px, depth=0.62, gloss=0.15)


def _slabs(picture, scene, knife, rng, *, length, width, spacing, where, edge, thickness):
    points = st.scatter(scene.shape, rng, spacing=spacing, where=where)
    laid = st.lay(
        scene,
        points,
        rng=rng,
        length=length,
        width=width,
        spread=0.3,
        turn=0.16,
        edge=edge,
        thickness=thickness,
    )
    laid = replace(laid, bow=0.15 * laid.bow, sway=0 * laid.sway)  # a blade does not bend
    laid = st.from_palette(laid, COLOURS, rng=rng, heat=0.085, share=0.6)
    picture.stamp(st.recolour(laid, rng, value=0.03, warmth=0.03, streak=0.09), knife, rng=rng)


def _scene(rng):
    shape = picture_shape(SCENE_PX, ASPECT)
    x, y = unit_grid(shape)
    drift = noise(shape, rng, cells=5, octaves=3, stretch=1.8)
    blocks = (
        np.sign(noise(shape, rng, cells=8, octaves=1)) * np.abs(noise(shape, rng, cells=12, octaves=1)) ** 0.5
    )
    from_sun = np.hypot(x - SUN[0], 1.5 * (y - SUN[1]))
    sky = ramp(
        from_sun + 0.075 * drift,
        [
            (0.0, "#fff0c0"),
            (0.09, "#fdc95a"),
            (0.2, "#f58a34"),
            (0.36, "#dd5434"),
            (0.52, "#c47076"),
            (0.66, "#5f8f98"),
            (0.8, "#2a6470"),
        ],
    )
    sky = mix(sky, rgb("#fff3cf"), smoothstep(np.hypot(x - SUN[0], y - SUN[1]) / SUN[2], 1.1, 0.9))
    water = _water(x, y, rng)
    wet = smoothstep(y, HORIZON - 0.001, HORIZON + 0.001)
    colour = mix(sky, water, wet)
    colour = _town(x, y, colour, rng)
    colour = _quay(shape, colour, rng)
    angle = np.where(
        wet > 0.5, 0.10 * blocks, np.arctan2(y - SUN[1], x - SUN[0]) * 0.35 - 0.25 + 0.45 * blocks
    )
    angle = np.where((y > 0.31) & (y < HORIZON), np.pi / 2 * (blocks > 0), angle)
    sparkle = np.exp(-(((x - SUN[0]) / (0.06 + 0.45 * (y - HORIZON))) ** 2)) * wet
    detail = np.clip(
        0.25
        + 0.7 * sparkle
        + 0.75 * np.exp(-(((y - HORIZON) / 0.035) ** 2))
        + 0.2 * wet
        + 0.3 * np.exp(-((from_sun / 0.15) ** 2)),
        0,
        1,
    )
    return st.Scene(colour, angle.astype(np.float32), detail.astype(np.float32))


def _water(x, y, rng):
    """Teal water that carries the sky's fire in a broken column under the sun."""
    waves = noise(x.shape, rng, cells=22, octaves=3, stretch=4.0)
    depth = (y - HORIZON) / 0.38
    water = ramp(
        depth + 0.17 * waves,
        [(0, "#c9826a"), (0.12, "#74b0a6"), (0.35, "#1f8a8a"), (0.65, "#0f5a64"), (1.0, "#1a2c48")],
    )
    column = np.exp(-(((x - SUN[0]) / (0.05 + 0.16 * depth)) ** 2)) + 0.22 * waves * np.exp(
        -(((x - SUN[0]) / 0.45) ** 2)
    )
    water = mix(
        water,
        ramp(column, [(0.3, "#d23a24"), (0.6, "#f7a13a"), (1.0, "#fff1c8")]),
        smoothstep(column, 0.28, 0.6),
    )
    for centre, base, length, hull, _, sail in BOATS:
        under = np.exp(-(((x - centre) / (0.42 * length)) ** 4)) * smoothstep(y, base - 0.01, base + 0.01)
        water = mix(water, rgb(hull), 0.85 * under * smoothstep(y + 0.02 * waves, base + 0.09, base + 0.04))
        far = np.exp(-(((x - centre) / (0.20 * length)) ** 4)) * smoothstep(y, base + 0.03, base + 0.05)
        water = mix(water, rgb(sail), 0.6 * far * smoothstep(waves, -0.2, 0.3))
    return water


def _town(x, y, colour, rng):
    """Warehouses and a church tower against the light, a few windows burning."""
    edges = np.concatenate([[0], np.sort(rng.uniform(0, 1, 22)), [1.01]])
    for left, right in zip(edges[:-1], edges[1:]):
        top = HORIZON - rng.uniform(0.018, 0.062) * (0.5 + min(abs((left + right) / 2 - SUN[0]) * 2.5, 1))
        block = ((x >= left) & (x < right) & (y > top) & (y < HORIZON)).astype(np.float32)
        code = ("#4a2338", "#7a3a3a", "#2c3f5c", "#98452f", "#5a4a66", "#c07a58")[rng.integers(6)]
        colour = mix(colour, rgb(code), block)
        colour = mix(colour, rgb("#f2a15a"), block * (y < top + 0.008))
    tower = (np.abs(x - 0.345) < 0.011) & (y > 0.245) & (y < HORIZON)
    spire = (np.abs(x - 0.345) < 0.12 * (y - 0.195)) & (y > 0.195) & (y <= 0.25)
    return mix(colour, rgb("#3a1f36"), (tower | spire).astype(np.float32))


def _quay(shape, colour, rng):
    stones = ramp(
        0.5 + 0.4 * noise(shape, rng, cells=16, octaves=2, stretch=2.0),
        [(0, "#241a2c"), (0.4, "#5a3a3c"), (0.7, "#9a6248"), (1.0, "#e0a46a")],
    )
    quay = polygon(shape, [(0.46, 0.80), (1.01, 0.655), (1.01, 0.80)])
    lit = polygon(shape, [(0.44, 0.795), (1.01, 0.640), (1.01, 0.658), (0.47, 0.80)])
    return mix(mix(colour, stones, quay), rgb("#f4c07a"), lit)


def _boats(picture, knife, rng):
    """Hulls and sails, each a handful of deliberate pulls."""
    for x, base, length, hull, tall, sail in sorted(BOATS, key=lambda boat: boat[1]):
        thick = 0.13 * length
        keel = [
            (x, base - 0.5 * thick, 0.0, 0.92 * length, thick, hull),
            (x - 0.36 * length, base - 0.85 * thick, 0.35, 0.34 * length, 0.6 * thick, hull),
            (x + 0.36 * length, base - 0.85 * thick, -0.35, 0.34 * length, 0.6 * thick, hull),
            (x, base - 0.98 * thick, 0.0, 0.95 * length, 0.24 * thick, "#f4d7a0"),
            (x + 0.03 * length, base - 0.08 * thick, 0.0, 0.85 * length, 0.28 * thick, "#161425"),
            (x + 0.16 * length, base - 1.5 * thick, 0.0, 0.25 * length, 0.85 * thick, "#c9584a"),
        ]
        for step in np.linspace(0, 1, 9):  # the mainsail, slab over slab from boom to peak
            rise = base - 1.6 * thick - step * 0.72 * tall
            wide = 0.56 * length * (1 - 0.86 * step)
            keel.append(
                (x - 0.03 * length - wide / 2, rise, -0.12 - 0.25 * step, wide + 0.02, 0.105 * tall, sail)
            )
        for step in np.linspace(0, 1, 6):  # the jib
            rise = base - 1.5 * thick - step * 0.55 * tall
            wide = 0.34 * length * (1 - 0.85 * step)
            keel.append((x + 0.05 * length + wide / 2, rise, 0.35, wide + 0.012, 0.105 * tall, sail))
        laid = _pulls(keel, thickness=0.10)
        picture.stamp(st.recolour(laid, rng, value=0.045, warmth=0.05, streak=0.11), knife, rng=rng)


def _masts(picture, knife, rng):
    """Edges of the blade: masts, booms and stays pressed in as thin lines."""
    lines = []
    for x, base, length, _, tall, _ in BOATS:
        foot = base - 0.13 * length
        lines += [
            (x, foot - tall / 2, np.pi / 2, tall, 0.0085 * (0.5 + tall), "#2a1622"),
            (x + 0.003, foot - tall / 2, np.pi / 2, 0.9 * tall, 0.003, "#f7b45a"),
            (x - 0.26 * length, foot - 0.04 * tall, 0.06, 0.56 * length, 0.006, "#3a1c24"),
            (
                x + 0.24 * length,
                foot - 0.45 * tall,
                np.arctan2(0.9 * tall, 0.48 * length),
                np.hypot(0.9 * tall, 0.48 * length),
                0.0028,
                "#3a1c24",
            ),
        ]
    picture.stamp(st.recolour(_pulls(lines, thickness=0.3), rng, value=0.02, warmth=0.02), knife, rng=rng)


def _pulls(rows, *, thickness):
    """Strokes from rows of (x, y, angle, length, width, "#rrggbb")."""
    values = np.array([row[:5] for row in rows])
    return st.straight(
        values[:, :2],
        values[:, 2],
        length=values[:, 3],
        width=values[:, 4],
        colour=palette(*(row[5] for row in rows)),
        thickness=thickness,
    )
