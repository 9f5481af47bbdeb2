"""What render.images promises, on real files that Pillow or this test wrote."""

import logging
import math
import os
import resource
import struct
import tempfile
import threading
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from render import images
from render.errors import PictureError, UsageError

HEIGHT, WIDTH = 24, 32


@pytest.fixture
def colours() -> np.ndarray:
    """(H, W, 3) uint8: smooth in each channel, different in each corner."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 8, y * 10, 255 - 4 * (x + y)], axis=-1).astype(np.uint8)


@pytest.fixture
def pixels(colours) -> np.ndarray:
    return (colours / 255).astype(np.float32)


def save(path: Path, image: Image.Image | np.ndarray, **options) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


# --- profiles made by hand: ICC.1:2001-04 ----------------------------------------------------------------------------

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


# --- reading: every kind of file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "ppm", "gif", "jpg", "webp", "avif", "jp2"])
def test_a_colour_picture_of_any_common_format_reads_as_float_srgb(tmp_path, colours, pixels, ending):
    photo = images.read(save(tmp_path / f"a.{ending}", colours))
    lossless = ending in ("png", "tif", "bmp", "ppm")
    assert photo.pixels.dtype == np.float32 and photo.size == (HEIGHT, WIDTH)
    assert photo.alpha is None and photo.path == tmp_path / f"a.{ending}"
    assert np.abs(photo.pixels - pixels).mean() <= (0 if lossless else 0.05)


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
def test_grey_becomes_three_equal_channels(tmp_path, colours, ending):
    grey = colours[..., 0]
    photo = images.read(save(tmp_path / f"a.{ending}", grey, **({"quality": 100} if ending == "jpg" else {})))
    np.testing.assert_allclose(photo.pixels, np.repeat(grey[..., None] / 255, 3, axis=-1), atol=0.01)


def test_one_bit_pictures_are_black_and_white(tmp_path):
    grid = np.indices((16, 16)).sum(axis=0) % 2 == 0
    photo = images.read(save(tmp_path / "a.png", Image.fromarray(grid)))
    np.testing.assert_array_equal(photo.pixels, np.repeat(grid[..., None], 3, axis=-1).astype(np.float32))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bit_grey_keeps_its_sixteen_bits(tmp_path, ending, big_endian):
    values = np.arange(16 * 20, dtype=np.uint16).reshape(16, 20) + 30000
    if big_endian and ending == "tif":
        path = save(tmp_path / "a.tif", Image.frombytes("I;16B", (20, 16), values.astype(">u2").tobytes()))
    else:
        path = save(tmp_path / f"a.{ending}", values)
    photo = images.read(path)
    np.testing.assert_allclose(photo.pixels[..., 1], values / 65535, atol=1e-7)
    assert len(np.unique(photo.pixels)) == 16 * 20


def test_32_bit_grey_counts_as_16_bit_and_larger_values_are_refused(tmp_path):
    values = np.full((16, 16), 65535, np.int32)
    assert images.read(save(tmp_path / "a.tif", values)).pixels.min() == 1
    with pytest.raises(PictureError, match=r"b\.tif: has grey values from 70000 to 70000; 0\.\.65535 are expected"):
        images.read(save(tmp_path / "b.tif", values + 4465))


@pytest.mark.parametrize("white", [1, 255])
def test_floating_point_grey_is_read_where_its_white_is_plain(tmp_path, white):
    values = np.linspace(0, white, 256, dtype=np.float32).reshape(16, 16)
    photo = images.read(save(tmp_path / "a.tif", values))
    np.testing.assert_allclose(photo.pixels[..., 2], values / white, atol=1e-6)


@pytest.mark.parametrize("bad", [-0.5, 300.0, np.nan, np.inf])
def test_floating_point_grey_of_another_range_is_refused(tmp_path, bad):
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    values[3, 3] = bad
    with pytest.raises(PictureError, match="has grey values from .*0..1 or 0..255 are expected"):
        images.read(save(tmp_path / "a.tif", values))


def test_cmyk_without_a_profile_is_converted_as_pillow_does(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for name in ("a.tif", "a.jpg"):
        np.testing.assert_allclose(images.read(save(tmp_path / name, cmyk)).pixels[8, 8], (0, 1, 1), atol=0.02)


def test_lab_pictures_are_read_in_their_colour(tmp_path):
    red = ImageCms.profileToProfile(
        Image.new("RGB", (16, 16), (200, 30, 40)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    photo = images.read(save(tmp_path / "a.tif", red))
    np.testing.assert_allclose(photo.pixels[8, 8] * 255, (200, 30, 40), atol=6)


def test_only_the_first_of_several_pictures_is_read(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.tif", "a.webp", "a.png"):
        path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
        with Image.open(path) as image:
            assert image.n_frames == 2
        np.testing.assert_allclose(images.read(path).pixels[8, 8], (1, 0, 0), atol=0.03)


# --- reading: transparency -------------------------------------------------------------------------------------------


def test_colours_under_alpha_are_composited_over_white_and_alpha_is_kept(tmp_path, colours, pixels):
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH)
    photo = images.read(save(tmp_path / "a.png", np.dstack([colours, alpha])))
    share = alpha[..., None] / 255
    np.testing.assert_allclose(photo.alpha, alpha / 255, atol=1e-6)
    np.testing.assert_allclose(photo.pixels, pixels * share + (1 - share), atol=1e-6)


def test_an_opaque_alpha_channel_is_dropped(tmp_path, colours, pixels):
    photo = images.read(save(tmp_path / "a.png", np.dstack([colours, np.full((HEIGHT, WIDTH), 255, np.uint8)])))
    assert photo.alpha is None
    np.testing.assert_allclose(photo.pixels, pixels, atol=1e-7)


def transparent_grey() -> Image.Image:
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
        path = save(tmp_path / "a.png", transparent_grey())
    elif mode == "P":
        path = save(tmp_path / "a.png", transparent_palette(), transparency=1)
    elif mode == "1":
        path = save(tmp_path / "a.png", Image.fromarray(np.arange(256).reshape(16, 16) >= 128), transparency=0)
    else:
        image = Image.new(mode, (16, 16), 9 if mode == "L" else (9, 9, 9))
        image.paste(200 if mode == "L" else (200, 200, 200), (0, 8, 16, 16))
        path = save(tmp_path / "a.png", image, transparency=9 if mode == "L" else (9, 9, 9))
    photo = images.read(path)
    assert photo.alpha is not None and photo.alpha[0, 0] == 0 and photo.alpha[-1, -1] > 0.9
    np.testing.assert_allclose(photo.pixels[0, 0], 1)
    assert photo.pixels[-1, -1].min() < 0.9 or mode == "1"


# --- reading: orientation and colour ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright_and_probe_agrees(tmp_path, ending, orientation):
    upright = Image.new("RGB", (48, 32), "black")
    upright.paste((255, 255, 255), (0, 0, 24, 16))  # the upper left quarter is white
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)  # PIL.Image.Transpose that camera held it by
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
def test_a_grey_profile_is_applied_at_either_depth(tmp_path, depth):
    values = np.full((16, 16), 128 if depth == 8 else 128 * 257, np.uint8 if depth == 8 else np.uint16)
    photo = images.read(save(tmp_path / "a.png", values, icc_profile=linear_grey_profile()))
    np.testing.assert_allclose(photo.pixels, srgb_curve(np.array(128 / 255)), atol=1.5 / 255)


def test_sixteen_bit_grey_stays_fine_through_a_profile(tmp_path):
    values = np.arange(30000, 30256, dtype=np.uint16).reshape(16, 16)
    photo = images.read(save(tmp_path / "a.png", values, icc_profile=linear_grey_profile()))
    ramp = photo.pixels[..., 0].ravel()
    assert (np.diff(ramp) >= 0).all() and len(np.unique(ramp)) > 128  # 8 bits would leave two


@pytest.mark.parametrize("ending", ["tif", "jpg"])
def test_a_cmyk_profile_says_what_the_inks_look_like(tmp_path, ending):
    path = save(
        tmp_path / f"a.{ending}", Image.new("CMYK", (16, 16), (255, 0, 0, 0)), icc_profile=red_for_cyan_profile()
    )
    red, green, blue = images.read(path).pixels[8, 8]
    assert red > 0.9 and green < 0.15 and blue < 0.15


def test_a_grey_picture_with_an_rgb_profile_is_converted_by_it(tmp_path):
    path = save(tmp_path / "a.png", np.full((16, 16), 120, np.uint8), icc_profile=adobe_like_profile())
    expected = srgb_curve(np.array((120 / 255) ** ADOBE_GAMMA))
    np.testing.assert_allclose(images.read(path).pixels[8, 8], expected, atol=1.5 / 255)


@pytest.mark.parametrize("profile", [b"not a profile", adobe_like_profile()[:200], red_for_cyan_profile()])
def test_a_profile_that_cannot_be_used_is_a_warning_and_colours_are_taken_as_srgb(
    tmp_path, colours, pixels, caplog, profile
):
    path = save(tmp_path / "a.png", colours, icc_profile=profile)
    with caplog.at_level(logging.WARNING):
        photo = images.read(path)
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert "a.png: its colour profile cannot be used" in caplog.text


# --- reading: what goes wrong ----------------------------------------------------------------------------------------

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


@pytest.fixture
def as_nobody():
    """File permissions count for nothing as root, where containers and CI often run tests."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


