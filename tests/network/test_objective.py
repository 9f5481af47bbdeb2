"""The objective of one image: its value is the weighted sum, its gradient the derivative."""

from dataclasses import replace

import pytest
import torch

from render.network import losses, weights
from render.network import objective as module
from render.network.device import has_fast_bfloat16
from render.network.features import Network
from render.network.layers import LAYERS as FACTS
from render.network.layers import convolutions
from render.network.moments import moments
from render.network.objective import Objective, Weighting, content_target, style_target
from render.network.tiling import plan_tiles

LAYERS = {"relu1_1": 1.0, "relu2_1": 3.0}
WEIGHTING = Weighting(LAYERS, {"relu2_2": 1.0}, style_weight=2.0, content_weight=0.5, tv_weight=0.1)


def picture(seed, height=24, width=32, dtype=torch.float32):
    return torch.rand(
        1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


def features_of(network, image, names, **options):
    """Whole features of an image, by name."""
    return {name: feature.inner() for name, feature in module.features_of(network, image, names, **options)}


@pytest.fixture(scope="module")
def tiny():
    """A seeded network of VGG-19's shape at its first two blocks, in float64."""
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: (
            torch.randn(c_out, c_in, 3, 3, generator=generator, dtype=torch.float64) / (3 * c_in**0.5),
            0.1 * torch.randn(c_out, generator=generator, dtype=torch.float64),
        )
        for name, c_in, c_out in convolutions()
        if name < "conv3"
    }
    return Network(parameters, mean=(0.5,) * 3, deviation=(0.25,) * 3, dtype=torch.float64)


def objective(network, weighting, *, dtype=torch.float32, seeds=(1, 2)):
    style, content = (picture(seed, dtype=dtype) for seed in seeds)
    return Objective(
        network,
        weighting,
        style_target(network, [(style, 1.0)], weighting),
        content_target(network, content, weighting),
    )


@pytest.mark.network
def test_the_networks_zero_padding_is_not_felt_at_the_edge():
    network, grey = weights.load().network(), torch.full((1, 3, 48, 64), 0.9)
    for name in ("relu1_1", "relu2_1", "relu3_1"):  # the layers that see less far than the margin
        framed, found = network(grey, [name])[name], features_of(network, grey, [name])[name]
        assert found.shape == framed.shape
        spread = lambda x: (x - x[..., :1, :1]).abs().max() / x.abs().max()
        assert spread(found) < 1e-5 and spread(framed - framed[..., 5:6, 5:6]) > 0.1


@pytest.mark.network
def test_an_edge_of_zeros_is_the_plain_network():
    network, image = weights.load().network(), picture(0, 83, 101)
    plain, found = (
        network(image, ["relu3_1"])["relu3_1"],
        features_of(network, image, ["relu3_1"], edge="zero")["relu3_1"],
    )
    assert torch.equal(plain, found)
    zero = replace(WEIGHTING, edge="zero")
    for make in (
        lambda w: content_target(network, image, w).features["relu2_2"],
        lambda w: style_target(network, [(image, 1.0)], w)["relu2_1"].gram,
    ):
        assert not torch.equal(make(WEIGHTING), make(zero))


@pytest.mark.network
def test_features_keep_their_place_and_odd_sizes_their_last_rows():
    network, image = weights.load().network(), picture(0, 83, 101)
    names = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    whole, found = network(image, names), features_of(network, image, names)
    for name in names:
        assert found[name].shape == whole[name].shape
        middle = (..., slice(4, -4), slice(4, -4))  # far from the edge the two agree
        assert (
            torch.corrcoef(torch.stack([whole[name][middle].flatten(), found[name][middle].flatten()]))[0, 1]
            > 0.99
        )


def test_the_value_is_the_visible_weighted_sum(tiny):
    image, style, content = (picture(seed, dtype=torch.float64) for seed in (0, 1, 2))
    found = objective(tiny, WEIGHTING, dtype=torch.float64)(image)
    features = {
        name: [features_of(tiny, x, [name])[name] for x in (image, style, content)]
        for name in ("relu1_1", "relu2_1", "relu2_2")
    }
    style_part = sum(
        LAYERS[n] / 4 * losses.gram(moments(features[n][0]), moments(features[n][1])) for n in LAYERS
    )
    found_content, wanted = features["relu2_2"][0], features["relu2_2"][2]
    content_part = losses.squares(found_content - wanted) / losses.squares(wanted)
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


