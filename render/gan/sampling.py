"""Samples of a generator: sample i of a seed is the same image in whatever batch, order, process or machine
it is made.

Latents are drawn in chunks of CHUNK samples, the first of which is a multiple of CHUNK. The network is always
run on batches of the same size and start, because floating-point results depend on the size of a batch; for
the same reason a batch is computed by one thread."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from render.errors import WeightsError
from render.gan.files import Generator
from render.network.linalg import one_thread

CHUNK = 256
PIXELS = 2**18  # of a batch: many enough to share one pass over the weights, few enough for the memory


@dataclass(frozen=True)
class Drawn:
    """Which latents are drawn."""

    seed: int
    truncation: float = 1.0
    """Factor by which latents are drawn towards their mean, 1 for not at all: fewer odd samples, less variety
    (Karras et al. 2019, appendix B, in the space of the latents)."""


def latents(generator: Generator, drawn: Drawn, chunk: int) -> np.ndarray:
    """(CHUNK, *latent) float32: the latents of the samples from chunk * CHUNK on. Philox (Salmon et al. 2011)
    with seed and chunk as its key, so that no chunk depends on another."""
    numbers = np.random.Generator(np.random.Philox(key=[drawn.seed % 2**64, chunk]))
    size = (CHUNK, *generator.latent)
    if generator.distribution == "uniform":
        found = 2 * numbers.random(size, dtype=np.float32) - 1
    else:
        found = numbers.standard_normal(size, dtype=np.float32)
    return found * np.float32(drawn.truncation)


def latents_of(generator: Generator, drawn: Drawn, indices: Sequence[int]) -> np.ndarray:
    """(N, *latent): the latents of any samples."""
    return np.stack([latents(generator, drawn, i // CHUNK)[i % CHUNK] for i in indices])


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Interpolate between two latents on the great circle (Shoemake 1985; for GANs White 2016): in between, a
    Gaussian latent keeps the length that the generator was trained on. Parallel ones are joined by a line."""
    cosine = float((a * b).sum() / max(1e-12, np.linalg.norm(a) * np.linalg.norm(b)))
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    if math.sin(angle) < 1e-6:
        return ((1 - t) * a + t * b).astype(np.float32)
    return ((math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)).astype(np.float32)


def between(generator: Generator, drawn: Drawn, indices: Sequence[int], frames: int) -> np.ndarray:
    """(frames, *latent): evenly from the first sample through all the others to the last, by slerp."""
    stops = latents_of(generator, drawn, indices)
    found = []
    for i in range(frames):
        place = i * (len(stops) - 1) / max(1, frames - 1)
        leg = min(int(place), len(stops) - 2)
        found.append(slerp(stops[leg], stops[leg + 1], place - leg))
    return np.stack(found)


def batch_of(shape: tuple[int, int, int] | None) -> int:
    """Samples of a batch for images (C, H, W): a power of two that divides CHUNK, smaller for larger
    images."""
    if shape is None:
        return 64
    return min(CHUNK, 2 ** max(0, int(math.log2(PIXELS / (shape[1] * shape[2])))))


class Sampler:
    """A generator on a device, run by `threads` threads."""

    def __init__(self, generator: Generator, device: str = "cpu", threads: int = 1):
        self.generator, self.device, self.threads = (
            generator,
            torch.device(device),
            threads if device == "cpu" else 1,
        )
        self.network = generator.network.to(self.device)
        self.batch = batch_of(generator.shape)

    def samples(self, drawn: Drawn, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first, (N, H, W, C) uint8), batch by batch in order, for the samples in [start,
        stop)."""
        places = range(start // self.batch * self.batch, stop, self.batch)
        for place, found in zip(
            places, self._mapped(lambda place: self._run(self._latents(drawn, place)), places)
        ):
            first = max(start, place)
            yield first, found[first - place : stop - place]

    def _latents(self, drawn: Drawn, place: int) -> np.ndarray:
        start = place % CHUNK
        return latents(self.generator, drawn, place // CHUNK)[start : start + self.batch]

    def images(self, latents: np.ndarray) -> np.ndarray:
        """(N, H, W, C) uint8 of latents (N, *latent)."""
        filled = np.concatenate(
            [latents, np.zeros((-len(latents) % self.batch, *latents.shape[1:]), np.float32)]
        )
        batches = [filled[i : i + self.batch] for i in range(0, len(filled), self.batch)]
        return np.concatenate(list(self._mapped(self._run, batches)))[: len(latents)]

    def _mapped(self, call: Callable, things: Sequence) -> Iterator:
        """Call for each thing, in order, only a few ahead of the caller to save memory."""
        if self.threads == 1 or len(things) == 1:
            with one_thread(True):
                yield from map(call, things)
            return
        with ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            ahead, waiting = [], iter(things)
            for thing in waiting:
                ahead.append(pool.submit(call, thing))
                if len(ahead) == 2 * self.threads:
                    yield ahead.pop(0).result()
            for job in ahead:
                yield job.result()

    @torch.inference_mode()
    def _run(self, latents: np.ndarray) -> np.ndarray:
        try:
            images = self.network(torch.from_numpy(latents).to(self.device))
        except (
            RuntimeError,
            AssertionError,
            TypeError,
        ) as error:  # whatever a generator from elsewhere raises
            raise WeightsError(
                f"the generator refuses latents of {'x'.join(map(str, latents.shape))}: "
                f"{str(error).strip().splitlines()[-1]}. Check --latent; the first number is the batch, "
                f"which must "
                "be free: with torch.export, give dynamic_shapes."
            ) from error
        return _as_bytes(images, signed=self.generator.signed)


def _as_bytes(images: torch.Tensor, *, signed: bool) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C) uint8. Raises WeightsError for a tensor that is not images."""
    if not isinstance(images, torch.Tensor) or images.dim() != 4 or images.shape[1] not in (1, 3):
        found = (
            "x".join(map(str, images.shape)) if isinstance(images, torch.Tensor) else type(images).__name__
        )
        raise WeightsError(f"the generator gives {found}, and images are (N, 1 or 3, height, width).")
    if not all(map(math.isfinite, torch.aminmax(images))):  # ten times as fast as testing each value
        raise WeightsError("the generator gives images that are not numbers (NaN or infinite).")
    scaled = images.float().mul(127.5).add_(127.5) if signed else images.float() * 255
    return scaled.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
