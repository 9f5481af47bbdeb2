"""Neoplastic grid: brushed fields of primary colour held by black bars."""

import numpy as np

from . import canvas, shapes

TITLE = "Neoplastic grid"
DESCRIPTION = "Uneven black grid holding brushed fields of red, yellow, blue and off-white; crazed."

HEIGHT_TO_WIDTH = 0.86
# Field colours and how often each is picked; whites differ as old whites do.
FIELDS = [
    ("#ebe4d2", 0.17),
    ("#dcd9cf", 0.12),
    ("#f1e5c2", 0.09),
    ("#bfc6c8", 0.06),
    ("#be2a20", 0.16),
    ("#d4482c", 0.05),
    ("#e8b71c", 0.14),
    ("#f0cd4a", 0.04),
    ("#1f3f90", 0.12),
    ("#3468ac", 0.04),
    ("#1c1b1e", 0.01),
]
BAR_BLACK = canvas.rgb("#17161a")
# Chance that a box is left whole, by how many cuts made it.
STOP = [0.0, 0.0, 0.02, 0.10, 0.2, 0.3, 0.4, 0.6]


def _split(box, bar, depth, rng, fields, bars):
    """Cut a box in two with a bar, again and again, noting fields and bars."""
    size = np.array([box[2] - box[0], box[3] - box[1]])
    whole = size.max() < 0.06 or (size.min() < 0.03 and size.max() < 0.09)
    roomy = size.min() > 0.16 or size.max() > 0.4
    if whole or (not roomy and rng.random() < STOP[min(depth, 7)]):
        fields.append(box)
        return
    axis = int(size.argmax()) if rng.random() < 0.85 else int(size.argmin())
    if size[axis] < 0.055:
        axis = 1 - axis
    at = box[axis] + size[axis] * rng.choice([0.28, 0.37, 0.63, 0.72]) + rng.normal(0, 0.004)
    span = (box[1 - axis], box[3 - axis])
    bars.append((axis, at, span, bar))
    after = at + bar / 2
    if depth in (1, 2, 3) and size[axis] > 0.15 and rng.random() < 0.6:
        after = _ladder(axis, after, span, bar, rng, fields, bars)
    thinner = max(bar * rng.uniform(0.66, 0.9), 0.0045)
    first, second = list(box), list(box)
    first[axis + 2], second[axis] = at - bar / 2, after
    _split(first, thinner, depth + 1, rng, fields, bars)
    _split(second, thinner, depth + 1, rng, fields, bars)


def _ladder(axis, start, span, bar, rng, fields, bars):
    """Set a narrow strip of small fields along a bar; return where it ends."""
    wide = rng.choice([0.020, 0.027, 0.034])
    rung = max(bar * 0.45, 0.0045)
    at = span[0]
    while at < span[1]:
        end = at + wide * rng.choice([0.6, 1.0, 1.7, 3.2])
        end = span[1] if span[1] - end < 0.02 else end
        low, high = [0, 0], [0, 0]
        low[axis], high[axis] = start, start + wide
        low[1 - axis], high[1 - axis] = at, end
        fields.append([*low, *high])
        if end < span[1]:
            bars.append((1 - axis, end, (start, start + wide), rung))
        at = end
    closing = bar * 0.7
    bars.append((axis, start + wide + closing / 2, span, closing))
    return start + wide + closing


