"""Pointillism: a sunlit river bank in dots of unmixed colour, each with its complement beside it."""

from dataclasses import replace

import numpy as np

from painting import strokes as st
from painting.canvas import (
    angle_along,
    ellipse,
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

TITLE = "Sunday on the river bank"
DESCRIPTION = "Pointillism: dots of pure colour and their complements over grass, water and shade."

ASPECT = 1.42
SCENE_PX = 1024
COLOURS = palette(
    "#fbf3d0",
    "#f7d860",
    "#f0b03a",
    "#e57a2c",
    "#cf3f31",
    "#e8a0a8",
    "#c6d65a",
    "#86b53e",
    "#3d8c48",
    "#1f5f5a",
    "#8fc3e2",
    "#4f86cc",
    "#2f4da8",
    "#8a62b4",
    "#cfa6d4",
    "#2c2560",
)


def paint(size_px, rng):
    """The painting, float32 (height, width, 3) sRGB in [0, 1], its long side `size_px`."""
    scene = _scene(rng)
    shape = picture_shape(size_px, ASPECT)
    picture = st.Picture(
        np.broadcast_to(rgb("#e9ddc0"), (*shape, 3)), weave(shape, rng, threads=300) * size_px / 2400
    )
    broad = st.brush_textures(st.Brush(bristles=16, ragged=0.3, dry=0.3), rng)
    dab = st.brush_textures(
        st.Brush(bristles=7, ragged=0.08, dry=0, ridge=0.45, groove=0.25, cap=1.0, wobble=0.10),
        rng,
        variants=14,
    )
    points = st.scatter(scene.shape, rng, spacing=0.018)
    ground = st.lay(scene, points, rng=rng, length=0.055, width=0.026, turn=0.3, edge=0.3, thickness=0.03)
    picture.stamp(st.recolour(ground, rng, value=0.04, warmth=0.03), broad, rng=rng)
    for width, spacing, strange in ((0.0210, 0.0165, 0.08), (0.0165, 0.0155, 0.15), (0.0128, 0.0144, 0.20)):
        _dots(picture, scene, dab, rng, width=width, spacing=spacing, strange=strange, where=None)
    _dots(picture, scene, dab, rng, width=0.0078, spacing=0.0125, strange=0.14, where=scene.detail)
    return relief(picture.colour, picture.height_px, depth=0.5, gloss=0.06)


def _dots(picture, scene, textures, rng, *, width, spacing, strange, where):
    """One sowing of dots; the share `strange` takes the complement of the colour it falls on."""
    points = st.scatter(scene.shape, rng, spacing=spacing, where=where, jitter=0.5)
    laid = st.lay(
        scene, points, rng=rng, length=1.12 * width, width=width, spread=0.16, turn=0.5, thickness=0.12
    )
    grey = laid.colour.mean(axis=1, keepdims=True)
    opposed = np.clip(grey + 0.06 - 1.5 * (laid.colour - grey), 0, 1)
    vivid = np.clip(grey + 1.35 * (laid.colour - grey), 0, 1)
    colour = np.where(rng.random((len(laid), 1)) < strange, opposed, vivid).astype(np.float32)
    dots = st.from_palette(replace(laid, colour=colour), COLOURS, rng=rng, heat=0.10, share=0.72)
    # One brush load, one colour: a dot is streaked only a little.
    dots = st.recolour(replace(dots, streak=dots.colour), rng, value=0.05, warmth=0.02, streak=0.03)
    picture.stamp(dots, textures, rng=rng)


def _scene(rng):
    shape = picture_shape(SCENE_PX, ASPECT)
    x, y = unit_grid(shape)
    soft = noise(shape, rng, cells=9, octaves=4)
    colour = ramp(y + 0.018 * soft, [(0, "#8dbbe0"), (0.10, "#bcd3e4"), (0.19, "#f3e3c3"), (0.25, "#f6d8b8")])
    angle = 0.25 * soft
    colour = _far_bank(x, y, colour, rng)
    colour, angle = _river(x, y, colour, angle, soft, rng)
    colour, angle, bank = _near_bank(x, y, colour, angle, soft, rng)
    empty = colour
    for foot, size in ((0.30, 0.120), (0.63, 0.085)):
        colour = _sail(x, y, colour, foot, size)
    colour = _people(shape, colour)
    drawn = np.abs(colour - empty).max(axis=2) > 0.02
    colour, angle, leaves = _tree(x, y, colour, angle, rng)
    detail = np.clip(
        0.30 + 0.9 * drawn + 0.25 * bank + 0.35 * leaves + 0.5 * (np.abs(y - 0.255) < 0.05), 0, 1
    )
    return st.Scene(colour.astype(np.float32), angle.astype(np.float32), detail.astype(np.float32))


def _far_bank(x, y, colour, rng):
    """Trees and a few bright houses across the water, hazy with distance."""
    crown = (
        0.212
        - 0.028 * np.abs(np.sin(11 * x + 0.6))
        - 0.016 * np.sin(4 * x)
        - 0.008 * noise(y.shape, rng, cells=30)
    )
    trees = ramp(
        (y - crown) / 0.06 + 0.3 * noise(y.shape, rng, cells=24, octaves=3),
        [(-0.2, "#b9cc6a"), (0.3, "#6fa661"), (0.8, "#3f7f78"), (1.3, "#4a5aa0")],
    )
    colour = mix(colour, trees, smoothstep(y, crown - 0.002, crown + 0.003))
    for left, width, height in (
        (0.06, 0.05, 0.032),
        (0.125, 0.035, 0.042),
        (0.475, 0.03, 0.026),
        (0.53, 0.055, 0.034),
    ):
        wall = (np.abs(x - left - width / 2) < width / 2) & (y > 0.268 - height)
        roof = (
            (np.abs(x - left - width / 2) < width / 2 + 0.004) & (y > 0.258 - height) & (y <= 0.268 - height)
        )
        colour = mix(colour, rgb("#f8ead2"), wall.astype(np.float32))
        colour = mix(colour, rgb("#d9603a"), roof.astype(np.float32))
    return mix(colour, rgb("#d8d77c"), smoothstep(y, 0.264, 0.268))


def _river(x, y, colour, angle, soft, rng):
    ripples = noise(y.shape, rng, cells=46, octaves=2, stretch=5.0)
    water = ramp(
        y + 0.02 * soft + 0.016 * ripples,
        [(0.27, "#a9cbd9"), (0.33, "#7db0dc"), (0.42, "#5f92d2"), (0.55, "#4a70c0")],
    )
    depth = 0.025 * np.abs(np.sin(11 * x + 0.6)) + 0.035 + 0.014 * ripples
    reflection = smoothstep(y - 0.275, depth + 0.02, depth - 0.02)
    water = mix(water, mix(rgb("#5f9a78"), rgb("#6a66ac"), smoothstep(y, 0.28, 0.33)), 0.75 * reflection)
    glitter = smoothstep(ripples - 2.4 * np.abs(x - 0.50), 0.9, 1.4)
    water = mix(water, rgb("#fdf0c8"), 0.85 * glitter)
    wet = smoothstep(y, 0.273, 0.277)
    return mix(colour, water, wet), np.where(wet > 0.5, 0.06 * soft, angle)


def _near_bank(x, y, colour, angle, soft, rng):
    """Grass running down to the water on the left, in sun and in the violet shade of the tree."""
    shore = 0.585 - 0.27 * smoothstep(x, 0.02, 1.02) + 0.012 * np.sin(9 * x) + 0.006 * soft
    bank = smoothstep(y, shore - 0.002, shore + 0.002)
    turf = noise(y.shape, rng, cells=26, octaves=3, stretch=2.0)
    grass = ramp(
        (y - shore) * 2.2 + 0.13 * turf,
        [(-0.05, "#e6dc74"), (0.1, "#bfd052"), (0.35, "#98bd46"), (0.7, "#7aa63e")],
    )
    shade_edge = 0.50 - 0.10 * x + 0.018 * np.sin(21 * x) + 0.014 * turf
    shade = np.maximum(
        smoothstep(y, shade_edge + 0.06, shade_edge + 0.075),
        smoothstep(ellipse(y.shape, (0.80, 0.475), (0.26, 0.05)) + 0.15 * turf, 1.0, 0.85),
    )
    dark = ramp(0.5 + 0.35 * turf, [(0, "#26386e"), (0.4, "#2c6a5c"), (0.75, "#3f7f50"), (1, "#5a5aa6")])
    grass = mix(grass, dark, 0.9 * shade)
    path = smoothstep(np.abs(y - shore - 0.035 - 0.03 * x), 0.016, 0.010) * smoothstep(x, 0.0, 0.1)
    grass = mix(grass, mix(rgb("#f4dcae"), rgb("#8a78b0"), shade), path)
    rim = np.exp(-(((y - shore) / 0.005) ** 2))
    colour = mix(mix(colour, grass, bank), rgb("#37506e"), 0.6 * rim)
    return colour, np.where(bank > 0.5, -0.25 + 0.35 * soft, angle), bank


def _sail(x, y, colour, foot, size):
    """A white sail with its hull, and both once more in the water."""
    base = 0.335 + 0.25 * (size - 0.06)
    rise = (base - y) / size
    sail = (
        (rise > 0)
        & (rise < 1)
        & (x > foot - 0.30 * size * (1 - rise))
        & (x < foot + 0.42 * size * (1 - rise))
    )
    shaded = mix(rgb("#fff7e0"), rgb("#b9b4dc"), smoothstep(x, foot - 0.05 * size, foot - 0.2 * size))
    colour = mix(colour, shaded, sail.astype(np.float32))
    hull = (np.abs(x - foot) < 0.42 * size - (y - base)) & (y >= base) & (y < base + 0.11 * size)
    colour = mix(colour, rgb("#b8402e"), hull.astype(np.float32))
    below = (y - base - 0.11 * size) / size
    mirrored = (
        (below > 0)
        & (below < 0.8)
        & (np.abs(x - foot - 0.01 * np.sin(below * 40)) < 0.30 * size * (0.9 - below))
    )
    return mix(colour, rgb("#e9e6d8"), 0.6 * mirrored.astype(np.float32))


def _people(shape, colour):
    """Strollers as Seurat saw them: still, upright shapes, two under parasols."""
    for x, y, tall, dress, parasol in (
        (0.175, 0.600, 0.195, "#3a2a78", "#e2572f"),
        (0.245, 0.585, 0.163, "#28324f", None),
        (0.520, 0.520, 0.117, "#d9548a", "#f6e7b0"),
        (0.405, 0.640, 0.098, "#f4ead0", None),
        (0.660, 0.455, 0.078, "#2f3f8a", None),
    ):
        skirt = polygon(
            shape,
            [
                (x - 0.05 * tall, y - 0.55 * tall),
                (x + 0.07 * tall, y - 0.55 * tall),
                (x + 0.23 * tall, y),
                (x - 0.17 * tall, y),
            ],
        )
        body = polygon(
            shape,
            [
                (x - 0.09 * tall, y - 0.84 * tall),
                (x + 0.09 * tall, y - 0.84 * tall),
                (x + 0.10 * tall, y - 0.5 * tall),
                (x - 0.09 * tall, y - 0.5 * tall),
            ],
        )
        head = smoothstep(ellipse(shape, (x, y - 0.91 * tall), (0.06 * tall, 0.075 * tall)), 1.1, 0.9)
        hat = smoothstep(ellipse(shape, (x, y - 0.98 * tall), (0.10 * tall, 0.035 * tall)), 1.1, 0.9)
        cast = smoothstep(ellipse(shape, (x + 0.30 * tall, y), (0.42 * tall, 0.045 * tall)), 1.1, 0.8)
        for mask, code in (
            (cast, "#3d3f86"),
            (skirt, dress),
            (body, dress),
            (head, "#f0c4a0"),
            (hat, "#2c2560"),
        ):
            colour = mix(colour, rgb(code), mask)
        if parasol:
            disc = ellipse(shape, (x + 0.05 * tall, y - 0.98 * tall), (0.30 * tall, 0.20 * tall))
            top = smoothstep(disc, 1.05, 0.95) * (unit_grid(shape)[1] < y - 0.96 * tall)
            colour = mix(colour, rgb(parasol), top)
    return colour


def _tree(x, y, colour, angle, rng):
    """The big tree on the right: trunk, and foliage hanging over the top of the picture."""
    middle = 0.845 + 0.030 * np.sin(7 * (y - 0.5)) + 0.10 * smoothstep(y, 0.2, 0.0)
    girth = 0.019 + 0.030 * smoothstep(y, 0.40, 0.52) ** 2 + 0.004 * np.sin(40 * y)
    across = (x - middle) / girth
    bark = ramp(across, [(-1, "#e8a052"), (-0.5, "#a8573a"), (0.2, "#54346e"), (1, "#241f52")])
    trunk = smoothstep(np.abs(across), 1.05, 0.95) * smoothstep(y, 0.515, 0.505)
    colour = mix(colour, bark, trunk)
    angle = np.where(trunk > 0.5, np.pi / 2, angle)
    clumps = noise(y.shape, rng, cells=11, octaves=4)
    crown = 0.115 + 0.145 * smoothstep(x, 0.58, 0.80) - 0.04 * smoothstep(x, 0.9, 1.0) + 0.045 * clumps
    leaves = smoothstep(y, crown + 0.004, crown - 0.004) * smoothstep(x + 0.025 * clumps, 0.575, 0.595)
    tone = ramp(
        0.36 + 0.34 * noise(y.shape, rng, cells=20, octaves=3) - 1.0 * (y - 0.12),
        [(-0.1, "#20306e"), (0.25, "#1f6454"), (0.5, "#3d8c48"), (0.75, "#93bb40"), (1.05, "#f0d65a")],
    )
    return mix(colour, tone, leaves), np.where(leaves > 0.5, angle_along(clumps), angle), leaves
