"""Prints as files: pixels become a PNG, TIFF, JPEG or WebP that a print shop accepts, whole or not at all.

PNG and TIFF are written a band of rows at a time and need little memory beside the pixels. JPEG and WebP go
through Pillow, which takes the whole picture at once: 4 bytes a pixel, and for WebP the finished file too.
"""

import json
import os
import struct
import types
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from render import __version__
from render.errors import PictureError, UsageError
from render.pictures import icc, images
from render.pictures.bands import row_slices
from render.pictures.icc import Profile
from render.system.files import Content, whole_file


@dataclass(frozen=True)
class Format:
    """A kind of file we write. The first ending is the one a print gets; depths: bits per channel it can
    have."""

    pillow_name: str
    endings: tuple[str, ...]
    max_side_px: int
    has_alpha: bool
    depths: tuple[int, ...]


FORMATS = {
    "png": Format("PNG", (".png",), 2**31 - 1, has_alpha=True, depths=(8, 16)),
    "jpeg": Format("JPEG", (".jpg", ".jpeg", ".jpe"), 65500, has_alpha=False, depths=(8,)),  # libjpeg's limit
    "tiff": Format("TIFF", (".tif", ".tiff"), 2**31 - 1, has_alpha=True, depths=(8, 16)),
    "webp": Format("WEBP", (".webp",), 16383, has_alpha=True, depths=(8,)),  # 14 bits in the WebP header
}

TILE_PX = 256  # of TIFFs; TIFF 6.0 asks for multiples of 16
BIG_TIFF_BYTES = (
    2**32 - 2**26
)  # a classic TIFF has 32-bit offsets; the rest is for what deflate may add, and tags
MAX_PROVENANCE_BYTES = 60_000  # one JPEG segment holds 65533, headers and the other tags included
MAX_CARRIED_BYTES = 300  # of each text of the photograph's EXIF


def format_of(path: Path | str) -> str:
    """The name in FORMATS that the path's ending asks for."""
    ending = Path(path).suffix.lower()
    for name, form in FORMATS.items():
        if ending in form.endings:
            return name
    known = ", ".join(ending for form in FORMATS.values() for ending in form.endings)
    raise UsageError(f"{path}: no picture format is known by the ending '{ending}'. Use one of {known}.")


def check_output(format: str, *, bit_depth: int = 8, intent: str = "relative") -> None:
    """Raises UsageError for what `write` could not do, before any work. format: a name in FORMATS."""
    depths = FORMATS[format].depths
    if bit_depth not in depths:
        if len(depths) == 1 and bit_depth == 16:
            deep = " or ".join(name for name, form in FORMATS.items() if 16 in form.depths)
            raise UsageError(f"{format} holds 8 bits per channel, not 16. Use {deep}, or 8 bits.")
        raise UsageError(
            f"{bit_depth} bits per channel cannot be written. Use {' or '.join(map(str, depths))}."
        )
    if intent not in icc.INTENTS:
        raise UsageError(f"'{intent}' is no rendering intent. Use one of {', '.join(icc.INTENTS)}.")


def write(
    path: Path | str,
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    dpi: float = 300.0,
    provenance: Mapping,
    quality: int = 95,
    bit_depth: int = 8,
    profile: Profile | None = None,
    intent: str = "relative",
    carried: Mapping[str, str] | None = None,
    big_tiff_bytes: int = BIG_TIFF_BYTES,
) -> None:
    """Write a finished print, with its profile, its resolution, and how it was made as JSON in EXIF
    ImageDescription.

    pixels: (H, W, 3) float32 sRGB in [0, 1]; alpha: (H, W) in [0, 1], composited over white where the format
    has none. profile: what the file's values are in (None: sRGB), converted to by `intent` (icc.INTENTS); 8
    bits are dithered. carried: EXIF of the photograph (`Photo.carried`). quality: of JPEG and WebP, 0 to 100.
    Raises UsageError, and PictureError for what cannot be written.
    """
    path, profile = Path(path), profile or icc.load_profile("srgb")
    form = FORMATS[format_of(path)]
    check_output(format_of(path), bit_depth=bit_depth, intent=intent)
    _check_print(path, pixels, alpha, form)
    tags = _tags(path, dpi, provenance, profile, carried or {})
    picture = _Print(pixels, alpha, form.has_alpha, bit_depth, profile, intent)
    with whole_file(path, needs_bytes=picture.size_bytes) as file:
        if form.pillow_name == "PNG":
            _write_png(file, picture, dpi, tags)
        elif form.pillow_name == "TIFF":
            _write_tiff(file, picture, dpi, tags, big_tiff_bytes)
        else:
            _write_with_pillow(file, picture, form.pillow_name, dpi, tags, quality)


