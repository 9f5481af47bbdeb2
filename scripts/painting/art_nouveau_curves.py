"""Art nouveau curves: a peacock in whiplash strands, irises and gold, as a lithograph."""

import cv2
import numpy as np

from . import canvas, shapes

TITLE = "Peacock and irises, art nouveau"
DESCRIPTION = "Whiplash curves in dark contour: peacock, irises and gold ornament in muted sage and plum."

HEIGHT_TO_WIDTH = 1.30
WIDTH = 1 / HEIGHT_TO_WIDTH
FRAME = 0.052
INK = canvas.rgb("#2a1d2b")
CREAM = canvas.rgb("#efe2c0")
GOLD = canvas.rgb("#c7953c")
PALE_GOLD = canvas.rgb("#e4c67c")
SAGE = canvas.rgb("#a8b58c")
OLIVE = canvas.rgb("#6d7c4c")
TEAL = canvas.rgb("#2f7470")
DEEP = canvas.rgb("#1f4a5c")
TERRACOTTA = canvas.rgb("#b9633f")
ROSE = canvas.rgb("#d9a791")
PLUM = canvas.rgb("#6d4160")
LILAC = canvas.rgb("#a98bb0")
DISC = np.array([0.415, 0.315])


def _whiplash(start, heading, length, turns, count=110):
    """A curve whose curvature runs through `turns` (radians over the whole length)."""
    t = np.linspace(0, 1, count)
    bend = np.interp(t, np.linspace(0, 1, len(turns)), turns)
    angle = heading + np.cumsum(bend) / count
    return np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1), axis=0) * length / count + start


def _strand(sheet, curve, width, tone, *, contour=0.0026, lit=None):
    """A tapering ribbon with a contour that swells on its shadow side."""
    count = len(curve)
    profile = width * np.sin(np.pi * np.linspace(0.06, 0.985, count)) ** 0.7
    shadow = shapes.normals(curve) * -0.25 * contour
    sheet.outlined([shapes.ribbon(curve + shadow, profile + contour)], [shapes.ribbon(curve, profile)], tone)
    if lit is not None:
        inner = curve + shapes.normals(curve) * (0.22 * profile)[:, None]
        sheet.fill([shapes.ribbon(inner[4:-8], profile[4:-8] * 0.26)], lit, hides=False)


def _ground(sheet, rng):
    """Flat ground, with strands of smoke that part and gather all over it."""
    sheet.colour[...] = canvas.mix(SAGE, CREAM, 0.75 * canvas.smoothstep(sheet.y, 0.85, 0.05))
    tones = (
        CREAM,
        SAGE,
        ROSE,
        PALE_GOLD,
        canvas.mix(SAGE, OLIVE, 0.5),
        canvas.mix(ROSE, TERRACOTTA, 0.35),
        canvas.mix(SAGE, TEAL, 0.35),
    )
    bundles = (
        ((-0.05, 0.62), -0.75, 0.95, (0.5, 2.4, -3.2, -2.6, -14)),
        ((0.80, 0.30), 2.6, 0.80, (-0.4, -2.4, 2.8, 3.0, 15)),
        ((0.82, 0.85), -2.2, 0.85, (0.6, 2.6, -2.4, -4, -16)),
        ((-0.04, 0.20), -0.25, 0.75, (1.6, -2.6, -2.0, 3.0, 14)),
        ((0.25, -0.04), 1.0, 0.60, (-1.8, -1.5, 3.0, 4.0, 15)),
        ((0.80, 0.02), 2.9, 0.70, (1.0, -3.2, -1.8, -4, -15)),
        ((-0.04, 0.95), -0.9, 0.80, (2.2, -1.4, -3.0, 3.0, 16)),
        ((0.55, 1.04), -1.2, 0.75, (-2.0, 2.4, 2.6, -4, -15)),
        ((0.80, 0.58), -2.7, 0.70, (1.4, 1.6, -3.4, -4, -16)),
    )
    for start, heading, length, turns in bundles:
        strands = 9
        for k in rng.permutation(strands):
            share = (k - (strands - 1) / 2) / strands
            curve = _whiplash(
                np.array(start) + share * np.array([0.05, 0.14]),
                heading + 0.45 * share + rng.normal(0, 0.03),
                length * (1 - 0.35 * abs(share) + rng.normal(0, 0.04)),
                np.array(turns) * (1 + 0.7 * share),
            )
            _strand(
                sheet,
                curve,
                rng.uniform(0.010, 0.022),
                tones[rng.integers(len(tones))],
                contour=0.0022,
                lit=CREAM if k % 2 else None,
            )


