"""Picture files in: any common file becomes float sRGB pixels.

Pixels are numpy float32 (H, W, 3), sRGB in [0, 1]; sizes are (height, width).
"""

import contextlib
import io
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, TiffImagePlugin, UnidentifiedImageError

from render.errors import PictureError, UsageError
from render.pictures import decoder_warnings, exif, icc
from render.pictures.paper import Layout, fit
from render.system import files
from render.system.files import Content

MAX_INPUT_MEGAPIXELS = 300  # float32 RGB of such a scan takes 3.6 GB; Pillow alone would refuse it from 179
MAX_FILE_BYTES = 4 * 10**9  # 300 megapixels of four 16-bit channels have 2.4 GB, uncompressed
MIN_SIDE_PX = 16  # the deepest feature map the losses use has stride 16

# Decoders we know; Pillow has more, and some run other programs (EPS starts Ghostscript).
INPUT_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "PPM")
PICTURE_ENDINGS = frozenset(  # file extensions of what counts as a picture when a folder is searched
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".tif",
        ".tiff",
        ".webp",
        ".avif",
        ".jp2",
        ".j2k",
        ".jpx",
        ".bmp",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture as read. Under transparency the pixels are already composited over white."""

    pixels: np.ndarray  # (H, W, 3) float32, sRGB in [0, 1]
    alpha: np.ndarray | None  # (H, W) float32 in [0, 1]; None when every pixel is opaque
    path: Path
    carried: Mapping[str, str] = field(default_factory=dict)  # its EXIF that a print carries on: name -> text

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[:2]


# --- reading ------------------------------------------------------------------------------------------------


def load(path: Path | str) -> Content:
    """A picture file's bytes, for `probe` and `read`, so that what is hashed is what is decoded."""
    return files.read(Path(path), at_most_bytes=MAX_FILE_BYTES)


def probe(source: Content | Path | str) -> tuple[int, int]:
    """(height, width) as `read` would give it, from the header alone. Raises the same errors, except those of
    damaged pixels."""
    with opened(source) as image:
        return _upright_size(image)


def read(source: Content | Path | str, *, long_side_px: int | None = None) -> Photo:
    """The picture (of several in one file, the first) in sRGB, upright, at its own size or scaled to
    `long_side_px`. Raises PictureError, which names the file and the fix."""
    content = source if isinstance(source, Content) else load(source)
    path = content.path
    with opened(content) as image:
        carried = exif.carried(image)
        turn = _TURNS.get(exif.orientation(image))
        sixteen_bit = _is_deep_color(image)
        # libtiff and libpng, which OpenCV uses, write to standard error; Pillow's other decoders do not.
        quiet = not sixteen_bit and image.format != "TIFF"
        with contextlib.nullcontext() if quiet else decoder_warnings.libraries_named():
            image.load()  # 8 of 16 bits, but unlike OpenCV Pillow refuses a truncated file
            deep = _deep_color(image, content.data) if sixteen_bit else None
        upright: Image.Image = image
        if turn is not None:
            upright = image.transpose(turn)
            deep = None if deep is None else _turned(deep, turn)
    pixels, alpha = _to_srgb(upright, path) if deep is None else _deep_to_srgb(deep, upright, path)
    del image, upright, deep
    if alpha is not None:
        pixels = over_white(pixels, alpha)
    if long_side_px is not None:
        size = fit(pixels.shape[:2], long_side_px)
        pixels = resize(pixels, size)
        alpha = None if alpha is None else resize(alpha, size)
    return Photo(pixels, alpha, path, carried)


def over_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) composited over white in sRGB, as browsers and Photoshop do. alpha: (H, W)."""
    return (1 - (1 - pixels) * alpha[..., None]).astype(np.float32, copy=False)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation -> what makes it upright (Exif 2.32, 4.6.4 A)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (width, height) if exif.orientation(image) >= 5 else (height, width)


@contextlib.contextmanager
def opened(source: Content | Path | str) -> Iterator[ImageFile.ImageFile]:
    """The picture, its header checked. Whatever goes wrong here or in the body is raised as a PictureError,
    which names the file and the fix."""
    path = source.path if isinstance(source, Content) else Path(source)
    try:
        with _stream(source) as file, _raised_pixel_limit(), decoder_warnings.named(path):
            image = Image.open(file, formats=INPUT_FORMATS)
            _check_size(path, *image.size)
            _check_planes(path, image)
            yield image
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{path}: is not an image, is cut short, or is of a kind that is not supported. Export it "
            f"again as "
            "JPEG, PNG, TIFF, WebP or AVIF (8 or 16 bits per channel), or take the file away."
        ) from error
    except MemoryError as error:
        raise PictureError(
            f"{path}: does not fit into memory. Make it smaller, or close other programs, and rerun: "
            "finished prints are kept."
        ) from error
    except (
        Exception
    ) as error:  # Pillow's decoders: OSError, SyntaxError, ValueError, struct.error, zlib.error
        raise PictureError(
            f"{path}: cannot be read as an image ({_damage(path, error)}). "
            "Export it again and rerun: finished prints are kept."
        ) from error


def _stream(source: Content | Path | str) -> contextlib.AbstractContextManager[BinaryIO]:
    return io.BytesIO(source.data) if isinstance(source, Content) else files.opened(Path(source))


_limit_lock = threading.Lock()
_limit_users = 0
_limit_outside: int | None = None


@contextlib.contextmanager
def _raised_pixel_limit() -> Iterator[None]:
    """Pillow's process-wide limit is ours while any thread decodes; the last one to finish restores it."""
    global _limit_users, _limit_outside
    with _limit_lock:
        if _limit_users == 0:
            _limit_outside = Image.MAX_IMAGE_PIXELS
            Image.MAX_IMAGE_PIXELS = MAX_INPUT_MEGAPIXELS * 1_000_000
        _limit_users += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_users -= 1
            if _limit_users == 0:
                Image.MAX_IMAGE_PIXELS = _limit_outside


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_INPUT_MEGAPIXELS * 1_000_000:
        raise _too_large(path, f"{width} x {height} px, ")
    if min(width, height) < MIN_SIDE_PX:
        raise PictureError(
            f"{path}: is too small ({width} x {height} px). Use a picture of at least {MIN_SIDE_PX} px "
            f"on each side."
        )


