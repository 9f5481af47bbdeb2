"""Impasto night: wind turning round stars and a moon above hills, a village and two poplars."""

import numpy as np

from painting import strokes as st
from painting.canvas import (
    angle_along,
    ellipse,
    mix,
    noise,
    palette,
    picture_shape,
    ramp,
    relief,
    rgb,
    smoothstep,
    unit_grid,
    warp,
    weave,
)

TITLE = "Nocturne with swirling wind"
DESCRIPTION = "Impasto: thick swirling strokes in ultramarine and yellow over a sleeping village."

ASPECT = 1.28
SCENE_PX = 1024
MOON = (0.845, 0.135, 0.052)  # x, y, radius
BITE = (0.46, -0.26, 0.84)  # x, y, radius of the moon's dark part, in radii of the moon
STARS = (
    (0.075, 0.10, 0.022),
    (0.215, 0.215, 0.030),
    (0.335, 0.065, 0.020),
    (0.565, 0.085, 0.026),
    (0.70, 0.235, 0.020),
    (0.945, 0.335, 0.022),
    (0.115, 0.385, 0.019),
    (0.665, 0.415, 0.016),
)
VORTICES = ((0.435, 0.245, 0.125, 2.2), (0.585, 0.325, 0.085, -1.9), (0.245, 0.42, 0.075, 1.2))
SKY = palette(
    "#0b1440", "#14236e", "#1f3fa0", "#2f5fc0", "#5b8fd6", "#a9c8e4", "#e6e2b0", "#f2d24c", "#173a5e"
)
LAND = palette("#08122e", "#10233f", "#173d4a", "#23585a", "#3f7a62", "#7d9a58", "#1b2a6b", "#c9a24a")


def paint(size_px, rng):
    """The painting, float32 (height, width, 3) sRGB in [0, 1], its long side `size_px`."""
    land_y = _land(unit_grid(picture_shape(SCENE_PX, ASPECT))[0])
    scene, land = _scene(rng, land_y)
    shape = picture_shape(size_px, ASPECT)
    picture = st.Picture(np.broadcast_to(rgb("#1a2350"), (*shape, 3)), weave(shape, rng) * size_px / 1400)
    brush = st.brush_textures(st.Brush(bristles=13, ragged=0.3, dry=0.2, ridge=0.6, groove=0.9), rng)

    _layer(picture, scene, brush, rng, length=0.14, width=0.036, spacing=0.021, where=None, thickness=0.09)
    _layer(picture, scene, brush, rng, length=0.10, width=0.0205, spacing=0.0150, where=None, thickness=0.14)
    _layer(
        picture,
        scene,
        brush,
        rng,
        length=0.065,
        width=0.0135,
        spacing=0.0130,
        where=0.2 + 0.7 * scene.detail,
        thickness=0.18,
    )
    _layer(
        picture,
        scene,
        brush,
        rng,
        length=0.035,
        width=0.0075,
        spacing=0.0095,
        where=scene.detail * (0.25 + 0.35 * land),
        thickness=0.22,
    )
    _stars(picture, brush, rng)
    _village(picture, brush, rng)
    _poplars(picture, brush, rng)
    return relief(picture.colour, picture.height_px, depth=0.85, gloss=0.18)


def _layer(picture, scene, brush, rng, *, length, width, spacing, where, thickness):
    points = st.scatter(scene.shape, rng, spacing=spacing, where=where)
    laid = st.lay(
        scene, points, rng=rng, length=length, width=width, turn=0.08, edge=0.33, thickness=thickness
    )
    low = points[:, 1] > _land(points[:, 0])
    for part, colours in ((~low, SKY), (low, LAND)):
        mixed = st.recolour(
            st.from_palette(laid.take(part), colours, rng=rng, heat=0.075, share=0.65),
            rng,
            value=0.035,
            warmth=0.02,
            streak=0.07,
        )
        picture.stamp(mixed, brush, rng=rng)


def _land(x):
    """Height of the far ridge."""
    return (
        0.565 - 0.05 * np.sin(3.1 * x + 0.4) - 0.02 * np.sin(9 * x + 1.0) - 0.075 * smoothstep(x, 0.55, 1.0)
    )


def _near(x):
    """Height of the nearer slope, on which the village stands."""
    return 0.66 + 0.018 * np.sin(5.3 * x + 2.1) + 0.03 * np.cos(2.6 * x)


