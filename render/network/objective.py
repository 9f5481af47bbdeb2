"""The value and the gradient of one image of any size: the weighted sum of style, content and total-variation
losses.

Style losses are functions of sums over pixels (Moments), and sums add over tiles. So: sum over the tiles;
take the loss's gradient with respect to the sums; run each tile again and back-propagate that gradient into
its pixels, halo included, adding where tiles overlap. The answer is the whole image's
(tests/network/test_objective.py holds the plain twin).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
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
    """What is minimised. layers: {name: weight}; a look's weights are normalised here, once.

    edge: see features_of. normalisation: "relative" divides each layer's loss by its target's own size, so
    that a weight means the same in every layer and at every size; "gatys" keeps the factors of Gatys et al.
    2016 (eqs. 1 and 4).
    """

    style_layers: Mapping[str, float]
    content_layers: Mapping[str, float]
    style_weight: float
    content_weight: float
    tv_weight: float = 0.0
    style_loss: str = "gram"
    tv_form: str = "l2"
    normalisation: str = "relative"
    edge: str = "continued"

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers with any weight: what the network must compute."""
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
        """What the sum of squared differences of a content layer is multiplied by: Gatys et al. 2016, eq. 1,
        or relative to the photograph's own features, 1 for a network that sees nothing."""
        return 0.5 if self.normalisation == "gatys" else 1 / wanted_squares

    def share(self, weights: Mapping[str, float], name: str) -> float:
        return weights[name] if self.normalisation == "gatys" else weights[name] / sum(weights.values())


@dataclass(frozen=True)
class Evaluation:
    """loss: the weighted sum; gradient: (1, 3, H, W) float32; style, content, tv: the parts, unweighted."""

    loss: float
    gradient: torch.Tensor
    style: float
    content: float
    tv: float


@dataclass(frozen=True)
class Feature:
    """One layer's features of a tile as the network gave them, (1, C, h, w), and the place in them of the
    inner box."""

    values: torch.Tensor
    place: Box

    def inner(self) -> torch.Tensor:
        """(1, C, rows, columns) of the inner box alone."""
        height, width = self.values.shape[-2:]
        p = self.place
        # A negative pad cuts, and unlike a slice its gradient keeps the channels_last layout.
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
    """Features of a tile, in order of depth, whose inner part is what it is in the whole image.

    pixels: (1, 3, H, W), the tile's outer box; without a tile they are the whole image. The network sees
    nought beyond its input, and pixels at the edge would be bent to make up for it: a frame a few pixels wide
    (seen). With `edge` "continued" the image is mirrored for MARGIN_PX before that; with "zero" it is not, as
    in Gatys' program.
    """
    tile = tile or whole(pixels.shape[-2:])[0]
    margin_px = MARGIN_PX if edge == "continued" else 0
    top, left, bottom, right = (margin_px * at_border for at_border in tile.on_border())
    # A side of 16 px has nothing to mirror; there its last pixel is repeated. Elsewhere that gives a frame of
    # one pixel, which all the copies pull at (seen: 17 grey levels).
    mode = "reflect" if min(tile.image) > MARGIN_PX else "replicate"
    halo_top, halo_left = tile.halo()[:2]
    for name, values in network.run(F.pad(pixels, (left, right, top, bottom), mode=mode), names):
        stride = LAYERS[name].stride_px
        above, before = (top + halo_top) // stride, (left + halo_left) // stride
        rows, columns = tile.features_size(stride)
        yield name, Feature(values, Box(above, before, above + rows, before + columns))


StyleTarget = Mapping[str, Moments]


@dataclass(frozen=True)
class ContentTarget:
    """features: of the content image, (1, C, H // stride, W // stride) a layer; squares: the sum of their
    squares."""

    features: Mapping[str, torch.Tensor] = field(default_factory=dict)
    squares: Mapping[str, float] = field(default_factory=dict)


@torch.no_grad()
def style_target(
    network: Network,
    pictures: Sequence[tuple[torch.Tensor, float]],
    weighting: Weighting,
    tiled=whole,
    *,
    moments_of=None,
) -> StyleTarget:
    """Moments of weighted style pictures [(image (1, 3, H, W), weight)], a layer each. tiled: size -> tiles;
    moments_of(image, names, tiles): who computes them, when not this device alone."""
    names = [name for name, weight in weighting.style_layers.items() if weight > 0]
    if weighting.style_weight == 0:
        return {}
    if moments_of is None:

        def moments_of(image, names, tiles):
            return total_moments(
                tile_moments(network, _shown(network, image, tile), names, tile, edge=weighting.edge)
                for tile in tiles
            )

    parts = [(moments_of(image, names, tiled(image.shape[-2:])), weight) for image, weight in pictures]
    return {name: mix([(found[name], weight) for found, weight in parts]) for name in names}


def total_moments(parts: Iterable[StyleTarget]) -> StyleTarget:
    """Of an image, from its tiles' in their order."""
    return reduce(lambda a, b: {name: m + b[name] for name, m in a.items()}, parts)


@torch.no_grad()
def content_target(network: Network, image: torch.Tensor, weighting: Weighting, tiled=whole) -> ContentTarget:
    """The content image's features, kept where the image is. tiled: size -> tiles."""
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
    return tile.outer.of(image).to(network.device)


