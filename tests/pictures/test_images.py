"""What render.images promises, on real files that Pillow, OpenCV or this test wrote."""

import logging
import os
import struct
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from helpers.pictures import HEIGHT, WIDTH, save
from helpers.profiles import (
    ADOBE_GAMMA,
    ADOBE_XYZ,
    SRGB_XYZ,
    adobe_like_profile,
    linear_grey_profile,
    red_for_cyan_profile,
    srgb_curve,
)
from render.errors import PictureError
from render.pictures import images

# --- reading: every kind of file ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "ppm", "gif", "jpg", "webp", "avif", "jp2"])
def test_a_color_picture_of_any_common_format_reads_as_float_srgb(tmp_path, colours, pixels, ending):
    photo = images.read(save(tmp_path / f"a.{ending}", colours))
    lossless = ending in ("png", "tif", "bmp", "ppm")
    assert photo.pixels.dtype == np.float32 and photo.size == (HEIGHT, WIDTH)
    assert photo.alpha is None and photo.path == tmp_path / f"a.{ending}"
    assert np.abs(photo.pixels - pixels).mean() <= (0 if lossless else 0.05)


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
def test_gray_becomes_three_equal_channels(tmp_path, colours, ending):
    gray = colours[..., 0]
    photo = images.read(save(tmp_path / f"a.{ending}", gray, **({"quality": 100} if ending == "jpg" else {})))
    np.testing.assert_allclose(photo.pixels, np.repeat(gray[..., None] / 255, 3, axis=-1), atol=0.01)


def test_one_bit_pictures_are_black_and_white(tmp_path):
    grid = np.indices((16, 16)).sum(axis=0) % 2 == 0
    photo = images.read(save(tmp_path / "a.png", Image.fromarray(grid)))
    np.testing.assert_array_equal(photo.pixels, np.repeat(grid[..., None], 3, axis=-1).astype(np.float32))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bit_gray_keeps_its_sixteen_bits(tmp_path, ending, big_endian):
    values = np.arange(16 * 20, dtype=np.uint16).reshape(16, 20) + 30000
    if big_endian and ending == "tif":
        path = save(tmp_path / "a.tif", Image.frombytes("I;16B", (20, 16), values.astype(">u2").tobytes()))
    else:
        path = save(tmp_path / f"a.{ending}", values)
    photo = images.read(path)
    np.testing.assert_allclose(photo.pixels[..., 1], values / 65535, atol=1e-7)
    assert len(np.unique(photo.pixels)) == 16 * 20


def test_32_bit_gray_counts_as_16_bit_and_larger_values_are_refused(tmp_path):
    values = np.full((16, 16), 65535, np.int32)
    assert images.read(save(tmp_path / "a.tif", values)).pixels.min() == 1
    with pytest.raises(
        PictureError, match=r"b\.tif: has gray values from 70000 to 70000; 0\.\.65535 are expected"
    ):
        images.read(save(tmp_path / "b.tif", values + 4465))


@pytest.mark.parametrize("white", [1, 255])
def test_floating_point_gray_is_read_where_its_white_is_plain(tmp_path, white):
    values = np.linspace(0, white, 256, dtype=np.float32).reshape(16, 16)
    photo = images.read(save(tmp_path / "a.tif", values))
    np.testing.assert_allclose(photo.pixels[..., 2], values / white, atol=1e-6)


@pytest.mark.parametrize("bad", [-0.5, 300.0, np.nan, np.inf])
def test_floating_point_gray_of_another_range_is_refused(tmp_path, bad):
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    values[3, 3] = bad
    with pytest.raises(PictureError, match="has gray values from .*0..1 or 0..255 are expected"):
        images.read(save(tmp_path / "a.tif", values))


