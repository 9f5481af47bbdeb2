"""The color space of a print: ICC profiles, pixels converted into them, and what a printer makes of pixels.

Little CMS reads every profile, but Pillow lets it see 8-bit RGB only. Profiles that are three curves and a
matrix (all the built-in ones, most RGB spaces) are therefore computed here, in float32, from their own tags:
within 1 of 255 of what Little CMS answers (1.5 where a channel is almost black), and without steps in 16
bits. The others, made of tables, are sampled through Little CMS.

ICC.1:2001-04 is the specification of version 2, ICC.1:2022 of version 4.
"""

import functools
import io
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from render.errors import UsageError, brief
from render.pictures.bands import row_slices
from render.pictures.opencv import raised, transformed
from render.system import files
from render.wording import did_you_mean

INTENTS = {
    "perceptual": ImageCms.Intent.PERCEPTUAL,
    "relative": ImageCms.Intent.RELATIVE_COLORIMETRIC,  # with black point compensation: Photoshop's default
    "saturation": ImageCms.Intent.SATURATION,
    "absolute": ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
}

MAX_PROFILE_BYTES = 64_000_000  # the largest printer profiles have some 10 MB
WORST_CONDITION = 1e4  # of a matrix that can be inverted; real ones are below 10


@dataclass(frozen=True)
class Profile:
    """An ICC profile that is known to be usable."""

    name: str  # as requested: a name in BUILT_IN, or a path
    data: bytes  # the file's
    description: str  # as the profile describes itself, for people


# --- loading ------------------------------------------------------------------------------------------------


def load_profile(name: str | Path, *, proof: bool = False) -> Profile:
    """A built-in profile (BUILT_IN), or the one in an .icc or .icm file.

    proof: for `soft_proof`, which takes profiles of CMYK and gray printers too; otherwise pixels will be
    written in it. Raises UsageError, which names the file and the fix.
    """
    if str(name) in BUILT_IN:
        return _built_in(str(name))
    data = _bytes_of(Path(name))
    opened = _opened(name, data)
    _check_use(name, opened, data, proof)
    return Profile(str(name), data, _description(opened) or str(name))


def _bytes_of(path: Path) -> bytes:
    if not os.path.exists(path):
        meant = did_you_mean(str(path), BUILT_IN, cutoff=0.5)
        raise UsageError(
            f"{brief(str(path))}: no such profile.{meant} Use {', '.join(BUILT_IN)} or the path of an .icc "
            "or .icm file."
        )
    data = files.read(path, at_most_bytes=MAX_PROFILE_BYTES, what="profile", error=UsageError).data
    if data[36:40] != b"acsp":  # the signature of every ICC profile
        raise UsageError(
            f"{path}: is not an ICC profile. Name the .icc or .icm file that the print shop offers."
        )
    if len(data) < 132 or struct.unpack_from(">I", data)[0] > len(data):  # header and number of tags
        raise UsageError(f"{path}: is cut short. Download or copy the profile again.")
    return data


def _opened(name: object, data: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(data))
    except (OSError, ImageCms.PyCMSError) as error:
        raise UsageError(
            f"{name}: is a damaged ICC profile ({error}). Download or copy the profile again."
        ) from error


def _description(opened: ImageCms.ImageCmsProfile) -> str:
    try:
        return ImageCms.getProfileDescription(opened).strip()
    except ImageCms.PyCMSError:  # invalid characters; the colors may be sound
        return ""


_CLASSES = {
    "mntr": "display",
    "prtr": "output",
    "spac": "color space",
    "scnr": "input",
    "link": "device link",
    "abst": "abstract",
    "nmcl": "named colors",
}
_MODES = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # ICC's color space -> Pillow's mode


