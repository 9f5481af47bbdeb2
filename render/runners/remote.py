"""Pictures and prints in remote storage: s3://, gs://, https:// and the other file systems of fsspec.

Inputs and styles are fetched into the user's cache folder. Prints are made in a working folder there and sent
when they are done, so that the rest of the program sees local paths."""

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from render.errors import PictureError, RenderError, UsageError
from render.jobs import outputs, toml
from render.jobs.events import Done, Event, JobDone, JobFailed, JobStarted, Report
from render.jobs.job import proof_path
from render.jobs.ledger import Ledger, size_on_disk
from render.jobs.styles import MAX_PRESET_BYTES
from render.jobs.task import JobRef, Task
from render.pictures.images import PICTURE_ENDINGS
from render.runners.batch import Runner, Stop, never
from render.system import files
from render.system.files import write_bytes

PICTURES = frozenset(PICTURE_ENDINGS)
STYLES = PICTURES | {".toml"}

# At most so much of the ledger is lost with a machine that vanishes; the prints themselves have been sent.
LEDGER_EVERY_S = 60.0
_AT_ONCE = 8  # files that are fetched at the same time
_DRIVERS = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
# File systems with real folders. In the others, making a folder would create a bucket where a user has
# mistyped its name.
_FOLDERS = {"file", "local", "memory", "sftp", "ssh", "smb"}
# The names that file systems give to the version of a file; without one of these it is fetched each time.
_VERSIONS = (
    "ETag",
    "etag",
    "content_md5",
    "Content-MD5",
    "md5Hash",
    "LastModified",
    "last_modified",
    "Last-Modified",
    "mtime",
    "created",
)

Failed = Callable[[str, str], None]


def is_remote(text) -> bool:
    """Whether this is an address ("s3://bucket/prints") and not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(text)) is not None


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "render"


def _kept(kind: str, url: str) -> Path:
    """The cache's folder for an address. Its name is a readable part of the address, without password and
    signature, and a hash."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", _plain(url).partition("://")[2].rpartition("@")[2]).strip("-")[
        -40:
    ]
    return cache_folder() / kind / f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


# --- the file system ----------------------------------------------------------------------------------------


def _open(url: str) -> tuple[AbstractFileSystem, str]:
    """(file system, path in it without a slash at its end). Raises UsageError when the driver is missing."""
    scheme = url.partition("://")[0].lower()
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        raise UsageError(
            f"{url}: {scheme}:// needs a package: pip install {_DRIVERS.get(scheme, scheme)} ({error})."
        ) from error
    except ValueError as error:
        raise UsageError(f"{url}: {error}. Known are s3, gs, az, https and the others of fsspec.") from error
    return fs, path.rstrip("/")


def _infos(listed: object) -> dict[str, dict[str, Any]]:
    """What `find` and `glob` list with detail=True, by path. Their annotations speak of lists only."""
    return cast(dict[str, dict[str, Any]], listed)


def _protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


