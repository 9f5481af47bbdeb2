"""Shapes by hand: lines of varying width, polygons, printing blocks, brush dabs and surfaces.

Lengths named `_px` are pixels.  Lengths without a unit are fractions of the
picture's long side, so one description draws the same picture at any size.
"""

import cv2
import numpy as np

from . import canvas

# cv2 polygon coordinates carry this many binary digits after the point.
SUBPIXEL_BITS = 5


def blank(size_px, *, height_to_width, colour=(0, 0, 0)):
    """Return an image whose long side is size_px, filled with one colour."""
    shape = canvas.picture_shape(size_px, 1 / height_to_width)
    return np.ones((*shape, 3), np.float32) * np.float32(colour)


# --- texture ---------------------------------------------------------------


def _grid_noise(height_px, width_px, cell_x_px, cell_y_px, rng):
    # The grid has the same number of knots at every picture size, so the same
    # seed gives the same pattern; cells under a pixel are drawn as pixels.
    cell_x_px, cell_y_px = max(cell_x_px, 1.0), max(cell_y_px, 1.0)
    columns = int(np.ceil(width_px / cell_x_px)) + 2
    rows = int(np.ceil(height_px / cell_y_px)) + 2
    knots = rng.standard_normal((rows, columns), dtype=np.float32)
    size = (int(round(columns * cell_x_px)), int(round(rows * cell_y_px)))
    field = cv2.resize(knots, size, interpolation=cv2.INTER_CUBIC)
    return field[:height_px, :width_px]


def streaks(shape, *, length, width, angle, rng):
    """Random field drawn out along angle (radians): bristle marks or wood fibre."""
    height_px, width_px = shape[:2]
    long_px = max(height_px, width_px)
    side_px = int(np.ceil(np.hypot(height_px, width_px))) + 4
    field = _grid_noise(side_px, side_px, length * long_px, width * long_px, rng.spawn(1)[0])
    matrix = cv2.getRotationMatrix2D((side_px / 2, side_px / 2), -np.degrees(angle), 1)
    matrix[:, 2] += (width_px / 2 - side_px / 2, height_px / 2 - side_px / 2)
    turned = cv2.warpAffine(field, matrix, (width_px, height_px), borderMode=cv2.BORDER_REFLECT_101)
    return (turned - turned.mean()) / (turned.std() + 1e-6)


def displace(image, *, amount, cell, rng):
    """Shift pixels by a smooth random field, which makes ruled edges hand-made."""
    shape, cells = image.shape[:2], round(1 / cell)
    dx, dy = (amount * canvas.noise(shape, child, cells=cells, octaves=2) for child in rng.spawn(2))
    return canvas.warp(image, dx, dy)


# --- curves and polygons ---------------------------------------------------


def spline(points, count=120):
    """Catmull-Rom curve through the points, `count` samples evenly along it."""
    points = np.asarray(points, np.float64)
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, 24, endpoint=False)[:, None]
    pieces = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:]):
        pieces.append(
            0.5
            * (
                2 * p1
                + (p2 - p0) * t
                + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
                + (3 * p1 - p0 - 3 * p2 + p3) * t**3
            )
        )
    return resample(np.vstack([*pieces, points[-1:]]), count)


def resample(points, count):
    """Place `count` points evenly along a polyline."""
    points = np.asarray(points, np.float64)
    lengths = np.r_[0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    at = np.linspace(0, lengths[-1], count)
    return np.stack([np.interp(at, lengths, points[:, axis]) for axis in (0, 1)], axis=1)


def normals(points):
    """Unit normals (to the left of travel, y pointing down) along a polyline."""
    tangent = np.gradient(np.asarray(points, np.float64), axis=0)
    tangent /= np.hypot(*tangent.T)[:, None] + 1e-12
    return np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)


def wobble(points, *, amount, rng, knots=12):
    """Move a polyline sideways by a smooth random amount: a hand-drawn line."""
    offsets = np.interp(
        np.linspace(0, 1, len(points)), np.linspace(0, 1, knots), rng.normal(0, amount, knots)
    )
    return points + normals(points) * offsets[:, None]


def ribbon(points, widths):
    """Polygon of a line whose width varies along it."""
    half = normals(points) * (np.broadcast_to(widths, len(points)) / 2)[:, None]
    return np.vstack([points + half, (points - half)[::-1]])


def swelling(count, *, thick, thin, peak=0.5):
    """Line widths that swell from thin to thick (at `peak`) and back."""
    t = np.linspace(0, 1, count)
    rise = np.where(t < peak, t / max(peak, 1e-6), (1 - t) / max(1 - peak, 1e-6))
    return thin + (thick - thin) * np.sin(np.clip(rise, 0, 1) * np.pi / 2)


