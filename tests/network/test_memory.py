"""Memory plans: never over the budget, the best that fits, and a number that works when nothing does."""

from dataclasses import replace
from itertools import product

import pytest

from render.errors import UsageError
from render.network.memory import (
    LONGEST_HISTORY,
    SHORTEST_HISTORY,
    TILES_PX,
    Budget,
    Scene,
    gibibytes,
    parse_bytes,
    plan_memory,
    smallest_bytes,
)
from render.network.tiling import plan_tiles

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1", "relu4_2")
GIB = 2**30


def scene(width, *, iterations=12, **changes) -> Scene:
    return replace(Scene((width * 3 // 4, width), LAYERS, ("relu4_2",), 2, "lbfgs", iterations), **changes)


# Planning 20 000 px takes a second or two: three corners of it are enough.
PLANNED = [
    *product((256, 1024, 1500, 3072, 8192), (0.8, 2, 4, 8, 32, 200), ("lbfgs", "adam", "sgd")),
    *((20_000, 0.8, "adam"), (20_000, 4, "lbfgs"), (20_000, 200, "sgd")),
]


@pytest.mark.parametrize(("width", "gib", "optimiser"), PLANNED)
def test_a_plan_stays_within_its_budget_or_says_what_would_work(width, gib, optimiser):
    asked = scene(width, optimiser=optimiser)
    try:
        plan = plan_memory(asked, Budget(int(gib * GIB)))
    except UsageError as error:
        needed = parse_bytes(str(error).split("--memory ")[1].split(" or more")[0])
        assert needed > gib * GIB
        assert plan_memory(asked, Budget(needed)).peak_bytes <= needed
        with pytest.raises(UsageError):
            plan_memory(asked, Budget(int(0.97 * smallest_bytes(asked))))
    else:
        assert plan.peak_bytes <= gib * GIB
        assert plan.tiles == len(plan_tiles(asked.size, LAYERS, plan.tile_px)) and plan.tile_px in TILES_PX


def test_a_picture_of_one_tile_is_kept_and_run_once():
    plan = plan_memory(scene(1024), Budget(4 * GIB))
    assert (plan.tiles, plan.kept, plan.optimiser, plan.history) == (1, 1, "lbfgs", 11)


def test_more_memory_keeps_more_tiles_and_changes_nothing_that_changes_pixels():
    plans = [plan_memory(scene(3072), Budget(gib * GIB)) for gib in (4, 8, 16, 64)]
    assert [plan.kept for plan in plans] == sorted(plan.kept for plan in plans) and plans[0].kept < plans[
        -1
    ].kept == 9
    assert len({(plan.tile_px, plan.optimiser, plan.history) for plan in plans}) == 1


def test_less_memory_takes_first_the_history_then_the_tile_then_adam():
    plans = [plan_memory(scene(4096, iterations=40), Budget(int(gib * GIB))) for gib in (16, 5, 3.2, 2)]
    assert plans[0].history == LONGEST_HISTORY and plans[0].tile_px == 1024
    assert SHORTEST_HISTORY <= plans[1].history < LONGEST_HISTORY and plans[1].tile_px == 1024
    assert plans[2].tile_px < 1024 and plans[2].optimiser == "lbfgs"
    assert plans[3].optimiser == "adam" and plans[3].history == 0


def test_no_more_history_is_planned_than_there_are_steps():
    assert plan_memory(scene(512, iterations=3), Budget(4 * GIB)).history == 2
    assert plan_memory(scene(512, iterations=1), Budget(4 * GIB)).history == 1


def test_a_gpu_too_small_for_the_image_leaves_it_in_the_hosts_memory():
    large = scene(10_000)
    assert plan_memory(large, Budget(64 * GIB, 64 * GIB)).at_home
    plan = plan_memory(large, Budget(8 * GIB, 64 * GIB))
    assert not plan.at_home and plan.peak_bytes <= 8 * GIB and plan.tile_px == 1024
    with pytest.raises(UsageError):
        plan_memory(large, Budget(4 * GIB, 4 * GIB))


def test_running_out_halves_the_tile_down_to_the_smallest():
    plan = plan_memory(scene(3072), Budget(16 * GIB))
    seen = []
    while (smaller := plan.halved()) is not None:
        assert smaller.kept == 0 and smaller.tile_px <= plan.tile_px
        assert (smaller.optimiser, smaller.history) == (plan.optimiser, plan.history)
        plan = smaller
        seen.append(plan.tile_px)
    assert seen == [512, 256, 128]


def test_workers_share_the_budget():
    assert Budget(8 * GIB, 16 * GIB).part(1 / 4) == Budget(2 * GIB, 4 * GIB)
    assert Budget(8 * GIB).part(1 / 2) == Budget(4 * GIB)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("6GiB", 6 * GIB),
        ("6.5 GB", 6_500_000_000),
        ("800mb", 800_000_000),
        ("2G", 2 * GIB),
        ("1,5GiB", int(1.5 * GIB)),
        ("4000000000", 4_000_000_000),
    ],
)
def test_amounts_of_memory_are_read(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "lots", "6", "GiB", "-2GiB", "6 parsecs", "6GiB more"])
def test_words_that_are_no_amount_are_refused_with_an_example(text):
    with pytest.raises(UsageError, match="--memory .*6GiB"):
        parse_bytes(text)


def test_an_amount_that_is_printed_can_be_typed():
    assert parse_bytes(gibibytes(5.43 * GIB, up=True)) >= 5.43 * GIB
    assert gibibytes(5.43 * GIB, up=True) == "5.5GiB" and gibibytes(5.43 * GIB) == "5.4GiB"
