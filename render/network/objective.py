"""The objective: the weighted sum of style, content and total-variation losses, with its gradient, for an
image of any size.

Style losses are functions of sums over pixels (Moments), and the sums of an image are those of its tiles
added up. So: add up the sums of all tiles; take the gradient of the loss with respect to the sums; then run
each tile again and back-propagate that gradient into its pixels, halo included, adding where tiles overlap.
The result equals that of the whole image (the plain twin is in tests/network/test_objective.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Protocol

import torch
import torch.nn.functional as F

from render.network import losses
from render.network.features import Network
from render.network.layers import LAYERS
from render.network.linalg import for_image
from render.network.moments import Moments, mix, moments
from render.network.tiling import MARGIN_PX, Box, Tile, whole


@dataclass(frozen=True)
class Weighting:
    """What is minimized."""

    style_layers: Mapping[str, float]  # {name: weight}
    content_layers: Mapping[str, float]
    style_weight: float
    content_weight: float
    tv_weight: float = 0.0
    style_loss: str = "gram"  # a key of losses.STYLE_LOSSES
    tv_form: str = "l2"  # a key of losses.TV_LOSSES
    # "relative" divides the loss of each layer by the size of its target, and the layers' weights by their
    # sum, so that a weight means the same at every layer and size. "gatys" keeps the factors of Gatys et al.
    # 2016 (eqs. 1 and 4).
    normalisation: str = "relative"
    edge: str = "continued"  # or "zero", see features_of

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers with a positive weight, which the network must compute."""
        used = {}
        if self.style_weight > 0:
            used.update(self.style_layers)
        if self.content_weight > 0:
            used.update({name: weight + used.get(name, 0) for name, weight in self.content_layers.items()})
        return tuple(name for name, weight in used.items() if weight > 0)

    def style_loss_of(self, found: Moments, wanted: Moments) -> torch.Tensor:
        if self.normalisation == "gatys" and self.style_loss == "gram":
            return losses.gatys_gram(found, wanted)
        return losses.STYLE_LOSSES[self.style_loss](found, wanted)

    def content_factor(self, wanted_squares: float) -> float:
        """Factor on a content layer's sum of squared differences: that of Gatys et al. 2016, eq. 1, or the
        inverse of the sum of squares of the content image's features. The relative loss of features that are
        all zero is then 1."""
        return 0.5 if self.normalisation == "gatys" else 1 / wanted_squares

    def share(self, weights: Mapping[str, float], name: str) -> float:
        """Factor on a layer's loss."""
        return weights[name] if self.normalisation == "gatys" else weights[name] / sum(weights.values())


@dataclass(frozen=True)
class Evaluation:
    """The objective at one image."""

    loss: float  # the weighted sum
    gradient: torch.Tensor  # (1, 3, H, W) float32
    style: float  # the three losses without their weights
    content: float
    tv: float


@dataclass(frozen=True)
class Feature:
    """One layer's features of a tile."""

    values: torch.Tensor  # (1, C, h, w), of the outer box and its margin
    place: Box  # where the inner box lies in them

    def inner(self) -> torch.Tensor:
        """Features of the inner box alone, (1, C, rows, columns)."""
        height, width = self.values.shape[-2:]
        p = self.place
        # Negative padding crops. Unlike that of a slice, its gradient keeps the channels_last layout.
        return F.pad(self.values, (-p.left, p.right - width, -p.top, p.bottom - height))

    def moments(self) -> Moments:
        return moments(self.values, self.place)


def features_of(
    network: Network,
    pixels: torch.Tensor,
    names: Iterable[str],
    *,
    edge: str = "continued",
    tile: Tile | None = None,
) -> Iterator[tuple[str, Feature]]:
    """Features of a tile, in order of depth. In the inner box they equal those of the whole image.

    Beyond the image border the network sees zeros. The optimiser would compensate for them with a visible
    frame a few pixels wide (seen). With `edge` "continued" the image is therefore mirrored for MARGIN_PX
    beyond its border; with "zero" it is not, as in the program of Gatys et al.

    Args:
        pixels: (1, 3, H, W), the tile's outer box.
        tile: None: the pixels are the whole image.
    """
    tile = tile or whole(pixels.shape[-2:])[0]
    margin_px = MARGIN_PX if edge == "continued" else 0
    top, left, bottom, right = (margin_px * at_border for at_border in tile.on_border())
    # A side of MARGIN_PX or less has too few pixels to mirror, so there the last one is repeated. In larger
    # images that would change the outermost pixels, to which all copies contribute (seen: by 17 gray levels).
    mode = "reflect" if min(tile.image) > MARGIN_PX else "replicate"
    halo_top, halo_left = tile.halo()[:2]
    for name, values in network.run(F.pad(pixels, (left, right, top, bottom), mode=mode), names):
        stride = LAYERS[name].stride_px
        above, before = (top + halo_top) // stride, (left + halo_left) // stride
        rows, columns = tile.features_size(stride)
        yield name, Feature(values, Box(above, before, above + rows, before + columns))


