"""Generators and discriminators, each with the defaults of its training.

A generator maps latents (N, latent) to images (N, C, H, W) in its range; a discriminator maps such images to
logits (N,), or to a critic's values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from render.errors import UsageError

DIGITS = (1, 28, 28)  # MNIST and Fashion-MNIST


@dataclass(frozen=True)
class Architecture:
    """A generator, its discriminator, and the defaults of their training."""

    name: str
    source: str
    """Paper or course that it is from."""
    generator: Callable[[tuple[int, int, int]], nn.Module]
    """generator(shape) for images of shape (C, H, W)."""
    discriminator: Callable[[tuple[int, int, int]], nn.Module]
    """discriminator(shape) for images of shape (C, H, W)."""
    latent: int
    """Numbers drawn for a sample."""
    distribution: str
    """Of the latents: "uniform" in [-1, 1] or "normal"."""
    signed: bool
    """Whether images are in [-1, 1], not in [0, 1]."""
    shape: tuple[int, int, int] | None
    """(C, H, W) of the images; None: square and in color, see shape_for."""
    loss: str
    """A name of losses.LOSSES."""
    learning_rate: float
    betas: tuple[float, float]
    """Of Adam."""
    batch: int
    """Images of a step."""
    critic_steps: int = 1
    """Discriminator steps for each generator step."""
    label_noise: float = 0.0
    """See losses.minimax."""
    augment: str = ""
    """Differentiable augmentation, see augment.augmented."""
    ema: float = 0.999
    """Decay of the generator's moving average, per step."""
    mixed: bool = False
    """Whether it is trained in bfloat16 where the hardware multiplies that itself (measured on a CPU: 1.8
    times as fast for compact, nothing for the others)."""

    def shape_for(self, size_px: int | None) -> tuple[int, int, int]:
        """(C, H, W) of images of this size. Raises UsageError for a size that it cannot make."""
        if self.shape is not None:
            if size_px not in (None, self.shape[1]):
                raise UsageError(
                    f"--size {size_px}: {self.name} makes pictures of {self.shape[2]} x {self.shape[1]} px. "
                    "Leave --size out, or use --architecture compact."
                )
            return self.shape
        size_px = size_px or COMPACT_SIZES_PX[1]
        if size_px not in COMPACT_SIZES_PX:
            raise UsageError(
                f"--size {size_px}: {self.name} makes pictures of {', '.join(map(str, COMPACT_SIZES_PX))} px."
            )
        return (3, size_px, size_px)


# ---- the four of the course --------------------------------------------------------------------------------


def _fc_generator(shape):
    return nn.Sequential(
        nn.Linear(96, 1024),
        nn.ReLU(),
        nn.Linear(1024, 1024),
        nn.ReLU(),
        nn.Linear(1024, 784),
        nn.Tanh(),
        nn.Unflatten(1, shape),
    )


def _fc_discriminator(shape):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256),
        nn.LeakyReLU(0.01),
        nn.Linear(256, 256),
        nn.LeakyReLU(0.01),
        nn.Linear(256, 1),
        nn.Flatten(0),
    )


def _dcgan_generator(shape):
    """Chen et al. 2016 (InfoGAN), appendix C.1, with the activation before the normalisation, as in the
    course."""
    return nn.Sequential(
        nn.Linear(96, 1024),
        nn.ReLU(),
        nn.BatchNorm1d(1024),
        nn.Linear(1024, 7 * 7 * 128),
        nn.ReLU(),
        nn.BatchNorm1d(7 * 7 * 128),
        nn.Unflatten(1, (128, 7, 7)),
        nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(64),
        nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def _dcgan_discriminator(shape):
    return nn.Sequential(
        nn.Conv2d(1, 32, 5),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 64, 4 * 4 * 64),
        nn.LeakyReLU(0.01),
        nn.Linear(4 * 4 * 64, 1),
        nn.Flatten(0),
    )


