"""Stained glass: a rose sun over hills, river and lilies in leaded, glowing panes."""

import cv2
import numpy as np

from . import canvas, shapes

TITLE = "Stained glass window"
DESCRIPTION = "Leaded panes: a rose sun over hills and lilies in ruby, gold, cobalt and green glass."

HEIGHT_TO_WIDTH = 1.25
WIDTH = 1 / HEIGHT_TO_WIDTH
SUPERSAMPLE = 2
SUN = (0.40, 0.33)
LEAD = canvas.rgb("#1d1b1f")
GLASS = {
    "sky near": ("#7fc4e8", "#f2d98a", "#9ad3e6"),
    "sky": ("#2f6fc4", "#1f55b0", "#3f8ed6", "#5aa6dd"),
    "sky far": ("#1a2f8a", "#26308f", "#3b2f8e", "#14408f"),
    "sun heart": ("#ffe27a",),
    "sun petal": ("#c2182b", "#d62f2a", "#b01238"),
    "sun gold": ("#f6a81c", "#f08c1a", "#f9c440"),
    "sun bead": ("#fff0b0", "#ffd968", "#f7b6a0"),
    "far hill": ("#7a4fa3", "#9462b0", "#5f4a9c", "#b278b4"),
    "hill": ("#1f8a7d", "#2f9f86", "#197078", "#4fb08c"),
    "near hill": ("#3f8f2f", "#6cab34", "#2c7a3a", "#95b93a"),
    "river": ("#bfe6ee", "#8fd0e6", "#dff2ea", "#6fb9df"),
    "leaf": ("#2d8a35", "#4aa53a", "#1f6f3c", "#83b83c"),
    "lily": ("#fbe9ee", "#f3b6c8", "#e6799c", "#fff6e6"),
    "poppy": ("#d41f24", "#e8452a", "#b3122f", "#f06a2c"),
    "border": ("#a81430", "#c21f2b", "#1d3f9c", "#157a4a", "#e8a51e"),
    "fillet": ("#f6e4a8", "#f2cf6a", "#fbeccb"),
}


class _Window:
    """Which pane, of which object and which glass, every sample belongs to."""

    def __init__(self, size_px):
        plan = shapes.blank(size_px * SUPERSAMPLE, height_to_width=HEIGHT_TO_WIDTH)
        self.shape = plan.shape[:2]
        self.x, self.y = canvas.unit_grid(self.shape[:2])
        self.pane = np.zeros(self.shape, np.int32)
        self.object = np.zeros(self.shape, np.uint8)
        self.glasses = []

    def lay(self, where, cut, glass):
        """Put an object of one glass on top, cut into panes by an integer map."""
        names, pane = np.unique(np.broadcast_to(cut, self.shape)[where], return_inverse=True)
        self.pane[where] = pane.reshape(-1) + len(self.glasses)
        self.object[where] = self.object.max() + 1
        self.glasses += [glass] * len(names)

    def inside(self, polygon):
        mask = np.zeros(self.shape, np.uint8)
        corners = np.round(np.asarray(polygon) * max(self.shape) * 16).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1, cv2.LINE_8, 4)
        return mask > 0


def _lay_sky(window, rng):
    dx, dy = window.x - SUN[0], window.y - SUN[1]
    radius, turn = np.hypot(dx, dy), np.arctan2(dy, dx) / (2 * np.pi) + 0.5
    radius = radius * (1 + 0.05 * np.sin(2 * np.pi * turn * 5 + 1) + 0.03 * np.sin(2 * np.pi * turn * 9))
    ring = np.digitize(radius, [0.25, 0.31, 0.385, 0.47, 0.57])
    shift = rng.random(6).astype(np.float32)
    rays = np.array([24, 24, 20, 24, 28, 30], np.float32)
    ray = np.floor((turn + 0.02 * np.sin(radius * 30)) * rays[ring] + shift[ring])
    for glass, low, high in (("sky near", 0, 0), ("sky", 1, 2), ("sky far", 3, 5)):
        window.lay((ring >= low) & (ring <= high), ring * 100 + ray, glass)


