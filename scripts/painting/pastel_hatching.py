"""Pastel: a still life of jug, pears and peaches, hatched and cross-hatched on toned paper."""

from dataclasses import replace

import numpy as np

from painting import strokes as st
from painting.canvas import (
    blur,
    ellipse,
    mix,
    noise,
    palette,
    picture_shape,
    ramp,
    relief,
    rgb,
    smoothstep,
    tooth,
    unit_grid,
)

TITLE = "Still life with turquoise jug"
DESCRIPTION = "Pastel: cross-hatched sticks of rose, turquoise, lilac and ochre on toned paper."

ASPECT = 1.25
SCENE_PX = 1024
PAPER = "#6a5660"
TABLE = 0.47
COLOURS = palette(
    "#fff4e4",
    "#f6d6c8",
    "#f2a7b4",
    "#d9648c",
    "#a63a6c",
    "#c9b2e2",
    "#8d78c4",
    "#54478c",
    "#2f2a50",
    "#8fe0d2",
    "#38b3ae",
    "#157a86",
    "#f6dc7a",
    "#e0a83c",
    "#b8c75a",
    "#6f9648",
    "#f2935a",
    "#c0522f",
)
# x, y, radius, tilt, lit, middle, shade
PEARS = (
    (0.600, 0.545, 0.062, 0.10, "#f6ee9a", "#b8c750", "#4a6a48"),
    (0.725, 0.575, 0.066, -0.45, "#fae08a", "#d9a83c", "#8a4a4a"),
)
PEACHES = (
    (0.150, 0.600, 0.056, "#ffd9a8", "#f28a5a", "#8e2f5a"),
    (0.262, 0.640, 0.060, "#fff0b8", "#f2a75a", "#a6404a"),
    (0.845, 0.665, 0.050, "#ffd0b8", "#e86a6a", "#7a2a60"),
    (0.485, 0.665, 0.044, "#ffe9a8", "#e9a43c", "#9a4a38"),
)

# The side of the stick first, then its edge: one direction over another, at last along the forms.
# angle in radians; follow 0 keeps the hand's own direction, 1 takes the way of the forms.
SHEETS = (
    dict(angle=0.5, follow=0.5, length=0.120, width=0.0400, spacing=0.0240, press=0.62, bare=1.00, fine=0.0),
    dict(angle=-0.85, follow=0, length=0.105, width=0.0135, spacing=0.0170, press=0.80, bare=1.00, fine=0.0),
    dict(angle=0.75, follow=0, length=0.090, width=0.0110, spacing=0.0165, press=0.82, bare=1.00, fine=0.0),
    dict(angle=0, follow=1, length=0.060, width=0.0085, spacing=0.0125, press=0.90, bare=0.30, fine=0.70),
    dict(angle=-1.0, follow=0, length=0.055, width=0.0062, spacing=0.0115, press=0.92, bare=0.15, fine=0.45),
)


def paint(size_px, rng):
    """The painting, float32 (height, width, 3) sRGB in [0, 1], its long side `size_px`."""
    scene = _scene(rng)
    shape = picture_shape(size_px, ASPECT)
    grain = tooth(shape, rng, cells=260, octaves=2)
    paper = np.clip(rgb(PAPER) * (0.90 + 0.20 * grain[..., None]), 0, 1)
    picture = st.Picture(paper, 0 * grain)
    stick = st.brush_textures(
        st.Brush(bristles=12, ragged=0.10, dry=0, ridge=0, groove=0.3, cap=0.12, soft=0.35, wobble=0.10),
        rng,
        variants=14,
    )
    for sheet in SHEETS:
        _hatch(picture, scene, stick, grain, rng, **sheet)
    _accents(picture, stick, grain, rng)
    lit = picture.colour * (0.93 + 0.14 * grain[..., None])
    return relief(lit, blur(grain, 0.0006) * size_px / 900, depth=0.35, gloss=0.0)


def _hatch(picture, scene, stick, grain, rng, *, angle, follow, length, width, spacing, press, bare, fine):
    """One sheet of hatching: a stroke falls with the chance `bare` anywhere and `fine` more where there is
    form."""
    # The wrist turns a little from patch to patch, so that neighbouring strokes lie parallel.
    patches = 0.22 * np.round(1.5 * noise(scene.shape, rng, cells=6, octaves=1))
    way = scene.angle if follow == 1 else angle + patches + follow * np.sin(scene.angle)
    points = st.scatter(scene.shape, rng, spacing=spacing, where=bare + fine * scene.detail)
    laid = st.lay(
        replace(scene, angle=way.astype(np.float32)),
        points,
        rng=rng,
        length=length,
        width=width,
        spread=0.2,
        turn=0.05,
        edge=0.30,
    )
    laid = replace(laid, opacity=(press * rng.uniform(0.85, 1.05, len(laid))).astype(np.float32))
    laid = st.from_palette(laid, COLOURS, rng=rng, heat=0.12, share=0.62)
    laid = st.recolour(replace(laid, streak=laid.colour), rng, value=0.055, warmth=0.04, streak=0.03)
    picture.stamp(laid, stick, rng=rng, grain=0.36 + 0.64 * grain, bite=2.4)


