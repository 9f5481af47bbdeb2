"""Watercolour: mountains over a lake in wet washes, with granulating pigment, blooms and white paper left."""

from dataclasses import replace

import numpy as np

from painting import strokes as st
from painting.canvas import (
    angle_along,
    blur,
    mix,
    noise,
    palette,
    picture_shape,
    relief,
    rgb,
    smoothstep,
    tooth,
    unit_grid,
)

TITLE = "Mountain lake, early morning"
DESCRIPTION = "Watercolour: granulating blue, green and sienna washes with wet edges on white paper."

ASPECT = 1.38
LAKE = 0.435
INDIGO, BLUE, TURQUOISE = rgb("#31436f"), rgb("#5f8fc9"), rgb("#5fb9b4")
VIOLET, ROSE, OCHRE = rgb("#8378b0"), rgb("#e8a098"), rgb("#e9b860")
SAP, OLIVE, SIENNA = rgb("#6f9a52"), rgb("#4a6440"), rgb("#b0653a")


class Sheet:
    """Paper under washes: what light is left, and the grain that pigment settles into."""

    def __init__(self, shape, rng):
        self.shape, self.rng, self.turns = shape, rng, 0
        self.x, self.y = unit_grid(shape)
        self.grain = tooth(shape, rng, cells=290, octaves=2)
        self.light = np.broadcast_to(rgb("#fbf7ec"), (*shape, 3)).copy()
        self.edge_noise = noise(shape, rng, cells=28, octaves=4, gain=0.6)
        self.flow_noise = noise(shape, rng, cells=6, octaves=4, gain=0.6)
        # Drops of clean water push pigment outwards into crinkled rims.
        self.blooms = noise(shape, rng, cells=10, octaves=5, gain=0.62)

    def wash(
        self,
        inside,
        pigment,
        *,
        density=0.4,
        second=None,
        rim=0.55,
        soft=0.0012,
        rough=0.004,
        granulation=0.35,
        bloom=0.35,
        tone=None,
    ):
        """One wash over `inside` > 0, a signed depth in fractions of the long side.

        second: a pigment that runs into the first; rim: pigment gathered on the border; soft: width of the
        border (large where the paper was wet); tone: (h, w) thins or thickens the wash from place to place.
        """
        depth = inside + rough * self.edge_noise
        mask = smoothstep(depth, -soft, soft)
        border = (
            rim * np.exp(-np.clip(depth, 0, None) / 0.0028) * mask
            + 0.25 * rim * np.exp(-np.clip(depth, 0, None) / 0.012) * mask
        )
        crinkle = np.exp(-(((self.blooms - 0.55) / 0.07) ** 2)) - 0.45 * smoothstep(self.blooms, 0.55, 0.9)
        load = density * (0.78 + 0.26 * self.flow_noise + bloom * crinkle)
        load = load * (1 + granulation * 2.2 * (0.5 - self.grain))
        if tone is not None:
            load = load * tone
        load = np.clip(load, 0.03, 1.6) * mask + density * border
        colour = (
            pigment
            if second is None
            else mix(pigment, second, smoothstep(self.flow_noise + 0.5 * self.blooms, -0.5, 0.7))
        )
        # Pigment absorbs exponentially with its thickness, so that washes over washes stay clear.
        self.light *= np.exp(load[..., None] * np.log(np.clip(colour, 0.04, 1)))

    def shifted(self):
        """New edges and currents for the next wash, from the same noise turned over: cheap and different."""
        self.turns += 1
        sides = (
            (slice(None, None, -1), slice(None)) if self.turns % 2 else (slice(None), slice(None, None, -1))
        )
        self.edge_noise = self.edge_noise[sides].copy()
        self.flow_noise = self.flow_noise[sides[::-1]].copy()
        self.blooms = self.blooms[sides].copy()


def paint(size_px, rng):
    """The painting, float32 (height, width, 3) sRGB in [0, 1], its long side `size_px`."""
    sheet = Sheet(picture_shape(size_px, ASPECT), rng)
    peaks = _peaks(sheet)
    _sky(sheet, peaks)
    _mountains(sheet, peaks)
    _lake(sheet)
    _shore(sheet)
    picture = st.Picture(sheet.light, 0 * sheet.grain)
    _brushwork(picture, sheet, rng)
    _pines(picture, rng)
    _spatter(picture, rng)
    return relief(
        picture.colour * (0.985 + 0.03 * sheet.grain[..., None]),
        blur(sheet.grain, 0.0008) * size_px / 1000,
        depth=0.2,
        gloss=0.0,
        light=(-0.5, -0.5),
    )


def _margin(sheet):
    """Depth inside the painted field: a hand's breadth of bare paper round it, unevenly."""
    height, width = np.array(sheet.shape) / max(sheet.shape)
    return np.minimum(np.minimum(sheet.x, width - sheet.x), np.minimum(sheet.y, height - sheet.y)) - 0.008