def _wgan_critic(shape):
    """The course has batch normalisation after the second convolution. It makes a value depend on the whole
    batch, and the penalty is on each sample's own gradient; so it is layer normalisation, as Gulrajani et al.
    2017 (section 4) say."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 4, stride=2),
        nn.LeakyReLU(0.01),
        nn.Conv2d(64, 128, 4, stride=2),
        nn.LeakyReLU(0.01),
        nn.GroupNorm(1, 128),
        nn.Flatten(),
        nn.Linear(5 * 5 * 128, 1024),
        nn.LeakyReLU(0.01),
        nn.Linear(1024, 1),
        nn.Flatten(0),
    )


class _Same(nn.Module):
    """A layer with Keras' "same" padding of an even kernel: one row and column less at the end."""

    def __init__(self, layer: nn.ConvTranspose2d):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[..., :-1, :-1]


def _conv_generator(shape):
    return nn.Sequential(
        nn.Linear(64, 7 * 7 * 64),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        _Same(nn.ConvTranspose2d(32, 16, 4, padding=1)),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 1, 5, padding=2),
        nn.Sigmoid(),
    )


def _conv_discriminator(shape):
    return nn.Sequential(
        nn.Conv2d(1, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.ZeroPad2d((1, 2, 1, 2)),
        nn.Conv2d(128, 128, 4, stride=2),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(4 * 4 * 128, 1),
        nn.Flatten(0),
    )


# ---- for pictures ------------------------------------------------------------------------------------------

COMPACT_SIZES_PX = (32, 64, 128, 256)
COMPACT_LATENT = 128
_CHANNELS = {4: 256, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8}  # by the map's side, of both networks


class _Noise(nn.Module):
    """Adds noise of learned strength, from which fine texture is made (Karras et al. 2019, section 3.2):
    drawn anew in training, and always the same afterwards, so that a latent alone decides its image."""

    fixed: torch.Tensor
    """(1, 1, side, side): the noise after training."""

    def __init__(self, side: int):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed", torch.randn(1, 1, side, side))

    def forward(self, x):
        noise = torch.randn(len(x), *self.fixed.shape[1:], device=x.device) if self.training else self.fixed
        return x + (self.strength * noise).to(x.dtype)


def _up(channels: int, side: int, out: int) -> nn.Sequential:
    """Doubles a map to `side` px with `out` channels. It is interpolated, and mirrored at the edge: with
    repeated pixels samples showed a grid, and with zeros beyond the edge a frame."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear"),
        spectral_norm(nn.Conv2d(channels, 2 * out, 3, padding=1, padding_mode="reflect", bias=False)),
        _Noise(side),
        nn.BatchNorm2d(2 * out),
        nn.GLU(dim=1),
    )


class _Excite(nn.Module):
    """Skip-layer excitation: the channels of a fine map are weighted by a coarse one (Liu et al. 2021, eq.
    1)."""

    def __init__(self, coarse: int, fine: int):
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            spectral_norm(nn.Conv2d(coarse, fine, 4, bias=False)),
            nn.SiLU(),
            spectral_norm(nn.Conv2d(fine, fine, 1, bias=False)),
            nn.Sigmoid(),
        )

    def forward(self, coarse, fine):
        return fine * self.weigh(coarse)


class _CompactGenerator(nn.Module):
    """After Liu et al. 2021 (FastGAN): one wide map, doubled to the image's size, fine maps excited by coarse
    ones."""

    def __init__(self, shape):
        super().__init__()
        self.sides = [side for side in _CHANNELS if side <= shape[1]]
        self.first = nn.Sequential(
            spectral_norm(nn.ConvTranspose2d(COMPACT_LATENT, 2 * _CHANNELS[4], 4, bias=False)),
            nn.BatchNorm2d(2 * _CHANNELS[4]),
            nn.GLU(dim=1),
        )
        self.up = nn.ModuleDict(
            {str(side): _up(_CHANNELS[side // 2], side, _CHANNELS[side]) for side in self.sides[1:]}
        )
        self.excite = nn.ModuleDict(
            {str(side): _Excite(_CHANNELS[side // 8], _CHANNELS[side]) for side in self.sides if side >= 32}
        )
        self.last = spectral_norm(
            nn.Conv2d(_CHANNELS[self.sides[-1]], 3, 3, padding=1, padding_mode="reflect")
        )

    def forward(self, latents):
        maps = {4: self.first(F.normalize(latents, dim=1)[:, :, None, None] * COMPACT_LATENT**0.5)}
        for side in self.sides[1:]:
            x = self.up[str(side)](maps[side // 2])
            maps[side] = self.excite[str(side)](maps[side // 8], x) if side >= 32 else x
        return torch.tanh(self.last(maps[self.sides[-1]]))


def _down(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(channels, out, 4, stride=2, padding=1, bias=False)),
        nn.BatchNorm2d(out),
        nn.LeakyReLU(0.2),
    )


class _Halved(nn.Module):
    """Half the side, by convolutions and beside them by averages (Liu et al. 2021, figure 4)."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.main = nn.Sequential(
            _down(channels, out),
            spectral_norm(nn.Conv2d(out, out, 3, padding=1, bias=False)),
            nn.BatchNorm2d(out),
            nn.LeakyReLU(0.2),
        )
        self.direct = nn.Sequential(
            nn.AvgPool2d(2),
            spectral_norm(nn.Conv2d(channels, out, 1, bias=False)),
            nn.BatchNorm2d(out),
            nn.LeakyReLU(0.2),
        )

    def forward(self, x):
        return (self.main(x) + self.direct(x)) / 2