def test_cmyk_without_a_profile_is_converted_as_pillow_does(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for name in ("a.tif", "a.jpg"):
        np.testing.assert_allclose(
            images.read(save(tmp_path / name, cmyk)).pixels[8, 8], (0, 1, 1), atol=0.02
        )


def test_lab_pictures_are_read_in_their_color(tmp_path):
    red = ImageCms.profileToProfile(
        Image.new("RGB", (16, 16), (200, 30, 40)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    photo = images.read(save(tmp_path / "a.tif", red))
    np.testing.assert_allclose(photo.pixels[8, 8] * 255, (200, 30, 40), atol=6)


def test_only_the_first_of_several_pictures_is_read(tmp_path):
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    for name in ("a.gif", "a.tif", "a.webp", "a.png"):
        path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
        with Image.open(path) as image:
            assert image.n_frames == 2
        np.testing.assert_allclose(images.read(path).pixels[8, 8], (1, 0, 0), atol=0.03)


# --- reading: 16 bits in color -----------------------------------------------------------------------------


def deep_colors(channels: int = 3) -> np.ndarray:
    """(24, 32, C) uint16; alpha is not opaque."""
    return np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, channels), dtype=np.uint16)


def save_deep(path: Path, values: np.ndarray, **options) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, values, photometric="rgb", **options)
    else:
        cv2.imwrite(
            str(path),
            cv2.cvtColor(values, cv2.COLOR_RGB2BGR if values.shape[2] == 3 else cv2.COLOR_RGBA2BGRA),
        )
    return path


def with_chunk(path: Path, kind: bytes, data: bytes) -> Path:
    """The PNG with one more chunk, after its header."""
    png = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(png[:33] + chunk + png[33:])
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.tif", {}),
        ("a.tif", {"byteorder": ">"}),
        ("a.tif", {"tile": (16, 16)}),
        ("a.tif", {"compression": "adobe_deflate", "predictor": True}),
        ("a.tif", {"bigtiff": True}),
    ],
)
def test_sixteen_bit_color_keeps_its_sixteen_bits(tmp_path, name, options):
    values = deep_colors()
    photo = images.read(save_deep(tmp_path / name, values, **options))
    np.testing.assert_allclose(photo.pixels, values / 65535, atol=1e-7)
    assert np.abs(photo.pixels - (values >> 8) / 255).max() > 1e-3  # eight bits would not do
    assert photo.alpha is None


