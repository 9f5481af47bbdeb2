"""Files that are written whole: what killed writers leave behind, and what may be removed of it.

Real processes, real locks.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from render.system import files
from render.system.files import clear_halves

WRITER = """
import os, signal, sys, time
from pathlib import Path
from render.system import files

if sys.argv[2] == "killed":  # at the last moment: all is written, and nothing renamed
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with files.whole_file(Path(sys.argv[1]), needs_bytes=10) as file:
    file.write(b"all of it")
    file.flush()
    print("written", flush=True)
    if sys.argv[2] == "slow":
        time.sleep(600)
"""


def writer(path: Path, how: str) -> subprocess.Popen:
    """A process that has written a file and not yet renamed it."""
    words = [sys.executable, "-c", WRITER, str(path), how]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    return process


def killed(path: Path) -> Path:
    """What is left of a writer that was killed at the rename."""
    assert writer(path, "killed").wait(timeout=60) == -signal.SIGKILL
    (half,) = path.parent.glob(".render-*.part")
    return half


def age(path: Path, hours: float) -> Path:
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))
    return path


def test_what_a_writer_killed_at_the_rename_left_is_cleared_at_once(tmp_path):
    half = killed(tmp_path / "a.png")
    clear_halves(tmp_path)
    assert not half.exists() and not (tmp_path / "a.png").exists()


def test_a_file_that_is_still_being_written_is_left_however_old_it_is(tmp_path):
    process = writer(tmp_path / "a.png", "slow")
    try:
        (half,) = tmp_path.glob(".render-*.part")
        age(half, 1000)
        clear_halves(tmp_path)
        assert half.exists()
    finally:
        process.kill()
        process.wait()
    clear_halves(tmp_path)
    assert not half.exists()


def test_only_names_that_render_gives_are_cleared(tmp_path):
    mine = [
        tmp_path / name
        for name in (
            "film.part",
            ".film.part",
            ".render-notes.part",
            f".render-{'0' * 31}.part",
            f".render-{'0' * 32}.part.png",
            f"{'0' * 32}.part",
            f".{'z' * 32}.part",
        )
    ]
    for path in mine:
        path.write_bytes(b"a download of the user's")
        age(path, 1000)
    (tmp_path / f".render-{'1' * 32}.part").mkdir()
    (tmp_path / f".render-{'2' * 32}.part").symlink_to(tmp_path / "film.part")
    before = sorted(tmp_path.iterdir())
    clear_halves(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("hours", "stays"), [(1, True), (25, False)])
def test_a_file_of_an_earlier_version_which_took_no_lock_is_cleared_after_a_day(tmp_path, hours, stays):
    half = tmp_path / f".{'0a' * 16}.part"
    half.write_bytes(b"half")
    age(half, hours)
    clear_halves(tmp_path)
    assert half.exists() == stays


def test_a_folder_that_is_not_there_has_nothing_to_clear(tmp_path):
    clear_halves(tmp_path / "gone")


def test_a_file_cleared_before_it_could_be_locked_is_begun_anew(tmp_path, monkeypatch):
    """The two calls that make and lock a half-written file leave a moment to another process."""
    lock, seen = files._lock, []

    def too_late(file, *, wait):
        if not seen:
            seen.append(Path(file.name))
            seen[0].unlink()
        return lock(file, wait=wait)

    monkeypatch.setattr(files, "_lock", too_late)
    files.write_bytes(tmp_path / "a.png", b"all of it")
    assert seen and (tmp_path / "a.png").read_bytes() == b"all of it" and len(list(tmp_path.iterdir())) == 1
