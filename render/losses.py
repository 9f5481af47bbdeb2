"""Style, content and total-variation losses: pure functions of tensors."""

import torch

from render.linalg import eigh
from render.moments import Moments


def gram_distance(found: Moments, wanted: Moments) -> torch.Tensor:
    """Squared Frobenius distance of the Gram matrices per pixel (Gatys et al. 2016, eq. 4, without its factor)."""
    return squares(found.gram - wanted.gram)


def gatys_gram(found: Moments, wanted: Moments) -> torch.Tensor:
    """E_l of Gatys et al. 2016, eq. 4: 1 / (4 N^2 M^2) |G - A|^2, with G/M so that the two images may differ in size."""
    channels = found.total.shape[0]
    return gram_distance(found, wanted) / (4 * channels**2)


def gram(found: Moments, wanted: Moments) -> torch.Tensor:
    """Relative Gram distance: 1 for a black image, 0 for the style itself, whatever the layer and the size."""
    return gram_distance(found, wanted) / squares(wanted.gram)


def gram_mean_std(found: Moments, wanted: Moments) -> torch.Tensor:
    """Gram matrix with channel means and deviations (Galerne et al. 2024, "Scaling Painting Style Transfer", eq. 5),
    each relative to the style's own."""
    mean = squares(found.mean - wanted.mean) / squares(wanted.mean)
    deviation = squares(_deviation(found) - _deviation(wanted)) / squares(_deviation(wanted))
    return (gram(found, wanted) + mean + deviation) / 3


def wasserstein(found: Moments, wanted: Moments) -> torch.Tensor:
    """Squared Wasserstein-2 distance between the Gaussians with these moments (Olkin & Pukelsheim 1982), relative to
    the style's mean squared feature."""
    distance = squares(found.mean - wanted.mean) + _BuresDistance.apply(
        found.covariance, wanted.covariance_root, wanted.covariance_ridge
    )
    return distance / torch.diagonal(wanted.gram).sum()


def total_variation(image: torch.Tensor) -> torch.Tensor:
    """Anisotropic L2 total variation (Stanford CS231n form), a mean over pixels instead of a sum.

    image: (1, 3, H, W) in [0, 1].
    """
    down, right = _differences(image)
    return (_sum(down.square()) + _sum(right.square())) / (image.shape[2] * image.shape[3])


def total_variation_power(image: torch.Tensor) -> torch.Tensor:
    """Sum of squared differences to the power 1.25 (Keras' neural style example), a mean over pixels."""
    return _power_sum(image) / (image.shape[2] * image.shape[3])


STYLE_LOSSES = {"gram": gram, "gram-mean-std": gram_mean_std, "wasserstein": wasserstein}
TV_LOSSES = {"l2": total_variation, "power": total_variation_power}

BAND_ROWS = 256


def add_total_variation(image: torch.Tensor, gradient: torch.Tensor, *, form: str, weight: float) -> float:
    """The total variation of an image; adds weight x its gradient to `gradient` (1, 3, H, W). A band of rows at a time,
    each with the first row of the next: equal to TV_LOSSES[form] and autograd, in the memory of a band."""
    height, width = image.shape[-2:]
    total = 0.0
    for top in range(0, height, BAND_ROWS):
        rows = slice(top, min(top + BAND_ROWS + 1, height))
        band = image[..., rows, :].detach().requires_grad_(weight != 0)
        part = _band_sum(band, BAND_ROWS, form) / (height * width)
        total += part.item()
        if weight:
            gradient[..., rows, :].add_(torch.autograd.grad(part, band)[0], alpha=weight)
    return total


def _band_sum(band: torch.Tensor, rows: int, form: str) -> torch.Tensor:
    """Sum over the pairs of neighbours that begin in the first `rows` rows."""
    if form == "power":
        return _power_sum(band)
    down, right = _differences(band)
    return _sum(down.square()) + _sum(right[..., :rows, :].square())


def _power_sum(image: torch.Tensor) -> torch.Tensor:
    down, right = _differences(image)
    both = down[..., :-1].square() + right[..., :-1, :].square()
    # The smallest normal number keeps the derivative of the power finite where the image is flat.
    return _sum((both + 1e-12).pow(1.25))


def _differences(image):
    return image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]


def _deviation(m: Moments) -> torch.Tensor:
    variance = torch.diagonal(m.covariance)
    # A channel that never fires has no deviation to match; the floor keeps the root differentiable there.
    return (variance.clamp(min=0) + 1e-8).sqrt()


def _sum(x: torch.Tensor) -> torch.Tensor:
    """Sum dimension by dimension, the last first: an order of addition that no thread count changes. One flat sum, of more
    than 32 768 values, is split among the threads."""
    while x.dim() > 1:
        x = x.sum(-1)
    return x.sum()


def squares(x: torch.Tensor) -> torch.Tensor:
    """Sum of squares, in float32 at least."""
    if x.dim() == 4:  # features in channels_last: let the rows be the pixels
        x = x.permute(0, 2, 3, 1)
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    return _sum(x * x)


class _BuresDistance(torch.autograd.Function):
    """tr(S + W - 2 (A S A)^1/2) for symmetric positive semidefinite S (C, C) and W = A A, both with a ridge.

    The gradient in S is I - T with T = A (A S A)^-1/2 A, the matrix of the optimal transport map: no back-propagation
    through a matrix root. The plain twin is autograd through two roots (tests/test_losses.py).
    """

    @staticmethod
    def forward(ctx, found, wanted_root, ridge):
        eye = torch.eye(found.shape[0], dtype=found.dtype, device=found.device)
        found = found + ridge * eye
        values, vectors = eigh(wanted_root @ found @ wanted_root)
        # Both factors are at least the ridge, so is their product its square; rounding can push it lower.
        roots = values.clamp(min=ridge**2).sqrt()
        half = wanted_root @ vectors
        ctx.save_for_backward(eye - (half / roots) @ half.T)
        return torch.diagonal(found).sum() + squares(wanted_root) - 2 * roots.sum()

    @staticmethod
    def backward(ctx, d_distance):
        return d_distance * ctx.saved_tensors[0], None, None
