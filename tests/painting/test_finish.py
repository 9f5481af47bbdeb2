"""From the painted picture to the file: what finish() writes and what it finds. Painted pictures here are
made, not painted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.limits import small_disk
from helpers.pictures import painting_pixels, photo_pixels, save
from helpers.profiles import adobe_like_profile, printer_profile
from render.errors import PictureError, UsageError
from render.jobs.job import proof_path
from render.jobs.settings import Settings
from render.painting.finish import Finish, finish
from render.pictures import color, export, icc, images

SIZE = (48, 64)
PAINTED = painting_pixels(SIZE).astype(np.float32) / 255
PHOTO = photo_pixels(SIZE)
DEEP = Settings(size_px=64, bit_depth=16)


def finished(
    folder: Path,
    settings: Settings = DEEP,
    painted: np.ndarray = PAINTED,
    *,
    photo: np.ndarray = PHOTO,
    name="print.png",
    **exif,
) -> tuple[Path, tuple[str, ...]]:
    """(the print, what was found)"""
    seen = images.read(save(folder / "photo.png", photo, **exif))
    output = folder / "prints" / name
    layout = settings.layout(seen.size)
    return output, finish(
        output, painted, seen, layout, Finish.of(settings), provenance={"made": "by a test"}
    )


def shown(path: Path) -> np.ndarray:
    return images.read(path).pixels


def lab(pixels: np.ndarray) -> np.ndarray:
    return color.to_oklab(pixels)


def test_in_the_paintings_colours_the_file_is_what_was_painted(tmp_path):
    path, findings = finished(tmp_path)
    assert np.abs(shown(path) - PAINTED).max() <= 0.6 / 65535
    assert findings == ()
    assert export.read_provenance(path) == {"made": "by a test"}


@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("name", ["print.png", "print.tif"])
def test_a_picture_that_lies_in_memory_as_the_optimiser_left_it_gives_the_same_file(
    tmp_path, bit_depth, name
):
    settings = Settings(size_px=64, bit_depth=bit_depth, format=export.format_of(name))
    planes = np.ascontiguousarray(PAINTED.transpose(2, 0, 1)).transpose(
        1, 2, 0
    )  # (H, W, 3), a channel after another
    assert not planes.flags.c_contiguous
    path, _ = finished(tmp_path, settings, planes, name=name)
    other, _ = finished(tmp_path, settings, name=f"other{name}")
    assert np.array_equal(shown(path), shown(other))


def test_luminance_has_the_painted_lightness_and_the_photos_hue_and_chroma(tmp_path):
    grey = np.repeat(
        0.3 + 0.3 * PAINTED.mean(2, keepdims=True), 3, axis=2
    )  # mid greys: every colour can be shown
    pale = np.uint8(128 + (PHOTO.astype(float) - 128) * 0.2)
    path, _ = finished(tmp_path, replace(DEEP, color="luminance"), grey, photo=pale)
    found, painted, photo = lab(shown(path)), lab(grey), lab(pale / np.float32(255))
    assert np.abs(found[..., 0] - painted[..., 0]).max() < 1e-3
    assert np.abs(found[..., 1:] - photo[..., 1:]).max() < 1e-3
    assert np.abs(found[..., 0] - photo[..., 0]).max() > 0.05


def test_histogram_has_about_the_photos_mean_colour_and_the_painted_forms(tmp_path):
    path, _ = finished(tmp_path, replace(DEEP, color="histogram"))
    found, photo = shown(path), PHOTO / 255
    assert (
        np.abs(found.mean((0, 1)) - photo.mean((0, 1))).max()
        < 0.03
        < np.abs(PAINTED.mean((0, 1)) - photo.mean((0, 1))).max()
    )
    assert np.corrcoef(found.mean(2).ravel(), PAINTED.mean(2).ravel())[0, 1] > 0.6


def test_photoreal_gives_the_photos_detail_and_the_paintings_mean_colour(tmp_path):
    path, _ = finished(tmp_path, replace(DEEP, photoreal=0.5))
    found, photo = shown(path), PHOTO.astype(np.float32) / 255

    def detail(pixels):
        return np.diff(lab(pixels)[..., 0], axis=1).ravel()

    assert (
        np.corrcoef(detail(found), detail(photo))[0, 1]
        > 0.9
        > 0.3
        > np.corrcoef(detail(PAINTED), detail(photo))[0, 1]
    )
    assert (
        np.abs((lab(found) - lab(PAINTED)).mean((0, 1))).max()
        < 0.02
        < np.abs((lab(photo) - lab(PAINTED)).mean((0, 1))).max()
    )
    plain, _ = finished(tmp_path, replace(DEEP, photoreal=0.0), name="plain.png")
    assert np.abs(shown(plain) - PAINTED).max() < 2e-3  # a length of 0 keeps the painting


def test_colours_are_changed_after_the_structure_is(tmp_path):
    path, _ = finished(tmp_path, replace(DEEP, photoreal=0.1, color="histogram"))
    other, _ = finished(tmp_path, replace(DEEP, color="histogram"), name="other.png")
    photo = PHOTO / 255
    assert np.abs(shown(path).mean((0, 1)) - photo.mean((0, 1))).max() < 0.03
    assert np.abs(shown(path) - shown(other)).mean() > 0.02


@pytest.mark.parametrize("name", ["print.png", "print.tif"])
def test_sixteen_bits_hold_steps_that_eight_do_not(tmp_path, name):
    ramp = np.repeat(np.linspace(0.4, 0.42, SIZE[0] * SIZE[1], dtype=np.float32).reshape(*SIZE, 1), 3, axis=2)
    form = export.format_of(name)
    deep, _ = finished(tmp_path, replace(DEEP, format=form), ramp, name=name)
    flat, _ = finished(tmp_path, replace(DEEP, format=form, bit_depth=8), ramp, name=f"8{name}")
    assert len(np.unique(shown(deep))) > 1000 and len(np.unique(shown(flat))) < 10


def test_another_profile_is_embedded_and_shows_the_same_colours(tmp_path):
    plain, _ = finished(tmp_path)
    wide, _ = finished(tmp_path, replace(DEEP, profile="adobe-rgb"), name="wide.png")
    with Image.open(wide) as image:
        assert image.info["icc_profile"] == icc.load_profile("adobe-rgb").data
        assert (
            np.abs(np.asarray(image).astype(int) - np.asarray(Image.open(plain)).astype(int)).max() > 5
        )  # other numbers
    assert np.abs(shown(wide) - shown(plain)).max() < 2 / 255


def test_a_profile_from_a_file_is_the_one_in_the_print(tmp_path):
    (tmp_path / "wide.icc").write_bytes(adobe_like_profile())
    path, _ = finished(tmp_path, replace(DEEP, profile=str(tmp_path / "wide.icc")))
    with Image.open(path) as image:
        assert image.info["icc_profile"] == adobe_like_profile()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile": "press.icc"}, r"press\.icc: is a profile for CMYK.*--soft-proof"),
        ({"profile": "notes.txt"}, r"notes\.txt: is not an ICC profile"),
        ({"profile": "sgrb"}, r"no such profile\. Did you mean 'srgb'\?"),
        ({"soft_proof": "notes.txt"}, r"notes\.txt: is not an ICC profile"),
        ({"soft_proof": "gone.icc"}, r"gone\.icc: no such profile"),
        ({"bit_depth": 16, "format": "jpeg"}, r"jpeg holds 8 bits per channel, not 16\. Use png or tiff"),
        ({"intent": "vivid"}, r"'vivid' is no rendering intent"),
    ],
)
def test_a_file_that_cannot_be_made_is_refused_before_any_work(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "press.icc").write_bytes(printer_profile(b"CMYK"))
    (tmp_path / "notes.txt").write_text("These are not the inks you are looking for.\n" * 20)
    with pytest.raises(UsageError, match=message):
        Finish.of(Settings(**settings))


def test_a_soft_proof_shows_the_paper_and_says_whose_it_is(tmp_path):
    (tmp_path / "press.icc").write_bytes(printer_profile(b"CMYK"))
    white = PAINTED.copy()
    white[:24] = 1
    path, _ = finished(tmp_path, replace(DEEP, soft_proof=str(tmp_path / "press.icc")), white)
    proof = path.with_name("print.proof.png")
    assert proof == proof_path(path)
    red, green, blue = shown(proof)[:20].mean((0, 1))
    assert (
        shown(path)[:20].min() == 1 and max(red, green, blue) < 0.98 and blue < green - 0.03
    )  # yellowish paper
    assert export.read_provenance(proof)["proof_of"] == "print.png"
    assert sorted(file.name for file in path.parent.iterdir()) == ["print.png", "print.proof.png"]


@pytest.mark.parametrize("name", ["print.png", "print.tif", "print.jpg", "print.webp"])
def test_whose_the_photograph_is_is_told_in_the_print_and_where_it_was_taken_is_not(tmp_path, name):
    exif = Image.Exif()
    exif[0x8298], exif[0x013B] = "(c) Anna Muster", "Anna Muster"
    exif.get_ifd(0x8825)[1] = "N"
    path, _ = finished(tmp_path, Settings(size_px=64, format=export.format_of(name)), name=name, exif=exif)
    with Image.open(path) as image:
        assert image.getexif()[0x8298] == "(c) Anna Muster" and image.getexif()[0x013B] == "Anna Muster"
        assert not image.getexif().get_ifd(0x8825)


@pytest.mark.parametrize("fit", ["pad", "fill", "fit"])
def test_on_paper_the_picture_lies_where_the_layout_says(tmp_path, fit):
    settings = replace(DEEP, paper="6x4cm", dpi=60.0, bleed_mm=2.0, fit=fit)
    layout = settings.layout(SIZE)
    painted = images.resize(PAINTED, layout.picture)
    path, _ = finished(tmp_path, settings, painted)
    found = shown(path)
    (top, left), (height, width) = layout.offset, layout.picture
    assert found.shape[:2] == layout.sheet
    inside = np.zeros(layout.sheet, bool)
    inside[top : top + height, left : left + width] = True
    assert np.abs(found[inside] - painted.reshape(-1, 3)).max() <= 0.6 / 65535
    assert (found[~inside] == 1).all() and inside.all() == (fit != "pad")


def test_transparency_is_laid_out_like_the_picture_and_the_sheet_is_opaque(tmp_path):
    settings = replace(DEEP, paper="6x4cm", dpi=60.0, bleed_mm=2.0, fit="pad")
    layout = settings.layout(SIZE)
    hollow = np.dstack([PHOTO, np.zeros(SIZE, np.uint8)])
    path, _ = finished(tmp_path, settings, images.resize(PAINTED, layout.picture), photo=hollow)
    alpha = images.read(path).alpha
    (top, left), (height, width) = layout.offset, layout.picture
    assert (alpha[top : top + height, left : left + width] == 0).all()
    assert alpha.sum() == alpha.size - height * width


# --- what is found ------------------------------------------------------------------------------------------


def calm(size=(96, 128)) -> np.ndarray:
    """A painted picture, and a photograph of it."""
    return 0.25 + 0.5 * painting_pixels(size).astype(np.float32) / 255


def framed(pixels):
    pixels = pixels.copy()
    edge = np.ones(pixels.shape[:2], bool)
    edge[2:-2, 2:-2] = False
    pixels[edge] -= 0.15
    return pixels


def speckled(pixels):
    pixels = pixels.copy()
    rows, columns = np.random.default_rng(0).integers(2, 90, (2, 40))
    pixels[rows, columns] = 0
    return pixels


def clipped(pixels):
    return np.clip((pixels - 0.5) * 2.5 + 0.5, 0, 1)


@pytest.mark.parametrize(("fault", "kind"), [(framed, "border"), (speckled, "specks"), (clipped, "clipping")])
def test_a_fault_of_the_painted_picture_is_told_and_the_print_is_written(tmp_path, fault, kind):
    settings = Settings(size_px=128)
    photo = np.uint8(255 * calm())
    path, findings = finished(tmp_path, settings, fault(calm()), photo=photo)
    assert path.exists() and [finding.partition(": ")[0] for finding in findings] == [kind]
    assert finished(tmp_path, settings, calm(), photo=photo, name="sound.png")[1] == ()


def test_a_seam_is_looked_for_where_tiles_met(tmp_path):
    size = (256, 256)
    painted = calm(size)
    painted[128:, 128:] += 0.08
    settings, photo = (
        Settings(size_px=256),
        images.read(save(tmp_path / "photo.png", np.uint8(255 * calm(size)))),
    )

    def found(borders):
        return finish(
            tmp_path / "p.png",
            painted,
            photo,
            settings.layout(size),
            Finish.of(settings),
            provenance={},
            borders=borders,
        )

    assert [finding.partition(": ")[0] for finding in found(((128,), (128,)))] == ["seam"]
    assert found(((), ())) == ()


def test_the_paper_around_a_picture_is_no_frame(tmp_path):
    settings = Settings(paper="6x4cm", dpi=60.0, bleed_mm=2.0, fit="pad")
    size = settings.layout((96, 128)).picture
    _, findings = finished(tmp_path, settings, calm(size), photo=np.uint8(255 * calm()))
    assert findings == ()


def test_a_full_disk_leaves_the_print_that_was_there(tmp_path):
    noise = np.random.default_rng(0).random((*SIZE, 3), dtype=np.float32)
    path, _ = finished(tmp_path, painted=noise)
    before = path.read_bytes()
    with small_disk(), pytest.raises(PictureError, match=r"cannot write print\.png there .*Free space"):
        finished(tmp_path, replace(DEEP, color="luminance"), noise)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == ["print.png"]