def _halo(sheet):
    """Gold disc ringed with beads, lozenges and arches."""

    def ring(radius, tone, line=0.0024):
        sheet.outlined([shapes.circle(DISC, radius + line, 160)], [shapes.circle(DISC, radius, 160)], tone)

    def round_the_disc(count, radius):
        for turn in np.linspace(0, 2 * np.pi, count, endpoint=False):
            yield turn, DISC + radius * np.array([np.cos(turn), np.sin(turn)])

    ring(0.272, PALE_GOLD, 0.004)
    for k, (turn, spot) in enumerate(round_the_disc(36, 0.232)):
        arch, _ = shapes.petal(spot - 0.006 * np.array([np.cos(turn), np.sin(turn)]), turn, 0.046, 0.036)
        grown, _ = shapes.petal(spot - 0.009 * np.array([np.cos(turn), np.sin(turn)]), turn, 0.052, 0.041)
        sheet.outlined([grown], [arch], (TERRACOTTA, TEAL, PLUM)[k % 3])
        core, _ = shapes.petal(spot, turn, 0.026, 0.017)
        sheet.fill([core], PALE_GOLD)
    ring(0.234, GOLD)
    for _, spot in round_the_disc(60, 0.226):
        sheet.outlined([shapes.circle(spot, 0.0068, 20)], [shapes.circle(spot, 0.0050, 20)], CREAM)
    ring(0.217, canvas.mix(TEAL, SAGE, 0.35))
    for k, (turn, spot) in enumerate(round_the_disc(30, 0.200)):
        lozenge = shapes.circle((0, 0), 1, 4) * (0.013, 0.0085)
        cos, sin = np.cos(turn), np.sin(turn)
        lozenge = lozenge @ np.array([[cos, sin], [-sin, cos]])
        sheet.outlined([lozenge * 1.3 + spot], [lozenge + spot], (PALE_GOLD, ROSE)[k % 2])
    ring(0.184, GOLD)
    for k, (_, spot) in enumerate(round_the_disc(72, 0.125)):
        ray = np.stack([DISC + (spot - DISC) * r for r in np.linspace(0.30, 1.42, 30)])
        ray = shapes.wobble(ray, amount=0.0012, rng=np.random.default_rng(k), knots=6)
        sheet.fill(
            [shapes.ribbon(ray, np.linspace(0.002, 0.0085, 30))], (PALE_GOLD, CREAM, ROSE)[k % 3], hides=False
        )
        sheet.line(ray, np.linspace(0.0004, 0.0012, 30), 0.6)