@pytest.mark.parametrize("reader", [images.read, images.probe])
def test_sixteen_bits_in_separate_planes_are_refused_and_eight_are_read(tmp_path, reader, colours, pixels):
    for name, values in (("deep.tif", deep_colors()), ("plain.tif", colours)):
        tifffile.imwrite(
            tmp_path / name,
            np.ascontiguousarray(values.transpose(2, 0, 1)),
            photometric="rgb",
            planarconfig="separate",
        )
    with pytest.raises(
        PictureError, match=r"deep\.tif: is a 16-bit TIFF with its colors in separate planes.*interleaved"
    ):
        reader(tmp_path / "deep.tif")
    reader(tmp_path / "plain.tif")
    np.testing.assert_array_equal(images.read(tmp_path / "plain.tif").pixels, pixels)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_alpha_is_kept(tmp_path, name):
    values = deep_colors(4)
    path = save_deep(tmp_path / name, values, **({"extrasamples": ["unassalpha"]} if name == "a.tif" else {}))
    photo, share = images.read(path), values[..., 3:] / 65535
    np.testing.assert_allclose(photo.alpha, share[..., 0], atol=1e-7)
    np.testing.assert_allclose(photo.pixels, values[..., :3] / 65535 * share + 1 - share, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_pictures_stand_upright_as_eight_bit_ones_do(tmp_path, name, orientation):
    values = deep_colors()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if name == "a.png":
        deep = with_chunk(
            save_deep(tmp_path / name, values), b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")
        )
    else:
        deep = save_deep(tmp_path / name, values, extratags=[(274, 3, 1, orientation, True)])
    plain = save(tmp_path / f"plain{deep.suffix}", (values >> 8).astype(np.uint8), exif=exif)
    photo = images.read(deep)
    assert photo.size == images.probe(deep)
    np.testing.assert_allclose(photo.pixels, images.read(plain).pixels, atol=1 / 255)
    assert len(np.unique(photo.pixels)) > 256


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_profile_of_a_sixteen_bit_picture_is_applied_in_sixteen_bits(tmp_path, name):
    values = np.repeat(
        np.linspace(20000, 21000, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH, 1), 3, axis=2
    )
    data = adobe_like_profile()
    if name == "a.png":
        path = with_chunk(save_deep(tmp_path / name, values), b"iCCP", b"x\0\0" + zlib.compress(data))
    else:
        path = save_deep(tmp_path / name, values, iccprofile=data)
    photo = images.read(path)
    np.testing.assert_allclose(photo.pixels, srgb_curve((values / 65535) ** ADOBE_GAMMA), atol=1e-3)
    assert len(np.unique(photo.pixels[..., 1])) > 500


def test_an_unusable_profile_of_a_sixteen_bit_picture_is_a_warning(tmp_path, caplog):
    values = deep_colors()
    for profile in (b"not a profile", red_for_cyan_profile()):
        path = save_deep(tmp_path / "a.tif", values, iccprofile=profile)
        with caplog.at_level(logging.WARNING):
            np.testing.assert_allclose(images.read(path).pixels, values / 65535, atol=1e-7)
        assert "a.tif: its color profile cannot be used" in caplog.text
        caplog.clear()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_sixteen_bit_picture_is_never_read(tmp_path, name, share):
    noise = np.random.default_rng(0).integers(0, 65536, (200, 300, 3), dtype=np.uint16)
    path = save_deep(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(PictureError, match=name):
        images.read(path)


# --- reading: transparency ----------------------------------------------------------------------------------


def test_colors_under_alpha_are_composited_over_white_and_alpha_is_kept(tmp_path, colours, pixels):
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH)
    photo = images.read(save(tmp_path / "a.png", np.dstack([colours, alpha])))
    share = alpha[..., None] / 255
    np.testing.assert_allclose(photo.alpha, alpha / 255, atol=1e-6)
    np.testing.assert_allclose(photo.pixels, pixels * share + (1 - share), atol=1e-6)


def test_an_opaque_alpha_channel_is_dropped(tmp_path, colours, pixels):
    photo = images.read(
        save(tmp_path / "a.png", np.dstack([colours, np.full((HEIGHT, WIDTH), 255, np.uint8)]))
    )
    assert photo.alpha is None
    np.testing.assert_allclose(photo.pixels, pixels, atol=1e-7)


def transparent_gray() -> Image.Image:
    return Image.merge(
        "LA", [Image.new("L", (16, 16), 0), Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))]
    )


def transparent_palette() -> Image.Image:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 16, 8))
    return image


@pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB", "1"])
def test_every_way_of_being_transparent_is_understood(tmp_path, mode):
    if mode == "LA":
        path = save(tmp_path / "a.png", transparent_gray())
    elif mode == "P":
        path = save(tmp_path / "a.png", transparent_palette(), transparency=1)
    elif mode == "1":
        path = save(
            tmp_path / "a.png", Image.fromarray(np.arange(256).reshape(16, 16) >= 128), transparency=0
        )
    else:
        image = Image.new(mode, (16, 16), 9 if mode == "L" else (9, 9, 9))
        image.paste(200 if mode == "L" else (200, 200, 200), (0, 8, 16, 16))
        path = save(tmp_path / "a.png", image, transparency=9 if mode == "L" else (9, 9, 9))
    photo = images.read(path)
    assert photo.alpha is not None and photo.alpha[0, 0] == 0 and photo.alpha[-1, -1] > 0.9
    np.testing.assert_allclose(photo.pixels[0, 0], 1)
    assert photo.pixels[-1, -1].min() < 0.9 or mode == "1"


