"""Losses: pure functions of moments, features and pixels."""

import math
from typing import get_args

import pytest
import torch

from render.jobs.look import Look
from render.network import linalg, losses
from render.network.linalg import eigh
from render.network.losses import STYLE_LOSSES, TV_LOSSES
from render.network.moments import Moments, moments


def features(channels=6, height=20, width=24, *, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    blend = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    x = torch.randn(1, channels, height, width, generator=generator, dtype=torch.float64)
    return (torch.einsum("cd,bdhw->bchw", blend, x) + seed).relu().to(dtype)


def test_a_look_can_name_every_style_loss():
    assert set(get_args(Look.model_fields["style_loss"].annotation)) == set(STYLE_LOSSES)


@pytest.mark.parametrize("loss", STYLE_LOSSES.values(), ids=STYLE_LOSSES)
class TestEveryStyleLoss:
    def test_is_zero_for_the_style_itself_and_above_for_another(self, loss):
        same, other = moments(features(seed=1)), moments(features(seed=2))
        assert abs(loss(same, moments(features(seed=1))).item()) < 1e-9
        assert loss(same, other).item() > 0.01

    def test_falls_on_the_way_to_the_style(self, loss):
        a, b = features(seed=1), features(seed=2)
        values = [loss(moments(a + t * (b - a)), moments(b)).item() for t in (0, 0.5, 0.9, 1)]
        assert values == sorted(values, reverse=True)

    def test_does_not_change_when_both_images_repeat(self, loss):
        a, b = features(seed=1), features(seed=2)
        twice = [moments(torch.cat([x, x], dim=3)) for x in (a, b)]
        torch.testing.assert_close(loss(*twice), loss(moments(a), moments(b)))

    def test_does_not_change_when_both_are_scaled(self, loss):
        a, b = features(seed=1), features(seed=2)
        torch.testing.assert_close(
            loss(moments(30 * a), moments(30 * b)), loss(moments(a), moments(b)), rtol=1e-4, atol=0
        )

    def test_gradient_equals_finite_differences(self, loss):
        wanted = moments(features(4, 6, 7, seed=2))
        x = features(4, 6, 7, seed=1) + 0.1
        assert torch.autograd.gradcheck(
            lambda x: loss(moments(x), wanted), (x.requires_grad_(),), rtol=1e-4, atol=1e-7
        )


def test_relative_gram_is_one_for_a_black_image():
    wanted = moments(features())
    black = moments(torch.zeros_like(features()))
    assert losses.gram(black, wanted).item() == pytest.approx(1)


def test_gatys_factor_is_that_of_his_equation_4():
    # Gatys et al. 2016: E = 1 / (4 N^2 M^2) sum (G - A)^2 with G, A sums over the M positions.
    x, y = features(seed=1), features(seed=2)
    n, m = x.shape[1], x[0, 0].numel()
    g, a = (torch.einsum("bchw,bdhw->cd", z, z) for z in (x, y))
    expected = (g - a).square().sum() / (4 * n**2 * m**2)
    torch.testing.assert_close(losses.gatys_gram(moments(x), moments(y)), expected)


def plain_wasserstein(found: Moments, wanted: Moments) -> torch.Tensor:
    """The definition, differentiated through its matrix roots by autograd."""

    def root(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

    eye = wanted.covariance_ridge * torch.eye(wanted.total.shape[0], dtype=wanted.total.dtype)
    s, w = found.covariance + eye, wanted.covariance + eye
    a = root(w)
    distance = (found.mean - wanted.mean).square().sum() + torch.trace(s + w - 2 * root(a @ s @ a))
    return distance / torch.trace(wanted.gram)


def test_wasserstein_and_its_closed_gradient_equal_the_plain_twin():
    wanted = moments(features(seed=2))
    gradients, values = [], []
    for loss in (losses.wasserstein, plain_wasserstein):
        x = features(seed=1).requires_grad_()
        value = loss(moments(x), wanted)
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, x)[0])
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


def test_wasserstein_between_one_dimensional_gaussians_is_the_textbook_sum():
    # W2^2 = (m1 - m2)^2 + (s1 - s2)^2
    def gaussian(mean, deviation):
        return Moments(1.0, torch.tensor([mean]).double(), torch.tensor([[deviation**2 + mean**2]]).double())

    found, wanted = gaussian(1.0, 2.0), gaussian(4.0, 0.5)
    expected = (3.0**2 + 1.5**2) / (0.5**2 + 4.0**2)
    assert losses.wasserstein(found, wanted).item() == pytest.approx(expected, rel=1e-3)