StyleTarget = Mapping[str, Moments]  # {layer: moments of the style}
TilePlan = Callable[[Sequence[int]], Sequence[Tile]]  # (height, width) -> tiles
MomentsOf = Callable[[torch.Tensor, Sequence[str], Sequence[Tile]], StyleTarget]  # image, layers, tiles


@dataclass(frozen=True)
class ContentTarget:
    """The content image's features."""

    features: Mapping[str, torch.Tensor] = field(
        default_factory=dict
    )  # {layer: (1, C, H//stride, W//stride)}
    squares: Mapping[str, float] = field(default_factory=dict)  # {layer: sum of their squares}


@torch.no_grad()
def style_target(
    network: Network,
    pictures: Sequence[tuple[torch.Tensor, float]],
    weighting: Weighting,
    tiled: TilePlan = whole,
    *,
    moments_of: MomentsOf | None = None,
) -> StyleTarget:
    """Moments of a weighted mixture of style images, for each layer.

    Args:
        pictures: [(image (1, 3, H, W) in [0, 1], weight)].
        tiled: plans the tiles of each.
        moments_of: computes the moments of one image, if that is not done on this device alone.
    """
    names = [name for name, weight in weighting.style_layers.items() if weight > 0]
    if weighting.style_weight == 0:
        return {}

    def here(image: torch.Tensor, names: Sequence[str], tiles: Sequence[Tile]) -> StyleTarget:
        return total_moments(
            tile_moments(network, _shown(network, image, tile), names, tile, edge=weighting.edge)
            for tile in tiles
        )

    compute = moments_of or here
    parts = [(compute(image, names, tiled(image.shape[-2:])), weight) for image, weight in pictures]
    return {name: mix([(found[name], weight) for found, weight in parts]) for name in names}


def total_moments(parts: Iterable[StyleTarget]) -> StyleTarget:
    """Moments of an image from those of its tiles, added in their order."""

    def sum_of(a: StyleTarget, b: StyleTarget) -> StyleTarget:
        return {name: m + b[name] for name, m in a.items()}

    return reduce(sum_of, parts)


@torch.no_grad()
def content_target(
    network: Network, image: torch.Tensor, weighting: Weighting, tiled: TilePlan = whole
) -> ContentTarget:
    """Features of a content image (1, 3, H, W) in [0, 1], stored on the image's device. tiled: plans its
    tiles."""
    names = [name for name, weight in weighting.content_layers.items() if weight > 0]
    if weighting.content_weight == 0:
        return ContentTarget()
    maps, squares = {}, dict.fromkeys(names, 0.0)
    for tile in tiled(image.shape[-2:]):
        for name, part in tile_features(
            network, _shown(network, image, tile), names, tile, edge=weighting.edge
        ):
            if name not in maps:
                maps[name] = _empty_map(image, name, part.dtype)
            _place(tile, name).of(maps[name]).copy_(part)
            squares[name] += losses.squares(part).item()
    return ContentTarget(maps, squares)


def _shown(network: Network, image: torch.Tensor, tile: Tile) -> torch.Tensor:
    """A tile's outer box on the network's device."""
    return tile.outer.of(image).to(network.device)