# --- reading: orientation and color ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright_and_probe_agrees(tmp_path, ending, orientation):
    upright = Image.new("RGB", (48, 32), "black")
    upright.paste((255, 255, 255), (0, 0, 24, 16))  # the upper left quarter is white
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(
        orientation
    )  # PIL.Image.Transpose that camera held it by
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = save(tmp_path / f"a.{ending}", stored, exif=exif)
    photo = images.read(path)
    assert images.probe(path) == photo.size == (32, 48)
    np.testing.assert_allclose(photo.pixels[4:12, 4:20].mean(), 1, atol=0.02)
    np.testing.assert_allclose(photo.pixels[20:, 28:].mean(), 0, atol=0.02)
    np.testing.assert_allclose(photo.pixels[20:, 4:20].mean(), 0, atol=0.02)


def chunks_of(png: bytes) -> list[bytes]:
    chunks, place = [], 8
    while place < len(png):
        length = 12 + struct.unpack_from(">I", png, place)[0]
        chunks.append(png[place : place + length])
        place += length
    return chunks


def test_orientation_is_found_in_a_png_that_keeps_it_after_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save(tmp_path / "a.png", Image.new("RGB", (48, 32)), exif=exif)
    order = [b"IHDR", b"IDAT", b"eXIf", b"IEND"]
    chunks = sorted(chunks_of(path.read_bytes()), key=lambda chunk: order.index(chunk[4:8]))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert images.probe(path) == images.read(path).size == (48, 32)


def test_orientation_is_found_in_a_png_by_imagemagick(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n", zip=True)
    path = save(tmp_path / "a.png", Image.new("RGB", (48, 32)), pnginfo=text)
    assert images.probe(path) == images.read(path).size == (48, 32)


def test_probing_a_png_does_not_read_its_pixels(tmp_path, colours):
    path = save(tmp_path / "a.png", colours)
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 4
    data[start : start + 20] = bytes(20)
    path.write_bytes(data)
    assert images.probe(path) == (HEIGHT, WIDTH)
    with pytest.raises(PictureError):
        images.read(path)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_a_wide_gamut_profile_is_converted_to_srgb(tmp_path, ending):
    stored = np.array((100, 160, 120)) / 255
    solid = Image.new("RGB", (16, 16), (100, 160, 120))
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(ending, {})
    photo = images.read(save(tmp_path / f"a.{ending}", solid, icc_profile=adobe_like_profile(), **options))
    xyz = stored**ADOBE_GAMMA @ np.array(ADOBE_XYZ)
    expected = srgb_curve(xyz @ np.linalg.inv(np.array(SRGB_XYZ)))
    assert np.abs(expected - stored).max() > 0.1  # the profile matters
    np.testing.assert_allclose(photo.pixels[8, 8], expected, atol=2.5 / 255)


def test_a_profile_does_not_touch_alpha(tmp_path, colours):
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH)
    path = save(tmp_path / "a.png", np.dstack([colours, alpha]), icc_profile=adobe_like_profile())
    np.testing.assert_allclose(images.read(path).alpha, alpha / 255, atol=1e-6)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_gray_profile_is_applied_at_either_depth(tmp_path, depth):
    values = np.full((16, 16), 128 if depth == 8 else 128 * 257, np.uint8 if depth == 8 else np.uint16)
    photo = images.read(save(tmp_path / "a.png", values, icc_profile=linear_grey_profile()))
    np.testing.assert_allclose(photo.pixels, srgb_curve(np.array(128 / 255)), atol=1.5 / 255)


def test_sixteen_bit_gray_stays_fine_through_a_profile(tmp_path):
    values = np.arange(30000, 30256, dtype=np.uint16).reshape(16, 16)
    photo = images.read(save(tmp_path / "a.png", values, icc_profile=linear_grey_profile()))
    ramp = photo.pixels[..., 0].ravel()
    assert (np.diff(ramp) >= 0).all() and len(np.unique(ramp)) > 128  # 8 bits would leave two


