"""Losses of discriminator and generator: functions of the logits (N,) of real and generated images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

PENALTY = 10.0  # Gulrajani et al. 2017, algorithm 1


@dataclass(frozen=True)
class Loss:
    """A pair of losses."""

    discriminator: Callable[..., torch.Tensor]
    """discriminator(real, fake, label_noise): a scalar."""
    generator: Callable[[torch.Tensor], torch.Tensor]
    """generator(fake): a scalar."""
    penalised: bool = False
    """Whether `gradient_penalty` is added to the discriminator's."""
    perfect: float | None = 0.0
    """The discriminator's loss when it separates real from generated perfectly; None: there is no such
    value."""


def minimax(real: torch.Tensor, fake: torch.Tensor, label_noise: float = 0.0) -> torch.Tensor:
    """Goodfellow et al. 2014, eq. 1, as cross entropies. label_noise: labels differ from 1 and 0 by up to so
    much, at random."""
    wanted_real, wanted_fake = torch.ones_like(real), torch.zeros_like(fake)
    if label_noise:
        wanted_real -= label_noise * torch.rand_like(real)
        wanted_fake += label_noise * torch.rand_like(fake)
    return F.binary_cross_entropy_with_logits(real, wanted_real) + F.binary_cross_entropy_with_logits(
        fake, wanted_fake
    )


def non_saturating(fake: torch.Tensor) -> torch.Tensor:
    """Goodfellow et al. 2014, section 3: maximise log D(G(z))."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def least_squares(real: torch.Tensor, fake: torch.Tensor, label_noise: float = 0.0) -> torch.Tensor:
    """Mao et al. 2017, eq. 9 with a = 0, b = 1."""
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def least_squares_generator(fake: torch.Tensor) -> torch.Tensor:
    """Mao et al. 2017, eq. 9 with c = 1."""
    return 0.5 * (fake - 1).square().mean()


def wasserstein(real: torch.Tensor, fake: torch.Tensor, label_noise: float = 0.0) -> torch.Tensor:
    """Arjovsky et al. 2017, eq. 2, to be minimised."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: torch.Tensor) -> torch.Tensor:
    return -fake.mean()


def hinge(real: torch.Tensor, fake: torch.Tensor, label_noise: float = 0.0) -> torch.Tensor:
    """Lim & Ye 2017, eq. 11."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def gradient_penalty(discriminator, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Gulrajani et al. 2017, eq. 3: (|gradient| - 1)^2 at a random point between each pair of images (N, C,
    H, W), times PENALTY."""
    between = torch.lerp(real, fake, torch.rand(len(real), 1, 1, 1, device=real.device)).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return PENALTY * (gradient.flatten(1).norm(dim=1) - 1).square().mean()


LOSSES = {
    "minimax": Loss(minimax, non_saturating),
    "least-squares": Loss(least_squares, least_squares_generator),
    "wasserstein": Loss(wasserstein, wasserstein_generator, penalised=True, perfect=None),
    "hinge": Loss(hinge, wasserstein_generator),
}
