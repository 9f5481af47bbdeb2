"""The package that is sent to a cluster: photographs, styles and the files that options name, planned as
values and then written as a zip."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from render.errors import PictureError, UsageError
from render.jobs import styles, toml
from render.jobs.inputs import Input
from render.jobs.styles import Style
from render.pictures.icc import BUILT_IN
from render.pictures.images import PICTURE_ENDINGS
from render.system.files import opened

# Ray's dashboard accepts no larger request (ray_constants.DASHBOARD_CLIENT_MAX_SIZE; measured with Ray 2.60:
# 95 MiB arrive, 105 MiB are refused). The 500 MB in its documentation are for packages that a driver inside
# the cluster uploads.
MOST_BYTES = 100 * 2**20
ENTRY_BYTES = 160  # what the zip adds for each file, besides twice its name

Option = tuple[str, str]


@dataclass(frozen=True)
class Item:
    """A file of the package."""

    name: str
    """Its path in the package."""
    source: Path | None = None
    """The file on this machine; None for one made of `text`."""
    text: str = ""
    """What it holds when there is no source."""

    @property
    def bytes(self) -> int:
        """Raises PictureError when the file is not there."""
        try:
            return len(self.text.encode()) if self.source is None else self.source.stat().st_size
        except OSError as error:
            raise PictureError(
                f"{self.source}: {error.strerror}. Check the name and the permissions and rerun."
            ) from error


@dataclass(frozen=True)
class Package:
    """Files, and the batch that is to be run with them."""

    items: tuple[Item, ...]
    words: tuple[str, ...]
    """Arguments of `render batch`, run in the folder that the items are unpacked into."""

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)


def plan_package(
    inputs: Sequence[Input], styles: Sequence[Style], shipped: Sequence[str], options: Sequence[Option]
) -> Package:
    """Raises UsageError for names that cannot be sent, and for a package that Ray would refuse.

    Args:
        shipped: names of styles that come with this program, so that the cluster has them too.
        options: (--name, value) of `render batch`.
    """
    items = [*_photographs(inputs)]
    for style in styles:
        items += _style(style)
    named, files = _options(options)
    words = ("--inputs", "inputs", "--styles", *(["styles"] if styles else []), *shipped, *named)
    package = Package((*items, *files), words)
    for item in package.items:
        _check_name(item)
    _check_size(package)
    return package


def shared_words(inputs: Sequence[str], styles: Sequence[str], options: Sequence[Option]) -> tuple[str, ...]:
    """Arguments of `render batch` for files that the cluster has already. Raises UsageError for a path that
    is not absolute."""
    paths = [
        *inputs,
        *(style for style in styles if not _is_shipped(style)),
        *(file for _, file in map(_file_of, options) if file),
    ]
    for path in paths:
        if not path.startswith("/"):
            raise UsageError(
                f"--shared {path}: paths are those of the cluster's machines, which start in another folder. "
                "Write it from / on."
            )
    return ("--inputs", *inputs, "--styles", *styles, *(f"{name}={value}" for name, value in options))


def write(package: Package, path: Path) -> None:
    """Write a zip of the items; the same items give the same bytes, so that Ray recognises what it has
    already."""
    with zipfile.ZipFile(path, "w") as archive:  # stored: pictures are compressed already
        for item in package.items:
            with archive.open(zipfile.ZipInfo(item.name), "w", force_zip64=True) as file:
                for piece in _pieces(item):
                    file.write(piece)


def _pieces(item: Item) -> Iterator[bytes]:
    if item.source is None:
        yield item.text.encode()
        return
    with opened(item.source, what="file") as file:
        while piece := file.read(2**20):
            yield piece


def _photographs(inputs: Sequence[Input]) -> Iterator[Item]:
    missing = [str(item.path) for item in inputs if not item.path.is_file()]
    if missing:
        raise UsageError(f"--inputs {', '.join(missing)}: no such file. Check the name; nothing was sent.")
    for item in inputs:
        if item.path.suffix.lower() not in PICTURE_ENDINGS:
            raise UsageError(
                f"{item.path}: its extension is not that of a picture. Rename it to one of "
                f"{', '.join(sorted(PICTURE_ENDINGS))}."
            )
        yield Item(f"inputs/{item.name}{item.path.suffix}", item.path)


def _style(style: Style) -> Iterator[Item]:
    """A preset, written anew beside its pictures, which may be anywhere on this machine."""
    folder = f"styles/{style.name}.pictures"
    files = [f"{index}/{picture.path.name}" for index, picture in enumerate(style.pictures)]
    look = dict(style.look)
    if look.get("init", "content") not in ("content", "noise"):
        start = Path(look["init"])
        yield Item(f"starts/{style.name}/{start.name}", start)  # outside styles/, where it would be one
        look["init"] = f"../starts/{style.name}/{start.name}"
    facts: dict[str, Any] = {
        key: getattr(style, key) for key in ("title", "author", "licence", "description")
    }
    facts["pictures"] = []
    for file, picture in zip(files, style.pictures):
        facts["pictures"].append({"file": f"{style.name}.pictures/{file}", "weight": picture.weight})
        yield Item(f"{folder}/{file}", picture.path)
    yield Item(f"styles/{style.name}.toml", text=toml.dumps(facts | {"look": look}))


def _options(options: Sequence[Option]) -> tuple[list[str], list[Item]]:
    words, files = [], []
    for option in options:
        name, value = option
        key, file = _file_of(option)
        if file:
            item = Item(f"files/{len(files)}/{os.path.basename(file)}", Path(file))
            files.append(item)
            value = toml.dumps({"init": item.name}).strip() if key else item.name
        words.append(f"{name}={value}")
    return words, files


def _file_of(option: Option) -> tuple[str, str]:
    """("", the file) that an option names, or ("init=", the file) for a start image; the file is "" where the
    option names none."""
    name, value = option
    if (
        name == "--weights"
        and value not in ("caffe", "torchvision")
        or name == "--profile"
        and value not in BUILT_IN
    ):
        return "", value
    if name == "--soft-proof":
        return "", value
    key, _, text = value.partition("=")
    if name == "--set" and key.strip() == "init":
        start = text.strip().strip("\"'")
        return "init=", "" if start in ("content", "noise") else start
    return "", ""


def _check_name(item: Item) -> None:
    if any(part.startswith(".") for part in item.name.split("/")):
        raise UsageError(
            f"{item.source}: hidden files are passed over in a folder, and it travels in one. Rename it."
        )
    try:
        item.name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{os.fsencode(item.name)!r}: the name is not UTF-8, which packages need. Rename the file."
        ) from None


def _check_size(package: Package) -> None:
    needed = package.bytes + sum(ENTRY_BYTES + 2 * len(item.name.encode()) for item in package.items)
    if needed > MOST_BYTES:
        raise UsageError(
            f"{len(package.items)} files with {needed / 1e6:.0f} MB are more than the "
            f"{MOST_BYTES / 1e6:.0f} MB that Ray takes at once. "
            "Put them where every machine of the cluster sees them and name them with --shared, or send "
            "them in several jobs."
        )


def split_shipped(entries: Sequence[str]) -> tuple[list[str], list[str]]:
    """(entries that are shipped names, entries that are files here)."""
    shipped = [entry for entry in entries if not os.path.exists(entry) and _is_shipped(entry)]
    return shipped, [entry for entry in entries if entry not in shipped]


def _is_shipped(entry: str) -> bool:
    return entry in styles.shipped_names()