@pytest.mark.parametrize("ending", ["tif", "jpg"])
def test_a_cmyk_profile_says_what_the_inks_look_like(tmp_path, ending):
    path = save(
        tmp_path / f"a.{ending}",
        Image.new("CMYK", (16, 16), (255, 0, 0, 0)),
        icc_profile=red_for_cyan_profile(),
    )
    red, green, blue = images.read(path).pixels[8, 8]
    assert red > 0.9 and green < 0.15 and blue < 0.15


def test_a_gray_picture_with_an_rgb_profile_is_converted_by_it(tmp_path):
    path = save(tmp_path / "a.png", np.full((16, 16), 120, np.uint8), icc_profile=adobe_like_profile())
    expected = srgb_curve(np.array((120 / 255) ** ADOBE_GAMMA))
    np.testing.assert_allclose(images.read(path).pixels[8, 8], expected, atol=1.5 / 255)


@pytest.mark.parametrize("profile", [b"not a profile", adobe_like_profile()[:200], red_for_cyan_profile()])
def test_a_profile_that_cannot_be_used_is_a_warning_and_colors_are_taken_as_srgb(
    tmp_path, colours, pixels, caplog, profile
):
    path = save(tmp_path / "a.png", colours, icc_profile=profile)
    with caplog.at_level(logging.WARNING):
        photo = images.read(path)
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert "a.png: its color profile cannot be used" in caplog.text


# --- reading: what goes wrong -------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("reader", [images.read, images.probe])


@BOTH
def test_a_missing_picture_is_named(tmp_path, reader):
    with pytest.raises(PictureError, match=r"photos/a\.jpg: no such file\. Check the path"):
        reader(tmp_path / "photos/a.jpg")


@BOTH
def test_a_folder_is_not_a_picture(tmp_path, reader):
    with pytest.raises(PictureError, match="is a folder, not a picture"):
        reader(tmp_path)


@BOTH
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, reader):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PictureError, match="is not a regular file"):
        reader(tmp_path / "a.png")


@BOTH
def test_an_empty_file_is_named(tmp_path, reader):
    (tmp_path / "a.png").touch()
    with pytest.raises(PictureError, match=r"a\.png: is empty \(0 bytes\)\. Export or copy it again"):
        reader(tmp_path / "a.png")


@BOTH
def test_a_file_that_is_no_image_is_told_from_its_content_not_its_name(tmp_path, reader):
    (tmp_path / "a.jpg").write_text("a letter to a friend\n" * 40)
    with pytest.raises(PictureError, match=r"a\.jpg: is not an image, .*Export it again as JPEG, PNG"):
        reader(tmp_path / "a.jpg")


@BOTH
def test_formats_that_start_other_programs_are_not_opened(tmp_path, reader, colours):
    with pytest.raises(PictureError, match="is not an image, .*of a kind that is not supported"):
        reader(save(tmp_path / "a.eps", colours))


@BOTH
def test_a_picture_without_permission_to_read_says_so(open_folder, colours, reader, request):
    path = save(open_folder / "a.png", colours)
    path.chmod(0)
    request.getfixturevalue("as_nobody")
    with pytest.raises(PictureError, match=r"a\.png: permission denied\. Allow reading it"):
        reader(path)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "gif", "bmp", "avif", "jp2"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_picture_is_never_read(tmp_path, ending, share):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{ending}", noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PictureError, match=rf"a\.{ending}: "):
        images.read(path)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
def test_truncation_is_told_with_the_size_that_is_left(tmp_path, ending):
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{ending}", noise)
    path.write_bytes(path.read_bytes()[:50_000])
    fix = "Export it again and rerun: finished prints are kept."
    with pytest.raises(
        PictureError, match=rf"a\.{ending}: cannot be read as an image \(truncated after 50\.0 kB\)\. {fix}"
    ):
        images.read(path)


