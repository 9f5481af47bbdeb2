"""The stroke engine: brush textures, strokes laid along a scene's directions, and stamping them.

A stroke is a rectangle of brush texture bent along a cubic spine. Its place, size and colours are plain
arrays over all strokes of a layer, in fractions of the picture's long side; only stamping knows pixels.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from painting.canvas import smoothstep

TEXTURE_PX = (96, 384)  # across and along the stroke
SPINE_STEPS = 6  # traced to each side of a stroke's middle


@dataclass(frozen=True)
class Brush:
    """What a kind of brush leaves behind. Lengths along the stroke are fractions of its half length."""

    bristles: int = 26  # streaks across the width
    ragged: float = 0.25  # how unevenly the bristles leave the canvas at the end, 0..1
    dry: float = 0.15  # share of the paint missing towards the end, 0..1
    ridge: float = 0.6  # paint pushed up along the edges
    groove: float = 0.6  # depth of the bristle marks
    cap: float = 0.25  # length of the rounded ends; 1 makes an ellipse, 0 square ends
    soft: float = 0.12  # softness of the sides, fraction of the half width
    wobble: float = 0.08  # unevenness of the sides, fraction of the half width
    taper: float = 0.0  # how much the width falls towards the end, 0..1
    rim: float = 0.0  # 0 an even film; towards 1 the colour gathers at the edge, as in a wash


def brush_textures(brush, rng, *, variants=10):
    """`variants` textures of one brush, each a list of halved sizes.

    Every texture is (across, along, 3): cover in [0, 1], height about [0, 1.5], streak in [0, 1].
    """
    return [_halvings(_texture(brush, rng)) for _ in range(variants)]


def _halvings(texture):
    levels = [texture]
    while levels[-1].shape[0] > 8:
        across, along = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (along // 2, across // 2), interpolation=cv2.INTER_AREA))
    return levels


def _texture(brush, rng):
    across, along = TEXTURE_PX
    v = np.linspace(-1.04, 1.04, across, dtype=np.float32)[:, None]
    u = np.linspace(-1.02, 1.02, along, dtype=np.float32)[None, :]
    streak = _streaks(rng, brush.bristles, pieces=5)
    mark = _streaks(rng, brush.bristles, pieces=3)
    side = np.abs(v) + brush.wobble * np.abs(_along_noise(rng, 9))
    side = side / np.maximum(1 - brush.taper * (u + 1) / 2, 0.05)
    start, end = _ends(brush, v, rng)
    inside = smoothstep(side, 1.0, 1.0 - brush.soft) * smoothstep(u, start, start + 0.05)
    inside = inside * smoothstep(u, end, end - 0.05)
    # The brush runs dry: ever more bristles leave nothing as the stroke goes on.
    empty = brush.dry * smoothstep(u, -0.5, 1.0)
    cover = inside * smoothstep(mark, empty * 1.4 - 0.15, empty * 1.4 + 0.1) if brush.dry else inside
    if brush.rim:
        cover = cover * ((1 - brush.rim) + brush.rim * _rim(inside))
    height = 0.5 + brush.groove * (mark - 0.5) + brush.ridge * np.exp(-(((side - 0.84) / 0.12) ** 2))
    height = height + 0.5 * brush.ridge * np.exp(-(((u - end + 0.08) / 0.07) ** 2))
    return np.dstack([cover, np.clip(height, 0, 2) * (cover > 0), streak]).astype(np.float32)


def _ends(brush, v, rng):
    """Where the paint starts and ends along each bristle, (across, 1) each, in [-1, 1]."""
    across = TEXTURE_PX[0]
    rounding = brush.cap * (1 - np.sqrt(np.clip(1 - v * v, 0, 1)))
    lags = [
        cv2.resize(
            rng.random((brush.bristles, 1)).astype(np.float32), (1, across), interpolation=cv2.INTER_LINEAR
        )
        for _ in range(2)
    ]
    start = -1 + rounding + 0.3 * brush.ragged * lags[0]
    end = 1 - rounding - brush.ragged * lags[1]
    return start, end


def _streaks(rng, bristles, *, pieces):
    """Noise in [0, 1], drawn out along the stroke, with fine hairs on broad bands."""
    across, along = TEXTURE_PX
    total = np.zeros((across, along), np.float32)
    for count, weight in ((max(bristles // 4, 2), 0.7), (bristles, 1.0)):
        lattice = rng.standard_normal((count, pieces)).astype(np.float32)
        total += weight * cv2.resize(lattice, (along, across), interpolation=cv2.INTER_CUBIC)
    return 1 / (1 + np.exp(-1.8 * total))


def _along_noise(rng, count):
    """One line of noise on each side of the stroke, (across, along): upper half one, lower half the other."""
    across, along = TEXTURE_PX
    lattice = rng.standard_normal((2, count)).astype(np.float32)
    lines = cv2.resize(lattice, (along, 2), interpolation=cv2.INTER_CUBIC)
    return np.repeat(lines, across // 2, axis=0)


def _rim(inside):
    """1 at the edge of the shape falling to 0 inside, as pigment dries on the border of a puddle."""
    away = cv2.distanceTransform((inside > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return np.exp(-away / 5.0).astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """What is to be painted, as maps of one shape.

    colour (h, w, 3); angle (h, w) radians, the way of the brush; detail (h, w) in [0, 1], where fine strokes
    go.
    """

    colour: np.ndarray
    angle: np.ndarray
    detail: np.ndarray

    @property
    def shape(self):
        return self.angle.shape


@dataclass(frozen=True)
class Strokes:
    """n strokes: middle of the chord, its angle and half length, the spine's bend, width, colours, paint."""

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    half: np.ndarray
    bow: np.ndarray  # sideways offset of the spine at the middle: bow (1 - s^2) + sway (s - s^3)
    sway: np.ndarray
    width: np.ndarray
    colour: np.ndarray  # (n, 3)
    streak: np.ndarray  # (n, 3), the second colour on the brush
    opacity: np.ndarray
    thickness: np.ndarray  # paint height as a fraction of the stroke's width

    def __len__(self):
        return len(self.x)

    def take(self, index):
        """The strokes at `index` (an order, or a mask)."""
        return Strokes(**{name: value[index] for name, value in vars(self).items()})


