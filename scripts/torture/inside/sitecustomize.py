"""Python runs this at the start of every process of a tortured run: the program's phases become places where
it can be hit.

RENDER_TORTURE names a file with a plan: {"id", "phase", "role", "n", "victim", "note"}. At its n-th crossing
of the phase a process of that role writes down what it was about (the note) and kills: itself, its parent (of
a worker: the driver, or the raylet). What is killed is thereby proven to be in that phase. Without a plan
nothing happens.
"""

import contextlib
import importlib.abc
import importlib.util
import json
import os
import signal
import sqlite3
import sys
import threading

_counts: dict[tuple, int] = {}
_lock = threading.Lock()
_scale = 0


def role() -> str:
    words = " ".join(sys.orig_argv)
    if "default_worker.py" in words or "spawn_main" in words:
        return "worker"
    return "other" if "resource_tracker" in words or f"{os.sep}ray{os.sep}" in words else "driver"


ROLE = role()


def cross(phase: str, about: str = "", last=lambda: None) -> None:
    """last: what is done just before the blow, when it is our own: a worker whose parent is hit may go on for
    a moment."""
    plan = _plan()
    if plan is None or (plan["phase"], plan["role"]) != (phase, ROLE):
        return
    with _lock:
        _counts[plan["id"], os.getpid()] = count = _counts.get((plan["id"], os.getpid()), 0) + 1
    if count < plan["n"]:
        return
    try:
        note = os.open(plan["note"], os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:  # another process of the run was first
        return
    if plan["victim"] == "self":
        last()
    os.write(note, json.dumps({"phase": phase, "about": about, "pid": os.getpid()}).encode())
    os.fsync(note)
    os.close(note)
    os.kill(os.getppid() if plan["victim"] == "parent" else os.getpid(), signal.SIGKILL)


def _plan() -> dict | None:
    try:
        with open(os.environ.get("RENDER_TORTURE", "")) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


# ---- the places --------------------------------------------------------------------------------------------


def kind(path) -> str:
    parts = os.fspath(path).split(os.sep)
    if ".render" in parts:
        return next(
            (name for name in ("checkpoint", "painted") if any(part.startswith(name) for part in parts)),
            "record",
        )
    return "proof" if parts[-1].endswith(".proof.png") else "print"


def _files(module) -> None:
    plain = module.whole_file

    @contextlib.contextmanager
    def whole_file(path, *words, **more):
        with plain(path, *words, **more) as file:
            yield file
            cross(f"{kind(path)} write", os.path.basename(path), lambda: _halve(file))

    module.whole_file = whole_file


def _halve(file) -> None:
    """As if it had been hit in the middle of writing."""
    file.flush()
    os.truncate(file.name, os.path.getsize(file.name) // 2)


def _jobs(module) -> None:
    plain = module.make_job

    def make_job(*words, **more):
        cross("planning")
        return plain(*words, **more)

    module.make_job = make_job


def _optimise(module) -> None:
    plain = module.minimise

    def minimise(objective, state, *, report=lambda step: None, **more):
        def struck(step):
            report(step)
            cross(f"scale {_scale}", f"iteration {step.iteration}")

        return plain(objective, state, report=struck, **more)

    module.minimise = minimise


def _pipeline(module) -> None:
    plain = module.ScaleRun.__call__

    def call(self, *words, **more):
        global _scale
        _scale = self.index + 1
        return plain(self, *words, **more)

    module.ScaleRun.__call__ = call


def _ledger(module) -> None:
    plain = module.Ledger.record

    def record(self, task, event):
        plain(self, task, event)
        if type(event).__name__ in ("JobStarted", "JobDone", "JobFailed"):
            cross("ledger written", type(event).__name__)

    module.Ledger.record = record


def _tiles(module) -> None:
    def struck(plain):
        def call(self, i, *words):
            cross("tiles", f"{plain.__name__} of tile {i}")
            return plain(self, i, *words)

        return call

    for name in ("hold_content", "sums", "gradient"):
        setattr(module.TileWorker, name, struck(getattr(module.TileWorker, name)))


def _replace(source, target, **more):
    if str(source).endswith(".part"):
        cross(f"{kind(target)} rename", os.path.basename(target))
    _plain_replace(source, target, **more)
    if str(source).endswith(".part"):
        cross(f"{kind(target)} renamed", os.path.basename(target))


def _connect(database, *words, **more):
    connection = _plain_connect(database, *words, **more)
    if "ledger" in str(database):
        connection.set_trace_callback(
            lambda statement: (
                cross("ledger write", statement) if statement.upper().startswith("COMMIT") else None
            )
        )
    return connection


_plain_replace, os.replace = os.replace, _replace
_plain_connect, sqlite3.connect = sqlite3.connect, _connect

PLACES = {
    "render.system.files": _files,
    "render.jobs.job": _jobs,
    "render.network.optimise": _optimise,
    "render.painting.renderer": _pipeline,
    "render.jobs.ledger": _ledger,
    "render.distributed.tile_parallel": _tiles,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Lets a module of ours be found as ever, and changed as soon as it is there."""

    def find_spec(self, name, path, target=None):
        if name not in PLACES:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                plain = spec.loader.exec_module

                def exec_module(module):
                    plain(module)
                    PLACES[name](module)

                spec.loader.exec_module = exec_module
                return spec
        return None


sys.meta_path.insert(0, _Finder())