def _place(tile: Tile, name: str) -> Box:
    """Where a tile's inner features stand in the layer's map of the whole image."""
    stride = LAYERS[name].stride_px
    return Box(
        *(side // stride for side in (tile.inner.top, tile.inner.left, tile.inner.bottom, tile.inner.right))
    )


def _empty_map(image: torch.Tensor, name: str, dtype: torch.dtype) -> torch.Tensor:
    """Room for a layer's features of the whole image, where the image is."""
    height, width = (side // LAYERS[name].stride_px for side in image.shape[-2:])
    size = (1, LAYERS[name].channels, height, width)
    return torch.empty(size, dtype=dtype, device=image.device, memory_format=torch.channels_last)


@dataclass(frozen=True)
class Sums:
    """What a loss is a function of, for a tile or the whole. style: {layer: Moments}; content: {layer: sum of
    squared differences from the photograph's features, a tensor ()}."""

    style: Mapping[str, Moments]
    content: Mapping[str, torch.Tensor]

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            {name: m + other.style[name] for name, m in self.style.items()},
            {name: s + other.content[name] for name, s in self.content.items()},
        )

    def detached(self, *, requires_grad: bool = False) -> "Sums":
        def leaf(x):
            return x.detach().requires_grad_(requires_grad)

        return Sums(
            {name: Moments(m.count, leaf(m.total), leaf(m.outer)) for name, m in self.style.items()},
            {name: leaf(s) for name, s in self.content.items()},
        )

    def to(self, device) -> "Sums":
        return Sums(
            {name: m.to(device) for name, m in self.style.items()},
            {name: s.to(device) for name, s in self.content.items()},
        )

    def tensors(self) -> list[torch.Tensor]:
        return [*(t for m in self.style.values() for t in (m.total, m.outer)), *self.content.values()]


# ---- one tile ----------------------------------------------------------------------------------------------
# pixels: (1, 3, H, W), the tile's outer box, on the network's device. Wherever tiles are run, this is what is
# done.


@torch.no_grad()
def tile_moments(
    network: Network, pixels: torch.Tensor, names: Iterable[str], tile: Tile, *, edge: str
) -> StyleTarget:
    """Of the inner box."""
    with for_image(pixels):
        return {
            name: feature.moments()
            for name, feature in features_of(network, pixels, names, edge=edge, tile=tile)
        }


@torch.no_grad()
def tile_features(
    network: Network, pixels: torch.Tensor, names: Iterable[str], tile: Tile, *, edge: str
) -> Iterator[tuple[str, torch.Tensor]]:
    """Of the inner box, a layer at a time."""
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
    """What the loss needs of the tile, to be gone back through when gradients are on and `pixels` wants one.

    content: the photograph's features in the inner box.
    """
    style_layers, style, differences = set(style_layers), {}, {}
    with for_image(pixels):
        # Each layer's sums as soon as it is there: autograd works backwards through them in the opposite
        # order, so that only one layer's gradient is in memory at a time.
        for name, feature in features_of(
            network, pixels, style_layers | content.keys(), edge=edge, tile=tile
        ):
            if name in style_layers:
                style[name] = feature.moments()
            if name in content:
                differences[name] = losses.squares(feature.inner() - content[name].to(pixels.device))
    return Sums(style, differences)


def tile_gradient(pixels: torch.Tensor, sums: Sums, slopes: Sequence[torch.Tensor]) -> torch.Tensor:
    """(1, 3, H, W): of a loss that has these slopes in Sums.tensors()."""
    with for_image(pixels):
        return torch.autograd.grad(sums.tensors(), pixels, slopes)[0]


# ---- an image ----------------------------------------------------------------------------------------------


class TileRunner(Protocol):
    """Runs the tiles of an image, here or elsewhere: first the sums of all, added in the tiles' order; then,
    given the loss's slopes in Sums.tensors(), each tile's gradient, added in their order into the image's."""

    def sums(self, image: torch.Tensor) -> Sums: ...

    def add_gradient(
        self, image: torch.Tensor, slopes: Sequence[torch.Tensor], gradient: torch.Tensor
    ) -> None: ...


class Tiles:
    """Runs an image's tiles on one device. kept: of how many the activations stay between the two passes; the
    others are run twice."""

    def __init__(
        self,
        network: Network,
        style_layers: Sequence[str],
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
        total = None
        for i, tile in enumerate(self.tiles):
            with torch.set_grad_enabled(i < self.kept):
                pixels, sums = self._run(image, tile)
            if i < self.kept:
                self._running[i] = pixels, sums
            total = sums.detached() if total is None else total + sums.detached()
        return total

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
    """The function to minimise: `objective(image)` is its value and gradient there.

    tiles: of the image; None: the whole. kept: see Tiles. runner: of the tiles, when that is not this device
    alone; it then holds the content's features itself, and `content` has their squares only.
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
        """image: (1, 3, H, W) float32, sRGB, about [0, 1]."""
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
        """Style loss, content loss (unweighted), and the weighted loss's slopes in Sums.tensors()."""
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
