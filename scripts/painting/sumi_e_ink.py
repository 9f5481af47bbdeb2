"""Sumi-e: pine, bamboo and mountains in mist, black ink on rice paper, and one red seal."""

import numpy as np

from painting import strokes as st
from painting.canvas import blur, mix, noise, picture_shape, relief, rgb, smoothstep, tooth, unit_grid

TITLE = "Pine, bamboo and mountains in mist"
DESCRIPTION = "Ink: wet washes and dry-brush strokes in black on warm rice paper, with one red seal."

ASPECT = 0.74  # upright, as on a hanging scroll; x runs to 0.74, y to 1
INK = rgb("#14130f")
PAPER = "#f8ecd2"


def paint(size_px, rng):
    """The painting, float32 (height, width, 3) sRGB in [0, 1], its long side `size_px`."""
    shape = picture_shape(size_px, ASPECT)
    grain = tooth(shape, rng, cells=300, octaves=3)
    picture = st.Picture(_paper(shape, grain, rng), 0 * grain)
    wet = st.brush_textures(
        st.Brush(bristles=7, ragged=0.4, dry=0.1, cap=0.6, soft=0.55, wobble=0.25, rim=0.35), rng
    )
    dry = st.brush_textures(
        st.Brush(bristles=20, ragged=0.55, dry=0.75, cap=0.35, soft=0.15, wobble=0.12), rng, variants=16
    )
    leaf = st.brush_textures(
        st.Brush(bristles=12, ragged=0.25, dry=0.35, cap=0.55, soft=0.12, wobble=0.07, taper=0.9), rng
    )
    cane = st.brush_textures(
        st.Brush(bristles=14, ragged=0.12, dry=0.45, cap=0.06, soft=0.12, wobble=0.05), rng
    )

    _mist(picture, wet, dry, grain, rng)
    for far in range(4):
        _range(picture, far, grain, rng)
        _crag_strokes(picture, far, dry, wet, grain, rng)
    _water(picture, dry, grain, rng)
    _rock(picture, dry, grain, rng)
    _pine(picture, dry, leaf, grain, rng)
    _bamboo(picture, cane, leaf, grain, rng)
    _boat_and_birds(picture, leaf, cane, rng)
    _seal(picture, grain, rng)
    return relief(picture.colour, blur(grain, 0.0007) * size_px / 1300, depth=0.2, gloss=0.0)


def _paper(shape, grain, rng):
    """Warm paper with long fibres, foxed towards the edges."""
    cloud = noise(shape, rng, cells=4, octaves=5)
    fibres = st.Picture(np.broadcast_to(rgb(PAPER), (*shape, 3)) * (1 + 0.025 * cloud[..., None]), 0 * grain)
    points = st.scatter((1000, 740), rng, spacing=0.014)
    n = len(points)
    thread = st.brush_textures(st.Brush(bristles=3, ragged=0.1, dry=0, cap=0.5, soft=0.5), rng, variants=3)
    tone = np.where(rng.random((n, 1)) < 0.5, rgb("#cdbb93"), rgb("#fbf4df")).astype(np.float32)
    fibres.stamp(
        st.straight(
            points,
            rng.uniform(0, np.pi, n),
            length=rng.uniform(0.01, 0.05, n),
            width=0.0013,
            bow=0.006 * rng.standard_normal(n),
            colour=tone,
            opacity=0.55,
        ),
        thread,
        rng=rng,
    )
    return np.clip(fibres.colour * (0.965 + 0.07 * grain[..., None]), 0, 1)


def _dilute(strength):
    """Ink thinned with water: the colour that a glaze of it filters with."""
    return mix(
        rgb("#ffffff"), mix(rgb("#5b564e"), INK, np.clip(strength, 0, 1)), np.clip(1.6 * strength, 0, 1)
    )


