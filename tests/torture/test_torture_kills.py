"""A small slice of scripts/torture: kills at proven moments, a failing disk, a second driver, and who
listens."""

import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).parents[2] / "scripts/torture"
sys.path.insert(0, str(TORTURE))
import ground


def torture(script: str, *words: str) -> str:
    """What a script prints, in a process of its own: it changes the program inside it."""
    done = subprocess.run(
        [sys.executable, TORTURE / script, *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.network
def test_after_every_kill_the_same_command_ends_with_the_undisturbed_prints():
    said = torture("kills.py", "--ground", "local", "--count", "2", "--seed", "1")
    assert "2 kills in" in said and "Wrong: 0" in said and "| local | driver | print write |" in said


@pytest.mark.network
@pytest.mark.parametrize(
    "troubles",
    [
        ["failing: full of print 1"],
        pytest.param(["checkpoint: truncated", "two drivers"], marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_fails_a_checkpoint_cut_short_and_a_second_driver_are_borne(troubles):
    said = torture("disks.py", "--only", *troubles)
    assert said.count("borne, with status") == len(troubles)


@pytest.mark.network
def test_a_batch_tells_a_wrong_print_from_a_right_one():
    """The check of the checks: `disks.Scene` finds fault with a print that is not the undisturbed one."""
    code = (
        "import disks, ground, pathlib, tempfile; ground.prepare(); folder = "
        "pathlib.Path(tempfile.mkdtemp());"
        "scene = disks.Scene(folder, {'p0--s0.png': b'another'}); print(scene.calm(folder / 'prints'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TORTURE, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "afterwards: not the prints of an undisturbed run", done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_rays_processes_listen_on_loopback_alone():
    said = torture("soak.py", "--count", "10", "--runner", "ray")
    assert "10 jobs, ray" in said and "Wrong: 0." in said and "beyond" not in said
    assert int(said.partition(" sockets listened")[0].split()[-1]) > 3


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("0100007F:1F90", True),
        ("00000000:1F90", False),
        ("0A01A8C0:1F90", False),
        ("0" * 24 + "01000000:1F90", True),
        ("0" * 32 + ":1F90", False),
        ("0" * 16 + "FFFF00000100007F:1F90", True),
        ("0" * 16 + "FFFF00000A01A8C0:1F90", False),
    ],
)
def test_an_address_of_the_kernels_is_read_aright(address, loopback):
    assert ground.is_loopback(address) is loopback
