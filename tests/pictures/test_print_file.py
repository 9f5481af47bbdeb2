"""What render.pictures.print_file promises, on real files that Pillow, OpenCV and tifffile read back."""

import errno
import math
import os
import struct
import subprocess
import threading
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from helpers.limits import small_disk
from helpers.pictures import HEIGHT, WIDTH, save
from helpers.profiles import printer_profile
from render.errors import PictureError, UsageError
from render.pictures import exif, icc, images, print_file, quantize
from render.system import files

SRGB = icc.load_profile("srgb")
MADE_BY = {"style": "paintings/impasto", "seed": 7, "photo": "Zürich – 花.jpg", "look": {"style_weight": 1.5}}
ALL_FORMATS = pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])


def test_the_ending_decides_the_format():
    assert [print_file.format_of(name) for name in ("a.PNG", "a.jpeg", "b/a.tiff", "a.webp")] == [
        "png",
        "jpeg",
        "tiff",
        "webp",
    ]
    with pytest.raises(
        UsageError,
        match=r"a\.gif: no picture format has the file extension '\.gif'\. Use one of \.png, \.jpg",
    ):
        print_file.format_of("a.gif")


@ALL_FORMATS
def test_a_print_reads_back_with_its_pixels_profile_resolution_and_provenance(tmp_path, pixels, ending):
    path = tmp_path / "prints/deep" / f"a.{ending}"
    print_file.write(path, pixels, dpi=240, provenance=MADE_BY)
    tolerance = 0 if ending in ("png", "tif") else 0.03
    assert np.abs(images.read(path).pixels - pixels).mean() <= tolerance
    assert print_file.read_provenance(path) == MADE_BY
    with Image.open(path) as image:
        image.load()
        assert image.mode == "RGB"
        assert image.info["icc_profile"] == SRGB.data
        exif = image.getexif()
        assert exif[ExifTags.Base.Software].startswith("render ")
        assert exif[ExifTags.Base.XResolution] == exif[ExifTags.Base.YResolution] == 240
        assert exif[ExifTags.Base.ResolutionUnit] == 2
        if ending != "webp":  # which has EXIF only
            assert image.info["dpi"] == pytest.approx((240, 240), abs=0.01)
        assert exif.get(ExifTags.Base.Orientation) == 1
    assert [entry.name for entry in path.parent.iterdir()] == [f"a.{ending}"]


@ALL_FORMATS
def test_alpha_is_written_where_the_format_has_it_and_composited_over_white_where_not(
    tmp_path, pixels, ending
):
    alpha = np.repeat(np.linspace(0, 1, WIDTH, dtype=np.float32)[None], HEIGHT, axis=0)
    path = tmp_path / f"a.{ending}"
    print_file.write(path, pixels, alpha=alpha, provenance=MADE_BY, quality=100)
    photo = images.read(path)
    if ending == "jpg":
        assert photo.alpha is None
    else:
        np.testing.assert_allclose(photo.alpha, alpha, atol=0.002)
    assert np.abs(photo.pixels - images.over_white(pixels, alpha)).mean() < 0.01
    assert print_file.read_provenance(path) == MADE_BY


@ALL_FORMATS
def test_pure_noise_can_be_written(tmp_path, ending):
    noise = np.random.default_rng(0).random((1200, 1600, 3), dtype=np.float32)
    print_file.write(tmp_path / f"a.{ending}", noise, provenance={}, quality=100)
    assert images.read(tmp_path / f"a.{ending}").size == (1200, 1600)


def test_values_outside_zero_and_one_are_clipped(tmp_path):
    values = np.full((16, 16, 3), 100 / 255, np.float32)
    values[0] = -0.2
    values[1] = 1.2
    print_file.write(tmp_path / "a.png", values, provenance={})
    written = np.asarray(Image.open(tmp_path / "a.png"))
    assert (written[0] == 0).all() and (written[1] == 255).all() and (written[2:] == 100).all()


