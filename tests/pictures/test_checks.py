"""Faults planted in paintings are found; paintings and photographs as they are draw no alarm."""

import tracemalloc
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from render.pictures import images
from render.pictures.checks import examine

PAINTINGS = sorted((Path(__file__).parents[2] / "presets" / "paintings").glob("*.jpg"))
CALM = (
    "stained_glass",
    "watercolour_wash",
    "impasto_nocturne",
    "neoplastic_grid",
)  # 2 gray levels show there
SIDE_PX, TILE_PX = 1024, 256
TILE = np.s_[TILE_PX : 2 * TILE_PX, TILE_PX : 2 * TILE_PX]


@cache
def _read(name: str) -> np.ndarray:
    (path,) = [path for path in PAINTINGS if path.stem == name]
    return images.read(path, long_side_px=SIDE_PX).pixels


def by_name(name: str) -> np.ndarray:
    """(H, W, 3) float32: a shipped painting, 1024 px long, as a print would be; the caller's own copy."""
    return _read(name).copy()


def sample(name: str) -> np.ndarray:
    return np.float32(getattr(data, name)() / 255)


def photo_for(pixels: np.ndarray) -> np.ndarray:
    """A photograph that has nothing to do with the print."""
    return images.resize(sample("chelsea"), pixels.shape[:2])


def grid(pixels: np.ndarray, tile_px: int = TILE_PX):
    return tuple(tuple(range(tile_px, side, tile_px)) for side in pixels.shape[:2])


def kinds(pixels: np.ndarray, photo: np.ndarray | None = None, tile_px: int = TILE_PX) -> list[str]:
    photo = photo_for(pixels) if photo is None else photo
    return [finding.kind for finding in examine(pixels, photo, borders=grid(pixels, tile_px))]


def only(pixels: np.ndarray, photo: np.ndarray | None = None):
    """The one finding."""
    (finding,) = examine(pixels, photo_for(pixels) if photo is None else photo, borders=grid(pixels))
    return finding


def rounded(pixels: np.ndarray) -> np.ndarray:
    """As it comes from an 8-bit file."""
    return np.float32(np.rint(255 * np.clip(pixels, 0, 1)) / 255)


def enlarged(pixels: np.ndarray) -> np.ndarray:
    return images.resize(pixels, (2 * pixels.shape[0], 2 * pixels.shape[1]))


# --- no false alarm -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAINTINGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("tile_px", [192, 256, 512])
def test_a_painting_as_it_is_draws_no_alarm(path, tile_px):
    assert kinds(by_name(path.stem), tile_px=tile_px) == []


@pytest.mark.parametrize(
    "name", ["stained_glass", "neoplastic_grid", "sumi_e_ink"]
)  # flat areas, straight edges, paper
def test_an_enlarged_painting_draws_no_alarm(name):
    assert kinds(enlarged(by_name(name))) == []


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket", "chelsea"])
def test_a_photograph_as_it_is_draws_no_alarm(name):
    photo = sample(name)
    assert kinds(photo, photo) == []
    assert kinds(enlarged(photo), enlarged(photo)) == []


def test_one_color_draws_no_alarm():
    plain = np.full((300, 400, 3), 0.5, np.float32)
    assert kinds(plain, plain) == [] and kinds(plain, photo_for(plain)) == []


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (60, 90), (257, 511)])
def test_small_prints_are_examined_too(size):
    pixels = images.resize(by_name("marbling"), size)
    assert kinds(pixels) == []


# --- seams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALM)
@pytest.mark.parametrize("levels", [2, -4])
def test_a_tile_a_few_gray_levels_off_is_found_where_the_picture_is_calm(name, levels):
    pixels = by_name(name)
    pixels[TILE] += levels / 255
    assert only(rounded(pixels)).kind == "seam"


@pytest.mark.parametrize("path", PAINTINGS, ids=lambda path: path.stem)
def test_a_tile_eight_gray_levels_off_is_found_everywhere_and_told_with_its_place(path):
    pixels = by_name(path.stem)
    pixels[TILE] += 8 / 255
    finding = only(rounded(pixels))
    assert finding.kind == "seam" and "gray levels" in finding.message and "larger tiles" in finding.message
    top, left, height, width = finding.place
    assert {top, left} <= {TILE_PX - 1, TILE_PX, 2 * TILE_PX - 1} and {height, width} == {2, TILE_PX}


@pytest.mark.parametrize(
    "name", ["stained_glass", "watercolour_wash", "impasto_nocturne", "art_nouveau_curves"]
)
def test_a_tile_of_more_contrast_is_found(name):
    pixels = by_name(name)
    pixels[TILE] = 0.5 + 1.05 * (pixels[TILE] - 0.5)
    assert kinds(rounded(pixels)) == ["seam"]


@pytest.mark.parametrize("name", ["impasto_nocturne", "pastel_hatching", "marbling"])
def test_a_tile_moved_by_one_pixel_is_found(name):
    pixels = by_name(name)
    pixels[TILE] = np.roll(pixels, 1, 1)[TILE]
    assert kinds(pixels) == ["seam"]


@pytest.mark.parametrize("name", ["cubist_facets", "watercolour_wash", "pastel_hatching", "stained_glass"])
def test_a_texture_of_its_own_in_every_tile_is_found(name):
    pixels, random = by_name(name), np.random.default_rng(0)
    for row in (0, *grid(pixels)[0]):
        for column in (0, *grid(pixels)[1]):
            tile = pixels[row : row + TILE_PX, column : column + TILE_PX]
            texture = cv2.GaussianBlur(random.standard_normal(tile.shape[:2], dtype=np.float32), (0, 0), 1.5)
            tile += (8 / 255 / texture.std() * texture)[..., None]
    assert only(rounded(pixels)).kind == "seam"
    assert kinds(by_name(name)) == []


