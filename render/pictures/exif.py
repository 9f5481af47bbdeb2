"""EXIF: what a print carries over from its photograph, and the tags that a print is written with.

Reading goes through Pillow. Writing does not: Pillow refuses text that is not ASCII in TIFFs, and the same
tags must go into PNG, JPEG, WebP and TIFF. Exif 2.32 and TIFF 6.0 are the specifications.
"""

import contextlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, cast

from PIL import ExifTags, Image, ImageFile

from render import __version__

# Carried over from the photograph, all of it text: who made it, when, and with which camera. Not where: a
# print is given away, and GPS coordinates reveal where its owner lives. No serial numbers either.
CARRIED_MAIN = ("Make", "Model", "Artist", "Copyright")
CARRIED_DETAIL = (
    "DateTimeOriginal",
    "DateTimeDigitized",
    "OffsetTimeOriginal",
    "OffsetTimeDigitized",
    "SubsecTimeOriginal",
    "SubsecTimeDigitized",
    "LensMake",
    "LensModel",
)
MAX_CARRIED_BYTES = 300  # of each text of the photograph's EXIF


# --- reading ------------------------------------------------------------------------------------------------


def of_image(image: Image.Image) -> Image.Exif:
    """The EXIF block without decoding pixels.

    Of a PNG, Pillow's getexif() would decode all pixels to reach the chunks after them; so the file is
    searched for the chunk here, through `ImageFile.fp`, which is open until the pixels are loaded.
    """
    if image.format != "PNG" or "Raw profile type exif" in image.info:  # as ImageMagick writes it
        return image.getexif()
    exif = Image.Exif()
    file = cast(ImageFile.ImageFile, image).fp
    exif.load((None if file is None else _png_chunk(cast(BinaryIO, file), b"eXIf")) or b"")
    return exif


def orientation(image: Image.Image) -> int:
    """1 to 8 (Exif 2.32, 4.6.4 A); 1, upright, where none or nothing readable is recorded."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFFs itself, size and pixels
    try:
        return of_image(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # any of Pillow's parser errors; a broken EXIF block is no reason to refuse good pixels
        return 1


def carried(image: Image.Image) -> dict[str, str]:
    """Name -> text of what a print carries over from this photograph; broken EXIF counts as none."""
    try:
        exif = of_image(image)
        detail = exif.get_ifd(ExifTags.IFD.Exif)
        found = {name: exif.get(ExifTags.Base[name]) for name in CARRIED_MAIN}
        found |= {name: detail.get(ExifTags.Base[name]) for name in CARRIED_DETAIL}
    except Exception:  # any of Pillow's parser errors; the pixels may be good
        return {}
    texts = {name: _text(value) for name, value in found.items() if isinstance(value, (str, bytes))}
    return {name: text for name, text in texts.items() if text}


def _text(value: str | bytes) -> str:
    """EXIF text is ASCII by the standard and UTF-8 in practice; Pillow gives its bytes as Latin-1."""
    data = value if isinstance(value, bytes) else value.encode("latin-1", "replace")
    data = data.split(b"\0")[0].strip()
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode("utf-8")
    return data.decode("latin-1")


def _png_chunk(file: BinaryIO, wanted: bytes) -> bytes | None:
    """The data of the first chunk of this kind; the file's position stays."""
    position = file.tell()
    file.seek(8)  # past the signature
    found = None
    while found is None and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == wanted:
            found = file.read(length)
        file.seek(length + 4, os.SEEK_CUR)  # data and checksum
    file.seek(position)
    return found


# --- writing ------------------------------------------------------------------------------------------------

ASCII, SHORT, LONG, RATIONAL, LONG8 = 2, 3, 4, 5, 16  # types of TIFF 6.0 and BigTIFF
EXIF_IFD = 34665

Tag = tuple[int, int, bytes]  # type, number of values, little-endian data


@dataclass(frozen=True)
class Tags:
    """The tags of one print, by number."""

    main: dict[int, Tag]  # of the picture: IFD0
    detail: dict[int, Tag]  # of how it was taken: the Exif IFD


def tags(
    description: str, *, dpi: float, is_srgb: bool, carried: Mapping[str, str], description_bytes: int
) -> Tags:
    """A print's tags. description: for ImageDescription, cut after `description_bytes`; carried: as `carried`
    read it."""
    base = ExifTags.Base
    main: dict[int, Tag] = {base[name]: _ascii(carried[name]) for name in CARRIED_MAIN if name in carried}
    detail: dict[int, Tag] = {base[name]: _ascii(carried[name]) for name in CARRIED_DETAIL if name in carried}
    detail[base.ColorSpace] = _short(1 if is_srgb else 0xFFFF)  # 0xFFFF: uncalibrated, see the ICC profile
    main |= {
        base.ImageDescription: _ascii(description, description_bytes),
        base.Orientation: _short(1),
        base.XResolution: _rational(dpi),
        base.YResolution: _rational(dpi),
        base.ResolutionUnit: _short(2),  # inches
        base.Software: _ascii(f"render {__version__}"),
    }
    return Tags(main, detail)


def _ascii(text: str, limit: int = MAX_CARRIED_BYTES) -> Tag:
    data = text.encode("utf-8")[:limit].decode("utf-8", "ignore").encode("utf-8") + b"\0"  # whole characters
    return ASCII, len(data), data


def _short(value: int) -> Tag:
    return SHORT, 1, struct.pack("<H", value)


def _rational(value: float) -> Tag:
    return RATIONAL, 1, struct.pack("<2I", *Fraction(value).limit_denominator(10_000).as_integer_ratio())


def directory(tags: Mapping[int, Tag], start: int, *, big: bool = False) -> bytes:
    """A little-endian directory of TIFF (big: of BigTIFF) placed at byte `start`; values that do not fit into
    their entry follow it."""
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


def block(tags: Tags) -> bytes:
    """EXIF as PNG, JPEG and WebP hold it: a TIFF without pixels (Exif 2.32, 4.5.2)."""
    start = 8
    detail_start = start + len(directory(tags.main | _pointer(0), start))
    main = directory(tags.main | _pointer(detail_start), start)
    return b"II*\0" + struct.pack("<I", start) + main + directory(tags.detail, detail_start)


def _pointer(place: int) -> dict[int, Tag]:
    return {EXIF_IFD: (LONG, 1, struct.pack("<I", place))}
