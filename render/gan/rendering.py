"""Carries shards out: samples to files."""

import io
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from render.device import Device
from render.events import Done
from render.export import whole_file, write_bytes
from render.gan import files, sheets
from render.gan.sampling import Drawn, Sampler
from render.gan.shards import Sampling, Shard, plan_shards

WRITERS = 8  # files on their way to the disk at a time: each waits for it


def make_sampler(settings: Sampling, device: Device) -> Sampler:
    """Raises WeightsError, UsageError."""
    generator = files.load(settings.checkpoint, latent=settings.latent, distribution=settings.distribution, signed=settings.signed)
    return Sampler(generator, device.name, device.threads)


class ShardRenderer:
    """Renders shards as pipeline.Renderer renders jobs."""

    def __init__(self, device: Device):
        self.device = device
        self._sampler: tuple[Sampling, Sampler] | None = None

    def render(self, shard: Shard, *, keeping=None, report: Callable = print, asked: Shard | None = None) -> Done:
        """Writes the shard's files. Raises WeightsError, PictureError when the disk cannot take them."""
        began_s = time.monotonic()
        sampler = self._sampler_for(shard.settings)
        chunks = sampler.samples(Drawn(shard.settings.seed, shard.settings.truncation), shard.start, shard.stop)
        samples = np.concatenate([images for _, images in chunks])
        sampled_s = time.monotonic() - began_s
        if shard.settings.format == "npz":
            write_array(shard.output, samples)
        else:
            write_pngs(shard.products, samples)
        return Done(time.monotonic() - began_s, shard.output.stat().st_size, None, (), sampled_s)

    def _sampler_for(self, settings: Sampling) -> Sampler:
        if self._sampler is None or self._sampler[0] != settings:
            self._sampler = settings, make_sampler(settings, self.device)
        return self._sampler[1]


def write_pngs(paths: Iterable[Path], samples: np.ndarray) -> None:
    """The last one last, whatever the others take."""
    *others, last = zip(paths, samples)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda pair: sheets.write_png(*pair), others))
    sheets.write_png(*last)


def write_array(path: Path, samples: np.ndarray) -> None:
    data = io.BytesIO()
    np.save(data, samples, allow_pickle=False)
    write_bytes(path, data.getvalue())


def write_npz(path: Path, shards: Iterable[Shard]) -> None:
    """The shards' arrays as one .npz with `samples` (N, H, W, C) uint8, whole or not at all. They are kept, as what
    a run with more samples goes on from."""
    shards = list(shards)
    parts = [np.load(shard.output, allow_pickle=False, mmap_mode="r") for shard in shards]
    with whole_file(path, needs_bytes=sum(part.nbytes for part in parts)) as file:
        np.savez(file, samples=np.concatenate(parts))


def input_folder(cache: Path, settings: Sampling, count: int, start: int, device: Device, seen: Callable[[], None]) -> Path:
    """Samples as inputs of a batch: a folder with them, made when it is not there yet. seen: called before the work."""
    shards = plan_shards(settings, count, cache, start=start)
    # Two levels: the lower one's name becomes part of the prints'.
    whole = cache / f"{shards[0].id}-{start}-{count}"
    folder = whole / f"{settings.checkpoint.parent.name or settings.checkpoint.stem}-seed{settings.seed}"
    renderer, told = ShardRenderer(device), False
    for shard in (shard.moved(folder) for shard in shards):
        if not all(path.is_file() for path in shard.products):
            if not told:
                seen()
                told = True
            renderer.render(shard)
    return whole
