"""Runs shards: draws samples and writes them to files."""

import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from render.gan import files, sheets
from render.gan.sampling import Drawn, Sampler
from render.gan.shards import Sampling, Shard, plan_shards
from render.jobs.events import Done, Report, ignore
from render.network.device import Device, prepare
from render.system.files import whole_file

WRITERS = 8  # files that are written at the same time: each waits for the disk


def make_sampler(settings: Sampling, device: Device) -> Sampler:
    """Raises WeightsError, UsageError."""
    generator = files.load(
        settings.checkpoint,
        latent=settings.latent,
        distribution=settings.distribution,
        signed=settings.signed,
    )
    return Sampler(generator, device.name, device.threads)


class ShardRenderer:
    """Draws shards one after another on one device: a `runners.worker.Worker`."""

    def __init__(self, device: Device):
        self.device = device
        self._sampler: tuple[Sampling, Sampler] | None = None

    def run(self, shard: Shard, report: Report = ignore) -> Done:
        """Write the shard's files. Raises WeightsError, PictureError when the disk cannot take them."""
        began_s, waited_s = time.monotonic(), 0.0

        def batches() -> Iterator[np.ndarray]:
            nonlocal waited_s
            drawn = Drawn(shard.settings.seed, shard.settings.truncation)
            found = self._sampler_for(shard.settings).samples(drawn, shard.start, shard.stop)
            while True:
                before_s = time.monotonic()
                _, images = next(found, (0, None))
                waited_s += time.monotonic() - before_s
                if images is None:
                    return
                yield images

        if shard.settings.format == "npz":
            write_array(shard.output, batches(), shard.pictures)
        else:
            write_pngs(shard.products, batches())
        return Done(time.monotonic() - began_s, shard.output.stat().st_size, None, (), waited_s)

    def _sampler_for(self, settings: Sampling) -> Sampler:
        if self._sampler is None or self._sampler[0] != settings:
            self._sampler = settings, make_sampler(settings, self.device)
        return self._sampler[1]


@dataclass(frozen=True)
class MakeShardRenderer:
    """Makes workers that draw samples: a `runners.worker.MakeWorker` for shards."""

    precision = "float32"
    longest_px = 0  # no picture that several workers could share

    def __call__(self, device: Device) -> ShardRenderer:
        prepare(device)
        return ShardRenderer(device)

    def with_storage(self, storage: object) -> "MakeShardRenderer":
        """Itself: a shard is made in seconds, so nothing unfinished is stored."""
        return self


def write_pngs(paths: Sequence[Path], batches: Iterable[np.ndarray]) -> None:
    """Write each batch as it comes; the last file last, however long the others take."""
    following = iter(paths)
    with ThreadPoolExecutor(WRITERS) as pool:
        for images in batches:
            *others, last = [(next(following), image) for image in images]
            list(pool.map(lambda pair: sheets.write_png(*pair), others))
            sheets.write_png(*last)


def write_array(path: Path, batches: Iterable[np.ndarray], count: int) -> None:
    """Write an .npy of `count` samples (N, H, W, C) uint8, each batch as it comes."""
    batches = iter(batches)
    first = next(batches)
    with whole_file(path, needs_bytes=count * first[0].nbytes) as file:
        _write_npy(file, (count, *first.shape[1:]), chain([first], batches))


def write_npz(path: Path, shards: Iterable[Shard]) -> None:
    """Write the shards' arrays as one .npz with `samples` (N, H, W, C) uint8, whole or not at all. The arrays
    stay, because a later run with more samples continues from them."""
    parts = [np.load(shard.output, allow_pickle=False, mmap_mode="r") for shard in shards]
    with (
        whole_file(path, needs_bytes=sum(part.nbytes for part in parts)) as file,
        zipfile.ZipFile(file, "w") as archive,
        archive.open("samples.npy", "w", force_zip64=True) as member,
    ):
        _write_npy(member, (sum(map(len, parts)), *parts[0].shape[1:]), parts)


def _write_npy(file, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    for part in parts:
        for image in part:
            file.write(image.tobytes())


def input_folder(
    cache: Path, settings: Sampling, count: int, start: int, device: Device, begun: Callable[[], None]
) -> Path:
    """A folder with samples as inputs of a batch, made when it is not there yet.

    Args:
        cache: the folder in which it is made.
        count: of the samples.
        start: number of the first one.
        begun: called once before samples are drawn, if any are missing.
    """
    shards = plan_shards(settings, count, cache, start=start)
    # Two levels: the name of the lower folder becomes part of the prints' names.
    whole = cache / f"{shards[0].id}-{start}-{count}"
    folder = whole / f"{settings.checkpoint.parent.name or settings.checkpoint.stem}-seed{settings.seed}"
    renderer, drawing = ShardRenderer(device), False
    for shard in (shard.moved(folder) for shard in shards):
        if not all(path.is_file() for path in shard.products):
            if not drawing:
                begun()
                drawing = True
            renderer.run(shard)
    return whole
