"""One job from file to file: photograph, style pictures, scales, print."""

import math
import platform
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import render
from render import checkpoint, export, images, optimise
from render.checkpoint import Checkpoint
from render.device import Device, memory_bytes
from render.events import Done, Progress
from render.jobs import Job
from render.objective import Objective, StyleTarget, Weighting, content_target, style_target
from render.presets import Look
from render.schedule import Scale, plan_scales
from render.weights import Weights

DETAIL = 1.0  # share of the photograph's own detail band added to an enlarged image at the start of a scale
CACHED_TARGETS = 64  # style targets kept: 2.4 MB each


def weighting_of(look: Look) -> Weighting:
    return Weighting(
        style_layers=look.style_layers,
        content_layers=look.content_layers,
        style_weight=look.style_weight,
        content_weight=look.content_weight,
        tv_weight=look.tv_weight,
        style_loss=look.style_loss,
        tv_form=look.tv_form,
        normalisation=look.normalisation,
        edge=look.edge,
    )


def plan(job: Job, photo_size: tuple[int, int]) -> tuple[Scale, ...]:
    """The scales of a job. photo_size: (height, width)."""
    return plan_scales(photo_size, job.settings.size_px, quality=job.settings.quality, style_scale=job.look.style_scale)


class Renderer:
    """Renders jobs one after another on one device, keeping the network and the style targets between them."""

    def __init__(self, device: Device, weights: Weights):
        self.device, self.weights = device, weights
        self.network = weights.network(device=device.name, dtype=device.dtype)
        self._targets: OrderedDict[tuple, StyleTarget] = OrderedDict()

    def render(self, job: Job, *, checkpoints: Path | None = None,
               report: Callable[[Progress], None] = lambda progress: None) -> Done:
        """Renders a job and writes its print. `checkpoints`: where finished scales are kept until the job is done.

        Raises RenderError for what the user can mend.
        """
        started = time.monotonic()
        photo = images.read(job.photo)
        scales = plan(job, photo.size)
        image, loss = self._scales(job, photo.pixels, scales, checkpoints, report)
        pixels = image[0].permute(1, 2, 0).cpu().numpy()
        alpha = None if photo.alpha is None else images.resize(photo.alpha, scales[-1].size)
        export.write(
            job.output, pixels, alpha=alpha, dpi=job.settings.dpi, provenance=self._provenance(job, scales, loss)
        )
        if checkpoints is not None:
            checkpoint.forget(checkpoints, job.id)
        return Done(time.monotonic() - started, job.output.stat().st_size, loss)

    def _scales(self, job, photo: np.ndarray, scales, checkpoints, report) -> tuple[torch.Tensor, float]:
        stored = checkpoint.load(checkpoints, job.id) if checkpoints is not None else None
        image, carried, first = None, {}, 0
        if stored is not None:
            image, carried, first = stored.image.to(self.device.name), stored.carried, stored.scale
        total = sum(scale.pixels * scale.iterations for scale in scales)
        loss = math.nan
        for i, scale in enumerate(scales[first:], start=first):
            before = sum(scale.pixels * scale.iterations for scale in scales[:i])
            content = self._tensor(images.resize(photo, scale.size))
            start = self._first_image(job, content) if image is None else enlarged(image, content, job.look)

            def tell(step: optimise.Step) -> None:
                nonlocal loss
                loss = step.evaluation.loss
                work = (before + scale.pixels * step.iteration) / total
                report(Progress(job, i + 1, len(scales), scale.size, step.iteration, step.iterations, loss, work))

            image, carried = self._scale(job, scale, content, start, carried, tell)
            if checkpoints is not None and i + 1 < len(scales):
                checkpoint.store(checkpoints, job.id, Checkpoint(i + 1, image, carried))
        return image, loss

    def _scale(self, job: Job, scale: Scale, content, start, carried, tell):
        weighting = weighting_of(job.look)
        network = self.network.with_pooling(job.look.pooling)
        objective = Objective(
            network, weighting, self._style_target(job, scale, network, weighting),
            content_target(network, content, weighting),
        )
        optimiser = optimise.optimiser(
            job.look.optimiser, pixels=scale.pixels, memory_bytes=memory_bytes(self.device.name) // 4, carried=carried
        )
        image = optimise.minimise(objective, start, optimiser, iterations=scale.iterations, report=tell)
        return image, optimiser.carried

    def _style_target(self, job: Job, scale: Scale, network, weighting: Weighting) -> StyleTarget:
        key = (job.style.pictures, scale.style_long_side_px, job.look.pooling, job.look.edge,
               tuple(weighting.style_layers.items()))
        if key not in self._targets:
            pictures = [
                (self._tensor(images.read(picture.path, long_side_px=scale.style_long_side_px).pixels), picture.weight)
                for picture in job.style.pictures
            ]
            self._targets[key] = style_target(network, pictures, weighting)
            if len(self._targets) > CACHED_TARGETS:
                self._targets.popitem(last=False)
        self._targets.move_to_end(key)
        return self._targets[key]

    def _first_image(self, job: Job, content: torch.Tensor) -> torch.Tensor:
        if job.look.init == "content":
            return content.clone()
        if job.look.init == "noise":
            # Drawn on the CPU, so that every machine starts alike; as broad as photographs are.
            noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(job.settings.seed))
            return (0.5 + 0.2 * noise).clamp(0, 1).to(self.device.name)
        return self._tensor(images.resize(images.read(job.look.init).pixels, content.shape[-2:]))

    def _tensor(self, pixels: np.ndarray) -> torch.Tensor:
        """(H, W, 3) in [0, 1] -> (1, 3, H, W) on the device."""
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].to(self.device.name)

    def _provenance(self, job: Job, scales, loss: float) -> dict:
        return {
            "job": job.id,
            "photo": job.photo.name,
            "style": {"name": job.style.name, "title": job.style.title, "author": job.style.author,
                      "licence": job.style.licence,
                      "pictures": [{"file": p.path.name, "weight": p.weight} for p in job.style.pictures]},
            "look": job.look.model_dump(mode="json"),
            "size_px": job.settings.size_px,
            "quality": job.settings.quality,
            "seed": job.settings.seed,
            "scales": [{"height": s.size[0], "width": s.size[1], "iterations": s.iterations} for s in scales],
            "loss": loss,
            "weights": {"name": self.weights.name, "sha256": self.weights.sha256},
            "device": self.device.name,
            "precision": self.device.precision,
            "versions": {"render": render.__version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def enlarged(image: torch.Tensor, content: torch.Tensor, look: Look) -> torch.Tensor:
    """The start of a scale: the last scale's image at the new size, with the photograph's detail of the new octave.

    An enlarged image has no fine detail, so the loss jumps; what the photograph has there is a better guess than
    nothing (measured: BENCHMARKS.md). Without a content loss the photograph must not show.
    """
    size = content.shape[-2:]
    result = _resample(image, size)
    if look.content_weight > 0:
        low = F.interpolate(content, image.shape[-2:], mode="area")
        result = result + DETAIL * (content - _resample(low, size))
    return result.clamp(0, 1)


def _resample(image: torch.Tensor, size) -> torch.Tensor:
    return F.interpolate(image, size, mode="bicubic", align_corners=False)
