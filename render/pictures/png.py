"""PNG (W3C, third edition), written in bands: Pillow has no 16-bit RGB, OpenCV no profile and only whole
pictures."""

import struct
import zlib
from typing import BinaryIO

import numpy as np

from render.pictures import exif
from render.pictures.quantize import PrintPixels

BAND_ROWS = 64  # filtered and compressed at a time


def write(file: BinaryIO, picture: PrintPixels, dpi: float, tags: exif.Tags) -> None:
    height, width, channels = picture.shape
    per_meter = round(dpi / 0.0254)
    file.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">2I5B", width, height, picture.bit_depth, 6 if channels == 4 else 2, 0, 0, 0)
    file.write(_chunk(b"IHDR", header))
    file.write(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.profile.data)))
    file.write(_chunk(b"pHYs", struct.pack(">2IB", per_meter, per_meter, 1)))
    file.write(_chunk(b"eXIf", exif.block(tags)))
    deflate, above = zlib.compressobj(6), None
    for band in picture.bands(BAND_ROWS):
        rows = band.astype(">u2", order="C").view(np.uint8) if picture.bit_depth == 16 else band
        rows = rows.reshape(band.shape[0], -1)
        above = np.zeros_like(rows[0]) if above is None else above
        _write_data(file, deflate.compress(_filtered(rows, above, channels * picture.bit_depth // 8)))
        above = rows[-1]
    _write_data(file, deflate.flush())
    file.write(_chunk(b"IEND", b""))


def _write_data(file: BinaryIO, data: bytes) -> None:
    if data:
        file.write(_chunk(b"IDAT", data))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _filtered(rows: np.ndarray, above: np.ndarray, pixel_bytes: int) -> bytes:
    """Each row with the number of its filter before it: the filter of smallest sum of absolute values (PNG
    12.7).

    rows: (h, row bytes) uint8; above: (row bytes,), the row before them.
    """
    up = np.vstack([above[None], rows[:-1]])
    left, corner = (np.pad(values, ((0, 0), (pixel_bytes, 0)))[:, :-pixel_bytes] for values in (rows, up))
    candidates = {0: rows, 1: rows - left, 2: rows - up, 4: rows - _paeth(left, up, corner)}  # modulo 256
    costs = [
        np.abs(values.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
        for values in candidates.values()
    ]
    best = np.argmin(costs, axis=0)
    result = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    for i, (number, values) in enumerate(candidates.items()):
        result[best == i, 0], result[best == i, 1:] = number, values[best == i]
    return result.tobytes()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Of the three neighbors, the nearest to left + up - corner (PNG 9.4)."""
    a, b, c = (values.astype(np.int16) for values in (left, up, corner))
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    other = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, other)
