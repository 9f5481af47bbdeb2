"""The program, run as people run it."""

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The real VGG-19, stopped early: at 64 px a job takes a fraction of a second.
SHALLOW = ("style_layers={relu1_1=1, relu2_1=1}", "content_layers={relu2_2=1}", "style_loss=gram")
QUICK = (
    "--size",
    "64",
    "--quality",
    "draft",
    "--device",
    "cpu",
    *(word for key in SHALLOW for word in ("--set", key)),
)

# The real network's first layer alone.
CHEAP = (
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
    "content_layers={relu1_1=1}",
    "--set",
    "content_weight=0.01",
)
CHEAP_BATCH = ("batch", "--inputs", "photos", "--styles", "x.png", *CHEAP)

PROGRAM = (sys.executable, "-m", "render")


@dataclass(frozen=True)
class Run:
    """What one run of the program left behind."""

    status: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, event: str) -> list[dict]:
        return [record for record in self.records if record["event"] == event]


def run(*words, cwd: Path) -> Run:
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        errors="surrogateescape",
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Run(done.returncode, done.stdout, done.stderr)


def run_here(*words, cwd: Path) -> Run:
    """As `run`, but in this process, which is quicker."""
    from render.cli import main
    from render.jobs import job

    job.sha256.cache_clear()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main.main([str(word) for word in words])
        except SystemExit as ending:  # words that are refused, and --help
            status = ending.code
    return Run(status, out.getvalue(), err.getvalue())


def start(*words, cwd: Path) -> subprocess.Popen:
    """The program in a process group of its own, to be sent signals; its standard output to be read line by
    line."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
