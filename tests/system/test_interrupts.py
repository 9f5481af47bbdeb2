"""Signals in bursts, and drivers that are killed: real programs, real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from helpers.pictures import save_painting, save_photo
from helpers.program import QUICK, start
from render.system import interrupts

CHILD = """
import sys, time
from render.system import child

if __name__ == "__main__":
    child.start(time.sleep, 600)
    print("started", flush=True)
    time.sleep(600)
"""

ELSEWHERE = """
def elsewhere(sleep, seconds):
    child.sys.platform = "darwin"
    child.ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    child._end_with(0)
    sleep(seconds)

"""

STUBBORN = """
import sys, time
from render.system import interrupts

interrupts.IMPATIENT_AFTER_S = 0.5
interrupts.install()
interrupts.before_an_end_at_once(lambda: print("last words", flush=True))
while True:
    try:
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


WITH_RENDER = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def photos(tmp_path) -> Path:
    for seed in range(12):
        save_photo(tmp_path / "photos" / f"{seed:02}.png", seed=seed)
    save_painting(tmp_path / "x.png")
    return tmp_path


BATCH = ("batch", "--inputs", "photos", "--styles", "x.png", *QUICK, "--size", "128", "--json")


def until(process: subprocess.Popen, word: str) -> None:
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"ended without {word!r}: {process.stderr.read()}")


def bombard(
    process: subprocess.Popen, with_signal: signal.Signals, every_s: float, *, group: bool, for_s=60.0
) -> None:
    """Until it has ended, its last moments included, or for so many seconds."""
    deadline = time.monotonic() + for_s
    while process.poll() is None and time.monotonic() < deadline:
        (os.killpg if group else os.kill)(process.pid, with_signal)
        time.sleep(every_s)


@pytest.mark.parametrize(
    ("with_signal", "every_s", "group", "workers"),
    [
        (signal.SIGINT, 0.01, True, 2),
        (signal.SIGTERM, 0.01, False, 2),
        pytest.param(signal.SIGTERM, 0.02, True, 2, marks=pytest.mark.slow),
        (signal.SIGINT, 0.3, True, 1),
    ],
)
def test_signals_in_bursts_are_one_interrupt_and_notify_once(photos, with_signal, every_s, group, workers):
    words = ("--workers", workers, "--notify", "cat >> told; sleep 1; echo >> slept")
    process = start(*BATCH, *words, cwd=photos)
    until(process, '"progress"')
    # On a busy machine it ends later, and who interrupts for IMPATIENT_AFTER_S would not wait for it.
    bombard(process, with_signal, every_s, group=group, for_s=0.8 * interrupts.IMPATIENT_AFTER_S)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors and "Exception ignored" not in errors
    assert rest.splitlines()[-1].startswith('{"event": "summary"')
    (told,) = (photos / "told").read_text().splitlines()
    assert json.loads(told)["exit_status"] == 130 and (photos / "slept").read_text() == "\n"
    assert list(photos.rglob("*.part")) == []


def test_signals_in_bursts_while_torch_is_loaded_end_with_130(photos):
    process = start(*BATCH, cwd=photos)
    while (maps := Path(f"/proc/{process.pid}/maps")).exists() and "libtorch" not in maps.read_text():
        time.sleep(0.01)
    bombard(process, signal.SIGINT, 0.01, group=False)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors


def test_a_person_who_will_not_wait_ends_it_at_once_and_notify_has_run_once(photos):
    process = start(*BATCH, "--workers", 2, "--notify", "cat >> told; sleep 50", cwd=photos)
    until(process, '"progress"')
    began_s = time.monotonic()
    bombard(process, signal.SIGINT, 0.5, group=True)
    process.communicate(timeout=60)
    assert process.returncode == 130 and 4 < time.monotonic() - began_s < 40
    assert len((photos / "told").read_text().splitlines()) == 1


def test_a_program_that_is_stuck_says_its_last_words_and_ends():
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(process, "ready")
    bombard(process, signal.SIGINT, 0.2, group=False)
    assert (process.wait(), process.stdout.read()) == (130, "interrupted\nready\nlast words\n")


SWALLOWED = """
import gc, signal, time, weakref
from render.system import interrupts

class Thing: pass
interrupts.install()
thing = Thing()
watch = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
try:
    del thing  # whatever its callback raises is ignored
    print("swallowed", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

CAUGHT_IN_EXEC = """
import signal, sys
from render import __main__
from render.cli import main

def command(argv=None):
    try:
        exec("import signal; signal.raise_signal(signal.SIGINT)")  # as dataclasses are made
    except KeyboardInterrupt:
        return 130
main.main = command
sys.exit(__main__.main())
"""


def test_an_interrupt_that_python_swallows_comes_again():
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "swallowed\ninterrupted\n", "")


def test_an_interrupt_while_python_makes_a_class_ends_with_130_too(tmp_path):
    (tmp_path / "program.py").write_text(CAUGHT_IN_EXEC)
    code = "import runpy; runpy.run_path('program.py', run_name='__main__')"
    # With large pages as they are, or the program would start itself anew.
    environment = {**WITH_RENDER, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    (tmp_path / "m.py").write_text(code)
    assert subprocess.run([sys.executable, "-m", "m"], cwd=tmp_path, env=environment).returncode == 130


def test_ctrl_c_that_was_ignored_from_the_start_stays_so(tmp_path):
    code = (
        "import signal; from render.system import interrupts; interrupts.install(); "
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    shell = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
    done = subprocess.run([*shell, sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n"


# --- a driver that is killed --------------------------------------------------------------------------------


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [each for each in children if "spawn_main" in " ".join(each.cmdline())]


def gone_within(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread watches, a moment later")
@pytest.mark.parametrize("word", ['"started"', '"progress"'])  # while they load torch, and while they paint
def test_workers_end_with_a_driver_that_is_killed(photos, word):
    process = start(*BATCH, "--workers", 2, cwd=photos)
    until(process, word)
    time.sleep(0.3)  # Python itself has begun
    workers = workers_of(process)
    assert workers
    process.kill()
    assert gone_within(workers, 1)
    process.wait()
    process.stdout.close()
    process.stderr.close()


def test_a_child_whose_parent_died_before_it_was_bound_ends_by_itself(tmp_path):
    (tmp_path / "parent.py").write_text(CHILD)
    process = subprocess.Popen(
        [sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=WITH_RENDER
    )
    assert process.stdout.readline() == "started\n"  # forked, and far from its first line of ours
    children = psutil.Process(process.pid).children()
    process.kill()
    assert gone_within(children, 5)
    process.wait()


def test_a_child_that_only_watches_ends_too(tmp_path):
    """As where the system sends no signal at a parent's death."""
    watching = CHILD.replace("child.start(", "child.start(elsewhere, ")
    watching = watching.replace("if __name__", ELSEWHERE + "if __name__")
    (tmp_path / "parent.py").write_text(watching)
    process = subprocess.Popen(
        [sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=WITH_RENDER
    )
    assert process.stdout.readline() == "started\n"
    time.sleep(2)
    children = workers_of(process)
    process.kill()
    assert children and gone_within(children, 5)
    process.wait()


def test_absurdly_many_workers_are_some_and_that_is_reported(photos):
    process = start(*BATCH, "--workers", 10_000, cwd=photos)
    until(process, '"progress"')
    workers = workers_of(process)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert 1 <= len(workers) <= 2 * os.cpu_count()
    assert "--workers 10000: this machine has" in errors
