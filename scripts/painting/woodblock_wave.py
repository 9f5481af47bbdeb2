"""Woodblock wave: a clawed breaker printed from key block and colour blocks."""

import cv2
import numpy as np

from . import canvas, shapes

TITLE = "Breaking wave, woodblock print"
DESCRIPTION = "Ukiyo-e print: a clawed breaker in Prussian blues, swelling key lines and graded sky."

HEIGHT_TO_WIDTH = 0.72
PAPER = canvas.rgb("#ece1c2")
FOAM = canvas.rgb("#f1ead6")
KEY = canvas.rgb("#13203f")
DARK = canvas.rgb("#1c3a6e")
MIDDLE = canvas.rgb("#3a6a9c")
LIGHT = canvas.rgb("#86aebd")
PALE = canvas.rgb("#bfd2cb")
SUN_RED = canvas.rgb("#c8523a")

# A breaker in its own frame: its back, then its hollow face, both from foot to tip.
BACK = [
    (-0.34, 0.80),
    (-0.17, 0.45),
    (-0.02, 0.25),
    (0.13, 0.125),
    (0.28, 0.070),
    (0.41, 0.085),
    (0.49, 0.150),
    (0.515, 0.225),
]
FACE = [
    (0.56, 0.82),
    (0.44, 0.62),
    (0.345, 0.485),
    (0.305, 0.365),
    (0.325, 0.270),
    (0.39, 0.215),
    (0.46, 0.205),
    (0.508, 0.232),
]
SAMPLES = 160


def _sky(sheet, rng):
    x, y = sheet.x, sheet.y
    grey, buff, rose = (canvas.rgb(c) for c in ("#5d7487", "#e3d2a2", "#d9a384"))
    sky = canvas.mix(buff, rose, 0.85 * canvas.smoothstep(y, 0.30, 0.47))
    sky = canvas.mix(sky, grey, 0.95 * (1 - canvas.smoothstep(y + 0.02 * np.sin(x * 7), 0.0, 0.17)))
    sheet.colour[...] = sky
    sun = shapes.circle((0.80, 0.20), 0.068)
    sheet.fill([sun], SUN_RED)
    # Bands of mist with rounded ends, each with its own grading and contour.
    for x0, x1, y0, thick in (
        (0.56, 0.90, 0.245, 0.022),
        (0.70, 1.1, 0.205, 0.020),
        (0.62, 0.80, 0.285, 0.016),
        (0.84, 1.1, 0.315, 0.020),
        (-0.1, 0.16, 0.075, 0.024),
        (0.52, 0.84, 0.070, 0.022),
        (0.74, 1.1, 0.035, 0.020),
        (0.10, 0.30, 0.030, 0.018),
        (0.57, 0.70, 0.125, 0.014),
        (0.90, 1.1, 0.120, 0.018),
        (0.55, 0.74, 0.345, 0.014),
        (0.86, 1.1, 0.385, 0.013),
    ):
        along = np.linspace(x0, x1, 60)
        middle = np.stack([along, y0 + 0.006 * np.sin(along * 22 + x0 * 50)], 1)
        swell = thick * np.minimum(np.sqrt(np.clip(1 - (2 * np.linspace(0, 1, 60) - 1) ** 6, 0, 1)), 1)
        outer = shapes.ribbon(middle, swell + 0.0028)
        inner = shapes.ribbon(shapes.wobble(middle, amount=0.0004, rng=rng), swell)
        graded = canvas.mix(
            canvas.rgb("#efe6cb"),
            canvas.rgb("#a9b3a8"),
            canvas.smoothstep(y, y0 - thick * 0.3, y0 + thick * 0.6),
        )
        sheet.outlined([outer], [inner], graded)
        for offset in (0.22, -0.05):
            part = slice(int(rng.integers(4, 14)), int(rng.integers(36, 56)))
            sheet.line(
                middle[part] + (0, thick * offset),
                shapes.swelling(60, thick=0.0013, thin=0.0002)[: len(middle[part])],
                0.7,
            )