def _check_print(path: Path, pixels: np.ndarray, alpha: np.ndarray | None, form: Format) -> None:
    parts = [values for values in (pixels, alpha) if values is not None]
    if not all(np.isfinite(values[rows]).all() for values in parts for rows in row_slices(values.shape)):
        raise PictureError(
            f"{path}: not written, because the picture holds NaN or infinite values. "
            "Rerun; if it happens again, use other settings: a lower style_weight, or optimiser=adam."
        )
    if max(pixels.shape[:2]) > form.max_side_px:
        raise PictureError(
            f"{path}: {form.pillow_name} holds at most {form.max_side_px} px a side, and the print has "
            f"{max(pixels.shape[:2])}. Write png or tiff."
        )


# --- from float to integers ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Print:
    """What a file is to hold; made into integers a band of rows at a time."""

    pixels: np.ndarray
    alpha: np.ndarray | None
    keep_alpha: bool
    bit_depth: int
    profile: Profile
    intent: str

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.pixels.shape[:2], 4 if self.alpha is not None and self.keep_alpha else 3)

    @property
    def size_bytes(self) -> int:
        """Uncompressed."""
        height, width, channels = self.shape
        return height * width * channels * self.bit_depth // 8

    def bands(self, rows_each: int) -> Iterator[np.ndarray]:
        """(rows_each or fewer, W, 3 or 4) uint8 or uint16, from the top."""
        for rows in row_slices(self.pixels.shape, rows_each=rows_each):
            yield self._band(rows)

    def _band(self, rows: slice) -> np.ndarray:
        pixels, alpha = self.pixels[rows], None if self.alpha is None else self.alpha[rows]
        if alpha is not None and not self.keep_alpha:
            pixels, alpha = images.over_white(pixels, alpha), None
        values = icc.convert(pixels, self.profile, self.intent)
        values = dithered(values, top_px=rows.start) if self.bit_depth == 8 else _rounded(values, 16)
        return values if alpha is None else np.dstack([values, _rounded(alpha, self.bit_depth)])


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    scaled = np.clip(values, 0, 1) * np.float32(2**bits - 1)
    return np.rint(scaled, out=scaled).astype(np.uint8 if bits == 8 else np.uint16)


LEVEL_MARGIN = 0.01  # of an 8-bit level: so near, a value is on it, float32's rounding considered


def dithered(values: np.ndarray, *, top_px: int = 0) -> np.ndarray:
    """(H, W, C) in [0, 1] -> uint8: each value's lower or upper level, so often that local means stay.

    The pattern depends on the position alone (top_px: of the first row): interleaved gradient noise, which is
    even over any few pixels (Jimenez 2014, Next Generation Post Processing in Call of Duty), a third apart
    between channels, so that the brightness of greys varies least. Values on a level stay: flat white and
    black get no speckle.
    """
    height, width, channels = values.shape
    y, x = np.arange(top_px, top_px + height)[:, None], np.arange(width)
    noise = 52.9829189 * ((0.06711056 * x + 0.00583715 * y) % 1) % 1
    result = np.empty(values.shape, np.uint8)
    for i in range(channels):
        threshold = LEVEL_MARGIN + (1 - 2 * LEVEL_MARGIN) * ((noise + i / 3) % 1)
        scaled = np.clip(values[..., i], 0, 1) * np.float32(255)
        result[..., i] = np.floor(scaled + threshold.astype(np.float32))
    return result


# --- EXIF ---------------------------------------------------------------------------------------------------

_ASCII, _SHORT, _LONG, _RATIONAL, _LONG8 = 2, 3, 4, 5, 16  # types of TIFF 6.0 and BigTIFF
_EXIF_IFD = 34665


@dataclass(frozen=True)
class _Tags:
    """EXIF as (type, count, data) by number. main: of the picture (IFD0); detail: of the taking (the Exif
    IFD)."""

    main: dict[int, tuple[int, int, bytes]]
    detail: dict[int, tuple[int, int, bytes]]