def _check_use(name: object, opened: ImageCms.ImageCmsProfile, data: bytes, proof: bool) -> None:
    # From the header: Pillow's own properties for them fail at bytes that are not ASCII.
    kind, space = (data[at : at + 4].decode("latin-1").strip() for at in (12, 16))
    if kind not in ("mntr", "prtr", "spac"):
        raise UsageError(
            f"{name}: is an ICC profile of class {_CLASSES.get(kind, brief(kind))}; display, output or "
            "color space is needed. "
            "Use the printer's or paper's own profile."
        )
    if space not in _MODES or (space != "RGB" and not proof):
        advice = (
            "The print shop converts from RGB: write in srgb or adobe-rgb, and use --soft-proof to "
            "preview this profile."
            if space == "CMYK"
            else f"Use {', '.join(BUILT_IN)} or another RGB profile."
        )
        raise UsageError(f"{name}: is a profile for {brief(space)} and prints are written in RGB. {advice}")
    try:
        if proof:
            _proof_transform(opened, "relative")
        else:
            _transform(_srgb_opened(), opened, "relative")
    except ImageCms.PyCMSError as error:
        raise UsageError(
            f"{name}: cannot be converted to ({error}). Download it again, or use {', '.join(BUILT_IN)}."
        ) from error


def check_intent(intent: str) -> None:
    """Raises UsageError unless it is a name in INTENTS."""
    if intent not in INTENTS:
        raise UsageError(f"'{intent}' is no rendering intent. Use one of {', '.join(INTENTS)}.")


# --- the built-in profiles ----------------------------------------------------------------------------------
# sRGB is the one that Pillow makes (Little CMS's, with its parametric curve). Adobe RGB and Display P3 are
# assembled here, because ImageCms.createProfile makes none but sRGB, LAB and XYZ. Files made by others would
# have to be shipped with their licenses, and would not show where their numbers come from.

D50 = (0.9642, 1.0, 0.8249)  # ICC.1:2001-04, 6.1.6: the white that profiles connect by
D65_XY = (0.3127, 0.3290)
BRADFORD = np.array(
    ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
)  # ICC.1:2022, E.1
ADOBE_RGB_XY = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))  # Adobe RGB (1998) Color Image Encoding, 4.3.1.2
ADOBE_RGB_GAMMA = 563 / 256  # the same, 4.3.4.2
DISPLAY_P3_XY = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))  # SMPTE EG 432-1; Apple's white is D65
SRGB_NODES = 1024  # of sRGB's curve as a table, as in HP's profile: version 2 has no formulas


@functools.cache
def _built_in(name: str) -> Profile:
    data = BUILT_IN[name]()
    return Profile(name, data, ImageCms.getProfileDescription(_opened(name, data)).strip())


def _srgb_bytes() -> bytes:
    """Little CMS's own, and the same bytes every day: its date, header bytes 24 to 35, is a fixed one."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = _MADE
    return bytes(profile)


def _adobe_rgb_bytes() -> bytes:
    return _profile_bytes("Adobe RGB (1998) compatible", ADOBE_RGB_XY, _gamma_tag(ADOBE_RGB_GAMMA))


def _display_p3_bytes() -> bytes:
    device = np.linspace(0, 1, SRGB_NODES)
    linear = np.where(device <= 0.04045, device / 12.92, ((device + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    return _profile_bytes("Display P3", DISPLAY_P3_XY, _table_tag(linear))


BUILT_IN = {"srgb": _srgb_bytes, "adobe-rgb": _adobe_rgb_bytes, "display-p3": _display_p3_bytes}

_MADE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


def _profile_bytes(description: str, primaries_xy, curve: bytes) -> bytes:
    """A display profile, version 2.4: three D65 primaries adapted to D50, and one curve."""
    adaptation = _adaptation(_xyz(D65_XY), np.array(D50))
    primaries = np.stack([_xyz(xy) for xy in primaries_xy], axis=1)
    primaries = adaptation @ (primaries * np.linalg.solve(primaries, _xyz(D65_XY)))
    columns = np.rint(primaries * 65536)
    columns[:, 1] += np.rint(np.array(D50) * 65536) - columns.sum(
        axis=1
    )  # so that white is white to the last bit
    tags = {
        b"desc": _text_tag(description),
        b"cprt": b"text\0\0\0\0No copyright, use freely\0",
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(adaptation.ravel()),
    }
    tags |= {name: b"XYZ \0\0\0\0" + _fixed(columns[:, i] / 65536) for i, name in enumerate(_COLUMNS)}
    tags |= dict.fromkeys(_CURVES, curve)
    return _assembled(tags)


def _assembled(tags: dict[bytes, bytes]) -> bytes:
    """Header, table of tags, and their data; equal data is kept once."""
    place, table, body, places = 132 + 12 * len(tags), b"", b"", {}
    for name, data in tags.items():
        if data not in places:
            places[data] = place + len(body)
            body += data + b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name, places[data], len(data))
    head = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += _MADE + b"acsp" + bytes(28) + _fixed(D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


_COLUMNS = (b"rXYZ", b"gXYZ", b"bXYZ")
_CURVES = (b"rTRC", b"gTRC", b"bTRC")


def _xyz(xy: tuple[float, float]) -> np.ndarray:
    x, y = xy
    return np.array((x / y, 1, (1 - x - y) / y))


def _adaptation(white: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(3, 3): XYZ seen under one white -> under the other; linear Bradford (ICC.1:2022, annex E)."""
    return np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ target / (BRADFORD @ white)) @ BRADFORD


