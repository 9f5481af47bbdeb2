"""The keywords of the Python API: their names are those of looks and settings, and wrong ones are refused by
name, range and nearest name."""

import inspect
import typing

import numpy as np
import pytest

from render.api import options
from render.errors import ArgumentError, ArgumentTypeError, PictureError, UsageError
from render.jobs.look import Look
from render.jobs.settings import Settings


def names_of_settings() -> set[str]:
    return set(inspect.signature(Settings).parameters)


def test_the_keywords_are_the_keys_of_looks_and_settings():
    assert tuple(Look.model_fields) == options.LOOK
    own = {"size_px" if name == "size" else name for name in options.BATCH} - set(options.LOOK)
    assert own | {"weights", "preprocessing", "precision"} == names_of_settings()


def test_the_types_that_editors_show_are_those_of_a_look():
    hints = typing.get_type_hints(options.LookOptions)
    for name, field in Look.model_fields.items():
        if typing.get_origin(field.annotation) is typing.Literal or field.annotation is float:
            assert hints[name] == field.annotation, name


def test_no_keyword_is_a_default_look_and_default_settings():
    assert options.settings_of({}) == Settings() and options.look_of({}, {}) == Look()


def test_given_keywords_go_where_they_belong_and_change_a_preset():
    given = {"size": 640, "quality": "best", "seed": 3, "content_weight": 0.3, "photoreal": None}
    settings, look = (
        options.settings_of(given),
        options.look_of({"style_scale": 2.0, "content_weight": 1}, given),
    )
    assert settings == Settings(size_px=640, quality="best", seed=3)
    assert look == Look(style_scale=2.0, content_weight=0.3)


def test_numbers_of_numpys_count_as_numbers():
    given = {"size": np.int64(640), "dpi": np.float32(240), "content_weight": np.float32(0.5)}
    given["style_layers"] = {"relu1_1": np.float64(2)}
    assert options.settings_of(given) == Settings(size_px=640, dpi=240)
    assert options.look_of({}, given) == Look(content_weight=0.5, style_layers={"relu1_1": 2.0})


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"size": 0}, ArgumentError, "size=0: must be 1 or more. The nearest is size=1."),
        ({"size": 64.0}, ArgumentTypeError, "size=64.0: must be a whole number."),
        ({"size": True}, ArgumentTypeError, "size=True: must be"),
        ({"size": None}, ArgumentTypeError, "size=None: must be"),
        ({"size": 64, "paper": "A4"}, ArgumentError, "size and paper contradict each other"),
        ({"paper": 4}, ArgumentTypeError, "paper=4: must be a text"),
        ({"paper": "A44"}, ArgumentError, "paper='A44': is no paper known here. Did you mean 'A4'?"),
        ({"dpi": 5}, ArgumentError, "dpi=5: must be 10 to 2400."),
        ({"dpi": float("nan")}, ArgumentError, "dpi=nan: must be 10 to 2400."),
        ({"bleed_mm": -1}, ArgumentError, "bleed_mm=-1: must be 0 to"),
        ({"bleed_mm": 3}, ArgumentError, "bleed_mm=3.0: there is no paper to cut. Say which: paper='A4'"),
        (
            {"fit": "fil"},
            ArgumentError,
            "fit='fil': must be one of fit | fill | pad. Did you mean 'fill'?",
        ),
        ({"fit": "pad"}, ArgumentError, "fit='pad': there is no paper to pad"),
        (
            {"quality": "drfat"},
            ArgumentError,
            "must be one of draft | standard | best. Did you mean 'draft'?",
        ),
        ({"seed": "7"}, ArgumentTypeError, "seed='7': must be a whole number."),
        (
            {"color": "lum"},
            ArgumentError,
            "color='lum': must be one of style | luminance | match | histogram",
        ),
        ({"color": ["style"]}, ArgumentTypeError, "color=['style']: must be one of"),
        ({"photoreal": 11}, ArgumentError, "photoreal=11: must be 0 to 10."),
        ({"photoreal": True}, ArgumentTypeError, "photoreal=True: must be a number."),
        ({"format": "gif"}, ArgumentError, "format='gif': must be one of png"),
        ({"bit_depth": 12}, ArgumentError, "bit_depth=12: must be one of 8 | 16."),
        ({"profile": "srbg"}, ArgumentError, "profile is 'srbg': no such file and not one of"),
        ({"profile": 1}, ArgumentTypeError, "profile is 1 and must be a name or a path."),
        ({"intent": "relativ"}, ArgumentError, "Did you mean 'relative'?"),
        ({"soft_proof": "gone.icc"}, ArgumentError, "soft_proof is 'gone.icc': no such file."),
    ],
)
def test_a_wrong_setting_is_refused_by_name_and_range(given, kind, said):
    with pytest.raises(kind) as caught, options.named_as_arguments():
        options.settings_of(given)
    assert said in str(caught.value) and isinstance(caught.value, UsageError)
    assert isinstance(caught.value, TypeError if kind is ArgumentTypeError else ValueError)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"content_weight": -1}, "content_weight is -1 and must be 0 or more."),
        ({"content_weight": float("nan")}, "content_weight is nan and must be"),
        ({"content_weight": "0.3"}, "content_weight is '0.3' and must be a number."),
        ({"style_scale": 9}, "style_scale is 9 and must be 0.1 to 4."),
        ({"pooling": "avrage"}, "must be one of max | average. Did you mean 'average'?"),
        ({"style_layers": {"relu9_1": 1.0}}, "'relu9_1' is not a layer of VGG-19."),
    ],
)
def test_a_wrong_key_of_a_look_is_refused_by_name_and_range(given, said):
    with pytest.raises(ArgumentError) as caught:
        options.look_of({}, given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("contentweight", "unknown keyword 'contentweight'. Did you mean 'content_weight'?"),
        ("size_px", "unknown keyword 'size_px'. Did you mean 'size'?"),
        ("profile", "unknown keyword 'profile'. It belongs to the file: art.save('print.tif', profile=...)."),
        ("memory", "unknown keyword 'memory'. It belongs to the painter: render.Painter(memory=...)."),
        ("xyzzy", "unknown keyword 'xyzzy'. Known: style_loss, style_layers,"),
    ],
)
def test_an_unknown_keyword_is_refused_with_what_may_have_been_meant(name, said):
    with pytest.raises(TypeError) as caught:
        options.check_names({"size": 1, name: 1}, options.PAINT)
    assert said in str(caught.value) and isinstance(caught.value, ArgumentTypeError)


def test_some_settings_change_and_the_others_stay():
    settings = options.settings_of({"paper": "A4", "seed": 5})
    assert settings.model_copy(update={"bit_depth": 16}) == Settings(paper="A4", seed=5, bit_depth=16)


def test_errors_name_arguments_and_leave_names_of_files_alone():
    assert options.as_arguments("use --size 64, or --bit-depth 16") == "use size 64, or bit_depth 16"
    assert options.as_arguments("rome--night.png: is there") == "rome--night.png: is there"
    with pytest.raises(PictureError, match="^a--b.png: use size$") as caught, options.named_as_arguments():
        raise PictureError("a--b.png: use --size")
    assert type(caught.value) is PictureError
