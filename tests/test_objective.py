"""The objective of one image: its value is the weighted sum, its gradient the derivative."""

from dataclasses import replace

import pytest
import torch

from render import losses, weights
from render.features import Network
from render.layers import convolutions
from render.moments import moments
from render.objective import Objective, Weighting, content_target, features_of, style_target

LAYERS = {"relu1_1": 1.0, "relu2_1": 3.0}
WEIGHTING = Weighting(LAYERS, {"relu2_2": 1.0}, style_weight=2.0, content_weight=0.5, tv_weight=0.1)


def picture(seed, height=24, width=32, dtype=torch.float32):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture(scope="module")
def tiny():
    """A seeded network of VGG-19's shape at its first two blocks, in float64."""
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: (torch.randn(c_out, c_in, 3, 3, generator=generator, dtype=torch.float64) / (3 * c_in**0.5),
               0.1 * torch.randn(c_out, generator=generator, dtype=torch.float64))
        for name, c_in, c_out in convolutions() if name < "conv3"
    }
    return Network(parameters, mean=(0.5,) * 3, deviation=(0.25,) * 3, dtype=torch.float64)


def objective(network, weighting, *, dtype=torch.float32, seeds=(1, 2)):
    style, content = (picture(seed, dtype=dtype) for seed in seeds)
    return Objective(network, weighting, style_target(network, [(style, 1.0)], weighting),
                     content_target(network, content, weighting))


def test_the_networks_zero_padding_is_not_felt_at_the_edge():
    network, grey = weights.load().network(), torch.full((1, 3, 48, 64), 0.9)
    for name in ("relu1_1", "relu2_1", "relu3_1"):  # the layers that see less far than the margin
        framed, found = network(grey, [name])[name], features_of(network, grey, [name])[name]
        assert found.shape == framed.shape
        spread = lambda x: (x - x[..., :1, :1]).abs().max() / x.abs().max()  # noqa: E731
        assert spread(found) < 1e-5 and spread(framed - framed[..., 5:6, 5:6]) > 0.1


def test_an_edge_of_zeros_is_the_plain_network():
    network, image = weights.load().network(), picture(0, 83, 101)
    plain, found = network(image, ["relu3_1"])["relu3_1"], features_of(network, image, ["relu3_1"], edge="zero")["relu3_1"]
    assert torch.equal(plain, found)
    zero = replace(WEIGHTING, edge="zero")
    for make in (lambda w: content_target(network, image, w)["relu2_2"], lambda w: style_target(network, [(image, 1.0)], w)["relu2_1"].gram):
        assert not torch.equal(make(WEIGHTING), make(zero))


def test_features_keep_their_place_and_odd_sizes_their_last_rows():
    network, image = weights.load().network(), picture(0, 83, 101)
    names = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    whole, found = network(image, names), features_of(network, image, names)
    for name in names:
        assert found[name].shape == whole[name].shape
        middle = (..., slice(4, -4), slice(4, -4))  # far from the edge the two agree
        assert torch.corrcoef(torch.stack([whole[name][middle].flatten(), found[name][middle].flatten()]))[0, 1] > 0.99


def test_the_value_is_the_visible_weighted_sum(tiny):
    image, style, content = (picture(seed, dtype=torch.float64) for seed in (0, 1, 2))
    found = objective(tiny, WEIGHTING, dtype=torch.float64)(image)
    features = {name: [features_of(tiny, x, [name])[name] for x in (image, style, content)] for name in ("relu1_1", "relu2_1", "relu2_2")}
    style_part = sum(LAYERS[n] / 4 * losses.gram(moments(features[n][0]), moments(features[n][1])) for n in LAYERS)
    content_part = losses.content(features["relu2_2"][0], features["relu2_2"][2])
    tv_part = losses.total_variation(image)
    assert found.style == pytest.approx(style_part.item())
    assert found.content == pytest.approx(content_part.item())
    assert found.tv == pytest.approx(tv_part.item())
    assert found.loss == pytest.approx((2 * style_part + 0.5 * content_part + 0.1 * tv_part).item())


@pytest.mark.parametrize("style_loss", losses.STYLE_LOSSES)
@pytest.mark.parametrize("normalisation", ["relative", "gatys"])
def test_the_gradient_equals_finite_differences(tiny, style_loss, normalisation):
    weighting = replace(WEIGHTING, style_loss=style_loss, normalisation=normalisation)
    f = objective(tiny, weighting, dtype=torch.float64)
    image = picture(0, dtype=torch.float64)
    direction = picture(3, dtype=torch.float64) - 0.5
    step = 1e-5
    slope = (f(image + step * direction).loss - f(image - step * direction).loss) / (2 * step)
    assert (f(image).gradient * direction).sum().item() == pytest.approx(slope, rel=1e-4)