def _check_planes(path: Path, image: Image.Image) -> None:
    """Pillow and OpenCV both misread 16-bit TIFFs that store one color after the other, without an error."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    if image.tag_v2.get(ExifTags.Base.PlanarConfiguration) != 2:
        return
    if max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (8,))) > 8:
        raise PictureError(
            f"{path}: is a 16-bit TIFF with its colors in separate planes, which cannot be read. "
            "Export it with interleaved colors (Photoshop: pixel order interleaved) and rerun: finished "
            "prints are kept."
        )


def _too_large(path: Path, size: str = "") -> PictureError:
    return PictureError(
        f"{path}: is too large ({size}more than {MAX_INPUT_MEGAPIXELS} megapixels). Make it smaller, or "
        f"check "
        "that it is the picture you mean: a small file that claims such a size may be harmful."
    )


def _damage(path: Path, error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    if isinstance(error, EOFError) or any(sign in text.lower() for sign in ("truncated", "unexpected end")):
        return f"truncated after {_file_size(path)}"
    return f"damaged: {text}"


def _file_size(path: Path) -> str:
    size_bytes = path.stat().st_size
    for unit, bytes_each in (("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= bytes_each:
            return f"{size_bytes / bytes_each:.1f} {unit}"
    return f"{size_bytes} bytes"


# --- color -------------------------------------------------------------------------------------------------


def _to_srgb(image: Image.Image, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """pixels (H, W, 3) and alpha (H, W) or None, from an upright image of any mode; its ICC profile
    applied."""
    profile = _profile(image, path)
    if image.mode.startswith(("I", "F")):
        return _gray_to_srgb(_deep_gray(image, path), profile), None
    image, alpha = _split_alpha(image)
    return _unit(np.asarray(_eight_bit_to_srgb(image, profile, path))), alpha


def _unit(values: np.ndarray) -> np.ndarray:
    return np.divide(values, np.float32(255), dtype=np.float32)


def _is_deep_color(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not loaded yet is RGB or RGBA with 16 bits per channel.

    `Image.mode` does not show it; the raw modes in `ImageFile.tile`, which Pillow hands to its decoders, do.
    """
    raw_modes = {
        argument
        for tile in image.tile
        for argument in (tile.args if isinstance(tile.args, tuple) else (tile.args,))
    }
    return any(str(argument).startswith(("RGB;16", "RGBA;16")) for argument in raw_modes)


