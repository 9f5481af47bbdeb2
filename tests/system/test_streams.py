"""Logs that cannot be written: full disks and readers that go away, at the real program."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.pictures import save_painting, save_photo
from helpers.program import CHEAP_BATCH, PROGRAM
from render.system import streams

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


@pytest.fixture
def two_photos(tmp_path) -> Path:
    for seed, name in enumerate("ab"):
        save_photo(tmp_path / "photos" / f"{name}.png", seed=seed)
    save_painting(tmp_path / "x.png")
    return tmp_path


def run_in_shell(words, redirections: str, cwd: Path) -> subprocess.CompletedProcess:
    shell = ("sh", "-c", f'"$@" {redirections}', "sh")
    return subprocess.run([*shell, *PROGRAM, *words], cwd=cwd, capture_output=True, text=True, timeout=300)


BATCH = (*CHEAP_BATCH, "--size", "32")


def prints_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "prints").glob("*.png"))


@needs_full
def test_a_log_on_a_full_disk_stops_no_print_and_is_reported_on_the_other_stream(two_photos):
    done = run_in_shell(BATCH, "2>/dev/full", two_photos)
    assert (done.returncode, prints_of(two_photos)) == (1, ["a--x.png", "b--x.png"])
    assert done.stdout.count("\n") == 1
    assert "standard error could not be written (No space left on device)" in done.stdout


@needs_full
def test_json_on_a_full_disk_stops_no_print_and_is_reported_in_one_line(two_photos):
    done = run_in_shell((*BATCH, "--json", "--notify", "cat > told.json"), ">/dev/full", two_photos)
    assert (done.returncode, prints_of(two_photos)) == (1, ["a--x.png", "b--x.png"])
    assert done.stderr.count("standard output could not be written (No space left on device)") == 1
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert "2 done" in done.stderr
    assert json.loads((two_photos / "told.json").read_text())["exit_status"] == 1


@needs_full
def test_json_stays_json_when_the_log_is_lost(two_photos):
    done = run_in_shell((*BATCH, "--json"), "2>/dev/full", two_photos)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and [record["event"] for record in records][-2:] == ["summary", "lost"]


@needs_full
def test_with_both_lost_the_prints_are_made_and_the_status_tells(two_photos):
    done = run_in_shell((*BATCH, "--json"), ">/dev/full 2>&1", two_photos)
    assert (done.returncode, prints_of(two_photos)) == (1, ["a--x.png", "b--x.png"])


def test_a_reader_that_goes_away_stops_no_print(two_photos):
    done = run_in_shell((*BATCH, "--json"), "| head -n 1 >/dev/null", two_photos)
    assert prints_of(two_photos) == ["a--x.png", "b--x.png"]
    assert "standard output could not be written (Broken pipe)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stream_that_was_closed_from_the_start_is_nothing_lost_and_gets_into_no_file(two_photos):
    done = run_in_shell((*BATCH, "--json"), "2>&-", two_photos)
    assert (done.returncode, prints_of(two_photos)) == (0, ["a--x.png", "b--x.png"])
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-1] == "summary"


def test_a_list_ends_with_its_reader_in_silence(tmp_path):
    done = run_in_shell(("presets", "keys"), "| true", tmp_path)
    assert done.stderr == ""


@needs_full
def test_a_list_on_a_full_disk_is_reported_without_a_traceback(tmp_path):
    done = run_in_shell(("presets", "keys"), ">/dev/full", tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


def test_the_first_failure_is_remembered_and_nothing_is_tried_after_it(monkeypatch):
    class Broken(io.StringIO):
        tries = 0

        def write(self, text):
            self.tries += 1
            raise OSError(5, "Input/output error")

    broken = Broken()
    monkeypatch.setattr(sys, "stderr", broken)
    with streams.guarded():
        for _ in range(3):
            print("a line", file=sys.stderr)
        assert [stream.failure.errno for stream in streams.lost()] == [5]
        assert (streams.verdict(0), streams.verdict(130)) == (1, 130)
    assert broken.tries == 1 and sys.stderr is broken


def test_a_name_that_the_terminal_cannot_show_stops_nothing(tmp_path):
    code = (
        "import sys; from render.system import streams\nwith streams.guarded(): print('caf\\u00e9 \\udcff')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout) == (0, "caf\\xe9 \\udcff\n")
