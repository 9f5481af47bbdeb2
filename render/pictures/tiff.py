"""TIFF and BigTIFF, written in tiles by tifffile, which writes no Exif directory: that one is added here."""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, cast

import cv2
import numpy as np
from PIL import ExifTags

from render import __version__
from render.pictures import exif
from render.pictures.quantize import PrintPixels

TILE_PX = 256  # TIFF 6.0 asks for multiples of 16
# A classic TIFF has 32-bit offsets; what deflate may add and the tags need the 64 MB below that.
BIG_TIFF_BYTES = 2**32 - 2**26

_PLACEHOLDER = exif.EXIF_IFD - 1  # a tag without a meaning, written where the Exif directory's tag will be
_TIFFFILE_WRITES = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Software,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
}


def write(file: BinaryIO, picture: PrintPixels, dpi: float, tags: exif.Tags, *, big_tiff_bytes: int) -> None:
    """Deflated after horizontal differences; a BigTIFF where the pixels alone may pass `big_tiff_bytes`."""
    import tifffile  # here: it takes a quarter of a second, and most programs that import us write no TIFF

    big = picture.size_bytes > big_tiff_bytes
    extra = [
        (tag, kind, length, _tiff_value(kind, data), True)
        for tag, (kind, length, data) in tags.main.items()
        if tag not in _TIFFFILE_WRITES
    ]
    extra.append((_PLACEHOLDER, exif.LONG8 if big else exif.LONG, 1, 0, True))
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
    _add_exif_directory(file, tags, big)


def _tiff_value(kind: int, data: bytes) -> int | bytes:
    return data if kind == exif.ASCII else int.from_bytes(data, "little")


def _tiles(picture: PrintPixels) -> Iterator[np.ndarray]:
    """(256, 256, C), row by row; those at the right and lower edges are filled up with their last pixels."""
    width = picture.shape[1]
    for band in picture.bands(TILE_PX):
        for left in range(0, width, TILE_PX):
            tile = band[:, left : left + TILE_PX]
            below, right = (TILE_PX - side for side in tile.shape[:2])
            yield cv2.copyMakeBorder(tile, 0, below, 0, right, cv2.BORDER_REPLICATE)


def _add_exif_directory(file: BinaryIO, tags: exif.Tags, big: bool) -> None:
    """At the file's end; the placeholder becomes the tag that points there."""
    import tifffile

    start = file.seek(0, os.SEEK_END)
    start += file.write(bytes(-start % 8))
    file.write(exif.directory(tags.detail, start, big=big))
    file.seek(0)  # where tifffile takes the file to begin
    with tifffile.TiffFile(file) as tiff:
        tag = cast(tifffile.TiffPage, tiff.pages[0]).tags[_PLACEHOLDER]
        place, value_place = tag.offset, tag.valueoffset
    for at, data in (
        (place, struct.pack("<H", exif.EXIF_IFD)),
        (value_place, start.to_bytes(8 if big else 4, "little")),
    ):
        file.seek(at)
        file.write(data)