def _field_marks(box, colour, rng):
    """Brush marks that fill one field along its longer side and stay inside it."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    flat = width > height
    brush = np.clip(min(width, height) * 0.30, 0.006, 0.014)
    length = np.clip(max(width, height) * 0.55, 0.014, 0.06)
    count = int(np.ceil(3.6 * width * height / (brush * length))) + 4
    angles = np.where(rng.random(count) < 0.85, 0, np.pi / 2) + (0 if flat else np.pi / 2)
    along_x = np.abs(np.cos(angles)) > 0.5
    lengths = np.minimum(length, np.where(along_x, width, height) * 1.05)
    half_x = np.minimum(np.where(along_x, lengths, brush) * 0.47, width / 2)
    half_y = np.minimum(np.where(along_x, brush, lengths) * 0.47, height / 2)
    # Marks crowd against the bars, so that the corners of a field are filled too.
    x = x0 + half_x + np.clip(rng.random(count) * 1.3 - 0.15, 0, 1) * (width - 2 * half_x)
    y = y0 + half_y + np.clip(rng.random(count) * 1.3 - 0.15, 0, 1) * (height - 2 * half_y)
    # Paint is never mixed twice the same, and one end of a field is fuller.
    lean = ((x - x0) / width - 0.5) * rng.normal(0, 0.05)
    tones = colour * (1 + rng.normal(0, 0.06, count) + lean)[:, None]
    tones = tones + rng.normal(0, 0.008, (count, 3))
    return np.stack([x, y], 1), tones, angles + rng.normal(0, 0.035, count), lengths, brush


def _bar_polygon(bar, rng):
    axis, at, span, width = bar
    along = np.linspace(span[0] - 0.004, span[1] + 0.004, 40)
    line = np.stack([np.full(40, at), along], 1)
    line = line if axis == 0 else line[:, ::-1]
    # A hand strays as often on a short bar as on the same length of a long one.
    knots = 3 + int((span[1] - span[0]) / 0.06)
    line = shapes.wobble(line, amount=0.0005, rng=rng, knots=knots)
    swell = np.interp(np.linspace(0, 1, 40), np.linspace(0, 1, knots), rng.normal(0, 0.0004, knots))
    return shapes.ribbon(line, width + swell)


def paint(size_px, rng):
    plan_rng, colour_rng, mark_rng, bar_rng, ground_rng, age_rng = rng.spawn(6)
    image = shapes.blank(size_px, height_to_width=HEIGHT_TO_WIDTH, colour=(0.80, 0.77, 0.69))
    shape = image.shape
    height = np.zeros(shape[:2], np.float32)
    fields, bars = [], []
    _split([0, 0, 1, HEIGHT_TO_WIDTH], 0.019, 0, plan_rng, fields, bars)

    names, odds = zip(*FIELDS)
    for box in fields:
        colour = canvas.rgb(str(colour_rng.choice(names, p=np.array(odds) / sum(odds))))
        places, tones, angles, lengths, brush = _field_marks(box, colour, mark_rng)
        inside = [[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]]
        shapes.fill(image, inside, colour * 0.93)
        shapes.dabs(
            image,
            height,
            places,
            colours=tones.astype(np.float32),
            angles=angles,
            length=lengths,
            width=brush,
            rng=mark_rng,
        )

    # Bars are brushed last, along their length, a little proud of the fields.
    streak_rngs = ground_rng.spawn(3)
    for axis, angle in ((0, np.pi / 2), (1, 0.0)):
        streak = shapes.streaks(shape, length=0.07, width=0.0016, angle=angle, rng=streak_rngs[axis])
        black = BAR_BLACK * (1 + 0.35 * streak[..., None]) + 0.012 * streak[..., None]
        for bar in (b for b in bars if b[0] == axis):
            outline = _bar_polygon(bar, bar_rng)
            shapes.fill(image, outline, black)
            box = shapes.polygon_box(outline, shape)
            covered = shapes.polygon_mask([outline], shape, box=box)
            height[box] += covered * (0.45 + 0.18 * streak[box] - height[box] * 0.8)

    weave = 2 * canvas.weave(shape[:2], streak_rngs[2]) - 1
    wear_rng, crack_rng, fine_rng, tint_rng = age_rng.spawn(4)
    coarse = shapes.cracks(shape, cell=0.030, rng=crack_rng)
    fine = shapes.cracks(shape, cell=0.012, rng=fine_rng)
    crack = np.maximum(coarse * 0.85, fine * 0.5)
    image = shapes.emboss(image, height + 0.05 * weave - 0.25 * crack, strength=0.5 * (size_px / 900) ** 0.6)
    image = canvas.mix(image, image * np.float32([0.50, 0.46, 0.42]) + 0.03, crack * 0.8)
    # Thin places show the weave; varnish has yellowed in clouds.
    image *= (
        1
        + 0.022
        * (weave * canvas.smoothstep(canvas.noise(shape[:2], wear_rng, cells=10, octaves=1), -1, 1))[
            ..., None
        ]
    )
    cloud = canvas.smoothstep(canvas.noise(shape[:2], tint_rng, cells=4, octaves=3), -1.2, 1.8)
    image = canvas.mix(image, image * np.float32([0.98, 0.94, 0.82]), 0.6 * cloud)
    return np.clip(image, 0, 1).astype(np.float32)
