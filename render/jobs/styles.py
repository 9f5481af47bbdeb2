"""What a style is: paintings with the look that suits them, from a TOML file, a picture, or a shipped
collection.

title = "Impasto nocturne"              # all optional but [[pictures]]; the file's name is the style's name
author = "..."
licence = "CC0-1.0"
description = "..."

[[pictures]]
file = "impasto_nocturne.jpg"           # relative to this file's folder
weight = 1.0                            # its share, where there are several

[look]                                  # see look.py for the keys
style_scale = 1.5
"""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from render.errors import PresetError, UsageError, brief
from render.jobs import toml
from render.jobs.fields import explain
from render.jobs.look import Look, apply_settings, describe_look
from render.system import files
from render.wording import did_you_mean

__all__ = [
    "Look",
    "Style",
    "StylePicture",
    "add_style",
    "apply_settings",
    "describe_look",
    "find_style",
    "find_styles",
    "load_style",
    "shipped_collections",
    "shipped_names",
]

MAX_PRESET_BYTES = 1_000_000  # shipped ones have some 1 kB
MOST_PICTURES = 1000  # of one style


@dataclass(frozen=True)
class StylePicture:
    path: Path  # absolute
    weight: float = 1.0  # above 0: its share among the style's pictures


@dataclass(frozen=True)
class Style:
    name: str
    title: str
    author: str
    licence: str
    description: str
    pictures: tuple[StylePicture, ...]
    path: Path  # absolute: the TOML file, or the bare picture
    look: Mapping[str, Any] = field(
        default_factory=dict
    )  # the keys that the preset gives; the rest are Look's defaults


class _PictureEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    file: str
    weight: float = Field(default=1.0, gt=0)


class _StyleFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: str | None = None
    author: str = "unknown"
    licence: str = "unknown"
    description: str = ""
    pictures: list[_PictureEntry] = Field(max_length=MOST_PICTURES)
    look: Look = Look()


# --- one style ----------------------------------------------------------------------------------------------


def load_style(path: Path | str) -> Style:
    """A .toml preset, or a bare picture as a style of its own with the default look."""
    if Path(path).suffix.lower() == ".toml":
        return _load_toml(Path(path))
    if not os.path.exists(path):
        raise PresetError(f"{brief(str(path))}: no such style picture. Check the path.")
    files.check(Path(path), what="style picture", error=PresetError)
    path = _absolute(path)
    return Style(path.stem, path.stem, "unknown", "unknown", "", (StylePicture(path),), path)


def _load_toml(named: Path) -> Style:
    """named: the preset's path as the user gave it, for messages."""
    parsed = _parse(named)
    path = _absolute(named)
    look = parsed.look.model_dump(include=parsed.look.model_fields_set)
    if look.get("init", "content") not in ("content", "noise"):
        look["init"] = str(_beside(path, look["init"], named, "the picture that look.init names"))
    return Style(
        name=path.stem,
        title=parsed.title or path.stem,
        author=parsed.author,
        licence=parsed.licence,
        description=parsed.description,
        pictures=_pictures(parsed.pictures, path, named),
        path=path,
        look=look,
    )