def _place(tile: Tile, name: str) -> Box:
    """Where the features of a tile's inner box lie in the layer's feature map of the whole image."""
    stride = LAYERS[name].stride_px
    return Box(
        *(side // stride for side in (tile.inner.top, tile.inner.left, tile.inner.bottom, tile.inner.right))
    )


def _empty_map(image: torch.Tensor, name: str, dtype: torch.dtype) -> torch.Tensor:
    """An empty feature map of the whole image, on the image's device."""
    height, width = (side // LAYERS[name].stride_px for side in image.shape[-2:])
    size = (1, LAYERS[name].channels, height, width)
    return torch.empty(size, dtype=dtype, device=image.device, memory_format=torch.channels_last)


@dataclass(frozen=True)
class Sums:
    """The sums from which the loss is computed, over one tile or the whole image."""

    style: Mapping[str, Moments]  # {layer: moments}
    content: Mapping[str, torch.Tensor]  # {layer: sum of squared differences from the content image's, ()}

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            {name: m + other.style[name] for name, m in self.style.items()},
            {name: s + other.content[name] for name, s in self.content.items()},
        )

    def detached(self, *, requires_grad: bool = False) -> "Sums":
        """The same values without the graph that led to them."""

        def leaf(x: torch.Tensor) -> torch.Tensor:
            return x.detach().requires_grad_(requires_grad)

        return Sums(
            {name: Moments(m.count, leaf(m.total), leaf(m.outer)) for name, m in self.style.items()},
            {name: leaf(s) for name, s in self.content.items()},
        )

    def to(self, device: str | torch.device) -> "Sums":
        return Sums(
            {name: m.to(device) for name, m in self.style.items()},
            {name: s.to(device) for name, s in self.content.items()},
        )

    def tensors(self) -> list[torch.Tensor]:
        """All tensors, in a fixed order."""
        return [*(t for m in self.style.values() for t in (m.total, m.outer)), *self.content.values()]


# ---- one tile ----------------------------------------------------------------------------------------------
# What is done with each tile, on this device or another. pixels: (1, 3, H, W), the tile's outer box, on the
# network's device.


@torch.no_grad()
def tile_moments(
    network: Network, pixels: torch.Tensor, names: Iterable[str], tile: Tile, *, edge: str
) -> StyleTarget:
    """Moments of the inner box, for each layer."""
    with for_image(pixels):
        return {
            name: feature.moments()
            for name, feature in features_of(network, pixels, names, edge=edge, tile=tile)
        }


@torch.no_grad()
def tile_features(
    network: Network, pixels: torch.Tensor, names: Iterable[str], tile: Tile, *, edge: str
) -> Iterator[tuple[str, torch.Tensor]]:
    """Features of the inner box, one layer at a time: (name, (1, C, rows, columns))."""
    with for_image(pixels):
        for name, feature in features_of(network, pixels, names, edge=edge, tile=tile):
            yield name, feature.inner()


def tile_sums(
    network: Network,
    pixels: torch.Tensor,
    style_layers: Iterable[str],
    content: Mapping[str, torch.Tensor],
    tile: Tile,
    *,
    edge: str,
) -> Sums:
    """The sums of one tile, with the graph for `tile_gradient` if gradients are enabled and `pixels` requires
    one.

    content: {layer: features of the content image in the inner box}.
    """
    style_layers, style, differences = set(style_layers), {}, {}
    with for_image(pixels):
        # The sums of each layer as soon as it is computed: autograd goes through them in the opposite order,
        # so that the gradient of only one layer is in memory at a time.
        for name, feature in features_of(
            network, pixels, style_layers | content.keys(), edge=edge, tile=tile
        ):
            if name in style_layers:
                style[name] = feature.moments()
            if name in content:
                differences[name] = losses.squares(feature.inner() - content[name].to(pixels.device))
    return Sums(style, differences)


def tile_gradient(pixels: torch.Tensor, sums: Sums, slopes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Gradient of the loss with respect to a tile's pixels, (1, 3, H, W).

    slopes: derivatives of the loss with respect to Sums.tensors().
    """
    with for_image(pixels):
        return torch.autograd.grad(sums.tensors(), pixels, slopes)[0]


# ---- an image ----------------------------------------------------------------------------------------------


class TileRunner(Protocol):
    """Runs the tiles of an image, on this device or on others."""

    def sums(self, image: torch.Tensor) -> Sums:
        """First pass: the sums of all tiles, added in their order."""
        ...

    def add_gradient(
        self, image: torch.Tensor, slopes: Sequence[torch.Tensor], gradient: torch.Tensor
    ) -> None:
        """Second pass: add the gradient of each tile, in their order, to the image's `gradient` (1, 3, H, W).

        slopes: derivatives of the loss with respect to Sums.tensors().
        """
        ...


class Tiles:
    """Runs an image's tiles on one device.

    kept: how many tiles keep their activations between the two passes; the others are run twice.
    """

    def __init__(
        self,
        network: Network,
        style_layers: Iterable[str],
        content: ContentTarget,
        tiles: Sequence[Tile],
        *,
        edge: str,
        kept: int,
    ):
        self.network, self.style_layers, self.content = network, tuple(style_layers), content
        self.tiles, self.edge, self.kept = tiles, edge, kept
        self._running: dict[int, tuple[torch.Tensor, Sums]] = {}

    def sums(self, image: torch.Tensor) -> Sums:
        self._running.clear()
        return reduce(add, (self._sums_of(i, image) for i in range(len(self.tiles))))

    def _sums_of(self, i: int, image: torch.Tensor) -> Sums:
        with torch.set_grad_enabled(i < self.kept):
            pixels, sums = self._run(image, self.tiles[i])
        if i < self.kept:
            self._running[i] = pixels, sums
        return sums.detached()

    def add_gradient(
        self, image: torch.Tensor, slopes: Sequence[torch.Tensor], gradient: torch.Tensor
    ) -> None:
        for i, tile in enumerate(self.tiles):
            with torch.enable_grad():
                pixels, sums = self._running.pop(i) if i in self._running else self._run(image, tile)
            part = tile_gradient(pixels, sums, slopes)
            del sums, pixels
            tile.outer.of(gradient).add_(part.to(gradient.device))

    def _run(self, image: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, Sums]:
        pixels = _shown(self.network, image, tile).requires_grad_(torch.is_grad_enabled())
        content = {name: _place(tile, name).of(features) for name, features in self.content.features.items()}
        return pixels, tile_sums(self.network, pixels, self.style_layers, content, tile, edge=self.edge)


class Objective:
    """The function to minimize: `objective(image)` is its value and gradient at that image.

    Args:
        style: empty if there is no style loss.
        content: empty if there is no content loss.
        tiles: of the image; None: one tile.
        kept: see `Tiles`.
        runner: runs the tiles, if that is not done on this device alone. It then holds the content image's
            features itself, and `content` has only their squares.
    """

    def __init__(
        self,
        network: Network,
        weighting: Weighting,
        style: StyleTarget,
        content: ContentTarget,
        *,
        tiles: Sequence[Tile] | None = None,
        kept: int = 1,
        runner: TileRunner | None = None,
    ):
        self.network, self.weighting, self.style, self.content = network, weighting, style, content
        self.tiles, self.kept, self.runner = tiles, kept, runner

    def __call__(self, image: torch.Tensor) -> Evaluation:
        """Value and gradient at an image (1, 3, H, W), float32, sRGB in about [0, 1]."""
        w = self.weighting
        image = image.detach()
        gradient = torch.zeros_like(image)
        style = content = 0.0
        if self.style or self.content.squares:
            runner = self.runner or Tiles(
                self.network,
                self.style,
                self.content,
                self.tiles or whole(image.shape[-2:]),
                edge=w.edge,
                kept=self.kept,
            )
            style, content, slopes = self._losses(runner.sums(image))
            runner.add_gradient(image, slopes, gradient)
        tv = losses.add_total_variation(image, gradient, form=w.tv_form, weight=w.tv_weight)
        loss = w.style_weight * style + w.content_weight * content + w.tv_weight * tv
        return Evaluation(loss, gradient, style, content, tv)

    def _losses(self, sums: Sums) -> tuple[float, float, list[torch.Tensor]]:
        """Style loss and content loss without their weights, and the derivatives of the weighted loss with
        respect to Sums.tensors()."""
        w, sums = self.weighting, sums.detached(requires_grad=True)
        zero = torch.zeros((), device=self.network.device)
        style = sum(
            (
                w.share(w.style_layers, name) * w.style_loss_of(sums.style[name], target)
                for name, target in self.style.items()
            ),
            zero,
        )
        content = sum(
            (
                w.share(w.content_layers, name) * w.content_factor(self.content.squares[name]) * found
                for name, found in sums.content.items()
            ),
            zero,
        )
        slopes = torch.autograd.grad(
            w.style_weight * style + w.content_weight * content, sums.tensors(), materialize_grads=True
        )
        return style.item(), content.item(), list(slopes)
