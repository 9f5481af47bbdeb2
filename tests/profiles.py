"""ICC profiles made by hand (ICC.1:2001-04), and plain formulas to hold them against."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
ADOBE_XYZ = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))  # red, green, blue
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
    """A press whose cyan ink prints red, so that only who uses the profile sees red. A 2x2x2x2 table to Lab."""
    white, black, red = (255, 128, 128), (0, 128, 128), (138, 209, 198)  # Lab of sRGB red: 54.3, 80.8, 69.9
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    grid = [black if k else red if c else white for c, m, y, k in corners]
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table += bytes(range(256)) * 4 + bytes(value for lab in grid for value in lab) + bytes(range(256)) * 3
    return icc(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table, b"A2B1": table})


def srgb_curve(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