def _feather(sheet, spine, width, rng):
    """A tail feather: barbs off a shaft, and the eye near its end."""
    count = len(spine)
    t = np.linspace(0, 1, count)
    profile = (
        width
        * (0.16 + 0.84 * canvas.smoothstep(t, 0.45, 0.88))
        * np.sqrt(np.clip(1 - ((t - 0.86) / 0.145).clip(0) ** 2, 0, 1))
    )
    tone = canvas.mix(
        (TEAL, OLIVE, DEEP, canvas.mix(TEAL, SAGE, 0.4))[rng.integers(4)], SAGE, 0.25 * rng.random()
    )
    sheet.outlined([shapes.ribbon(spine, profile + 0.0034)], [shapes.ribbon(spine, profile)], tone)
    side = shapes.normals(spine)
    run = np.gradient(spine, axis=0)
    run /= np.hypot(*run.T)[:, None]
    for k in range(int(0.28 * count), count - 3, 2):
        for way in (-1, 1):
            reach = profile[k] * 0.46
            barb = spine[k] + np.linspace(0, 1, 8)[:, None] * reach * (side[k] * way + run[k] * 0.9)
            barb = barb - run[k] * reach * 0.45 * np.linspace(0, 1, 8)[:, None] ** 2
            sheet.line(barb, np.linspace(0.0013, 0.0004, 8), 0.75)
    sheet.fill([shapes.ribbon(spine, np.linspace(0.0032, 0.0012, count))], PALE_GOLD)
    centre, angle = spine[int(0.86 * count)], np.arctan2(run[int(0.86 * count), 1], run[int(0.86 * count), 0])
    cos, sin = np.cos(angle), np.sin(angle)
    for size, shift, eye in (
        (0.46, 0.0, GOLD),
        (0.36, 0.05, TERRACOTTA),
        (0.27, 0.08, PALE_GOLD),
        (0.19, 0.10, DEEP),
        (0.09, 0.16, LILAC),
    ):
        oval = shapes.circle((0, 0), 1, 40) * (1.25 * size * width, size * width)
        oval = oval @ np.array([[cos, sin], [-sin, cos]]) + centre + shift * width * np.array([cos, sin])
        grown = (oval - oval.mean(0)) * (1 + 0.0036 / (size * width)) ** 0.5 + oval.mean(0)
        sheet.outlined([grown], [oval], eye)


def _peacock(sheet, rng):
    rump = np.array([0.425, 0.505])
    ends = shapes.spline(
        [
            (0.715, 0.505),
            (0.705, 0.66),
            (0.655, 0.79),
            (0.565, 0.865),
            (0.46, 0.90),
            (0.35, 0.915),
            (0.23, 0.90),
        ],
        21,
    )
    inner = shapes.spline([(0.62, 0.60), (0.585, 0.71), (0.50, 0.785), (0.40, 0.815), (0.31, 0.81)], 13)
    core = shapes.spline([(0.545, 0.635), (0.49, 0.71), (0.41, 0.735)], 7)
    for row, width in ((ends, 0.074), (inner, 0.064), (core, 0.052)):
        for k in rng.permutation(len(row)):
            end = row[k] + rng.normal(0, 0.004, 2)
            sweep = np.array([0.06, -0.045]) * (1.15 - k / len(row))
            spine = shapes.spline(
                [rump, rump + (end - rump) * 0.35 + sweep, rump + (end - rump) * 0.72 + sweep * 0.7, end], 80
            )
            _feather(sheet, spine, width, rng)
    # Body and neck: one long S, scaled with small overlapping feathers.
    middle = shapes.spline(
        [
            (0.375, 0.205),
            (0.352, 0.245),
            (0.372, 0.30),
            (0.372, 0.365),
            (0.345, 0.43),
            (0.385, 0.505),
            (0.475, 0.565),
            (0.545, 0.640),
        ],
        140,
    )
    girth = np.interp(
        np.linspace(0, 1, 140),
        [0, 0.06, 0.16, 0.3, 0.5, 0.66, 0.85, 1],
        [0.020, 0.034, 0.030, 0.037, 0.075, 0.112, 0.075, 0.004],
    )
    body = shapes.ribbon(middle, girth)
    sheet.outlined(
        [shapes.ribbon(middle, girth + 0.0075)],
        [body],
        canvas.mix(DEEP, TEAL, canvas.smoothstep(sheet.y, 0.25, 0.55)),
    )
    side, along = shapes.normals(middle), np.gradient(middle, axis=0)
    scales = (TEAL, DEEP, canvas.mix(TEAL, SAGE, 0.5), canvas.mix(DEEP, LILAC, 0.35), GOLD)
    for row, k in enumerate(range(128, 16, -4)):
        size = 0.007 + 0.075 * girth[k]
        places = np.arange(-0.5, 0.51, size * 1.35 / girth[k]) + (row % 2) * size * 0.65 / girth[k]
        for place in places[np.abs(places) < 0.5]:
            spot = middle[k] + side[k] * girth[k] * place * 0.92
            angle = np.arctan2(along[k, 1], along[k, 0])
            scale, rib = shapes.petal(
                spot - 0.2 * size * along[k] / np.hypot(*along[k]), angle, size * 1.7, size * 1.25
            )
            sheet.outlined(
                [(scale - scale.mean(0)) * (1 + 0.0022 / size) + scale.mean(0)],
                [scale],
                scales[rng.choice(5, p=(0.34, 0.24, 0.24, 0.13, 0.05))],
            )
            sheet.line(rib[8:30], 0.0008, 0.7)
    for way in (0.32, -0.1):
        wing = middle[72:128] + side[72:128] * girth[72:128, None] * way
        _strand(sheet, wing, 0.026, TERRACOTTA if way > 0 else GOLD, contour=0.003, lit=PALE_GOLD)
    beak = [(0.367, 0.192), (0.330, 0.206), (0.322, 0.215), (0.340, 0.2155), (0.366, 0.214)]
    sheet.outlined([(np.array(beak) - (0.35, 0.205)) * 1.15 + (0.35, 0.205)], [np.array(beak)], GOLD)
    head = np.array([0.376, 0.202])
    sheet.outlined([shapes.circle(head, 0.0215)], [shapes.circle(head, 0.0185)], DEEP)
    cheek, _ = shapes.petal(head + (-0.014, 0.004), 0.25, 0.030, 0.013)
    sheet.fill([cheek], CREAM)
    sheet.cut([shapes.circle(head + (-0.003, -0.002), 0.0046)])
    for k in range(7):
        plume = _whiplash(head + (0.003, -0.016), -1.75 + 0.17 * k, 0.062, (0.2, 0.9, 1.2), 24)
        sheet.line(plume, 0.0018)
        sheet.outlined(
            [shapes.circle(plume[-1], 0.0068, 24)],
            [shapes.circle(plume[-1], 0.0050, 24)],
            (TEAL, PALE_GOLD)[k % 2],
        )


