"""One print to make: a photograph in a style, as a plain value with its identity."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from render.errors import PictureError
from render.jobs.look import Look
from render.jobs.settings import FINISHING, Settings
from render.jobs.styles import Style
from render.jobs.task import JobRef
from render.pictures.icc import BUILT_IN
from render.pictures.images import MAX_FILE_BYTES
from render.system import files

# Part of every job's identity: raise it when the same settings make other pixels.
RECIPE = 3


@dataclass(frozen=True)
class Job:
    """One photograph in one style: a `Task` of its own."""

    id: str
    """Hash of everything that decides the print's pixels."""
    painting_id: str
    """Hash of what decides the pixels before finishing: jobs that share it share one painting."""
    photo: Path
    style: Style
    look: Look
    settings: Settings
    output: Path
    """The print to write."""
    hashes: Mapping[Path, str] = field(default_factory=dict, compare=False)
    """sha256 of each of its files when the job was planned."""
    copy_of: "Job | None" = field(default=None, compare=False)
    """The job as it was planned, when this one reads or writes the same files elsewhere."""

    @property
    def original(self) -> "Job":
        """The job as it was planned: what prints, events and the ledger tell of."""
        return self.copy_of or self

    @property
    def ref(self) -> JobRef:
        job = self.original
        return JobRef(job.id, job.photo, job.style.name, job.output)

    @property
    def label(self) -> str:
        return self.ref.label

    @property
    def storage_id(self) -> str:
        return self.painting_id

    @property
    def pictures(self) -> int:
        return 1

    @property
    def group(self) -> str:
        """Jobs of one group are best done by the same worker."""
        return self.style.name

    def facts(self) -> dict:
        """What was requested, as JSON."""
        return {"settings": self.settings.model_dump(), "look": self.look.model_dump(mode="json")}

    def files(self) -> tuple[Path, ...]:
        """Everything that it reads."""
        start = () if self.look.init in ("content", "noise") else (Path(self.look.init),)
        profiles = (
            Path(p)
            for p in (self.settings.profile, self.settings.soft_proof)
            if p is not None and p not in BUILT_IN
        )
        return (self.photo, *(picture.path for picture in self.style.pictures), *start, *profiles)

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file of the user's that it is made from, the preset and the network's weights included."""
        return (*self.files(), self.style.path, Path(self.settings.weights))

    def with_files(self, local: Callable[[Path], Path]) -> "Job":
        """A copy that reads its files elsewhere. local: path -> where that file is on this machine."""

        def moved(name: str | None) -> str | None:
            return name if name is None or name in BUILT_IN else str(local(Path(name)))

        pictures = tuple(replace(picture, path=local(picture.path)) for picture in self.style.pictures)
        look = self.look
        if look.init not in ("content", "noise"):
            look = look.model_copy(update={"init": str(local(Path(look.init)))})
        settings = self.settings.model_copy(
            update={"profile": moved(self.settings.profile), "soft_proof": moved(self.settings.soft_proof)}
        )
        hashes = {local(path): found for path, found in self.hashes.items()}
        return replace(
            self,
            photo=local(self.photo),
            style=replace(self.style, pictures=pictures),
            look=look,
            settings=settings,
            hashes=hashes,
            copy_of=self.original,
        )

    def check(self, path: Path, found_sha256: str) -> None:
        """Raises PictureError when a file of this job has changed since the job was planned: the print would
        show another picture than its provenance says."""
        if self.hashes[path] != found_sha256:
            raise changed(path)

    @property
    def own_file(self) -> Path | None:
        """The file that it reads and no other job is likely to."""
        return self.photo

    @property
    def products(self) -> list[Path]:
        """Files that it writes, the one by which it is known last."""
        return products(self.output, self.settings)

    @property
    def folder(self) -> Path:
        return self.output.parent

    def moved(self, folder: Path) -> "Job":
        """A copy whose print is written into another folder."""
        return replace(self, output=folder / self.output.name, copy_of=self.original)


def make_job(
    photo: Path, style: Style, look: Look, settings: Settings, output: Path, *, weights_sha256: str
) -> Job:
    """A job with its identity. Raises PictureError when the photograph or a style picture cannot be read."""
    pictures = [(sha256(picture.path), picture.weight) for picture in style.pictures]
    start = look.init if look.init in ("content", "noise") else sha256(Path(look.init))
    # Files count by their content, wherever they are.
    look_facts = look.model_dump(mode="json") | {"init": start}
    painting = {name: value for name, value in settings.model_dump().items() if name not in FINISHING}
    painting |= {"weights": weights_sha256, "match": settings.color == "match"}
    if settings.paper is None:
        del painting["dpi"]
    painting_id = digest([RECIPE, sha256(photo), pictures, look_facts, painting])
    job = Job(finished_id(painting_id, settings), painting_id, photo, style, look, settings, output)
    return replace(job, hashes={path: sha256(path) for path in job.files()})


def finished_id(painting_id: str, settings: Settings) -> str:
    """Job.id of a painting that is finished with these settings."""
    facts: dict[str, Any] = {name: getattr(settings, name) for name in FINISHING} | {"dpi": settings.dpi}
    for name in ("profile", "soft_proof"):  # files count by their content
        path = getattr(settings, name)
        if path not in (None, *BUILT_IN):
            facts[name] = sha256(Path(path))
    return digest([painting_id, facts])


def products(print_: Path, settings: Settings) -> list[Path]:
    return [print_] if settings.soft_proof is None else [proof_path(print_), print_]


def proof_path(print_: Path) -> Path:
    return print_.with_name(f"{print_.stem}.proof.png")


@cache
def sha256(path: Path) -> str:
    """Of a file's content, read once. Raises PictureError."""
    return files.sha256_of(path, at_most_bytes=MAX_FILE_BYTES, what="file")


def changed(path: Path | str) -> PictureError:
    return PictureError(
        f"{path}: has changed since the batch began. Run the same command again: it is then rendered as "
        "it is now."
    )


def digest(facts) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]