def test_weights_of_zero_leave_layers_out(tiny):
    only_style = replace(WEIGHTING, content_weight=0.0, style_layers={"relu1_1": 1.0, "relu2_1": 0.0})
    assert only_style.layers == ("relu1_1",)
    f = objective(tiny, only_style, dtype=torch.float64)
    assert not f.content.features and list(f.style) == ["relu1_1"]
    assert f(picture(0, dtype=torch.float64)).content == 0
    assert replace(WEIGHTING, style_weight=0.0).layers == ("relu2_2",)


@pytest.mark.network
def test_one_weight_means_the_same_at_every_size():
    # A picture that repeats has the same statistics whatever its size, and so it should have the same style
    # loss.
    network = weights.load().network()
    small = [picture(seed, 112, 112) for seed in (0, 1)]
    large = [x.repeat(1, 1, 3, 3) for x in small]
    found = []
    for image, style in (small, large):
        weighting = replace(WEIGHTING, content_weight=0.0, tv_weight=0.0)
        found.append(
            Objective(
                network, weighting, style_target(network, [(style, 1.0)], weighting), module.ContentTarget()
            )(image).loss
        )
    assert found[0] == pytest.approx(found[1], rel=0.2)  # borders differ
    gatys = replace(WEIGHTING, normalisation="gatys")
    assert (
        gatys.share({"a": 3.0, "b": 1.0}, "a") == 3.0 and WEIGHTING.share({"a": 3.0, "b": 1.0}, "a") == 0.75
    )


def test_several_weighted_pictures_make_one_target(tiny):
    a, b = picture(1, dtype=torch.float64), picture(2, 40, 40, dtype=torch.float64)
    both = style_target(tiny, [(a, 3.0), (b, 1.0)], WEIGHTING)["relu1_1"]
    alone = [style_target(tiny, [(x, 1.0)], WEIGHTING)["relu1_1"] for x in (a, b)]
    torch.testing.assert_close(both.gram, 0.75 * alone[0].gram + 0.25 * alone[1].gram)


# Where bfloat16 is emulated nobody is given it, and the deep layers of the larger picture take minutes.
BFLOAT16_DEPTH = 5 if has_fast_bfloat16("cpu") else 2


@pytest.mark.network
@pytest.mark.parametrize(
    "style_loss, precision, depth, height, width",
    [
        *((loss, "float32", 5, 36, 48) for loss in losses.STYLE_LOSSES),
        # The losses see sums in float64, whatever the features are and from however many pixels: of a larger
        # picture, and of other features, one of them is enough.
        ("wasserstein", "float32", 5, 150, 203),
        ("wasserstein", "bfloat16", 5, 36, 48),
        ("wasserstein", "bfloat16", BFLOAT16_DEPTH, 150, 203),
    ],
)
def test_the_real_networks_gradient_does_not_depend_on_the_number_of_threads(
    style_loss, precision, depth, height, width
):
    # Promised to users: the same pixels whatever the number of workers that share the cores.
    network = weights.load().network(dtype=getattr(torch, precision))
    weighting = Weighting(
        {f"relu{i}_1": 1.0 for i in range(1, depth + 1)},
        {f"relu{depth - 1}_2": 1.0},
        1.0,
        0.2,
        0.1,
        style_loss,
    )
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            style, content, image = (picture(seed, height, width) for seed in (1, 2, 3))
            target = style_target(network, [(style, 1.0)], weighting)
            found.append(
                Objective(network, weighting, target, content_target(network, content, weighting))(image)
            )
    finally:
        torch.set_num_threads(before)
    assert found[0].loss == found[1].loss
    assert torch.equal(found[0].gradient, found[1].gradient)