@pytest.fixture
def open_folder():
    """A folder that nobody may enter, outside pytest's own (which is closed to others)."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


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
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b""))
    return path


@BOTH
@pytest.mark.parametrize("side", [24_500, 60_000])  # past Pillow's warning and past its error, were its limit ours
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_absurd_size_is_refused_by_its_header(tmp_path, reader, side):
    path = empty_png(tmp_path / "a.png", side, side)
    with pytest.raises(PictureError, match=r"a\.png: is too large \(.*more than 300 megapixels\)"):
        reader(path)


def test_a_big_scan_opens_and_pillows_own_limit_is_put_back(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    assert images.probe(empty_png(tmp_path / "a.png", 17_000, 17_000)) == (17_000, 17_000)
    assert Image.MAX_IMAGE_PIXELS == before
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a.png")


def test_pillows_limit_stays_ours_until_the_last_reader_is_done(tmp_path, colours):
    path = save(tmp_path / "a.png", colours)
    with images._opened(path):
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
    assert Image.MAX_IMAGE_PIXELS == before


@BOTH
def test_a_side_below_16_px_is_too_small_and_16_is_enough(tmp_path, reader):
    reader(save(tmp_path / "a.png", Image.new("RGB", (16, 16))))
    with pytest.raises(PictureError, match=r"b\.png: is too small \(200 x 15 px\)\. Use a picture of at least 16 px"):
        reader(save(tmp_path / "b.png", Image.new("RGB", (200, 15))))


# --- resizing --------------------------------------------------------------------------------------------------------


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
def test_resizing_gives_the_size_asked_for_and_keeps_a_flat_colour(size):
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


# --- writing ---------------------------------------------------------------------------------------------------------

MADE_BY = {"style": "paintings/impasto", "seed": 7, "photo": "Zürich – 花.jpg", "look": {"style_weight": 1.5}}
ALL_FORMATS = pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])


def test_the_ending_decides_the_format():
    assert [images.format_of(name) for name in ("a.PNG", "a.jpeg", "b/a.tiff", "a.webp")] == [
        "png",
        "jpeg",
        "tiff",
        "webp",
    ]
    with pytest.raises(
        UsageError, match=r"a\.gif: no picture format is known by the ending '\.gif'\. Use one of \.png, \.jpg"
    ):
        images.format_of("a.gif")


@ALL_FORMATS
def test_a_print_reads_back_with_its_pixels_profile_resolution_and_provenance(tmp_path, pixels, ending):
    path = tmp_path / "prints/deep" / f"a.{ending}"
    images.write(path, pixels, dpi=240, provenance=MADE_BY)
    tolerance = 0 if ending in ("png", "tif") else 0.03
    assert np.abs(images.read(path).pixels - pixels).mean() <= tolerance
    assert images.read_provenance(path) == MADE_BY
    with Image.open(path) as image:
        image.load()
        assert image.mode == "RGB"
        assert image.info["icc_profile"] == images.srgb_profile()
        exif = image.getexif()
        assert exif[ExifTags.Base.Software].startswith("render ")
        assert exif[ExifTags.Base.XResolution] == exif[ExifTags.Base.YResolution] == 240
        assert exif[ExifTags.Base.ResolutionUnit] == 2
        if ending != "webp":  # which has EXIF only
            assert image.info["dpi"] == pytest.approx((240, 240), abs=0.01)
    assert [entry.name for entry in path.parent.iterdir()] == [f"a.{ending}"]


@ALL_FORMATS
def test_alpha_is_written_where_the_format_has_it_and_composited_over_white_where_not(tmp_path, pixels, ending):
    alpha = np.repeat(np.linspace(0, 1, WIDTH, dtype=np.float32)[None], HEIGHT, axis=0)
    path = tmp_path / f"a.{ending}"
    images.write(path, pixels, alpha=alpha, provenance=MADE_BY, quality=100)
    photo = images.read(path)
    if ending == "jpg":
        assert photo.alpha is None
    else:
        np.testing.assert_allclose(photo.alpha, alpha, atol=0.002)
    assert np.abs(photo.pixels - images.over_white(pixels, alpha)).mean() < 0.01
    assert images.read_provenance(path) == MADE_BY


@ALL_FORMATS
def test_pure_noise_can_be_written(tmp_path, ending):
    noise = np.random.default_rng(0).random((1200, 1600, 3), dtype=np.float32)
    images.write(tmp_path / f"a.{ending}", noise, provenance={}, quality=100)
    assert images.read(tmp_path / f"a.{ending}").size == (1200, 1600)


def test_values_are_rounded_not_cut_off_and_clipped(tmp_path):
    values = np.full((16, 16, 3), 100.6 / 255, np.float32)
    values[0] = -0.2
    values[1] = 1.2
    images.write(tmp_path / "a.png", values, provenance={})
    written = np.asarray(Image.open(tmp_path / "a.png"))
    assert (written[0] == 0).all() and (written[1] == 255).all() and (written[2:] == 101).all()


def test_tiff_is_deflated_and_jpeg_keeps_every_colour_sample(tmp_path, pixels):
    images.write(tmp_path / "a.tif", pixels, provenance={})
    images.write(tmp_path / "a.jpg", pixels, provenance={})
    with Image.open(tmp_path / "a.tif") as tiff, Image.open(tmp_path / "a.jpg") as jpeg:
        assert tiff.info["compression"] == "tiff_adobe_deflate"
        assert {sampling[1:3] for sampling in jpeg.layer} == {(1, 1)}


@ALL_FORMATS
def test_the_same_print_is_the_same_bytes(tmp_path, pixels, ending):
    for name in ("a", "b"):
        images.write(tmp_path / f"{name}.{ending}", pixels, provenance=MADE_BY)
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    assert images.srgb_profile()[24:30] == struct.pack(">3H", 2000, 1, 1)  # and the profile bears no date of today


def test_every_colour_of_a_print_survives_its_own_profile(tmp_path):
    levels = np.arange(0, 256, 5)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(52, -1, 3) / 255
    images.write(tmp_path / "a.png", cube.astype(np.float32), provenance={})
    np.testing.assert_array_equal(images.read(tmp_path / "a.png").pixels, cube.astype(np.float32))


@ALL_FORMATS
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_are_never_a_finished_picture(tmp_path, pixels, ending, bad):
    pixels[5, 5, 1] = bad
    with pytest.raises(PictureError, match=rf"a\.{ending}: not written, because the picture holds NaN or infinite"):
        images.write(tmp_path / f"a.{ending}", pixels, provenance={})
    assert list(tmp_path.iterdir()) == []


def test_nan_in_alpha_is_refused_too(tmp_path, pixels):
    with pytest.raises(PictureError, match="NaN"):
        images.write(tmp_path / "a.png", pixels, alpha=np.full((HEIGHT, WIDTH), np.nan, np.float32), provenance={})


def test_a_print_larger_than_its_format_allows_is_refused_with_the_formats_that_do(tmp_path):
    with pytest.raises(PictureError, match=r"WEBP holds at most 16383 px a side.*16400\. Write png or tiff"):
        images.write(tmp_path / "a.webp", np.zeros((16, 16400, 3), np.float32), provenance={})


@ALL_FORMATS
def test_a_long_provenance_fits_up_to_the_limit_and_is_refused_beyond(tmp_path, pixels, ending):
    path = tmp_path / f"a.{ending}"
    images.write(path, pixels, provenance={"note": "x" * 59_000})
    assert images.read_provenance(path) == {"note": "x" * 59_000}
    with pytest.raises(PictureError, match="provenance has 70012 characters"):
        images.write(path, pixels, provenance={"note": "x" * 70_000})
    assert images.read_provenance(path) == {"note": "x" * 59_000}


def test_a_picture_of_other_origin_has_no_provenance(tmp_path, colours):
    assert images.read_provenance(save(tmp_path / "a.png", colours)) is None
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "OLYMPUS DIGITAL CAMERA"
    assert images.read_provenance(save(tmp_path / "a.jpg", colours, exif=exif)) is None
    exif[ExifTags.Base.ImageDescription] = "42"
    assert images.read_provenance(save(tmp_path / "b.jpg", colours, exif=exif)) is None


@contextmanager
def small_disk():
    """No file may grow past 1000 bytes: the kernel then fails writes as a full disk or quota does. A context and not a
    fixture: pytest's own output may be a file, and must not be written meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@ALL_FORMATS
