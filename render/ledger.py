"""What became of each job, kept in OUTPUT/.render/ledger.sqlite. One process writes it."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from render.errors import UsageError
from render.events import Done, Event, JobDone, JobFailed, JobStarted
from render.files import clear_halves
from render.jobs import Job, Settings

_TABLE = """
create table if not exists jobs (
    output text primary key,    -- path under the output folder
    id text not null,           -- Job.id: what was asked for
    photo text not null,        -- its path, whatever folder the batch was started in
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


class Ledger:
    """The jobs of one output folder. size_of: of a finished print, wherever it is. Files half written by who had the
    folder before and was killed are cleared from .render. Raises UsageError when the folder cannot be written or another
    batch has it."""

    @classmethod
    def peek(cls, output: Path, *, size_of: SizeOf = size_on_disk) -> "Ledger":
        """The ledger as it stands, to read from; empty when there is none. Writes nothing, waits for nobody."""
        ledger = object.__new__(cls)
        ledger.output, ledger.folder, ledger._lock, ledger._size_of = output, output / ".render", None, size_of
        path = ledger.folder / "ledger.sqlite"
        try:
            ledger._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro" if path.exists() else ":memory:", uri=True)
            ledger._db.text_factory = os.fsdecode
            ledger._db.execute("select 1 from jobs" if path.exists() else _TABLE)
        except sqlite3.DatabaseError as error:
            raise _damaged(path, error) from error
        return ledger

    def __init__(self, output: Path, *, size_of: SizeOf = size_on_disk):
        self.output, self._size_of = output, size_of
        self.folder = output / ".render"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.folder / "lock", output)
            clear_halves(self.folder)
            self._db = sqlite3.connect(self.folder / "ledger.sqlite")
            self._db.text_factory = os.fsdecode
            self._db.execute(_TABLE)
            if "findings" not in {row[1] for row in self._db.execute("pragma table_info(jobs)")}:  # of an earlier version
                self._db.execute("alter table jobs add column findings text")
            self._db.commit()
        except sqlite3.DatabaseError as error:
            raise _damaged(self.folder / "ledger.sqlite", error) from error
        except OSError as error:
            raise UsageError(f"{output}: cannot be written ({error.strerror}). Choose another --output folder.") from error

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def is_done(self, job: Job) -> bool:
        """Whether this very job was finished and its file is still the one that was written."""
        row = self._row(job.output, "id, status, bytes")
        return row is not None and row[0] == job.id and row[1] == "done" and self._size_of(job.output) == row[2]

    def knows(self, output: Path) -> bool:
        """Whether a job of this folder has written that print, or may have when it was interrupted."""
        row = self._row(output, "status, bytes")
        return row is not None and (row[0] == "running" or row[1] is not None)

    def size_of(self, path: Path) -> int | None:
        """Bytes of a finished print, wherever prints are; None when it is not there."""
        return self._size_of(path)

    def exists(self, path: Path) -> bool:
        return self._size_of(path) is not None

    def record(self, event: Event) -> None:
        match event:
            case JobStarted(job):
                self._put(job, "running", started_s=time.time())
            case JobDone(job, done):
                self._put(job, "done", seconds=done.seconds, bytes=done.bytes, loss=done.loss,
                          findings=json.dumps(done.findings))
            case JobFailed(job, message, trace, _):
                self._put(job, "failed", message=f"{message}\n{trace}".strip())

    def recoloured(self, output: Path, job_id: str, settings: Settings, look: Mapping, done: Done) -> None:
        """A finished print that was given other colours: now what a batch with these settings would have made, whatever
        a later one that failed had wanted there."""
        facts = json.dumps({"settings": asdict(settings), "look": look})
        with self._db:
            self._db.execute(
                "update jobs set id = ?, status = 'done', message = null, settings = ?, bytes = ?, findings = ? "
                "where output = cast(? as text)",
                (job_id, facts, done.bytes, json.dumps(done.findings), _encoded(self._key(output))))

    def rows(self) -> list[sqlite3.Row]:
        cursor = self._db.cursor()
        cursor.row_factory = sqlite3.Row
        return cursor.execute("select * from jobs order by output").fetchall()

    def _key(self, output: Path) -> str:
        return output.relative_to(self.output).as_posix()

    def _row(self, output: Path, columns: str) -> tuple | None:
        return self._db.execute(f"select {columns} from jobs where output = cast(? as text)",
                                (_encoded(self._key(output)),)).fetchone()

    def _put(self, job: Job, status: str, **facts) -> None:
        row = self._row(job.output, "id, started_s, bytes")
        if row is not None and row[0] == job.id:
            facts.setdefault("started_s", row[1])
        if row is not None:
            facts.setdefault("bytes", row[2])  # of the print before, which may still be there
        source, manner = job.names
        columns = {
            "output": self._key(job.output), "id": job.id, "photo": os.path.abspath(source), "style": manner,
            "status": status, "settings": json.dumps(job.facts()), **facts,
        }
        marks = ", ".join("cast(? as text)" if isinstance(value, str) else "?" for value in columns.values())
        values = tuple(_encoded(value) if isinstance(value, str) else value for value in columns.values())
        with self._db:
            self._db.execute(f"insert or replace into jobs ({', '.join(columns)}) values ({marks})", values)


def _encoded(text: str) -> bytes:
    """File names as the very bytes they are on the disk, which need not be text; sqlite3 itself takes text only."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:  # words of ours, where the locale has fewer letters
        return text.encode("utf-8", "surrogateescape")


def _damaged(path: Path, error: sqlite3.DatabaseError) -> UsageError:
    return UsageError(f"{path}: not a ledger ({error}). Delete {path.parent}: only history is lost.")


def _lock(path: Path, output: Path):
    """An open file that only one batch can hold; the system lets go of it when the process dies."""
    file = open(path, "a+")
    try:
        import fcntl
    except ImportError:  # Windows: two batches on one folder are the user's to avoid
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(f"{output}: another batch is rendering there. Wait for it, or choose another --output.") from None
    return file