def _tags(path: Path, dpi: float, provenance: Mapping, profile: Profile, carried: Mapping[str, str]) -> _Tags:
    text = json.dumps(provenance, ensure_ascii=True, default=str)
    if len(text) > MAX_PROVENANCE_BYTES:
        raise PictureError(
            f"{path}: its provenance has {len(text)} characters and a picture file holds "
            f"{MAX_PROVENANCE_BYTES}. "
            "Use fewer or shorter settings and style pictures."
        )
    base = ExifTags.Base
    main = {base[name]: _ascii(carried[name]) for name in images.CARRIED_MAIN if name in carried}
    detail = {base[name]: _ascii(carried[name]) for name in images.CARRIED_DETAIL if name in carried}
    detail[base.ColorSpace] = _short(
        1 if profile.name == "srgb" else 0xFFFF
    )  # uncalibrated: the profile tells
    main |= {
        base.ImageDescription: _ascii(text, MAX_PROVENANCE_BYTES),
        base.Orientation: _short(1),
        base.XResolution: _rational(dpi),
        base.YResolution: _rational(dpi),
        base.ResolutionUnit: _short(2),  # inches
        base.Software: _ascii(f"render {__version__}"),
    }
    return _Tags(main, detail)


def _ascii(text: str, limit: int = MAX_CARRIED_BYTES) -> tuple[int, int, bytes]:
    data = text.encode("utf-8")[:limit].decode("utf-8", "ignore").encode("utf-8") + b"\0"  # whole characters
    return _ASCII, len(data), data


def _short(value: int) -> tuple[int, int, bytes]:
    return _SHORT, 1, struct.pack("<H", value)


def _rational(value: float) -> tuple[int, int, bytes]:
    return _RATIONAL, 1, struct.pack("<2I", *Fraction(value).limit_denominator(10_000).as_integer_ratio())


def _ifd(tags: Mapping[int, tuple[int, int, bytes]], start: int, *, big: bool = False) -> bytes:
    """A little-endian directory of TIFF or BigTIFF that stands at `start`, the values that need room after
    it."""
    count, entry, room = ("<Q", "<HHQ", 8) if big else ("<H", "<HHI", 4)
    head, values = struct.pack(count, len(tags)), b""
    values_start = start + len(head) + len(tags) * (struct.calcsize(entry) + room) + room
    for tag, (kind, length, data) in sorted(tags.items()):
        head += struct.pack(entry, tag, kind, length)
        if len(data) <= room:
            head += data.ljust(room, b"\0")
        else:
            head += (values_start + len(values)).to_bytes(room, "little")
            values += data + b"\0" * (len(data) % 2)
    return head + bytes(room) + values


def _exif_block(tags: _Tags) -> bytes:
    """EXIF as PNG, JPEG and WebP hold it: a TIFF without pixels (Exif 2.32, 4.5.2)."""
    start, pointer = 8, lambda place: {_EXIF_IFD: (_LONG, 1, struct.pack("<I", place))}
    detail_start = start + len(_ifd(tags.main | pointer(0), start))
    main = _ifd(tags.main | pointer(detail_start), start)
    return b"II*\0" + struct.pack("<I", start) + main + _ifd(tags.detail, detail_start)


def read_provenance(source: Content | Path | str) -> dict | None:
    """How a print was made, as `write` recorded it; None where nothing readable is recorded."""
    with images.opened(source) as image:
        text = images.exif_of(image).get(ExifTags.Base.ImageDescription)
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None


# --- PNG ----------------------------------------------------------------------------------------------------

PNG_ROWS = 64  # filtered and compressed at a time


def _write_png(file: BinaryIO, picture: _Print, dpi: float, tags: _Tags) -> None:
    """PNG (W3C, third edition) in bands. Pillow has no 16-bit RGB, and OpenCV no profile and only whole
    pictures."""
    height, width, channels = picture.shape
    per_metre = round(dpi / 0.0254)
    file.write(b"\x89PNG\r\n\x1a\n")
    file.write(
        _chunk(
            b"IHDR",
            struct.pack(">2I5B", width, height, picture.bit_depth, 6 if channels == 4 else 2, 0, 0, 0),
        )
    )
    file.write(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.profile.data)))
    file.write(_chunk(b"pHYs", struct.pack(">2IB", per_metre, per_metre, 1)))
    file.write(_chunk(b"eXIf", _exif_block(tags)))
    deflate, above = zlib.compressobj(6), None
    for band in picture.bands(PNG_ROWS):
        rows = band.astype(">u2", order="C").view(np.uint8) if picture.bit_depth == 16 else band
        rows = rows.reshape(band.shape[0], -1)
        filtered = _filtered(
            rows, np.zeros_like(rows[0]) if above is None else above, channels * picture.bit_depth // 8
        )
        _write_data(file, deflate.compress(filtered))
        above = rows[-1]
    _write_data(file, deflate.flush())
    file.write(_chunk(b"IEND", b""))