def _scene(rng):
    shape = picture_shape(SCENE_PX, ASPECT)
    x, y = unit_grid(shape)
    soft = noise(shape, rng, cells=5, octaves=3)
    wall = ramp(
        0.95 * x + 0.35 * y + 0.13 * soft,
        [(0.05, "#f0b0b4"), (0.3, "#c77a9c"), (0.55, "#7a5f9e"), (0.85, "#3d3a70"), (1.2, "#2a2748")],
    )
    colour = mix(wall, _table(x, y, rng), smoothstep(y, TABLE - 0.002, TABLE + 0.002))
    state = [colour, (0.9 + 0.5 * soft).astype(np.float32), np.zeros(shape, np.float32)]
    state[1] = np.where(y > TABLE, 0.15 * soft, state[1]).astype(np.float32)
    _drape(state, x, y)
    _bowl(state, shape, x, y)
    _jug(state, shape, x, y)
    for px, py, radius, tilt, *tones in PEARS:
        _cast(state, shape, (px + 0.5 * radius, py + 0.92 * radius), radius)
        _round(state, ellipse(shape, (px, py), (radius, radius)), x - px, y - py, radius, tones)
        neck = (px + 1.05 * radius * np.sin(tilt), py - 1.05 * radius * np.cos(tilt))
        _round(
            state,
            ellipse(shape, neck, (0.55 * radius, 0.85 * radius), angle=tilt),
            x - px,
            y - py + 0.4 * radius,
            1.25 * radius,
            tones,
        )
    for px, py, radius, *tones in PEACHES:
        _cast(state, shape, (px + 0.5 * radius, py + 0.85 * radius), radius)
        _round(state, ellipse(shape, (px, py), (radius, 0.95 * radius)), x - px, y - py, radius, tones)
    colour, angle, form = state
    return st.Scene(colour.astype(np.float32), angle, np.clip(0.25 + 0.75 * form, 0, 1))


def _table(x, y, rng):
    folds = noise(x.shape, rng, cells=7, octaves=2, stretch=2.0)
    return ramp(
        0.6 + 0.16 * folds - 0.55 * (x - 0.4) + 0.5 * (y - 0.6),
        [(0, "#54478c"), (0.3, "#9a86cc"), (0.55, "#d9c6e6"), (0.8, "#f8e6dc"), (1.0, "#fff4e4")],
    )


def _drape(state, x, y):
    """A turquoise cloth hanging over the table's front, in long folds."""
    top = 0.69 - 0.10 * np.sin(2.6 * x + 0.3) + 0.012 * np.sin(17 * x)
    phase = 34 * (x + 0.30 * (y - 0.6) * (x - 0.45)) + 1.2 * np.sin(6 * x + 5 * y)
    tone = ramp(
        0.5 + 0.45 * np.sin(phase) + 0.1 * np.sin(2.3 * phase),
        [(0, "#12505e"), (0.3, "#157a86"), (0.6, "#45bdb4"), (0.85, "#a8eadc"), (1.0, "#f2fbee")],
    )
    cloth = smoothstep(y, top - 0.002, top + 0.002)
    hem = np.exp(-(((y - top - 0.012) / 0.004) ** 2))
    _put(
        state,
        cloth,
        mix(tone, rgb("#e0a83c"), hem),
        np.pi / 2 + 0.3 * (x - 0.45) + 0.25 * np.sin(phase),
        0.55,
    )


def _bowl(state, shape, x, y):
    """A cream bowl behind, heaped with plums."""
    cx, cy = 0.775, 0.425
    for dx, dy, code in (
        (-0.075, -0.045, "#d9648c"),
        (0.0, -0.065, "#8d4a9c"),
        (0.075, -0.045, "#c0522f"),
        (-0.035, -0.025, "#e8a05a"),
        (0.04, -0.028, "#b83a6c"),
    ):
        tone = rgb(code)
        _round(
            state,
            ellipse(shape, (cx + dx, cy + dy), (0.048, 0.046)),
            x - cx - dx,
            y - cy - dy,
            0.048,
            (_hex(0.45 * tone + 0.55), code, _hex(0.38 * tone)),
        )
    _cast(state, shape, (cx + 0.05, cy + 0.105), 0.13)
    body = smoothstep(ellipse(shape, (cx, cy - 0.015), (0.150, 0.118)), 1.015, 0.985) * (y > cy - 0.015)
    tone = ramp(
        (x - cx) / 0.3 + 0.45, [(0, "#fff4e4"), (0.3, "#f6dca0"), (0.6, "#e0a05c"), (0.95, "#8a3f4a")]
    )
    band = np.abs(y - cy - 0.035 - 0.25 * (x - cx) ** 2) < 0.007
    _put(state, body, mix(tone, rgb("#157a86"), band.astype(np.float32)), 0.15 - 2.2 * (x - cx), 0.9)


