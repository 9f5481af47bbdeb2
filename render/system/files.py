"""Files: checked for their kind before they are read, read up to a limit, written whole or not at all."""

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import stat
import time
import unicodedata
import uuid
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from render.errors import PictureError, RenderError

HALF = ".part"  # extension of a file that is being written
# Names of such files; the second form is that of earlier versions.
_OURS = re.compile(r"\.render-[0-9a-f]{32}\.part|\.[0-9a-f]{32}\.part")
_WINDOWS = os.name == "nt"
_ABANDONED_S = 24 * 3600.0  # no file takes so long to write: the criterion where there are no locks


# --- reading ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Content:
    """The whole content of a file, as it was when it was read."""

    path: Path
    data: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@contextlib.contextmanager
def opened(
    path: Path, *, what: str = "picture", error: type[RenderError] = PictureError
) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading. A pipe or a device is refused: reading it might never end.

    what: the noun that messages use for it. Raises `error`, naming the file and the fix, if it is missing,
    empty or not a regular file, or cannot be opened.
    """
    try:
        _check_kind(path, path.stat(), what, error)
        # Non-blocking, and checked again below: between the two calls it may have been replaced by a pipe.
        how = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = open(os.open(path, how), "rb")  # noqa: SIM115  the caller closes it
    except FileNotFoundError as found:
        raise error(f"{path}: no such file. Check the path, and that its drive is connected.") from found
    except PermissionError as found:
        raise error(
            f"{path}: permission denied. Allow reading it (chmod +r on Linux and macOS) and rerun."
        ) from found
    except (OSError, ValueError) as found:  # ValueError: a null byte in the name
        why = getattr(found, "strerror", None) or found
        raise error(f"{path}: cannot be opened ({why}). Check the path and its drive.") from found
    with file:
        _check_kind(path, os.fstat(file.fileno()), what, error)
        yield file


def _check_kind(path: Path, status: os.stat_result, what: str, error: type[RenderError]) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{path}: is a folder, not a {what}. Name a {what} inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path}: is not a regular file. Copy the {what} into a file and name that.")
    if status.st_size == 0:
        raise error(
            f"{path}: is empty (0 bytes). Export or copy it again and rerun: finished prints are kept."
        )


def check(path: Path, *, what: str, error: type[RenderError], at_most_bytes: int | None = None) -> None:
    """Check a file for a library that opens files itself. Raises what `opened` raises, and `error` for a file
    of more than at_most_bytes."""
    with opened(path, what=what, error=error) as file:
        if at_most_bytes is not None:
            _check_size(path, os.fstat(file.fileno()).st_size, at_most_bytes, what, error)


def read(
    path: Path, *, at_most_bytes: int, what: str = "picture", error: type[RenderError] = PictureError
) -> Content:
    """Read a whole file. Raises what `opened` raises, and `error` for a file of more than at_most_bytes, one
    that cannot be read, and one that grows meanwhile."""
    with opened(path, what=what, error=error) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        _check_size(path, size_bytes, at_most_bytes, what, error)
        try:
            data = file.read(size_bytes + 1)  # not at_most_bytes: Python allocates all that is requested
        except OSError as found:
            raise error(f"{path}: cannot be read ({found.strerror}). Check its drive and rerun.") from found
    if len(data) > size_bytes:
        raise error(f"{path}: is still being written. Rerun when it is whole: finished prints are kept.")
    return Content(path, data)


def _check_size(path: Path, size_bytes: int, at_most_bytes: int, what: str, error: type[RenderError]) -> None:
    if size_bytes > at_most_bytes:
        raise error(
            f"{path}: is too large ({size_bytes / 1e6:.0f} MB; a {what} has at most "
            f"{at_most_bytes / 1e6:.0f} MB). Check that it is the file you mean."
        )


def sha256_of(
    path: Path, *, at_most_bytes: int, what: str = "picture", error: type[RenderError] = PictureError
) -> str:
    """SHA-256 of a file's content as hexadecimal digits, read in pieces. Raises what `read` raises."""
    with opened(path, what=what, error=error) as file:
        _check_size(path, os.fstat(file.fileno()).st_size, at_most_bytes, what, error)
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as found:
            raise error(f"{path}: cannot be read ({found.strerror}). Check its drive and rerun.") from found