def _deep_color(image: Image.Image, data: bytes) -> np.ndarray | None:
    """(H, W, 3 or 4) uint16, as stored in the file; None where OpenCV cannot read it or reads something else
    than Pillow."""
    values: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if (
        values is None
        or values.dtype != np.uint16
        or values.shape != (image.height, image.width, len(image.getbands()))
    ):
        return None
    order = cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    values = np.asarray(cv2.cvtColor(values, order))
    near = cv2.absdiff((values >> 8).astype(np.uint8), np.asarray(image)).max() <= 1
    return values if near else None


def _turned(values: np.ndarray, turn: Image.Transpose) -> np.ndarray:
    """(H, W, C) or (W, H, C), as Pillow's transpose() turns 8-bit pictures."""
    match turn:
        case Image.Transpose.ROTATE_90:  # Pillow's turn counterclockwise
            return cv2.rotate(values, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case Image.Transpose.ROTATE_180:
            return cv2.rotate(values, cv2.ROTATE_180)
        case Image.Transpose.ROTATE_270:
            return cv2.rotate(values, cv2.ROTATE_90_CLOCKWISE)
        case Image.Transpose.FLIP_LEFT_RIGHT:
            return cv2.flip(values, 1)
        case Image.Transpose.FLIP_TOP_BOTTOM:
            return cv2.flip(values, 0)
        case Image.Transpose.TRANSPOSE:
            return cv2.transpose(values)
        case Image.Transpose.TRANSVERSE:
            return cv2.rotate(cv2.transpose(values), cv2.ROTATE_180)


def _deep_to_srgb(values: np.ndarray, image: Image.Image, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """pixels (H, W, 3) and alpha (H, W) or None, from (H, W, 3 or 4) uint16; the image's ICC profile
    applied."""
    pixels = np.divide(values[..., :3], np.float32(65535), dtype=np.float32)
    alpha = np.divide(values[..., 3], np.float32(65535), dtype=np.float32) if values.shape[2] == 4 else None
    if _profile(image, path) is not None:
        try:
            pixels = icc.to_srgb(pixels, image.info["icc_profile"])
        except (OSError, ImageCms.PyCMSError, UsageError) as error:
            _warn_profile(path, error)
    return pixels, alpha if alpha is not None and alpha.min() < 1 else None


def _deep_gray(image: Image.Image, path: Path) -> np.ndarray:
    """(H, W) float32 in [0, 1] from 16-bit, 32-bit or floating-point gray."""
    values = np.asarray(image).astype(np.float32)
    white = _white(values, image.mode)
    if white is None:
        expected = "0..1 or 0..255" if image.mode == "F" else "0..65535"
        raise PictureError(
            f"{path}: has gray values from {values.min():g} to {values.max():g}; {expected} are expected. "
            "Export it as 8-bit or 16-bit gray and rerun: finished prints are kept."
        )
    return values / np.float32(white)


def _white(values: np.ndarray, mode: str) -> int | None:
    low, high = values.min(), values.max()
    for white in (1, 255) if mode == "F" else (65535,):
        if low >= 0 and high <= white:  # false for NaN
            return white
    return None


def _split_alpha(image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
    """The colors as L, RGB, CMYK or LAB, and (H, W) alpha where anything is transparent."""
    if image.mode == "1":
        image = image.convert("LA" if image.has_transparency_data else "L")
    if image.has_transparency_data:
        gray = image.mode in ("L", "LA", "La")
        image = image.convert("LA" if gray else "RGBA")
        alpha = _unit(np.asarray(image.getchannel("A")))
        return image.convert("L" if gray else "RGB"), alpha if alpha.min() < 1 else None
    return image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB"), None


def _profile(image: Image.Image, path: Path) -> ImageCms.ImageCmsProfile | None:
    """The embedded profile; None means sRGB. A damaged one causes a warning, not a failed print."""
    data = image.info.get("icc_profile")
    if not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        _space(profile)
        return profile
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        _warn_profile(path, error)
        return None


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    """RGB, GRAY, CMYK, ... Raises ValueError where these four bytes of the profile are no text."""
    return cast(Any, profile.profile).xcolor_space.strip()


def _warn_profile(path: Path, error: Exception | str) -> None:
    decoder_warnings.warn_once(
        path, f"its color profile cannot be used ({error}); its colors are taken as sRGB."
    )


def _eight_bit_to_srgb(
    image: Image.Image, profile: ImageCms.ImageCmsProfile | None, path: Path
) -> Image.Image:
    if profile is None:
        return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy
    if _space(profile) == "RGB" and image.mode == "L":
        image = image.convert("RGB")  # gray written by programs that always embed an RGB profile
    try:
        return _through_profile(image, profile)
    except (ImageCms.PyCMSError, ValueError) as error:
        _warn_profile(path, error)
        return image.convert("RGB")


def _through_profile(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    result = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        # with black point compensation: Photoshop's default
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return cast(Image.Image, result)  # None only where the image itself is changed


def _gray_to_srgb(values: np.ndarray, profile: ImageCms.ImageCmsProfile | None) -> np.ndarray:
    """(H, W, 3) from (H, W). Little CMS takes 8-bit gray only, so finer gray goes through its curve,
    interpolated."""
    if profile is not None and _space(profile) == "GRAY":
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        curve = _unit(np.asarray(_through_profile(ramp, profile))[0, :, 1])
        values = np.interp(values, np.linspace(0, 1, 256), curve).astype(np.float32)
    return np.repeat(values[..., None], 3, axis=-1)


# --- resizing -----------------------------------------------------------------------------------------------


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) or (H, W) float32 in [0, 1] at another (height, width): area means down, cubic up."""
    down = tuple(min(have, want) for have, want in zip(pixels.shape[:2], size, strict=True))
    pixels = _resized(
        pixels, down, cv2.INTER_AREA
    )  # cv2's area method only shrinks, so it goes first and alone
    pixels = _resized(pixels, size, cv2.INTER_CUBIC)
    return np.clip(pixels, 0, 1)  # cubic overshoots at edges


def _resized(pixels: np.ndarray, size: tuple[int, int], method: int) -> np.ndarray:
    if pixels.shape[:2] == tuple(size):
        return pixels
    height, width = size
    return cv2.resize(pixels, (width, height), interpolation=method)


# --- on paper -----------------------------------------------------------------------------------------------


def crop(pixels: np.ndarray, layout: Layout) -> np.ndarray:
    """The part of the photograph, (H, W, 3) or (H, W), that is printed: a view."""
    top, left, height, width = layout.crop
    return pixels[top : top + height, left : left + width]


def place(pixels: np.ndarray, layout: Layout, background: float = 1.0) -> np.ndarray:
    """The rendered picture, (H, W, 3) or (H, W), on its sheet, which is `background` around it (1 is white).

    Raises ValueError when the picture has another size than was planned.
    """
    if pixels.shape[:2] != layout.picture:
        raise ValueError(f"a picture of {pixels.shape[:2]} px was planned as {layout.picture}")
    if layout.sheet == layout.picture:
        return pixels
    (top, left), (height, width) = layout.offset, layout.picture
    below, right = layout.sheet[0] - top - height, layout.sheet[1] - left - width
    value = (background,) * 3
    return cv2.copyMakeBorder(pixels, top, below, left, right, cv2.BORDER_CONSTANT, value=value)