def scatter(shape, rng, *, spacing, where=None, jitter=1.0):
    """Positions (n, 2) on a jittered lattice, in random order; `where` (h, w) is the chance to keep one.

    jitter: how far a point strays, in lattice steps; below about 0.5 neighbours hardly ever overlap.
    """
    height, width = np.array(shape) / max(shape)
    xs = np.arange(-spacing / 2, width + spacing, spacing)
    ys = np.arange(-spacing / 2, height + spacing, spacing)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    points = points + rng.uniform(-0.5, 0.5, points.shape) * jitter * spacing
    if where is not None:
        points = points[rng.random(len(points)) < look_up(where, points)]
    return rng.permutation(points).astype(np.float32)


def look_up(field, points):
    """The values of a map at positions (n, 2) in unit coordinates, the border repeated outside."""
    height, width = field.shape[:2]
    at = np.floor(points * max(height, width)).astype(int)
    return field[np.clip(at[:, 1], 0, height - 1), np.clip(at[:, 0], 0, width - 1)]


def lay(scene, points, *, rng, length, width, spread=0.3, turn=0.1, edge=None, opacity=1.0, thickness=0.1):
    """Strokes through `points` that follow the scene's directions and carry its colours.

    length, width: fractions of the long side, varied by the share `spread`; turn: deviation of each stroke's
    own change of direction, radians; edge: a stroke stops where the scene's colour differs by more than this.
    """
    n = len(points)
    lengths = length * _vary(rng, n, spread)
    widths = width * _vary(rng, n, spread)
    spine = _trace(scene, points, lengths / (2 * SPINE_STEPS), turn * rng.standard_normal(n), edge)
    colour = look_up(scene.colour, points)
    return Strokes(
        **_fit_spine(spine),
        width=widths.astype(np.float32),
        colour=colour,
        streak=colour,
        opacity=np.full(n, opacity, np.float32),
        thickness=np.full(n, thickness, np.float32),
    )


