"""Style, content and total-variation losses: pure functions of tensors."""

import torch

from render.network.linalg import band_rows, eigh
from render.network.moments import Moments


def gram_distance(found: Moments, wanted: Moments) -> torch.Tensor:
    """Squared Frobenius distance of the Gram matrices, each divided by its number of pixels (Gatys et al.
    2016, eq. 4, without its factor)."""
    return squares(found.gram - wanted.gram)


def gatys_gram(found: Moments, wanted: Moments) -> torch.Tensor:
    """E_l of Gatys et al. 2016, eq. 4: 1 / (4 N^2 M^2) |G - A|^2. Each Gram matrix is divided by its own M,
    so that the two images may differ in size."""
    channels = found.total.shape[0]
    return gram_distance(found, wanted) / (4 * channels**2)


def gram(found: Moments, wanted: Moments) -> torch.Tensor:
    """Gram distance relative to the style: 0 for the style itself, 1 if all features are zero, at any layer
    and size."""
    return gram_distance(found, wanted) / squares(wanted.gram)


def gram_mean_std(found: Moments, wanted: Moments) -> torch.Tensor:
    """Distance of Gram matrices, channel means and standard deviations (Galerne et al. 2024, "Scaling
    Painting Style Transfer", eq. 5), each relative to the style's."""
    mean = squares(found.mean - wanted.mean) / squares(wanted.mean)
    deviation = squares(_deviation(found) - _deviation(wanted)) / squares(_deviation(wanted))
    return (gram(found, wanted) + mean + deviation) / 3


def wasserstein(found: Moments, wanted: Moments) -> torch.Tensor:
    """Squared Wasserstein-2 distance between the Gaussian distributions with these moments (Olkin &
    Pukelsheim 1982), relative to the mean squared length of the style's feature vectors."""
    distance = squares(found.mean - wanted.mean) + _BuresDistance.apply(
        found.covariance, wanted.covariance_root, wanted.covariance_ridge
    )
    return distance / torch.diagonal(wanted.gram).sum()


def total_variation(image: torch.Tensor) -> torch.Tensor:
    """Anisotropic L2 total variation (as in Stanford CS231n), divided by the number of pixels.

    image: (1, 3, H, W) in [0, 1].
    """
    down, right = _differences(image)
    return (_sum(down.square()) + _sum(right.square())) / (image.shape[2] * image.shape[3])


def total_variation_power(image: torch.Tensor) -> torch.Tensor:
    """Sum of squared differences to the power 1.25 (as in Keras' neural style example), divided by the number
    of pixels. image: (1, 3, H, W) in [0, 1]."""
    return _power_sum(image) / (image.shape[2] * image.shape[3])


STYLE_LOSSES = {"gram": gram, "gram-mean-std": gram_mean_std, "wasserstein": wasserstein}
TV_LOSSES = {"l2": total_variation, "power": total_variation_power}

_FLAT = 1e-12  # keeps the derivative of the power finite where an image is flat


def add_total_variation(image: torch.Tensor, gradient: torch.Tensor, *, form: str, weight: float) -> float:
    """Total variation of an image (1, 3, H, W). Adds weight x its gradient to `gradient` (1, 3, H, W), in
    place.

    The plain twin is TV_LOSSES[form] and autograd. This one takes a band of rows at a time (with the first
    row of the next band), so it needs little memory; and its gradient is derived by hand, which is faster.
    """
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
    """Total variation, a float64 sum, of the pairs of neighbors that begin in the first `rows` rows of a band
    (1, 3, h, W), and its derivatives with respect to the differences downwards and to the right."""
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
    """Add to a gradient: factor x the derivatives `slopes` with respect to the differences between each pixel
    and the one `down` rows and `right` columns further."""
    height, width = slopes.shape[-2:]
    gradient[..., down : down + height, right : right + width].add_(slopes, alpha=factor)
    gradient[..., :height, :width].sub_(slopes, alpha=factor)


def _power_sum(image: torch.Tensor) -> torch.Tensor:
    down, right = _differences(image)
    both = down[..., :-1].square() + right[..., :-1, :].square()
    return _sum((both + _FLAT).pow(1.25))


def _differences(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of neighbors: downwards (..., H-1, W), to the right (..., H, W-1)."""
    return image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]


def _deviation(m: Moments) -> torch.Tensor:
    """Standard deviation of each channel, (C,)."""
    variance = torch.diagonal(m.covariance)
    # A channel that is zero everywhere has variance 0, where the root has no derivative without the addend.
    return (variance.clamp(min=0) + 1e-8).sqrt()


def _sum(x: torch.Tensor) -> torch.Tensor:
    """Sum dimension by dimension, the last first: an order of addition that is the same for every number of
    threads. torch divides a single sum of more than 32 768 values among the threads."""
    while x.dim() > 1:
        x = x.sum(-1)
    return x.sum()


def squares(x: torch.Tensor) -> torch.Tensor:
    """Sum of squares, in float32 or float64."""
    if x.dim() == 4:  # features in channels_last: the order in memory
        x = x.permute(0, 2, 3, 1)  # (1, H, W, C)
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    return _sum(x * x)


class _BuresDistance(torch.autograd.Function):
    """tr(S + W - 2 (A S A)^1/2) for symmetric positive semidefinite S (C, C) and W = A A, both with a ridge.

    The gradient with respect to S is I - T, where T = A (A S A)^-1/2 A is the matrix of the optimal transport
    map, so nothing is back-propagated through a matrix root. The plain twin is autograd through two roots
    (tests/network/test_losses.py).
    """

    @staticmethod
    def forward(ctx, found, wanted_root, ridge):
        eye = torch.eye(found.shape[0], dtype=found.dtype, device=found.device)
        found = found + ridge * eye
        values, vectors = eigh(wanted_root @ found @ wanted_root)
        # All eigenvalues of A A and of S are at least the ridge, so these are at least its square; rounding
        # can make them smaller.
        roots = values.clamp(min=ridge**2).sqrt()
        half = wanted_root @ vectors
        ctx.save_for_backward(eye - (half / roots) @ half.T)
        return torch.diagonal(found).sum() + squares(wanted_root) - 2 * roots.sum()

    @staticmethod
    def backward(ctx, d_distance):
        return d_distance * ctx.saved_tensors[0], None, None