def _mountain(sheet, rng):
    peak, foot = np.array([0.685, 0.335]), 0.475
    left = shapes.spline([(0.53, foot), (0.605, 0.432), (0.655, 0.372), peak - (0.008, 0)], 50)
    right = shapes.spline([peak + (0.010, 0.001), (0.72, 0.377), (0.775, 0.435), (0.86, foot)], 50)
    outline = np.vstack([left, right])
    body = canvas.mix(canvas.rgb("#44566b"), canvas.rgb("#b9aa8c"), canvas.smoothstep(sheet.y, 0.37, 0.475))
    sheet.fill([outline], body)
    snow = [peak - (0.055, -0.066)]
    for k, dx in enumerate(np.linspace(-0.046, 0.05, 11)):
        snow.append(peak + (dx, (0.052 if k % 2 else 0.078) + 0.1 * abs(dx) + rng.normal(0, 0.003)))
    top = np.vstack([left[left[:, 1] < 0.40], right[right[:, 1] < 0.40]])
    sheet.fill([np.vstack([top, np.array(snow[1:])[::-1]])], FOAM)
    sheet.line(outline, 0.0022)
    for _ in range(26):
        start = peak + (rng.normal(0, 0.05), 0.075 + rng.random() * 0.03)
        lean = (start[0] - peak[0]) * 0.55
        sheet.line(
            shapes.spline([start, start + (lean * 0.5, 0.014), start + (lean, 0.030)], 12),
            np.linspace(0.0016, 0.0003, 12),
            0.75,
        )


def _far_sea(sheet, rng):
    """Rows of small scalloped swells from the horizon down."""
    y = 0.455
    row = 0
    while y < 0.74:
        deep = 0.010 + 0.05 * (y - 0.45)
        wide = deep * 4.2
        count = int(1.3 / wide) + 2
        crest = []
        for k in range(count):
            x0 = -0.1 + (k + 0.5 * (row % 2)) * wide + rng.normal(0, wide * 0.05)
            t = np.linspace(0, 1, 12, endpoint=False)
            crest.append(
                np.stack(
                    [x0 + t * wide, y - deep * (0.9 * np.sin(np.pi * t) ** 0.8) * rng.uniform(0.75, 1.15)], 1
                )
            )
        line = np.vstack(crest)
        tone = canvas.mix(
            (LIGHT, PALE, MIDDLE)[row % 3], DARK, 0.75 * canvas.smoothstep(sheet.y, y - deep, y + deep * 1.4)
        )
        sheet.fill([np.vstack([line, [(1.3, 0.8), (-0.2, 0.8)]])], tone)
        sheet.line(line, 0.0016 + 0.0006 * np.sin(np.arange(len(line))))
        for piece in crest:
            for drop in (0.35, 0.7):
                inner = (piece[2:-2] - piece[6]) * 0.8 + piece[6] + (0, deep * drop)
                sheet.line(inner, shapes.swelling(len(inner), thick=0.0012, thin=0.0002), 0.8)
        y += deep * 1.15
        row += 1


def _claw(base, angle, length, hook, depth, rng):
    """A finger of foam that hooks over, with smaller fingers on its back: spines and widths."""
    t = np.linspace(0, 1, 22)
    heading = angle + hook * t**1.4
    spine = base + np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), axis=0) * length / 22
    # Round where it leaves the foam, narrowing to the hook.
    width = length * (0.36 * (1 - t) ** 0.75 + 0.03) * np.sqrt(np.clip((t + 0.02) / 0.16, 0, 1))
    fingers = [(spine, width)]
    if depth:
        for at in (5, 10, 15)[: depth + 1]:
            child = heading[at] - np.sign(hook) * rng.uniform(0.5, 0.9)
            fingers += _claw(
                spine[at],
                child,
                length * rng.uniform(0.38, 0.52),
                hook * rng.uniform(0.9, 1.3),
                depth - 1,
                rng,
            )
    return fingers


