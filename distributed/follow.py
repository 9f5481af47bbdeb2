"""A job on a cluster, followed from this machine: its progress, and the download of its finished prints."""

import base64
import binascii
import hashlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from render.distributed.jobs_api import Dashboard
from render.distributed.package import Item, Package, write
from render.distributed.submit import on_head, quoted
from render.errors import PictureError, RenderError, UsageError
from render.jobs import outputs
from render.jobs.job import sha256
from render.system.files import whole_file

FETCH_BYTES = 256 * 2**20  # by one sending job, whose log holds them as text until the next one has begun
POLL_S = 0.5


@dataclass
class Tally:
    """What the events of a batch add up to."""

    total: int | None = None
    """Jobs to do; None before that is known."""
    done: int = 0
    """Jobs that are done."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(output, why) of the jobs that failed."""
    look_at: list[tuple[str, str]] = field(default_factory=list)
    """(output, finding) of prints that a person should look at."""
    running: set[str] = field(default_factory=set)
    """Outputs of the jobs that are running."""
    now: dict | None = None
    """The last progress record."""
    summary: dict | None = None
    """The batch's own summary, once it has ended."""
    messages: list[str] = field(default_factory=list)
    """The last lines of the log that are no events."""

    def add(self, line: str) -> dict | None:
        """Count a line of the log; returns its record."""
        record = record_of(line)
        if record is None:
            self.messages = [*self.messages[-9:], line] if line.strip() else self.messages
            return None
        match record["event"]:
            case "begin":
                self.total = record["jobs"]
            case "started":
                self.running.add(record["output"])
            case "progress":
                self.now = record
            case "done":
                self.done += 1
                self.running.discard(record["output"])
                self.look_at += [(record["output"], finding) for finding in record["findings"]]
            case "failed":
                self.running.discard(record["output"])
                self.failed.append((record["output"], record["message"]))
            case "summary":
                self.summary = record
                self.failed = [(each["what"], each["why"]) for each in record["failed"]]
        return record


def record_of(line: str) -> dict | None:
    """The event that a line of the log holds, whatever stands before it."""
    try:
        record = json.loads(line[line.index('{"event"') :])
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def tally_of(log: str) -> Tally:
    tally = Tally()
    for line in log.splitlines():
        tally.add(line)
    return tally


def ended(cluster: Dashboard, job_id: str):
    """Wait until the job has ended; returns Ray's JobDetails."""
    while not (job := cluster.job(job_id)).status.is_terminal():
        time.sleep(POLL_S)
    return job


def why_it_failed(job, tally: Tally) -> str:
    """Why a job ended without a summary, on one line: the last lines of its log, and the fix where it is
    known."""
    said = " | ".join(tally.messages) or (job.message or "without a reason given")
    fix = ""
    if "No module named render" in said:
        fix = (
            " The cluster's Python has no such render: install this version on every machine (pip "
            "install 'render-prints[cluster]')."
        )
    elif "python: not found" in said or "python: command not found" in said:
        fix = (
            " No `python` is on the head's PATH: start Ray there from the environment that render is "
            "installed in."
        )
    return f"{said}.{fix}" if fix else said


# --- download of prints ------------------------------------------------------------------------------------


def fetch(cluster: Dashboard, job_id: str, folder: Path, *, limit_bytes: int = FETCH_BYTES) -> Iterator[Path]:
    """Download the job's finished prints into the folder, except those that are there with the same content;
    yields each when it has arrived. Small jobs on the head print the files into their logs, which are read
    and then deleted.

    Raises RenderError when a print does not arrive as it was sent; those that arrived before are kept.
    """
    facts = cluster.job(job_id).metadata or {}
    if "output" not in facts:
        raise UsageError(
            f"{job_id}: was not started by `render submit`, so where its prints are is not known."
        )
    forget, have = (), hashes_in(folder)
    while True:
        sender = f"render-fetch-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        _start_sender(cluster, sender, facts["output"], have, limit_bytes, forget)
        tally, arrived = Tally(), 0
        for path, digest in receive((tally.add(line) for line in cluster.lines(sender)), folder):
            have[path.relative_to(folder).as_posix()] = digest
            arrived += 1
            yield path
        job = ended(cluster, sender)
        if job.status != "SUCCEEDED":
            raise RenderError(f"{job_id}: its prints cannot be fetched: {why_it_failed(job, tally)}")
        cluster.delete(sender)
        if arrived == 0:  # and the log of the one before is gone
            return
        forget = ("--forget", sender)


def _start_sender(
    cluster: Dashboard, sender: str, output: str, have: dict[str, str], limit_bytes: int, forget
) -> None:
    command = on_head("send", "--limit", str(limit_bytes), *forget)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "have.zip")
        write(Package((Item("have.json", text=json.dumps(have)),), ()), package)
        cluster.submit(sender, f"{command} -- {quoted(output)}", package=package, facts={})


def hashes_in(folder: Path) -> dict[str, str]:
    """sha256 of every readable file in the folder that is not hidden, by its path under the folder."""
    found = {}
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(base, name) for name in names if not name.startswith(".")):
            with suppress(PictureError):
                found[path.relative_to(folder).as_posix()] = sha256(path)
    return found


def receive(records: Iterable[dict | None], folder: Path) -> Iterator[tuple[Path, str]]:
    """Write each print that the records hold, whole or not at all; yields its file and sha256. Raises
    RenderError for a print that differs from what was announced, or that would be outside the folder."""
    records = (record for record in records if record is not None)
    for record in records:
        if record["event"] == "print":
            path = inside(folder, record["path"])
            if os.path.lexists(path) and outputs.recipe_of(path) is None:
                raise RenderError(
                    f"{path}: is there already and is no print. Move it away, or fetch into another folder."
                )
            with whole_file(path, needs_bytes=record["bytes"]) as file:
                _receive_data(records, record, file)
            yield path, record["sha256"]


def _receive_data(records: Iterator[dict], announced: dict, file) -> None:
    left, digest = announced["bytes"], hashlib.sha256()
    while left > 0:
        record = next(records, {"event": "the end of the log"})
        if record["event"] != "data":
            raise RenderError(
                f"{announced['path']}: was cut off on its way ({left} bytes are missing). Run this again."
            )
        try:
            piece = base64.b64decode(record["base64"], validate=True)
        except binascii.Error as error:
            raise RenderError(
                f"{announced['path']}: was damaged on its way ({error}). Run this again."
            ) from error
        left -= len(piece)
        digest.update(piece)
        file.write(piece)
    if left < 0 or digest.hexdigest() != announced["sha256"]:
        raise RenderError(f"{announced['path']}: arrived otherwise than it was sent. Run this again.")


def inside(folder: Path, name: str) -> Path:
    """The file of that name under the folder. Raises RenderError for a name that leads elsewhere, links
    followed."""
    parts = PurePosixPath(name).parts
    path = folder.joinpath(*parts)
    strange = not parts or name.startswith("/") or "\\" in name or any(part.startswith(".") for part in parts)
    if strange or not path.resolve().is_relative_to(folder.resolve()):
        raise RenderError(
            f"{name!r}: the cluster sends a file of this name, which would not lie in {folder}. Nothing "
            f"was written there."
        )
    return path
