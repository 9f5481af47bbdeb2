"""What the demo chooses for machines of different speeds, without rendering."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from render.jobs.styles import find_styles
from render.pictures import images
from scripts import demo_plan
from scripts.demo_plan import BUDGET_S, LIMIT_S, OVERHEAD, PHOTOS, Choice, choose

ROOT = Path(__file__).parents[2]
SMALLEST = Choice(192, ("coffee.png",))


@pytest.mark.parametrize(
    ("seconds_per_megapixel_iteration", "choice"),
    [
        (0.01, Choice(512, ("coffee.png", "rocket.jpg", "astronaut.png"))),  # a GPU
        (1.5, Choice(288, ("coffee.png", "rocket.jpg", "astronaut.png"))),
        (2.8, Choice(384, ("coffee.png",))),  # two idle cores with AMX
        (8.0, Choice(256, ("coffee.png",))),
        (10.9, Choice(224, ("coffee.png",))),  # two idle cores with AVX2 alone
        (15.0, SMALLEST),
        (1000.0, SMALLEST),
    ],
)
def test_a_faster_machine_gets_larger_and_more_pictures(seconds_per_megapixel_iteration, choice):
    assert choose(seconds_per_megapixel_iteration) == choice


@pytest.mark.parametrize("seconds_per_megapixel_iteration", [0.01 * 1.3**i for i in range(30)])
def test_what_is_chosen_fits_into_the_budget_or_is_the_smallest(seconds_per_megapixel_iteration):
    choice = choose(seconds_per_megapixel_iteration)
    assert choice == SMALLEST or choice.seconds(seconds_per_megapixel_iteration) <= BUDGET_S < LIMIT_S
    assert choice.size_px >= 192 and choice.photos


def test_a_slower_machine_never_gets_more_to_do():
    work = [choose(0.05 * 1.1**i).seconds(1.0) for i in range(80)]
    assert work == sorted(work, reverse=True)
    assert len(set(work)) == len(demo_plan.LADDER)


def test_all_twelve_shipped_styles_take_part():
    assert len(find_styles([str(ROOT / "presets" / "paintings")])) == demo_plan.STYLES
    assert choose(1e6).pictures == demo_plan.STYLES


def test_the_sizes_of_the_sample_photographs_are_those_of_the_files(tmp_path):
    subprocess.run([sys.executable, ROOT / "scripts" / "sample_photos.py", tmp_path], check=True)
    assert {path.name: images.read(path).pixels.shape[:2] for path in tmp_path.iterdir()} == dict(PHOTOS)


def test_the_first_photograph_is_the_cheapest():
    work = [demo_plan.megapixel_iterations(size, 288) for size in PHOTOS.values()]
    assert work[0] == min(work)


def test_seconds_are_work_times_speed():
    work = 128 * 192 * 36 / 1e6
    assert SMALLEST.seconds(2.0) == pytest.approx(12 * work * 2.0 * OVERHEAD)


def dry_run(seconds: float, others_share: float) -> list[dict]:
    """The records of `render batch --dry-run --json` that are read."""
    scales = [{"size": [100, 200], "iterations": 10}, {"size": [200, 400], "iterations": 5}]
    return [
        {"event": "planned", "scales": scales, "seconds": seconds},
        {"event": "plan", "others_share": others_share},
    ]


def test_the_speed_of_an_idle_machine_is_that_of_the_dry_run():
    assert demo_plan.speed_of(dry_run(6.0, 0.0)) == (pytest.approx(10.0), 0.0)


def test_a_busy_machine_is_as_much_slower_as_others_use_it():
    assert demo_plan.speed_of(dry_run(6.0, 0.75)) == (pytest.approx(40.0), 0.75)
    assert demo_plan.speed_of(dry_run(6.0, 1.0))[0] == pytest.approx(200.0)


def test_a_machine_that_cannot_be_measured_is_reported(tmp_path):
    choice = tmp_path / "choice.json"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo_plan.py", tmp_path / "no-photos", choice],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == "" and not choice.exists()
    assert "no-photos" in done.stderr and "could not be measured" in done.stderr


def test_the_choice_and_its_reason_are_said():
    assert demo_plan.reason(choose(8.0), 8.0, 0.5).splitlines() == [
        "This machine takes about 19 s for a draft of 256 px (other programs use 50% of its processor).",
        "So the demo renders one photograph in 12 styles, 256 px: 12 pictures in about 4 min.",
    ]
    assert "the smallest demo there is" in demo_plan.reason(choose(1000.0), 1000.0, 0.0)


def test_a_rerun_chooses_the_same(tmp_path):
    path = tmp_path / "prints" / "choice.json"
    demo_plan.keep(choose(8.0), path)
    assert demo_plan.kept(path) == choose(8.0)


@pytest.mark.parametrize(
    "text",
    [None, "", "{}", "[]", '{"size_px": "192", "photos": ["coffee.png"]}', '{"size_px": 192, "photos": []}',
     '{"size_px": 192, "photos": ["/etc/passwd"]}', '{"size_px": 192, "photos": 3}'],
)  # fmt: skip
def test_a_choice_that_is_missing_or_damaged_is_made_again(tmp_path, text):
    path = tmp_path / "choice.json"
    if text is not None:
        path.write_text(text)
    assert demo_plan.kept(path) is None


def test_a_rerun_measures_nothing_and_prints_the_size_and_the_photographs(tmp_path):
    path = tmp_path / "choice.json"
    path.write_text(json.dumps({"size_px": 224, "photos": ["coffee.png", "rocket.jpg"]}))
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo_plan.py", tmp_path / "no-photos", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        "224", str(tmp_path / "no-photos" / "coffee.png"), str(tmp_path / "no-photos" / "rocket.jpg")
    ]  # fmt: skip
    assert "as an earlier run chose" in done.stderr
