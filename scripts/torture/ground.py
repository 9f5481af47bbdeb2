"""The ground that the tortures share: small pictures, the program run in a forked process, and what it must
leave behind."""

import importlib.util
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
INSIDE = Path(__file__).parent / "inside"
# The real network's first layers: a print takes a fraction of a second.
LOOK = (
    "--quality",
    "draft",
    "--device",
    "cpu",
    "--precision",
    "float32",
    "--set",
    "style_loss=gram",
    "--set",
    "style_layers={relu1_1=1}",
    "--set",
    "content_layers={relu1_2=1}",
)
CALM_S = 15.0  # in which what a killed process had started must be gone
RUN_S = 240.0

# Before torch and ray are imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}


def prepare() -> None:
    """Imports the program with the places where it can be hit; forked runs have both from here, and so start
    at once."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(INSIDE), os.environ.get("PYTHONPATH"))))
    sys.path.insert(0, str(ROOT))
    if "torture_inside" not in sys.modules:
        spec = importlib.util.spec_from_file_location("torture_inside", INSIDE / "sitecustomize.py")
        sys.modules["torture_inside"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.ROLE = "driver"
    for name in (
        "render.cli.main",
        "render.cli.batch",
        "render.cli.screen",
        "render.painting.renderer",
        "render.runners.local",
        "render.runners.remote",
        "render.__main__",
    ):
        importlib.import_module(name)


def pictures(folder: Path, photos: int = 2, styles: int = 1) -> tuple[str, ...]:
    """Photographs and paintings in a new folder; the words that name them."""
    for i in range(photos):
        y, x = np.mgrid[:24, :192] / 63  # a strip: long enough for two scales, and few pixels
        sky = np.stack([0.3 + 0.4 * y, 0.4 + 0.1 * x, 0.9 - 0.5 * y], -1)
        disc = ((x - 0.5 - 0.4 * i) ** 2 + (y - 0.2) ** 2 < 0.02)[..., None]
        _save(folder / f"photos/p{i}.png", np.uint8(255 * np.where(disc, [0.95, 0.8, 0.3], sky)))
    for i in range(styles):
        blots = np.random.default_rng(i).integers(0, 256, (8, 10, 3), dtype=np.uint8)
        _save(
            folder / f"s{i}.png",
            np.asarray(Image.fromarray(blots).resize((80, 60), Image.Resampling.BICUBIC)),
        )
    return (
        "--inputs",
        str(folder / "photos"),
        "--styles",
        *(str(folder / f"s{i}.png") for i in range(styles)),
    )


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@dataclass(frozen=True)
class Run:
    """status: as a shell says it, 128 + signal for a process that was killed; None when it had to be
    ended."""

    status: int | None
    out: str
    err: str
    seconds: float

    @property
    def records(self) -> list[dict]:
        found = []
        for line in self.out.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # cut off by a kill
                pass
        return found

    def of(self, event: str) -> list[dict]:
        return [record for record in self.records if record["event"] == event]


def run(
    words, *, cwd: Path, environment: dict[str, str] | None = None, before=None, limit_s: float = RUN_S
) -> Run:
    """`render` with these words, forked from here; started anew where Ray is loaded, whose threads a fork
    would not have. before: done in the new process first, e.g. to limit it."""
    began = time.monotonic()
    out, err = cwd / ".out", cwd / ".err"
    if "ray" in sys.modules:
        pid = _start(words, cwd, environment or {}, before, out, err)
    elif (pid := os.fork()) == 0:
        _become(words, cwd, environment or {}, before, out, err)
    status = _wait(pid, limit_s)
    return Run(
        status, out.read_text(errors="replace"), err.read_text(errors="replace"), time.monotonic() - began
    )


def _start(words, cwd: Path, environment, before, out: Path, err: Path) -> int:
    with out.open("wb") as first, err.open("wb") as second:
        process = subprocess.Popen(
            [sys.executable, "-m", "render", *map(str, words)],
            cwd=cwd,
            env=os.environ | environment,
            stdout=first,
            stderr=second,
            start_new_session=True,
            preexec_fn=before,
        )
    process.returncode = 0  # it is waited for below, and not by subprocess
    return process.pid


def _become(words, cwd: Path, environment, before, out: Path, err: Path) -> None:
    status = 70
    try:
        os.setsid()
        os.chdir(cwd)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.environ.update(environment)
        if before is not None:
            before()
        sys.modules["__main__"] = sys.modules[
            "render.__main__"
        ]  # what processes that it spawns take for their program
        from render.cli import main

        status = main.main([str(word) for word in words])
    except SystemExit as ending:
        status = ending.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _wait(pid: int, limit_s: float) -> int | None:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


# ---- what a run must leave behind --------------------------------------------------------------------------


def prints(output: Path) -> dict[str, bytes]:
    """Every file that people see there, by its path."""
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(output).parts)
    }


def ledger(output: Path) -> dict[str, str]:
    """Status by print."""
    path = output / ".render/ledger.sqlite"
    if not path.exists():
        return {}
    with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True) as database:
        if not database.execute("select 1 from sqlite_master where name = 'jobs'").fetchall():
            return {}
        return dict(database.execute("select output, status from jobs"))


def ledger_or_none(output: Path) -> dict[str, str] | None:
    """None for a ledger that a full disk left without a table."""
    try:
        return ledger(output)
    except sqlite3.DatabaseError:
        return None


def halves(output: Path) -> list[Path]:
    return [path for path in output.rglob(".*") if path.name.endswith(".part")]


def kept(output: Path) -> list[Path]:
    """Checkpoints."""
    return list((output / ".render/checkpoints").glob("*"))


def orphans(mark: str, calm_s: float = CALM_S) -> list[str]:
    """Commands of processes that bear the mark in their environment and don't end in time."""
    until = time.monotonic() + calm_s
    while (found := list(_marked(mark))) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _marked(mark: str):
    for pid in marked(mark):
        try:
            yield (
                Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
            )
        except OSError:
            pass


def marked(mark: str) -> list[int]:
    """Processes that bear the mark in the environment that they were started with, but for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def listening(mark: str) -> list[str]:
    """Addresses at which processes of the run accept connections, as /proc/net/tcp has them: hexadecimal,
    each word of four bytes turned round."""
    sockets = set()
    for pid in marked(mark):
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(os.readlink(handle))
            except OSError:
                pass
    found = []
    for table_ in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table_}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = words = line.split()
            if state == "0A" and f"socket:[{words[9]}]" in sockets:
                found.append(local)
    return found


def is_loopback(address: str) -> bool:
    address = address.split(":")[0]
    if len(address) == 8:
        return address.endswith("7F")
    return address == "0" * 24 + "01000000" or (
        address.startswith("0" * 16 + "FFFF0000") and address.endswith("7F")
    )


# ---- tables ------------------------------------------------------------------------------------------------


def table(head, rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def where_and_when() -> str:
    """For beneath a table."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores; {time.strftime('%Y-%m-%d')}; commit "
        f"{commit or 'unknown'}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
