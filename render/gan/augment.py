"""Differentiable augmentation: the images that the discriminator sees, real and generated alike, are changed
at random, so that it cannot memorise a small data set (Zhao et al. 2020, "Differentiable Augmentation for
Data-Efficient GAN Training").

Images are (N, C, H, W) in [-1, 1] or [0, 1].
"""

import torch
import torch.nn.functional as F

SHIFT = 1 / 8  # of the side, each way (Zhao et al. 2020, section 4)
CUTOUT = 1 / 2  # of the side


def colour(x: torch.Tensor) -> torch.Tensor:
    """Change brightness, saturation and contrast."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device)
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + 2 * saturation * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (x - mean)


def translation(x: torch.Tensor) -> torch.Tensor:
    """Shift by up to SHIFT of the side; zeros come in from beyond the edge."""
    count, _, height, width = x.shape
    padded = F.pad(x, (1, 1, 1, 1))
    rows = _shifted(height, count, x.device)
    columns = _shifted(width, count, x.device)
    images = torch.arange(count, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _shifted(side: int, count: int, device) -> torch.Tensor:
    """(count, side) places in a padded line: each image's moved by the same number of px, 0 and side + 1
    being beyond."""
    most = int(SHIFT * side + 0.5)
    shift = torch.randint(-most, most + 1, (count, 1), device=device)
    return (torch.arange(side, device=device) + shift + 1).clamp(0, side + 1)


def cutout(x: torch.Tensor) -> torch.Tensor:
    """Set a square to zero: anywhere, even partly outside the image."""
    count, _, height, width = x.shape
    keep = []
    for side in (height, width):
        half = int(CUTOUT * side + 0.5) / 2
        centre = torch.rand(count, 1, device=x.device) * side
        keep.append((torch.arange(side, device=x.device) + 0.5 - centre).abs() > half)
    return x * (keep[0][:, None, :, None] | keep[1][:, None, None, :])


KINDS = {"colour": colour, "translation": translation, "cutout": cutout}


def augmented(x: torch.Tensor, kinds: str) -> torch.Tensor:
    """kinds: names of KINDS with commas between, "" for none."""
    for name in filter(None, kinds.split(",")):
        x = KINDS[name](x)
    return x