def _peaks(sheet):
    """Height of the far range at every x, (1, width): two snow peaks and their shoulders."""
    x = sheet.x[:1]
    far = (
        0.300
        - 0.205 * np.exp(-((np.abs(x - 0.40) / 0.15) ** 1.15))
        - 0.150 * np.exp(-((np.abs(x - 0.70) / 0.12) ** 1.15))
    )
    return far + 0.010 * _ridge(sheet)


def _ridge(sheet):
    """A jagged line of unit deviation, (1, width), the same at every size."""
    line = noise((64, 2048), sheet.rng, cells=16, octaves=6, gain=0.5)[20]
    return np.interp(sheet.x[0], np.linspace(0, 1, 2048), line).astype(np.float32)[None, :]


def _sky(sheet, peaks):
    # Snow is bare paper: the sky stops at the peaks.
    margin = np.minimum(_margin(sheet), peaks - sheet.y)
    clouds = noise(sheet.shape, sheet.rng, cells=4, octaves=4, stretch=1.6)
    clouds = clouds - 1.2 * np.exp(-(((sheet.x - 0.41) / 0.11) ** 2))  # none over the summit
    sheet.wash(
        margin, ROSE, second=OCHRE, density=0.28, soft=0.012, rim=0.1, tone=smoothstep(sheet.y, 0.10, 0.28)
    )
    sheet.shifted()
    sheet.wash(margin, BLUE, second=VIOLET, density=0.34, rim=0.8, rough=0.0012, tone=1.15 - 3.0 * sheet.y)
    sheet.shifted()
    sheet.wash(
        np.minimum(margin, 0.06 * (clouds - 0.1) - 0.22 * (sheet.y - 0.08)),
        BLUE,
        second=VIOLET,
        density=0.48,
        soft=0.006,
        rim=0.5,
        rough=0.008,
    )
    sheet.shifted()
    # Drifts of cloud on the left as well, so that no corner is left without brushwork.
    drift = 0.05 * (clouds[::-1, ::-1] + 0.25) - 0.10 * np.abs(sheet.y - 0.09 - 0.10 * sheet.x)
    sheet.wash(np.minimum(margin, drift), BLUE, second=ROSE, density=0.37, rim=0.6, rough=0.010, soft=0.004)
    sheet.shifted()
    sheet.wash(
        np.minimum(margin, 0.05 * (clouds - 0.65) - 0.20 * (sheet.y - 0.08)),
        BLUE,
        second=INDIGO,
        density=0.37,
        rim=0.6,
        rough=0.010,
    )
    sheet.shifted()


def _mountains(sheet, peaks):
    """Three ranges, the farther the paler; snow is paper that no wash has touched."""
    margin = _margin(sheet)
    x, y = sheet.x, sheet.y
    body = np.minimum(np.minimum(margin, y - peaks), LAKE - y)
    sheet.wash(body, BLUE, second=ROSE, density=0.14, rim=1.3, rough=0.001)
    sheet.shifted()
    # Shadow faces: the right side of every crag, the left stays snow. Spurs lean outwards as they come down.
    crags = noise(sheet.shape, sheet.rng, cells=7, octaves=5, gain=0.5)
    bent = x + 0.022 * crags - 0.10 * (y - 0.2)
    side = np.tanh(22 * (bent - 0.405)) - np.tanh(16 * (bent - 0.560)) + np.tanh(22 * (bent - 0.705)) - 0.1
    slopes = np.gradient(blur(crags, 0.006), axis=1)
    faces = blur((0.55 * slopes / slopes.std() + 1.5 * side - 4 * (y - 0.25)).astype(np.float32), 0.003)
    for bias, pigment, second, density in ((0.0, BLUE, VIOLET, 0.53), (-1.2, INDIGO, VIOLET, 0.47)):
        sheet.wash(
            np.minimum(body - 0.003, 0.010 * (faces + bias)),
            pigment,
            second=second,
            density=density,
            rim=0.8,
            rough=0.002,
        )
        sheet.shifted()
    ridge_noise = _ridge(sheet)
    middle = 0.325 - 0.09 * np.exp(-(((x - 0.08) / 0.16) ** 2)) - 0.06 * np.exp(-(((x - 0.93) / 0.13) ** 2))
    middle = middle + 0.012 * np.roll(ridge_noise, 200, axis=1)
    body = np.minimum(np.minimum(margin, y - middle), LAKE - y)
    sheet.wash(body, TURQUOISE, second=VIOLET, density=0.46, rim=0.8, tone=1.25 - smoothstep(y, middle, LAKE))
    sheet.shifted()
    near = (
        0.405
        - 0.06 * np.exp(-(((x - 1.0) / 0.20) ** 2))
        - 0.075 * np.exp(-((x / 0.14) ** 2))
        - 0.012 * np.sin(13 * x)
    )
    body = np.minimum(
        np.minimum(margin, y - near + 0.006 * np.roll(ridge_noise, 700, axis=1)), LAKE + 0.004 - y
    )
    sheet.wash(body, SAP, second=OLIVE, density=0.71, rim=0.6, rough=0.005)
    sheet.shifted()