def test_wasserstein_stays_finite_with_fewer_pixels_than_channels():
    x = features(32, 3, 4, seed=1, dtype=torch.float32).requires_grad_()
    value = losses.wasserstein(moments(x), moments(features(32, 3, 4, seed=2, dtype=torch.float32)))
    (gradient,) = torch.autograd.grad(value, x)
    assert math.isfinite(value.item()) and torch.isfinite(gradient).all()


def test_l2_total_variation_is_that_of_cs231n_for_each_pixel():
    image = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0)).double()
    down = ((image[:, :, 1:, :] - image[:, :, :-1, :]) ** 2).sum()
    right = ((image[:, :, :, 1:] - image[:, :, :, :-1]) ** 2).sum()
    torch.testing.assert_close(losses.total_variation(image), (down + right) / 48)


def test_power_total_variation_is_that_of_keras_for_each_pixel():
    image = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0)).double()
    a = (image[:, :, :-1, :-1] - image[:, :, 1:, :-1]) ** 2
    b = (image[:, :, :-1, :-1] - image[:, :, :-1, 1:]) ** 2
    torch.testing.assert_close(losses.total_variation_power(image), ((a + b) ** 1.25).sum() / 48)


@pytest.mark.parametrize("loss", TV_LOSSES.values(), ids=TV_LOSSES)
def test_total_variation_of_a_flat_image_is_zero_with_a_finite_gradient(loss):
    flat = torch.full((1, 3, 5, 5), 0.3).double().requires_grad_()
    value = loss(flat)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert torch.isfinite(torch.autograd.grad(value, flat)[0]).all()


@pytest.mark.parametrize("loss", TV_LOSSES.values(), ids=TV_LOSSES)
def test_total_variation_gradient_equals_finite_differences(loss):
    image = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    assert torch.autograd.gradcheck(loss, (image,))


def test_covariances_of_very_few_pixels_are_decomposed():
    # Channels that differ by powers of ten, few pixels: rank 5 of 512.
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        x = torch.randn(6, 512, generator=generator) * 10 ** (3 * torch.rand(512, generator=generator))
        x = x.relu()
        covariance = x.T @ x / 6 - torch.outer(x.mean(0), x.mean(0))
        values, vectors = eigh(covariance)
        torch.testing.assert_close(
            (vectors * values) @ vectors.T, covariance, rtol=0, atol=1e-4 * covariance.abs().max().item()
        )


@pytest.mark.parametrize("form", losses.TV_LOSSES)
@pytest.mark.parametrize("size", [(1, 9), (23, 4), (24, 3), (25, 5), (60, 7), (26, 1)])
def test_total_variation_by_bands_equals_that_of_the_whole_and_its_derivative(form, size, monkeypatch):
    monkeypatch.setattr(linalg, "CPU_BAND_PX", 24 * size[1])
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    gradient = torch.ones_like(image)
    value = losses.add_total_variation(image, gradient, form=form, weight=2.5)
    whole = image.clone().requires_grad_()
    plain = losses.TV_LOSSES[form](whole)
    (expected,) = torch.autograd.grad(plain, whole)
    assert value == pytest.approx(plain.item(), rel=1e-12)
    torch.testing.assert_close(gradient, 1 + 2.5 * expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 64, 192, 256), (1, 512, 96, 128), (1, 3, 1000, 1400)])
def test_a_sum_over_a_large_map_does_not_depend_on_the_number_of_threads(shape, dtype):
    """Seen: a sum of more than 32 768 pixels is split among the threads, and content layers near the picture
    have more."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(
        dtype, memory_format=torch.channels_last
    )
    before, found, slopes = torch.get_num_threads(), [], []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            wanted = x.clone().requires_grad_()
            value = losses.squares(wanted)
            found.append(value.item())
            slopes.append(torch.autograd.grad(value, wanted)[0])
    finally:
        torch.set_num_threads(before)
    assert len(set(found)) == 1 and all(torch.equal(slope, slopes[0]) for slope in slopes)
    assert found[0] == pytest.approx(x.double().square().sum().item(), rel=1e-5)
