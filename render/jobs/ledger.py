"""What became of each task, kept in OUTPUT/.render/ledger.sqlite. One process writes it.

Error messages say what is wrong with the file: locked (by which process), not writable, or damaged. Locks are
waited for. A damaged ledger is set aside and made anew from the provenance in the prints. A ledger that
cannot be written while a batch runs stops no task: what could not be recorded is kept in memory and tried
again."""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from render.errors import PictureError, UsageError
from render.jobs.events import Done, Event, JobDone, JobFailed, JobStarted
from render.jobs.settings import Settings
from render.jobs.task import Task
from render.pictures import images, print_file
from render.system.files import clear_all_halves, clear_halves

LOCK_WAIT_S = 10.0  # for another program to release the file, at the start and at the end of a batch
PEEK_WAIT_S = 1.0  # the same, for a caller that only reads; a batch holds the lock for milliseconds
# How long SQLite itself waits for a lock: between two tries Ctrl-C is handled. While tasks run it is the
# whole wait, because they must not stand still.
TRY_S = 0.1
SET_ASIDE_AT_MOST = 3  # damaged ledgers by one batch, so that a failing disk is not filled with them

_TABLE = """
create table if not exists jobs (
    output text primary key,    -- path under the output folder
    id text not null,           -- Task.id: hash of what was requested
    photo text not null,        -- its absolute path
    style text not null,
    status text not null,       -- running | done | failed
    message text,               -- why it failed
    started_s real,             -- Unix time
    seconds real,
    bytes integer,              -- of the finished file
    loss real,
    findings text,              -- JSON: what the checks saw of a finished print; null or [] when all is well
    settings text not null      -- JSON: settings and look
)
"""