def _fixed(values) -> bytes:
    """s15Fixed16Number."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _gamma_tag(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def _table_tag(values: np.ndarray) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + np.rint(values * 65535).astype(">u2").tobytes()


def _text_tag(text: str) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text.encode("ascii") + b"\0" + bytes(78)


# --- converting ---------------------------------------------------------------------------------------------


def convert(pixels: np.ndarray, profile: Profile, intent: str = "relative") -> np.ndarray:
    """(H, W, 3) float32 sRGB in [0, 1] -> the profile's own values, the same shape and range.

    Profiles of curves and a matrix: exact to float32, so 16 bits have no steps. Profiles of tables: within
    1/255 of Little CMS but for some dark, vivid colors (measured on a harsh printer: 2 values in 1000, at
    worst 5/255 off). Needs memory for the result and a band of rows. Raises UsageError for an unknown intent,
    and for one whose tables are damaged.
    """
    check_intent(intent)
    try:
        return _converted(pixels, _built_in("srgb").data, profile.data, intent)
    except ImageCms.PyCMSError as error:  # the tables of one intent may be damaged and those of another whole
        raise UsageError(
            f"{profile.name}: cannot be converted to with --intent {intent} ({error}). Use "
            "another intent, or "
            "download the profile again."
        ) from error


def to_srgb(pixels: np.ndarray, data: bytes) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1], values of the RGB profile `data` -> sRGB; relative, with black point
    compensation.

    Raises ImageCms.PyCMSError or OSError for a profile that cannot be used.
    """
    return _converted(pixels, data, _built_in("srgb").data, "relative")


def _converted(pixels: np.ndarray, source: bytes, target: bytes, intent: str) -> np.ndarray:
    if source == target:
        return np.clip(pixels, 0, 1)
    into = _conversion(source, target, intent)
    result = np.empty(pixels.shape, np.float32)
    for rows in row_slices(pixels.shape):
        result[rows] = into(np.clip(pixels[rows], 0, 1).astype(np.float32, copy=False))
    return result


def _conversion(source: bytes, target: bytes, intent: str) -> Callable[[np.ndarray], np.ndarray]:
    """What maps (h, W, 3) float32 in [0, 1]: the formula where both profiles have one, else a table of
    samples."""
    one, other = _matrix_of(source), _matrix_of(target)
    if one is not None and other is not None:
        return functools.partial(_by_matrix, one, other, _matrix_between(one, other, intent))
    return functools.partial(_by_grid, _grid(source, target, intent))


# --- converting: curves and a matrix ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix/TRC profile."""

    curves: tuple  # of red, green and blue: device value -> linear light
    to_xyz: np.ndarray  # (3, 3): linear light -> D50 XYZ
    white: np.ndarray  # (3,) XYZ of the medium, by which absolute colors differ from relative ones


@functools.lru_cache(maxsize=8)
def _matrix_of(data: bytes) -> Matrix | None:
    """None where the profile holds tables, which take precedence over its matrix, or nothing that can be read
    here."""
    tags = _tags(data)
    if data[20:24] != b"XYZ " or any(name[:3] in (b"A2B", b"B2A", b"D2B", b"B2D") for name in tags):
        return None
    try:
        curves = tuple(_curve(tags[name]) for name in _CURVES)
        columns = [np.array(struct.unpack(">3i", tags[name][8:20])) / 65536 for name in _COLUMNS]
        white = np.array(struct.unpack(">3i", tags[b"wtpt"][8:20])) / 65536
    except (KeyError, ValueError, struct.error):
        return None
    if np.linalg.cond(np.stack(columns, axis=1)) > WORST_CONDITION or white.min() <= 0:
        return None
    # The eye adapts to a display: Little CMS takes its white as D50, whatever wtpt it has.
    return Matrix(curves, np.stack(columns, axis=1), np.array(D50) if data[12:16] == b"mntr" else white)


