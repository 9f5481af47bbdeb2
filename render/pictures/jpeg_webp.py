"""JPEG and WebP, written by Pillow, which takes the whole picture at once: 4 bytes a pixel, and for WebP the
finished file too."""

from typing import IO, BinaryIO, cast

from PIL import Image

from render.pictures import exif
from render.pictures.quantize import PrintPixels

PASTED_ROWS = 256


class _WritesOnly:
    """The file without its file number, which Pillow would write to itself, taking a partly written block for
    a written one."""

    def __init__(self, file: BinaryIO):
        self.write, self.flush = file.write, file.flush


def write(
    file: BinaryIO, picture: PrintPixels, dpi: float, tags: exif.Tags, *, pillow_name: str, quality: int
) -> None:
    """pillow_name: JPEG or WEBP; quality: 0 to 100."""
    height, width, channels = picture.shape
    image = Image.new("RGBA" if channels == 4 else "RGB", (width, height))
    for i, band in enumerate(picture.bands(PASTED_ROWS)):
        image.paste(Image.fromarray(band), (0, i * PASTED_ROWS))
    # No "optimize" for JPEG: it needs the whole file in one buffer, which Pillow makes too small for grainy
    # prints.
    options = {"dpi": (dpi, dpi), "subsampling": "4:4:4"} if pillow_name == "JPEG" else {}
    image.save(
        cast(IO[bytes], _WritesOnly(file)),
        pillow_name,
        quality=quality,
        icc_profile=picture.profile.data,
        exif=b"Exif\0\0" + exif.block(tags),
        **options,
    )