def _scene(rng, ridge):
    shape = picture_shape(SCENE_PX, ASPECT)
    x, y = unit_grid(shape)
    flow_x, flow_y = _wind(x, y)
    bands = _drawn_out(noise(shape, rng, cells=34, octaves=2), flow_x, flow_y)
    sky = _sky(x, y, bands)
    near = _near(x)
    far_hills = ramp(
        0.5 + 0.16 * _slope_noise(shape, rng) + 2.2 * (y - ridge),
        [(0, "#142a66"), (0.4, "#1d4670"), (0.7, "#3b7c86"), (1.0, "#8fb08a"), (1.5, "#23585a")],
    )
    fields = ramp(
        0.45 + 0.2 * _slope_noise(shape, rng) + 1.6 * (y - near),
        [(0, "#0b1a3a"), (0.35, "#173d4a"), (0.6, "#2f6a55"), (0.85, "#7d9a58"), (1.2, "#1b3558")],
    )
    land = smoothstep(y - ridge, -0.002, 0.002)
    field = smoothstep(y - near, -0.002, 0.002)
    colour = mix(mix(sky, far_hills, land), fields, field)
    rim = np.exp(-(((y - ridge) / 0.004) ** 2)) + np.exp(-(((y - near) / 0.004) ** 2))
    colour = mix(colour, rgb("#0a1233"), 0.75 * np.clip(rim, 0, 1))
    ground = angle_along(
        y - mix(ridge, near, smoothstep(y, 0.6, 0.66)) + 0.012 * noise(shape, rng, cells=7, octaves=2)
    )
    angle = np.where(land > 0.5, ground, np.arctan2(flow_y, flow_x)).astype(np.float32)
    glow = sum(np.exp(-((ellipse(shape, (sx, sy), (2.2 * r, 2.2 * r))) ** 2)) for sx, sy, r in (*STARS, MOON))
    swirl = sum(np.exp(-((ellipse(shape, (vx, vy), (r, r))) ** 2)) for vx, vy, r, _ in VORTICES)
    detail = np.clip(0.25 + 0.8 * glow + 0.7 * swirl + 0.5 * rim + 0.35 * land, 0, 1)
    return st.Scene(colour, angle, detail.astype(np.float32)), land


def _wind(x, y):
    """The way of the sky's strokes: a rising and falling stream with eddies, and rings round every light."""
    flow_x = np.ones_like(x)
    flow_y = 0.55 * np.sin(7.5 * x + 4.0 * y) + 0.15
    for cx, cy, radius, turn in (*VORTICES, *((sx, sy, 2.3 * r, 3.0) for sx, sy, r in (*STARS, MOON))):
        dx, dy = (x - cx) / radius, (y - cy) / radius
        near = np.exp(-((dx * dx + dy * dy) ** 1.5))
        fade = 1 - 0.98 * near
        distance = np.hypot(dx, dy) + 1e-3
        flow_x = flow_x * fade - turn * near * dy / distance
        flow_y = flow_y * fade + turn * near * dx / distance
    return flow_x, flow_y


def _drawn_out(field, flow_x, flow_y):
    """The field averaged along the wind, so that its blobs become long bands; unit deviation again."""
    speed = np.hypot(flow_x, flow_y) + 1e-6
    step_x, step_y = 0.006 * flow_x / speed, 0.006 * flow_y / speed
    total = field
    for _ in range(4):  # doubling: each round averages twice as far
        total = (warp(total, step_x, step_y) + total + warp(total, -step_x, -step_y)) / 3
        step_x, step_y = 1.7 * step_x, 1.7 * step_y
    return total / total.std()


def _sky(x, y, bands):
    tone = 0.43 + 0.17 * bands + 0.28 * (y - 0.3)
    for cx, cy, radius, _ in VORTICES:
        distance = np.hypot(x - cx, y - cy)
        tone = tone + 0.30 * np.exp(-((distance / radius) ** 2)) * (
            0.55 + 0.45 * np.cos(distance / radius * 9)
        )
    sky = ramp(
        tone,
        [
            (0, "#0a1240"),
            (0.2, "#14236e"),
            (0.42, "#2146a8"),
            (0.6, "#3d74c9"),
            (0.76, "#86b2dd"),
            (0.92, "#d9e0c0"),
            (1.1, "#f0d870"),
        ],
    )
    mist = 0.75 * np.exp(-(((y - 0.50 + 0.05 * np.sin(5 * x)) / 0.035) ** 2)) * smoothstep(bands, -1.2, 0.8)
    sky = mix(sky, rgb("#c4d9d6"), mist)
    for cx, cy, radius in STARS:
        distance = np.hypot(x - cx, y - cy) / radius
        sky = mix(
            sky,
            ramp(
                distance,
                [(0, "#fff6cf"), (0.5, "#f6d743"), (1.0, "#e8b52e"), (1.5, "#c6d68a"), (2.2, "#7fb4c8")],
            ),
            0.95 * smoothstep(distance + 0.25 * bands, 2.4, 1.5),
        )
    return _moon(x, y, sky, bands)