def test_a_full_disk_leaves_the_old_print_and_no_part_of_the_new(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    noise = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    images.write(path, noise, provenance={"version": 1})
    before = path.read_bytes()
    with small_disk(), pytest.raises(PictureError, match=rf"{tmp_path}: cannot write a\.{ending} there \(.+\)\. Free space"):
        images.write(path, noise, provenance={"version": 2})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_whoever_reads_while_a_print_is_replaced_sees_the_old_or_the_new_one_whole(tmp_path):
    path = tmp_path / "a.png"
    flat = {grey: np.full((64, 64, 3), grey, np.float32) for grey in (0, 1)}
    images.write(path, flat[0], provenance={"grey": 0})
    enough = threading.Event()

    def replace_again_and_again():
        while not enough.is_set():
            for grey in flat:
                images.write(path, flat[grey], provenance={"grey": grey})

    writer = threading.Thread(target=replace_again_and_again)
    writer.start()
    try:
        for _ in range(200):
            assert len(np.unique(images.read(path).pixels)) == 1
    finally:
        enough.set()
        writer.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_an_unwritable_folder_is_named(open_folder, pixels, request):
    request.getfixturevalue("as_nobody")
    with pytest.raises(PictureError, match=r"cannot write a\.png there \(Permission denied\).*another --output"):
        images.write(open_folder / "a.png", pixels, provenance={})


def test_a_file_where_the_folder_should_be_is_named(tmp_path, pixels):
    (tmp_path / "prints").touch()
    with pytest.raises(PictureError, match=r"prints: cannot write a\.png there"):
        images.write(tmp_path / "prints/a.png", pixels, provenance={})


def test_a_written_file_has_the_permissions_of_any_other(tmp_path, pixels):
    (tmp_path / "other").touch()
    images.write(tmp_path / "a.png", pixels, provenance={})
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "other").stat().st_mode
