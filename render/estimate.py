"""What a job will cost, before it runs: seconds and bytes from the layers' facts and one short measurement."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from render import images
from render.device import Device, memory_bytes, synchronise
from render.errors import RenderError
from render.jobs import Job
from render.layers import activation_bytes_per_pixel, multiply_adds_per_pixel
from render.objective import Objective, Weighting, content_target, style_target
from render.optimise import history_of
from render.pipeline import Renderer, plan, weighting_of
from render.schedule import Scale

PROBE_SIZE = (192, 256)
# Fitted to peaks of the whole process, measured with L-BFGS and bfloat16 on a CPU: 1.04 GB at 512 x 341 px, 1.33 GB at
# 512 x 512 px. The first is Python, torch and VGG-19's weights; the second are gradients and float32 copies of the
# widest layer while it is summed, and the freed memory that the allocator keeps.
BASE_BYTES = 440 * 10**6
WORKING_VALUES_PER_PIXEL = 500


@dataclass(frozen=True)
class Cost:
    """scales: what will be run; seconds: of this job alone on the whole machine; memory_bytes: peak, at the last scale."""

    scales: tuple[Scale, ...]
    seconds: float
    memory_bytes: float


def estimate(jobs: Sequence[Job], device: Device, renderer: Renderer) -> Iterator[tuple[Job, Cost | RenderError]]:
    """The cost of each job, or why it cannot run. Reads the photographs' headers only."""
    speeds: dict[tuple, float] = {}
    for job in jobs:
        try:
            scales = plan(job, images.probe(job.photo))
        except RenderError as error:
            yield job, error
            continue
        weighting = weighting_of(job.look)
        if weighting.layers not in speeds:
            speeds[weighting.layers] = multiply_adds_per_second(renderer, weighting)
        yield job, Cost(
            scales,
            job_multiply_adds(scales, weighting) / speeds[weighting.layers],
            job_memory_bytes(scales, weighting, device, optimiser=job.look.optimiser),
        )


def job_multiply_adds(scales: Sequence[Scale], weighting: Weighting) -> float:
    """Multiply-adds of a job: a forward pass and a backward pass of the same cost for each iteration. Targets, made
    once a scale, are left out."""
    per_pixel = 2 * multiply_adds_per_pixel(weighting.layers) if weighting.layers else 0
    return float(sum(scale.pixels * scale.iterations for scale in scales) * per_pixel)


def job_memory_bytes(scales: Sequence[Scale], weighting: Weighting, device: Device, *, optimiser: str) -> float:
    """Peak memory of a job, at its largest scale."""
    pixels = max(scale.pixels for scale in scales)
    values_bytes = torch.finfo(device.dtype).bits // 8
    images = 2 * history_of(optimiser, pixels=pixels, memory_bytes=memory_bytes(device.name) // 4) + 8
    network = activation_bytes_per_pixel(weighting.layers, bytes_per_value=values_bytes) if weighting.layers else 0
    return BASE_BYTES + pixels * (network + WORKING_VALUES_PER_PIXEL * 4 + images * 3 * 4)


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