# --- which file a name means --------------------------------------------------------------------------------


def identity(path: Path) -> Hashable:
    """A value that is equal for two names of the same file: through links, and on disks that ignore case or
    compose accents. For a file that does not exist yet: its folder's identity and its name in the form that
    all such disks take for the same."""
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    path = Path(os.path.abspath(path))
    if path.parent == path:
        return str(path)
    return identity(path.parent), unicodedata.normalize("NFC", path.name).casefold()


# --- writing ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_file(path: Path, *, needs_bytes: int) -> Iterator[BinaryIO]:
    """Open a file for writing that appears at `path` when the body is done, and not at all if it fails: it is
    written beside its place, synced and renamed. The folder is made if missing.

    needs_bytes: the most that will be written, for the message about a full disk.
    Raises PictureError for every OSError.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary, file = _new_half(path.parent)
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if not _WINDOWS:
                    os.replace(temporary, path)  # still locked, so that no process takes it for abandoned
            if _WINDOWS:  # where an open file cannot be renamed
                os.replace(temporary, path)
        except BaseException:  # Ctrl-C too
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PictureError(
            f"{path.parent}: cannot write {path.name} there ({_why(error, path.parent, needs_bytes)}). "
            "Free space, allow writing or choose another --output, and rerun: finished prints are kept."
        ) from error
    _sync_folder(path.parent)


def clear_halves(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in this folder (not in those under it).

    Removes only files with exactly the names that `whole_file` gives, and only those that no process writes
    any more: the system releases a writer's lock when it dies. So it is safe in any folder, and while other
    batches run.
    """
    with contextlib.suppress(OSError, ValueError):  # no such folder, or one that we may not read
        for entry in list(os.scandir(folder)):
            if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _clear_half(Path(entry.path))


def clear_all_halves(folder: Path) -> None:
    """Remove every unfinished file in and below this folder, by its file extension alone.

    Only for a folder that holds nothing of the user's, and only for callers that hold that folder's lock.
    """
    for path in folder.rglob(f".*{HALF}"):
        path.unlink(missing_ok=True)


def _new_half(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file to write, locked for as long as it is open, and its path."""
    while True:
        path = folder / f".render-{uuid.uuid4().hex}{HALF}"
        file = path.open("x+b")
        _lock(file, wait=True)
        if path.exists():
            return path, file
        file.close()  # another process removed it (`_clear_half`) before it was locked


def _clear_half(path: Path) -> None:
    with contextlib.suppress(OSError):  # gone already, or removing it is not permitted
        # Earlier versions took no lock, and some disks have none: there its age decides.
        old = time.time() - path.lstat().st_mtime > _ABANDONED_S
        if not path.name.startswith(".render-"):
            return path.unlink() if old else None
        with path.open("rb") as file:
            locked = _lock(file, wait=False)
            if locked or (locked is None and old):
                path.unlink()


def _lock(file: BinaryIO, *, wait: bool) -> bool | None:
    """Whether this process now holds the file's lock; None if the system or the disk has no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file, whole or not at all. Raises PictureError."""
    with whole_file(path, needs_bytes=len(data)) as file:
        file.write(data)


def _why(error: OSError, folder: Path, needs_bytes: int) -> str:
    reason = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return reason
    return (
        f"{reason}: up to {needs_bytes / 1e6:.1f} MB needed, "
        f"{shutil.disk_usage(folder).free / 1e6:.1f} MB free there"
    )


def _sync_folder(folder: Path) -> None:
    # The file is in place already; Windows and some network drives cannot sync a folder.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
