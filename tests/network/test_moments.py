"""Moments: sums over pixels that add, and what is derived from them."""

import pytest
import torch

from render.network.linalg import CHUNK_PX, FEWEST_CHUNKS
from render.network.moments import mix, moments
from render.network.tiling import Box


def features(*shape, dtype=torch.float32, seed=0):
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "height, width", [(3, 5), (64, 64), (65, 67)]
)  # less than, equal to and more than a chunk
def test_sums_equal_einsum(height, width):
    x = features(7, height, width, dtype=torch.float64)
    m = moments(x)
    assert m.count == height * width
    torch.testing.assert_close(m.total, torch.einsum("bchw->c", x))
    torch.testing.assert_close(m.outer, torch.einsum("bchw,bdhw->cd", x, x))


def test_the_gram_matrix_of_ones_is_ones_whatever_the_size():
    for side in (8, 80):
        assert torch.equal(moments(torch.ones(1, 4, side, side)).gram, torch.ones(4, 4).double())


def test_mean_and_covariance_are_those_of_numpy():
    x = features(5, 30, 40, dtype=torch.float64)
    rows = x[0].flatten(1)
    m = moments(x)
    torch.testing.assert_close(m.mean, rows.mean(1))
    torch.testing.assert_close(m.covariance, torch.cov(rows, correction=0))


def test_moments_of_an_image_are_the_sum_of_its_tiles():
    x = features(6, 33, 50, dtype=torch.float64)
    tiles = moments(x[..., :20]) + moments(x[..., 20:])
    whole = moments(x)
    assert tiles.count == whole.count
    torch.testing.assert_close(tiles.total, whole.total)
    torch.testing.assert_close(tiles.outer, whole.outer)


def test_gradients_equal_finite_differences():
    x = features(3, 5, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: (moments(x).total, moments(x).outer), (x,))


def test_moments_at_a_place_are_those_of_what_is_cut_out():
    x = features(6, 33, 50, dtype=torch.float64).requires_grad_()
    place = Box(3, 7, 30, 50)
    inside, cut = moments(x, place), moments(x[..., 3:30, 7:50].contiguous(memory_format=torch.channels_last))
    assert inside.count == cut.count == 27 * 43
    torch.testing.assert_close(inside.outer, cut.outer)
    slope = torch.ones_like(inside.outer)
    found, expected = (torch.autograd.grad(m.outer, x, slope)[0] for m in (inside, cut))
    torch.testing.assert_close(found, expected)
    assert found[..., :3, :].abs().max() == 0 and found.is_contiguous(memory_format=torch.channels_last)


def test_a_place_without_pixels_has_no_moments():
    m = moments(features(6, 4, 5), Box(4, 0, 4, 5))
    assert m.count == 0 and m.outer.abs().max() == 0


def test_bfloat16_features_are_summed_wider():
    ones = torch.ones(1, 2, 100, 100, dtype=torch.bfloat16)
    m = moments(ones)
    assert m.outer.dtype == torch.float64
    assert m.outer[0, 1].item() == 10_000  # bfloat16 cannot hold 10 000: 9984 or 10 048
    assert torch.tensor(10_000.0).bfloat16().item() != 10_000


@pytest.mark.parametrize("height, width", [(23, 31), (128, 160), (240, 320)])
def test_sums_do_not_depend_on_the_number_of_threads(height, width):
    x = features(64, height, width)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(moments(x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0].outer, found[1].outer) and torch.equal(found[0].total, found[1].total)


def test_the_sizes_above_lie_on_both_sides_of_the_rule():
    assert 23 * 31 < 128 * 160 < FEWEST_CHUNKS * CHUNK_PX < 240 * 320


def test_a_mixture_counts_pictures_by_weight_and_not_by_pixels():
    small, large = moments(features(3, 4, 4, seed=1)), moments(features(3, 40, 40, seed=2))
    even = mix([(small, 1.0), (large, 1.0)])
    torch.testing.assert_close(even.gram, (small.gram + large.gram) / 2)
    torch.testing.assert_close(mix([(small, 3.0), (large, 1.0)]).mean, 0.75 * small.mean + 0.25 * large.mean)
    assert not torch.allclose(even.gram, (small + large).gram)