def test_tiff_is_deflated_and_jpeg_keeps_every_color_sample(tmp_path, pixels):
    print_file.write(tmp_path / "a.tif", pixels, provenance={})
    print_file.write(tmp_path / "a.jpg", pixels, provenance={})
    with Image.open(tmp_path / "a.tif") as tiff, Image.open(tmp_path / "a.jpg") as jpeg:
        assert tiff.info["compression"] == "tiff_adobe_deflate"
        assert {sampling[1:3] for sampling in jpeg.layer} == {(1, 1)}
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages[0]
        assert (page.tilewidth, page.tilelength, page.predictor.name) == (256, 256, "HORIZONTAL")


@ALL_FORMATS
def test_the_same_print_is_the_same_bytes(tmp_path, pixels, ending):
    for name in ("a", "b"):
        print_file.write(tmp_path / f"{name}.{ending}", pixels, provenance=MADE_BY)
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    assert SRGB.data[24:30] == struct.pack(">3H", 2000, 1, 1)  # and the profile bears no date of today


def test_every_color_of_a_print_survives_its_own_profile(tmp_path):
    levels = np.arange(0, 256, 5)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(52, -1, 3) / 255
    print_file.write(tmp_path / "a.png", cube.astype(np.float32), provenance={})
    np.testing.assert_array_equal(images.read(tmp_path / "a.png").pixels, cube.astype(np.float32))


@ALL_FORMATS
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_are_never_a_finished_picture(tmp_path, pixels, ending, bad):
    pixels[5, 5, 1] = bad
    with pytest.raises(
        PictureError, match=rf"a\.{ending}: not written, because the picture holds NaN or infinite"
    ):
        print_file.write(tmp_path / f"a.{ending}", pixels, provenance={})
    assert list(tmp_path.iterdir()) == []


def test_nan_in_alpha_is_refused_too(tmp_path, pixels):
    with pytest.raises(PictureError, match="NaN"):
        print_file.write(
            tmp_path / "a.png", pixels, alpha=np.full((HEIGHT, WIDTH), np.nan, np.float32), provenance={}
        )


def test_a_print_larger_than_its_format_allows_is_refused_with_the_formats_that_do(tmp_path):
    with pytest.raises(PictureError, match=r"WEBP holds at most 16383 px a side.*16400\. Write png or tiff"):
        print_file.write(tmp_path / "a.webp", np.zeros((16, 16400, 3), np.float32), provenance={})


@ALL_FORMATS
def test_a_long_provenance_fits_up_to_the_limit_and_is_refused_beyond(tmp_path, pixels, ending):
    path = tmp_path / f"a.{ending}"
    print_file.write(path, pixels, provenance={"note": "x" * 59_000})
    assert print_file.read_provenance(path) == {"note": "x" * 59_000}
    with pytest.raises(PictureError, match="provenance has 70012 characters"):
        print_file.write(path, pixels, provenance={"note": "x" * 70_000})
    assert print_file.read_provenance(path) == {"note": "x" * 59_000}


def test_a_picture_of_other_origin_has_no_provenance(tmp_path, colours):
    assert print_file.read_provenance(save(tmp_path / "a.png", colours)) is None
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "OLYMPUS DIGITAL CAMERA"
    assert print_file.read_provenance(save(tmp_path / "a.jpg", colours, exif=exif)) is None
    exif[ExifTags.Base.ImageDescription] = "42"
    assert print_file.read_provenance(save(tmp_path / "b.jpg", colours, exif=exif)) is None


