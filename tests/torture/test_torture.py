"""A slice of the torture campaign (scripts/torture), seeded: damaged files of every format, and its own
eyes."""

import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from render.errors import UsageError
from scripts.torture import mutate
from scripts.torture.formats import FORMATS, Format

NAMES = [kind.name for kind in FORMATS]
# The campaign has a clock of its own, of the kind that pytest-timeout would use.
pytestmark = pytest.mark.timeout(method="thread")


def reading(read) -> Format:
    return Format("test", ".bin", lambda folder: [], read)


@pytest.mark.parametrize("kind", FORMATS, ids=NAMES)
def test_whole_files_are_read_and_damaged_ones_are_read_or_refused_by_name(tmp_path, kind):
    (tmp_path / "checked").mkdir()
    mutate.check_whole(kind, tmp_path / "checked")
    tally = mutate.torture(kind, range(25), 1, tmp_path, until=time.monotonic() + 5)
    assert tally.broken == [] and tally.cases >= 5
    assert tally.refused > 0


def refuse(path):
    raise UsageError(f"{path}: no")


def refuse_without_a_name(path):
    raise UsageError("no")


def warn(path):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("odd")


@pytest.mark.parametrize(
    ("read", "verdict"),
    [
        (lambda path: None, "accepted"),
        (lambda path: False, "refused"),
        (refuse, "refused"),
        (refuse_without_a_name, "broken"),
        (lambda path: 1 / 0, "broken"),
        (lambda path: sys.exit(3), "broken"),
        (lambda path: time.sleep(9), "broken"),
        (lambda path: sys.stderr.write("odd\n"), "unnamed"),
        (lambda path: sys.stderr.write(f"{path}: odd\n"), "accepted"),
    ],
)
def test_the_campaign_sees_each_kind_of_failure(tmp_path, monkeypatch, read, verdict, capfd):
    monkeypatch.setattr(mutate, "LIMIT_S", 0.5)
    with capfd.disabled():
        assert mutate.judge(reading(read), tmp_path / "a.bin")[0] == verdict


def test_a_case_is_the_same_for_its_seed_and_number_and_differs_from_the_whole_file(tmp_path):
    whole = tmp_path / "whole.bin"
    whole.write_bytes(bytes(range(256)) * 4)
    kind = reading(lambda path: None)
    made = [
        mutate.case_of(kind, [whole], number, seed, tmp_path).read_bytes()
        for seed in (1, 1, 2)
        for number in range(30)
    ]
    assert made[:30] == made[30:60] != made[60:]
    assert whole.read_bytes() not in made and len(set(made)) > 55
    assert mutate.mutated(b"x", random.Random(0)) != b"x"


def test_the_table_counts_what_was_found(capsys, monkeypatch):
    found = {
        "JPEG": mutate.Tally(3, 4, [(1, "x")], [(2, "y"), (3, "z")], 1.26),
        "GIF": mutate.Tally(1, 0, seconds=2),
    }
    lines = mutate.table(found).splitlines()
    assert (
        lines[2] == "| JPEG | 10 | 3 | 4 | 2 | 1 | 1.3 |"
        and lines[-1] == "| all | 11 | 4 | 4 | 2 | 1 | 3.3 |"
    )


@pytest.mark.parametrize("parser", ["preset", "icc"])
def test_the_fuzzer_runs_for_its_time_and_finds_nothing(parser):
    done = subprocess.run(
        [sys.executable, "-m", "scripts.torture.fuzz", "--seconds", "1", "--parser", parser],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {parser} | 1 |" in done.stdout