@contextmanager
def _explained(url: str, what: str, kind: type[RenderError] = UsageError) -> Iterator[None]:
    """Turns whatever a driver raises (each has exceptions of its own) into an error that names the
    address."""
    try:
        yield
    except RenderError:
        raise
    except FileNotFoundError as error:
        raise kind(
            f"{url}: cannot be {what} (not there: {error}). Check the address: bucket, folder and name."
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise kind(
            f"{url}: cannot be {what} ({reason}). Check the address, the credentials and the network."
        ) from error


def _within(folder: Path, name: str) -> Path:
    """The path of a file in the folder by its name in a listing. Raises UsageError for a name that would lead
    out of the folder: listings come from other machines."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or re.search(r"[\\:\0]", part) for part in parts):
        raise UsageError(f"{name}: is no name for a file below a folder. Rename it there.")
    return folder.joinpath(*parts)


def _version(info: Mapping) -> str | None:
    versions = [str(info[name]) for name in _VERSIONS if info.get(name)]
    return f"{info.get('size')} {' '.join(versions)}" if versions else None


# --- inputs and styles --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """A remote file."""

    fs: AbstractFileSystem
    path: str
    """In its file system."""
    relative: str
    """Its path below the folder that it is fetched into."""
    info: Mapping
    """What its file system lists of it."""

    @property
    def url(self) -> str:
        return self.fs.unstrip_protocol(self.path)


def localised(
    entries: Sequence[str],
    *,
    endings: Collection[str],
    without: str | None = None,
    failed: Failed,
    tell: Callable[[str], None],
) -> list[str]:
    """The entries of a command line with every address replaced by local copies.

    An address names a file, a folder (with its sub-folders) or a glob. Copies stay in the cache; only files
    that have changed are fetched again. Raises UsageError for an address that cannot be listed.

    Args:
        endings: the file extensions that count in folders and globs.
        without: an address whose files are left out, as hidden files are.
        failed: failed(address, why) is called for each file that cannot be fetched; it is left out.
        tell: called with a line for people before fetching takes time.
    """
    found: list[str] = []
    for entry in entries:
        found += _localised(entry, endings, without, failed, tell) if is_remote(entry) else [entry]
    return list(dict.fromkeys(found))


def _localised(url: str, endings, without, failed: Failed, tell) -> list[str]:
    fs, path = _open(url)
    with _explained(url, "listed"):
        fs.invalidate_cache()
        if _is_glob(fs, path):
            matches = {
                name: info["type"] == "directory"
                for name, info in sorted(_infos(fs.glob(path, detail=True)).items())
                if "/." in path or "/." not in name
            }
            if not matches:
                fs.ls(
                    re.split(r"[*?\[]", path)[0].rpartition("/")[0]
                )  # raises where there is no such folder or bucket
            names = [
                fs.unstrip_protocol(name) + ("/" if is_folder else "")
                for name, is_folder in matches.items()
                if is_folder or _has(name, endings)
            ]
        else:
            names = [url]
    result = []
    for name in names:
        result += _file(name, failed) if _has(name, STYLES) else _folder(name, endings, without, failed, tell)
    return result


def _is_glob(fs: AbstractFileSystem, path: str) -> bool:
    return (
        re.search(r"\*" if "http" in _protocols(fs) else r"[*?\[]", path) is not None
    )  # a web address may contain a query: ?id=1


def _plain(url: str) -> str:
    """A web address without its query (?X-Amz-Signature=...). In a bucket a "?" is part of the name."""
    return url.partition("?")[0] if url.startswith(("http://", "https://")) else url


def _has(name: str, endings: Collection[str]) -> bool:
    name = _plain(name)
    return PurePosixPath(name).suffix.lower() in endings and not name.endswith("/")


def _file(url: str, failed: Failed) -> list[str]:
    fs, path = _open(url)
    parent, _, name = _plain(path).rpartition("/")
    # The folder's name depends on the query too, which may select another file of that name.
    folder = _kept("files", fs.unstrip_protocol(parent) + path.removeprefix(_plain(path)))
    try:
        with _explained(url, "fetched"):
            file = _File(fs, path, name, fs.info(path))
    except UsageError as error:
        failed(url, str(error))
        return []
    (local,) = _fetch([file], folder, failed) or (None,)
    if local is not None and _has(name, {".toml"}):
        _fetch(_pictures_of(local, fs, parent, failed), folder, failed)
    return [] if local is None else [str(local)]


def _pictures_of(preset: Path, fs: AbstractFileSystem, parent: str, failed: Failed) -> list[_File]:
    """The pictures that a preset names, beside it. Mistakes in the preset are left to its loader to
    report."""
    try:
        data = files.read(preset, at_most_bytes=MAX_PRESET_BYTES, what="preset").data
        facts = toml.parse(data.decode("utf-8-sig"))
        names = [entry["file"] for entry in facts["pictures"]] + [
            facts.get("look", {}).get("init", "content")
        ]
    except (PictureError, ValueError, KeyError, TypeError, AttributeError):
        return []
    found = []
    for name in names:
        if isinstance(name, str) and _has(name, PICTURES):
            with suppress(Exception):  # not there, or not a name: the loader reports it
                found.append(_File(fs, f"{parent}/{name}", name, fs.info(f"{parent}/{name}")))
    return found


def _folder(url: str, endings, without: str | None, failed: Failed, tell) -> list[str]:
    fs, base = _open(url)
    with _explained(url, "listed"):
        listed = _infos(fs.find(base, detail=True))
        if not listed:
            fs.ls(base)  # raises where there is no such bucket
    hidden = None if without is None else _open(without)[1]
    files = []
    for path, info in sorted(listed.items()):
        relative = path.removeprefix(base + "/")
        if (
            _has(path, endings)
            and "/." not in "/" + relative
            and not (hidden and path.startswith(hidden + "/"))
        ):
            files.append(_File(fs, path, relative, info))
    folder = _kept("folders", url.rstrip("/"))
    if files:
        tell(f"{url}: {len(files)} files")
    here = set(_fetch(files, folder, failed))
    for path in (folder / "files").rglob("*"):  # deleted there, or changed and not fetched
        if path.is_file() and path not in here:
            path.unlink()
    return [str(folder / "files")] if here else []


def _fetch(files: Sequence[_File], folder: Path, failed: Failed) -> list[Path]:
    """The local copies, under folder/files, of those that could be fetched. folder/versions.json holds their
    versions."""
    if not files:
        return []
    index = folder / "versions.json"
    known = _read_json(index)

    def attempt(file: _File) -> Path | RenderError:
        try:
            with _explained(file.url, "fetched", PictureError):
                local = _within(folder / "files", file.relative)
                known[file.relative] = _refresh(file, local, known.pop(file.relative, None))
                return local
        except RenderError as error:
            return error

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            outcomes = list(pool.map(attempt, files))
    finally:
        write_bytes(index, json.dumps(known).encode())
    for file, outcome in zip(files, outcomes):
        if isinstance(outcome, RenderError):
            failed(file.url, str(outcome))
    return [outcome for outcome in outcomes if isinstance(outcome, Path)]


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}


def _refresh(file: _File, local: Path, known: str | None) -> str | None:
    """Fetch a file unless this version is there. Returns the version; None where the file system has none."""
    info = file.info if _version(file.info) else file.fs.info(file.path)
    version = _version(info)
    if version is not None and version == known and local.is_file():
        return version
    part = local.parent / f".{uuid.uuid4().hex}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.fs.get_file(file.path, str(part))
        if info.get("size") not in (None, part.stat().st_size):
            raise OSError(f"{part.stat().st_size} of {info['size']} bytes came")
        os.replace(part, local)
    finally:
        part.unlink(missing_ok=True)
    return version


# --- the output ---------------------------------------------------------------------------------------------


@dataclass
class Output:
    """Prints at an address."""

    url: str
    folder: Path
    """The working folder in which they are made."""
    fs: AbstractFileSystem
    base: str
    """The address's path in its file system."""
    sizes: dict[str, int]
    """Bytes of the files that were there at the start, by their path below the address."""
    ledger_sent: float = 0.0
    """When the ledger was last sent, by time.monotonic()."""

    @classmethod
    def at(cls, url: str) -> "Output":
        """Raises UsageError when it cannot be listed."""
        fs, base = _open(url)
        with _explained(url, "listed"):
            fs.invalidate_cache()
            sizes = {
                path.removeprefix(base + "/"): info["size"]
                for path, info in _infos(fs.find(base, detail=True)).items()
            }
        output = cls(url, _kept("outputs", url.rstrip("/")), fs, base, sizes)
        output._fetch_ledger()
        return output

    def size_of(self, path: Path) -> int | None:
        """Bytes of a finished print, by its path in the working folder; None when there is none."""
        return self.sizes.get(self._name(path))

    def shown(self, path: Path) -> str:
        """Where people find a print that was made at this path."""
        return f"{self.url.rstrip('/')}/{self._name(path)}"

    def recipe_of(self, path: Path) -> dict | None:
        """The provenance in the print at the address, see outputs.recipe_of."""
        name = self._name(path)
        local = self.folder / ".render" / "looked-at" / name
        try:
            with _explained(self.shown(path), "fetched", PictureError):
                _refresh(_File(self.fs, f"{self.base}/{name}", name, {"size": self.sizes[name]}), local, None)
            return outputs.recipe_of(local)
        except PictureError:
            return None
        finally:
            local.unlink(missing_ok=True)

    def send(self, path: Path) -> None:
        """Send a file of the working folder to its address. Raises PictureError when it does not arrive
        whole."""
        name = self._name(path)
        with _explained(self.shown(path), "written", PictureError):
            there, size = f"{self.base}/{name}", path.stat().st_size
            if _FOLDERS & set(_protocols(self.fs)):
                self.fs.makedirs(there.rpartition("/")[0] or "/", exist_ok=True)
            self.fs.put_file(str(path), there)
            self.fs.invalidate_cache()
            if self.fs.info(there)["size"] != size:
                raise OSError(f"{self.fs.info(there)['size']} of {size} bytes arrived")

    @contextmanager
    def ledger(self, tell: Callable[[str], None] = lambda text: None) -> Iterator[Ledger]:
        """The open ledger. It is sent at the start, which shows before any work whether writing is allowed,
        and at the end. tell: see Ledger. Raises UsageError."""
        ledger = Ledger(self.folder, size_of=self.size_of, tell=tell)
        try:
            self.send_ledger()
        except PictureError as error:
            ledger.close()
            raise UsageError(str(error)) from error
        try:
            yield ledger
        finally:
            ledger.close()
            self.send_ledger()

    def send_ledger(self) -> None:
        self.ledger_sent = time.monotonic()
        self.send(self.folder / _LEDGER)

    def _fetch_ledger(self) -> None:
        local = self.folder / _LEDGER
        if _LEDGER in self.sizes and not local.exists():
            with _explained(f"{self.url}/{_LEDGER}", "fetched"):
                _refresh(
                    _File(self.fs, f"{self.base}/{_LEDGER}", _LEDGER, {"size": self.sizes[_LEDGER]}),
                    local,
                    None,
                )

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


_LEDGER = ".render/ledger.sqlite"


@dataclass
class Sending:
    """A runner whose prints are sent before they count as done. A print that could not be sent has failed; it
    stays in the working folder, and the next run sends it without painting again."""

    runner: Runner
    """Makes the prints in the working folder."""
    output: Output
    fresh: bool = False
    """Make all prints again, those that were not sent too."""

    @property
    def workers(self) -> int:
        return self.runner.workers

    def run(self, tasks: Sequence[Task], report: Report, stop: Stop = never) -> None:
        def pass_on(event: Event) -> None:
            self._pass_on(event, report)

        unsent = (
            {}
            if self.fresh
            else {task.output: done for task in tasks if (done := self._unsent(task.ref)) is not None}
        )
        for task in tasks:
            if task.output in unsent and not stop():
                report(JobStarted(task.ref))
                pass_on(JobDone(task.ref, unsent[task.output]))
        rest = [task for task in tasks if task.output not in unsent]
        if rest:
            self.runner.run(rest, pass_on, stop)

    def _pass_on(self, event: Event, report: Report) -> None:
        if not isinstance(event, JobDone):
            return report(event)
        files = [path for path in (event.job.output, proof_path(event.job.output)) if path.exists()]
        try:
            write_bytes(self._note(event.job), json.dumps(asdict(event.done)).encode())
            for path in files:
                self.output.send(path)
        except RenderError as error:
            return report(
                JobFailed(
                    event.job,
                    f"{event.job.label}: painted, but {error} The next run sends it without painting again.",
                )
            )
        report(event)
        for path in (*files, self._note(event.job)):
            path.unlink(missing_ok=True)
        if time.monotonic() - self.output.ledger_sent >= LEDGER_EVERY_S:
            with suppress(
                RenderError
            ):  # it is sent again at the end of the batch, and a failure reported then
                self.output.send_ledger()

    def _note(self, job: JobRef) -> Path:
        """The note that says that this job's print is in the working folder, whole."""
        name = hashlib.sha256(f"{job.id} {job.output}".encode("utf-8", "surrogateescape")).hexdigest()[:20]
        return self.output.folder / ".render" / "unsent" / f"{name}.json"

    def _unsent(self, job: JobRef) -> Done | None:
        try:
            facts = _read_json(self._note(job))
            # No device works on it in this run.
            done = replace(Done(**facts), findings=tuple(facts["findings"]), busy_s=0.0)
        except (KeyError, TypeError):  # no note, or one of another version of the program
            return None
        return done if size_on_disk(job.output) == done.bytes else None