def _write_data(file: BinaryIO, data: bytes) -> None:
    if data:
        file.write(_chunk(b"IDAT", data))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _filtered(rows: np.ndarray, above: np.ndarray, pixel_bytes: int) -> bytes:
    """(h, row bytes) uint8 with, for each row, the filter of smallest sum of absolute values (PNG 12.7), and
    its number."""
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
    """PNG 9.4: of the three neighbours, the nearest to left + up - corner."""
    a, b, c = (values.astype(np.int16) for values in (left, up, corner))
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    other = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, other)


# --- TIFF ---------------------------------------------------------------------------------------------------

_PLACEHOLDER = _EXIF_IFD - 1  # a tag without a meaning, which stands where the Exif IFD's will


def _write_tiff(file: BinaryIO, picture: _Print, dpi: float, tags: _Tags, big_tiff_bytes: int) -> None:
    """Tiled, deflated after horizontal differences; a BigTIFF where the pixels alone might pass
    `big_tiff_bytes`."""
    import tifffile  # here: it takes a quarter of a second, and most programs that import us write no TIFF

    big = picture.size_bytes > big_tiff_bytes
    extra = [
        (tag, kind, length, _tiff_value(kind, data), True)
        for tag, (kind, length, data) in tags.main.items()
        if tag not in _TIFFFILE_WRITES
    ]
    extra.append((_PLACEHOLDER, _LONG8 if big else _LONG, 1, 0, True))
    with tifffile.TiffWriter(file, bigtiff=big, byteorder="<") as writer:
        writer.write(
            _tiles(picture),
            shape=picture.shape,
            dtype=np.uint8 if picture.bit_depth == 8 else np.uint16,
            tile=(TILE_PX, TILE_PX),
            photometric="rgb",
            planarconfig="contig",
            extrasamples=["unassalpha"] if picture.shape[2] == 4 else None,
            compression="adobe_deflate",
            predictor=True,
            buffersize=2**26,
            metadata=None,
            description=tags.main[ExifTags.Base.ImageDescription][2][:-1],
            software=f"render {__version__}",
            resolution=(dpi, dpi),
            resolutionunit="inch",
            iccprofile=picture.profile.data,
            extratags=extra,
        )
    _add_exif_ifd(file, tags, big)


_TIFFFILE_WRITES = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Software,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
}


def _tiff_value(kind: int, data: bytes) -> int | bytes:
    return data if kind == _ASCII else int.from_bytes(data, "little")


def _tiles(picture: _Print) -> Iterator[np.ndarray]:
    """(256, 256, C), row by row; those at the edges are filled up with their last pixels."""
    width = picture.shape[1]
    for band in picture.bands(TILE_PX):
        for left in range(0, width, TILE_PX):
            tile = band[:, left : left + TILE_PX]
            missing = [(0, TILE_PX - side) for side in tile.shape[:2]]
            yield np.pad(tile, (*missing, (0, 0)), mode="edge")


def _add_exif_ifd(file: BinaryIO, tags: _Tags, big: bool) -> None:
    """tifffile writes no Exif IFD: it goes to the file's end, and the placeholder becomes the tag that points
    there."""
    import tifffile

    start = file.seek(0, os.SEEK_END)
    start += file.write(bytes(-start % 8))
    file.write(_ifd(tags.detail, start, big=big))
    file.seek(0)  # where tifffile takes the file to begin
    with tifffile.TiffFile(file) as tiff:
        tag = tiff.pages[0].tags[_PLACEHOLDER]
        place, value_place = tag.offset, tag.valueoffset
    for at, data in (
        (place, struct.pack("<H", _EXIF_IFD)),
        (value_place, start.to_bytes(8 if big else 4, "little")),
    ):
        file.seek(at)
        file.write(data)


# --- JPEG and WebP ------------------------------------------------------------------------------------------

PASTED_ROWS = 256


def _write_with_pillow(
    file: BinaryIO, picture: _Print, name: str, dpi: float, tags: _Tags, quality: int
) -> None:
    height, width, channels = picture.shape
    image = Image.new("RGBA" if channels == 4 else "RGB", (width, height))
    for i, band in enumerate(picture.bands(PASTED_ROWS)):
        image.paste(Image.fromarray(band), (0, i * PASTED_ROWS))
    # No "optimize" for JPEG: it needs the whole file in one buffer, which Pillow makes too small for grainy
    # prints.
    options = {"dpi": (dpi, dpi), "subsampling": "4:4:4"} if name == "JPEG" else {}
    # Without a file number Pillow writes through `file`, which does not mistake a partly written block for a
    # written one.
    stream = types.SimpleNamespace(write=file.write, flush=file.flush)
    image.save(
        stream,
        name,
        quality=quality,
        icc_profile=picture.profile.data,
        exif=b"Exif\0\0" + _exif_block(tags),
        **options,
    )
