"""Pictures and styles as Python users have them: what is read of them is what is read of a file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import painting_pixels, photo_pixels, save, save_painting
from helpers.profiles import adobe_like_profile
from render.api.inputs import Store, style_of
from render.errors import ArgumentError, ArgumentTypeError, PictureError, PresetError
from render.jobs.styles import find_style
from render.pictures import images

PHOTO = photo_pixels()


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


def read(store: Store, picture) -> images.Photo:
    return images.read(store.path_of(picture, "photo"))


# --- arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        PHOTO,
        PHOTO.astype(np.uint16) * 257,
        (PHOTO.astype(np.uint16) * 257).astype(">u2"),
        PHOTO / np.float32(255),
        PHOTO / 255,
        np.asfortranarray(PHOTO),
    ],
    ids=["uint8", "uint16", "big-endian", "float32", "float64", "columns first"],
)
def test_an_array_is_read_as_the_file_that_holds_it(store, photo, array):
    seen = read(store, array)
    assert np.array_equal(seen.pixels, images.read(photo).pixels) and seen.alpha is None


def test_sixteen_bits_stay_sixteen_bits_and_floats_are_rounded_to_them(store):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 24, 3), dtype=np.uint16)
    assert np.array_equal(read(store, deep).pixels, deep / np.float32(65535))
    shifted = deep / 65535 + 0.4 / 65535
    assert np.array_equal(read(store, np.clip(shifted, 0, 1)).pixels, deep / np.float32(65535))


def test_what_becomes_an_array_is_taken_as_one(store, photo):
    import torch

    assert np.array_equal(read(store, torch.from_numpy(PHOTO)).pixels, images.read(photo).pixels)
    with pytest.raises(ArgumentTypeError, match="^photo: cannot be read as an array .*grad"):
        store.path_of(torch.ones((20, 20, 3), requires_grad=True), "photo")


@pytest.mark.parametrize(
    ("array", "kind", "said"),
    [
        (np.zeros((20, 24)), ArgumentError, r"photo has shape (20, 24) and must be (H, W, 3): RGB. For grey"),
        (np.zeros((3, 20, 24)), ArgumentError, r"(3, 20, 24) and must be (H, W, 3): RGB. Channels come last"),
        (np.zeros((20, 24, 4)), ArgumentError, r"With transparency, pass a PIL image"),
        (np.zeros((1, 20, 24, 3)), ArgumentError, r"photo has shape (1, 20, 24, 3)"),
        (
            np.zeros((20, 8, 3)),
            ArgumentError,
            r"photo has 20 x 8 px (height x width) and must have at least 16",
        ),
        (np.zeros((0, 20, 3)), ArgumentError, r"photo has 0 x 20 px"),
        (
            np.zeros((20, 24, 3), int),
            ArgumentTypeError,
            r"photo has dtype int64 and must be uint8, uint16 or",
        ),
        (np.zeros((20, 24, 3), bool), ArgumentTypeError, r"photo has dtype bool"),
        (np.zeros((20, 24, 3), "U1"), ArgumentTypeError, r"photo has dtype <U1"),
        (
            np.full((20, 24, 3), 200.0),
            ArgumentError,
            r"values from 200 to 200 and floats must lie in [0, 1]. Divide",
        ),
        (
            np.full((20, 24, 3), -0.1),
            ArgumentError,
            r"values from -0.1 to -0.1 and floats must lie in [0, 1]. Clip",
        ),
        (
            [[0, 1]],
            ArgumentTypeError,
            r"photo is [[0, 1]] (list) and must be a path, an array (H, W, 3) or a PIL",
        ),
        (None, ArgumentTypeError, r"photo is None (NoneType)"),
    ],
)
def test_a_wrong_array_is_refused_by_its_arguments_name(store, array, kind, said):
    with pytest.raises(kind) as caught:
        store.path_of(array, "photo")
    assert said in str(caught.value)
    assert isinstance(caught.value, TypeError if kind is ArgumentTypeError else ValueError)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_refused_with_its_place(store, value):
    array = np.zeros((20, 24, 3), np.float32)
    array[3, 4, 1] = value
    with pytest.raises(ArgumentError, match=r"^photo holds NaN or infinite values, the first at \(3, 4, 1\)"):
        store.path_of(array, "photo")


def test_a_picture_of_too_many_megapixels_is_refused_before_it_is_copied(store):
    huge = np.broadcast_to(np.zeros(3, np.uint8), (20_000, 20_000, 3))
    with pytest.raises(ArgumentError, match="20000 x 20000 px .* at most 300 megapixels"):
        store.path_of(huge, "photo")


# --- PIL images ---------------------------------------------------------------------------------------------


def pictures_of_all_modes() -> dict[str, Image.Image]:
    rgb = Image.fromarray(PHOTO)
    palette = rgb.quantize(16)
    seen_through = palette.copy()
    seen_through.info["transparency"] = 3
    alpha = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey_alpha = rgb.convert("L")
    grey_alpha.putalpha(alpha)
    deep_grey = Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257)
    return {
        "RGB": rgb,
        "RGBA": rgba,
        "L": rgb.convert("L"),
        "LA": grey_alpha,
        "1": rgb.convert("1"),
        "P": palette,
        "P seen through": seen_through,
        "CMYK": rgb.convert("CMYK"),
        "I;16": deep_grey,
        "F": Image.fromarray(PHOTO[..., 0].astype(np.float32) / 255),
    }


@pytest.mark.parametrize("mode", pictures_of_all_modes())
def test_a_pil_image_is_read_as_the_file_it_is_saved_to(store, tmp_path, mode):
    image = pictures_of_all_modes()[mode]
    tiff = mode in ("CMYK", "F")
    options = {"transparency": 3} if mode == "P seen through" else {}
    path = save(tmp_path / ("photo.tif" if tiff else "photo.png"), image, **options)
    for given in (image, Image.open(path)):
        seen, expected = read(store, given), images.read(path)
        assert np.array_equal(seen.pixels, expected.pixels)
        assert (seen.alpha is None) == (expected.alpha is None) == ("A" not in mode and "through" not in mode)
        assert seen.alpha is None or np.array_equal(seen.alpha, expected.alpha)


def test_a_pil_images_mode_that_no_file_holds_is_converted(store):
    assert np.abs(read(store, Image.fromarray(PHOTO).convert("HSV")).pixels - PHOTO / 255).max() < 0.03


def test_a_pil_images_profile_and_exif_count(store, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "Ada"  # turned, and by whom
    profile = adobe_like_profile()
    path = save(tmp_path / "p.jpg", PHOTO, icc_profile=profile, exif=exif, quality=95)
    seen, expected = read(store, Image.open(path)), images.read(path)
    assert seen.size == expected.size == (64, 48) and seen.carried == expected.carried == {"Artist": "Ada"}
    assert np.array_equal(seen.pixels, expected.pixels)
    without = save(tmp_path / "q.jpg", PHOTO, exif=exif, quality=95)
    assert not np.array_equal(seen.pixels, images.read(without).pixels)  # the profile was seen


def test_a_pil_image_that_is_too_small_or_cut_short_is_refused_by_its_arguments_name(store, tmp_path, photo):
    with pytest.raises(ArgumentError, match="^photo has 8 x 20 px"):
        store.path_of(Image.new("RGB", (20, 8)), "photo")
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo.read_bytes()[:300])
    with pytest.raises(PictureError, match="^photo: the PIL image cannot be read"):
        store.path_of(Image.open(cut), "photo")


# --- paths and the private folder ---------------------------------------------------------------------------


def test_a_path_stays_that_file_and_becomes_absolute(store, photo, monkeypatch):
    monkeypatch.chdir(photo.parent)
    assert store.path_of("photo.png", "photo") == store.path_of(Path("photo.png"), "photo") == photo


def test_equal_pictures_are_one_file_that_goes_and_comes_back_under_its_name(store):
    first, other = store.path_of(PHOTO, "photo"), store.path_of(painting_pixels(), "style")
    assert store.path_of(PHOTO.copy(), "photo") == first != other
    store.clear()
    assert not first.exists() and not other.exists()
    assert store.path_of(PHOTO, "photo") == first and first.exists()


def test_the_private_folder_is_its_owners_alone_and_goes_with_the_store():
    store = Store()
    folder = store.path_of(PHOTO, "photo").parent
    assert folder.stat().st_mode & 0o077 == 0
    store.close()
    assert not folder.exists()
    forgotten = Store()
    folder = forgotten.path_of(PHOTO, "photo").parent
    del forgotten
    assert not folder.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_the_private_folder_outlives_a_process_that_was_forked(tmp_path):
    code = """