def _moon(x, y, sky, bands):
    cx, cy, radius = MOON
    distance = np.hypot(x - cx, y - cy) / radius
    halo = ramp(
        distance, [(0, "#f7d64a"), (1.2, "#f4cf3f"), (1.7, "#d9d27a"), (2.3, "#9cc4a8"), (3.0, "#5f97cf")]
    )
    sky = mix(sky, halo, smoothstep(distance + 0.3 * bands, 2.9, 1.7))
    bitten = np.hypot((x - cx) / radius - BITE[0], (y - cy) / radius - BITE[1])
    crescent = smoothstep(distance, 1.08, 1.0) * smoothstep(bitten, BITE[2] - 0.04, BITE[2] + 0.04)
    return mix(sky, rgb("#f0891c"), crescent)


def _slope_noise(shape, rng):
    return noise(shape, rng, cells=14, octaves=3, stretch=2.5)


def _stars(picture, brush, rng):
    """Short thick strokes in rings, laid last so that the lights stand highest off the canvas."""
    layers = []
    for cx, cy, radius in STARS:
        for ring, code in ((0.42, "#fff8dc"), (0.95, "#f8dc4a"), (1.5, "#efe7a0"), (2.15, "#b9d9c0")):
            layers.append(_ring((cx, cy), ring * radius, rgb(code), rng))
    cx, cy, radius = MOON
    for ring, code in ((1.45, "#fbe36a"), (1.95, "#efe7a0"), (2.6, "#a9d2c4")):
        layers.append(_ring((cx, cy), ring * radius, rgb(code), rng))
    layers.append(_crescent())
    picture.stamp(st.recolour(st.join(*layers), rng, value=0.03, warmth=0.05, streak=0.10), brush, rng=rng)


def _crescent():
    """The moon's lit part: rings of strokes, less those that the moon's own shadow bites off."""
    cx, cy, radius = MOON
    ring, turn = (each.ravel() for each in np.meshgrid((0.50, 0.68, 0.86, 1.04), np.arange(24) * np.pi / 12))
    across, down = ring * np.cos(turn), ring * np.sin(turn)
    lit = np.hypot(across - BITE[0], down - BITE[1]) > BITE[2] + 0.06
    points = np.stack([cx + radius * across, cy + radius * down], axis=1)[lit]
    return st.straight(
        points,
        turn[lit] + np.pi / 2,
        length=0.022,
        width=0.0125,
        colour=rgb("#ee7a10"),
        thickness=0.25,
        bow=-0.002,
    )


def _ring(centre, radius, colour, rng):
    count = max(5, int(2 * np.pi * radius / 0.020))
    turn = np.arange(count) * 2 * np.pi / count + rng.uniform(0, 6)
    reach = radius * (1 + 0.08 * rng.standard_normal(count))
    points = np.stack([centre[0] + reach * np.cos(turn), centre[1] + reach * np.sin(turn)], axis=1)
    return st.straight(
        points, turn + np.pi / 2, length=0.022, width=0.0095, colour=colour, thickness=0.25, bow=-0.002
    )


def _village(picture, brush, rng):
    """Small houses with lit windows on the near slope, and a church with a spire."""
    layers = []
    for x in np.concatenate([rng.uniform(0.30, 0.80, 17), rng.uniform(0.83, 0.98, 4)]):
        y = _near(x) + 0.012 + rng.uniform(0, 0.055)
        layers.append((y, _house(x, y, rng.uniform(0.017, 0.026), rng)))
    layers.append((_near(0.555) + 0.03, _church(0.555, _near(0.555) + 0.03, rng)))
    layers.sort(key=lambda layer: layer[0])
    for _, laid in layers:
        picture.stamp(laid, brush, rng=rng)


