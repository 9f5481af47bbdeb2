"""The settings of a batch: identities, ranges, and errors in the user's own terms."""

import json
import pickle
from typing import get_args

import pytest
from pydantic import ValidationError

from render.jobs.fields import describe
from render.jobs.job import finished_id, make_job
from render.jobs.look import Look
from render.jobs.schedule import QUALITIES
from render.jobs.settings import FINISHING, Settings, as_keyword, as_option, option_of, usage_error
from render.jobs.styles import Style, StylePicture
from render.pictures import color, icc
from render.pictures.paper import FITS
from render.pictures.print_file import FORMATS

# (settings, Job.painting_id, Job.id), computed when Settings was still a dataclass: prints and ledgers made
# since then hold these ids, and another id would render them all again.
KNOWN_IDS = [
    ({}, "64f643e57a329be2eb8b", "16ef94b3bc5d360d5a5a"),
    (
        {
            "size_px": 3072,
            "seed": 7,
            "quality": "best",
            "format": "tiff",
            "bit_depth": 16,
            "profile": "adobe-rgb",
            "intent": "perceptual",
        },
        "4b734efae1800774aa01",
        "9a5002688baa6e7a3f7f",
    ),
    (
        {
            "paper": "60x90cm",
            "dpi": 240.0,
            "bleed_mm": 3.175,
            "fit": "fill",
            "color": "match",
            "precision": "bfloat16",
        },
        "bbbf539cb2ba88a187c8",
        "0c736aba869aee08f617",
    ),
    (
        {
            "photoreal": 0.03,
            "color": "histogram",
            "soft_proof": "display-p3",
            "weights": "torchvision",
            "preprocessing": "torchvision",
            "seed": -3,
        },
        "7482bc647bcfb9438a3e",
        "eef3fa5b807189e244d8",
    ),
]
# The recipe of a print of that time, as its JSON says it.
OLD_RECIPE = (
    '{"size_px": 1024, "paper": "60x90cm", "dpi": 240.0, "bleed_mm": 3.175, "fit": "fill", '
    '"quality": "standard", "seed": 0, "color": "match", "photoreal": null, "format": "png", "bit_depth": 8, '
    '"profile": "srgb", "intent": "relative", "soft_proof": null, "weights": "caffe", "preprocessing": null, '
    '"precision": "bfloat16"}'
)


def job_of(folder, settings: Settings):
    photo, painting = folder / "photo.png", folder / "painting.png"
    photo.write_bytes(b"a photograph")
    painting.write_bytes(b"a painting")
    style = Style("x", "x", "", "", "", (StylePicture(painting),), painting)
    return make_job(photo, style, Look(), settings, folder / "p.png", weights_sha256="c34748d2")


@pytest.mark.parametrize(("settings", "painted", "id"), KNOWN_IDS)
def test_the_same_settings_give_the_same_ids_as_ever(tmp_path, settings, painted, id):
    job = job_of(tmp_path, Settings(**settings))
    assert (job.painting_id, job.id) == (painted, id)
    assert finished_id(painted, Settings(**settings)) == id


def test_the_recipe_of_an_old_print_is_read_and_would_be_written_the_same():
    settings = Settings(**json.loads(OLD_RECIPE))
    assert settings == Settings(**KNOWN_IDS[2][0])
    assert json.dumps(settings.model_dump()) == OLD_RECIPE


def test_a_whole_number_where_a_fraction_is_meant_makes_no_other_job(tmp_path):
    whole, fraction = (job_of(tmp_path, Settings(dpi=dpi)) for dpi in (240, 240.0))
    assert whole.id == fraction.id


def test_settings_travel_to_another_process_and_through_json():
    settings = Settings(paper="A4", bleed_mm=3.0, color="match")
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Settings(**json.loads(json.dumps(settings.model_dump()))) == settings


def test_settings_are_frozen_and_can_be_keys():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().seed = 1
    assert len({Settings(), Settings(seed=0), Settings(seed=1)}) == 2


def test_a_copy_with_a_change_leaves_the_original_alone():
    settings = Settings(seed=3)
    changed = settings.model_copy(update={"color": "match"})
    assert (changed.color, changed.seed, settings.color) == ("match", 3, "style")


def test_every_setting_is_described_and_its_default_is_in_its_range():
    for field in describe(Settings):
        assert field.description.endswith(".") and field.range, field.key
        assert Settings(**{field.key: field.default}) == Settings()