def _lake(sheet):
    margin = _margin(sheet)
    x, y = sheet.x, sheet.y
    ripples = noise(sheet.shape, sheet.rng, cells=26, octaves=3, stretch=6.0)
    water = np.minimum(margin, y - LAKE - 0.004)
    glint = 0.010 * (
        1.25 - np.abs(ripples) - 1.2 * np.exp(-(((x - 0.45) / 0.10) ** 2)) * smoothstep(ripples, -0.6, 0.3)
    )
    sheet.wash(
        np.minimum(water, 0.4 * glint + 0.004),
        BLUE,
        second=TURQUOISE,
        density=0.46,
        rim=0.5,
        rough=0.002,
        tone=0.65 + 0.6 * smoothstep(y, LAKE, 0.70),
    )
    sheet.shifted()
    mirror = (
        0.030
        + 0.125 * np.exp(-((np.abs(x - 0.40) / 0.14) ** 1.4))
        + 0.10 * np.exp(-((np.abs(x - 0.70) / 0.11) ** 1.4))
    )
    sheet.wash(
        np.minimum(water, 0.8 * (mirror - (y - LAKE)) + 0.012 * ripples),
        VIOLET,
        second=INDIGO,
        density=0.37,
        soft=0.006,
        rim=0.3,
    )
    sheet.shifted()
    dark = 0.022 + 0.06 * np.exp(-(((x - 1.0) / 0.22) ** 2)) + 0.07 * np.exp(-((x / 0.15) ** 2))
    sheet.wash(
        np.minimum(water, dark - (y - LAKE) + 0.010 * ripples), OLIVE, second=TURQUOISE, density=0.53, rim=0.5
    )
    sheet.shifted()
    sheet.wash(
        np.minimum(water, 0.010 * (ripples - 0.75) + 0.02 * (y - 0.55)),
        INDIGO,
        second=BLUE,
        density=0.43,
        rim=0.6,
    )
    sheet.shifted()


def _shore(sheet):
    """The bank in front, warm earth against the blue, with a few pale stones."""
    margin = _margin(sheet)
    x, y = sheet.x, sheet.y
    lumps = noise(sheet.shape, sheet.rng, cells=9, octaves=4)
    bank = (
        y
        - 0.735
        + 0.155 * np.exp(-(((x - 0.02) / 0.30) ** 2))
        + 0.075 * np.exp(-(((x - 1.0) / 0.22) ** 2))
        + 0.012 * lumps
    )
    earth = np.minimum(margin, bank)
    sheet.wash(earth, OCHRE, second=SAP, density=0.59, rim=0.5)
    sheet.shifted()
    sheet.wash(
        np.minimum(earth - 0.004, 0.05 * (lumps + 0.05)),
        SIENNA,
        second=OLIVE,
        density=0.53,
        rim=0.7,
        rough=0.008,
    )
    sheet.shifted()
    sheet.wash(
        np.minimum(earth - 0.012, 0.05 * (-lumps - 0.35)),
        OLIVE,
        second=INDIGO,
        density=0.56,
        rim=0.7,
        rough=0.010,
    )
    sheet.shifted()


def _brushwork(picture, sheet, rng):
    """Loaded strokes laid wet on dry over everything: each keeps its own dark rim."""
    brush = st.brush_textures(
        st.Brush(bristles=9, ragged=0.35, dry=0.05, cap=0.5, soft=0.06, wobble=0.22, rim=0.62, taper=0.25),
        rng,
        variants=18,
    )
    small = st.Picture(picture.colour[::2, ::2], 0 * sheet.grain[::2, ::2])
    slopes = blur(noise(small.height_px.shape, rng, cells=7, octaves=3), 0.01)
    y = unit_grid(small.height_px.shape)[1]
    hill = angle_along(0.06 * slopes + 0.25 * y)
    angle = np.where(y > LAKE, 0.06 * slopes, np.where(y < 0.10, 0.4 * slopes, hill + 0.6 * np.sign(slopes)))
    shade = 1 - small.colour.mean(axis=2)
    scene = st.Scene(
        blur(small.colour, 0.004), angle.astype(np.float32), np.clip(1.6 * shade, 0, 1).astype(np.float32)
    )
    for length, width, spacing, chance, strength in (
        (0.120, 0.034, 0.030, 0.55, 0.34),
        (0.070, 0.018, 0.019, 0.50, 0.42),
        (0.036, 0.009, 0.012, 0.40, 0.60),
    ):
        points = st.scatter(
            scene.shape, rng, spacing=spacing, where=chance * np.clip(scene.detail - 0.12, 0, 1)
        )
        laid = st.lay(
            scene,
            points,
            rng=rng,
            length=length,
            width=width,
            spread=0.35,
            turn=0.25,
            edge=0.25,
            opacity=strength,
        )
        # A glaze filters: the local colour, deepened, so that strokes show without dulling it.
        tint = np.clip(1 - 0.85 * (1 - laid.colour), 0.15, 1)
        laid = st.recolour(replace(laid, colour=tint), rng, value=0.05, warmth=0.07, streak=0.05)
        picture.stamp(laid, brush, rng=rng, glaze=True)