def _vines(sheet, rng):
    """Tendrils that lash across the ground and wind up into spirals, budding as they go."""
    for start, heading, length, turns, tone in (
        ((0.02, 0.60), -0.2, 0.86, (-3.0, 2.5, 6.0, 10, 26), TERRACOTTA),
        ((0.76, 0.66), -2.7, 0.80, (2.8, -1.0, -8.0, -12, -26), PLUM),
        ((0.05, 0.36), 0.6, 0.75, (-1.6, 4.0, 7.0, 10, 28), PLUM),
        ((0.74, 0.44), 2.4, 0.60, (2.0, -3.0, -7.0, -12, -28), TERRACOTTA),
        ((0.30, 0.98), -1.3, 0.62, (2.0, -4.0, -6.0, -14, -28), GOLD),
        ((0.62, 0.97), -2.4, 0.70, (-2.0, 3.0, 7.0, 12, 28), TERRACOTTA),
        ((0.04, 0.08), 0.2, 0.60, (2.0, 1.0, 6.0, 14, 26), TEAL),
        ((0.75, 0.26), 2.2, 0.52, (-2.0, -4.0, -8.0, -14, -28), TEAL),
        ((0.28, 0.80), 3.0, 0.55, (-2.0, 4.0, 8.0, 14, 30), GOLD),
        ((0.73, 0.90), -2.9, 0.60, (1.0, 4.0, 8.0, 12, 28), PLUM),
    ):
        curve = _whiplash(np.array(start), heading + rng.normal(0, 0.05), length, turns, 200)
        for k in range(24, 150, 18):
            way = -1 if k // 18 % 2 else 1
            run = curve[k + 1] - curve[k]
            leaf, rib = shapes.petal(
                curve[k], np.arctan2(run[1], run[0]) + way * 0.6, 0.050, 0.019, bend=way * 1.1
            )
            grown = (leaf - leaf.mean(0)) * 1.13 + leaf.mean(0)
            sheet.outlined([grown], [leaf], canvas.mix(tone, CREAM, 0.45))
            sheet.line(rib[2:34], np.linspace(0.0016, 0.0004, 32))
        _strand(sheet, curve, 0.0125, tone, contour=0.0036, lit=canvas.mix(tone, CREAM, 0.55))
        sheet.outlined(
            [shapes.circle(curve[-1], 0.0115, 32)], [shapes.circle(curve[-1], 0.0085, 32)], PALE_GOLD
        )