def _breaker(sheet, place, rng, *, claw_length, lines, turn):
    """One breaker: graded body, stripes that run to the tip, foam, claws and spray.

    place maps the breaker's own frame to the sheet; turn is -1 where it mirrors.
    """
    back, face = place(shapes.spline(BACK, SAMPLES)), place(shapes.spline(FACE, SAMPLES))
    back = shapes.wobble(back, amount=0.0015, rng=rng, knots=20)
    top, tip = back[:, 1].min(), back[-1]

    def between(share):
        return back + (face - back) * np.asarray(share).reshape(-1, 1)

    body = np.vstack([back, face[::-1]])
    sheet.fill([body], canvas.mix(MIDDLE, DARK, canvas.smoothstep(sheet.y, top + 0.30, top)))
    t = np.linspace(0, 1, SAMPLES)
    share = 0.03
    while share < 0.97:
        wide = rng.uniform(0.025, 0.055)
        start, end = int(rng.integers(0, 25)), int(rng.integers(118, SAMPLES - 2))
        part = slice(start, end)
        taper = wide * np.sin(np.pi * np.clip((t[part] - t[start]) / (t[end - 1] - t[start]), 0, 1)) ** 0.45
        stripe = np.vstack(
            [
                between(share + 0 * t)[part],
                between(np.r_[np.zeros(start), share + taper, np.zeros(SAMPLES - end)])[part][::-1],
            ]
        )
        sheet.fill([stripe], (FOAM, LIGHT, DARK, PALE, KEY, LIGHT, DARK)[rng.integers(7)], hides=False)
        share += wide * rng.uniform(1.2, 1.7)
    for share in np.linspace(0.02, 0.98, lines):
        start, end = int(rng.integers(0, 40)), int(rng.integers(100, SAMPLES - 4))
        curve = shapes.wobble(between(share + 0 * t)[start:end], amount=0.0006, rng=rng)
        sheet.line(curve, shapes.swelling(end - start, thick=rng.uniform(0.0012, 0.0030), thin=0.0003), 0.95)
    sheet.line(face, shapes.swelling(SAMPLES, thick=0.0045, thin=0.0015))
    sheet.line(back, 0.0030)

    # Foam lies along the crest in scallops and runs down the face in fingers.
    crest = back[int(0.42 * SAMPLES) :]
    inward = (face - back)[int(0.42 * SAMPLES) :]
    for row, (depth, radius, tone) in enumerate(((0.16, 0.34, PALE), (0.09, 0.36, FOAM), (0.0, 0.30, FOAM))):
        spots = [
            (
                crest[k] + inward[k] * depth * rng.uniform(0.5, 1.3),
                claw_length * radius * rng.uniform(0.5, 1.05),
            )
            for k in range(row, len(crest), 3)
        ]
        sheet.outlined(
            [shapes.circle(c, r + 0.0019, 24) for c, r in spots],
            [shapes.circle(c, r, 24) for c, r in spots],
            tone,
        )
        for centre, radius_unit in spots[::2]:
            arc = shapes.circle(centre, radius_unit * 0.6, 30)[2:16]
            sheet.line(arc, shapes.swelling(len(arc), thick=0.0014, thin=0.0003), 0.7)

    edge = [(k, back) for k in range(int(0.50 * SAMPLES), SAMPLES, 6)] + [
        (k, face) for k in range(int(0.72 * SAMPLES), SAMPLES, 5)
    ]
    for k, side in edge:
        run = side[min(k + 3, SAMPLES - 1)] - side[max(k - 4, 0)]
        along = np.arctan2(run[1], run[0])
        lift = -0.75 if side is back else 0.55
        base = side[k] - 0.2 * claw_length * np.array([np.cos(along), np.sin(along)])
        fingers = _claw(
            base,
            along + turn * lift + rng.normal(0, 0.15),
            claw_length * rng.uniform(0.9, 1.45),
            turn * rng.uniform(1.2, 2.0),
            2,
            rng,
        )
        sheet.outlined(
            [shapes.ribbon(s, w + 0.0036) for s, w in fingers],
            [shapes.ribbon(s, w) for s, w in fingers],
            FOAM,
        )
        for spine, width in fingers[:4]:
            shade = spine[3:17] + shapes.normals(spine)[3:17] * (turn * -0.22 * width[3:17, None])
            sheet.fill([shapes.ribbon(shade, width[3:17] * 0.28)], LIGHT)
    reach = claw_length * 4
    for _ in range(170):
        spot = tip + (turn * (rng.exponential(0.8) - 0.5) * reach, (rng.normal(0.0, 0.6) + 0.25) * reach)
        radius = claw_length * rng.uniform(0.03, 0.11)
        sheet.outlined([shapes.circle(spot, radius + 0.0012, 32)], [shapes.circle(spot, radius, 32)], FOAM)


def _placed(scale, shift, *, mirror=False, lean=0.0):
    """Map from a breaker's frame to the sheet."""
    cos, sin = np.cos(lean), np.sin(lean)

    def place(points):
        points = points * (-1 if mirror else 1, 1) * scale
        return points @ np.array([[cos, sin], [-sin, cos]]) + shift

    return place