def test_what_finishing_changes_are_settings():
    assert set(FINISHING) < set(Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("quality", QUALITIES),
        ("fit", FITS),
        ("format", FORMATS),
        ("color", color.MODES),
        ("intent", icc.INTENTS),
    ],
)
def test_the_choices_are_those_that_are_implemented(name, known):
    assert set(get_args(Settings.model_fields[name].annotation)) == set(known)


# --- errors -------------------------------------------------------------------------------------------------


def refused(named, **settings) -> str:
    with pytest.raises(ValidationError) as error:
        Settings(**settings)
    return str(usage_error(error.value, named))


@pytest.mark.parametrize(
    ("settings", "option", "keyword"),
    [
        (
            {"size_px": 0},
            "--size 0: must be 1 or more. The nearest is --size 1.",
            "size_px=0: must be 1 or more. The nearest is size_px=1.",
        ),
        (
            {"dpi": 9600.0},
            "--dpi 9600: must be 10 to 2400. The nearest is --dpi 2400.",
            "dpi=9600.0: must be 10 to 2400. The nearest is dpi=2400.0.",
        ),
        ({"dpi": float("nan")}, "--dpi nan: must be 10 to 2400.", "dpi=nan: must be 10 to 2400."),
        (
            {"size_px": "10cm"},
            "--size 10cm: must be a whole number.",
            "size_px='10cm': must be a whole number.",
        ),
        (
            {"quality": "draught"},
            "--quality draught: must be one of draft | standard | best. Did you mean 'draft'?",
            "quality='draught': must be one of draft | standard | best. Did you mean 'draft'?",
        ),
        ({"bit_depth": 12}, "--bit-depth 12: must be one of 8 | 16.", "bit_depth=12: must be one of 8 | 16."),
        (
            {"seed": 2**64},
            "--seed 18446744073709551616: must be a whole number of 64 bits. "
            "The nearest is --seed 18446744073709551615.",
            "seed=18446744073709551616: must be a whole number of 64 bits. "
            "The nearest is seed=18446744073709551615.",
        ),
        (
            {"paper": "60 x 90"},
            "--print 60 x 90: mm, cm or inches? Write --print 60x90cm, or another unit.",
            "paper='60 x 90': mm, cm or inches? Write paper='60x90cm', or another unit.",
        ),
        (
            {"bleed_mm": 3},
            "--bleed 3mm: there is no paper to cut. Say which: --print A4, or leave it out.",
            "bleed_mm=3.0: there is no paper to cut. Say which: paper='A4', or leave it out.",
        ),
        (
            {"paper": "A4", "bleed_mm": 900.0},
            "--bleed 900mm: must be 0 to the short side of the paper, 210mm (A4). "
            "Printers ask for --bleed 3mm.",
            "bleed_mm=900.0: must be 0 to the short side of the paper, 210mm (A4). "
            "Printers ask for bleed_mm=3.0.",
        ),
        (
            {"size_px": 0, "fit": "stretch"},
            "--size 0: must be 1 or more. --fit stretch: must be one of fit | fill | pad.",
            "size_px=0: must be 1 or more. fit='stretch': must be one of fit | fill | pad.",
        ),
    ],
)
def test_a_wrong_value_is_refused_as_the_user_wrote_it_with_what_is_allowed(settings, option, keyword):
    assert refused(as_option, **settings) == option
    assert refused(as_keyword, **settings) == keyword


def test_the_caller_may_have_names_of_its_own():
    names = {"size_px": "size", "paper": "paper", "bleed_mm": "bleed"}

    def named(name: str, value: object) -> str:
        return f"{names[name]}={value!r}"

    assert refused(named, size_px=0) == "size=0: must be 1 or more. The nearest is size=1."
    assert refused(named, paper="A99").startswith("paper='A99': is no paper known here.")


def test_an_unknown_name_is_answered_with_the_nearest_or_with_all():
    assert refused(as_keyword, sise_px=3) == "unknown key 'sise_px'. Did you mean 'size_px'?"
    assert "Known keys: size_px, paper, dpi," in refused(as_keyword, xyzzy=3)


def test_many_problems_and_long_values_make_one_short_message():
    message = refused(as_option, **{f"k{i}": 1 for i in range(100)}, quality="x" * 10_000)
    assert len(message) < 3_000 and message.endswith("And 96 more.")


def test_options_are_named_after_the_fields_but_for_those_that_people_know_otherwise():
    assert [option_of(name) for name in ("size_px", "paper", "bleed_mm", "bit_depth")] == [
        "--size",
        "--print",
        "--bleed",
        "--bit-depth",
    ]