def _lay_sun(window):
    dx, dy = window.x - SUN[0], window.y - SUN[1]
    radius, turn = np.hypot(dx, dy), np.arctan2(dy, dx) / (2 * np.pi) + 0.5
    beads, petals, heart = 24, 12, 8
    window.lay(
        radius < 0.205 + 0.008 * np.abs(np.sin(np.pi * turn * beads)), np.floor(turn * beads), "sun bead"
    )
    scallop = np.abs(np.sin(np.pi * turn * petals))
    window.lay(radius < 0.125 + 0.045 * np.sqrt(scallop), np.floor(turn * petals), "sun gold")
    half = turn * heart + 0.5
    scallop = np.abs(np.sin(np.pi * half))
    window.lay(radius < 0.075 + 0.040 * np.sqrt(scallop), np.floor(half * 2), "sun petal")
    window.lay(radius < 0.036, np.floor(turn * 4), "sun heart")


def _lay_land(window, rng):
    x, y = window.x, window.y
    ridges = (
        ("far hill", 0.60 + 0.045 * np.sin(x * 11 + 0.6) + 0.020 * np.sin(x * 27), 0.055, 0.085),
        ("hill", 0.69 + 0.040 * np.sin(x * 8 + 3.4) + 0.012 * np.sin(x * 19), 0.060, 0.100),
        ("near hill", 0.79 + 0.035 * np.sin(x * 7 + 0.9), 0.062, 0.090),
    )
    for glass, ridge, deep, wide in ridges:
        band = np.floor((y - ridge) / deep)
        slant = np.floor(x / wide + 0.5 * (band % 2) + 0.8 * y + rng.random())
        window.lay(y > ridge, band * 100 + slant, glass)
    middle = 0.43 + 0.13 * np.sin((y - 0.62) * 9) * (y - 0.55) * 2.2
    across = (x - middle) / (0.012 + 0.30 * np.maximum(y - 0.66, 0) ** 1.2)
    ripple = np.floor((y - 0.02 * across**2) / 0.034) * 10 + (across > 0.1 * np.sin(y * 40))
    window.lay((y > 0.665) & (np.abs(across) < 1), ripple, "river")


def _lay_leaf(window, base, angle, length, width, glass, *, bend=0.0):
    outline, rib = shapes.petal(np.asarray(base), angle, length, width, bend=bend)
    chord = rib[-1] - rib[0]
    along = ((window.x - rib[0, 0]) * chord[0] + (window.y - rib[0, 1]) * chord[1]) / (chord**2).sum()
    reach = shapes.normals(rib) * width
    right = window.inside(np.vstack([rib, (rib + reach)[::-1]]))
    parts = max(int(length / 0.085), 1)
    window.lay(window.inside(outline), right * 10 + np.floor(along * parts), glass)
    return rib


def _lay_flowers(window):
    """Lilies and poppies rise from the lower border; returns their ribs for the painted veins."""
    ribs = []
    plants = (
        ("lily", (0.16, 1.0), (0.13, 0.86), (0.20, 0.66), 6, 0.115),
        ("poppy", (0.66, 1.0), (0.70, 0.88), (0.61, 0.71), 7, 0.100),
        ("poppy", (0.30, 1.0), (0.33, 0.93), (0.29, 0.845), 6, 0.075),
        ("lily", (0.52, 1.0), (0.50, 0.95), (0.545, 0.885), 6, 0.078),
    )
    for glass, foot, waist, head, petals, length in plants:
        stem = shapes.spline([foot, waist, head], 60)
        for k, side in ((12, 1), (24, -1), (34, 1)):
            angle = -np.pi / 2 + side * 0.75
            ribs.append(
                _lay_leaf(window, stem[k], angle, length * 1.75, length * 0.42, "leaf", bend=side * 0.7)
            )
        window.lay(window.inside(shapes.ribbon(stem, 0.013)), np.floor(window.y / 0.11), "leaf")
        for k in range(petals):
            angle = -np.pi / 2 + (k - (petals - 1) / 2) * 2 * np.pi / petals
            ribs.append(
                _lay_leaf(
                    window, head, angle, length, length * 0.62, glass, bend=0.25 * np.sign(np.cos(angle))
                )
            )
        window.lay(window.inside(shapes.circle(head, length * 0.2)), 0, "sun gold")
    return ribs


