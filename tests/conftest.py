"""Small real pictures, and the program run as people run it."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

# The real VGG-19, stopped early: at 64 px a job takes a fraction of a second.
SHALLOW = ("style_layers={relu1_1=1, relu2_1=1}", "content_layers={relu2_2=1}", "style_loss=gram")
QUICK = ("--size", "64", "--quality", "draft", "--device", "cpu", *(word for key in SHALLOW for word in ("--set", key)))

# The real network's first layer alone.
CHEAP = ("--quality", "draft", "--device", "cpu", "--precision", "float32", "--set", "style_loss=gram",
         "--set", "style_layers={relu1_1=1}", "--set", "content_layers={relu1_1=1}", "--set", "content_weight=0.01")
CHEAP_BATCH = ("batch", "--inputs", "photos", "--styles", "x.png", *CHEAP)

# Before torch is imported: threads wait for one another asleep instead of spinning. The same pixels, and much sooner on
# a busy machine (measured with four programs on two cores: 25 s instead of 146 s).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Before ray is: or it takes the network interface instead of 127.0.0.1.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # its 15 keeps workers waiting for whatever else runs
PROGRAM = (sys.executable, "-m", "render")
# A shell's background jobs ignore Ctrl-C, and so would the programs that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def photo_pixels(size=(48, 64), seed=0) -> np.ndarray:
    """(H, W, 3) uint8: a lit disc before a graded sky."""
    height, width = size
    y, x = np.mgrid[:height, :width] / (max(size) - 1)
    sky = np.stack([0.3 + 0.4 * y, 0.4 + 0.2 * x, 0.9 - 0.5 * y], -1)
    disc = ((x - 0.3 - 0.1 * seed) ** 2 + (y - 0.3) ** 2 < 0.04)[..., None]
    return np.uint8(255 * np.where(disc, [0.95, 0.8, 0.3], sky))


def painting_pixels(size=(60, 80), seed=0) -> np.ndarray:
    """(H, W, 3) uint8: blots of a few colours."""
    blots = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blots).resize(size[::-1], Image.Resampling.BICUBIC))


def save(path: Path, image: Image.Image | np.ndarray, **options) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def save_photo(path: Path, size=(48, 64), seed=0) -> Path:
    return save(path, photo_pixels(size, seed))


def save_painting(path: Path, seed=0) -> Path:
    return save(path, painting_pixels(seed=seed))


def special(path: Path, kind: str) -> Path:
    """What is no regular file: a "pipe" that nobody writes into, or a link to a "device" that never ends."""
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


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
    done = subprocess.run([*PROGRAM, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300,
                          errors="surrogateescape")
    assert "Traceback" not in done.stderr, done.stderr
    return Run(done.returncode, done.stdout, done.stderr)


def run_here(*words, cwd: Path) -> Run:
    """As `run`, but in this process, which is quicker."""
    from render import cli, jobs

    jobs.sha256.cache_clear()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as ending:  # words that are refused, and --help
            status = ending.code
    return Run(status, out.getvalue(), err.getvalue())


def start(*words, cwd: Path) -> subprocess.Popen:
    """The program in a process group of its own, to be sent signals; its standard output to be read line by line."""
    return subprocess.Popen([*PROGRAM, *map(str, words)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)


@pytest.fixture(scope="session")
def cli():
    """cli(*words, cwd=folder): the real entry point in a process of its own."""
    return run


@pytest.fixture
def photo(tmp_path) -> Path:
    return save_photo(tmp_path / "photo.png")


@pytest.fixture
def painting(tmp_path) -> Path:
    return save_painting(tmp_path / "painting.png")


@pytest.fixture
def as_nobody():
    """File permissions count for nothing as root, where containers and CI often run tests."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


@pytest.fixture
def open_folder():
    """A folder that nobody may enter, outside pytest's own (which is closed to others)."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def files_are_read_anew():
    """A file's hash is kept for the length of a batch; in one process there are many."""
    from render import jobs

    jobs.sha256.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with one photo and one painting."""
    monkeypatch.chdir(tmp_path)
    save_photo(Path("photos/a.png"))
    save_painting(Path("x.png"))
    return tmp_path


@pytest.fixture
def program():
    """program(*words): (status, standard output, standard error) of the program in this process and folder."""

    def program(*words):
        done = run_here(*words, cwd=Path.cwd())
        return done.status, done.out, done.err

    return program


@pytest.fixture
def batch(program, files_are_read_anew):
    """batch(*words): (its records by event, its status). A print takes a fraction of a second."""

    def run(*words):
        size = () if "--print" in words else ("--size", "64")
        status, out, _ = program(*CHEAP_BATCH, *size, *words, "--json")
        found = {}
        for line in out.splitlines():
            found.setdefault(json.loads(line)["event"], []).append(json.loads(line))
        return found, status

    return run


HEIGHT, WIDTH = 24, 32  # of the picture below


@pytest.fixture
def colours() -> np.ndarray:
    """(H, W, 3) uint8: smooth in each channel, different in each corner."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 8, y * 10, 255 - 4 * (x + y)], axis=-1).astype(np.uint8)


@pytest.fixture
def pixels(colours) -> np.ndarray:
    return (colours / 255).astype(np.float32)


# ---- Ray ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def ray_cluster(**head):
    """A real Ray on localhost, with nodes to be added and removed."""
    from ray.cluster_utils import Cluster

    # At exit means signal handlers, which nodes started from another thread cannot set.
    cluster = Cluster(initialize_head=True, shutdown_at_exit=False, head_node_args={
        "node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 100 * 2**20, **head})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def ray_workers(node) -> list[psutil.Process]:
    """Processes of our workers on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [p for p in raylet.children(recursive=True) if any("Worker" in word for word in p.cmdline())]
