"""Color preservation: lightness, hue and chroma by mode, matched statistics, and bands of rows that leave no
seam."""

import tracemalloc

import cv2
import numpy as np
import pytest

from render.pictures import bands, color, opencv
from render.pictures.color import AFTER, MODES, from_oklab, match_colors, recolor, to_oklab


def picture(height=40, width=56, *, seed=0, low=0.0, high=1.0):
    """Soft random colors between low and high."""
    coarse = np.random.default_rng(seed).random((6, 7, 3), dtype=np.float32)
    return (low + (high - low) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)).astype(
        np.float32
    )


def chroma_and_hue(rgb):
    _, a, b = np.moveaxis(to_oklab(rgb), -1, 0)
    return np.hypot(a, b), np.arctan2(b, a)


def statistics(rgb):
    rows = rgb.reshape(-1, 3).astype(np.float64)
    return rows.mean(axis=0), np.cov(rows.T, bias=True)


def test_every_mode_has_a_meaning_and_all_but_match_come_after():
    assert set(AFTER) == set(MODES) - {"match"}
    assert list(MODES) == ["style", "luminance", "match", "histogram"]
    assert all(meaning and "\n" not in meaning for meaning in MODES.values())


def test_style_leaves_the_picture_as_painted():
    painted = picture()
    assert np.array_equal(recolor("style", painted, picture(seed=1)), painted)
    assert not np.array_equal(recolor("luminance", painted, picture(seed=1)), painted)


@pytest.mark.parametrize("mode", ["match", "Style", "none"])
def test_a_mode_that_does_not_come_after_is_refused_by_name(mode):
    with pytest.raises(ValueError, match=f"'{mode}'.*style, luminance, histogram"):
        recolor(mode, picture(), picture())


@pytest.mark.parametrize("mode", AFTER)
@pytest.mark.parametrize("photo", [picture(41, 56), np.zeros((40, 56)), np.zeros((40, 56, 4))])
def test_pictures_of_unequal_sizes_are_refused(mode, photo):
    with pytest.raises(ValueError, match=r"must both be \(H, W, 3\)"):
        recolor(mode, picture(), photo)


# --- Oklab --------------------------------------------------------------------------------------------------


def test_oklab_of_the_primaries_is_the_published_one():
    found = to_oklab(np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32))
    css = [
        [1, 0, 0],
        [0.62796, 0.22486, 0.12585],
        [0.86644, -0.23389, 0.17950],
        [0.45201, -0.03246, -0.31153],
    ]
    np.testing.assert_allclose(found, css, atol=2e-5)  # CSS Color 4's sample values


def test_oklab_and_back_is_the_identity_over_all_of_srgb():
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 18, dtype=np.float32)] * 3), axis=-1)
    np.testing.assert_allclose(from_oklab(to_oklab(grid)), grid, atol=2e-5)


def oklab_circles(chroma):
    """(9, 72, 3) Oklab: lightnesses down, hues across."""
    lightness, hue = np.meshgrid(np.linspace(0.1, 0.9, 9), np.linspace(0, 2 * np.pi, 72), indexing="ij")
    return np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1).astype(np.float32)


def test_colors_out_of_gamut_lose_chroma_and_keep_lightness_and_hue():
    wanted = oklab_circles(0.35)
    lightness_error, hue_error = _errors(from_oklab(wanted), wanted)
    assert lightness_error < 0.003 and hue_error < np.radians(2)
    clipped = np.clip(color._linear_of_oklab(wanted), 0, 1) ** (1 / 2.4)
    lightness_error, hue_error = _errors(clipped.astype(np.float32), wanted)
    assert lightness_error > 0.1 and hue_error > np.radians(20)


def _errors(rgb, wanted):
    found = to_oklab(rgb)
    hue, wanted_hue = (np.arctan2(lab[..., 2], lab[..., 1]) for lab in (found, wanted))
    turn = np.angle(np.exp(1j * (hue - wanted_hue)))
    seen = np.hypot(found[..., 1], found[..., 2]) > 0.02  # gray has no hue
    return np.abs(found[..., 0] - wanted[..., 0]).max(), np.abs(turn[seen]).max()


def test_no_more_chroma_is_lost_than_the_gamut_requires():
    shown = from_oklab(oklab_circles(0.35))
    assert np.minimum(shown.min(axis=-1), 1 - shown.max(axis=-1)).max() < 0.01  # on its surface
    inside = from_oklab(oklab_circles(0.02))
    assert np.minimum(inside.min(axis=-1), 1 - inside.max(axis=-1)).max() > 0.01