@ALL_FORMATS
def test_a_full_disk_leaves_the_old_print_and_no_part_of_the_new(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    noise = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    print_file.write(path, noise, provenance={"version": 1})
    before = path.read_bytes()
    with (
        small_disk(),
        pytest.raises(PictureError, match=rf"{tmp_path}: cannot write a\.{ending} there \(.+\)\. Free space"),
    ):
        print_file.write(path, noise, provenance={"version": 2})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_whoever_reads_while_a_print_is_replaced_sees_the_old_or_the_new_one_whole(tmp_path):
    path = tmp_path / "a.png"
    flat = {gray: np.full((64, 64, 3), gray, np.float32) for gray in (0, 1)}
    print_file.write(path, flat[0], provenance={"gray": 0})
    enough = threading.Event()

    def replace_again_and_again():
        while not enough.is_set():
            for gray in flat:
                print_file.write(path, flat[gray], provenance={"gray": gray})

    writer = threading.Thread(target=replace_again_and_again)
    writer.start()
    try:
        for _ in range(200):
            assert len(np.unique(images.read(path).pixels)) == 1
    finally:
        enough.set()
        writer.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@ALL_FORMATS
def test_a_disk_that_is_really_full_says_what_was_needed_and_what_is_free(tmp_path, ending):
    """A file system of 1 MB, which only root may make."""
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", tmp_path], capture_output=True
        ).returncode
    ):
        pytest.skip("no permission to mount")
    try:
        noise = np.random.default_rng(0).random((1200, 1000, 3), dtype=np.float32)
        with pytest.raises(
            PictureError, match=r"No space left on device: up to 3\.6 MB needed, 1\.0 MB free there"
        ) as caught:
            print_file.write(tmp_path / f"a.{ending}", noise, provenance={}, quality=100)
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert list(tmp_path.iterdir()) == []
        print_file.write(tmp_path / f"a.{ending}", noise[:100, :100], provenance={})
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_stream_that_fails_half_way_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.whole_file(tmp_path / "a.bin", needs_bytes=10) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with files.whole_file(tmp_path / "a.bin", needs_bytes=10) as file:
        file.write(b"whole")
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"whole"


def test_an_unwritable_folder_is_named(open_folder, pixels, request):
    request.getfixturevalue("as_nobody")
    with pytest.raises(
        PictureError, match=r"cannot write a\.png there \(Permission denied\).*another --output"
    ):
        print_file.write(open_folder / "a.png", pixels, provenance={})


def test_a_file_where_the_folder_should_be_is_named(tmp_path, pixels):
    (tmp_path / "prints").touch()
    with pytest.raises(PictureError, match=r"prints: cannot write a\.png there"):
        print_file.write(tmp_path / "prints/a.png", pixels, provenance={})


def test_a_written_file_has_the_permissions_of_any_other(tmp_path, pixels):
    (tmp_path / "other").touch()
    print_file.write(tmp_path / "a.png", pixels, provenance={})
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "other").stat().st_mode


# --- 16 bits ------------------------------------------------------------------------------------------------

DEEP_FORMATS = pytest.mark.parametrize("ending", ["png", "tif"])


