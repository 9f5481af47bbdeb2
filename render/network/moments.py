"""The sums over pixels from which every style loss is computed.

The moments of an image are the sum of the moments of its tiles.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from render.network.linalg import affine, eigh, sums
from render.network.tiling import Box

# Added to the diagonal of covariances, relative to their mean variance. Deep layers of small images have
# fewer pixels than channels, and without a ridge their covariance has no inverse.
RIDGE = 1e-4


@dataclass(frozen=True)
class Moments:
    """Sums over the pixels of one layer's features."""

    count: float  # number of pixels, or a weight
    total: torch.Tensor  # (C,) float64: sum of the feature vectors
    outer: torch.Tensor  # (C, C) float64: sum of their outer products

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    def __mul__(self, factor: float) -> "Moments":
        return Moments(self.count * factor, self.total * factor, self.outer * factor)

    def to(self, device: str | torch.device) -> "Moments":
        return Moments(self.count, self.total.to(device), self.outer.to(device))

    @property
    def mean(self) -> torch.Tensor:  # (C,)
        return self.total / self.count

    @property
    def gram(self) -> torch.Tensor:  # (C, C)
        """Gram matrix divided by the number of pixels, G / M in Gatys et al. 2016, eq. 3."""
        return self.outer / self.count

    @property
    def covariance(self) -> torch.Tensor:  # (C, C)
        mean = self.mean
        return self.gram - torch.outer(mean, mean)

    @cached_property
    def covariance_ridge(self) -> float:
        """What is added to the diagonals when covariances are compared with this one."""
        return RIDGE * torch.diagonal(self.covariance).mean().item()

    @cached_property
    def covariance_root(self) -> torch.Tensor:  # (C, C)
        """Square root of the covariance with its ridge. Cached, since a style's moments are used at each
        step."""
        values, vectors = eigh(self.covariance)
        return (vectors * (values.clamp(min=0) + self.covariance_ridge).sqrt()) @ vectors.T


def moments(features: torch.Tensor, place: Box | None = None) -> Moments:
    """Moments of features (1, C, H, W) of any float type, or of the part of them at `place`."""
    rows, columns = features.shape[-2:] if place is None else place.size
    return Moments(float(rows * columns), *_Sums.apply(features, place or Box(0, 0, rows, columns)))


def mix(parts: list[tuple[Moments, float]]) -> Moments:
    """Moments of a mixture [(moments, weight)], in which each picture counts by its weight and not by the
    number of its pixels."""
    total_weight = sum(weight for _, weight in parts)
    normalized = [m * (weight / total_weight / m.count) for m, weight in parts]
    result = normalized[0]
    for m in normalized[1:]:
        result = result + m
    return result


class _Sums(torch.autograd.Function):
    """Features (1, C, H, W) at a place -> sum over pixels (C,), sum of outer products (C, C).

    The plain twin is autograd of `x.sum(0), x.T @ x` for the features as rows x (H*W, C). Sums over pixels
    are never computed in bfloat16. The backward pass sums over channels only, which processors do in float32
    within one bfloat16 product, so it keeps the features' type. The only tensor saved for it is an activation
    that the network keeps anyway.
    """

    @staticmethod
    def forward(ctx, features, place):
        ctx.save_for_backward(features)
        ctx.place = place
        return sums(_rows(features, place))

    @staticmethod
    def backward(ctx, d_total, d_outer):
        (features,) = ctx.saved_tensors
        x = _rows(features, ctx.place)
        # d(sum of x x^T) = (D + D^T) x for each pixel's x
        part = affine(x, (d_outer + d_outer.T).to(x.dtype), d_total.to(x.dtype)).view(x.shape)  # (H, W, C)
        if part.shape[:2] == features.shape[-2:]:
            return part.permute(2, 0, 1)[None], None
        gradient = torch.zeros_like(features)
        _rows(gradient, ctx.place).copy_(part)
        return gradient, None


def _rows(features: torch.Tensor, place: Box) -> torch.Tensor:
    """(H, W, C), a view of channels_last features. So is its gradient, which indexing (`features[0]`) would
    copy into another layout."""
    return place.of(features).permute(0, 2, 3, 1)[0]