@pytest.mark.parametrize("hue_of", [(0, 0, 1), (0, 0.02, 1), (0.02, 0, 1), (1, 0, 0), (0, 1, 0), (1, 0, 1)])
def test_a_smooth_ramp_of_lightness_stays_smooth_at_the_gamuts_edge(hue_of, monkeypatch):
    ramp = np.linspace(0, 1, 1000, dtype=np.float32)[None, :, None].repeat(3, axis=-1)
    photo = np.broadcast_to(np.array(hue_of, np.float32), ramp.shape)

    def largest_step():
        return np.abs(np.diff(to_oklab(recolor("luminance", ramp, photo)), axis=1))[:, 10:].max()

    assert largest_step() < 0.01
    monkeypatch.setattr(color, "DENT", color.DENT / 2)
    assert largest_step() > 0.02 or hue_of != (0, 0, 1)


# --- OpenCV against plain numpy -----------------------------------------------------------------------------

HALF_STEP = 0.5 / 65535  # of 16 bits


def plain_transformed(colors, matrix):
    return np.asarray(colors, np.float32) @ matrix.T.astype(np.float32)


@pytest.fixture
def plainly(monkeypatch):
    """plainly(call): what it returns where numpy does the work of OpenCV."""

    def plainly(call):
        with monkeypatch.context() as patch:
            patch.setattr(color, "transformed", plain_transformed)
            patch.setattr(color, "raised", np.power)
            return call()

    return plainly


@pytest.mark.parametrize("count", [0, 1, 3, 63, 64, 65, 1000])
def test_a_transformed_color_is_the_matrix_times_it_wherever_the_array_ends(count):
    colors = np.random.default_rng(0).random((1100, 3), dtype=np.float32)
    found = opencv.transformed(colors[:count], color.LMS_TO_OKLAB)
    np.testing.assert_allclose(found, plain_transformed(colors[:count], color.LMS_TO_OKLAB), atol=1e-6)
    assert np.array_equal(found, opencv.transformed(colors, color.LMS_TO_OKLAB)[:count])
    assert found.dtype == np.float32


def test_oklab_and_back_are_their_plain_twins_to_half_a_16_bit_step(plainly):
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 33, dtype=np.float32)] * 3), axis=-1)
    lab = to_oklab(grid)
    assert np.abs(lab - plainly(lambda: to_oklab(grid))).max() < HALF_STEP
    pale = lab * (0.98, 0.4, 0.4) + (0.01, 0, 0)  # inside the gamut
    assert np.abs(from_oklab(pale) - plainly(lambda: from_oklab(pale))).max() < HALF_STEP


@pytest.mark.parametrize("mode", ["luminance", "histogram"])
def test_a_picture_inside_the_gamut_is_recolored_as_plainly_to_half_a_16_bit_step(mode, plainly):
    painted, photo = picture(seed=1, low=0.45, high=0.55), picture(seed=2, low=0.45, high=0.6)
    found = recolor(mode, painted, photo)
    assert np.abs(found - plainly(lambda: recolor(mode, painted, photo))).max() < HALF_STEP


@pytest.mark.parametrize("mode", ["luminance", "histogram"])
def test_where_rounding_decides_on_the_gamut_a_print_differs_by_a_fraction_of_an_8_bit_level(mode, plainly):
    """The last step of the bisection is 1/4096 of the chroma, and the last bit of a color can decide it."""
    painted, photo = picture(300, 400, seed=1), picture(300, 400, seed=2)
    off = np.abs(recolor(mode, painted, photo) - plainly(lambda: recolor(mode, painted, photo))).max(axis=-1)
    assert (off < HALF_STEP).mean() > 0.97 and off.max() < 0.2 / 255


def test_not_a_number_stays_one_and_is_no_color():
    picture = np.full((2, 2, 3), 0.5, np.float32)
    picture[0, 0, 1] = np.nan
    for found in (to_oklab(picture), from_oklab(picture)):
        assert np.isnan(found[0, 0]).any() and np.isfinite(found[0, 1:]).all() and np.isfinite(found[1]).all()


# --- luminance ----------------------------------------------------------------------------------------------


