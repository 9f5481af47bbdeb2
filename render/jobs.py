"""Which pictures to make: photographs x styles, as plain values. Reads names and bytes, never pixels."""

import glob
import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from render import files
from render.errors import PictureError, UsageError
from render.export import FORMATS
from render.icc import BUILT_IN
from render.images import MAX_FILE_BYTES, PICTURE_ENDINGS
from render.presets import Look, Style
from render.prints import Layout, by_long_side, lay_out, parse_paper

# Part of every job's identity: raise it when the same settings make other pixels.
RECIPE = 3


@dataclass(frozen=True)
class Settings:
    """What one batch shares.

    size_px: long side of the results, unless paper ("A2", "60x90cm") says how large; dpi, bleed_mm, fit: see
    `prints.lay_out`; format, bit_depth, profile (a name or path), intent: of the file; color: one of colour.MODES;
    photoreal: strength of `photoreal.keep_structure`, None for none; soft_proof: a profile (path) for a preview beside
    the print; weights, preprocessing: see `weights.load`; precision: of the features ("float32" or "bfloat16").
    """

    size_px: int = 1024
    paper: str | None = None
    dpi: float = 300.0
    bleed_mm: float = 0.0
    fit: str = "fit"
    quality: str = "standard"
    seed: int = 0
    color: str = "style"
    photoreal: float | None = None
    format: str = "png"
    bit_depth: int = 8
    profile: str = "srgb"
    intent: str = "relative"
    soft_proof: str | None = None
    weights: str = "caffe"
    preprocessing: str | None = None
    precision: str = "float32"

    def layout(self, photo_size: tuple[int, int]) -> Layout:
        """Where everything lies for a photograph (height, width). Raises UsageError for a paper that makes no sense."""
        if self.paper is None and self.bleed_mm:
            raise UsageError(f"--bleed {self.bleed_mm:g}mm: there is no paper to cut. Say which: --print A4, or leave it out.")
        if self.paper is None and self.fit != "fit":
            raise UsageError(f"--fit {self.fit}: there is no paper to {self.fit}. Say which: --print A4, or leave it out.")
        if self.paper is None:
            return by_long_side(photo_size, self.size_px, dpi=self.dpi)
        return lay_out(photo_size, parse_paper(self.paper), dpi=self.dpi, bleed_mm=self.bleed_mm, fit=self.fit)

    @property
    def longest_px(self) -> int:
        """The long side of the largest picture, about."""
        return max(self.layout((1000, 1000)).picture)

    @property
    def changes_what_was_painted(self) -> bool:
        """Whether the file holds other colours than the optimiser painted, so that these are kept beside it."""
        return self.photoreal is not None or self.color in ("luminance", "histogram")


# Settings that are applied to the painted picture, and can be changed without painting again.
FINISHING = ("color", "photoreal", "format", "bit_depth", "profile", "intent", "soft_proof")


@dataclass(frozen=True)
class Input:
    """A photograph. name: its path under the input folder, without ending ("italy/rome")."""

    path: Path
    name: str


@dataclass(frozen=True)
class Job:
    """One photograph in one style. id: hash of everything that decides its pixels; painted: of what decides them before
    finishing; output: the file to write; hashes: sha256 of each of its files when the job was planned."""

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
        """What was asked for, as JSON."""
        return {"settings": asdict(self.settings), "look": self.look.model_dump(mode="json")}

    def files(self) -> tuple[Path, ...]:
        """Everything that it reads."""
        start = () if self.look.init in ("content", "noise") else (Path(self.look.init),)
        profiles = (Path(p) for p in (self.settings.profile, self.settings.soft_proof) if p is not None and p not in BUILT_IN)
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
        settings = replace(self.settings, profile=moved(self.settings.profile), soft_proof=moved(self.settings.soft_proof))
        hashes = {here(path): found for path, found in self.hashes.items()}
        return replace(self, photo=here(self.photo), style=replace(self.style, pictures=pictures), look=look,
                       settings=settings, hashes=hashes)

    def check(self, path: Path, found_sha256: str) -> None:
        """Raises PictureError when a file of this job is no longer what it was when the job was planned: the print
        would show another picture than its record says."""
        if self.hashes[path] != found_sha256:
            raise changed(path)

    @property
    def own_file(self) -> Path | None:
        """What it reads and no other job is likely to."""
        return self.photo

    @property
    def products(self) -> list[Path]:
        """Files that it writes, the one by which it is known last."""
        return _products(self.output, self.settings)

    @property
    def folder(self) -> Path:
        return self.output.parent

    def moved(self, folder: Path) -> "Job":
        """The same, written to another folder."""
        return replace(self, output=folder / self.output.name)


def find_inputs(entries: Sequence[str], *, without: Path | None = None) -> tuple[Input, ...]:
    """Photographs named by files, folders (recursive) and globs, sorted. In folders only files with a picture's ending
    count, hidden ones do not, and nothing under `without` (the output folder) does.

    A file that was named but is not there is kept: its job fails and the others are done.
    Raises UsageError when nothing is found.
    """
    found: dict[Path, Input] = {}
    for entry in entries:
        for path, name in _expand(entry, without):
            found.setdefault(Path(os.path.abspath(path)), Input(path, name))
    if not found:
        raise UsageError(
            f"--inputs {' '.join(entries)}: no pictures there. Files ending in {', '.join(sorted(PICTURE_ENDINGS))} count; "
            "the --output folder is never searched."
        )
    return tuple(found.values())