def test_gatys_normalisation_is_his_paper(tiny):
    weighting = replace(WEIGHTING, normalisation="gatys", tv_weight=0.0)
    image, style, content = (picture(seed, dtype=torch.float64) for seed in (0, 1, 2))
    found = objective(tiny, weighting, dtype=torch.float64)(image)
    expected = 0.0
    for name, weight in LAYERS.items():
        f, a = (features_of(tiny, x, [name])[name][0].flatten(1) for x in (image, style))
        n, m = f.shape
        expected += weight * ((f @ f.T - a @ a.T) ** 2).sum().item() / (4 * n**2 * m**2)
    assert found.style == pytest.approx(expected)
    p, f = (features_of(tiny, x, ["relu2_2"])["relu2_2"] for x in (content, image))
    assert found.content == pytest.approx(0.5 * ((f - p) ** 2).sum().item())


def test_the_style_image_itself_has_no_style_loss_and_the_photo_no_content_loss(tiny):
    f = objective(tiny, WEIGHTING, dtype=torch.float64)
    assert f(picture(1, dtype=torch.float64)).style == pytest.approx(0, abs=1e-12)
    assert f(picture(2, dtype=torch.float64)).content == pytest.approx(0, abs=1e-12)
    assert f(picture(0, dtype=torch.float64)).style > 1e-3


def test_weights_of_nought_leave_layers_out(tiny):
    only_style = replace(WEIGHTING, content_weight=0.0, style_layers={"relu1_1": 1.0, "relu2_1": 0.0})
    assert only_style.layers == ("relu1_1",)
    f = objective(tiny, only_style, dtype=torch.float64)
    assert not f.content and list(f.style) == ["relu1_1"]
    assert f(picture(0, dtype=torch.float64)).content == 0
    assert replace(WEIGHTING, style_weight=0.0).layers == ("relu2_2",)


def test_one_weight_means_the_same_at_every_size():
    # A picture that repeats has the same statistics whatever its size, and so it should have the same style loss.
    network = weights.load().network()
    small = [picture(seed, 112, 112) for seed in (0, 1)]
    large = [x.repeat(1, 1, 3, 3) for x in small]
    found = []
    for image, style in (small, large):
        weighting = replace(WEIGHTING, content_weight=0.0, tv_weight=0.0)
        found.append(Objective(network, weighting, style_target(network, [(style, 1.0)], weighting), {})(image).loss)
    assert found[0] == pytest.approx(found[1], rel=0.2)  # borders differ
    gatys = replace(WEIGHTING, normalisation="gatys")
    assert gatys.share({"a": 3.0, "b": 1.0}, "a") == 3.0 and WEIGHTING.share({"a": 3.0, "b": 1.0}, "a") == 0.75


def test_several_weighted_pictures_make_one_target(tiny):
    a, b = picture(1, dtype=torch.float64), picture(2, 40, 40, dtype=torch.float64)
    both = style_target(tiny, [(a, 3.0), (b, 1.0)], WEIGHTING)["relu1_1"]
    alone = [style_target(tiny, [(x, 1.0)], WEIGHTING)["relu1_1"] for x in (a, b)]
    torch.testing.assert_close(both.gram, 0.75 * alone[0].gram + 0.25 * alone[1].gram)


@pytest.mark.parametrize("height, width", [(36, 48), (150, 203)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("style_loss", losses.STYLE_LOSSES)
def test_the_real_networks_gradient_does_not_depend_on_the_number_of_threads(style_loss, precision, height, width):
    # Promised to users: the same pixels whatever the number of workers that share the cores.
    network = weights.load().network(dtype=getattr(torch, precision))
    weighting = Weighting({f"relu{i}_1": 1.0 for i in range(1, 6)}, {"relu4_2": 1.0}, 1.0, 0.2, 0.1, style_loss)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            style, content, image = (picture(seed, height, width) for seed in (1, 2, 3))
            target = style_target(network, [(style, 1.0)], weighting)
            found.append(Objective(network, weighting, target, content_target(network, content, weighting))(image))
    finally:
        torch.set_num_threads(before)
    assert found[0].loss == found[1].loss
    assert torch.equal(found[0].gradient, found[1].gradient)


def test_bfloat16_loss_and_gradient_are_near_float32_ones():
    loaded = weights.load()
    weighting = Weighting({f"relu{i}_1": 1.0 for i in range(1, 6)}, {"relu4_2": 1.0}, 1.0, 0.2)
    a, b = (objective(loaded.network(dtype=dtype), weighting)(picture(0)) for dtype in (torch.float32, torch.bfloat16))
    assert b.loss == pytest.approx(a.loss, rel=0.02)
    cosine = torch.nn.functional.cosine_similarity(a.gradient.flatten(), b.gradient.flatten(), dim=0)
    assert 0.98 < cosine.item() < 1 - 1e-9