def _pines(picture, rng):
    """Firs on both banks: a stem and drooping tiers, dark paint on the point of the brush."""
    brush = st.brush_textures(
        st.Brush(bristles=8, ragged=0.4, dry=0.25, cap=0.6, soft=0.1, wobble=0.2, rim=0.35, taper=0.6),
        rng,
        variants=14,
    )
    dark = palette("#2f4636", "#3f5d3a", "#2c3f58", "#5a6a3a", "#4a4a38")
    for foot_x, foot_y, tall in (
        (0.055, 0.66, 0.40),
        (0.125, 0.655, 0.29),
        (0.190, 0.665, 0.20),
        (0.012, 0.67, 0.27),
        (0.945, 0.69, 0.31),
        (0.885, 0.70, 0.20),
        (0.985, 0.69, 0.22),
    ):
        tiers = int(70 * tall + 8)
        share = np.repeat(np.linspace(0.04, 0.98, tiers), 4) + 0.012 * rng.standard_normal(4 * tiers)
        side = np.tile([-1.0, 1.0, -0.5, 0.5], tiers)
        reach = 0.24 * tall * np.clip(1 - share, 0, 1) ** 0.85 * rng.uniform(0.6, 1.15, 4 * tiers) + 0.006
        points = np.stack([foot_x + side * reach * 0.5, foot_y - share * tall + 0.12 * reach], axis=1)
        angle = np.where(side > 0, 0.0, np.pi) + np.sign(side) * rng.uniform(0.1, 0.55, 4 * tiers)
        boughs = st.straight(
            points,
            angle,
            length=1.25 * reach,
            width=0.0135 * (1.25 - share),
            colour=dark[rng.integers(len(dark), size=4 * tiers)],
            opacity=0.66,
        )
        stem = st.straight(
            np.array([(foot_x, foot_y - tall / 2)]),
            -np.pi / 2,
            length=tall,
            width=0.0075,
            colour=rgb("#5a3f30"),
            opacity=0.8,
        )
        picture.stamp(
            st.recolour(st.join(stem, boughs), rng, value=0.05, warmth=0.05, streak=0.05),
            brush,
            rng=rng,
            glaze=True,
        )


def _spatter(picture, rng):
    """Flicked drops and grass blades in front."""
    drop = st.brush_textures(st.Brush(bristles=5, ragged=0.02, dry=0, cap=1, wobble=0.2, rim=0.6), rng)
    points = np.stack([rng.uniform(0, 1, 260), rng.uniform(0.45, 0.73, 260)], axis=1)
    size = 0.0025 * np.exp(0.6 * rng.standard_normal(260))
    inks = np.stack([SIENNA, OLIVE, BLUE, INDIGO])[rng.integers(4, size=260)]
    picture.stamp(
        st.straight(points, rng.uniform(0, 3, 260), length=1.2 * size, width=size, colour=inks, opacity=0.7),
        drop,
        rng=rng,
        glaze=True,
    )
    blade = st.brush_textures(st.Brush(bristles=4, ragged=0.2, dry=0.1, cap=0.7, taper=0.8, rim=0.3), rng)
    n = 420
    across = np.where(rng.random(n) < 0.62, rng.beta(1, 2.6, n) * 0.6, 1 - rng.beta(1, 3, n) * 0.4)
    points = np.stack([across, 0.725 - 0.10 * np.exp(-((across / 0.3) ** 2)) * rng.random(n)], axis=1)
    picture.stamp(
        st.straight(
            points,
            -np.pi / 2 + 0.35 * rng.standard_normal(n),
            length=rng.uniform(0.02, 0.055, n),
            width=0.0042,
            bow=0.004 * rng.standard_normal(n),
            opacity=0.75,
            colour=np.stack([OLIVE, SIENNA, SAP, INDIGO])[rng.integers(4, size=n)],
        ),
        blade,
        rng=rng,
        glaze=True,
    )
