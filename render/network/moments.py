"""The sums over pixels that every style loss is a function of.

They add, so the moments of an image are the sum of its tiles' moments.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from render.network.linalg import affine, eigh, sums
from render.network.tiling import Box

# Deep layers of small images have fewer pixels than channels, so their covariance has no inverse without a
# ridge.
RIDGE = 1e-4


@dataclass(frozen=True)
class Moments:
    """count: number of pixels; total: (C,) sum of the features; outer: (C, C) sum of their outer products;
    float64."""

    count: float
    total: torch.Tensor
    outer: torch.Tensor

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    def __mul__(self, factor: float) -> "Moments":
        return Moments(self.count * factor, self.total * factor, self.outer * factor)

    def to(self, device) -> "Moments":
        return Moments(self.count, self.total.to(device), self.outer.to(device))

    @property
    def mean(self) -> torch.Tensor:  # (C,)
        return self.total / self.count

    @property
    def gram(self) -> torch.Tensor:  # (C, C)
        """Gram matrix divided by the number of pixels: G / M of Gatys et al. 2016, eq. 3."""
        return self.outer / self.count

    @property
    def covariance(self) -> torch.Tensor:  # (C, C)
        mean = self.mean
        return self.gram - torch.outer(mean, mean)

    @cached_property
    def covariance_ridge(self) -> float:
        """What is added to covariances compared with this one: RIDGE of its mean variance."""
        return RIDGE * torch.diagonal(self.covariance).mean().item()

    @cached_property
    def covariance_root(self) -> torch.Tensor:  # (C, C)
        """Square root of the ridged covariance; kept, because a style's target is compared at every step."""
        values, vectors = eigh(self.covariance)
        return (vectors * (values.clamp(min=0) + self.covariance_ridge).sqrt()) @ vectors.T


def moments(features: torch.Tensor, place: Box | None = None) -> Moments:
    """Moments of features (1, C, H, W) of any float type, or of those at `place`. Sums are float64."""
    rows, columns = features.shape[-2:] if place is None else place.size
    return Moments(float(rows * columns), *_Sums.apply(features, place or Box(0, 0, rows, columns)))


def mix(parts: list[tuple[Moments, float]]) -> Moments:
    """Moments of a weighted mixture of pictures, each counting by its weight and not by its pixels."""
    total_weight = sum(weight for _, weight in parts)
    normalised = [m * (weight / total_weight / m.count) for m, weight in parts]
    result = normalised[0]
    for m in normalised[1:]:
        result = result + m
    return result


class _Sums(torch.autograd.Function):
    """Features (1, C, H, W) at a place -> sum over pixels (C,), sum of outer products (C, C).

    The plain twin is autograd of `x.sum(0), x.T @ x` for the features as rows x (H*W, C). Sums are never
    taken in bfloat16. The backward pass sums over channels only, which the processor does in float32 inside
    one bfloat16 product: it stays in the features' type. What is kept between the two is the network's own
    activation and costs nothing.
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
        part = affine(x, (d_outer + d_outer.T).to(x.dtype), d_total.to(x.dtype)).view(x.shape)
        if part.shape[:2] == features.shape[-2:]:
            return part.permute(2, 0, 1)[None], None
        gradient = torch.zeros_like(features)
        _rows(gradient, ctx.place).copy_(part)
        return gradient, None


def _rows(features: torch.Tensor, place: Box) -> torch.Tensor:
    """(H, W, C): a view of channels_last features, and so is its gradient; `features[0]` would lay that out
    anew."""
    return place.of(features).permute(0, 2, 3, 1)[0]