def test_luminance_has_the_painted_lightness_and_the_photos_hue_and_no_more_than_its_chroma():
    painted, photo = picture(seed=1), picture(seed=2)
    out = recolor("luminance", painted, photo)
    np.testing.assert_allclose(to_oklab(out)[..., 0], to_oklab(painted)[..., 0], atol=3e-3)
    chroma, hue = chroma_and_hue(out)
    wanted_chroma, wanted_hue = chroma_and_hue(photo)
    assert (chroma <= wanted_chroma + 1e-3).all()
    turn = np.abs(np.angle(np.exp(1j * (hue - wanted_hue))))
    assert turn[chroma > 0.02].max() < np.radians(2)


def test_luminance_keeps_the_photos_chroma_exactly_inside_the_gamut():
    painted, photo = picture(seed=1, low=0.45, high=0.55), picture(seed=2, low=0.45, high=0.6)
    chroma, wanted = chroma_and_hue(recolor("luminance", painted, photo))[0], chroma_and_hue(photo)[0]
    np.testing.assert_allclose(chroma, wanted, atol=1e-4)
    assert np.abs(chroma - chroma_and_hue(painted)[0]).max() > 0.01


# --- match --------------------------------------------------------------------------------------------------


def test_matched_colors_have_the_photos_mean_and_covariance():
    style, photo = picture(30, 44, seed=3, low=0.4, high=0.7), picture(seed=4, low=0.2, high=0.8)
    mean, covariance = statistics(match_colors(style, photo))
    wanted_mean, wanted_covariance = statistics(photo)
    np.testing.assert_allclose(mean, wanted_mean, atol=2e-3)
    np.testing.assert_allclose(covariance, wanted_covariance, atol=1e-3)
    assert not np.allclose(statistics(style)[1], wanted_covariance, atol=1e-3)


def test_colors_that_match_already_stay():
    style = picture()
    np.testing.assert_allclose(match_colors(style, style[::-1]), style, atol=1e-5)


def test_matching_moves_colors_no_further_than_any_other_linear_map_does():
    style, photo = picture(seed=3, low=0.4, high=0.6), picture(seed=4, low=0.35, high=0.65)
    (_, have), (_, want) = statistics(style), statistics(photo)
    gatys = np.linalg.cholesky(want) @ np.linalg.inv(np.linalg.cholesky(have))
    centred = style - style.mean(axis=(0, 1))
    other = centred @ gatys.T.astype(np.float32) + photo.mean(axis=(0, 1))
    assert np.square(match_colors(style, photo) - style).sum() < np.square(other - style).sum()


def test_a_gray_photo_makes_the_style_gray():
    gray = picture(seed=5).mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    out = match_colors(picture(seed=6), gray)
    assert np.ptp(out, axis=-1).max() < 0.06 < np.ptp(picture(seed=6), axis=-1).max()


def noisy_constant(noise):
    draw = np.random.default_rng(0).normal(0, noise, (40, 56, 3))
    return (0.5 + draw).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_a_constant_style_takes_the_photos_mean_and_its_noise_is_not_blown_up(noise):
    photo = picture(seed=7, low=0.2, high=0.8)
    out = match_colors(noisy_constant(noise), photo)
    np.testing.assert_allclose(out.mean(axis=(0, 1)), photo.mean(axis=(0, 1)), atol=1e-3)
    assert out.std(axis=(0, 1)).max() < 20 * noise + 1e-4


def test_a_gray_style_takes_the_photos_mean_and_no_noise_of_color():
    style, photo = (
        picture().mean(axis=-1, keepdims=True).repeat(3, axis=-1),
        picture(seed=7, low=0.3, high=0.7),
    )
    out = match_colors(style, photo)
    np.testing.assert_allclose(out.mean(axis=(0, 1)), photo.mean(axis=(0, 1)), atol=2e-3)
    assert np.linalg.matrix_rank(out.reshape(-1, 3) - out.mean(axis=(0, 1)), tol=1e-3) == 1


def test_without_the_ridge_a_constant_style_would_be_noise(monkeypatch):
    monkeypatch.setattr(color, "RIDGE", 1e-12)
    assert match_colors(noisy_constant(0.001), picture(seed=7)).std(axis=(0, 1)).min() > 0.1


# --- histogram ----------------------------------------------------------------------------------------------


def distance(rgb, other):
    """The largest difference between the two distributions of any Oklab channel (Kolmogorov-Smirnov)."""
    a, b = (to_oklab(x).reshape(-1, 3) for x in (rgb, other))
    edges = np.linspace(-1, 1, 400)
    shares = [[np.searchsorted(np.sort(x[:, i]), edges) / len(x) for i in range(3)] for x in (a, b)]
    return np.abs(np.subtract(*shares)).max()