def _iris(sheet, head, size, rng):
    """An iris: falls below, standards above, each with contour and veins."""
    head = np.asarray(head)
    parts = [
        (0.35, 1.05, 0.62, 0.9, PLUM),
        (np.pi - 0.35, 1.05, 0.62, -0.9, PLUM),
        (-0.95, 0.95, 0.50, 0.7, LILAC),
        (np.pi + 0.95, 0.95, 0.50, -0.7, LILAC),
        (-np.pi / 2, 1.05, 0.62, 0.15, canvas.mix(LILAC, CREAM, 0.35)),
        (np.pi / 2, 1.05, 0.66, -0.15, PLUM),
    ]
    for angle, length, width, bend, tone in parts:
        outline, rib = shapes.petal(head, angle + rng.normal(0, 0.05), size * length, size * width, bend=bend)
        outline = shapes.wobble(outline, amount=size * 0.014, rng=rng, knots=24)
        grown = (outline - outline.mean(0)) * (1 + 0.0065 / size) + outline.mean(0)
        sheet.outlined([grown], [outline], tone)
        lit, _ = shapes.petal(
            head + (rib[-1] - head) * 0.12, angle, size * length * 0.72, size * width * 0.34, bend=bend
        )
        sheet.fill([lit], canvas.mix(tone, CREAM, 0.38))
        for way in np.linspace(-0.32, 0.32, 7):
            t = np.linspace(0.08, 0.86, 20)[:, None]
            vein = rib[(t[:, 0] * 39).astype(int)] + shapes.normals(rib)[
                (t[:, 0] * 39).astype(int)
            ] * size * width * way * np.sin(np.pi * t**0.8)
            sheet.line(vein, np.linspace(0.0015, 0.0003, 20), 0.8)
    beard, _ = shapes.petal(head - (0, size * 0.08), np.pi / 2, size * 0.5, size * 0.13)
    sheet.outlined([(beard - beard.mean(0)) * 1.25 + beard.mean(0)], [beard], GOLD)