def size_on_disk(path: Path) -> int | None:
    """Bytes; None when there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return None


SizeOf = Callable[[Path], int | None]

Tell = Callable[[str], None]

T = TypeVar("T")


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True)
class _Entry:
    """What this process knows of a task: everything of which its row is made."""

    task: Task
    status: str
    facts: Mapping


class Ledger:
    """The tasks of one output folder."""

    @classmethod
    def peek(cls, output: Path, *, size_of: SizeOf = size_on_disk) -> "Ledger":
        """The ledger as it stands, to read from; empty when there is none. Changes nothing."""
        ledger = object.__new__(cls)
        ledger._begin(output, size_of, _silent)
        path = ledger.path
        try:
            # An empty file is what a process leaves that was killed before it made the table.
            there = path.exists() and path.stat().st_size > 0
            name = f"{path.absolute().as_uri()}?mode=ro" if there else ":memory:"
            ledger._db = sqlite3.connect(name, uri=True, timeout=PEEK_WAIT_S)
            ledger._db.text_factory = os.fsdecode
            with _readable_errors():
                ledger._db.execute(f"select {', '.join(_REQUIRED)} from jobs limit 1" if there else _TABLE)
                _check_status(ledger._db)
        except sqlite3.DatabaseError as error:
            raise ledger._refusal(error) from error
        return ledger

    def __init__(self, output: Path, *, size_of: SizeOf = size_on_disk, tell: Tell = _silent):
        """Open the ledger for writing, and delete half-written files from every folder that holds its prints.

        Raises UsageError when the folder cannot be written or another batch is using it, and when the ledger
        cannot be opened.

        Args:
            size_of: bytes of a finished print, wherever prints are; None when it is not there.
            tell: called with a line for people when a damaged ledger is set aside.
        """
        self._begin(output, size_of, tell)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.folder / "lock", output)
            clear_all_halves(self.folder)
            _patiently(self._open)
            self._clear_halves()
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error
        except OSError as error:
            raise UsageError(
                f"{output}: cannot be written ({error.strerror}). Choose another --output folder."
            ) from error

    def _begin(self, output: Path, size_of: SizeOf, tell: Tell) -> None:
        self.output, self.folder, self._lock, self._db = output, output / ".render", None, None
        self.path, self._size_of, self._tell = self.folder / "ledger.sqlite", size_of, tell
        self._entries: dict[Path, _Entry] = {}  # of this process, by output
        self._unsaved: dict[Path, None] = {}  # those that are not in the file, oldest first
        self._set_asides = 0
        self.trouble: str | None = None  # why the file could not be written the last time

    def _open(self) -> None:
        if self._db is not None:
            self._db.close()
        try:
            self._db = _connect(self.path)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._replace(error)

    def _replace(self, error: sqlite3.DatabaseError) -> None:
        """Set the damaged file aside and make a new one from the prints and from what this process knows."""
        if self._lock is None or self._set_asides == SET_ASIDE_AT_MOST:
            raise error
        self._set_asides += 1
        if self._db is not None:
            self._db.close()
        aside = _set_aside(self.path)
        self._tell(
            f"{self.path}: is damaged ({error}). It is kept as {aside.name} and made anew from the prints."
        )
        self._db = _connect(self.path)
        with self._db:
            for row in _recipes(self.output):
                self._db.execute(_INSERT.format(_names(row), _marks(row)), _values(row))
        self._unsaved = dict.fromkeys(self._entries)

    def _clear_halves(self) -> None:
        names = [row["output"] for row in self.rows()]
        names = [os.fsdecode(name) for name in names if isinstance(name, (str, bytes))]
        folders = {(self.output / name).parent for name in names}
        for folder in {self.output, *folders}:
            clear_halves(folder)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
        if self._lock is not None:
            self._lock.close()

    def is_done(self, task: Task) -> bool:
        """Whether this very task was finished and its file is still the one that was written."""
        row = self._use(lambda _: self._row(task.output, "id, status, bytes"))
        return (
            row is not None
            and row[0] == task.id
            and row[1] == "done"
            and self._size_of(task.output) == row[2]
        )

    def knows(self, output: Path) -> bool:
        """Whether a task of this folder has written that print, or may have when it was interrupted."""
        row = self._use(lambda _: self._row(output, "status, bytes"))
        return row is not None and (row[0] == "running" or row[1] is not None)

    def size_of(self, path: Path) -> int | None:
        """Bytes of a finished print, wherever prints are; None when it is not there."""
        return self._size_of(path)

    def exists(self, path: Path) -> bool:
        return self._size_of(path) is not None

    def record(self, task: Task, event: Event) -> None:
        """Records what happened to the task. Never raises for what is wrong with the file: see `trouble`,
        `unrecorded` and `settle`."""
        match event:
            case JobStarted():
                self._note(task, "running", started_s=time.time())
            case JobDone(_, done):
                self._note(
                    task,
                    "done",
                    seconds=done.seconds,
                    bytes=done.bytes,
                    loss=done.loss,
                    findings=json.dumps(done.findings),
                )
            case JobFailed(_, message, trace, _):
                self._note(task, "failed", message=f"{message}\n{trace}".strip())

    @property
    def unrecorded(self) -> int:
        """How many tasks have ended without the file saying so."""
        return sum(self._entries[output].status != "running" for output in self._unsaved)

    def settle(self) -> None:
        """Record what could not be recorded before, waiting for locks as long as at the start."""
        if self._unsaved and self._lock is not None:
            with suppress(sqlite3.DatabaseError, OSError):  # `trouble` says why
                _patiently(self._save)

    def _note(self, task: Task, status: str, **facts) -> None:
        before = self._entries.get(task.output)
        if before is not None and before.task.id == task.id and "started_s" in before.facts:
            facts.setdefault("started_s", before.facts["started_s"])
        self._entries[task.output] = _Entry(task, status, facts)
        self._unsaved[task.output] = None
        try:
            self._save()
        except (sqlite3.DatabaseError, OSError):
            if self._lock is None:  # only peeking
                raise

    def _save(self) -> None:
        """Write every unsaved entry. Raises what prevents it, and keeps the reason as `trouble`."""
        try:
            if self.trouble is not None:  # the file may be another one by now
                self._open()
            while self._unsaved:
                output = next(iter(self._unsaved))
                entry = self._entries[output]
                self._repairing(partial(self._put, entry.task, entry.status, **entry.facts))
                self._unsaved.pop(output, None)
            self.trouble = None
        except (sqlite3.DatabaseError, OSError) as error:
            self.trouble = self._why(error)
            raise

    def _repairing(self, action: Callable[[], T]) -> T:
        """The action's result. A ledger found damaged is replaced, and the action is repeated once."""
        try:
            return action()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._replace(error)
            return action()

    def _use(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """The action's result. Raises UsageError."""
        try:
            return self._repairing(lambda: action(self._connection()))
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._refusal(error) from error

    def recoloured(self, output: Path, job_id: str, settings: Settings, look: Mapping, done: Done) -> None:
        """Record that a finished print was given other colors: it is now what a batch with these settings
        would have made, even if a later task of the same output has failed."""
        facts = json.dumps({"settings": settings.model_dump(), "look": look})
        change = (
            "update jobs set id = ?, status = 'done', message = null, settings = ?, bytes = ?, findings = ? "
            "where output = cast(? as text)"
        )
        values = (job_id, facts, done.bytes, json.dumps(done.findings), _encoded(self._key(output)))

        def write(db):
            with db:
                db.execute(change, values)

        self._use(write)

    def rows(self) -> list[sqlite3.Row]:
        def query(db):
            cursor = db.cursor()
            cursor.row_factory = sqlite3.Row
            return cursor.execute("select * from jobs order by output").fetchall()

        return self._use(query)

    def _connection(self) -> sqlite3.Connection:
        assert self._db is not None, "opened by __init__ and peek"
        return self._db

    def _key(self, output: Path) -> str:
        return output.relative_to(self.output).as_posix()

    def _row(self, output: Path, columns: str) -> tuple | None:
        query = f"select {columns} from jobs where output = cast(? as text)"
        return self._connection().execute(query, (_encoded(self._key(output)),)).fetchone()

    def _put(self, task: Task, status: str, **facts) -> None:
        row = self._row(task.output, "id, started_s, bytes")
        if row is not None and row[0] == task.id:
            facts.setdefault("started_s", row[1])
        if row is not None:
            facts.setdefault("bytes", row[2])  # of the print before, which may still be there
        columns = {
            "output": self._key(task.output),
            "id": task.id,
            "photo": os.path.abspath(task.ref.photo),
            "style": task.ref.style,
            "status": status,
            "settings": json.dumps(task.facts()),
            **facts,
        }
        with self._connection() as db:
            db.execute(_INSERT.format(_names(columns), _marks(columns)), _values(columns))

    # --- what is wrong with the file -----------------------------------------------------------------------

    def _why(self, error: Exception) -> str:
        if _is_lock(error):
            return f"locked by {_holder(self.path) or 'another program'}"
        if _code(error) == sqlite3.SQLITE_FULL:
            return "no space left on the disk"
        return getattr(error, "strerror", None) or str(error)

    def _refusal(self, error: Exception) -> UsageError:
        """The error for people. It never advises to delete anything: the folder holds unfinished work."""
        if _is_damage(error):
            return UsageError(
                f"{self.path}: is damaged ({error}). Run the batch again: it sets the file "
                "aside and makes a new one from the prints. "
                f"Keep {self.folder}: it holds unfinished work."
            )
        if _is_lock(error):
            return UsageError(
                f"{self.path}: is {self._why(error)}. Wait for it or close it, and rerun: what "
                "is done is kept."
            )
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
            return UsageError(
                f"{self.path}: its batch was killed while it wrote there. Run the batch again: "
                "it undoes that first. What is done is kept."
            )
        return UsageError(
            f"{self.path}: cannot be used ({self._why(error)}). Free space, allow reading and "
            "writing there, check the drive, and rerun: what is done is kept."
        )


def findings_of(row: sqlite3.Row) -> tuple[str, ...]:
    """What the checks saw of a print; empty where the row is of an earlier version, or damaged."""
    try:
        found = json.loads(row["findings"] or "[]")
    except (IndexError, TypeError, ValueError):
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _names(columns) -> str:
    return ", ".join(columns)


def _marks(columns: Mapping) -> str:
    return ", ".join("cast(? as text)" if isinstance(value, str) else "?" for value in columns.values())


def _values(columns: Mapping) -> tuple:
    return tuple(_encoded(value) if isinstance(value, str) else value for value in columns.values())


def _encoded(text: str) -> bytes:
    """File names as the very bytes they are on the disk, which need not be text; sqlite3 itself takes text
    only."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:  # a text of ours, where the locale's encoding lacks some of its characters
        return text.encode("utf-8", "surrogateescape")


_INSERT = "insert or replace into jobs ({}) values ({})"


def _columns(db: sqlite3.Connection) -> tuple[str, ...]:
    return tuple(row[1] for row in db.execute("pragma table_info(jobs)"))


def _required() -> tuple[str, ...]:
    db = sqlite3.connect(":memory:")
    db.execute(_TABLE)
    return tuple(name for name in _columns(db) if name not in _ADDED)


_ADDED = ("findings",)  # columns that ledgers of earlier versions lack
_REQUIRED = _required()


class _Damage(sqlite3.DatabaseError):
    """Damage that SQLite itself does not notice when it opens the file."""


def _patiently(action: Callable[[], None]) -> None:
    """Repeat the action while the file is locked, for up to LOCK_WAIT_S."""
    end_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return action()
        except sqlite3.DatabaseError as error:
            if not _is_lock(error) or time.monotonic() > end_s:
                raise


def _connect(path: Path) -> sqlite3.Connection:
    """A ledger to write, its table made where there is none. Raises sqlite3.DatabaseError."""
    db = sqlite3.connect(path, timeout=TRY_S)
    db.text_factory = os.fsdecode
    try:
        with _readable_errors():
            _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    (verdict,) = db.execute("pragma quick_check(1)").fetchone()
    if verdict != "ok":
        raise _Damage(verdict)
    db.execute(_TABLE)
    missing = [name for name in _REQUIRED if name not in _columns(db)]
    if missing:
        raise _Damage(f"its table jobs has no {missing[0]}: not one of render's")
    for name in _ADDED:
        if name not in _columns(db):
            db.execute(f"alter table jobs add column {name} text")
    _check_status(db)
    db.commit()


@contextmanager
def _readable_errors() -> Iterator[None]:
    """SQLite quotes the file in what it says is wrong, and Python cannot read that where the quotation is no
    text."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise _Damage("its schema is no text") from error


def _check_status(db: sqlite3.Connection) -> None:
    """SQLite does not look at bytes that changed within a text."""
    for (status,) in db.execute("select distinct status from jobs"):
        if not str(status).isprintable():  # bytes that are no UTF-8 are surrogates
            raise _Damage("the status of a job is no text")


def _code(error: Exception) -> int | None:
    """SQLite's primary result code."""
    extended = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def _is_lock(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is_damage(error: Exception) -> bool:
    """Whether the file's content is at fault, and waiting or free space would not help."""
    if isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError)):  # mistakes of ours
        return False
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    # Without a code: text that is not UTF-8. ERROR: no such column. CONSTRAINT: a table with other rules.
    return _code(error) in (
        None,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_FORMAT,
    )