def straight(points, angle, *, length, width, colour, opacity=1.0, thickness=0.1, bow=0.0):
    """Strokes given one by one: every argument an array over the strokes, or one value for all."""
    n = len(points)

    def per_stroke(value):
        return np.broadcast_to(np.asarray(value, np.float32), (n,)).copy()

    colours = np.broadcast_to(np.asarray(colour, np.float32), (n, 3)).copy()
    return Strokes(
        x=points[:, 0].astype(np.float32),
        y=points[:, 1].astype(np.float32),
        angle=per_stroke(angle),
        half=per_stroke(length) / 2,
        bow=per_stroke(bow),
        sway=per_stroke(0),
        width=per_stroke(width),
        colour=colours,
        streak=colours,
        opacity=per_stroke(opacity),
        thickness=per_stroke(thickness),
    )


def along_line(line, *, width, colour, taper=0.0, overlap=1.15, thickness=0.1, opacity=1.0):
    """A polyline (n, 2) as short strokes end to end, for branches and outlines; taper thins it to its end."""
    line = np.asarray(line, np.float32)
    steps = np.diff(line, axis=0)
    widths = width * (1 - taper * np.linspace(0, 1, len(steps)))
    return straight(
        (line[:-1] + line[1:]) / 2,
        np.arctan2(steps[:, 1], steps[:, 0]),
        length=np.hypot(steps[:, 0], steps[:, 1]) * overlap + 0.3 * widths,
        width=widths,
        colour=colour,
        thickness=thickness,
        opacity=opacity,
    )


def join(*layers):
    """Several sets of strokes as one, painted in this order."""
    names = vars(layers[0])
    return Strokes(**{name: np.concatenate([vars(each)[name] for each in layers]) for name in names})


def _vary(rng, n, spread):
    return np.clip(np.exp(spread * rng.standard_normal(n)), 0.4, 2.2).astype(np.float32)


def _trace(scene, points, step, turn, edge):
    """Spines (n, 2 * SPINE_STEPS + 1, 2), followed both ways from the middle."""
    colour = look_up(scene.colour, points)
    sides = []
    for sign in (1.0, -1.0):
        at = points.copy()
        heading = look_up(scene.angle, points) + turn + (0 if sign > 0 else np.pi)
        moving = np.ones(len(points), bool)
        side = []
        for _ in range(SPINE_STEPS):
            flow = look_up(scene.angle, at) + turn
            # Directions are ambiguous by half a turn: keep the one nearer to the way the stroke is going.
            flow = np.where(np.cos(flow - heading) < 0, flow + np.pi, flow)
            heading = np.where(moving, flow, heading)
            ahead = at + (step[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1))
            if edge is not None:
                moving &= np.abs(look_up(scene.colour, ahead) - colour).max(axis=1) < edge
            at = np.where(moving[:, None], ahead, at)
            side.append(at)
        sides.append(side)
    ordered = sides[1][::-1] + [points] + sides[0]
    return np.stack(ordered, axis=1).astype(np.float32)


