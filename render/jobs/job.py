"""One print to make: a photograph in a style, as a plain value with its identity."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from render.errors import PictureError
from render.jobs.look import Look
from render.jobs.settings import FINISHING, Settings
from render.jobs.styles import Style
from render.pictures.icc import BUILT_IN
from render.pictures.images import MAX_FILE_BYTES
from render.system import files

# Part of every job's identity: raise it when the same settings make other pixels.
RECIPE = 3


@dataclass(frozen=True)
class Job:
    """One photograph in one style. id: hash of everything that decides its pixels; painted: of what decides
    them before finishing; output: the file to write; hashes: sha256 of each of its files when the job was
    planned."""

    id: str
    painted: str
    photo: Path
    style: Style
    look: Look
    settings: Settings
    output: Path
    hashes: Mapping[Path, str] = field(default_factory=dict, compare=False)

    @property
    def label(self) -> str:
        return f"{self.photo.name} x {self.style.name}"

    @property
    def names(self) -> tuple[str, str]:
        """(what it is made of, in which manner), for lists."""
        return str(self.photo), self.style.name

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

    def with_files(self, here: Callable[[Path], Path]) -> "Job":
        """The same, reading them elsewhere. here: path -> where it is now."""

        def moved(name: str | None) -> str | None:
            return name if name is None or name in BUILT_IN else str(here(Path(name)))

        pictures = tuple(replace(picture, path=here(picture.path)) for picture in self.style.pictures)
        look = self.look
        if look.init not in ("content", "noise"):
            look = look.model_copy(update={"init": str(here(Path(look.init)))})
        settings = self.settings.model_copy(
            update={"profile": moved(self.settings.profile), "soft_proof": moved(self.settings.soft_proof)}
        )
        hashes = {here(path): found for path, found in self.hashes.items()}
        return replace(
            self,
            photo=here(self.photo),
            style=replace(self.style, pictures=pictures),
            look=look,
            settings=settings,
            hashes=hashes,
        )

    def check(self, path: Path, found_sha256: str) -> None:
        """Raises PictureError when a file of this job is no longer what it was when the job was planned: the
        print would show another picture than its record says."""
        if self.hashes[path] != found_sha256:
            raise changed(path)

    @property
    def own_file(self) -> Path | None:
        """What it reads and no other job is likely to."""
        return self.photo

    @property
    def products(self) -> list[Path]:
        """Files that it writes, the one by which it is known last."""
        return products(self.output, self.settings)

    @property
    def folder(self) -> Path:
        return self.output.parent

    def moved(self, folder: Path) -> "Job":
        """The same, written to another folder."""
        return replace(self, output=folder / self.output.name)


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
    painted = digest([RECIPE, sha256(photo), pictures, look_facts, painting])
    job = Job(finished_id(painted, settings), painted, photo, style, look, settings, output)
    return replace(job, hashes={path: sha256(path) for path in job.files()})


def finished_id(painted: str, settings: Settings) -> str:
    """Job.id of a painted picture under the finishing of these settings."""
    facts = {name: getattr(settings, name) for name in FINISHING} | {"dpi": settings.dpi}
    for name in ("profile", "soft_proof"):  # files count by their content
        path = getattr(settings, name)
        if path not in (None, *BUILT_IN):
            facts[name] = sha256(Path(path))
    return digest([painted, facts])


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
