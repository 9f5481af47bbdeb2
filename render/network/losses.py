"""Style, content and total-variation losses: pure functions of tensors."""

import torch

from render.network.linalg import band_rows, eigh
from render.network.moments import Moments


def gram_distance(found: Moments, wanted: Moments) -> torch.Tensor:
    """Squared Frobenius distance of the Gram matrices per pixel (Gatys et al. 2016, eq. 4, without its
    factor)."""
    return squares(found.gram - wanted.gram)


def gatys_gram(found: Moments, wanted: Moments) -> torch.Tensor:
    """E_l of Gatys et al. 2016, eq. 4: 1 / (4 N^2 M^2) |G - A|^2, with G/M so that the two images may differ
    in size."""
    channels = found.total.shape[0]
    return gram_distance(found, wanted) / (4 * channels**2)


def gram(found: Moments, wanted: Moments) -> torch.Tensor:
    """Relative Gram distance: 1 for a black image, 0 for the style itself, whatever the layer and the
    size."""
    return gram_distance(found, wanted) / squares(wanted.gram)


def gram_mean_std(found: Moments, wanted: Moments) -> torch.Tensor:
    """Gram matrix with channel means and deviations (Galerne et al. 2024, "Scaling Painting Style Transfer",
    eq. 5), each relative to the style's own."""
    mean = squares(found.mean - wanted.mean) / squares(wanted.mean)
    deviation = squares(_deviation(found) - _deviation(wanted)) / squares(_deviation(wanted))
    return (gram(found, wanted) + mean + deviation) / 3


def wasserstein(found: Moments, wanted: Moments) -> torch.Tensor:
    """Squared Wasserstein-2 distance between the Gaussians with these moments (Olkin & Pukelsheim 1982),
    relative to the style's mean squared feature."""
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

_FLAT = 1e-12  # keeps the slope of the power finite where an image is flat


def add_total_variation(image: torch.Tensor, gradient: torch.Tensor, *, form: str, weight: float) -> float:
    """The total variation of an image; adds weight x its gradient to `gradient` (1, 3, H, W). A band of rows
    at a time, each with the first row of the next: equal to TV_LOSSES[form] and autograd, in the memory of a
    band, and by hand in a fraction of the time."""
    height, width = image.shape[-2:]
    total, step = 0.0, band_rows(image)
    for top in range(0, height, step):
        rows = slice(top, min(top + step + 1, height))
        band = image[..., rows, :].detach()
        part, down, right = _band_sum(band, min(step, height - top), form)
        total = total + part
        if weight:
            _add_slopes(gradient[..., rows, :], down, 1, 0, weight / (height * width))
            _add_slopes(gradient[..., rows, :], right, 0, 1, weight / (height * width))
    return float(total) / (height * width)


def _band_sum(band: torch.Tensor, rows: int, form: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum over the pairs of neighbours that begin in the first `rows` rows, in float64, and its slopes in the
    differences downwards and to the right."""
    down, right = _differences(band)
    right = right[..., :rows, :]
    if form == "l2":
        return (_sum(down.square()) + _sum(right.square())).double(), down.mul_(2), right.mul_(2)
    down, right = down[..., :-1], right[..., : down.shape[-2], :]
    both = down.square().addcmul_(right, right).add_(_FLAT)
    root = both.pow(0.25)
    total = _sum(both.mul_(root)).double()
    return total, down.mul_(root.mul_(2.5)), right.mul_(root)


def _add_slopes(gradient: torch.Tensor, slopes: torch.Tensor, down: int, right: int, factor: float) -> None:
    """Adds factor x slopes in the differences between pixels and those `down` and `right` of them."""
    height, width = slopes.shape[-2:]
    gradient[..., down : down + height, right : right + width].add_(slopes, alpha=factor)
    gradient[..., :height, :width].sub_(slopes, alpha=factor)


def _power_sum(image: torch.Tensor) -> torch.Tensor:
    down, right = _differences(image)
    both = down[..., :-1].square() + right[..., :-1, :].square()
    return _sum((both + _FLAT).pow(1.25))


def _differences(image):
    return image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]


def _deviation(m: Moments) -> torch.Tensor:
    variance = torch.diagonal(m.covariance)
    # A channel that never fires has no deviation to match; the floor keeps the root differentiable there.
    return (variance.clamp(min=0) + 1e-8).sqrt()


def _sum(x: torch.Tensor) -> torch.Tensor:
    """Sum dimension by dimension, the last first: an order of addition that no thread count changes. One flat
    sum, of more than 32 768 values, is split among the threads."""
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

    The gradient in S is I - T with T = A (A S A)^-1/2 A, the matrix of the optimal transport map: no
    back-propagation through a matrix root. The plain twin is autograd through two roots
    (tests/network/test_losses.py).
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