def _fit_spine(spine):
    """Chord and cubic offsets (least squares) of traced spines."""
    first, last = spine[:, 0], spine[:, -1]
    middle = (first + last) / 2
    chord = last - first
    half = np.maximum(np.hypot(chord[:, 0], chord[:, 1]) / 2, 1e-4)
    angle = np.arctan2(chord[:, 1], chord[:, 0])
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    dx, dy = spine[..., 0] - middle[:, :1], spine[..., 1] - middle[:, 1:]
    s = np.clip((dx * cos + dy * sin) / half[:, None], -1, 1)
    off = dy * cos - dx * sin
    even, odd = 1 - s * s, s - s**3
    # 2 x 2 normal equations for off = bow * even + sway * odd.
    ee, oo, eo = (even * even).sum(1), (odd * odd).sum(1), (even * odd).sum(1)
    be, bo = (off * even).sum(1), (off * odd).sum(1)
    determinant = np.maximum(ee * oo - eo * eo, 1e-6)
    limit = 1.2 * half
    bow = np.clip((be * oo - bo * eo) / determinant, -limit, limit)
    sway = np.clip((bo * ee - be * eo) / determinant, -limit, limit)
    names = ("x", "y", "angle", "half", "bow", "sway")
    values = (middle[:, 0], middle[:, 1], angle, half, bow, sway)
    return {name: value.astype(np.float32) for name, value in zip(names, values)}


def recolour(strokes, rng, *, value=0.05, warmth=0.03, streak=0.08):
    """Each stroke's own mixture: lighter or darker, warmer or cooler, and a second colour streaked through
    it."""
    n = len(strokes)
    colour = strokes.colour + _mixture(rng, n, value, warmth)
    return replace(
        strokes,
        colour=np.clip(colour, 0, 1),
        streak=np.clip(colour + _mixture(rng, n, streak, 0.6 * streak), 0, 1),
    )


def _mixture(rng, n, value, warmth):
    light = value * rng.standard_normal((n, 1))
    warm = warmth * rng.standard_normal((n, 1)) * np.array([[1.0, 0.15, -1.0]])
    green = 0.5 * warmth * rng.standard_normal((n, 1)) * np.array([[-0.6, 1.0, -0.6]])
    return (light + warm + green).astype(np.float32)


def from_palette(strokes, colours, *, rng, heat=0.1, share=0.7):
    """Colours pulled to a palette (k, 3): each stroke draws one near its own, the farther the rarer.

    heat: how far it strays, as a colour distance; share: how much of the drawn colour goes into the stroke.
    """
    distance = np.linalg.norm(strokes.colour[:, None] - colours[None], axis=2)  # (n, k)

    def draw():
        gumbel = rng.gumbel(size=distance.shape)
        return colours[np.argmax(gumbel - distance / heat, axis=1)]

    own = strokes.colour
    return replace(
        strokes,
        colour=(own + share * (draw() - own)).astype(np.float32),
        streak=(own + share * (draw() - own)).astype(np.float32),
    )


class Picture:
    """Wet paint: planes (4, height, width) of red, green, blue and paint height in pixels."""

    def __init__(self, colour, height_px):
        """colour: (height, width, 3); height_px: (height, width), the ground's own relief."""
        self.planes = np.concatenate([colour.transpose(2, 0, 1), height_px[None]]).astype(np.float32)
        self.planes = np.ascontiguousarray(self.planes)

    @property
    def colour(self):
        return np.ascontiguousarray(self.planes[:3].transpose(1, 2, 0))

    @property
    def height_px(self):
        return self.planes[3]

    def stamp(self, strokes, textures, *, rng, grain=None, bite=4.0, glaze=False):
        """Paint the strokes, first to last.

        grain: (height, width) of the paper in [0, 1]; then the paint catches only where grain is high, the
        more sharply the larger `bite`. glaze: the colour filters what lies below instead of covering it.
        """
        choice = rng.integers(len(textures), size=len(strokes))
        long_px = max(self.planes.shape[1:])
        rows = np.arange(self.planes.shape[1], dtype=np.float32)[:, None]
        columns = np.arange(self.planes.shape[2], dtype=np.float32)[None, :]
        boxes = _boxes(strokes, long_px, self.planes.shape[1:])
        numbers = _as_rows(strokes, long_px)
        for i in np.flatnonzero((boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2])):
            y0, y1, x0, x1 = boxes[i]
            x, y, cos, sin, half, bow, sway, width, opacity, thickness = numbers[i]
            u, v = _local(columns[:, x0:x1] - x, rows[y0:y1] - y, cos, sin, half, bow, sway)
            texture = _fit_texture(textures[choice[i]], width)
            found = _sample(texture, u, v * np.float32(2 / width))
            cover = found[0] * opacity
            if grain is not None:
                cover = np.clip((cover + grain[y0:y1, x0:x1] - 1) * bite, 0, 1) * min(1.0, opacity * 1.2)
            self._blend(
                (y0, y1, x0, x1), cover, found, strokes.colour[i], strokes.streak[i], thickness * width, glaze
            )

    def _blend(self, box, cover, found, colour, streak, height_px, glaze):
        y0, y1, x0, x1 = box
        below = self.planes[:, y0:y1, x0:x1]
        tint = colour[:, None, None] + (streak - colour)[:, None, None] * found[2]
        if glaze:
            below[:3] *= 1 - cover * (1 - tint)
            return
        below *= 1 - cover
        below[:3] += cover * tint
        below[3] += cover * height_px * found[1]


