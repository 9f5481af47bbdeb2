"""Facts about VGG-19's layers, and what follows from them: order, reach, cost. No tensors.

Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", column E.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # (channels, convolutions) of each block


@dataclass(frozen=True)
class Layer:
    """Facts about one layer."""

    name: str
    kind: str  # "conv", "relu" or "pool"
    channels: int  # of its output
    stride_px: int  # image pixels between neighboring outputs
    reach_px: (
        int  # how far an output sees beyond its own place, a square of stride_px x stride_px image pixels
    )


def _vgg19_layers() -> Iterator[Layer]:
    stride, reach = 1, 0
    for block, (channels, convolutions) in enumerate(_BLOCKS, start=1):
        for i in range(1, convolutions + 1):
            reach += stride  # a 3x3 convolution sees one neighbor on each side
            yield Layer(f"conv{block}_{i}", "conv", channels, stride, reach)
            yield Layer(f"relu{block}_{i}", "relu", channels, stride, reach)
        stride *= 2  # a 2x2 pool sees no more than the place of its output
        yield Layer(f"pool{block}", "pool", channels, stride, reach)


LAYERS: Mapping[str, Layer] = {layer.name: layer for layer in _vgg19_layers()}


def convolutions() -> tuple[tuple[str, int, int], ...]:
    """(name, input channels, output channels) of every convolution, in order."""
    result, channels = [], 3
    for layer in LAYERS.values():
        if layer.kind == "conv":
            result.append((layer.name, channels, layer.channels))
            channels = layer.channels
    return tuple(result)


def needed(names: Iterable[str]) -> tuple[Layer, ...]:
    """The layers to run, in order, so that every one of `names` is computed and nothing deeper."""
    names = set(names)
    order = list(LAYERS.values())
    deepest = max(i for i, layer in enumerate(order) if layer.name in names)
    return tuple(order[: deepest + 1])


def multiply_adds_per_pixel(names: Iterable[str]) -> int:
    """Multiply-adds of one forward pass per image pixel, borders neglected."""
    run = {layer.name for layer in needed(names)}
    return sum(
        9 * c_in * c_out // LAYERS[name].stride_px ** 2 for name, c_in, c_out in convolutions() if name in run
    )


def activation_bytes_per_pixel(names: Iterable[str], *, bytes_per_value: int) -> float:
    """Memory that one forward pass keeps for the backward pass, per image pixel: the output of every
    convolution (its ReLU works in place), and the output and the int64 indices of every pool."""
    total = 0.0
    for layer in needed(names):
        values = layer.channels / layer.stride_px**2
        if layer.kind == "conv":
            total += values * bytes_per_value
        elif layer.kind == "pool":
            total += values * (bytes_per_value + 8)
    return total
