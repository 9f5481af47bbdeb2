"""The value and the gradient of one image: the weighted sum of style, content and total-variation losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from render import losses
from render.features import Network
from render.layers import LAYERS
from render.linalg import for_image
from render.moments import Moments, mix, moments


@dataclass(frozen=True)
class Weighting:
    """What is minimised. layers: {name: weight}; a look's weights are normalised here, once.

    edge: see features_of. normalisation: "relative" divides each layer's loss by its target's own size, so that a weight means the same in
    every layer and at every size; "gatys" keeps the factors of Gatys et al. 2016 (eqs. 1 and 4).
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

    def content_loss_of(self, features: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (losses.gatys_content if self.normalisation == "gatys" else losses.content)(features, wanted)

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


MARGIN_PX = 16  # a whole number of the deepest layers' strides


def features_of(network: Network, image: torch.Tensor, names: Sequence[str], *, edge: str = "continued") -> dict[str, torch.Tensor]:
    """Features (1, C, H // stride, W // stride) of an image (1, 3, H, W).

    The network sees nought beyond its input, and pixels at the edge would be bent to make up for it: a frame a few
    pixels wide (seen). With `edge` "continued" the border pixels go on for MARGIN_PX before that; with "zero" they do not,
    as in Gatys' program.
    """
    margin_px = MARGIN_PX if edge == "continued" else 0
    height, width = image.shape[-2:]
    with for_image(image):
        found = network(F.pad(image, (margin_px,) * 4, mode="replicate"), names)
    inner = {}
    for name, features in found.items():
        stride = LAYERS[name].stride_px
        before = margin_px // stride
        below, right = (n - before - side // stride for n, side in zip(features.shape[-2:], (height, width)))
        # A negative pad cuts, and unlike a slice its gradient keeps the channels_last layout.
        inner[name] = F.pad(features, (-before, -right, -before, -below))
    return inner


StyleTarget = Mapping[str, Moments]
ContentTarget = Mapping[str, torch.Tensor]


@torch.no_grad()
def style_target(network: Network, pictures: Sequence[tuple[torch.Tensor, float]], weighting: Weighting) -> StyleTarget:
    """Moments of weighted style pictures [(image (1, 3, H, W), weight)], a layer each."""
    names = [name for name, weight in weighting.style_layers.items() if weight > 0]
    if weighting.style_weight == 0:
        return {}
    parts = []
    for image, weight in pictures:
        features = features_of(network, image, names, edge=weighting.edge)
        parts.append(({name: moments(features[name]) for name in names}, weight))
    return {name: mix([(found[name], weight) for found, weight in parts]) for name in names}


@torch.no_grad()
def content_target(network: Network, image: torch.Tensor, weighting: Weighting) -> ContentTarget:
    """The content image's features, a layer each."""
    names = [name for name, weight in weighting.content_layers.items() if weight > 0]
    if weighting.content_weight == 0:
        return {}
    return {name: features.clone() for name, features in features_of(network, image, names, edge=weighting.edge).items()}


class Objective:
    """The function to minimise: `objective(image)` is its value and gradient there."""

    def __init__(self, network: Network, weighting: Weighting, style: StyleTarget, content: ContentTarget):
        self.network, self.weighting, self.style, self.content = network, weighting, style, content

    def __call__(self, image: torch.Tensor) -> Evaluation:
        """image: (1, 3, H, W) float32, sRGB, about [0, 1]."""
        w = self.weighting
        image = image.detach().requires_grad_()
        zero = image.new_zeros(())
        names = (*self.style, *self.content)
        features = features_of(self.network, image, names, edge=w.edge) if names else {}
        style = sum((w.share(w.style_layers, name) * w.style_loss_of(moments(features[name]), target)
                     for name, target in self.style.items()), zero)
        content = sum((w.share(w.content_layers, name) * w.content_loss_of(features[name], target)
                       for name, target in self.content.items()), zero)
        tv = losses.TV_LOSSES[w.tv_form](image)
        loss = w.style_weight * style + w.content_weight * content + w.tv_weight * tv
        with for_image(image):
            (gradient,) = torch.autograd.grad(loss, image)
        return Evaluation(loss.item(), gradient, style.item(), content.item(), tv.item())