def _tags(data: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", data, 128)[0]
    entries = [
        struct.unpack_from(">4sII", data, 132 + 12 * i) for i in range(min(count, (len(data) - 132) // 12))
    ]
    return {name: data[place : place + length] for name, place, length in entries}


def _matrix_between(source: Matrix, target: Matrix, intent: str) -> np.ndarray:
    """(3, 3) float32, linear light of one -> of the other. All intents but absolute are one for such
    profiles."""
    share = source.white / target.white if intent == "absolute" else np.ones(3)
    matrix = np.linalg.inv(target.to_xyz) @ np.diag(share) @ source.to_xyz
    sums = matrix.sum(axis=1, keepdims=True)
    if np.abs(sums - 1).max() < 1e-3:  # the profiles' rounding, which would put a tint on white
        matrix /= sums
    return matrix.astype(np.float32)


def _by_matrix(source: Matrix, target: Matrix, matrix: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    linear = np.stack([_decoded(curve, pixels[..., i]) for i, curve in enumerate(source.curves)], axis=-1)
    linear = np.clip(transformed(linear, matrix), 0, 1)
    return np.stack([_encoded(curve, linear[..., i]) for i, curve in enumerate(target.curves)], axis=-1)


# A curve is a table (n,) float32 in [0, 1], or the seven numbers of y = (a x + b)^g + e where x >= d, else c
# x + f.


def _curve(tag: bytes) -> np.ndarray | tuple[float, ...]:
    """From a curv or para tag (ICC.1:2022, 10.6 and 10.18). Raises ValueError for any other."""
    if tag[:4] == b"para":
        return _formula(*struct.unpack_from(">H", tag, 8), np.frombuffer(tag, ">i4", offset=12) / 65536)
    if tag[:4] != b"curv":
        raise ValueError("neither curv nor para")
    values = np.frombuffer(tag, ">u2", count=struct.unpack_from(">I", tag, 8)[0], offset=12)
    if len(values) < 2:
        return _formula(0, values[:1] / 256 if len(values) else np.ones(1))
    return np.maximum.accumulate(values.astype(np.float32) / 65535)  # rising, so that it can be inverted


def _power(gamma: float) -> tuple[float, ...]:
    return (float(gamma), 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def _formula(kind: int, numbers: np.ndarray) -> tuple[float, ...]:
    formula = _seven(kind, numbers)
    gamma, slope = formula[:2]
    if not (0.05 <= gamma <= 20 and slope > 0):
        raise ValueError("a curve that does not rise")
    return formula


def _seven(kind: int, numbers: np.ndarray) -> tuple[float, ...]:
    count = (1, 3, 4, 5, 7)[kind] if kind < 5 else 0
    match [float(number) for number in numbers[:count]]:
        case [g]:
            return _power(g)
        case [g, a, b]:
            return (g, a, b, 0.0, -b / a if a else 0.0, 0.0, 0.0)
        case [g, a, b, c]:
            return (g, a, b, 0.0, -b / a if a else 0.0, c, c)
        case [g, a, b, c, d]:
            return (g, a, b, c, d, 0.0, 0.0)
        case [g, a, b, c, d, e, f]:
            return (g, a, b, c, d, e, f)
    raise ValueError(f"parametric curve of unknown type {kind}")


def _decoded(curve, device: np.ndarray) -> np.ndarray:
    """Linear light of device values, float32 in [0, 1]."""
    if isinstance(curve, np.ndarray):
        return _between_nodes(curve, device)
    g, a, b, c, d, e, f = curve
    return np.where(device >= d, raised(np.maximum(a * device + b, 0), g) + e, c * device + f)


def _between_nodes(table: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The table (n,) over [0, 1] at these places, linear between its equally spaced nodes. float32.

    A tenth of the time of np.interp, which searches for the nodes, and as fast as cv2.remap, which knows only
    32 places between two of them.
    """
    place = place * np.float32(len(table) - 1)
    below = np.minimum(place.astype(np.int32), len(table) - 2)
    low = table.take(below)
    return low + (table.take(below + 1) - low) * (place - below.astype(np.float32))


def _encoded(curve, linear: np.ndarray) -> np.ndarray:
    """Device values, float32 in [0, 1], that give this linear light."""
    if isinstance(curve, np.ndarray):
        # Its nodes are not equally spaced here, so that they must be searched for.
        return np.interp(linear, curve, np.linspace(0, 1, len(curve))).astype(np.float32)
    g, a, b, c, d, e, f = curve
    below = (linear - f) / c if c else np.float32(0)
    upper = (raised(np.maximum(linear - e, 0), 1 / g) - b) / a
    return np.clip(np.where(linear >= max(a * d + b, 0) ** g + e, upper, below), 0, 1)


# --- converting: tables -------------------------------------------------------------------------------------

GRID_STEP = 3  # 8-bit levels between nodes
GRID_NODES = 255 // GRID_STEP + 1


@functools.lru_cache(maxsize=4)
def _grid(source: bytes, target: bytes, intent: str) -> np.ndarray:
    """(86, 86, 86, 3) float32 in [0, 1]: what Little CMS makes of red, green and blue at every third level.

    Takes about a second. Rounded to 8 bits, so a value between nodes is off by up to half a level.
    """
    transform = _transform(_opened("source", source), _opened("target", target), intent)
    levels = np.arange(0, 256, GRID_STEP, dtype=np.uint8)
    nodes = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(
        GRID_NODES**2, GRID_NODES, 3
    )
    answer = np.asarray(ImageCms.applyTransform(Image.fromarray(nodes), transform))
    return np.divide(answer, np.float32(255)).reshape(GRID_NODES, GRID_NODES, GRID_NODES, 3)


def _by_grid(grid: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Tetrahedral interpolation, which unlike trilinear keeps grays between gray nodes (Kasson et al.
    1995)."""
    flat, strides = grid.reshape(-1, 3), np.array((GRID_NODES**2, GRID_NODES, 1))
    scaled = pixels.reshape(-1, 3) * np.float32(GRID_NODES - 1)
    base = np.minimum(scaled.astype(np.int64), GRID_NODES - 2)
    share = scaled - base.astype(np.float32)
    order = np.argsort(
        -share, axis=1, kind="stable"
    )  # from the node, first along the channel that is farthest on
    share = np.take_along_axis(share, order, axis=1)
    index = base @ strides
    result = flat[index] * (1 - share[:, :1])
    for i in range(3):
        index = index + strides[order[:, i]]
        following = share[:, i + 1 : i + 2] if i < 2 else 0
        result += flat[index] * (share[:, i : i + 1] - following)
    return result.reshape(pixels.shape)


# --- Little CMS ---------------------------------------------------------------------------------------------


def _srgb_opened() -> ImageCms.ImageCmsProfile:
    return _opened("srgb", _built_in("srgb").data)


def _flags(intent: str) -> ImageCms.Flags:
    return ImageCms.Flags.BLACKPOINTCOMPENSATION if intent == "relative" else ImageCms.Flags(0)


def _transform(source, target, intent: str) -> ImageCms.ImageCmsTransform:
    flags = (
        _flags(intent) | ImageCms.Flags.NOOPTIMIZE
    )  # its shortcuts are off by up to 12 levels in dark, vivid colors
    return ImageCms.buildTransform(source, target, "RGB", "RGB", INTENTS[intent], flags)


def _proof_transform(printer, intent: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildProofTransform(
        _srgb_opened(),
        _srgb_opened(),
        printer,
        "RGB",
        "RGB",
        INTENTS[intent],
        ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
        _flags(intent) | ImageCms.Flags.SOFTPROOFING,
    )


def soft_proof(pixels: np.ndarray, profile: Profile, intent: str = "relative") -> np.ndarray:
    """What the print will look like, paper and ink included: (H, W, 3) uint8 sRGB -> the same.

    profile: the printer's, RGB, CMYK or gray; intent: how the print shop converts to it. White becomes the
    color of the paper and black that of the ink. Raises UsageError for an unknown intent.
    """
    check_intent(intent)
    transform = _proof_transform(_opened(profile.name, profile.data), intent)
    result = np.empty(pixels.shape, np.uint8)
    for rows in row_slices(pixels.shape):
        band = Image.fromarray(np.ascontiguousarray(pixels[rows]))
        result[rows] = np.asarray(ImageCms.applyTransform(band, transform))
    return result
