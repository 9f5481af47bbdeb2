"""What a job will cost, before it runs: seconds and bytes, from the facts about the layers and one short
measurement."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psutil
import torch

from render.errors import RenderError
from render.jobs.job import Job
from render.jobs.schedule import Scale
from render.network.device import Device, own_cores, synchronise
from render.network.layers import multiply_adds_per_pixel
from render.network.memory import MemoryPlan, plan_memory
from render.network.objective import Objective, Weighting, content_target, style_target
from render.network.tiling import plan_tiles
from render.painting.renderer import Renderer, plan, scene_of, weighting_of
from render.pictures import images
from render.pictures.paper import enough_pixels

PROBE_SIZE = (192, 256)
FEWEST_PROBES = 3
LONGEST_PROBING_S = 5.0  # where no two probes agree: a machine may be busy for hours
PROBES_AGREE = 1.05  # two probes agree when the second best took at most so many times the best
BUSY_SHARE = 0.2  # share of the processor used by other programs above which the machine is reported as busy


@dataclass(frozen=True)
class Cost:
    """What a job takes."""

    scales: tuple[Scale, ...]
    """What will be run."""
    plans: tuple[MemoryPlan, ...]
    """The memory of each scale."""
    seconds: float
    """Time of this job alone on the whole machine, when that does nothing else."""
    warning: str | None = None
    """For people."""
    others_share: float = 0.0
    """Share of the processor that other programs used while the speed was measured, in [0, 1]."""

    @property
    def memory_bytes(self) -> int:
        return max(plan.peak_bytes for plan in self.plans)

    @property
    def measured_busy(self) -> bool:
        return self.others_share > BUSY_SHARE


@dataclass(frozen=True)
class Clocks:
    """A reading of three clocks, all in seconds since an arbitrary moment."""

    wall_s: float
    """Time on the wall."""
    own_s: float
    """Processor time of this process, all threads together."""
    all_s: float
    """Processor time of all processes, on the cores that this process may use."""

    @classmethod
    def read(cls) -> "Clocks":
        cores = psutil.cpu_times(percpu=True)
        return cls(
            time.perf_counter(),
            time.process_time(),
            sum(_used_s(cores[i]) for i in own_cores() if i < len(cores)),
        )

    def __sub__(self, earlier: "Clocks") -> "Clocks":
        return Clocks(self.wall_s - earlier.wall_s, self.own_s - earlier.own_s, self.all_s - earlier.all_s)

    def others_share(self, cores: int) -> float:
        """The share of `cores` cores that other programs used in this span of time, in [0, 1]."""
        return min(1.0, max(0.0, (self.all_s - self.own_s) / (cores * self.wall_s)))


def _used_s(core) -> float:
    """Seconds in which a core was used, from psutil's times of it. What the host of a virtual machine took
    away ("steal") counts as used."""
    return sum(getattr(core, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))


@dataclass(frozen=True)
class Speed:
    """How fast this machine runs the network."""

    multiply_adds_per_second: float
    others_share: float
    """See Cost."""


def estimate(
    jobs: Sequence[Job], device: Device, renderer: Renderer
) -> Iterator[tuple[Job, Cost | RenderError]]:
    """The cost of each job, or the reason why it cannot run. Reads only the photographs' headers."""
    speeds: dict[tuple, Speed] = {}
    for job in jobs:
        try:
            layout = job.settings.layout(images.probe(job.photo))
            scales = plan(job, layout)
            plans = tuple(
                plan_memory(scene_of(job, scale, device.dtype.itemsize), device.budget) for scale in scales
            )
        except RenderError as error:
            yield job, error
            continue
        weighting = weighting_of(job.look)
        if weighting.layers not in speeds:
            speeds[weighting.layers] = speed_of(renderer, weighting)
        speed = speeds[weighting.layers]
        seconds = job_multiply_adds(job, scales, plans) / speed.multiply_adds_per_second
        warning = enough_pixels(layout) if job.settings.paper is not None else None
        yield job, Cost(scales, plans, seconds, warning, speed.others_share)


def job_multiply_adds(job: Job, scales: Sequence[Scale], plans: Sequence[MemoryPlan]) -> float:
    """Multiply-adds of a job: for each iteration and tile a forward pass, a backward pass of the same cost,
    and another forward pass where activations are not kept. Targets are computed once per scale and not
    counted."""
    total = 0.0
    for scale, memory in zip(scales, plans):
        layers = weighting_of(job.look, scale).layers
        if layers:
            tiles = plan_tiles(scale.size, layers, memory.tile_px)
            passes = sum(tile.outer.pixels * (2 if i < memory.kept else 3) for i, tile in enumerate(tiles))
            total += passes * scale.iterations * multiply_adds_per_pixel(layers)
    return total


def speed_of(renderer: Renderer, weighting: Weighting) -> Speed:
    """How fast this machine is when it does nothing else, from evaluations of a small image."""
    device = renderer.device
    image = torch.rand((1, 3, *PROBE_SIZE), generator=torch.Generator().manual_seed(0)).to(device.name)
    network = renderer.network
    objective = Objective(
        network,
        weighting,
        style_target(network, [(image.flip(-1), 1.0)], weighting),
        content_target(network, image, weighting),
    )

    def evaluate() -> None:
        objective(image)
        synchronise(device.name)

    seconds, others_share = idle_time(evaluate, threads=device.threads if device.name == "cpu" else None)
    work = 2 * multiply_adds_per_pixel(weighting.layers) * PROBE_SIZE[0] * PROBE_SIZE[1]
    return Speed(work / seconds, others_share)


def idle_time(
    evaluate: Callable[[], None],
    *,
    threads: int | None,
    read: Callable[[], Clocks] = Clocks.read,
    cores: int | None = None,
) -> tuple[float, float]:
    """(seconds that an evaluation takes on this machine when it does nothing else, share of the processor
    that other programs used meanwhile).

    The best of several evaluations, repeated until two agree. On a busy machine even the best one waited for
    its turn; so there the time is the processor time of its threads, which is a little too short where one of
    them works alone.

    Args:
        threads: how many evaluate on the processor; None: they wait for a GPU.
    """
    evaluate()  # not measured, because the first one loads kernels
    started, spans = read(), []
    while not _enough(spans):
        before = read()
        evaluate()
        spans.append(read() - before)
    others_share = (read() - started).others_share(cores or len(own_cores()))
    best_s = min(span.wall_s for span in spans)
    if threads is not None and others_share > BUSY_SHARE:
        best_s = min(best_s, min(span.own_s for span in spans) / threads)
    return best_s, others_share


def _enough(spans: Sequence[Clocks]) -> bool:
    times = sorted(span.wall_s for span in spans)
    if len(times) > 1 and sum(times) > LONGEST_PROBING_S:
        return True
    return len(times) >= FEWEST_PROBES and times[1] <= PROBES_AGREE * times[0]
