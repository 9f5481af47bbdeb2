"""Which photographs a batch was given: files, folders and globs."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from render.errors import UsageError
from render.pictures.images import PICTURE_ENDINGS


@dataclass(frozen=True)
class Input:
    """A photograph."""

    path: Path
    name: str  # its path under the input folder, without file extension: "italy/rome"


def find_inputs(entries: Sequence[str], *, without: Path | None = None) -> tuple[Input, ...]:
    """Photographs named by files, folders (recursive) and globs, sorted.

    In folders only files with the extension of a picture count, and hidden ones do not. A file that was named
    but is not there is kept: its job fails and the others are done.

    Args:
        entries: As they were given to --inputs.
        without: A folder in which nothing counts: the output folder.

    Raises UsageError when nothing is found.
    """
    found: dict[Path, Input] = {}
    for entry in entries:
        for path, name in _expand(entry, without):
            found.setdefault(Path(os.path.abspath(path)), Input(path, name))
    if not found:
        raise UsageError(
            f"--inputs {' '.join(entries)}: no pictures there. Files with the extensions "
            f"{', '.join(sorted(PICTURE_ENDINGS))} count; "
            "the --output folder is never searched."
        )
    return tuple(found.values())


def _expand(entry: str, without: Path | None) -> Iterable[tuple[Path, str]]:
    """(path, Input.name) of every photograph that an entry names."""
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