def _expand(entry: str, without: Path | None) -> Iterable[tuple[Path, str]]:
    path = Path(entry)
    if path.is_dir():
        return _in_folder(path, without)
    if not path.exists() and glob.has_magic(entry):
        matches = [Path(match) for match in sorted(glob.glob(entry, recursive=True))]
        return [
            pair
            for match in matches
            for pair in (_in_folder(match, without) if match.is_dir() else [(match, match.stem)])
            if match.is_dir() or _is_picture(match)
        ]
    return [(path, path.stem)]


def _in_folder(folder: Path, without: Path | None) -> list[tuple[Path, str]]:
    if _same(folder, without):
        return []
    result = []
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not _same(Path(base, name), without)
        )
        for name in sorted(files):
            path = Path(base, name)
            if _is_picture(path) and not name.startswith("."):
                result.append((path, path.relative_to(folder).with_suffix("").as_posix()))
    return result


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_ENDINGS


def _same(path: Path, other: Path | None) -> bool:
    return other is not None and os.path.abspath(path) == os.path.abspath(other)


def plan_jobs(inputs: Sequence[Input], looks: Sequence[tuple[Style, Look]], settings: Settings, output: Path, *,
              weights_sha256: str, failed: Callable[[str, str], None]) -> tuple[Job, ...]:
    """Every photograph in every style, a style at a time so that its targets are made once.

    A file that cannot be read is told to failed(name, why) and left out.
    Raises UsageError when two jobs would write one file, or one over what a job is made from.
    """
    refuse_collisions(inputs, looks, settings, output)
    jobs, broken = [], set()
    for style, look in looks:
        for item in inputs:
            if item.path in broken:
                continue
            try:
                sha256(item.path)
            except PictureError as error:
                broken.add(item.path)
                failed(str(item.path), str(error))
                continue
            try:
                jobs.append(make_job(item.path, style, look, settings, output_path(item, style, settings, output),
                                     weights_sha256=weights_sha256))
            except PictureError as error:
                failed(f"style {style.name}", str(error))
                break
    refuse_to_replace_sources(*jobs)
    return tuple(jobs)


def make_job(photo: Path, style: Style, look: Look, settings: Settings, output: Path, *, weights_sha256: str) -> Job:
    """A job with its identity. Raises PictureError when the photograph or a style picture cannot be read."""
    pictures = [(sha256(picture.path), picture.weight) for picture in style.pictures]
    start = look.init if look.init in ("content", "noise") else sha256(Path(look.init))
    # Files count by their content, wherever they are.
    look_facts = look.model_dump(mode="json") | {"init": start}
    painting = {name: value for name, value in asdict(settings).items() if name not in FINISHING}
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
        if facts[name] not in (None, *BUILT_IN):
            facts[name] = sha256(Path(facts[name]))
    return digest([painted, facts])


def output_path(item: Input, style: Style, settings: Settings, output: Path) -> Path:
    return output / f"{item.name}--{style.name}{FORMATS[settings.format].endings[0]}"


def refuse_collisions(inputs: Sequence[Input], looks: Sequence[tuple[Style, Look]], settings: Settings, output: Path) -> None:
    """Raises UsageError when two jobs would write one file, the preview beside a print included."""
    writers: dict[Hashable, str] = {}
    for path, item, style in _to_be_written(inputs, looks, settings, output):
        writer = f"{item.path} x {style.path}"
        # Also by name: on this disk "A" and "a" may be two files, and prints are carried to others.
        for key in (files.identity(path), str(path).casefold()):
            other = writers.setdefault(key, writer)
            if other != writer:
                raise UsageError(f"{path} would be written by two jobs: {other} and {writer}. Rename one, or render them "
                                 "to two --output folders.")


def refuse_to_replace_sources(*jobs: Job) -> None:
    """Raises UsageError when a job would write over a file that it, or another one, is made from."""
    sources = {files.identity(path): path for path in {path for job in jobs for path in job.sources}}
    for job in jobs:
        for path in job.products:
            source = sources.get(files.identity(path))
            if source is not None:
                raise UsageError(f"{path}: the print of {job.label} would replace {source}, from which prints are made. "
                                 "Choose another --output.")


def _to_be_written(inputs: Sequence[Input], looks: Sequence[tuple[Style, Look]], settings: Settings,
                   output: Path) -> Iterator[tuple[Path, Input, Style]]:
    for style, _ in looks:
        for item in inputs:
            for path in _products(output_path(item, style, settings, output), settings):
                yield path, item, style


def _products(print_: Path, settings: Settings) -> list[Path]:
    return [print_] if settings.soft_proof is None else [proof_path(print_), print_]


def proof_path(print_: Path) -> Path:
    return print_.with_name(f"{print_.stem}.proof.png")


@lru_cache(maxsize=None)
def sha256(path: Path) -> str:
    """Of a file's content, read once. Raises PictureError."""
    return files.sha256_of(path, at_most_bytes=MAX_FILE_BYTES, what="file")


def changed(path: Path | str) -> PictureError:
    return PictureError(f"{path}: has changed since the batch began. Run the same command again: it is then rendered as "
                        "it is now.")


def digest(facts) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]