def _mist(picture, wet, dry, grain, rng):
    """The whole sheet first: broad, level sweeps of nearly clear ink, and dragged streaks in them."""
    points = st.scatter((1000, 740), rng, spacing=0.060)
    n = len(points)
    picture.stamp(
        st.straight(
            points,
            0.10 * rng.standard_normal(n),
            length=rng.uniform(0.15, 0.4, n),
            width=rng.uniform(0.03, 0.08, n),
            bow=0.02 * rng.standard_normal(n),
            colour=_dilute(0.30),
            opacity=rng.uniform(0.02, 0.17, n),
        ),
        wet,
        rng=rng,
        glaze=True,
    )
    points = st.scatter((1000, 740), rng, spacing=0.045)
    n = len(points)
    picture.stamp(
        st.straight(
            points,
            0.10 * rng.standard_normal(n),
            length=rng.uniform(0.06, 0.2, n),
            width=rng.uniform(0.012, 0.03, n),
            bow=0.01 * rng.standard_normal(n),
            colour=_dilute(0.35),
            opacity=rng.uniform(0.25, 0.5, n),
        ),
        dry,
        rng=rng,
        grain=0.3 + 0.7 * grain,
        bite=2.0,
        glaze=True,
    )


def _crest(far, x):
    """Skyline of each range; 0 the farthest."""
    if far == 0:
        return (
            0.225
            - 0.13 * np.exp(-(((x - 0.47) / 0.075) ** 2))
            - 0.07 * np.exp(-(((x - 0.63) / 0.06) ** 2))
            + 0.006 * np.sin(60 * x)
        )
    if far == 1:
        return (
            0.375
            - 0.19 * np.exp(-(((x - 0.30) / 0.085) ** 2))
            - 0.06 * np.exp(-(((x - 0.43) / 0.06) ** 2))
            + 0.008 * np.sin(47 * x)
        )
    if far == 2:
        return (
            0.475
            - 0.15 * np.exp(-(((x - 0.60) / 0.10) ** 2))
            - 0.05 * np.exp(-(((x - 0.46) / 0.04) ** 2))
            + 0.008 * np.sin(53 * x)
        )
    return (
        0.615
        - 0.10 * np.exp(-(((x - 0.18) / 0.16) ** 2))
        - 0.06 * np.exp(-(((x - 0.72) / 0.12) ** 2))
        + 0.006 * np.sin(70 * x)
    )


def _range(picture, far, grain, rng):
    """One range as a wash: dark along the skyline, drowned in mist at the foot."""
    shape = grain.shape
    x, y = unit_grid(shape)
    wobble = noise(shape, rng, cells=24, octaves=4)
    pool = noise(shape, rng, cells=7, octaves=5, gain=0.6)
    below = y - _crest(far, x) + 0.006 * wobble
    strength = (0.26, 0.42, 0.56, 0.66)[far]
    load = (
        smoothstep(below, -0.0015, 0.0015)
        * np.exp(-np.clip(below, 0, None) / (0.075 + 0.02 * far))
        * (0.85 + 0.30 * pool)
    )
    load = load + 0.5 * np.exp(-(((below - 0.002) / 0.003) ** 2)) * smoothstep(pool, -0.8, 0.4)
    load = np.clip(strength * load * (1.2 - 0.4 * grain), 0, 0.92)
    ink = mix(rgb("#4c535c"), INK, strength)
    picture.planes[:3] *= (1 - load[..., None] * (1 - ink)).transpose(2, 0, 1)


def _crag_strokes(picture, far, dry, wet, grain, rng):
    """Texture strokes down the flanks: dry ink split by the bristles, then dabs of scrub along the
    skyline."""
    xs = rng.uniform(0, ASPECT, 230)
    down = rng.gamma(1.6, 0.030, 230)
    peak = _crest(far, xs + 0.02) - _crest(far, xs - 0.02)
    points = np.stack([xs, _crest(far, xs) + 0.012 + down], axis=1)
    tall = np.clip(0.60 - _crest(far, xs), 0.05, 1) if far < 3 else 1.0
    angle = np.arctan2(0.06, 1.1 * peak + 0.02 * rng.standard_normal(230))
    strength = (0.30, 0.50, 0.68, 0.85)[far]
    laid = st.straight(
        points,
        angle,
        length=rng.uniform(0.03, 0.09, 230),
        width=rng.uniform(0.008, 0.022, 230),
        bow=0.010 * rng.standard_normal(230),
        colour=_dilute(strength),
        opacity=np.clip(0.95 * np.exp(-down / 0.10) * np.minimum(1, 2.2 * tall), 0.1, 1),
    )
    picture.stamp(laid, dry, rng=rng, grain=0.25 + 0.75 * grain, bite=2.2, glaze=True)
    n = 150
    xs = rng.uniform(0, ASPECT, n)
    points = np.stack([xs, _crest(far, xs) + 0.004 + rng.gamma(1.2, 0.012, n)], axis=1)
    size = rng.uniform(0.006, 0.013, n) * (0.5 + 0.22 * far)
    picture.stamp(
        st.straight(
            points,
            rng.normal(0.1, 0.4, n),
            length=1.6 * size,
            width=size,
            colour=_dilute(min(1, strength + 0.15)),
            opacity=0.8,
        ),
        wet,
        rng=rng,
        glaze=True,
    )


