"""The sums over pixels that every style loss is a function of.

They add, so the moments of an image are the sum of its tiles' moments.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from render.linalg import affine, eigh, sums

# Deep layers of small images have fewer pixels than channels, so their covariance has no inverse without a ridge.
RIDGE = 1e-4


@dataclass(frozen=True)
class Moments:
    """count: number of pixels; total: (C,) sum of the features; outer: (C, C) sum of their outer products; float32."""

    count: float
    total: torch.Tensor
    outer: torch.Tensor

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    def __mul__(self, factor: float) -> "Moments":
        return Moments(self.count * factor, self.total * factor, self.outer * factor)

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


def moments(features: torch.Tensor) -> Moments:
    """Moments of features (1, C, H, W) of any float type. Sums are taken in float32 (float64 stays float64)."""
    # (H*W, C): a view of channels_last features, and so is its gradient; `features[0]` would lay that out anew.
    x = features.permute(0, 2, 3, 1).flatten(0, 2)
    return Moments(float(x.shape[0]), *_Sums.apply(x))


def mix(parts: list[tuple[Moments, float]]) -> Moments:
    """Moments of a weighted mixture of pictures, each counting by its weight and not by its pixels."""
    total_weight = sum(weight for _, weight in parts)
    normalised = [m * (weight / total_weight / m.count) for m, weight in parts]
    result = normalised[0]
    for m in normalised[1:]:
        result = result + m
    return result


class _Sums(torch.autograd.Function):
    """x (N, C) -> sum of rows (C,), sum of outer products (C, C).

    The plain twin is `x.float().sum(0), x.float().T @ x.float()`. Sums are never taken in bfloat16. The backward pass
    sums over channels only, which the processor does in float32 inside one bfloat16 product: it stays in x's type.
    What is kept between the two is the network's own activation and costs nothing.
    """

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return sums(_wide(x))

    @staticmethod
    def backward(ctx, d_total, d_outer):
        (x,) = ctx.saved_tensors
        return affine(x, (d_outer + d_outer.T).to(x.dtype), d_total.to(x.dtype))


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()