def _local(dx, dy, cos, sin, half, bow, sway):
    """Position along (-1..1) and across (pixels) the bent stroke, for offsets from its middle."""
    s = (dx * cos + dy * sin) * (1 / half)
    across = dy * cos - dx * sin
    if abs(bow) + abs(sway) < 0.3:
        return s, across
    square = s * s
    across = across - (1 - square) * (bow + sway * s)
    slope = (sway - s * (2 * bow + 3 * sway * s)) * (1 / half)
    return s, across / np.sqrt(1 + np.minimum(slope * slope, 4))


def _fit_texture(levels, width_px):
    """The level whose width is nearest above the stroke's, so that bristles do not alias."""
    for level in reversed(levels):
        if level.shape[0] >= width_px:
            return level
    return levels[0]


def _sample(texture, u, v):
    """cover, height and streak planes at texture positions u, v in [-1, 1]; nothing outside."""
    across, along = texture.shape[:2]
    columns = (u + np.float32(1.02)) * np.float32(along / 2.04) - np.float32(0.5)
    rows = (v + np.float32(1.04)) * np.float32(across / 2.08) - np.float32(0.5)
    found = cv2.remap(texture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return cv2.split(found)


def _boxes(strokes, long_px, shape):
    """Clipped pixel boxes (n, 4) as y0, y1, x0, x1."""
    s = np.linspace(-1.02, 1.02, 9, dtype=np.float32)
    along = strokes.half[:, None] * s
    off = strokes.bow[:, None] * (1 - s * s) + strokes.sway[:, None] * (s - s**3)
    cos, sin = np.cos(strokes.angle)[:, None], np.sin(strokes.angle)[:, None]
    x = strokes.x[:, None] + along * cos - off * sin
    y = strokes.y[:, None] + along * sin + off * cos
    reach = strokes.width / 2 * 1.05 + 0.02 * strokes.half
    edges = [
        (y.min(1) - reach, shape[0]),
        (y.max(1) + reach, shape[0]),
        (x.min(1) - reach, shape[1]),
        (x.max(1) + reach, shape[1]),
    ]
    clipped = [
        np.clip(np.round(edge * long_px) + side, 0, limit).astype(int)
        for (edge, limit), side in zip(edges, (0, 1, 0, 1))
    ]
    return np.stack(clipped, axis=1)


def _as_rows(strokes, long_px):
    columns = (
        strokes.x * long_px,
        strokes.y * long_px,
        np.cos(strokes.angle),
        np.sin(strokes.angle),
        strokes.half * long_px,
        strokes.bow * long_px,
        strokes.sway * long_px,
        np.maximum(strokes.width * long_px, 1.0),
        strokes.opacity,
        strokes.thickness,
    )
    return np.stack(columns, axis=1).astype(np.float32)