def _lay_border(window):
    x, y = window.x, window.y
    edge = np.minimum(np.minimum(x, WIDTH - x), np.minimum(y, 1 - y))
    upright = np.minimum(x, WIDTH - x) < np.minimum(y, 1 - y)
    side = upright * 2 + np.where(upright, x > WIDTH / 2, y > 0.5)
    along = np.where(upright, y, x)
    window.lay(edge < 0.062, np.floor(along / 0.1) + side * 1000, "fillet")
    blocks = np.digitize((along / 0.08) % 1, [0.35]) + 2 * np.floor(along / 0.08)
    window.lay(edge < 0.045, blocks + side * 1000, "border")


def _pane_colours(window, pane, rng):
    """Every pixel's glass: a colour per pane that drifts to a second across the pane."""
    count = len(window.glasses)
    picks = rng.random((count, 2))
    near, far = (
        np.array([canvas.rgb(GLASS[g][int(p * len(GLASS[g]))]) for g, p in zip(window.glasses, picks[:, k])])
        for k in (0, 1)
    )
    near *= rng.normal(1, 0.10, (count, 1))
    x, y = canvas.unit_grid(pane.shape[:2])
    flat = pane.ravel()
    area = np.maximum(np.bincount(flat, minlength=count), 1)
    centre_x = np.bincount(flat, x.ravel(), minlength=count) / area
    centre_y = np.bincount(flat, y.ravel(), minlength=count) / area
    extent = np.sqrt(area) / max(pane.shape)
    angle = rng.uniform(0, 2 * np.pi, count)
    slope_x, slope_y = np.cos(angle) / extent, np.sin(angle) / extent
    drift = (x - centre_x[pane]) * slope_x[pane] + (y - centre_y[pane]) * slope_y[pane]
    share = np.clip(0.35 + 0.5 * drift, 0, 1).astype(np.float32)
    return canvas.mix(near[pane].astype(np.float32), far[pane].astype(np.float32), share), drift.astype(
        np.float32
    )


def _bubbles(shape, rng):
    """Light and dark of seeds and reams blown into the glass, about zero."""
    field = np.zeros(shape[:2], np.float32)
    for _ in range(1500):
        centre = rng.random(2) * (shape[1], shape[0]) / max(shape[:2])
        radius = 0.0008 + 0.0022 * rng.random() ** 3
        lens = shapes.circle((0, 0), radius, 20) * (1, rng.uniform(1, 2.6)) + centre
        box = shapes.polygon_box(lens, shape)
        if box is None:
            continue
        rim = shapes.polygon_mask([lens], shape, box=box)
        core = shapes.polygon_mask([(lens - centre) * 0.55 + centre - radius * 0.15], shape, box=box)
        field[box] += 1.6 * core - 0.8 * rim
    return field