def _plants(sheet, rng):
    """Irises on whiplash stems with sword leaves, in the corners the bird leaves free."""
    for foot, waist, head, size in (
        ((0.10, 1.0), (0.055, 0.80), (0.145, 0.565), 0.092),
        ((0.20, 1.0), (0.24, 0.88), (0.165, 0.765), 0.078),
        ((0.09, 1.0), (0.075, 0.95), (0.105, 0.885), 0.064),
        ((0.70, 1.0), (0.735, 0.93), (0.665, 0.885), 0.068),
        ((0.79, 0.52), (0.73, 0.36), (0.675, 0.135), 0.080),
        ((0.79, 0.45), (0.745, 0.40), (0.700, 0.345), 0.066),
        ((-0.02, 0.45), (0.05, 0.33), (0.095, 0.155), 0.074),
    ):
        stem = shapes.spline([foot, waist, head], 70)
        for k, way in ((6, -1), (16, 1), (26, -1), (36, 1)):
            leaf = _whiplash(
                stem[k],
                -np.pi / 2 + way * rng.uniform(0.25, 0.55),
                size * rng.uniform(1.8, 2.8),
                (way * 0.2, way * 1.2, way * 2.0, way * 6.5),
                70,
            )
            _strand(
                sheet,
                leaf,
                size * 0.24,
                (OLIVE, SAGE, TEAL)[k // 10 % 3],
                contour=0.0036,
                lit=canvas.mix(SAGE, CREAM, 0.4),
            )
            sheet.line(leaf[4:60], np.linspace(0.0014, 0.0004, 56), 0.8)
        _strand(sheet, stem, 0.013, OLIVE, contour=0.0036, lit=SAGE)
        _iris(sheet, head, size, rng)


def _frame(sheet):
    """Gold frame: a wave of leaves between two rules, with a boss in each corner."""
    x, y = sheet.x, sheet.y
    outer = np.array([[0, 0], [WIDTH, 0], [WIDTH, 1], [0, 1]])
    bands = (
        (0, 0.006, INK),
        (0.006, 0.044, PLUM),
        (0.044, 0.0475, INK),
        (0.0475, FRAME, GOLD),
        (FRAME, FRAME + 0.003, INK),
    )
    edge = np.minimum(np.minimum(x, WIDTH - x), np.minimum(y, 1 - y))
    for low, high, tone in bands:
        soft = 0.5 / max(sheet.shape)
        cover = canvas.smoothstep(edge, low - soft, low + soft) * (
            1 - canvas.smoothstep(edge, high - soft, high + soft)
        )
        sheet.colour = canvas.mix(sheet.colour, tone, cover)
        sheet.key *= 1 - cover
    middle = 0.025
    for start, end in zip(outer, np.roll(outer, -1, axis=0)):
        run = (end - start) / np.hypot(*(end - start))
        inward = np.array([-run[1], run[0]])
        span = np.hypot(*(end - start)) - 2 * middle
        count = int(round(span / 0.045))
        step = span / count
        along = np.linspace(0, span, 40 * count)
        vine = (
            start
            + middle * (run + inward)
            + along[:, None] * run
            + (0.0085 * np.sin(np.pi * along / step))[:, None] * inward
        )
        sheet.outlined([shapes.ribbon(vine, 0.0062)], [shapes.ribbon(vine, 0.0036)], PALE_GOLD)
        for k in range(1, count):
            way = 1 if k % 2 else -1
            spot = vine[40 * k + 6]
            angle = np.arctan2(run[1], run[0]) + way * 0.75
            for length, lean, tone in ((0.026, 0.0, SAGE), (0.018, way * 1.1, ROSE)):
                leaf, rib = shapes.petal(spot, angle + lean, length, length * 0.5, bend=-way * 0.9)
                sheet.outlined([(leaf - leaf.mean(0)) * 1.22 + leaf.mean(0)], [leaf], tone)
                sheet.line(rib[2:30], 0.0010)
    for corner in outer:
        spot = corner + np.sign(outer.mean(0) - corner) * 0.027
        for radius, tone in ((0.026, GOLD), (0.019, TEAL), (0.012, PALE_GOLD), (0.006, TERRACOTTA)):
            sheet.outlined([shapes.circle(spot, radius + 0.002)], [shapes.circle(spot, radius)], tone)


def _printed(sheet, rng):
    """Pull the sheet: crayon grain in every tint, gold flecks, loose register, paper."""
    shape = sheet.shape
    crayon_rng, cloud_rng, paper_rng, key_rng, stroke_rng = rng.spawn(5)
    crayon = canvas.noise(shape[:2], crayon_rng, cells=333, octaves=2)
    cloud = canvas.noise(shape[:2], cloud_rng, cells=11, octaves=3)
    hatching = shapes.streaks(shape, length=0.035, width=0.0032, angle=-0.9, rng=stroke_rng)
    shift_px = np.float32([[1, 0, -0.0007 * max(shape)], [0, 1, 0.0006 * max(shape)]])
    colour = cv2.warpAffine(sheet.colour, shift_px, (shape[1], shape[0]), borderMode=cv2.BORDER_REPLICATE)
    tint = 0.055 * cloud + 0.026 * hatching + 0.030 * crayon
    colour = (
        canvas.mix(colour, CREAM, np.clip(0.07 + tint, 0, 0.45)) * (1 + 0.5 * np.minimum(tint, 0))[..., None]
    )
    key = shapes.displace(sheet.key, amount=0.00026, cell=0.007, rng=key_rng)
    image = canvas.mix(colour, INK, key * np.clip(0.93 - 0.05 * crayon, 0, 1))
    return shapes.emboss(image, shapes.paper_fibre(shape, rng=paper_rng), strength=0.03)


def paint(size_px, rng):
    ground_rng, bird_rng, plant_rng, print_rng = rng.spawn(4)
    sheet = shapes.BlockPrint(size_px, height_to_width=HEIGHT_TO_WIDTH, paper=CREAM)
    _ground(sheet, ground_rng)
    _halo(sheet)
    _vines(sheet, plant_rng)
    _plants(sheet, plant_rng)
    _peacock(sheet, bird_rng)
    _frame(sheet)
    return np.clip(_printed(sheet, print_rng), 0, 1).astype(np.float32)