def _jug(state, shape, x, y):
    """The tall glazed jug on the left, its belly turned by cross-contour strokes."""
    cx, top, bottom = 0.365, 0.135, 0.590
    down = np.clip((y - top) / (bottom - top), 0, 1)
    half = (
        0.048
        + 0.082 * np.sin(np.pi * np.clip(down * 1.12 - 0.20, 0, 1)) ** 1.3
        + 0.028 * smoothstep(down, 0.16, 0.0)
    )
    across = (x - cx) / half
    _cast(state, shape, (cx + 0.09, bottom - 0.005), 0.14)
    ring = ellipse(shape, (cx + 0.115, 0.265), (0.072, 0.092))
    handle = smoothstep(np.abs(ring - 0.86), 0.16, 0.12) * (x > cx)
    _put(state, handle, ramp(ring, [(0.7, "#0f4a5a"), (0.86, "#45bdb4"), (1.0, "#12606c")]), 1.2 + 0 * x, 1)
    inside = (
        smoothstep(np.abs(across), 1.02, 0.98)
        * (y > top)
        * (y < bottom + 0.018 * np.sqrt(np.clip(1 - across**2, 0, 1)))
    )
    glaze = ramp(
        across + 0.10 * np.sin(24 * down),
        [
            (-1, "#5fcfc4"),
            (-0.62, "#a8eadc"),
            (-0.45, "#f8fff4"),
            (-0.25, "#5fcfc4"),
            (0.15, "#1f98a0"),
            (0.6, "#125a70"),
            (0.88, "#2a2f5c"),
            (1, "#7a6fb0"),
        ],
    )
    garland = np.abs(down - 0.56 + 0.045 * np.sin(9 * np.arcsin(np.clip(across, -1, 1))))
    glaze = mix(glaze, rgb("#f2a7b4"), 0.95 * smoothstep(garland, 0.036, 0.028))
    glaze = mix(
        glaze,
        rgb("#e0a83c"),
        ((np.abs(down - 0.43) < 0.012) | (np.abs(down - 0.69) < 0.012)).astype(np.float32),
    )
    _put(state, inside, glaze, 0.55 * across, 1)
    mouth = smoothstep(ellipse(shape, (cx, top), (0.074, 0.018)), 1.05, 0.95)
    _put(state, mouth, mix(rgb("#123a4c"), rgb("#8fe0d2"), smoothstep(y, top - 0.002, top + 0.014)), 0 * x, 1)


def _round(state, shape_field, dx, dy, radius, tones):
    """A ball lit from the upper left, with light thrown back into its shadow side."""
    mask = smoothstep(shape_field, 1.03, 0.97)
    lit = (
        0.5
        + 0.42 * (-0.72 * dx - 0.62 * dy) / radius
        + 0.18 * smoothstep(shape_field, 0.78, 1.0) * (dx + dy > 0)
    )
    light, middle, shade = tones
    tone = ramp(lit, [(0.05, shade), (0.42, middle), (0.72, light), (0.93, "#fffaf0")])
    _put(state, mask, tone, np.arctan2(dy, dx) + np.pi / 2, 1)


def _cast(state, shape, centre, radius):
    """The shadow an object throws on the table, to the lower right."""
    field = ellipse(shape, (centre[0] + 0.45 * radius, centre[1]), (1.25 * radius, 0.34 * radius), angle=0.12)
    shadow = 0.85 * smoothstep(field, 1.1, 0.55)
    state[0] = mix(state[0], rgb("#3f3470"), shadow)


def _put(state, mask, colour, angle, form):
    colour_map, angle_map, form_map = state
    state[0] = mix(colour_map, colour, mask)
    state[1] = np.where(mask > 0.5, angle, angle_map).astype(np.float32)
    state[2] = mix(form_map, form, mask)


def _hex(colour):
    return "#" + "".join(f"{round(float(channel) * 255):02x}" for channel in np.clip(colour, 0, 1))


def _accents(picture, stick, grain, rng):
    """Stalks and the last lights, pressed hard."""
    dark = [
        st.along_line(line, width=0.008, colour=rgb("#3a2430"))
        for line in (
            ((0.612, 0.432), (0.618, 0.408), (0.632, 0.388)),
            ((0.690, 0.462), (0.676, 0.440), (0.672, 0.418)),
        )
    ]
    spots = [(px - 0.40 * r, py - 0.42 * r, r) for px, py, r, *_ in (*PEARS, *PEACHES)]
    points = np.array(
        [
            (px + jx * r, py + jy * r)
            for px, py, r in spots
            for jx, jy in ((0, 0), (0.16, -0.07), (-0.1, 0.16))
        ]
    )
    light = st.straight(points, -0.7, length=0.022, width=0.0075, colour=rgb("#fffbf0"))
    picture.stamp(st.join(*dark, light), stick, rng=rng, grain=0.35 + 0.65 * grain, bite=3.0)