def paint(size_px, rng):
    plan_rng, colour_rng, streak_rng, bubble_rng, lead_rng, matt_rng, vein_rng = rng.spawn(7)
    window = _Window(size_px)
    _lay_sky(window, plan_rng)
    _lay_sun(window)
    _lay_land(window, plan_rng)
    ribs = _lay_flowers(window)
    _lay_border(window)

    image = shapes.blank(size_px, height_to_width=HEIGHT_TO_WIDTH)
    shape = image.shape
    size = (shape[1], shape[0])
    bends = [
        canvas.noise(shape[:2], child, cells=20, octaves=2) * 0.0012 * size_px for child in lead_rng.spawn(2)
    ]
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    columns, rows = (columns + bends[0]).astype(np.float32), (rows + bends[1]).astype(np.float32)

    def to_lead(labels):
        """Distance to the nearest seam (fraction of the long side), bent as hands bend lead."""
        edge = np.ones(labels.shape, np.uint8)
        edge[:, 1:] &= labels[:, 1:] == labels[:, :-1]
        edge[1:] &= labels[1:] == labels[:-1]
        distance = cv2.distanceTransform(edge, cv2.DIST_L2, 5) / max(labels.shape)
        distance = cv2.resize(distance, size, interpolation=cv2.INTER_AREA)
        return cv2.remap(distance, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    seam, outline = to_lead(window.pane), to_lead(window.object)
    pane = cv2.resize(window.pane, size, interpolation=cv2.INTER_NEAREST)
    pane = cv2.remap(
        pane.astype(np.float32), columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.int32)
    glass, drift = _pane_colours(window, pane, colour_rng)

    # Each pane is cut from its own sheet: the streaks run another way in it.
    sheets = [
        shapes.streaks(shape, length=0.11, width=0.0065, angle=angle, rng=r)
        for angle, r in zip((0.2, 0.9, 1.7, 2.6), streak_rng.spawn(4))
    ]
    sheet = np.choose((pane * 7) % 4, sheets)
    glow = 0.66 + 0.50 * canvas.smoothstep(seam, 0.001, 0.022) + 0.08 * drift
    ripple = canvas.noise(shape[:2], matt_rng.spawn(1)[0], cells=83, octaves=2)
    glass = glass * (glow * (1 + 0.10 * sheet + 0.05 * ripple))[..., None]
    lit = canvas.smoothstep(sheet + 0.7 * ripple, 1.1, 2.4) * 0.45
    glass = canvas.mix(glass, np.sqrt(np.clip(glass, 0, 1)), lit)
    glass = np.clip(glass, 0, 1.15) * (1 + 0.22 * _bubbles(shape, bubble_rng))[..., None]

    # Painted trace lines on petals and leaves, and brown matting held in the corners.
    brown = np.float32([0.20, 0.10, 0.06])
    for rib in ribs:
        span = rib[-1] - rib[0]
        across = np.array([-span[1], span[0]]) * 0.20
        for side in (-1, 1):
            for reach in (0.35, 0.6, 0.85):
                tip = rib[0] + span * (reach + 0.1) + across * side * np.sin(np.pi * reach) * 0.9
                line = shapes.spline(
                    [rib[0] + span * reach * 0.35, rib[0] + span * reach * 0.8 + across * side * 0.35, tip],
                    24,
                )
                line = shapes.wobble(line, amount=0.0008, rng=vein_rng, knots=5)
                shapes.stroke(glass, line, np.linspace(0.0024, 0.0006, 24), brown, opacity=0.75)
    grime = canvas.smoothstep(canvas.noise(shape[:2], matt_rng, cells=50, octaves=3), -0.6, 1.6)
    glass = canvas.mix(glass, glass * brown * 1.6, 0.75 * grime * (1 - canvas.smoothstep(seam, 0.002, 0.012)))

    # Leads: thicker round objects, domed, dull, with light caught along one side.
    uneven = 1 + 0.13 * canvas.noise(shape[:2], lead_rng, cells=33, octaves=2)
    inside = np.maximum(1 - seam / (0.0031 * uneven), 1 - outline / (0.0050 * uneven))
    covered = canvas.smoothstep(inside * 0.0045 * size_px, -0.5, 0.6)
    dome = np.sqrt(np.clip(1 - (1 - np.clip(inside, 0, 1)) ** 2, 0, 1)).astype(np.float32)
    lead = np.ones_like(glass) * LEAD * (1 + 0.15 * ripple)[..., None]
    slope = cv2.GaussianBlur(dome, (0, 0), 0.0006 * size_px) * size_px
    shine = np.clip(
        0.02
        * (cv2.Sobel(slope, cv2.CV_32F, 1, 0, scale=1 / 8) + cv2.Sobel(slope, cv2.CV_32F, 0, 1, scale=1 / 8)),
        -1,
        1,
    )
    lead = lead + np.clip(shine, 0, 1)[..., None] ** 1.5 * np.float32([0.30, 0.32, 0.35])
    image = canvas.mix(glass, lead, covered)
    # Light bleeds round the lead into the eye.
    halo = cv2.GaussianBlur(np.clip(glass, 0, 1), (0, 0), 0.006 * size_px)
    image = image + 0.10 * halo * covered[..., None]
    return np.clip(image, 0, 1).astype(np.float32)
