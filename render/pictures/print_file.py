"""Prints as files: a PNG, TIFF, JPEG or WebP that a print shop accepts, whole or not at all, and how a print
was made, read back.

PNG and TIFF are written a band of rows at a time and need little memory beside the pixels; JPEG and WebP go
through Pillow as a whole.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags

from render.errors import PictureError, UsageError
from render.pictures import exif, icc, images, jpeg_webp, png, tiff
from render.pictures.bands import row_slices
from render.pictures.icc import Profile
from render.pictures.quantize import PrintPixels
from render.system.files import Content, whole_file


@dataclass(frozen=True)
class Format:
    """A kind of file we write."""

    pillow_name: str
    extensions: tuple[str, ...]  # the first one is the one a print gets
    max_side_px: int
    has_alpha: bool
    depths: tuple[int, ...]  # bits per channel it can have


FORMATS = {
    "png": Format("PNG", (".png",), 2**31 - 1, has_alpha=True, depths=(8, 16)),
    "jpeg": Format("JPEG", (".jpg", ".jpeg", ".jpe"), 65500, has_alpha=False, depths=(8,)),  # libjpeg's limit
    "tiff": Format("TIFF", (".tif", ".tiff"), 2**31 - 1, has_alpha=True, depths=(8, 16)),
    "webp": Format("WEBP", (".webp",), 16383, has_alpha=True, depths=(8,)),  # 14 bits in the WebP header
}

MAX_PROVENANCE_BYTES = 60_000  # one JPEG segment holds 65533, headers and the other tags included


def format_of(path: Path | str) -> str:
    """The name in FORMATS of the path's extension. Raises UsageError for any other extension."""
    extension = Path(path).suffix.lower()
    for name, form in FORMATS.items():
        if extension in form.extensions:
            return name
    known = ", ".join(extension for form in FORMATS.values() for extension in form.extensions)
    raise UsageError(f"{path}: no picture format has the file extension '{extension}'. Use one of {known}.")


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
    icc.check_intent(intent)


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
    big_tiff_bytes: int = tiff.BIG_TIFF_BYTES,
) -> None:
    """Write a finished print with its profile and its resolution.

    Args:
        pixels: (H, W, 3) float32, sRGB in [0, 1].
        alpha: (H, W) float32 in [0, 1]; composited over white where the format has no transparency.
        dpi: pixels per inch of the print.
        provenance: how the print was made; written as JSON into EXIF ImageDescription.
        quality: of JPEG and WebP, 0 to 100.
        bit_depth: bits per channel, 8 or 16; 8 bits are dithered.
        profile: the color space of the file's values; None is sRGB.
        intent: how colors are converted to the profile, a name in icc.INTENTS.
        carried: EXIF of the photograph, `Photo.carried`.
        big_tiff_bytes: TIFFs of more pixel data than this are BigTIFFs.

    Raises UsageError for an extension or option that is not known, and PictureError for what cannot be
    written.
    """
    path, profile = Path(path), profile or icc.load_profile("srgb")
    form = FORMATS[format_of(path)]
    check_output(format_of(path), bit_depth=bit_depth, intent=intent)
    _check_print(path, pixels, alpha, form)
    tags = exif.tags(
        _provenance_text(path, provenance),
        dpi=dpi,
        is_srgb=profile.name == "srgb",
        carried=carried or {},
        description_bytes=MAX_PROVENANCE_BYTES,
    )
    picture = PrintPixels(pixels, alpha, form.has_alpha, bit_depth, profile, intent)
    with whole_file(path, needs_bytes=picture.size_bytes) as file:
        if form.pillow_name == "PNG":
            png.write(file, picture, dpi, tags)
        elif form.pillow_name == "TIFF":
            tiff.write(file, picture, dpi, tags, big_tiff_bytes=big_tiff_bytes)
        else:
            jpeg_webp.write(file, picture, dpi, tags, pillow_name=form.pillow_name, quality=quality)


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


def _provenance_text(path: Path, provenance: Mapping) -> str:
    text = json.dumps(provenance, ensure_ascii=True, default=str)
    if len(text) > MAX_PROVENANCE_BYTES:
        raise PictureError(
            f"{path}: its provenance has {len(text)} characters and a picture file holds "
            f"{MAX_PROVENANCE_BYTES}. Use fewer or shorter settings and style pictures."
        )
    return text


def read_provenance(source: Content | Path | str) -> dict | None:
    """How a print was made, as `write` recorded it; None where nothing readable is recorded."""
    with images.opened(source) as image:
        text = exif.of_image(image).get(ExifTags.Base.ImageDescription)
    try:
        found = json.loads(text or "")
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None
