"""The photorealistic mode: the screened Poisson equation against a linear solve, and what the print then
looks like."""

import tracemalloc

import cv2
import numpy as np
import pytest

from render.pictures import bands, photoreal
from render.pictures.color import from_oklab, to_oklab
from render.pictures.photoreal import bent, dct, idct, keep_structure, screen

SIZES = [(12, 10), (11, 9), (9, 14), (1, 7), (8, 1), (2, 2), (1, 1), (3, 23)]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def picture(height=60, width=80, *, seed=0, low=0.25, high=0.75):
    """Soft random colors between low and high."""
    coarse = noise(5, 6, 3, seed=seed)
    return (low + (high - low) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)).astype(
        np.float32
    )


def differences(height, width):
    """(D, H * W): each row takes a pixel from its right or lower neighbor."""
    index = np.arange(height * width).reshape(height, width)
    pairs = np.concatenate(
        [
            np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], axis=1),
            np.stack([index[:-1].ravel(), index[1:].ravel()], axis=1),
        ]
    )
    matrix = np.zeros((len(pairs), index.size))
    matrix[np.arange(len(pairs)), pairs[:, 0]] = -1
    matrix[np.arange(len(pairs)), pairs[:, 1]] = 1
    return matrix


def least_squares(painted, photo, length_px):
    """The plain twin: the normal equations of the two terms, as a dense matrix. Planes (H, W)."""
    gradient = differences(*painted.shape)
    matrix = np.eye(painted.size) + length_px**2 * gradient.T @ gradient
    target = painted.ravel() + length_px**2 * gradient.T @ (gradient @ photo.ravel())
    return np.linalg.solve(matrix, target).reshape(painted.shape)


def solved(painted, photo, length_px):
    plane = painted - photo
    screen(plane, length_px)
    return photo + plane


# --- the solve ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length_px", [0.0, 0.7, 3.0, 50.0])
@pytest.mark.parametrize("size", SIZES)
def test_the_solution_is_that_of_the_normal_equations_for_odd_even_and_narrow_sizes(size, length_px):
    painted, photo = noise(*size, seed=1), noise(*size, seed=2)
    found = solved(painted, photo, length_px)
    np.testing.assert_allclose(found, least_squares(painted, photo, length_px), atol=2e-6)


def test_a_row_of_padding_to_an_even_size_would_not_solve_the_same_equations():
    painted, photo = noise(11, 9, seed=1), noise(11, 9, seed=2)
    padded = [cv2.copyMakeBorder(x, 0, 1, 0, 1, cv2.BORDER_REFLECT) for x in (painted, photo)]
    wrong = least_squares(*padded, 3.0)[:11, :9]
    assert np.abs(wrong - least_squares(painted, photo, 3.0)).max() > 1e-2


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 12, 97])
def test_the_cosine_transform_is_its_definition_and_its_inverse_undoes_it(count):
    x = noise(3, count)
    place, wave = np.arange(count), np.arange(count)[:, None]
    basis = np.cos(np.pi * (place + 0.5) * wave / count)
    np.testing.assert_allclose(dct(x), x @ basis.T, atol=1e-4)
    np.testing.assert_allclose(idct(dct(x)), x, atol=1e-6)
    if count > 1:
        assert not np.allclose(dct(x), dct(x[:, ::-1]), atol=1e-2)


@pytest.mark.parametrize("count", [2, 4, 6, 22, 62, 97, 500, 3508])
def test_opencvs_transform_solves_as_numpys_does_to_half_a_16_bit_step(count, monkeypatch):
    plane = noise(24, count) - noise(24, count, seed=1)
    found, plain = plane.copy(), plane.copy()
    screen(found, 3.0)
    monkeypatch.setattr(photoreal, "forward", dct)
    monkeypatch.setattr(photoreal, "backward", idct)
    screen(plain, 3.0)
    assert np.abs(found - plain).max() < 0.5 / 65535 < np.abs(plane - plain).max()


def test_the_length_is_where_a_lines_influence_has_fallen_to_1_over_e():
    line = np.zeros((40, 401), np.float32)
    line[:, 200] = 1
    screen(line, 20.0)
    np.testing.assert_allclose(line[:, 220] / line[:, 200], np.exp(-1), atol=0.01)


def test_the_mean_is_kept_and_an_endless_length_keeps_nothing_else():
    plane = noise(31, 44)
    mean = plane.mean(dtype=np.float64)
    for length_px in (1.0, 10.0):
        screened = plane.copy()
        screen(screened, length_px)
        np.testing.assert_allclose(screened.mean(dtype=np.float64), mean, rtol=1e-6)
        assert screened.std() > 1e-3
    screen(plane, 1e5)
    np.testing.assert_allclose(plane, mean, atol=1e-5)


@pytest.mark.parametrize("band_px", [1, 45, 500])
def test_bands_change_nothing(band_px, monkeypatch):
    painted, photo = picture(45, 61, seed=1), picture(45, 61, seed=2)
    whole = keep_structure(painted, photo)
    monkeypatch.setattr(bands, "BAND_PX", band_px)
    assert np.array_equal(keep_structure(painted, photo), whole)


def test_solving_each_half_alone_would_show_as_a_seam():
    painted, photo = noise(40, 40, seed=1), noise(40, 40, seed=2)
    halves = np.concatenate(
        [solved(painted[part], photo[part], 5.0) for part in (slice(0, 20), slice(20, 40))]
    )
    assert np.abs(halves - solved(painted, photo, 5.0)).max() > 0.02