import os, sys, numpy
from render.api.inputs import Store
store = Store()
path = store.path_of(numpy.zeros((20, 20, 3)), "photo")
if os.fork() == 0:
    sys.exit(0)
os.wait()
print(path.exists(), path.parent)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there, folder = done.stdout.split()
    assert there == "True" and not Path(folder).exists()


# --- styles -------------------------------------------------------------------------------------------------


def test_a_style_is_a_shipped_name_a_file_or_a_picture(store, painting):
    assert style_of("impasto_nocturne", store) == find_style("impasto_nocturne")
    assert style_of(painting, store).pictures[0].path == painting
    made = style_of(painting_pixels(), store)
    assert made.name.startswith("array-") and np.array_equal(
        images.read(made.pictures[0].path).pixels, images.read(painting).pixels
    )


def test_several_styles_are_one_with_their_weights(store, painting, tmp_path):
    other = save_painting(tmp_path / "other.png", seed=1)
    for mix in (
        {painting: 3, other: 1},
        [(painting, 3), (other, 1.0)],
        [(str(painting), np.float32(3)), other],
    ):
        style = style_of(mix, store)
        assert style.name == "painting+other"
        assert [(picture.path, picture.weight) for picture in style.pictures] == [(painting, 3), (other, 1)]
    twice = style_of([painting, painting, other], store)
    assert [picture.weight for picture in twice.pictures] == [2, 1]