def deep_pixels(size=(300, 520), channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, C) uint16 and the float32 that gives it; more than one tile and one band."""
    values = np.random.default_rng(1).integers(0, 65536, (*size, channels), dtype=np.uint16)
    values[:20] = (np.arange(size[1]) * 7)[None, :, None]  # smooth, for the filters
    return values, (values / 65535).astype(np.float32)


def as_read(path: Path) -> np.ndarray:
    """(H, W, C) in the order of RGB, by OpenCV."""
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(values, cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


@DEEP_FORMATS
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_are_read_back_equal_by_every_reader(tmp_path, ending, channels):
    values, pixels = deep_pixels(channels=channels)
    path, alpha = tmp_path / f"a.{ending}", pixels[..., 3] if channels == 4 else None
    print_file.write(path, pixels[..., :3], alpha=alpha, provenance=MADE_BY, dpi=240, bit_depth=16)
    np.testing.assert_array_equal(as_read(path), values)
    with Image.open(path) as image:
        assert np.abs(np.asarray(image).astype(int) - (values >> 8)).max() <= 1
    if ending == "tif":
        np.testing.assert_array_equal(tifffile.imread(path), values)
    np.testing.assert_allclose(
        images.read(path).pixels if channels == 3 else images.read(path).alpha,
        pixels if channels == 3 else alpha,
        atol=1e-6,
    )


@DEEP_FORMATS
def test_a_sixteen_bit_print_carries_profile_resolution_and_provenance(tmp_path, ending):
    path, profile = tmp_path / f"a.{ending}", icc.load_profile("adobe-rgb")
    print_file.write(
        path, deep_pixels()[1], provenance=MADE_BY, dpi=240, bit_depth=16, profile=profile, carried=CARRIED
    )
    assert print_file.read_provenance(path) == MADE_BY and images.read(path).carried == CARRIED
    with Image.open(path) as image:
        assert image.info["icc_profile"] == profile.data
        assert image.info["dpi"] == pytest.approx((240, 240), abs=0.01)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_sixteen_bits_in_a_format_of_eight_are_refused_before_any_work(tmp_path, format):
    with pytest.raises(
        UsageError, match=rf"{format} holds 8 bits per channel, not 16\. Use png or tiff, or 8 bits"
    ):
        print_file.check_output(format, bit_depth=16)
    with pytest.raises(UsageError):
        print_file.write(tmp_path / f"a.{format}", deep_pixels()[1], provenance={}, bit_depth=16)
    assert list(tmp_path.iterdir()) == []
    print_file.check_output(format)
    print_file.check_output("png", bit_depth=16)


def test_other_depths_and_unknown_intents_are_refused_before_any_work():
    with pytest.raises(UsageError, match=r"12 bits per channel cannot be written\. Use 8 or 16\."):
        print_file.check_output("tiff", bit_depth=12)
    with pytest.raises(UsageError, match="'vivid' is no rendering intent"):
        print_file.check_output("tiff", intent="vivid")


@DEEP_FORMATS
@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("size", [(16, 16), (256, 256), (257, 255), (64, 1000), (65, 513), (700, 20)])
def test_every_size_is_written_whole_at_the_edges_of_bands_and_tiles(tmp_path, ending, bit_depth, size):
    values = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8).astype(np.uint16)
    path = tmp_path / f"a.{ending}"
    print_file.write(path, (values / 255).astype(np.float32), provenance={}, bit_depth=bit_depth)
    np.testing.assert_array_equal(as_read(path), values * (257 if bit_depth == 16 else 1))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_a_tiff_that_may_pass_the_limit_is_a_bigtiff_with_the_same_content(tmp_path, big, bit_depth):
    values, pixels = deep_pixels()
    values = values if bit_depth == 16 else quantize.dithered(pixels)
    path = tmp_path / "a.tif"
    limit = values.nbytes - 1 if big else values.nbytes
    print_file.write(
        path, pixels, provenance=MADE_BY, dpi=240, bit_depth=bit_depth, carried=CARRIED, big_tiff_bytes=limit
    )
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff == big
        np.testing.assert_array_equal(tiff.asarray(), values)
        assert tiff.pages[0].tags["ExifTag"].value["LensModel"] == CARRIED["LensModel"]
    np.testing.assert_array_equal(as_read(path), values)
    assert print_file.read_provenance(path) == MADE_BY and images.read(path).carried == CARRIED
    with Image.open(path) as image:
        assert image.info["dpi"] == (240, 240) and image.size == (520, 300)


@pytest.mark.parametrize("bit_depth", [8, 16])
@DEEP_FORMATS
def test_writing_needs_memory_for_bands_and_not_for_the_print(tmp_path, ending, bit_depth):
    pixels = np.full((6000, 1000, 3), 0.3, np.float32)
    tracemalloc.start()
    print_file.write(
        tmp_path / f"a.{ending}",
        pixels,
        provenance={},
        bit_depth=bit_depth,
        profile=icc.load_profile("adobe-rgb"),
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes / 2  # the same for any height; 72 MB is the picture


def test_a_png_is_no_larger_than_pillows(tmp_path):
    y, x = np.mgrid[:300, :400] / 40
    pixels = np.stack([np.sin(x * y), np.cos(x + y), np.sin(x - y)], axis=-1).astype(np.float32) / 2 + 0.5
    values = np.rint(pixels * 255).astype(np.uint8)
    print_file.write(tmp_path / "a.png", (values / 255).astype(np.float32), provenance={})
    Image.fromarray(values).save(tmp_path / "b.png")
    ours, theirs, plain = (
        (tmp_path / "a.png").stat().st_size,
        (tmp_path / "b.png").stat().st_size,
        len(zlib.compress(values)),
    )
    assert (
        ours < theirs * 1.05 + 1000 < plain
    )  # profile and EXIF take some; without filters it would be larger


# --- profiles -----------------------------------------------------------------------------------------------


@ALL_FORMATS
@pytest.mark.parametrize("name", ["adobe-rgb", "display-p3"])
def test_a_print_in_a_wide_space_shows_the_same_colors(tmp_path, pixels, ending, name):
    path, profile = tmp_path / f"a.{ending}", icc.load_profile(name)
    print_file.write(path, pixels, provenance={}, profile=profile, quality=100)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == profile.data
        stored = np.asarray(image.convert("RGB")) / 255
    assert np.abs(stored - pixels).mean() > 0.02  # the numbers are others,
    assert np.abs(images.read(path).pixels - pixels).mean() < 0.015  # the colors are not


def test_a_print_in_a_printers_own_space_is_made_by_the_intent(tmp_path, pixels):
    (tmp_path / "printer.icc").write_bytes(printer_profile())
    profile = icc.load_profile(tmp_path / "printer.icc")
    for intent in ("relative", "absolute"):
        print_file.write(tmp_path / f"{intent}.png", pixels, provenance={}, profile=profile, intent=intent)
    relative, absolute = (
        np.asarray(Image.open(tmp_path / f"{intent}.png")) for intent in ("relative", "absolute")
    )
    assert np.abs(relative.astype(int) - absolute).mean() > 1
    expected = icc.convert(pixels, profile, "absolute") * 255
    assert np.abs(absolute - expected).max() < 1


@pytest.mark.parametrize("name", icc.BUILT_IN)
def test_paper_white_stays_flat_in_every_space(tmp_path, name):
    print_file.write(
        tmp_path / "a.png", np.ones((40, 40, 3), np.float32), provenance={}, profile=icc.load_profile(name)
    )
    assert np.asarray(Image.open(tmp_path / "a.png")).min() == 255


# --- dithering ----------------------------------------------------------------------------------------------


def rounded(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)


def slow_ramp() -> np.ndarray:
    """(64, 1280, 3): a twentieth of an 8-bit level in every 64 pixels."""
    level = 100 + np.arange(20).repeat(64) / 20
    return np.broadcast_to((level / 255).astype(np.float32)[None, :, None], (64, 1280, 3))


def mean_of_blocks(values: np.ndarray, side_px: int) -> np.ndarray:
    height, width, channels = values.shape
    return values.reshape(height // side_px, side_px, width // side_px, side_px, channels).mean(axis=(1, 3))


@pytest.mark.parametrize(("to_bytes", "survives"), [(quantize.dithered, True), (rounded, False)])
def test_the_local_mean_of_a_slow_gradient_survives_dithering_and_not_rounding(to_bytes, survives):
    ramp = slow_ramp()
    off = np.abs(mean_of_blocks(to_bytes(ramp).astype(float), 16) - mean_of_blocks(ramp * 255.0, 16))
    assert (off.max() < 0.05) == survives
    steps = np.diff(mean_of_blocks(to_bytes(ramp).astype(float), 64)[0, :, 0])
    assert (steps > 0).all() == survives


@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
def test_values_on_a_level_stay_flat(level):
    flat = np.full((50, 50, 3), level / 255, np.float32)
    assert (quantize.dithered(flat) == level).all()
    assert len(np.unique(quantize.dithered(flat * 0.998 + 0.001))) == 2  # beside a level there are two


def test_dithering_moves_no_value_by_a_level_and_is_the_same_in_bands():
    values = np.random.default_rng(0).random((100, 90, 3), dtype=np.float32)
    whole = quantize.dithered(values)
    assert np.abs(whole - values * 255).max() < 1
    np.testing.assert_array_equal(
        np.vstack([quantize.dithered(values[:37]), quantize.dithered(values[37:], top_px=37)]), whole
    )
    assert (quantize.dithered(values[37:]) != whole[37:]).any()  # the pattern belongs to the place


# --- EXIF of the photograph ---------------------------------------------------------------------------------

CARRIED = {
    "Make": "Canon",
    "Model": "EOS R5",
    "Artist": "Jürgen Ødegård",
    "Copyright": "© 2024 花子",
    "LensModel": "RF50mm F1.2",
    "DateTimeOriginal": "2024:05:06 07:08:09",
    "OffsetTimeOriginal": "+02:00",
    "SubsecTimeOriginal": "123",
}


def photo_exif() -> Image.Exif:
    """A camera's, with GPS, an orientation, a description and a resolution of its own."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Canon", "EOS R5 \0"
    exif[ExifTags.Base.Artist] = "Jürgen Ødegård".encode()
    exif[ExifTags.Base.Copyright] = "© 2024 花子".encode()
    exif[ExifTags.Base.ImageDescription] = "OLYMPUS DIGITAL CAMERA"
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Software] = 6, "Lightroom"
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 72.0
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.DateTimeOriginal: "2024:05:06 07:08:09",
            ExifTags.Base.OffsetTimeOriginal: "+02:00",
            ExifTags.Base.SubsecTimeOriginal: "123",
            ExifTags.Base.LensModel: "RF50mm F1.2",
            ExifTags.Base.BodySerialNumber: "0123456789",
        }
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