def test_beside_the_result_only_bands_are_held(monkeypatch):
    monkeypatch.setattr(bands, "BAND_PX", 2**13)
    painted, photo = picture(701, 1000, seed=1), picture(701, 1000, seed=2)
    tracemalloc.start()
    keep_structure(painted, photo)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert painted.nbytes <= peak < 1.2 * painted.nbytes


# --- the picture --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 0.03, 2.0])
def test_a_photo_painted_as_itself_stays(strength):
    photo = noise(33, 47, 3)
    photo[:4], photo[-4:] = 0, 1
    np.testing.assert_allclose(keep_structure(photo, photo, strength=strength), photo, atol=5e-5)


def test_strength_0_leaves_the_painting():
    painted, photo = picture(seed=1), picture(seed=2)
    np.testing.assert_allclose(keep_structure(painted, photo, strength=0.0), painted, atol=2e-5)
    assert not np.allclose(keep_structure(painted, photo, strength=0.01), painted, atol=1e-2)


def test_a_great_strength_gives_the_photo_moved_to_the_paintings_mean():
    painted, photo = picture(seed=1, low=0.45, high=0.55), picture(seed=2, low=0.45, high=0.55)
    lab = to_oklab(photo)
    moved = from_oklab(lab + (to_oklab(painted) - lab).mean(axis=(0, 1)))
    np.testing.assert_allclose(keep_structure(painted, photo, strength=100.0), moved, atol=1e-4)
    assert not np.allclose(moved, photo, atol=5e-3)


def test_the_mean_color_of_the_painting_is_kept():
    painted, photo = picture(seed=1, low=0.5, high=0.65), picture(seed=2, low=0.4, high=0.55)
    kept = to_oklab(keep_structure(painted, photo)).mean(axis=(0, 1))
    np.testing.assert_allclose(kept, to_oklab(painted).mean(axis=(0, 1)), atol=1e-4)
    assert not np.allclose(kept, to_oklab(photo).mean(axis=(0, 1)), atol=1e-2)


def test_an_edge_of_the_photo_appears_and_an_edge_of_the_painting_goes():
    photo, painted = np.full((60, 90, 3), 0.35, np.float32), np.full((60, 90, 3), 0.35, np.float32)
    photo[:, 30:] = 0.65
    painted[:, 60:] = 0.65
    out = to_oklab(keep_structure(painted, photo, strength=0.1))[30, :, 0]
    step = float(np.ptp(to_oklab(photo)[..., 0]))
    assert out[30] - out[29] > 0.9 * step
    assert abs(out[60] - out[59]) < 0.1 * step


def test_a_print_looks_as_its_preview():
    painted, photo = picture(60, 80, seed=1), picture(60, 80, seed=2)
    small = keep_structure(painted, photo)
    large = keep_structure(
        *(cv2.resize(x, (240, 180), interpolation=cv2.INTER_CUBIC) for x in (painted, photo))
    )
    again = cv2.resize(large, (80, 60), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(again, small, atol=0.02)
    assert np.abs(keep_structure(painted, photo, strength=0.01) - small).max() > 0.05  # a third of the length


def bright_painting():
    """A near-white painting, and a photo whose texture would stand out above white."""
    photo = picture(seed=3, low=0.4, high=0.6) + 0.2 * (noise(60, 80, 1) - 0.5)
    return np.full_like(photo, 0.97), photo.astype(np.float32)


def test_texture_that_reaches_above_white_is_bent_and_not_cut_off(monkeypatch):
    painted, photo = bright_painting()

    def cut_off():
        return (keep_structure(painted, photo).min(axis=-1) > 0.9995).mean()

    assert cut_off() < 0.01
    monkeypatch.setattr(photoreal, "LARGEST_EXCESS", 0.0)
    assert cut_off() > 0.1


def test_bending_is_monotone_and_leaves_what_fits_and_the_middle():
    x = np.linspace(-0.1, 1.12, 500, dtype=np.float32)
    y = bent(x, -0.1, 1.12)
    slope = np.diff(y) / np.diff(x)
    assert abs(y[0]) < 1e-6 and abs(y[-1] - 1) < 1e-6
    assert slope.min() > 0.3 and slope.max() < 1.001
    middle = (x > 0.3) & (x < 0.7)
    assert np.array_equal(y[middle], x[middle]) and not np.array_equal(y, x)
    assert np.array_equal(bent(x, 0.0, 1.0), x)


@pytest.mark.parametrize("strength", [-0.01, float("nan"), float("inf")])
def test_a_strength_that_means_nothing_is_refused(strength):
    with pytest.raises(ValueError, match="must be a number, 0 or more"):
        keep_structure(picture(), picture(), strength=strength)


@pytest.mark.parametrize("photo", [picture(61, 80), noise(60, 80)])
def test_pictures_of_unequal_sizes_are_refused(photo):
    with pytest.raises(ValueError, match=r"must both be \(H, W, 3\)"):
        keep_structure(picture(), photo)


def test_inputs_are_left_alone_and_the_result_is_a_picture():
    painted, photo = picture(seed=1, low=0, high=1), noise(60, 80, 3)
    before = painted.copy(), photo.copy()
    out = keep_structure(painted, photo)
    assert np.array_equal(painted, before[0]) and np.array_equal(photo, before[1])
    assert out.dtype == np.float32 and out.shape == photo.shape and out.min() >= 0 and out.max() <= 1