def test_histogram_imposes_the_photos_distribution():
    painted, photo = picture(90, 120, seed=1), picture(90, 120, seed=2, low=0.3, high=0.9) ** 2
    assert distance(painted, photo) > 0.3
    assert distance(recolor("histogram", painted, photo), photo) < 0.1


def test_histogram_leaves_a_picture_that_has_the_photos_colors():
    painted = picture(90, 120)
    np.testing.assert_allclose(recolor("histogram", painted, painted[:, ::-1]), painted, atol=4e-3)


def test_a_smooth_sky_is_not_torn_where_the_photos_colors_have_a_gap(monkeypatch):
    painted = np.linspace(0.2, 0.8, 3000, dtype=np.float32).reshape(1, -1, 1).repeat(3, axis=-1)
    photo = np.where(painted < 0.5, painted / 4, 1 - painted / 4)

    def steepest():
        return (
            np.diff(to_oklab(recolor("histogram", painted, photo))[0, :, 0]).max()
            / np.diff(painted[0, :, 0]).max()
        )

    assert steepest() < 8
    monkeypatch.setattr(color, "SMOOTHNESS", 0.001)
    assert steepest() > 40


def test_histogram_makes_no_bands_of_equal_color():
    ramp = (
        np.linspace(0.2, 0.8, 4000, dtype=np.float32).reshape(1, -1, 1).repeat(3, axis=-1).repeat(8, axis=0)
    )
    photo = np.rint(ramp * 20) / 20 ** np.float32(1)  # 13 grays
    smooth = recolor("histogram", ramp, cv2.GaussianBlur(photo, (0, 0), 60))[0, :, 1]
    assert len(np.unique(smooth)) > 3500
    assert len(np.unique(np.rint(smooth * 255))) < 200


@pytest.mark.parametrize("flat", [0.0, 0.3, 1.0])
def test_constant_pictures_take_the_photos_color_and_a_constant_photo_flattens(flat):
    constant = np.full((20, 30, 3), flat, np.float32)
    out = recolor("histogram", constant, picture(20, 30))
    assert np.isfinite(out).all() and np.ptp(out, axis=(0, 1)).max() < 1e-6
    np.testing.assert_allclose(recolor("histogram", picture(20, 30), constant), constant, atol=0.02)


# --- bands --------------------------------------------------------------------------------------------------

CHANGES = {
    "luminance": lambda a, b: recolor("luminance", a, b),
    "histogram": lambda a, b: recolor("histogram", a, b),
    "match": match_colors,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("band_px", [1, 61, 7 * 61, 10 * 61])
def test_the_height_of_the_bands_changes_not_one_bit(change, band_px, monkeypatch):
    painted, photo = picture(53, 61, seed=1), picture(53, 61, seed=2)
    whole = CHANGES[change](painted, photo)
    monkeypatch.setattr(bands, "BAND_PX", band_px)
    assert len(list(bands.row_slices(painted.shape))) > 1
    assert np.array_equal(CHANGES[change](painted, photo), whole)


def test_statistics_of_each_band_alone_would_show_as_seams():
    painted, photo = picture(53, 61, seed=1), picture(53, 61, seed=2)
    parts = [match_colors(painted[rows], photo[rows]) for rows in (slice(0, 20), slice(20, 53))]
    assert not np.allclose(np.concatenate(parts), match_colors(painted, photo), atol=0.02)


@pytest.mark.parametrize("change", CHANGES)
def test_beside_the_result_only_a_band_is_held(change, monkeypatch):
    monkeypatch.setattr(bands, "BAND_PX", 2**13)
    painted, photo = picture(700, 1000, seed=1), picture(700, 1000, seed=2)
    tracemalloc.start()
    CHANGES[change](painted, photo)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert painted.nbytes <= peak < 1.2 * painted.nbytes


@pytest.mark.parametrize("change", CHANGES)
def test_inputs_are_left_alone(change):
    painted, photo = picture(seed=1), picture(seed=2)
    before = painted.copy(), photo.copy()
    out = CHANGES[change](painted, photo)
    assert np.array_equal(painted, before[0]) and np.array_equal(photo, before[1])
    assert out.dtype == np.float32 and out.min() >= 0 and out.max() <= 1