def _house(x, y, size, rng):
    wall = rgb(("#27518f", "#3a6f94", "#1d3b78", "#5b83a0")[rng.integers(4)])
    roof = rgb(("#0f1c46", "#5a3a34", "#233a63", "#7a4a35")[rng.integers(4)])
    parts = [_bar((x, y), 0, 1.9 * size, 1.1 * size, wall)]
    for step, shade in ((0, 0.75), (1, 0.9), (2, 1.1)):  # the roof, stroke over stroke up to its ridge
        parts.append(
            _bar(
                (x, y - (0.62 + 0.28 * step) * size), 0, (2.5 - 0.75 * step) * size, 0.42 * size, shade * roof
            )
        )
    parts.append(_bar((x, y + 0.55 * size), 0, 2.1 * size, 0.16 * size, rgb("#0a1230")))
    if rng.random() < 0.75:
        parts.append(
            _bar((x + rng.uniform(-0.5, 0.5) * size, y), 1.57, 0.62 * size, 0.36 * size, rgb("#f9c733"))
        )
    return st.recolour(st.join(*parts), rng, value=0.02, warmth=0.02, streak=0.06)


def _church(x, y, rng):
    parts = [
        _bar((x, y - 0.014), 0, 0.090, 0.044, rgb("#35689c")),
        _bar((x, y - 0.040), 0, 0.095, 0.018, rgb("#1c2f6b")),
        _bar((x, y - 0.053), 0, 0.075, 0.014, rgb("#152657")),
        _bar((x + 0.034, y - 0.045), 1.57, 0.090, 0.028, rgb("#4a7fb4")),
        st.along_line(
            [
                (x + 0.034, y - 0.085),
                (x + 0.034, y - 0.11),
                (x + 0.034, y - 0.135),
                (x + 0.034, y - 0.158),
                (x + 0.034, y - 0.178),
            ],
            width=0.030,
            colour=rgb("#16245c"),
            taper=0.85,
        ),
        _bar((x + 0.039, y - 0.105), 1.48, 0.050, 0.006, rgb("#7fa8d8")),
        _bar((x - 0.026, y - 0.010), 1.57, 0.022, 0.009, rgb("#f9c733")),
        _bar((x, y - 0.010), 1.57, 0.022, 0.009, rgb("#f4a92a")),
        _bar((x + 0.034, y - 0.055), 1.57, 0.020, 0.009, rgb("#f9c733")),
    ]
    return st.recolour(st.join(*parts), rng, value=0.02, warmth=0.02, streak=0.06)


def _bar(centre, angle, length, width, colour):
    return st.straight(np.array([centre]), angle, length=length, width=width, colour=colour, thickness=0.12)


def _poplars(picture, brush, rng):
    """Two dark trees like flames, stroke over stroke from the foot to the tip."""
    for foot, top, girth in (((0.140, 0.80), (0.168, 0.175), 0.034), ((0.062, 0.80), (0.050, 0.37), 0.026)):
        count = 480
        share = np.sort(rng.random(count) ** 1.15)[::-1]  # the tip first, as tiles are laid from the top down
        half = (
            girth
            * np.clip((1 - share) / 0.55, 0, 1) ** 0.75
            * (1 - 0.55 * np.clip(1 - share - 0.6, 0, 1) / 0.4)
        )
        side = rng.uniform(-1, 1, count)
        sway = 0.010 * np.sin(9 * share + foot[0] * 30)
        points = np.stack(
            [foot[0] + (top[0] - foot[0]) * share + half * side + sway, foot[1] + (top[1] - foot[1]) * share],
            axis=1,
        )
        # Every flame leans towards the tip; those on the flanks curl inwards.
        lean = -np.pi / 2 - 0.30 * side * smoothstep(share, 0.2, 0.9) + 0.22 * np.sin(16 * share + 2.5 * side)
        dark = palette("#07101f", "#0e2420", "#1b3a22", "#3f6a34", "#141f52", "#8a7a2c", "#27503e")
        pick = dark[rng.choice(len(dark), count, p=(0.20, 0.22, 0.18, 0.14, 0.12, 0.05, 0.09))]
        length = 0.055 * rng.uniform(0.6, 1.2, count) * (1 - 0.4 * share)
        laid = st.straight(
            points,
            lean,
            length=length,
            width=0.0115 * (1 - 0.3 * share),
            colour=pick,
            thickness=0.24,
            bow=0.008 * np.sin(14 * share + 3 * side),
        )
        picture.stamp(st.recolour(laid, rng, value=0.02, warmth=0.02, streak=0.07), brush, rng=rng)
