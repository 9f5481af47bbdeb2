"""Cubist facets: a guitar, bottle and glass broken into overlapping tilted planes."""

import cv2
import numpy as np

from . import canvas, shapes

TITLE = "Guitar, bottle and glass in facets"
DESCRIPTION = "Analytic cubism: tilted planes in ochre, umber and grey, each with its own brushwork."

HEIGHT_TO_WIDTH = 1.22
WIDTH = 1 / HEIGHT_TO_WIDTH
LIGHTS = ("#eddcaa", "#dfc381", "#d8cfb6", "#cfa455", "#e6e2d0")
MIDS = ("#a98a52", "#8f8468", "#96703c", "#7f8078", "#b08e58", "#6f7466")
DARKS = ("#41301d", "#2f2d27", "#54401f", "#281f15", "#3d4642")
UMBER = canvas.rgb("#1f1812")


def _pick(rng, names):
    return canvas.rgb(names[rng.integers(len(names))])


class _Painting:
    """What the brush will follow: colour, the angle of each plane's strokes, and drawn lines."""

    def __init__(self, size_px, line_rng):
        self.colour = shapes.blank(size_px, height_to_width=HEIGHT_TO_WIDTH, colour=(0.62, 0.55, 0.40))
        self.shape = self.colour.shape
        self.angle = np.zeros(self.shape[:2], np.float32)
        self.x, self.y = canvas.unit_grid(self.shape[:2])
        self.ink = np.zeros(self.shape[:2], np.float32)
        self.line_rng = line_rng

    def plane(self, corners, colour, *, shade, opacity, rng, tilt=None, lit=None):
        """A plane whose shading is dark on one edge and passes into its neighbours on the other."""
        corners = np.asarray(corners, np.float64)
        box = shapes.polygon_box(corners, self.shape)
        if box is None:
            return
        edges = np.roll(corners, -1, axis=0) - corners
        k = int(rng.integers(len(corners))) if lit is None else lit
        edge = edges[k] / (np.hypot(*edges[k]) + 1e-9)
        inward = np.array([-edge[1], edge[0]])
        depth = (corners - corners[k]) @ inward
        inward, depth = (inward, depth) if depth.max() > -depth.min() else (-inward, -depth)
        along = (self.x[box] - corners[k, 0]) * inward[0] + (self.y[box] - corners[k, 1]) * inward[1]
        along = np.clip(along / max(depth.max(), 1e-6), 0, 1)
        tone = colour + (_pick(rng, DARKS if shade > 0 else LIGHTS) - colour) * (
            abs(shade) * (1 - along)[..., None] ** 1.6
        )
        cover = shapes.polygon_mask([corners], self.shape, box=box)
        passage = cover * opacity * (1 - 0.7 * canvas.smoothstep(along, 0.55, 1.0))
        self.colour[box] = canvas.mix(self.colour[box], tone, passage)
        turned = np.arctan2(edge[1], edge[0]) if tilt is None else tilt
        self.angle[box] = np.where(cover * (along < 0.8) > 0.5, turned, self.angle[box])
        # A plane hides the lines beneath it, as far as it is opaque.
        self.ink[box] *= 1 - 0.92 * passage
        width = rng.uniform(0.0012, 0.0036)
        self.line(corners[[k, (k + 1) % len(corners)]], width, 0.9)
        if rng.random() < 0.45:
            self.line(corners[[k - 1, k]], width * 0.6, 0.6)

    def line(self, points, width, opacity=0.9):
        """A brushed line that swells and thins."""
        points = np.asarray(points, np.float64)
        line = shapes.resample(points, 30 if len(points) < 6 else 60)
        line = shapes.wobble(line, amount=0.0007, rng=self.line_rng, knots=8)
        outline = shapes.ribbon(
            line,
            shapes.swelling(len(line), thick=width, thin=width * 0.35, peak=self.line_rng.uniform(0.2, 0.8)),
        )
        box = shapes.polygon_box(outline, self.shape)
        if box is not None:
            drawn = shapes.polygon_mask([outline], self.shape, box=box) * opacity
            self.ink[box] = np.maximum(self.ink[box], drawn)


