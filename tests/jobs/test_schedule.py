"""The scales of a job: plain numbers, no pixels."""

import random
import re
from types import SimpleNamespace

import pytest

from render.errors import PictureError
from render.jobs.schedule import FEWEST_ITERATIONS, QUALITIES, SHORTEST_SIDE_PX, long_sides, plan_scales
from render.jobs.settings import Settings
from render.jobs.styles import Look
from render.painting.renderer import plan


@pytest.mark.parametrize("size_px", [1, 64, 255, 256, 257, 320, 321, 512, 1000, 1024, 4096, 12345])
def test_scales_double_and_end_at_exactly_the_size_asked_for(size_px):
    *earlier, last = long_sides(size_px)
    assert last == size_px
    assert all(larger == 2 * smaller for smaller, larger in zip(earlier, earlier[1:]))
    assert all(
        last > 1.25 * side for side in earlier[-1:]
    )  # a last step too small to matter is not a scale of its own


def test_the_scales_of_well_known_sizes():
    assert long_sides(64) == (64,)
    assert long_sides(256) == (256,)
    assert long_sides(320) == (320,)
    assert long_sides(336) == (256, 336)
    assert long_sides(1024) == (256, 512, 1024)
    assert long_sides(3000) == (256, 512, 1024, 2048, 3000)


@pytest.mark.parametrize("photo_size", [(3000, 4000), (4000, 3000), (777, 777), (48, 64), (211, 1999)])
def test_every_scale_has_the_photographs_proportions_and_the_long_side_of_its_step(photo_size):
    for scale, side in zip(plan_scales(photo_size, 2048), long_sides(2048), strict=True):
        assert max(scale.size) == side
        ideal = min(photo_size) * side / max(photo_size)
        assert abs(min(scale.size) - ideal) <= 0.5
        assert (scale.size[0] > scale.size[1]) == (photo_size[0] > photo_size[1])
        assert scale.pixels == scale.size[0] * scale.size[1]


def test_the_style_pictures_grow_with_the_print_so_that_strokes_keep_their_proportion():
    plain, broad = plan_scales((300, 400), 2048), plan_scales((300, 400), 2048, style_scale=1.5)
    assert [scale.style_long_side_px for scale in plain] == [256, 512, 1024, 2048]
    assert [scale.style_long_side_px for scale in broad] == [384, 768, 1536, 3072]


def test_a_style_picture_never_gets_smaller_than_the_network_can_see():
    (scale,) = plan_scales((48, 64), 64, style_scale=0.1)
    assert scale.style_long_side_px >= 2 * SHORTEST_SIDE_PX


@pytest.mark.parametrize("quality", QUALITIES)
def test_finer_scales_get_fewer_iterations_but_never_too_few(quality):
    iterations = [scale.iterations for scale in plan_scales((3, 4), 8192, quality=quality)]
    assert iterations == sorted(iterations, reverse=True)
    assert iterations[0] == QUALITIES[quality][0]
    assert min(iterations) >= FEWEST_ITERATIONS


def test_a_better_quality_has_more_iterations_at_every_scale():
    draft, standard, best = (
        plan_scales((3, 4), 1024, quality=quality) for quality in ("draft", "standard", "best")
    )
    assert (
        [scale.size for scale in draft]
        == [scale.size for scale in standard]
        == [scale.size for scale in best]
    )
    assert all(d.iterations < s.iterations < b.iterations for d, s, b in zip(draft, standard, best))


def test_an_unknown_quality_is_refused():
    with pytest.raises(KeyError, match="superb"):
        plan_scales((3, 4), 256, quality="superb")


def test_a_narrow_photograph_starts_at_the_first_scale_that_the_network_can_see():
    scales = plan_scales((100, 3000), 1024)  # at 256 px its short side would have 9 px
    assert [max(scale.size) for scale in scales] == [512, 1024]
    assert min(scales[0].size) >= SHORTEST_SIDE_PX
    assert scales[0].iterations == QUALITIES["standard"][0]  # its first scale is a first scale


def test_a_photograph_too_narrow_for_the_print_is_refused_with_a_size_that_works():
    with pytest.raises(
        PictureError, match=r"4000x40 px is too narrow .*Crop it, or use --size (\d+)"
    ) as error:
        plan_scales((40, 4000), 1024)
    needed = int(str(error.value).rstrip(".").split()[-1])
    assert min(plan_scales((40, 4000), needed)[-1].size) >= SHORTEST_SIDE_PX
    with pytest.raises(PictureError):
        plan_scales((40, 4000), needed - 100)


def planned(photo_size: tuple[int, int], **settings):
    """As the program plans a photograph, which is laid out first."""
    settings = Settings(**settings)
    return plan(SimpleNamespace(settings=settings, look=Look()), settings.layout(photo_size))


def test_whatever_size_is_advised_is_accepted():
    draw = random.Random(0)
    sides = [(16, 16), (48, 64), (16, 20_000), (20_000, 16), (17, 1_000), (333, 1_000)]
    sides += [(draw.randint(16, 9_000), draw.randint(16, 9_000)) for _ in range(300)]
    refused = 0
    for photo_size in sides:
        for size_px in (1, 2, 15, 16, 17, draw.randint(1, 300)):
            try:
                planned(photo_size, size_px=size_px)
            except PictureError as error:
                refused += 1
                advised = int(re.search(r"--size (\d+)\.$", str(error))[1])
                assert advised > size_px and planned(photo_size, size_px=advised)
    assert refused > 1_000


def test_on_a_paper_that_is_too_small_the_advice_is_a_paper_or_its_dpi():
    with pytest.raises(PictureError, match="use a larger --print or more --dpi"):
        planned((48, 640), paper="A6", dpi=10.0)
    assert planned((48, 640), paper="A6", dpi=300.0)


def test_the_same_question_has_the_same_answer():
    assert plan_scales((300, 400), 1024) == plan_scales((300, 400), 1024)
    assert plan_scales((300, 400), 1024) != plan_scales((300, 400), 1025)


def test_block_5_is_left_out_above_1024_px_but_not_by_best():
    for quality, deep in (("draft", False), ("standard", False), ("best", True)):
        scales = plan_scales((1500, 2000), 3072, quality=quality)
        assert [scale.deep for scale in scales] == [True, True, True, deep, deep]