def test_the_same_texture_over_all_tiles_is_no_seam():
    pixels = by_name("watercolour_wash")
    texture = np.random.default_rng(0).standard_normal(pixels.shape[:2], dtype=np.float32)
    pixels += (8 / 255 * texture)[..., None]
    assert kinds(rounded(pixels)) == []


def test_a_straight_edge_on_a_tile_border_is_no_seam():
    pixels = by_name("watercolour_wash")
    pixels[2 * TILE_PX :] *= 0.7  # a horizon
    assert kinds(pixels) == []


# --- dead patches -------------------------------------------------------------------------------------------


def with_patch(pixels: np.ndarray, share: float, color) -> np.ndarray:
    side = round((share * pixels.shape[0] * pixels.shape[1]) ** 0.5)
    pixels = pixels.copy()
    pixels[300 : 300 + side, 200 : 200 + side] = color
    return pixels


@pytest.mark.parametrize("path", PAINTINGS, ids=lambda path: path.stem)
def test_a_gray_patch_is_found_and_told_with_its_place(path):
    pixels = with_patch(by_name(path.stem), 0.05, 0.5)
    (finding,) = [item for item in examine(pixels, photo_for(pixels)) if item.kind == "dead patch"]
    assert finding.place[:2] == pytest.approx((300, 200), abs=8) and "RGB 128, 128, 128" in finding.message
    assert "4%" in finding.message or "5%" in finding.message


def test_a_small_flat_spot_is_no_dead_patch():
    pixels = with_patch(by_name("marbling"), 0.005, 0.5)
    assert examine(pixels, photo_for(pixels)) == ()


def test_flat_areas_are_the_style_where_most_of_the_print_is_flat():
    cut_paper = np.repeat(
        np.repeat(np.random.default_rng(0).random((6, 8, 3), dtype=np.float32), 90, 0), 90, 1
    )
    assert examine(cut_paper, photo_for(cut_paper)) == ()


@pytest.mark.parametrize(("color", "kept"), [(1.0, True), (0.02, True), (0.5, False)])
def test_plain_paper_of_the_photograph_may_stay_plain_white_or_black_but_not_gray(color, kept):
    pixels = by_name("marbling")
    print_, photo = with_patch(pixels, 0.04, color), with_patch(photo_for(pixels), 0.04, color)
    assert (examine(print_, photo) == ()) == kept
    assert "dead patch" in kinds(print_)  # the photograph has something there


# --- specks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAINTINGS, ids=lambda path: path.stem)
def test_black_specks_are_found_and_few_are_not(path):
    clean, random = by_name(path.stem), np.random.default_rng(0)
    many, few = clean.copy(), clean.copy()
    for pixels, per_megapixel in ((many, 200), (few, 20)):
        count = round(per_megapixel * pixels.shape[0] * pixels.shape[1] / 1e6)
        pixels[random.integers(0, pixels.shape[0], count), random.integers(0, pixels.shape[1], count)] = 0
    (finding,) = examine(many, photo_for(many))
    row, column = finding.place[:2]
    assert finding.kind == "specks" and not many[row, column].any() and clean[row, column].any()
    assert examine(few, photo_for(few)) == ()


def test_specks_that_the_photograph_has_are_no_fault():
    pixels = by_name("watercolour_wash")
    pixels[::50, ::50] = 0
    assert [finding.kind for finding in examine(pixels, photo_for(pixels))] == ["specks"]
    assert examine(pixels, pixels) == ()


# --- clipping -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAINTINGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("white", [True, False])
def test_tones_that_ran_into_white_or_black_are_found(path, white):
    pixels = by_name(path.stem)
    mean = pixels.mean(-1)
    pixels[mean >= np.quantile(mean, 0.8) if white else mean <= np.quantile(mean, 0.2)] = white
    (finding,) = [item for item in examine(pixels, photo_for(pixels)) if item.kind == "clipping"]
    assert "20%" in finding.message or "21%" in finding.message


def test_clipping_that_the_photograph_has_is_no_fault():
    pixels = by_name("watercolour_wash")
    pixels[pixels.mean(-1) > np.quantile(pixels.mean(-1), 0.8)] = 1
    assert "clipping" not in kinds(pixels, pixels)


# --- a frame ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAINTINGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("width_px", [1, 2])
def test_a_dark_frame_is_found_with_its_width(path, width_px):
    pixels = by_name(path.stem)
    inside = pixels[width_px:-width_px, width_px:-width_px].copy()
    pixels *= 0.6
    pixels[width_px:-width_px, width_px:-width_px] = inside
    (finding,) = examine(pixels, photo_for(pixels))
    assert finding.kind == "border" and f"outermost {width_px} px are darker" in finding.message
    assert kinds(pixels, pixels) == []  # unless the photograph has it


def test_one_dark_side_is_no_frame():
    pixels = by_name("marbling")
    pixels[:2] = 0
    assert kinds(pixels) == []


# --- all together -------------------------------------------------------------------------------------------


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        examine(np.zeros((20, 30, 3), np.float32), np.zeros((20, 31, 3), np.float32))


def test_examining_changes_nothing_and_gives_the_same_answer_twice():
    pixels = with_patch(by_name("marbling"), 0.05, 0.5)
    before, photo = pixels.copy(), photo_for(pixels)
    found = examine(pixels, photo, borders=grid(pixels))
    assert found == examine(pixels, photo, borders=grid(pixels)) and np.array_equal(pixels, before)


def test_a_large_print_needs_much_less_memory_than_it_has_itself():
    pixels = np.tile(by_name("marbling"), (3, 3, 1))
    tracemalloc.start()
    try:
        examine(pixels, pixels, borders=grid(pixels))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < pixels.nbytes / 2