def _quad(centre, size, angle, rng):
    """A four- or three-sided plane, out of true."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2
    corners = corners * rng.uniform(0.65, 1.3, (4, 2))
    if rng.random() < 0.28:
        corners = np.delete(corners, rng.integers(4), axis=0)
    cos, sin = np.cos(angle), np.sin(angle)
    return corners @ np.array([[cos, sin], [-sin, cos]]) + centre


def _scaffold(painting, rng):
    """Large planes over the whole canvas, then smaller ones crowding to the middle."""
    tilts = np.array([0.18, -0.62, 0.95, -1.25, 0.5, -0.2])
    for count, large, small, spread in (
        (46, 0.34, 0.20, 0.9),
        (110, 0.19, 0.09, 0.42),
        (150, 0.095, 0.045, 0.30),
    ):
        for _ in range(count):
            if spread > 0.8:
                centre = rng.random(2) * (WIDTH, 1)
            else:
                centre = np.array([0.41, 0.52]) + rng.normal(0, 1, 2) * (spread * 0.75, spread)
            family = (LIGHTS, MIDS, DARKS)[rng.choice(3, p=(0.40, 0.36, 0.24))]
            size = rng.uniform(small, large) * np.array([1, rng.uniform(0.4, 1.0)])
            painting.plane(
                _quad(centre, size, rng.choice(tilts) + rng.normal(0, 0.07), rng),
                _pick(rng, family),
                shade=rng.choice([0.9, 0.8, 0.6, -0.8]),
                opacity=rng.uniform(0.7, 1.0),
                rng=rng,
            )


def _turn(points, centre, angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return (np.asarray(points) - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre


def _guitar(painting, rng):
    """The guitar seen from several places at once: halves of the body slide apart."""
    middle = np.array([0.40, 0.58])
    side = np.array(
        [
            [0.00, -0.19],
            [0.075, -0.185],
            [0.105, -0.13],
            [0.082, -0.055],
            [0.10, 0.01],
            [0.145, 0.08],
            [0.135, 0.165],
            [0.07, 0.205],
            [0.00, 0.21],
        ]
    )
    for mirror, slide, angle, colour in (
        (-1, (-0.02, 0.015), 0.28, "#c99a4e"),
        (1, (0.015, -0.02), 0.20, "#d8b877"),
        (1, (0.07, 0.035), 0.05, "#6b4a28"),
    ):
        outline = shapes.spline(side * (mirror, 1), 60) + middle + slide
        outline = _turn(outline, middle, angle)
        painting.plane(
            outline[::4], canvas.rgb(colour), shade=0.75, opacity=0.92, rng=rng, tilt=angle + 1.2, lit=7
        )
        painting.line(outline, 0.0042)
        painting.line(outline[20:52] + (0.012 * mirror, 0.006), 0.0016, 0.7)
    hole = middle + (0.012, -0.035)
    for radius, tone in ((0.047, "#e6d6a6"), (0.036, "#2a2018")):
        shapes.fill(painting.colour, shapes.circle(hole, radius), canvas.rgb(tone))
        painting.line(shapes.circle(hole, radius * 1.08)[8:46], 0.0022)
    # Neck and head, cut into planes that do not quite meet.
    axis = np.array([np.sin(0.24), -np.cos(0.24)])
    across = np.array([axis[1], -axis[0]])
    for start, end, shift, tone in (
        (0.02, 0.19, 0, "#3c2c1c"),
        (0.18, 0.32, 0.012, "#5a4126"),
        (0.31, 0.40, -0.008, "#2a2119"),
    ):
        base = hole + across * shift
        corners = [
            base + axis * start - across * 0.021,
            base + axis * start + across * 0.021,
            base + axis * end + across * 0.019,
            base + axis * end - across * 0.019,
        ]
        painting.plane(corners, canvas.rgb(tone), shade=-0.5, opacity=1, rng=rng, tilt=-1.33, lit=3)
        painting.line(corners + corners[:1], 0.0022)
    for fret in np.linspace(0.06, 0.36, 9):
        painting.line([hole + axis * fret - across * 0.021, hole + axis * fret + across * 0.021], 0.0014)
    for peg in (0.335, 0.36, 0.385):
        for way in (-1, 1):
            spot = hole + axis * peg + across * way * 0.030
            shapes.fill(painting.colour, shapes.circle(spot, 0.008), canvas.rgb("#d9c48c"))
            painting.line(shapes.circle(spot, 0.008)[4:52], 0.0018)
    for k in range(6):
        offset = across * (k - 2.5) * 0.0058
        painting.line([hole - axis * 0.125 + offset * 1.2, hole + axis * 0.34 + offset * 0.7], 0.0010, 0.85)
    bridge = hole - axis * 0.125
    painting.line([bridge - across * 0.04, bridge + across * 0.04], 0.008)


def _bottle_and_glass(painting, rng):
    foot = np.array([0.665, 0.80])
    bottle = np.array(
        [
            [-0.052, 0],
            [-0.052, -0.20],
            [-0.046, -0.245],
            [-0.02, -0.285],
            [-0.018, -0.37],
            [0.018, -0.37],
            [0.02, -0.285],
            [0.046, -0.245],
            [0.052, -0.20],
            [0.052, 0],
        ]
    )
    for slide, tone, part in (((0, 0), "#56604a", slice(0, 6)), ((0.022, 0.018), "#8b8a66", slice(4, 10))):
        half = bottle[part] + foot + slide
        painting.plane(half, canvas.rgb(tone), shade=0.8, opacity=0.9, rng=rng, tilt=1.45, lit=0)
        painting.line(half, 0.0034)
    label = foot + np.array([[-0.045, -0.06], [0.05, -0.075], [0.056, -0.15], [-0.04, -0.14]])
    painting.plane(label, canvas.rgb("#ddd2ac"), shade=0.4, opacity=1, rng=rng, tilt=0.1)
    painting.line(np.vstack([label, label[:1]]), 0.002)
    stand = np.array([0.155, 0.815])
    for slide, tone in (((0, 0), "#b9bcae"), ((-0.024, -0.014), "#7b8078")):
        cup = (
            stand
            + slide
            + np.array(
                [
                    [-0.06, -0.17],
                    [0.06, -0.175],
                    [0.045, -0.06],
                    [0.01, -0.03],
                    [-0.01, -0.03],
                    [-0.048, -0.065],
                ]
            )
        )
        painting.plane(cup, canvas.rgb(tone), shade=0.7, opacity=0.85, rng=rng)
        painting.line(np.vstack([cup, cup[:1]]), 0.0026)
    rim = shapes.circle((0, 0), 1) * (0.06, 0.017) + stand + (0, -0.172)
    shapes.fill(painting.colour, rim, canvas.rgb("#e0d9bf"))
    painting.line(np.vstack([rim, rim[:1]]), 0.0022)
    painting.line([stand + (0, -0.03), stand + (0, 0.02)], 0.006)
    painting.line(shapes.circle((0, 0), 1)[:34] * (0.05, 0.014) + stand + (0, 0.02), 0.003)


def _table_and_paper(painting, rng):
    """Table edge, newspaper with set type, and sheets of music in the background."""
    table = [[-0.02, 0.86], [0.30, 0.80], [WIDTH + 0.02, 0.87], [WIDTH + 0.02, 1.02], [-0.02, 1.02]]
    painting.plane(table, canvas.rgb("#7a5a32"), shade=-0.5, opacity=0.8, rng=rng, tilt=-0.1, lit=0)
    for centre, angle, size in (
        ((0.27, 0.885), -0.22, (0.24, 0.12)),
        ((0.62, 0.20), 0.30, (0.22, 0.15)),
        ((0.14, 0.33), -0.4, (0.19, 0.15)),
    ):
        centre, size = np.array(centre), np.array(size)
        sheet = _turn(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2 + centre, centre, angle)
        painting.plane(sheet, canvas.rgb("#e4d9b8"), shade=0.35, opacity=0.95, rng=rng, tilt=angle)
        painting.line(np.vstack([sheet, sheet[:1]]), 0.0016)
        for row in np.linspace(-0.38, 0.38, 7):
            at, stop = -0.44, 0.40
            while at < stop:
                end = min(at + rng.uniform(0.03, 0.15), 0.44)
                word = np.array([[at, row], [end, row]]) * size + centre
                painting.line(_turn(word, centre, angle), rng.uniform(0.0016, 0.0042), 0.7)
                at = end + 0.03


def _brush(painting, rng, *, spacing, length, width, drift):
    """Repaint the plan with flat-brush marks that run with each plane."""
    columns, rows = np.meshgrid(np.arange(0, WIDTH, spacing), np.arange(0, 1, spacing))
    places = np.stack([columns.ravel(), rows.ravel()], 1) + rng.normal(0, spacing * 0.4, (columns.size, 2))
    places = rng.permutation(places)
    long_px = max(painting.shape)
    at = np.clip((places * long_px).astype(int), 0, (painting.shape[1] - 1, painting.shape[0] - 1))
    colours = painting.colour[at[:, 1], at[:, 0]]
    colours = colours * rng.normal(1, drift, (len(places), 1)) + rng.normal(0, 0.008, (len(places), 3))
    angles = painting.angle[at[:, 1], at[:, 0]] + rng.normal(0, 0.16, len(places))
    return places, colours.astype(np.float32), angles, length * rng.uniform(0.7, 1.3, len(places)), width


def paint(size_px, rng):
    plan_rng, object_rng, wide_rng, fine_rng, line_rng, cloth_rng, tone_rng = rng.spawn(7)
    painting = _Painting(size_px, line_rng)
    _scaffold(painting, plan_rng)
    _table_and_paper(painting, object_rng)
    _bottle_and_glass(painting, object_rng)
    _guitar(painting, object_rng)
    # A few planes pass over the objects again and tie them to the ground.
    for k in range(110):
        centre = np.array([0.41, 0.55]) + plan_rng.normal(0, 1, 2) * (0.30, 0.28)
        if k % 3 == 0:
            centre = plan_rng.random(2) * (WIDTH, 0.2) + (0, 0.82)
        painting.plane(
            _quad(
                centre,
                plan_rng.uniform(0.04, 0.12) * np.array([1, 0.6]),
                plan_rng.choice([0.2, -0.6, 0.95, -1.2]),
                plan_rng,
            ),
            _pick(plan_rng, LIGHTS + MIDS + DARKS),
            shade=plan_rng.choice([0.85, -0.6]),
            opacity=0.52,
            rng=plan_rng,
        )

    image = painting.colour * 0.9
    height = np.zeros(painting.shape[:2], np.float32)
    for spacing, length, width, drift in ((0.0115, 0.032, 0.014, 0.08), (0.0072, 0.018, 0.0075, 0.10)):
        places, colours, angles, lengths, width = _brush(
            painting, wide_rng, spacing=spacing, length=length, width=width, drift=drift
        )
        shapes.dabs(
            image,
            height,
            places,
            colours=colours,
            angles=angles,
            length=lengths,
            width=width,
            rng=fine_rng,
            opacity=0.85,
        )

    # Edges come back through the brushwork, then the lines are drawn.
    image = canvas.mix(image, painting.colour, 0.38)
    image = canvas.mix(image, UMBER, painting.ink * 0.88)
    weave = 2 * canvas.weave(painting.shape[:2], cloth_rng) - 1
    cloud = canvas.noise(painting.shape[:2], tone_rng, cells=5, octaves=3)
    image = np.clip((image - 0.45) * 1.22 + 0.47, 0, 1) * (1 + 0.03 * cloud + 0.015 * weave)[..., None]
    height = cv2.GaussianBlur(height, (0, 0), max(0.0003 * size_px, 0.3))
    image = shapes.emboss(image, height + 0.06 * weave, strength=0.75 * (size_px / 900) ** 0.6)
    return np.clip(image, 0, 1).astype(np.float32)
