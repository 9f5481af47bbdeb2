"""What render.export promises, on real files that Pillow, OpenCV and tifffile read back."""

import math
import resource
import struct
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from render import export, icc, images
from render.errors import PictureError, UsageError

HEIGHT, WIDTH = 24, 32
SRGB = icc.load_profile("srgb")


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


MADE_BY = {"style": "paintings/impasto", "seed": 7, "photo": "Zürich – 花.jpg", "look": {"style_weight": 1.5}}
ALL_FORMATS = pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])


def test_the_ending_decides_the_format():
    assert [export.format_of(name) for name in ("a.PNG", "a.jpeg", "b/a.tiff", "a.webp")] == [
        "png",
        "jpeg",
        "tiff",
        "webp",
    ]
    with pytest.raises(
        UsageError, match=r"a\.gif: no picture format is known by the ending '\.gif'\. Use one of \.png, \.jpg"
    ):
        export.format_of("a.gif")


@ALL_FORMATS
def test_a_print_reads_back_with_its_pixels_profile_resolution_and_provenance(tmp_path, pixels, ending):
    path = tmp_path / "prints/deep" / f"a.{ending}"
    export.write(path, pixels, dpi=240, provenance=MADE_BY)
    tolerance = 0 if ending in ("png", "tif") else 0.03
    assert np.abs(images.read(path).pixels - pixels).mean() <= tolerance
    assert export.read_provenance(path) == MADE_BY
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
    assert [entry.name for entry in path.parent.iterdir()] == [f"a.{ending}"]


@ALL_FORMATS
def test_alpha_is_written_where_the_format_has_it_and_composited_over_white_where_not(tmp_path, pixels, ending):
    alpha = np.repeat(np.linspace(0, 1, WIDTH, dtype=np.float32)[None], HEIGHT, axis=0)
    path = tmp_path / f"a.{ending}"
    export.write(path, pixels, alpha=alpha, provenance=MADE_BY, quality=100)
    photo = images.read(path)
    if ending == "jpg":
        assert photo.alpha is None
    else:
        np.testing.assert_allclose(photo.alpha, alpha, atol=0.002)
    assert np.abs(photo.pixels - images.over_white(pixels, alpha)).mean() < 0.01
    assert export.read_provenance(path) == MADE_BY


@ALL_FORMATS
def test_pure_noise_can_be_written(tmp_path, ending):
    noise = np.random.default_rng(0).random((1200, 1600, 3), dtype=np.float32)
    export.write(tmp_path / f"a.{ending}", noise, provenance={}, quality=100)
    assert images.read(tmp_path / f"a.{ending}").size == (1200, 1600)


def test_values_outside_zero_and_one_are_clipped(tmp_path):
    values = np.full((16, 16, 3), 100 / 255, np.float32)
    values[0] = -0.2
    values[1] = 1.2
    export.write(tmp_path / "a.png", values, provenance={})
    written = np.asarray(Image.open(tmp_path / "a.png"))
    assert (written[0] == 0).all() and (written[1] == 255).all() and (written[2:] == 100).all()


def test_tiff_is_deflated_and_jpeg_keeps_every_colour_sample(tmp_path, pixels):
    export.write(tmp_path / "a.tif", pixels, provenance={})
    export.write(tmp_path / "a.jpg", pixels, provenance={})
    with Image.open(tmp_path / "a.tif") as tiff, Image.open(tmp_path / "a.jpg") as jpeg:
        assert tiff.info["compression"] == "tiff_adobe_deflate"
        assert {sampling[1:3] for sampling in jpeg.layer} == {(1, 1)}


@ALL_FORMATS
def test_the_same_print_is_the_same_bytes(tmp_path, pixels, ending):
    for name in ("a", "b"):
        export.write(tmp_path / f"{name}.{ending}", pixels, provenance=MADE_BY)
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    assert SRGB.data[24:30] == struct.pack(">3H", 2000, 1, 1)  # and the profile bears no date of today


def test_every_colour_of_a_print_survives_its_own_profile(tmp_path):
    levels = np.arange(0, 256, 5)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(52, -1, 3) / 255
    export.write(tmp_path / "a.png", cube.astype(np.float32), provenance={})
    np.testing.assert_array_equal(images.read(tmp_path / "a.png").pixels, cube.astype(np.float32))


@ALL_FORMATS
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_are_never_a_finished_picture(tmp_path, pixels, ending, bad):
    pixels[5, 5, 1] = bad
    with pytest.raises(PictureError, match=rf"a\.{ending}: not written, because the picture holds NaN or infinite"):
        export.write(tmp_path / f"a.{ending}", pixels, provenance={})
    assert list(tmp_path.iterdir()) == []


def test_nan_in_alpha_is_refused_too(tmp_path, pixels):
    with pytest.raises(PictureError, match="NaN"):
        export.write(tmp_path / "a.png", pixels, alpha=np.full((HEIGHT, WIDTH), np.nan, np.float32), provenance={})


def test_a_print_larger_than_its_format_allows_is_refused_with_the_formats_that_do(tmp_path):
    with pytest.raises(PictureError, match=r"WEBP holds at most 16383 px a side.*16400\. Write png or tiff"):
        export.write(tmp_path / "a.webp", np.zeros((16, 16400, 3), np.float32), provenance={})


@ALL_FORMATS
def test_a_long_provenance_fits_up_to_the_limit_and_is_refused_beyond(tmp_path, pixels, ending):
    path = tmp_path / f"a.{ending}"
    export.write(path, pixels, provenance={"note": "x" * 59_000})
    assert export.read_provenance(path) == {"note": "x" * 59_000}
    with pytest.raises(PictureError, match="provenance has 70012 characters"):
        export.write(path, pixels, provenance={"note": "x" * 70_000})
    assert export.read_provenance(path) == {"note": "x" * 59_000}


def test_a_picture_of_other_origin_has_no_provenance(tmp_path, colours):
    assert export.read_provenance(save(tmp_path / "a.png", colours)) is None
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "OLYMPUS DIGITAL CAMERA"
    assert export.read_provenance(save(tmp_path / "a.jpg", colours, exif=exif)) is None
    exif[ExifTags.Base.ImageDescription] = "42"
    assert export.read_provenance(save(tmp_path / "b.jpg", colours, exif=exif)) is None


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
    export.write(path, noise, provenance={"version": 1})
    before = path.read_bytes()
    with small_disk(), pytest.raises(PictureError, match=rf"{tmp_path}: cannot write a\.{ending} there \(.+\)\. Free space"):
        export.write(path, noise, provenance={"version": 2})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_whoever_reads_while_a_print_is_replaced_sees_the_old_or_the_new_one_whole(tmp_path):
    path = tmp_path / "a.png"
    flat = {grey: np.full((64, 64, 3), grey, np.float32) for grey in (0, 1)}
    export.write(path, flat[0], provenance={"grey": 0})
    enough = threading.Event()

    def replace_again_and_again():
        while not enough.is_set():
            for grey in flat:
                export.write(path, flat[grey], provenance={"grey": grey})

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
        export.write(open_folder / "a.png", pixels, provenance={})


def test_a_file_where_the_folder_should_be_is_named(tmp_path, pixels):
    (tmp_path / "prints").touch()
    with pytest.raises(PictureError, match=r"prints: cannot write a\.png there"):
        export.write(tmp_path / "prints/a.png", pixels, provenance={})


def test_a_written_file_has_the_permissions_of_any_other(tmp_path, pixels):
    (tmp_path / "other").touch()
    export.write(tmp_path / "a.png", pixels, provenance={})
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "other").stat().st_mode
