"""What to sample, as plain values: ranges of samples, each a task for ledger and runners."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from render.errors import UsageError, WeightsError, brief
from render.jobs.job import digest, sha256
from render.jobs.task import JobRef
from render.system import files

SHARD = 512  # samples of a task: seconds of work, and a line in the log
SMALL_SHARD = 2048  # the same for images of up to SMALL_PIXELS, of which thousands are made in a second
SMALL_PIXELS = 32 * 32
MOST_INPUTS = 10**6  # samples as inputs of a batch
LAST_NUMBER = 10**12  # the largest number of a sample
FORMATS = ("png", "npz")
RECIPE = 1  # part of every shard's identity: raise it when the same settings make other pixels


@dataclass(frozen=True)
class Sampling:
    """What all samples of a run share."""

    checkpoint: Path
    """The generator's file."""
    seed: int = 0
    truncation: float = 1.0
    """Factor by which latents are drawn towards their mean, see sampling.Drawn."""
    format: str = "png"
    """One of FORMATS."""
    latent: tuple[int, ...] | None = None
    """Shape of one latent of a generator made elsewhere, see files.load; None for one of ours."""
    distribution: str = "normal"
    """"normal" or "uniform": of the latents of a generator made elsewhere."""
    signed: bool = True
    """Whether a generator made elsewhere gives images in [-1, 1], not in [0, 1]."""


@dataclass(frozen=True)
class Shard:
    """A range of samples: a `jobs.task.Task` of its own."""

    id: str
    """Hash of everything that decides the samples' pixels."""
    settings: Sampling
    start: int
    """Number of the first sample."""
    stop: int
    """Number of the last sample, plus one."""
    folder: Path
    """The output folder."""
    copy_of: "Shard | None" = field(default=None, compare=False)
    """The shard as it was planned, when this one reads or writes the same files elsewhere."""

    @property
    def ref(self) -> JobRef:
        shard = self.copy_of or self
        samples = f"seed {shard.settings.seed}, samples {shard.start} to {shard.stop - 1}"
        return JobRef(shard.id, shard.settings.checkpoint, samples, shard.output)

    @property
    def pictures(self) -> int:
        return self.stop - self.start

    @property
    def own_file(self) -> None:
        return None

    @property
    def products(self) -> list[Path]:
        """The files, in the order in which they are written."""
        if self.settings.format == "npz":
            return [self.folder / ".render" / "shards" / f"{self.start:06d}-{self.stop - 1:06d}.npy"]
        return [self.folder / f"{i:06d}.png" for i in range(self.start, self.stop)]

    @property
    def output(self) -> Path:
        """The last file: once it is there all are."""
        return self.products[-1]

    @property
    def group(self) -> str:
        return str(self.settings.checkpoint)

    @property
    def storage_id(self) -> str:
        return self.id

    def facts(self) -> dict:
        return {
            "settings": {**asdict(self.settings), "checkpoint": str(self.settings.checkpoint)},
            "look": {},
        }

    def files(self) -> tuple[Path, ...]:
        return (self.settings.checkpoint,)

    def with_files(self, local: Callable[[Path], Path]) -> "Shard":
        """A copy that reads its checkpoint elsewhere. local: path -> where that file is on this machine."""
        settings = replace(self.settings, checkpoint=local(self.settings.checkpoint))
        return replace(self, settings=settings, copy_of=self.copy_of or self)

    def moved(self, folder: Path) -> "Shard":
        """A copy whose samples are written into another folder."""
        return replace(self, folder=folder, copy_of=self.copy_of or self)


def shard_size(shape: tuple[int, int, int] | None) -> int:
    """Samples of a task, for images (C, H, W); None: not known."""
    return SMALL_SHARD if shape is not None and shape[1] * shape[2] <= SMALL_PIXELS else SHARD


def plan_shards(
    settings: Sampling, count: int, folder: Path, *, start: int = 0, size: int = SHARD
) -> tuple[Shard, ...]:
    """Ranges that end at multiples of `size`, so that a run with more samples leaves the first ones as they
    are.

    Raises UsageError for an unknown format, WeightsError when the checkpoint cannot be read.
    """
    if settings.format not in FORMATS:
        raise UsageError(f"--format {settings.format}: use {' or '.join(FORMATS)}.")
    files.check(settings.checkpoint, what="checkpoint", error=WeightsError)
    facts = {**asdict(settings), "checkpoint": sha256(settings.checkpoint)}
    ends = [*range(size * (start // size + 1), start + count, size), start + count]
    starts = [start, *ends[:-1]]
    return tuple(Shard(digest([RECIPE, facts, a, b]), settings, a, b, folder) for a, b in zip(starts, ends))


def parse_query(text: str) -> tuple[Sampling, int, int]:
    """ "gan:CHECKPOINT?count=16&seed=7&start=0&truncation=0.8" -> (settings, count, number of the first
    sample). Raises UsageError."""
    path, _, query = text.removeprefix("gan:").partition("?")
    shown = f"--inputs {brief(text)}"
    known = {"count": int, "seed": int, "start": int, "truncation": float}
    found = {"count": 16, "seed": 0, "start": 0, "truncation": 1.0}
    for parameter in filter(None, query.split("&")):
        key, _, value = parameter.partition("=")
        if key not in known:
            raise UsageError(
                f"{shown}: {brief(repr(key))} is not one of {', '.join(known)}. Write it like "
                "gan:gan.safetensors?count=16&seed=7."
            )
        try:
            found[key] = known[key](value)
        except ValueError:
            raise UsageError(f"{shown}: {key}={brief(value)} is not a number.") from None
    if not path or found["count"] < 1 or found["start"] < 0:
        raise UsageError(
            f"{shown}: write it like gan:gan.safetensors?count=16&seed=7, with a count of 1 or more."
        )
    if found["count"] > MOST_INPUTS or found["start"] > LAST_NUMBER or not 0 <= found["truncation"] <= 10:
        raise UsageError(
            f"{shown}: count is at most {MOST_INPUTS}, start at most {LAST_NUMBER}, and truncation 0 to 10."
        )
    return Sampling(Path(path), found["seed"], found["truncation"]), found["count"], found["start"]