def _boat(sheet, rng):
    """A long boat climbing the swell, with its rowers bent over the oars."""
    keel = shapes.spline([(0.50, 0.520), (0.58, 0.560), (0.68, 0.562), (0.76, 0.525)], 60)
    rail = shapes.spline([(0.485, 0.500), (0.58, 0.541), (0.68, 0.543), (0.775, 0.503)], 60)
    hull = np.vstack([keel, rail[::-1]])
    sheet.fill(
        [hull],
        canvas.mix(canvas.rgb("#e0c48a"), canvas.rgb("#94683a"), canvas.smoothstep(sheet.y, 0.52, 0.56)),
    )
    for share in (0.0, 0.45, 1.0):
        sheet.line(keel + (rail - keel) * share, 0.0020)
    for k in range(10, 52, 6):
        seat = rail[k]
        back = shapes.spline(
            [seat + (-0.012, 0.002), seat + (-0.009, -0.016), seat + (0.006, -0.014), seat + (0.012, 0.003)],
            24,
        )
        sheet.outlined([shapes.ribbon(back, 0.006)], [back], (DARK, MIDDLE)[k // 6 % 2])
        head = seat + (0.008, -0.017)
        sheet.outlined([shapes.circle(head, 0.0062)], [shapes.circle(head, 0.0046)], canvas.rgb("#e6c79c"))
        oar = np.array([seat + (0.010, -0.004), seat + (-0.020, 0.045)])
        sheet.line(shapes.resample(oar, 12), 0.0020)


def _near_swell(sheet, rng):
    """Broad foreground rollers, striped along their length."""
    for base, rise, slant, seed in (
        (0.585, 0.05, 0.6, 0.3),
        (0.645, 0.055, 2.4, 1.1),
        (0.695, 0.035, 4.4, 2.0),
    ):
        x = np.linspace(-0.05, 1.05, 140)
        crest = np.stack([x, base - rise * np.sin(x * 5.2 + slant) - 0.008 * np.sin(x * 21 + seed)], 1)
        floor = [(1.05, 0.80), (-0.05, 0.80)]
        tone = canvas.mix(MIDDLE, KEY, canvas.smoothstep(sheet.y, base - rise, base + 0.06))
        sheet.fill([np.vstack([crest, floor])], tone)
        for k in range(11):
            down = 0.006 + 0.0085 * k * (1 + 0.04 * k)
            start = int(rng.integers(0, 40))
            end = int(rng.integers(85, 140))
            band = (
                crest[start:end]
                + np.stack([0 * x, down * (1 + 0.3 * np.sin(x * 9 + k + seed))], 1)[start:end]
            )
            swell = shapes.swelling(end - start, thick=rng.uniform(0.003, 0.0075), thin=0.0003)
            sheet.fill([shapes.ribbon(band, swell)], (LIGHT, PALE, FOAM, LIGHT)[k % 4], hides=False)
            sheet.line(band + (0, 0.0035), swell * 0.38)
        sheet.line(crest, shapes.swelling(140, thick=0.0040, thin=0.0018))
        # Foam breaks here and there along the roller.
        for spot in rng.choice(140, 8, replace=False):
            for _ in range(7):
                base_point = crest[min(spot + int(rng.integers(0, 9)), 139)]
                fingers = _claw(
                    base_point,
                    rng.uniform(-1.5, -0.4),
                    rng.uniform(0.014, 0.026),
                    rng.uniform(1.4, 2.2),
                    1,
                    rng,
                )
                sheet.outlined(
                    [shapes.ribbon(s, w + 0.0030) for s, w in fingers],
                    [shapes.ribbon(s, w) for s, w in fingers],
                    FOAM,
                )


def _seal(sheet, rng):
    """A cartouche of brushed marks (no script) and a red seal."""
    frame = np.array([[0.035, 0.105], [0.083, 0.105], [0.083, 0.275], [0.035, 0.275]])
    sheet.outlined([(frame - frame.mean(0)) * (1.10, 1.03) + frame.mean(0)], [frame], canvas.rgb("#e9cf8e"))
    for row in range(6):
        for _ in range(5):
            start = np.array([0.059, 0.121 + row * 0.0265]) + rng.normal(0, 1, 2) * (0.008, 0.005)
            angle = rng.choice([0.0, 1.5, 0.8, -0.7]) + rng.normal(0, 0.2)
            mark = shapes.spline(
                [
                    start,
                    start + np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.006, 0.014),
                    start + rng.normal(0, 0.008, 2),
                ],
                14,
            )
            sheet.line(mark, shapes.swelling(14, thick=0.0030, thin=0.0006, peak=0.25))
    stamp = np.array([[0.043, 0.288], [0.075, 0.287], [0.076, 0.319], [0.042, 0.320]])
    sheet.fill([stamp], SUN_RED)
    for k in range(3):
        sheet.fill(
            [shapes.ribbon(np.array([[0.049 + 0.01 * k, 0.293], [0.050 + 0.008 * k, 0.314]]), 0.0024)], FOAM
        )
        sheet.fill(
            [shapes.ribbon(np.array([[0.047, 0.296 + 0.008 * k], [0.071, 0.295 + 0.008 * k]]), 0.0020)], FOAM
        )


def _birds(sheet, rng):
    for x, y in (
        (0.60, 0.19),
        (0.645, 0.165),
        (0.69, 0.20),
        (0.565, 0.235),
        (0.93, 0.26),
        (0.965, 0.235),
        (0.62, 0.03),
        (0.90, 0.075),
    ):
        size = rng.uniform(0.014, 0.022)
        for side in (-1, 1):
            wing = shapes.spline(
                [(x, y), (x + side * size * 0.5, y - size * 0.5), (x + side * size, y - size * 0.15)], 16
            )
            sheet.line(wing, np.linspace(0.0036, 0.0006, 16))
        sheet.line(np.array([[x - 0.003, y - 0.001], [x + 0.001, y + 0.001], [x + 0.006, y + 0.003]]), 0.0034)


def _printed(sheet, rng):
    """Ink the blocks: wood grain, mottled ink, blocks a hair out of register, paper."""
    shape = sheet.shape
    grain_rng, bend_rng, mottle_rng, paper_rng, key_rng, shift_rng = rng.spawn(6)
    bend = canvas.noise(shape[:2], bend_rng, cells=3, octaves=3)
    fibre = shapes.streaks(shape, length=0.30, width=0.0026, angle=0.0, rng=grain_rng)
    rings = np.sin(2 * np.pi * (sheet.y + 0.045 * bend) / 0.021 + 1.6 * fibre)
    mottle = canvas.noise(shape[:2], mottle_rng, cells=100, octaves=3)
    # Grain shows most in flat ink; the paper lifts through where ink is thin.
    thin = np.clip(0.10 + 0.060 * rings + 0.055 * fibre + 0.045 * mottle, 0, 0.5)
    shift_px = np.float32([[1, 0, 0.0009 * max(shape)], [0, 1, -0.0006 * max(shape)]])
    colour = cv2.warpAffine(sheet.colour, shift_px, (shape[1], shape[0]), borderMode=cv2.BORDER_REPLICATE)
    colour = canvas.mix(colour, PAPER, thin) * (1 - 0.022 * rings)[..., None]
    key = shapes.displace(sheet.key, amount=0.00026, cell=0.007, rng=shift_rng)
    worn = canvas.smoothstep(canvas.noise(shape[:2], key_rng, cells=333, octaves=2) + 0.6 * rings, -2.3, -1.2)
    image = canvas.mix(colour, KEY, key * (0.72 + 0.25 * worn))
    paper = shapes.paper_fibre(shape, rng=paper_rng)
    pressed = cv2.GaussianBlur(sheet.key, (0, 0), 0.0008 * max(shape))
    return shapes.emboss(image, 0.5 * paper - 2.5 * pressed, strength=0.045)


def paint(size_px, rng):
    scene_rng, wave_rng, second_rng, third_rng, print_rng = rng.spawn(5)
    sheet = shapes.BlockPrint(size_px, height_to_width=HEIGHT_TO_WIDTH, paper=PAPER)
    _sky(sheet, scene_rng)
    _birds(sheet, scene_rng)
    _mountain(sheet, scene_rng)
    _far_sea(sheet, scene_rng)
    _breaker(
        sheet,
        _placed(0.52, (1.02, 0.27), mirror=True, lean=-0.05),
        second_rng,
        claw_length=0.021,
        lines=16,
        turn=-1,
    )
    _boat(sheet, scene_rng)
    _breaker(sheet, _placed(1.0, (0.0, 0.0)), wave_rng, claw_length=0.047, lines=34, turn=1)
    _near_swell(sheet, scene_rng)
    _breaker(sheet, _placed(0.36, (0.10, 0.53), lean=0.12), third_rng, claw_length=0.017, lines=14, turn=1)
    _seal(sheet, scene_rng)
    return np.clip(_printed(sheet, print_rng), 0, 1).astype(np.float32)
