"""Pictures and styles as Python users have them, made into files that jobs are made from.

An array or a PIL image becomes a lossless file in a private folder, named by its content: identity, hashes
and caches then work as for any file, and the same photograph gives the same pixels however it came.
"""

import hashlib
import io
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from PIL import Image

from render.api.options import number
from render.errors import ArgumentError, ArgumentTypeError, PictureError, brief
from render.jobs.styles import Style, StylePicture, find_style, load_style
from render.pictures.images import MAX_INPUT_MEGAPIXELS, MIN_SIDE_PX
from render.system import files

# A path; (H, W, 3) sRGB as uint8, uint16 or floats in [0, 1]; or a PIL image of any mode.
Picture: TypeAlias = str | os.PathLike[str] | np.ndarray | Image.Image
# A shipped name, a preset, a picture; or several: a mapping of paths to weights, a list of pictures or pairs.
StyleLike: TypeAlias = (
    Picture | Mapping[str | os.PathLike[str], float] | Sequence[Picture | tuple[Picture, float]]
)

LEVELS = 65535  # floats are rounded to 16 bits


class Store:
    """The private folder, made at first use and removed when the store is closed or forgotten."""

    def __init__(self):
        self._folder: Path | None = None
        self._written: set[Path] = set()

    @property
    def folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="render-"))
            self._close = weakref.finalize(self, _remove, self._folder, os.getpid())
        return self._folder

    def path_of(self, picture: Any, argument: str) -> Path:
        """Absolute. Raises ArgumentError, ArgumentTypeError and PictureError, naming the argument."""
        if isinstance(picture, str | os.PathLike):
            return Path(os.path.abspath(os.fsdecode(picture)))
        if isinstance(picture, Image.Image):
            return self._keep("image", *_encoded_image(picture, argument))
        return self._keep("array", ".png", _encoded_array(_array(picture, argument)))

    def _keep(self, kind: str, extension: str, data: bytes) -> Path:
        path = self.folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}{extension}"
        if path not in self._written:
            files.write_bytes(path, data)
            self._written.add(path)
        return path

    def clear(self) -> None:
        """Removes its files; the same pictures get the same names again."""
        while self._written:
            self._written.pop().unlink(missing_ok=True)

    def close(self) -> None:
        if self._folder is not None:
            self._close()
            self._folder, self._written = None, set()


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not at the end of a process that was forked from it
        shutil.rmtree(folder, ignore_errors=True)


# --- arrays -------------------------------------------------------------------------------------------------


def _array(picture: Any, argument: str) -> np.ndarray:
    """(H, W, 3) uint8 or uint16, of an array or of what can be read as one. Raises ArgumentError and
    ArgumentTypeError."""
    if not isinstance(picture, np.ndarray):
        if not hasattr(picture, "__array__"):
            raise ArgumentTypeError(
                f"{argument} is {brief(picture)} ({type(picture).__name__}) and must be a path, an array "
                "(H, W, 3) or a PIL image."
            )
        try:
            picture = np.asarray(picture)
        except (TypeError, RuntimeError, ValueError) as error:  # a tensor on a GPU, or with a gradient
            raise ArgumentTypeError(f"{argument}: cannot be read as an array ({brief(error)}).") from error
    _check_shape(picture.shape, argument)
    if picture.dtype.kind == "f":
        return _rounded(picture, argument)
    if picture.dtype.kind == "u" and picture.dtype.itemsize <= 2:
        return picture.astype(picture.dtype.newbyteorder("="), copy=False)
    raise ArgumentTypeError(
        f"{argument} has dtype {picture.dtype} and must be uint8, uint16 or floats in [0, 1]. Whole numbers "
        "from 0 to 255: array.astype('uint8')."
    )


def _check_shape(shape: tuple[int, ...], argument: str) -> None:
    if len(shape) != 3 or shape[2] != 3:
        raise ArgumentError(
            f"{argument} has shape {brief(shape)} and must be (H, W, 3): RGB.{_shape_advice(shape)}"
        )
    _check_size(shape[0], shape[1], argument)