def test_a_damaged_png_is_never_read(tmp_path, colours):
    path = save(tmp_path / "a.png", colours)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 30] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(PictureError, match="cannot be read as an image"):
        images.read(path)


def empty_png(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )
    return path


@BOTH
@pytest.mark.parametrize(
    "side", [24_500, 60_000]
)  # past Pillow's warning and past its error, were its limit ours
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_absurd_size_is_refused_by_its_header(tmp_path, reader, side):
    path = empty_png(tmp_path / "a.png", side, side)
    with pytest.raises(PictureError, match=r"a\.png: is too large \(.*more than 300 megapixels\)"):
        reader(path)


def test_a_big_scan_opens_and_pillows_own_limit_is_put_back(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    assert images.probe(empty_png(tmp_path / "a.png", 17_000, 17_000)) == (17_000, 17_000)
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a.png")


def test_pillows_limit_stays_ours_until_the_last_reader_is_done(tmp_path, colours):
    path = save(tmp_path / "a.png", colours)
    with images.opened(path):
        images.probe(path)
        assert Image.MAX_IMAGE_PIXELS == images.MAX_INPUT_MEGAPIXELS * 1_000_000


def test_pillows_limit_is_put_back_after_many_threads(tmp_path, colours):
    before = Image.MAX_IMAGE_PIXELS
    path = save(tmp_path / "a.png", colours)
    threads = [threading.Thread(target=lambda: [images.read(path) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS


@BOTH
def test_a_side_below_16_px_is_too_small_and_16_is_enough(tmp_path, reader):
    reader(save(tmp_path / "a.png", Image.new("RGB", (16, 16))))
    with pytest.raises(
        PictureError, match=r"b\.png: is too small \(200 x 15 px\)\. Use a picture of at least 16 px"
    ):
        reader(save(tmp_path / "b.png", Image.new("RGB", (200, 15))))


# --- resizing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "long_side_px", "expected"),
    [
        ((600, 800), 400, (300, 400)),
        ((800, 600), 1200, (1200, 900)),
        ((333, 1000), 100, (33, 100)),
        ((1, 5000), 50, (1, 50)),
    ],
)
def test_fit_keeps_the_shape_and_sets_the_long_side(size, long_side_px, expected):
    assert images.fit(size, long_side_px) == expected


def test_resizing_to_the_same_size_changes_nothing(pixels):
    np.testing.assert_array_equal(images.resize(pixels, (HEIGHT, WIDTH)), pixels)


@pytest.mark.parametrize("size", [(7, 11), (12, 16), (23, 31), (12, 48), (80, 90), (60, 10)])
def test_resizing_gives_the_size_asked_for_and_keeps_a_flat_color(size):
    flat = np.full((HEIGHT, WIDTH, 3), (0.2, 0.5, 0.7), np.float32)
    result = images.resize(flat, size)
    assert result.shape == (*size, 3) and result.dtype == np.float32
    np.testing.assert_allclose(result, np.broadcast_to(flat[:1, :1], result.shape), atol=1e-6)


def test_halving_is_the_mean_of_each_four_pixels(pixels):
    means = pixels.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(images.resize(pixels, (HEIGHT // 2, WIDTH // 2)), means, atol=1e-6)


def test_enlarging_a_hard_edge_stays_within_zero_and_one():
    edge = np.zeros((20, 20), np.float32)
    edge[:, 10:] = 1
    result = images.resize(edge, (90, 90))
    assert result.shape == (90, 90) and result.min() == 0 and result.max() == 1


def test_reading_at_a_size_resizes_pixels_and_alpha_alike(tmp_path, colours):
    alpha = np.repeat(np.linspace(0, 255, WIDTH).astype(np.uint8)[None], HEIGHT, axis=0)
    path = save(tmp_path / "a.png", np.dstack([colours, alpha]))
    photo = images.read(path, long_side_px=16)
    assert photo.size == (12, 16) and photo.alpha.shape == (12, 16)
    assert images.read(path, long_side_px=64).size == (48, 64)