def _water(picture, dry, grain, rng):
    """Level ripples below the mountains."""
    n = 240
    points = np.stack([rng.uniform(0, ASPECT, n), 0.665 + 0.30 * rng.random(n) ** 1.2], axis=1)
    near = (points[:, 1] - 0.65) / 0.3
    laid = st.straight(
        points,
        0.02 * rng.standard_normal(n),
        length=rng.uniform(0.03, 0.16, n) * (0.5 + near),
        width=0.004 + 0.011 * near * rng.random(n),
        bow=0.004 * rng.standard_normal(n),
        colour=_dilute(0.5),
        opacity=rng.uniform(0.25, 0.75, n),
    )
    picture.stamp(laid, dry, rng=rng, grain=0.25 + 0.75 * grain, bite=2.2, glaze=True)


def _rock(picture, dry, grain, rng):
    """The cliff at the lower left, from which the pine grows."""
    shape = grain.shape
    x, y = unit_grid(shape)
    lumps = noise(shape, rng, cells=12, octaves=5, gain=0.55)
    inside = y - (0.80 + 1.05 * np.clip(x - 0.06, 0, None) ** 1.25) + 0.018 * lumps
    load = 0.5 * smoothstep(inside, -0.002, 0.003) * (0.75 + 0.35 * lumps) + 0.5 * np.exp(
        -(((inside - 0.004) / 0.005) ** 2)
    )
    picture.planes[:3] *= (
        1 - np.clip(load, 0, 0.85)[..., None] * (1 - mix(rgb("#3c4048"), INK, 0.5))
    ).transpose(2, 0, 1)
    n = 190
    xs = rng.uniform(-0.01, 0.27, n)
    edge = 0.80 + 1.05 * np.clip(xs - 0.06, 0, None) ** 1.25
    points = np.stack([xs, edge + 0.01 + rng.random(n) * np.clip(1.02 - edge, 0, 1)], axis=1)
    laid = st.straight(
        points,
        rng.normal(0.95, 0.35, n),
        length=rng.uniform(0.03, 0.085, n),
        width=rng.uniform(0.009, 0.024, n),
        bow=0.012 * rng.standard_normal(n),
        colour=_dilute(0.95),
        opacity=rng.uniform(0.6, 1.0, n),
    )
    picture.stamp(laid, dry, rng=rng, grain=0.25 + 0.75 * grain, bite=2.4, glaze=True)


def _pine(picture, dry, leaf, grain, rng):
    """An old pine leaning out over the water: trunk, crooked boughs, fans of needles."""
    trunk = np.array(
        [
            (0.035, 0.90),
            (0.060, 0.80),
            (0.045, 0.70),
            (0.085, 0.60),
            (0.115, 0.50),
            (0.095, 0.41),
            (0.140, 0.33),
            (0.190, 0.285),
        ]
    )
    boughs = [
        np.array([(0.070, 0.64), (0.130, 0.625), (0.185, 0.640), (0.250, 0.620), (0.305, 0.632)]),
        np.array([(0.113, 0.505), (0.175, 0.480), (0.235, 0.492), (0.300, 0.465)]),
        np.array([(0.100, 0.430), (0.055, 0.400), (0.020, 0.395)]),
        np.array([(0.138, 0.335), (0.205, 0.350), (0.262, 0.335), (0.330, 0.352)]),
        np.array([(0.060, 0.745), (0.022, 0.715), (-0.01, 0.70)]),
        np.array([(0.150, 0.320), (0.120, 0.265), (0.070, 0.245)]),
    ]
    for _ in range(2):
        picture.stamp(
            _branch(trunk, 0.040, 0.70, rng), dry, rng=rng, grain=0.45 + 0.55 * grain, bite=2.0, glaze=True
        )
    for bough in boughs:
        picture.stamp(
            _branch(bough, 0.014, 0.65, rng), dry, rng=rng, grain=0.5 + 0.5 * grain, bite=2.0, glaze=True
        )
    bark = np.concatenate([trunk[:-2] + 0.006 * rng.standard_normal((6, 2)) for _ in range(9)])
    bark = bark + rng.random((len(bark), 1)) * np.tile(np.diff(trunk, axis=0)[:6], (9, 1))
    picture.stamp(
        st.straight(
            bark,
            rng.uniform(0, 3, len(bark)),
            length=0.020,
            width=0.006,
            bow=0.006,
            colour=_dilute(1.0),
            opacity=0.9,
        ),
        dry,
        rng=rng,
        glaze=True,
    )
    for end in (*boughs, trunk[4:]):
        for at in _points_along(end, 0.030)[1:]:
            for _ in range(2):
                centre = at + rng.normal(0, 0.010, 2) + (0, -0.006)
                _fan(picture, leaf, centre, rng)