class _CompactDiscriminator(nn.Module):
    """Halves the image down to 8 x 8 and judges each place. So that it does not memorise a small data set, it
    also has to reconstruct the real images at a small size (`reconstruction`; Liu et al. 2021, section
    3.2)."""

    def __init__(self, shape):
        super().__init__()
        sides = [side for side in _CHANNELS if 8 <= side <= shape[1]][::-1]
        self.first = nn.Sequential(
            spectral_norm(nn.Conv2d(3, _CHANNELS[sides[0]], 3, padding=1, bias=False)), nn.LeakyReLU(0.2)
        )
        self.halved = nn.Sequential(*(_Halved(_CHANNELS[a], _CHANNELS[b]) for a, b in zip(sides, sides[1:])))
        self.judge = nn.Sequential(
            spectral_norm(nn.Conv2d(_CHANNELS[8], _CHANNELS[8], 1, bias=False)),
            nn.BatchNorm2d(_CHANNELS[8]),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(_CHANNELS[8], 1, 4, bias=False)),
        )
        self.paint = nn.Sequential(
            _up(_CHANNELS[8], 16, 64), _up(64, 32, 32), nn.Conv2d(32, 3, 3, padding=1), nn.Tanh()
        )

    def forward(self, images):
        return self.judge(self.halved(self.first(images))).mean((1, 2, 3))

    def reconstruction(self, images):
        """Mean absolute error of the images reconstructed at 32 px."""
        found = self.paint(self.halved(self.first(images)))
        return F.l1_loss(found, F.interpolate(images, found.shape[-2:], mode="area"))


_COURSE = "cs231n, Stanford, assignment 3"
ARCHITECTURES = {
    a.name: a
    for a in (
        Architecture(
            "fc",
            _COURSE,
            _fc_generator,
            _fc_discriminator,
            96,
            "uniform",
            True,
            DIGITS,
            "minimax",
            1e-3,
            (0.5, 0.999),
            128,
        ),
        Architecture(
            "dcgan",
            _COURSE,
            _dcgan_generator,
            _dcgan_discriminator,
            96,
            "uniform",
            True,
            DIGITS,
            "minimax",
            1e-3,
            (0.5, 0.999),
            128,
        ),
        # Critic steps: Gulrajani et al. 2017, algorithm 1. Its learning rate of 1e-4 is for 200 000 steps;
        # this one is the course's.
        Architecture(
            "wgan-gp",
            _COURSE,
            _dcgan_generator,
            _wgan_critic,
            96,
            "uniform",
            True,
            DIGITS,
            "wasserstein",
            1e-3,
            (0.5, 0.9),
            128,
            critic_steps=5,
        ),
        Architecture(
            "conv",
            "Keras example 'DCGAN'",
            _conv_generator,
            _conv_discriminator,
            64,
            "normal",
            False,
            DIGITS,
            "minimax",
            1e-4,
            (0.9, 0.999),
            512,
            label_noise=0.05,
        ),
        Architecture(
            "compact",
            "Liu et al. 2021 (FastGAN), reduced",
            _CompactGenerator,
            _CompactDiscriminator,
            COMPACT_LATENT,
            "normal",
            True,
            None,
            "hinge",
            2e-4,
            (0.5, 0.999),
            8,
            augment="colour,translation,cutout",
            mixed=True,
        ),
    )
}
