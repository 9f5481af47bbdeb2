"""The shared toolbox of the painters: grids, noise, colours, paper and the light on thick paint.

Lengths are fractions of the picture's long side, so that a painting looks the same at every size.
Colours are sRGB float32 in [0, 1]; maps are (height, width) or (height, width, 3) float32.
"""

import cv2
import numpy as np


def picture_shape(size_px, aspect):
    """(height, width) with the long side `size_px`; aspect is width / height."""
    if aspect >= 1:
        return round(size_px / aspect), size_px
    return size_px, round(size_px * aspect)


def unit_grid(shape):
    """x and y of every pixel centre, each (height, width), the long side being 1."""
    height, width = shape
    long_px = max(shape)
    x = (np.arange(width, dtype=np.float32) + 0.5) / long_px
    y = (np.arange(height, dtype=np.float32) + 0.5) / long_px
    return np.meshgrid(x, y)


def rgb(code):
    """The colour "#rrggbb" as float32 (3,)."""
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


def palette(*codes):
    """Several "#rrggbb" colours as float32 (n, 3)."""
    return np.stack([rgb(code) for code in codes])


def smoothstep(value, low, high):
    """0 below `low`, 1 above `high`, smooth between; low > high turns it round."""
    t = np.clip((value - low) / (high - low), 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def mix(a, b, share):
    """From a (share 0) to b (share 1). A (height, width) share also mixes colours."""
    a, b, share = (np.asarray(each, np.float32) for each in (a, b, share))
    if share.ndim == 2 and (a.ndim in (1, 3) or b.ndim in (1, 3)):
        share = share[..., None]
    return a + (b - a) * share


def ramp(value, stops):
    """Colours (..., 3) along `stops`, a list of (position, "#rrggbb") with rising positions."""
    at = [position for position, _ in stops]
    colours = np.stack([rgb(code) for _, code in stops])
    channels = [np.interp(value, at, colours[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def noise(shape, rng, *, cells, octaves=4, gain=0.5, stretch=1.0):
    """Smooth noise of about unit deviation.

    cells: blobs along the long side in the first octave; stretch > 1 draws them out along x.
    Each octave is drawn on its own coarse lattice, so the picture's size does not change it.
    """
    total = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        count = cells * 2**octave
        # Square whatever the shape, so that rounding a side's pixels never shifts the random numbers drawn
        # next.
        lattice = rng.standard_normal((count + 4, int(count / stretch) + 5)).astype(np.float32)
        total += gain**octave * _sample_lattice(lattice, shape, count, stretch)
        power += gain ** (2 * octave)
    return total / (0.7 * np.sqrt(power))  # cubic interpolation takes about 0.3 of the deviation


def _sample_lattice(lattice, shape, count, stretch):
    x, y = unit_grid(shape)
    return cv2.remap(
        lattice,
        x * np.float32(count / stretch) + 1,
        y * np.float32(count) + 1,
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def warp(image, dx, dy):
    """The image pulled along: each pixel taken from (x + dx, y + dy), in fractions of the long side."""
    height, width = image.shape[:2]
    long_px = max(height, width)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        image,
        columns + (dx * long_px).astype(np.float32),
        rows + (dy * long_px).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def blur(image, radius):
    """Gaussian blur; radius (the deviation) as a fraction of the long side."""
    return cv2.GaussianBlur(image, (0, 0), max(radius * max(image.shape[:2]), 0.3))


def polygon(shape, points):
    """A filled polygon as a (height, width) mask with smooth edges; points in unit coordinates."""
    mask = np.zeros(shape, np.uint8)
    fixed = np.round(np.asarray(points, np.float64) * max(shape) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
    return mask.astype(np.float32) / 255


def ellipse(shape, centre, radii, *, angle=0.0):
    """Signed distance-like field of an ellipse: 0 at the centre, 1 on its edge, more outside."""
    x, y = unit_grid(shape)
    dx, dy = x - centre[0], y - centre[1]
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = dy * np.cos(angle) - dx * np.sin(angle)
    return np.hypot(along / radii[0], across / radii[1]).astype(np.float32)


def angle_along(field):
    """Direction of the level lines of a scalar field, radians: strokes laid so follow its contours."""
    dy, dx = np.gradient(field)
    return np.arctan2(dx, -dy).astype(np.float32)


def weave(shape, rng, *, threads=260):
    """Height of a linen canvas in [0, 1]: threads over and under, a little uneven."""
    x, y = unit_grid(shape)
    wobble = 0.16 * noise(shape, rng, cells=60, octaves=2)
    across = np.sin((x * threads + wobble) * 2 * np.pi)
    down = np.sin((y * threads + wobble) * 2 * np.pi)
    checker = np.sin((x * threads + wobble) * np.pi) * np.sin((y * threads + wobble) * np.pi)
    return (0.5 + 0.25 * np.where(checker > 0, across, down)).astype(np.float32)


def tooth(shape, rng, *, cells=330, octaves=3):
    """Height of rough paper in [0, 1], evenly spread: half of it lies below 0.5."""
    rough = noise(shape, rng, cells=cells, octaves=octaves, gain=0.65)
    return (1 / (1 + np.exp(-1.6 * rough))).astype(np.float32)


def relief(colour, height_px, *, depth=1.0, gloss=0.1, light=(-0.55, -0.65)):
    """The colours lit from the side over a height map.

    height_px: (height, width) paint thickness in pixels, so that slopes do not depend on the size.
    light: where it comes from, (x, y), y downwards; gloss: strength of the highlights on wet-looking ridges.
    """
    # Slopes are taken at a fraction of the picture, else finer renderings would be rougher ones.
    height_px = blur(height_px, 0.0004)
    dx = cv2.Sobel(height_px, cv2.CV_32F, 1, 0, ksize=3, scale=depth / 8)
    dy = cv2.Sobel(height_px, cv2.CV_32F, 0, 1, ksize=3, scale=depth / 8)
    length = np.sqrt(dx * dx + dy * dy + 1)
    lx, ly = light
    lz = np.sqrt(max(1 - lx * lx - ly * ly, 0.05))
    facing = (-dx * lx - dy * ly + lz) / length
    shade = np.clip(facing / lz, 0.45, 1.55)
    half_z = (lz + 1) / np.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
    half_xy = half_z / (lz + 1)
    shine = np.clip((-dx * lx * half_xy - dy * ly * half_xy + half_z) / length, 0, 1)
    flat_shine = half_z**24
    highlight = gloss * np.clip(shine**24 - flat_shine, 0, 1) / (1 - flat_shine)
    return np.clip(colour * shade[..., None] + highlight[..., None], 0, 1).astype(np.float32)