def _parse(named: Path) -> _StyleFile:
    if not os.path.lexists(named):
        raise PresetError(
            f"{brief(str(named))}: no such preset. Check the path, or see `render presets list`."
        )
    data = files.read(named, at_most_bytes=MAX_PRESET_BYTES, what="preset", error=PresetError).data
    try:
        return _StyleFile.model_validate(toml.parse(data.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise PresetError(f"{named}: is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except toml.TOMLDecodeError as error:
        raise PresetError(f"{named}: is not valid TOML: {brief(error)}. Correct that line.") from error
    except ValidationError as error:  # a ValueError too
        raise PresetError(f"{named}: {explain(error, _StyleFile)}") from error
    except ValueError as error:
        raise PresetError(f"{named}: cannot be used: {error}. Correct or remove that part of it.") from error


def _pictures(entries: Sequence[_PictureEntry], path: Path, named: Path) -> tuple[StylePicture, ...]:
    if not entries:
        raise PresetError(
            f'{named}: pictures is empty. Name the style\'s picture: [[pictures]] file = "painting.jpg".'
        )
    weights: dict[Path, float] = {}
    for entry in entries:
        found = _beside(path, entry.file, named, "style picture")
        if found in weights:
            raise PresetError(
                f"{named}: names '{brief(entry.file)}' twice. Name it once and give it a larger weight."
            )
        weights[found] = entry.weight
    return tuple(StylePicture(found, weight) for found, weight in weights.items())


def _beside(path: Path, file: str, named: Path, what: str) -> Path:
    found = _absolute(path.parent / file)
    if not os.path.lexists(found):
        raise PresetError(
            f"{named}: {what} '{brief(file)}' is missing. Put it at {brief(str(found), 400)}, "
            "or correct its "
            "name in the preset."
        )
    try:
        files.check(found, what="picture", error=PresetError)
    except PresetError as error:
        raise PresetError(f"{named}: {what} '{brief(file)}': {error}") from error
    return found


def _absolute(path: Path | str) -> Path:
    return Path(os.path.abspath(path))  # not resolve(): a style keeps the name of the link it was given by


# --- many styles --------------------------------------------------------------------------------------------


def find_styles(
    names_or_paths: Sequence[str | Path], *, failed: Callable[[PresetError], None] | None = None
) -> tuple[Style, ...]:
    """Every style meant, in the order given and sorted within a folder or glob, each once.

    An entry is a .toml, a picture, a folder (searched through), a glob, or a shipped collection or style by
    name; what exists on disk comes before what is shipped. A style that cannot be used is
    reported to `failed` and left out; without `failed` its PresetError is raised.
    """
    found: dict[Path, None] = {}
    styles = []
    for entry in names_or_paths:
        with _reporting(failed):
            found.update(dict.fromkeys(_files_of(str(entry))))
    for path in found:
        with _reporting(failed):
            styles.append(load_style(_shortest(path)))
    return _distinct(styles)


def find_style(name_or_path: str | Path) -> Style:
    """The one style meant. Raises PresetError when it is none or several."""
    style, *others = find_styles([name_or_path])
    if others:
        raise PresetError(
            f"{name_or_path}: holds {1 + len(others)} styles. Name one, e.g. {_shortest(style.path)}."
        )
    return style


@contextmanager
def _reporting(failed: Callable[[PresetError], None] | None) -> Iterator[None]:
    try:
        yield
    except PresetError as error:
        if failed is None:
            raise
        failed(error)


def _shipped() -> Path:
    """The folder presets/, in a checkout as in an installed wheel."""
    return Path(str(resources.files("render.presets")))


def shipped_collections() -> dict[str, Path]:
    """Name and folder of every collection that comes with the program."""
    return {
        folder.name: folder
        for folder in sorted(_shipped().iterdir())
        if folder.is_dir() and any(folder.glob("*.toml"))
    }


def _shipped_styles() -> dict[str, Path]:
    """Every shipped style under both of its names: 'impasto_nocturne' and 'paintings/impasto_nocturne'."""
    found = {
        f"{name}/{path.stem}": path
        for name, folder in shipped_collections().items()
        for path in sorted(folder.glob("*.toml"))
    }
    return {name.partition("/")[2]: path for name, path in found.items()} | found


def shipped_names() -> list[str]:
    """Every name of a shipped collection or style."""
    return [*shipped_collections(), *_shipped_styles()]


def _files_of(entry: str) -> list[Path]:
    if os.path.isdir(entry):
        return _folder_files(Path(entry))
    if os.path.exists(entry):
        return [_absolute(entry)]
    if glob.has_magic(entry):
        return _glob_files(entry)
    if entry in shipped_collections():
        return _folder_files(shipped_collections()[entry])
    if entry in _shipped_styles():
        return [_shipped_styles()[entry]]
    raise PresetError(
        f"{brief(entry)}: no such file or folder, and no style of that name is shipped."
        f"{did_you_mean(entry, shipped_names())}"
        f" Shipped collections: {', '.join(shipped_collections()) or 'none'}; `render presets list` "
        f"shows their styles."
    )


def _folder_files(folder: Path) -> list[Path]:
    found = _styles_among(_walk(folder))
    if not found:
        raise PresetError(f"{folder}: holds no .toml preset and no picture. Name a folder that does.")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _glob_files(pattern: str) -> list[Path]:
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]
    inside = [path for match in matches if match.is_dir() for path in _walk(match)]
    found = _styles_among([match for match in matches if not match.is_dir()] + inside)
    if not found:
        raise PresetError(f"{pattern}: matches no .toml preset and no picture. Check the pattern.")
    return found


def _styles_among(paths: Iterable[Path]) -> list[Path]:
    """The .toml files, and the pictures that none of them uses, sorted by path."""
    from render.pictures.images import (
        PICTURE_ENDINGS,  # here, because it brings OpenCV, which `render --help` need not wait for
    )

    paths = sorted({_absolute(path) for path in paths})
    presets = [path for path in paths if path.suffix.lower() == ".toml"]
    used = {picture.path for preset in presets for picture in _pictures_of(preset)}
    return [
        path
        for path in paths
        if path in presets or (path.suffix.lower() in PICTURE_ENDINGS and path not in used)
    ]


def _pictures_of(preset: Path) -> tuple[StylePicture, ...]:
    try:
        return load_style(_shortest(preset)).pictures
    except PresetError:  # reported when the style itself is loaded
        return ()


def _shortest(path: Path) -> Path:
    """The path as a user would write it, for messages."""
    relative = Path(os.path.relpath(path))
    return path if ".." in relative.parts else relative


def _distinct(styles: Sequence[Style]) -> tuple[Style, ...]:
    """The styles, with no name twice, because prints are named by it.

    A picture beside the preset of the same name that uses it is that preset: a shell expands `paintings/*` to
    both.
    """
    by_name: dict[str, Style] = {}
    for style in styles:
        known = by_name.get(style.name)
        if known is None or _is_picture_of(known, style):
            by_name[style.name] = style
        elif not _is_picture_of(style, known):
            raise UsageError(
                f"two styles are called '{style.name}': {_shortest(known.path)} and {_shortest(style.path)}. "
                "Prints are named by their style: rename one of the files, or leave one out."
            )
    return tuple(by_name.values())


def _is_picture_of(bare: Style, preset: Style) -> bool:
    return bare.path != preset.path and bare.path in [picture.path for picture in preset.pictures]


# --- a new style --------------------------------------------------------------------------------------------


def add_style(
    picture: Path | str,
    *,
    folder: Path | str,
    name: str,
    title: str = "",
    author: str = "unknown",
    licence: str = "unknown",
    description: str = "",
) -> Path:
    """Make a preset of a picture: a copy of it and a .toml in `folder`. Gives the .toml's path; overwrites
    nothing."""
    from render.pictures import images

    picture, folder = Path(picture), Path(folder)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise PresetError(
            f"'{brief(name)}' cannot name a style, which names files: use letters, digits, _ and - only."
        )
    content = images.load(picture)
    images.read(content)
    copy, preset = folder / f"{name}{picture.suffix.lower()}", folder / f"{name}.toml"
    already_there = os.path.exists(copy) and copy.samefile(picture)
    for path in (preset,) if already_there else (preset, copy):
        if os.path.lexists(path):
            raise PresetError(f"{path}: exists already. Choose another name, or delete it first.")
    if not already_there:
        files.write_bytes(copy, content.data)
    described = {"title": title or name, "author": author, "licence": licence, "description": description}
    text = f"{toml.dumps(described)}\n[[pictures]]\n{toml.dumps({'file': copy.name})}"
    files.write_bytes(preset, text.encode())
    return preset
