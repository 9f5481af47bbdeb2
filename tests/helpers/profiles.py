"""ICC profiles made by hand (ICC.1:2001-04), and plain formulas to hold them against."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
ADOBE_XYZ = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)  # red, green, blue
ADOBE_GAMMA = 563 / 256
SRGB_XYZ = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def icc(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": icc_text("made by a test"), b"cprt": b"text\0\0\0\0none\0", b"wtpt": icc_xyz(D50)} | tags
    place, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name, place + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"lcms", 0x02400000, kind, space, connection)
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp")
    head += bytes(28) + icc_xyz(D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def icc_text(text: str) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text.encode() + b"\0" + bytes(78)


def icc_xyz(xyz) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in xyz))


def icc_gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def adobe_like_profile() -> bytes:
    columns = {name: icc_xyz(xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), ADOBE_XYZ, strict=True)}
    curves = {name: icc_gamma(ADOBE_GAMMA) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return icc(b"mntr", b"RGB ", b"XYZ ", columns | curves)


def linear_grey_profile() -> bytes:
    return icc(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": icc_gamma(1.0)})


def red_for_cyan_profile() -> bytes:
    """A press whose cyan ink prints red, so that only who uses the profile sees red. A 2x2x2x2 table to
    Lab."""
    white, black, red = (255, 128, 128), (0, 128, 128), (138, 209, 198)  # Lab of sRGB red: 54.3, 80.8, 69.9
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    grid = [black if k else red if c else white for c, m, y, k in corners]
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table += bytes(range(256)) * 4 + bytes(value for lab in grid for value in lab) + bytes(range(256)) * 3
    return icc(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table, b"A2B1": table})


def srgb_curve(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )


# --- printers: tables of 16 bits (lut16Type, 6.5.7) ---------------------------------------------------------

PAPER = (0.80, 0.82, 0.60)  # yellowish, and darker than a screen
NODES = 17


def printer_profile(space: bytes = b"RGB ", paper=PAPER) -> bytes:
    """A printer of 80% of sRGB's contrast. space: b"RGB ", b"CMYK" (black ink never used) or b"GRAY"."""
    to_device = {
        b"RGB ": lambda rgb: rgb,
        b"CMYK": lambda rgb: np.c_[1 - rgb, 0 * rgb[:, :1]],
        b"GRAY": lambda rgb: rgb @ np.array((0.2, 0.7, 0.1))[:, None],
    }[space]
    to_rgb = {
        b"RGB ": lambda inks: inks,
        b"CMYK": lambda inks: (1 - inks[:, :3]) * (1 - inks[:, 3:]),
        b"GRAY": lambda inks: np.repeat(inks, 3, axis=1),
    }[space]
    channels = {b"RGB ": 3, b"CMYK": 4, b"GRAY": 1}[space]
    forth = lut16(
        channels, 3, lambda inks: lab_words(lab_of(to_rgb(inks))), nodes=5 if channels == 4 else NODES
    )
    back = lut16(3, channels, lambda words: to_device(rgb_of(lab_from_words(words))), nodes=33)
    return icc(
        b"prtr",
        space,
        b"Lab ",
        {b"wtpt": icc_xyz(paper), b"A2B0": forth, b"A2B1": forth, b"B2A0": back, b"B2A1": back},
    )


def lut16(inputs: int, outputs: int, function, *, nodes: int) -> bytes:
    """function: (n, inputs) -> (n, outputs), both in [0, 1] of 16 bits."""
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, nodes)] * inputs, indexing="ij"), axis=-1).reshape(
        -1, inputs
    )
    values = np.rint(np.clip(function(places), 0, 1) * 65535).astype(">u2")
    line = struct.pack(">2H", 0, 65535)
    return (
        b"mft2\0\0\0\0"
        + bytes([inputs, outputs, nodes, 0])
        + struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
        + struct.pack(">2H", 2, 2)
        + line * inputs
        + values.tobytes()
        + line * outputs
    )


def lab_of(rgb: np.ndarray) -> np.ndarray:
    """(n, 3) sRGB in [0, 1] -> CIELAB, its contrast on paper 80% of a screen's."""
    linear = (
        np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) * 0.8
        + 0.2 * rgb.mean(axis=1)[:, None] ** 2
    )
    ratio = linear @ np.array(SRGB_XYZ) / np.array(D50)
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def rgb_of(lab: np.ndarray) -> np.ndarray:
    """(n, 3) CIELAB -> the sRGB of that colour, clipped softly enough for a test."""
    fy = (lab[:, 0] + 16) / 116
    f = np.stack([fy + lab[:, 1] / 500, fy, fy - lab[:, 2] / 200], axis=1)
    xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389) * np.array(D50)
    return srgb_curve(np.clip(xyz @ np.linalg.inv(np.array(SRGB_XYZ)), 0, 1))


def lab_words(lab: np.ndarray) -> np.ndarray:
    """CIELAB in version 2's 16 bits, as shares of 65535: FF00h is L = 100, and 8000h a = b = 0 (6.3.4)."""
    return (
        np.stack([lab[:, 0] / 100 * 65280, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], axis=1) / 65535
    )


def lab_from_words(words: np.ndarray) -> np.ndarray:
    words = words * 65535
    return np.stack([words[:, 0] / 65280 * 100, words[:, 1] / 256 - 128, words[:, 2] / 256 - 128], axis=1)
