"""VGG-19 as a function from an image to named features.

Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", column E.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F

from render.network.layers import needed


class Network:
    """The convolutional part of VGG-19, with fixed weights.

    Args:
        parameters: {"conv1_1": (weight (C_out, C_in, 3, 3), bias (C_out,)), ...}, for images in RGB.
        mean, deviation: one value per RGB channel, for images in [0, 1]. The first layer receives
            (image - mean) / deviation.
        pooling: "max", as it was trained, or "average".
        dtype: of the features; images are float32.
        label: name of the weights, for messages and records.
    """

    def __init__(
        self,
        parameters: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
        *,
        mean: Sequence[float],
        deviation: Sequence[float],
        pooling: str = "max",
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        label: str = "vgg19",
    ):
        self.pooling, self.dtype, self.device, self.label = pooling, dtype, torch.device(device), label
        self.mean = torch.tensor(mean, device=device, dtype=torch.float32).view(1, 3, 1, 1)
        self.deviation = torch.tensor(deviation, device=device, dtype=torch.float32).view(1, 3, 1, 1)
        self.parameters = {
            name: (
                weight.to(device, dtype).contiguous(memory_format=torch.channels_last),
                bias.to(device, dtype),
            )
            for name, (weight, bias) in parameters.items()
        }

    def with_pooling(self, pooling: str) -> "Network":
        """The same weights (shared, not copied) with "max" or "average" pooling."""
        twin = object.__new__(Network)
        twin.__dict__.update(self.__dict__, pooling=pooling)
        return twin

    def __call__(self, image: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Features of an image.

        image: (1, 3, H, W), sRGB in [0, 1]. Returns {name: (1, C, H // stride, W // stride)} in the network's
        dtype and channels_last layout, in order of depth. Every convolution pads its input with zeros, as in
        training.
        """
        return dict(self.run(image, names))

    def run(self, image: torch.Tensor, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (name, features), each layer as soon as it is computed."""
        names = set(names)
        x = (
            ((image - self.mean) / self.deviation)
            .to(self.dtype)
            .contiguous(memory_format=torch.channels_last)
        )
        for layer in needed(names):
            if layer.kind == "conv":
                x = F.conv2d(x, *self.parameters[layer.name], padding=1)
            elif layer.kind == "relu":
                # In place, unless the output of the convolution is requested too.
                x = F.relu(x, inplace=f"conv{layer.name[4:]}" not in names)
            else:
                x = self._pool(x)
            if layer.name in names:
                yield layer.name, x

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        if self.pooling == "average":
            return F.avg_pool2d(x, 2)
        return F.max_pool2d(x, 2)