def _set_aside(path: Path) -> Path:
    """Renames the file, and its journal with it: SQLite would play that back into the new file."""
    stem = f"ledger.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    taken = sum(1 for _ in path.parent.glob(f"{stem}*.sqlite"))
    aside = path.with_name(f"{stem}{f'-{taken + 1}' if taken else ''}.sqlite")
    for ending in ("-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.replace(f"{path}{ending}", f"{aside}{ending}")
    os.replace(path, aside)
    return aside


def _recipes(output: Path) -> Iterator[dict]:
    """Rows of the finished prints under the output folder, from what they say of themselves."""
    endings = {ending for form in print_file.FORMATS.values() for ending in form.extensions}
    for path in sorted(output.rglob("*")):
        relative = path.relative_to(output)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in endings and path.is_file() and not hidden:
            with suppress(
                PictureError, OSError, KeyError, TypeError, ValueError
            ):  # not one of ours, or cut short
                yield _row_of(path, relative)


def _row_of(path: Path, relative: Path) -> dict:
    facts = print_file.read_provenance(path)
    if facts is None or "proof_of" in facts:
        raise KeyError("no print, or a soft proof")
    status = path.stat()
    wanted = json.dumps({"settings": facts["settings"], "look": facts["look"]})
    return {
        "output": relative.as_posix(),
        "id": str(facts["job"]),
        "photo": str(facts["photo"]),
        "style": str(facts["style"]["name"]),
        "status": "done",
        "message": None,
        "started_s": status.st_mtime,
        "seconds": None,
        "bytes": _whole_size(path),
        "loss": float(facts["loss"]),
        "settings": wanted,
    }


def _whole_size(path: Path) -> int:
    """Bytes of a print that can be read to its end. Raises PictureError."""
    with images.opened(path) as image:
        image.load()
    return path.stat().st_size


def _holder(path: Path) -> str | None:
    """The process that holds a lock on the file, by number and name; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()  # 1: POSIX ADVISORY WRITE <process> <major>:<minor>:<inode> <start> <end>
            process, place = words[-4], words[-3]
            if int(place.rpartition(":")[2]) == inode and int(process) not in (0, os.getpid()):
                name = Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"process {process} ({name})"
    return None


def _lock(path: Path, output: Path):
    """An open file that only one batch can hold; the system releases it when the process dies."""
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  held as long as the batch
    try:
        import fcntl
    except ImportError:  # Windows: there the user has to avoid two batches on one folder
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(200).strip()
        file.close()
        who = f" ({holder})" if holder else ""
        raise UsageError(
            f"{output}: another batch is rendering there. Wait for it{who}, or choose another --output."
        ) from None
    with suppress(OSError):  # a full disk: then the next batch cannot name this one
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    return file