def _branch(line, width, taper, rng):
    line = _points_along(line, 0.028)
    line = line + rng.normal(0, 0.0025, line.shape)
    return st.along_line(line, width=width, colour=_dilute(0.9), taper=taper, overlap=1.7, opacity=0.85)


def _points_along(line, step):
    """Points every `step` on a smooth curve through the polyline's corners."""
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.arange(0, length[-1] + step / 2, step)
    return np.stack([np.interp(at, length, line[:, axis]) for axis in (0, 1)], axis=1)


def _fan(picture, leaf, centre, rng):
    """One cluster of needles, spread upwards like half a wheel, over a breath of grey."""
    n = 30
    turn = np.linspace(-np.pi - 0.25, 0.25, n) + 0.06 * rng.standard_normal(n)
    reach = 0.034 * rng.uniform(0.75, 1.15, n)
    points = centre + 0.5 * reach[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    cloud = st.straight(
        np.array([centre + (0, -0.010)]), 0.0, length=0.055, width=0.030, colour=_dilute(0.30), opacity=0.45
    )
    needles = st.straight(
        points,
        turn,
        length=reach,
        width=0.0028,
        bow=0.0012 * rng.standard_normal(n),
        colour=_dilute(rng.choice([0.6, 0.85, 1.0], p=[0.3, 0.3, 0.4])),
        opacity=0.9,
    )
    picture.stamp(st.join(cloud, needles), leaf, rng=rng, glaze=True)


def _bamboo(picture, cane, leaf, grain, rng):
    """Bamboo on the right: canes in single pulls with gaps at the joints, leaves pressed and flicked away."""
    for foot, top, width, strength in (
        ((0.655, 1.02), (0.600, 0.42), 0.0165, 0.45),
        ((0.715, 1.02), (0.690, 0.30), 0.024, 0.95),
        ((0.595, 1.02), (0.535, 0.60), 0.012, 0.8),
    ):
        foot, top = np.array(foot), np.array(top)
        joints = np.linspace(0, 1, 9) ** 0.93
        canes = [
            (foot + (top - foot) * (a + b) / 2, np.linalg.norm(top - foot) * (b - a) * 0.96)
            for a, b in zip(joints[:-1], joints[1:])
        ]
        points = np.array([cane[0] for cane in canes])
        rise = top - foot
        picture.stamp(
            st.straight(
                points,
                np.arctan2(rise[1], rise[0]),
                length=np.array([cane[1] for cane in canes]),
                width=width * np.linspace(1, 0.7, 8),
                colour=_dilute(strength),
                opacity=0.85,
                bow=0.002,
            ),
            cane,
            rng=rng,
            grain=0.6 + 0.4 * grain,
            bite=2.0,
            glaze=True,
        )
        knots = foot + rise * joints[1:-1, None]
        picture.stamp(
            st.straight(
                knots, 0.08, length=1.25 * width, width=0.0045, bow=0.002, colour=_dilute(1.0), opacity=0.95
            ),
            leaf,
            rng=rng,
            glaze=True,
        )
        for joint in joints[3:]:
            for side in (-1, 1):
                start = foot + rise * joint
                twig = start + np.array((side * rng.uniform(0.03, 0.075), -rng.uniform(0.0, 0.045)))
                picture.stamp(
                    st.along_line((start, twig), width=0.0035, colour=_dilute(strength), taper=0.4),
                    leaf,
                    rng=rng,
                    glaze=True,
                )
                _leaves(picture, leaf, twig, side, strength, rng)


def _leaves(picture, leaf, at, side, strength, rng):
    n = int(rng.integers(4, 8))
    hang = np.pi / 2 - side * rng.uniform(-0.35, 1.05, n)
    length = rng.uniform(0.045, 0.088, n)
    points = (
        at
        + 0.5 * length[:, None] * np.stack([np.cos(hang), np.sin(hang)], axis=1)
        + 0.005 * rng.standard_normal((n, 2))
    )
    picture.stamp(
        st.straight(
            points,
            hang,
            length=length,
            width=rng.uniform(0.010, 0.0155, n),
            bow=side * 0.005,
            colour=_dilute(strength),
            opacity=rng.uniform(0.7, 1.0, n),
        ),
        leaf,
        rng=rng,
        glaze=True,
    )


def _boat_and_birds(picture, leaf, cane, rng):
    """A fisherman far out, and geese over the peaks: what gives the mist its size."""
    hull = st.along_line(
        ((0.310, 0.765), (0.340, 0.776), (0.380, 0.778), (0.420, 0.764)), width=0.010, colour=_dilute(1.0)
    )
    man = st.straight(
        np.array([(0.360, 0.755), (0.361, 0.737)]),
        np.array([-1.5, 0.1]),
        length=np.array([0.030, 0.034]),
        width=np.array([0.014, 0.007]),
        colour=_dilute(0.95),
    )
    rod = st.along_line(((0.363, 0.752), (0.405, 0.715), (0.435, 0.712)), width=0.0022, colour=_dilute(0.9))
    wings = []
    for k, (x, y) in enumerate(
        ((0.20, 0.085), (0.235, 0.100), (0.262, 0.080), (0.170, 0.105), (0.292, 0.098), (0.315, 0.075))
    ):
        size = 0.015 + 0.003 * (k % 3)
        wings.append(
            st.straight(
                np.array([(x - 0.45 * size, y), (x + 0.45 * size, y)]),
                np.array([np.pi + 0.45, -0.45]),
                length=size,
                width=0.0042,
                bow=np.array([0.002, -0.002]),
                colour=_dilute(1.0),
            )
        )
    picture.stamp(st.join(hull, man), cane, rng=rng, glaze=True)
    picture.stamp(st.join(rod, *wings), leaf, rng=rng, glaze=True)


def _seal(picture, grain, rng):
    """The painter's seal: a vermilion square with carved lines, unevenly inked."""
    x, y, side = 0.075, 0.075, 0.058
    shape = grain.shape
    grid_x, grid_y = unit_grid(shape)
    square = np.maximum(np.abs(grid_x - x), np.abs(grid_y - y)) + 0.0012 * noise(
        shape, rng, cells=60, octaves=2
    )
    carved = np.zeros(shape, np.float32)
    for points in (
        ((-0.30, -0.32), (0.32, -0.32)),
        ((0, -0.32), (0, 0.34)),
        ((-0.32, 0.02), (0.32, 0.02)),
        ((-0.30, 0.33), (0.33, 0.33)),
        ((-0.30, 0.02), (-0.30, 0.33)),
        ((0.31, -0.32), (0.31, -0.12)),
    ):
        (ax, ay), (bx, by) = points
        px, py = (grid_x - x) / side - ax, (grid_y - y) / side - ay
        share = np.clip((px * (bx - ax) + py * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        gap = np.hypot(px - share * (bx - ax), py - share * (by - ay))
        carved = np.maximum(carved, smoothstep(gap, 0.062, 0.040))
    stamp = (
        smoothstep(square, side / 2 + 0.0008, side / 2 - 0.0008) * (1 - carved) * smoothstep(grain, 0.12, 0.4)
    )
    picture.planes[:3] = mix(picture.colour, rgb("#c3281c"), 0.92 * stamp).transpose(2, 0, 1)