def test_a_preset_in_a_mixture_has_its_share_and_the_first_ones_look_counts(store, painting):
    preset = find_style("impasto_nocturne")
    mixed = style_of([("impasto_nocturne", 2), (painting, 1)], store)
    assert sum(p.weight for p in mixed.pictures if p.path != painting) == pytest.approx(2)
    assert mixed.look == preset.look and style_of([painting, "impasto_nocturne"], store).look == {}


@pytest.mark.parametrize(
    ("mix", "kind", "said"),
    [
        ([], ArgumentError, "style is empty"),
        ({}, ArgumentError, "style is empty"),
        ([("x.png", 0)], ArgumentError, "the weight of style[0] is 0 and must be above 0"),
        ([("x.png", -1)], ArgumentError, "the weight of style[0] is -1"),
        (
            [("x.png", float("nan"))],
            ArgumentError,
            "the weight of style[0] is nan and must be a finite number",
        ),
        ([("x.png", "much")], ArgumentTypeError, "the weight of style[0] is 'much' and must be a number"),
        (["x.png", 0.5], ArgumentTypeError, "style[1] is 0.5 (float)"),
        (["x.png", np.zeros((2, 2))], ArgumentError, "style[1] has shape (2, 2)"),
        (7, ArgumentTypeError, "style is 7 (int) and must be a path"),
        ("impasto_nocturn", PresetError, "Did you mean 'impasto_nocturne'?"),
    ],
)
def test_a_wrong_style_is_refused_by_its_place(folder, store, mix, kind, said):
    with pytest.raises(kind) as caught:
        style_of(mix, store)
    assert said in str(caught.value)
