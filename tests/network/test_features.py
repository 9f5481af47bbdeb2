"""The network: real VGG-19 against an independent forward pass of the same weights."""

import numpy as np
import pytest
import torch
from torch import nn

from render.network import weights
from render.network.layers import LAYERS, activation_bytes_per_pixel, multiply_adds_per_pixel, needed

EVERY = list(LAYERS)


@pytest.fixture(scope="module")
def network():
    return weights.load().network()


def pattern(height=48, width=64):
    """A fixed picture with edges, a gradient and colours: (1, 3, H, W) in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([x, (torch.sin(20 * x * y) + 1) / 2, (x + y > 1).float()])[None]


def independent_forward(image, pooling=nn.MaxPool2d):
    """VGG-19 as Simonyan and Zisserman publish it, from the packed file, with nothing of ours but the file's
    place."""
    stored = torch.load(weights.embedded_path(), weights_only=True)
    bgr = image[:, [2, 1, 0]] * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    found, x = {}, bgr
    for block, depth in enumerate((2, 2, 4, 4, 4), start=1):
        for i in range(1, depth + 1):
            key = f"block{block}_conv{i}"
            table, codes = stored[f"{key}_W_table"].numpy(), stored[f"{key}_W_q"].numpy()
            conv = nn.Conv2d(codes.shape[1], codes.shape[0], 3, padding=1)
            conv.weight.data = torch.from_numpy(np.take(table, codes))
            conv.bias.data = stored[f"{key}_b"]
            x = found[f"conv{block}_{i}"] = conv(x)
            x = found[f"relu{block}_{i}"] = torch.relu(x)
        x = found[f"pool{block}"] = pooling(2)(x)
    return found


@pytest.mark.parametrize("pooling, twin", [("max", nn.MaxPool2d), ("average", nn.AvgPool2d)])
def test_every_layer_equals_an_independent_forward_pass(network, pooling, twin):
    image = pattern()
    with torch.no_grad():
        wanted = independent_forward(image, twin)
        found = network.with_pooling(pooling)(image, EVERY)
    assert list(found) == list(wanted)
    for name in EVERY:
        scale = wanted[name].abs().max()
        assert (found[name] - wanted[name]).abs().max() < 1e-5 * scale, name


def test_pooling_matters(network):
    a, b = (network.with_pooling(p)(pattern(), ["relu4_1"])["relu4_1"] for p in ("max", "average"))
    assert (a - b).abs().mean() > 0.1 * a.abs().mean()


def test_asking_for_a_convolution_does_not_hand_out_its_rectified_copy(network):
    found = network(pattern(), ["conv3_1", "relu3_1"])
    assert found["conv3_1"].min() < 0 and torch.equal(found["conv3_1"].relu(), found["relu3_1"])


def test_nothing_deeper_than_the_deepest_layer_is_run():
    assert [layer.name for layer in needed(["relu1_2", "conv1_1"])] == [
        "conv1_1",
        "relu1_1",
        "conv1_2",
        "relu1_2",
    ]


def test_bfloat16_features_are_near_float32_ones(network):
    half = weights.load().network(dtype=torch.bfloat16)
    a, b = (n(pattern(), ["relu4_1"])["relu4_1"].float() for n in (network, half))
    assert b.dtype == torch.float32 and 0 < (a - b).norm() / a.norm() < 0.03


def test_the_table_tells_each_layers_channels_and_stride(network):
    with torch.no_grad():
        found = network(pattern(64, 96), EVERY)
    for name, features in found.items():
        layer = LAYERS[name]
        assert features.shape == (1, layer.channels, 64 // layer.stride_px, 96 // layer.stride_px)


@pytest.mark.parametrize("name", ["relu1_1", "relu2_1", "relu3_1", "conv4_2", "pool3", "relu5_1"])
def test_the_reach_is_as_far_as_a_pixel_is_felt(name):
    # A network of ones with average pooling feels every pixel that it can reach.
    ones = {
        n: (torch.full((o, i, 3, 3), 1 / (9 * i)), torch.zeros(o))
        for n, i, o in (
            (layer.name, c_in, 1)
            for layer, c_in in zip(
                [layer for layer in LAYERS.values() if layer.kind == "conv"], [3] + [1] * 15
            )
        )
    }
    from render.network.features import Network

    network = Network(ones, mean=(0, 0, 0), deviation=(1, 1, 1), pooling="average")
    side, layer = 512, LAYERS[name]
    image = torch.zeros(1, 3, side, side, requires_grad=True)
    features = network(image, [name])[name]
    place = features.shape[2] // 2
    (gradient,) = torch.autograd.grad(network(image + 0.5, [name])[name][0, 0, place, place], image)
    felt = gradient[0, 0].abs().sum(0).nonzero().flatten()
    first, last = place * layer.stride_px, place * layer.stride_px + layer.stride_px - 1
    farthest = max(first - felt.min().item(), felt.max().item() - last)
    assert layer.reach_px == farthest


def test_costs_are_those_of_the_design():
    assert multiply_adds_per_pixel(["relu5_1"]) == pytest.approx(361_000, rel=0.01)
    assert multiply_adds_per_pixel(["relu1_1"]) == 9 * 3 * 64
    kept = activation_bytes_per_pixel(["relu1_2"], bytes_per_value=2)
    assert kept == 2 * 64 * 2