def _shape_advice(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return " For grey: numpy.dstack([array] * 3)."
    if len(shape) == 3 and shape[2] == 4:
        return " With transparency, pass a PIL image: PIL.Image.fromarray(array)."
    if len(shape) == 3 and shape[0] == 3:
        return " Channels come last: array.transpose(1, 2, 0)."
    return ""


def _check_size(height: int, width: int, argument: str) -> None:
    if min(height, width) < MIN_SIDE_PX:
        raise ArgumentError(
            f"{argument} has {height} x {width} px (height x width) and must have at least {MIN_SIDE_PX} on "
            "each side."
        )
    if height * width > MAX_INPUT_MEGAPIXELS * 1_000_000:
        raise ArgumentError(
            f"{argument} has {height} x {width} px (height x width) and must have at most "
            f"{MAX_INPUT_MEGAPIXELS} megapixels."
        )


def _rounded(array: np.ndarray, argument: str) -> np.ndarray:
    """Floats in [0, 1] as uint16. Raises ArgumentError for others."""
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ArgumentError(
            f"{argument} holds NaN or infinite values, the first at {where} (row, column, channel); they "
            "must lie in [0, 1]."
        )
    kind = np.float64 if array.dtype.itemsize >= 8 else np.float32
    values = np.multiply(array, LEVELS, dtype=kind, casting="same_kind")
    np.rint(values, out=values)
    if values.min() < 0 or values.max() > LEVELS:
        advice = " Divide by 255, or pass uint8." if low >= 0 and high <= 255 else " Clip or scale them."
        raise ArgumentError(
            f"{argument} holds values from {low:g} to {high:g} and floats must lie in [0, 1].{advice}"
        )
    return values.astype(np.uint16)


def _encoded_array(array: np.ndarray) -> bytes:
    """(H, W, 3) uint8 or uint16 as a PNG without a profile: sRGB."""
    bgr = cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise PictureError("a picture could not be encoded as PNG")
    return data.tobytes()


# --- PIL images ---------------------------------------------------------------------------------------------

_PNG_MODES, _TIFF_MODES = ("L", "LA", "RGB", "RGBA", "I;16"), ("CMYK", "LAB", "F", "I")


def _encoded_image(image: Image.Image, argument: str) -> tuple[str, bytes]:
    """(file extension, the image with its profile and EXIF, lossless)."""
    _check_size(image.height, image.width, argument)
    try:
        image.load()
        image = _storable(image)
        name, extension = ("TIFF", ".tif") if image.mode in _TIFF_MODES else ("PNG", ".png")
        tags: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
        with suppress(Exception):  # a broken EXIF block is no reason to refuse good pixels
            tags["exif"] = image.getexif().tobytes()
        stream = io.BytesIO()
        image.save(stream, name, **{"compress_level": 1} if name == "PNG" else {}, **tags)
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise PictureError(f"{argument}: the PIL image cannot be read ({brief(error)}).") from error
    return extension, stream.getvalue()


def _storable(image: Image.Image) -> Image.Image:
    """The same pixels in a mode that PNG or TIFF holds without loss."""
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
    if image.mode in (*_PNG_MODES, *_TIFF_MODES):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


# --- styles -------------------------------------------------------------------------------------------------


def style_of(style: Any, store: Store, argument: str = "style") -> Style:
    """One style, or several with weights as one. Raises ArgumentError, ArgumentTypeError, PresetError."""
    if isinstance(style, Mapping):
        entries = list(style.items())
    elif isinstance(style, list | tuple):
        entries = [_pair(entry) for entry in style]
    else:
        return _one_style(style, store, argument)
    if not entries:
        raise ArgumentError(f"{argument} is empty and must name at least one picture.")
    parts = [
        (_one_style(picture, store, f"{argument}[{i}]"), _weight(weight, f"the weight of {argument}[{i}]"))
        for i, (picture, weight) in enumerate(entries)
    ]
    return _mixed(parts)


def _pair(entry: Any) -> tuple[Any, Any]:
    return entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, 1.0)


def _weight(value: Any, name: str) -> float:
    found = number(name, value, least=0)
    if found == 0:
        raise ArgumentError(f"{name} is 0 and must be above 0.")
    return found


def _one_style(style: Any, store: Store, argument: str) -> Style:
    if isinstance(style, str | os.PathLike):
        return find_style(os.fsdecode(style))
    return load_style(store.path_of(style, argument))


def _mixed(parts: Sequence[tuple[Style, float]]) -> Style:
    """Their pictures, each style with its share; the look is the first one's."""
    weights: dict[Path, float] = {}
    for style, share in parts:
        total = sum(picture.weight for picture in style.pictures)
        for picture in style.pictures:
            weights[picture.path] = weights.get(picture.path, 0.0) + share * picture.weight / total

    def joined(texts) -> str:
        return ", ".join(dict.fromkeys(texts))

    styles = [style for style, _ in parts]
    return Style(
        name="+".join(style.name for style in styles),
        title=" + ".join(style.title for style in styles),
        author=joined(style.author for style in styles),
        licence=joined(style.licence for style in styles),
        description="",
        pictures=tuple(StylePicture(path, weight) for path, weight in weights.items()),
        path=styles[0].path,
        look=styles[0].look,
    )