@pytest.mark.network
def test_bfloat16_loss_and_gradient_are_near_float32_ones():
    loaded = weights.load()
    weighting = Weighting({f"relu{i}_1": 1.0 for i in range(1, 6)}, {"relu4_2": 1.0}, 1.0, 0.2)
    a, b = (
        objective(loaded.network(dtype=dtype), weighting)(picture(0))
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert b.loss == pytest.approx(a.loss, rel=0.02)
    cosine = torch.nn.functional.cosine_similarity(a.gradient.flatten(), b.gradient.flatten(), dim=0)
    assert 0.98 < cosine.item() < 1 - 1e-9


# --- tiles --------------------------------------------------------------------------------------------------

DEEP = Weighting({f"relu{i}_1": 1.0 for i in range(1, 6)}, {"relu4_2": 1.0}, 1.0, 0.2, 0.1, "wasserstein")


def plain_loss(network, weighting, image, style, photo):
    """The whole objective as one sum that autograd differentiates: what every tiled one must equal."""
    names = {*weighting.style_layers, *weighting.content_layers}
    found, wanted, painted = (
        features_of(network, x, names, edge=weighting.edge) for x in (image, photo, style)
    )
    total = weighting.tv_weight * losses.TV_LOSSES[weighting.tv_form](image)
    for name in weighting.style_layers:
        distance = weighting.style_loss_of(moments(found[name]), moments(painted[name]))
        total = total + weighting.style_weight * weighting.share(weighting.style_layers, name) * distance
    for name in weighting.content_layers:
        factor = weighting.content_factor(losses.squares(wanted[name]).item())
        distance = factor * losses.squares(found[name] - wanted[name])
        total = total + weighting.content_weight * weighting.share(weighting.content_layers, name) * distance
    return total


def smooth(seed, height, width):
    """A picture whose neighbouring pixels are alike, as in photographs."""
    return torch.nn.functional.interpolate(
        picture(seed, height // 4 + 1, width // 4 + 1), (height, width), mode="bilinear"
    )


def tiled_evaluation(network, weighting, size, tile_px, *, kept=1, halo_less_px=0, style_size=(100, 110)):
    image, photo, style = smooth(0, *size), smooth(1, *size), smooth(2, *style_size)

    def tiled(size):
        return [shrunk(tile, halo_less_px) for tile in plan_tiles(size, weighting.layers, tile_px)]

    target = style_target(network, [(style, 1.0)], weighting, tiled)
    content = content_target(network, photo, weighting, tiled)
    evaluation = Objective(network, weighting, target, content, tiles=tiled(size), kept=kept)(image)
    return evaluation, (image, style, photo)


def shrunk(tile, less_px):
    """The tile with a smaller halo, but at the image's border."""
    height, width = tile.image
    outer = [
        side + less_px * (side != at) * sign
        for side, at, sign in zip(
            (tile.outer.top, tile.outer.left, tile.outer.bottom, tile.outer.right),
            (0, 0, height, width),
            (1, 1, -1, -1),
        )
    ]
    return replace(tile, outer=type(tile.outer)(*outer))


def relative_error(network, weighting, size, tile_px, **options):
    found, (image, style, photo) = tiled_evaluation(network, weighting, size, tile_px, **options)
    image = image.requires_grad_()
    loss = plain_loss(network, weighting, image, style, photo)
    (gradient,) = torch.autograd.grad(loss, image)
    return abs(found.loss - loss.item()) / loss.item(), (
        (found.gradient - gradient).norm() / gradient.norm()
    ).item()


@pytest.fixture(scope="module")
def vgg():
    return weights.load().network()


# Options that say nothing of how far a layer sees are tried on a network of three blocks.
SHALLOW = {"style_layers": {"relu1_1": 1.0, "relu3_1": 1.0}, "content_layers": {"relu2_2": 1.0}}


@pytest.mark.parametrize(
    ("layers", "options"),
    [
        ({}, {}),
        ({}, {"style_loss": "gram"}),
        ({}, {"style_loss": "gram-mean-std", "edge": "zero"}),
        ({}, {"pooling": "average", "style_loss": "gram"}),
        (SHALLOW, {"tv_form": "power", "tv_weight": 10.0}),
        (SHALLOW, {"style_loss": "gram", "normalisation": "gatys", "content_weight": 1e-4}),
        (SHALLOW, {"style_weight": 0.0}),
        (SHALLOW, {"content_weight": 0.0}),
        (SHALLOW, {"pooling": "average"}),
        ({"style_layers": {"relu1_1": 1.0}, "content_layers": {"relu1_2": 1.0}}, {}),
    ],
    ids=str,
)
def test_loss_and_gradient_of_tiles_are_the_whole_images(vgg, layers, options):
    options = dict(options)
    network = vgg.with_pooling(options.pop("pooling", "max"))
    size, tile_px = ((60, 90), 48) if layers else ((117, 203), 112)
    loss_error, gradient_error = relative_error(
        network, replace(DEEP, **layers, **options), size, tile_px, kept=4
    )
    # Wasserstein inverts a root of a covariance of fewer pixels than channels: rounding is enlarged there.
    assert loss_error < 1e-4 and gradient_error < (
        1e-4 if options.get("style_loss", "wasserstein") == "wasserstein" else 5e-6
    )


@pytest.mark.parametrize("size", [(16, 16), (17, 300), (131, 33), (97, 161)])
def test_images_of_every_shape_are_tiled_exactly(vgg, size):
    loss_error, gradient_error = relative_error(vgg, replace(DEEP, style_loss="gram"), size, 80)
    assert loss_error < 1e-5 and gradient_error < 1e-5


def test_a_halo_one_stride_too_small_is_caught(vgg):
    gram = replace(DEEP, style_loss="gram")
    assert relative_error(vgg, gram, (100, 200), 112)[1] < 5e-6
    assert relative_error(vgg, gram, (100, 200), 112, halo_less_px=16)[1] > 1e-4
    shallow = replace(gram, style_layers={"relu3_1": 1.0}, content_layers={"relu2_2": 1.0}, edge="zero")
    stride = FACTS["relu3_1"].stride_px
    assert (
        relative_error(vgg, shallow, (120, 160), 64, halo_less_px=20 - 12)[1] < 5e-6
    )  # 20 px are for the margin, 12 the reach
    assert relative_error(vgg, shallow, (120, 160), 64, halo_less_px=20 - 12 + stride)[1] > 1e-4


def test_kept_activations_change_no_bit(vgg):
    evaluations = [
        tiled_evaluation(vgg, replace(DEEP, **SHALLOW), (60, 90), 48, kept=kept)[0] for kept in (0, 2, 100)
    ]
    for other in evaluations[1:]:
        assert other.loss == evaluations[0].loss and torch.equal(other.gradient, evaluations[0].gradient)


def test_one_tile_needs_one_pass_forward_and_others_two(vgg):
    class Counting(type(vgg)):
        runs = 0

        def run(self, *arguments):
            Counting.runs += 1
            return super().run(*arguments)

    network = object.__new__(Counting)
    network.__dict__.update(vgg.__dict__)
    small = replace(DEEP, style_layers={"relu1_1": 1.0}, content_layers={"relu1_2": 1.0})
    counts = []
    for tile_px, kept in ((64, 1), (32, 0), (32, 2), (32, 4)):
        image = smooth(0, 64, 64)
        tiles = plan_tiles((64, 64), small.layers, tile_px)
        f = Objective(
            network,
            small,
            style_target(network, [(image, 1.0)], small),
            content_target(network, image, small),
            tiles=tiles,
            kept=kept,
        )
        Counting.runs = 0
        f(image)
        counts.append(Counting.runs)
    assert counts == [1, 8, 6, 4]


@pytest.mark.network
def test_targets_of_tiled_pictures_are_those_of_whole_ones():
    # In float64, where a tile's own mistake cannot hide in rounding: the processor may add in any order,
    # which changed the 15th digit of the largest feature. In float32 it moved features of up to 9000 by 0.002
    # (AVX-512).
    vgg = weights.load().network(dtype=torch.float64)
    picture = smooth(3, 70, 101)

    def tiled(size):
        return plan_tiles(size, DEEP.layers, 48)

    def assert_alike(parts, whole):
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-10 * whole.abs().max().item())

    whole, parts = style_target(vgg, [(picture, 1.0)], DEEP), style_target(vgg, [(picture, 1.0)], DEEP, tiled)
    for name in DEEP.style_layers:
        assert_alike(parts[name].gram, whole[name].gram)
        assert_alike(parts[name].mean, whole[name].mean)
    whole, parts = content_target(vgg, picture, DEEP), content_target(vgg, picture, DEEP, tiled)
    assert parts.squares["relu4_2"] == pytest.approx(whole.squares["relu4_2"], rel=1e-10)
    assert_alike(parts.features["relu4_2"], whole.features["relu4_2"])


@pytest.mark.network
def test_the_picture_has_no_frame_of_one_pixel():
    # A repeated border pixel is pulled at by all its copies: the mirror image leaves it alone.
    network, image = weights.load().network(), smooth(5, 64, 96)
    weighting = replace(DEEP, content_weight=0.0, tv_weight=0.0)
    f = Objective(
        network,
        weighting,
        style_target(network, [(smooth(6, 64, 96), 1.0)], weighting),
        module.ContentTarget(),
    )
    strength = f(image).gradient.abs().mean(dim=(0, 1, 3))
    assert strength[0] < 3 * strength[1:8].mean() and strength[-1] < 3 * strength[-8:-1].mean()
