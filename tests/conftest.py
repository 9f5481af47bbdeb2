"""The environment of the tests, and the fixtures that many of them use."""

import functools
import json
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

# Before torch is imported: threads wait for one another asleep instead of spinning. The same pixels, and much
# sooner on a busy machine (measured with four programs on two cores: 25 s instead of 146 s).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Before ray is: or it takes the network interface instead of 127.0.0.1.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # its 15 keeps workers waiting for whatever else runs
# A shell's background jobs ignore Ctrl-C, and so would the programs that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

from helpers.pictures import HEIGHT, WIDTH, save_painting, save_photo
from helpers.program import CHEAP_BATCH, run, run_here
from render.network import weights

# --- what scripts/test --fast leaves out --------------------------------------------------------------------

LOADS_THE_NETWORK = weights.load  # the plain one
OWN_NETWORKS = "test_weights.py"  # tests how weights are loaded

# Fixtures that start Ray or run the real VGG-19, also where other fixtures use them.
MARKS = {
    "ray": {"ray_head", "bare_head", "dashboard"},
    "network": {
        "batch",
        "batch_folder",
        "caffe",
        "half_broken",
        "network",
        "photos",
        "renderer",
        "strips",
        "three_jobs",
        "two_photos",
        "vgg",
    },
}


# Files that take longest begin first, so that no process is left with one at the end.
LONG = (
    "distributed",
    "cli/test_main.py",
    "system/test_interrupts.py",
    "torture/test_torture.py",
    "torture/test_torture_kills.py",
    "painting/test_checkpoint.py",
    "runners/test_local.py",
    "painting/test_renderer.py",
    "network/test_objective.py",
    "system/test_streams.py",
    "jobs/test_outputs.py",
)


@functools.cache
def real_network() -> weights.Weights:
    """VGG-19, decoded once in each test process: nobody changes its tensors."""
    return LOADS_THE_NETWORK()


def together(file: str) -> str:
    """What one process runs together, for a file's path below tests/: all of distributed/, which shares its
    Rays, or the file."""
    return "distributed" if file.startswith("distributed/") else file


def pytest_collection_modifyitems(items):
    groups = {}
    for item in items:
        for name, fixtures in MARKS.items():
            if fixtures & set(getattr(item, "fixturenames", ())):
                item.add_marker(name)
        groups[item] = together(item.path.relative_to(Path(__file__).parent).as_posix())
    order = list(dict.fromkeys([*LONG, *groups.values()]))
    items.sort(key=lambda item: order.index(groups[item]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """For --dist loadfile. Not loadgroup: under pytest 9.2 xdist 3.8 sees no groups, and deals out single
    tests."""
    from xdist.scheduler import LoadFileScheduling

    class Rooms(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return together(super()._split_scope(nodeid).partition("tests/")[2])

    return Rooms(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.path.name == OWN_NETWORKS:
        weights.load = LOADS_THE_NETWORK
        return
    marked = any(item.get_closest_marker(name) for name in ("network", "ray", "slow"))

    def load(name="caffe", *, preprocessing=None):
        if name != "caffe":
            return LOADS_THE_NETWORK(name, preprocessing=preprocessing)
        if not marked:
            pytest.fail("runs the real VGG-19: mark it `network`, so that scripts/test --fast leaves it out")
        return real_network()

    weights.load = load


# --- fixtures -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cli():
    """cli(*words, cwd=folder): the real entry point in a process of its own."""
    return run


@pytest.fixture(scope="session")
def here():
    """here(*words, cwd=folder): the same in this process, without the seconds in which torch is loaded."""
    return run_here


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
    from render.jobs import job

    job.sha256.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with one photo and one painting."""
    monkeypatch.chdir(tmp_path)
    save_photo(Path("photos/a.png"))
    save_painting(Path("x.png"))
    return tmp_path


@pytest.fixture
def program():
    """program(*words): (status, standard output, standard error) of the program in this process and
    folder."""

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


@pytest.fixture
def few_iterations(monkeypatch):
    """For tests of what becomes of a print, and not of how good it gets. In this process alone: not in
    workers."""
    from render.jobs import schedule

    monkeypatch.setattr(schedule, "QUALITIES", dict.fromkeys(schedule.QUALITIES, (4, 1.0)))
    monkeypatch.setattr(schedule, "FEWEST_ITERATIONS", 4)


@pytest.fixture
def colours() -> np.ndarray:
    """(H, W, 3) uint8: smooth in each channel, different in each corner."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 8, y * 10, 255 - 4 * (x + y)], axis=-1).astype(np.uint8)


@pytest.fixture
def pixels(colours) -> np.ndarray:
    return (colours / 255).astype(np.float32)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A folder with NAME/gan.safetensors for each kind of generator; none has learned anything."""
    from helpers.gan import untrained_generators

    return untrained_generators(tmp_path_factory.mktemp("gan"))