def polygon_box(points, shape, *, margin_px=2):
    """Slices of the pixels a polygon (fractions of the long side) can touch, or None."""
    corners_px = np.asarray(points) * max(shape[:2])
    x0, y0 = np.maximum(np.floor(corners_px.min(axis=0)).astype(int) - margin_px, 0)
    x1, y1 = np.ceil(corners_px.max(axis=0)).astype(int) + margin_px
    x1, y1 = min(x1, shape[1]), min(y1, shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    return slice(y0, y1), slice(x0, x1)


def polygon_mask(polygons, shape, *, box=None):
    """Antialiased coverage in [0, 1] of polygons (fractions of the long side)."""
    rows, columns = box or (slice(0, shape[0]), slice(0, shape[1]))
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    scale = max(shape[:2])
    for points in polygons:
        corners_px = np.asarray(points) * scale - (columns.start, rows.start)
        fixed = np.round(corners_px * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return mask.astype(np.float32) / 255


def fill(image, points, colour, *, opacity=1.0):
    """Paint one polygon; colour is a triple or an image of the same size."""
    box = polygon_box(points, image.shape)
    if box is None:
        return
    coverage = polygon_mask([points], image.shape, box=box) * opacity
    colour = np.asarray(colour, np.float32)
    image[box] = canvas.mix(image[box], colour[box] if colour.ndim == 3 else colour, coverage)


def stroke(image, points, widths, colour, *, opacity=1.0):
    """Paint a line of varying width."""
    fill(image, ribbon(points, widths), colour, opacity=opacity)


def circle(centre, radius, count=64):
    """Polygon of a circle."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.asarray(centre) + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def petal(base, angle, length, width, *, bend=0.0):
    """Outline of a petal or leaf, and its midrib."""
    t = np.linspace(0, 1, 40)
    heading = angle + bend * t
    rib = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), axis=0) * length / 40 + base
    return ribbon(rib, width * np.sin(np.pi * t**0.8) ** 0.85), rib


# --- block printing --------------------------------------------------------


class BlockPrint:
    """A sheet printed shape over shape: colour blocks and one dark key block."""

    def __init__(self, size_px, *, height_to_width, paper):
        self.colour = blank(size_px, height_to_width=height_to_width, colour=paper)
        self.shape = self.colour.shape
        self.key = np.zeros(self.shape[:2], np.float32)
        self.x, self.y = canvas.unit_grid(self.shape[:2])

    def fill(self, polygons, colour, *, hides=True, opacity=1.0):
        """Ink an area; what was cut there before is hidden, lines too."""
        box = polygon_box(np.vstack(polygons), self.shape)
        if box is None:
            return
        cover = polygon_mask(polygons, self.shape, box=box) * opacity
        colour = np.asarray(colour, np.float32)
        self.colour[box] = canvas.mix(self.colour[box], colour[box] if colour.ndim == 3 else colour, cover)
        if hides:
            self.key[box] *= 1 - cover

    def cut(self, polygons, opacity=1.0):
        """Leave these standing on the key block: they print dark."""
        box = polygon_box(np.vstack(polygons), self.shape)
        if box is not None:
            drawn = opacity * polygon_mask(polygons, self.shape, box=box)
            self.key[box] = np.maximum(self.key[box], drawn)

    def line(self, points, widths, opacity=1.0):
        """A key line of varying width."""
        self.cut([ribbon(points, widths)], opacity)

    def outlined(self, outers, inners, colour):
        """A union of shapes with one key line round the whole."""
        self.cut(outers)
        self.fill(inners, colour)


# --- surface ---------------------------------------------------------------


def emboss(image, height, *, strength, light_angle=-2.2):
    """Shade by the slope of a matt surface; strength is per unit of height per pixel."""
    height = height.astype(np.float32)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    facing = -(np.cos(light_angle) * -slope_x + np.sin(light_angle) * -slope_y)
    return np.clip(image * (1 + strength * np.clip(facing, -1, 1))[..., None], 0, 1)


def paper_fibre(shape, *, rng):
    """Height with unit deviation of laid paper: lumps, flecks and faint fibres."""
    lump_rng, fine_rng, fibre_rng = rng.spawn(3)
    field = 0.6 * canvas.noise(shape[:2], lump_rng, cells=170, octaves=2)
    field += 0.6 * canvas.noise(shape[:2], fine_rng, cells=800, octaves=1)
    field += 0.5 * streaks(shape, length=0.02, width=0.0015, angle=0.15, rng=fibre_rng)
    return field / field.std()


def cracks(shape, *, cell, rng, width_px=1.2):
    """Coverage in [0, 1] of a net of cracks whose islands are about `cell` wide."""
    height_px, width_px_total = shape[:2]
    count = int(height_px * width_px_total / (cell * max(shape[:2])) ** 2)
    seed_rng, bend_rng, fade_rng = rng.spawn(3)
    seeds = np.full((height_px, width_px_total), 255, np.uint8)
    spots = seed_rng.random((count, 2)) * (height_px - 1, width_px_total - 1)
    seeds[tuple(spots.astype(int).T)] = 0
    _, island = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    edge = np.zeros((height_px, width_px_total), np.float32)
    edge[:, 1:] += island[:, 1:] != island[:, :-1]
    edge[1:] += island[1:] != island[:-1]
    line = cv2.GaussianBlur(np.minimum(edge, 1), (0, 0), max(width_px * 0.45, 0.3))
    line = displace(line / max(line.max(), 1e-6), amount=cell * 0.10, cell=cell * 0.6, rng=bend_rng)
    # Cracks open here and close there, as the ground under the paint allows.
    return line * canvas.smoothstep(
        canvas.noise(shape[:2], fade_rng, cells=round(0.25 / cell), octaves=2), -0.9, 0.9
    )


# --- brush dabs ------------------------------------------------------------


def _brush_tips(rng, *, count=16, length_px=96, width_px=40):
    """Coverage and bristle height of some loaded flat-brush marks."""
    tips = []
    y = np.linspace(-1, 1, width_px, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, length_px, dtype=np.float32)[None]
    for child in rng.spawn(count):
        bristle = _grid_noise(width_px, length_px, 60, 2.5, child)
        ragged = _grid_noise(width_px, 8, 60, 3, child)[:, :1]
        start = canvas.smoothstep(x, -0.98 + 0.07 * ragged, -0.86 + 0.07 * ragged)
        end = 1 - canvas.smoothstep(x, 0.72 + 0.18 * ragged, 0.97 + 0.05 * ragged)
        side = 1 - canvas.smoothstep(np.abs(y), 0.78, 0.98)
        # A brush runs dry towards its end: gaps open between bristles.
        gaps = canvas.smoothstep(bristle, -1.5 + 0.8 * x, -0.9 + 0.8 * x)
        coverage = start * end * side * (0.45 + 0.55 * gaps)
        ridge = 0.5 + 0.3 * bristle + 0.5 * canvas.smoothstep(np.abs(y), 0.5, 0.85)
        tips.append((coverage, (ridge * coverage).astype(np.float32)))
    return tips


def dabs(image, height, places, *, colours, angles, length, width, rng, opacity=0.92):
    """Paint flat-brush marks in order; height collects their ridges.

    places are x, y (fractions of the long side); colours, angles, length and
    width hold one entry per mark (length and width may be single numbers).
    """
    long_px = max(image.shape[:2])
    tips = _brush_tips(rng.spawn(1)[0])
    picks = rng.integers(0, len(tips), len(places))
    lengths_px = np.broadcast_to(np.asarray(length) * long_px, len(places))
    widths_px = np.broadcast_to(np.asarray(width) * long_px, len(places))
    for i, (x, y) in enumerate(np.asarray(places) * long_px):
        coverage, ridge = tips[picks[i]]
        cos, sin = np.cos(angles[i]), np.sin(angles[i])
        half_x = (abs(cos) * lengths_px[i] + abs(sin) * widths_px[i]) / 2 + 1
        half_y = (abs(sin) * lengths_px[i] + abs(cos) * widths_px[i]) / 2 + 1
        x0, y0 = max(int(x - half_x), 0), max(int(y - half_y), 0)
        x1, y1 = min(int(x + half_x) + 2, image.shape[1]), min(int(y + half_y) + 2, image.shape[0])
        if x0 >= x1 or y0 >= y1:
            continue
        # Maps picture pixels to tip pixels; the tip is drawn shrunk and turned.
        scale_x = coverage.shape[1] / lengths_px[i]
        scale_y = coverage.shape[0] / widths_px[i]
        dx, dy = x0 - x, y0 - y
        matrix = np.array(
            [
                [cos * scale_x, sin * scale_x, (cos * dx + sin * dy) * scale_x + coverage.shape[1] / 2],
                [-sin * scale_y, cos * scale_y, (cos * dy - sin * dx) * scale_y + coverage.shape[0] / 2],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (x1 - x0, y1 - y0)
        alpha = cv2.warpAffine(coverage, matrix, size, flags=flags)[..., None] * opacity
        box = slice(y0, y1), slice(x0, x1)
        image[box] += (colours[i] - image[box]) * alpha
        raised = cv2.warpAffine(ridge, matrix, size, flags=flags)
        height[box] += (raised - height[box]) * alpha[..., 0]