@ALL_FORMATS
@pytest.mark.parametrize("source", ["jpg", "png", "webp"])
def test_who_when_and_with_what_is_carried_over_and_ours_goes_before(
    tmp_path, colours, pixels, source, ending
):
    photo = save(tmp_path / f"photo.{source}", colours, exif=photo_exif())
    carried = images.read(photo).carried
    assert carried == CARRIED
    path = tmp_path / f"a.{ending}"
    print_file.write(path, pixels, provenance=MADE_BY, dpi=240, carried=carried)
    assert images.read(path).carried == CARRIED and print_file.read_provenance(path) == MADE_BY
    with Image.open(path) as image:
        exif = image.getexif()
        assert exif[ExifTags.Base.Orientation] == 1 and exif[ExifTags.Base.XResolution] == 240
        assert exif[ExifTags.Base.Software].startswith("render ")
        assert ExifTags.IFD.GPSInfo not in exif and ExifTags.Base.BodySerialNumber not in exif.get_ifd(
            ExifTags.IFD.Exif
        )
    data = path.read_bytes()
    assert b"Canon" in data and b"0123456789" not in data
    assert b"0123456789" in photo.read_bytes() and b"OLYMPUS" not in data


def test_who_when_and_with_what_is_carried_over_from_a_tiff_too(tmp_path, colours):
    exif = photo_exif()
    exif[ExifTags.Base.Artist] = exif[ExifTags.Base.Copyright] = (
        "Jane Doe"  # Pillow writes TIFFs in ASCII only
    )
    photo = save(tmp_path / "photo.tif", colours, exif=exif.tobytes())
    assert images.read(photo).carried == CARRIED | {"Artist": "Jane Doe", "Copyright": "Jane Doe"}


