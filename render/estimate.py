"""What a job will cost, before it runs: seconds and bytes from the layers' facts and one short measurement."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from render import images
from render.device import Device, synchronise
from render.errors import RenderError
from render.jobs import Job
from render.layers import multiply_adds_per_pixel
from render.memory import MemoryPlan, plan_memory
from render.objective import Objective, Weighting, content_target, style_target
from render.pipeline import Renderer, plan, scene_of, weighting_of
from render.prints import enough_pixels
from render.schedule import Scale
from render.tiling import plan_tiles

PROBE_SIZE = (192, 256)


@dataclass(frozen=True)
class Cost:
    """scales, plans: what will be run, and in which memory; seconds: of this job alone on the whole machine;
    warning: for people, or None."""

    scales: tuple[Scale, ...]
    plans: tuple[MemoryPlan, ...]
    seconds: float
    warning: str | None = None

    @property
    def memory_bytes(self) -> int:
        return max(plan.peak_bytes for plan in self.plans)


def estimate(jobs: Sequence[Job], device: Device, renderer: Renderer) -> Iterator[tuple[Job, Cost | RenderError]]:
    """The cost of each job, or why it cannot run. Reads the photographs' headers only."""
    speeds: dict[tuple, float] = {}
    for job in jobs:
        try:
            layout = job.settings.layout(images.probe(job.photo))
            scales = plan(job, layout)
            plans = tuple(plan_memory(scene_of(job, scale, device.dtype.itemsize), device.budget) for scale in scales)
        except RenderError as error:
            yield job, error
            continue
        weighting = weighting_of(job.look)
        if weighting.layers not in speeds:
            speeds[weighting.layers] = multiply_adds_per_second(renderer, weighting)
        seconds = job_multiply_adds(job, scales, plans) / speeds[weighting.layers]
        yield job, Cost(scales, plans, seconds, enough_pixels(layout) if job.settings.paper is not None else None)


def job_multiply_adds(job: Job, scales: Sequence[Scale], plans: Sequence[MemoryPlan]) -> float:
    """Multiply-adds of a job: for each iteration and tile a forward pass, a backward pass of the same cost, and another
    forward pass where activations are not kept. Targets, made once a scale, are left out."""
    total = 0.0
    for scale, memory in zip(scales, plans):
        layers = weighting_of(job.look, scale).layers
        if layers:
            tiles = plan_tiles(scale.size, layers, memory.tile_px)
            passes = sum(tile.outer.pixels * (2 if i < memory.kept else 3) for i, tile in enumerate(tiles))
            total += passes * scale.iterations * multiply_adds_per_pixel(layers)
    return total


def multiply_adds_per_second(renderer: Renderer, weighting: Weighting) -> float:
    """How fast this machine is now: the better of two evaluations of a small image."""
    image = torch.rand((1, 3, *PROBE_SIZE), generator=torch.Generator().manual_seed(0)).to(renderer.device.name)
    network = renderer.network
    objective = Objective(network, weighting, style_target(network, [(image.flip(-1), 1.0)], weighting),
                          content_target(network, image, weighting))
    objective(image)  # the first one loads kernels
    times = []
    for _ in range(2):
        started = time.perf_counter()
        objective(image)
        synchronise(renderer.device.name)
        times.append(time.perf_counter() - started)
    pixels = PROBE_SIZE[0] * PROBE_SIZE[1]
    return 2 * multiply_adds_per_pixel(weighting.layers) * pixels / min(times)