def test_a_photograph_without_exif_carries_nothing(tmp_path, colours):
    assert images.read(save(tmp_path / "a.jpg", colours)).carried == {}


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0garbage",
        b"Exif\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x7f" * 90,
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_fails_no_print(tmp_path, colours, pixels, block):
    photo = save(tmp_path / "a.jpg", colours, exif=block)
    print_file.write(tmp_path / "b.jpg", pixels, provenance=MADE_BY, carried=images.read(photo).carried)
    assert print_file.read_provenance(tmp_path / "b.jpg") == MADE_BY


@ALL_FORMATS
def test_endless_texts_are_cut_and_the_longest_provenance_still_fits(tmp_path, pixels, ending):
    path = tmp_path / f"a.{ending}"
    carried = dict.fromkeys((*exif.CARRIED_MAIN, *exif.CARRIED_DETAIL), "é" * 100_000)
    print_file.write(path, pixels, provenance={"note": "x" * 59_900}, carried=carried)
    assert print_file.read_provenance(path) == {"note": "x" * 59_900}
    assert set(images.read(path).carried.values()) == {"é" * (exif.MAX_CARRIED_BYTES // 2)}


@ALL_FORMATS
def test_exif_tells_whether_the_colors_are_srgb(tmp_path, pixels, ending):
    for name, expected in (("srgb", 1), ("adobe-rgb", 0xFFFF)):
        print_file.write(tmp_path / f"a.{ending}", pixels, provenance={}, profile=icc.load_profile(name))
        with Image.open(tmp_path / f"a.{ending}") as image:
            assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] == expected
