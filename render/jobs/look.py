"""The look of a print: every setting that changes what it looks like, with its default, range and meaning,
once."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from render.errors import UsageError, brief
from render.jobs import toml
from render.network.layers import LAYERS
from render.system import files
from render.wording import did_you_mean

MOST_PROBLEMS = 5  # that one message tells


def _check_layers(weights: dict[str, float]) -> dict[str, float]:
    for name, weight in weights.items():
        if name not in LAYERS:
            raise ValueError(f"'{brief(name)}' is not a layer of VGG-19.{did_you_mean(name, LAYERS)}")
        if weight < 0:
            raise ValueError(f"the weight of '{name}' is {weight:g} and must be 0 or more.")
    if not any(weights.values()):
        raise ValueError("at least one layer must have a weight above 0.")
    return weights


def _check_start(start: str) -> str:
    if not start.strip():
        raise ValueError("must be content, noise or a picture.")
    return start


Layers = Annotated[dict[str, float], AfterValidator(_check_layers)]
Start = Annotated[str, AfterValidator(_check_start)]


class Look(BaseModel):
    """How a print looks. Numbers are finite; a text is never taken for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    style_loss: Literal["gram", "gram-mean-std", "wasserstein"] = Field(
        "wasserstein",
        description="What of the painting's features is matched: their Gram matrices (Gatys et al. "
        "2016), those with "
        "their means and deviations (Galerne et al. 2024), or their Gaussians (Wasserstein-2).",
    )
    style_layers: Layers = Field(
        {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.0, "relu4_1": 1.0, "relu5_1": 1.0},
        description="Layers of VGG-19 that carry the style, each with its share of the loss (no unit): "
        "relu1_1 is "
        "brush texture and colour, relu5_1 large shapes.",
        json_schema_extra={"range": "layer = weight, 0 or more, at least one above 0"},
    )
    content_layers: Layers = Field(
        {"relu4_2": 1.0},
        description="Layers of VGG-19 that hold the photograph's content, each with its share of the "
        "loss (no unit).",
        json_schema_extra={"range": "layer = weight, 0 or more, at least one above 0"},
    )
    content_weight: float = Field(
        0.15,
        ge=0,
        description="How firmly the photograph's content is kept (no unit); 0 gives a texture of the style.",
    )
    style_weight: float = Field(
        1.0,
        ge=0,
        description="How strongly the style is applied (no unit); 0 gives back the photograph's content "
        "alone.",
    )
    tv_weight: float = Field(
        0.5,
        ge=0,
        description="Smoothing: the weight of total variation, which removes speckle and, when high, "
        "detail (no unit).",
    )
    tv_form: Literal["l2", "power"] = Field(
        "l2",
        description="Total variation as the sum of squared differences between neighbours (l2), or of a "
        "lower power, "
        "which keeps edges (power).",
    )
    normalisation: Literal["relative", "gatys"] = Field(
        "relative",
        description="Loss units: relative to each target's own size, so that weights mean the same for "
        "every picture "
        "and layer; or as in Gatys et al. 2016.",
    )
    style_scale: float = Field(
        1.0,
        ge=0.1,
        le=4,
        description="Size of the painting relative to the print (a factor): larger gives broader strokes.",
    )
    pooling: Literal["max", "average"] = Field(
        "max",
        description="How VGG-19 halves its maps: max as trained, or average, which is smoother (Gatys et "
        "al. 2016).",
    )
    edge: Literal["continued", "zero"] = Field(
        "continued",
        description="What the network sees beyond the picture: its mirror image for a while (continued), "
        "or nothing at once "
        "(zero, as in Gatys' program), which paints a thin frame.",
    )
    optimiser: Literal["lbfgs", "adam", "sgd"] = Field(
        "lbfgs",
        description="How pixels are improved: lbfgs needs the fewest steps, adam and sgd less memory.",
    )
    init: Start = Field(
        "content",
        description="What the smallest scale starts from: the photograph (content), random pixels "
        "(noise), or a "
        "picture of yours, by its path.",
        json_schema_extra={"range": "content | noise | path of a picture"},
    )

    @model_validator(mode="after")
    def _something_to_do(self) -> "Look":
        if not (self.content_weight or self.style_weight):
            raise ValueError("content_weight and style_weight are both 0: give one of them a value above 0.")
        return self


@dataclass(frozen=True)
class LookKey:
    """One line of the reference that `render presets show --keys` prints."""

    key: str
    default: Any
    range: str
    description: str


def describe_look() -> list[LookKey]:
    return [
        LookKey(key, field.get_default(call_default_factory=True), _range(field), field.description)
        for key, field in Look.model_fields.items()
    ]


def _range(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict):
        return field.json_schema_extra["range"]
    if get_origin(field.annotation) is Literal:
        return " | ".join(get_args(field.annotation))
    bounds = {
        name: getattr(item, name)
        for item in field.metadata
        for name in ("ge", "gt", "le")
        if hasattr(item, name)
    }
    if "le" in bounds:
        return f"{bounds['ge']:g} to {bounds['le']:g}"
    return f"above {bounds['gt']:g}" if "gt" in bounds else f"{bounds['ge']:g} or more"


def apply_settings(look_overrides: Mapping[str, Any], settings: Sequence[str] = ()) -> Look:
    """The defaults, then a preset's own values, then `--set key=value` words in their order; the last one
    wins.

    Values are written as in TOML, texts also without quotes. `style_layers.relu1_1=2` changes one layer of
    several.
    """
    values = dict(look_overrides)
    for setting in settings:
        _apply_setting(values, setting)
    try:
        return Look.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"--set: {explain(error, Look)}") from error


def _apply_setting(values: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    key, dot, entry = name.strip().partition(".")
    shown = f"--set {brief(setting)}"
    if not equals:
        raise UsageError(f"{shown}: a value is missing. Write key=value, for example --set style_weight=2.")
    if key not in Look.model_fields:
        raise UsageError(
            f"{shown}: unknown key '{brief(key)}'.{did_you_mean(key, Look.model_fields) or _known(Look)}"
        )
    value = _value(shown, text.strip())
    if key == "init" and isinstance(value, str):
        value = _start(shown, value)
    table = values.get(key, Look.model_fields[key].default)
    if not dot:
        values[key] = value
    elif isinstance(table, dict):
        values[key] = {**table, entry: value}
    else:
        raise UsageError(f"{shown}: '{key}' has no parts. Write --set {key}={brief(text)}.")


def _value(shown: str, text: str) -> Any:
    try:
        document = toml.parse(f"value = {text}")
    except toml.TOMLDecodeError:
        return text
    except ValueError as error:
        raise UsageError(
            f"{shown}: {error}. Write a number, a word, or a table like {{relu1_1=1}}."
        ) from error
    return document["value"] if len(document) == 1 else text


def _start(shown: str, start: str) -> str:
    """A path becomes absolute, because workers may run in another folder."""
    if start in ("content", "noise"):
        return start
    if not os.path.exists(start):
        raise UsageError(
            f"{shown}: init is content, noise or a picture, and there is no file '{brief(start)}'."
            f"{did_you_mean(start, ('content', 'noise'))}"
        )
    try:
        files.check(Path(start), what="picture", error=UsageError)
    except UsageError as error:
        raise UsageError(f"{shown}: {error}") from error
    return os.path.abspath(start)


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first few problems that pydantic found, each a sentence with the key, its value and what is
    allowed."""
    problems = error.errors()
    more = [f"And {len(problems) - MOST_PROBLEMS} more."] if len(problems) > MOST_PROBLEMS else []
    return " ".join([*(_sentence(problem, model) for problem in problems[:MOST_PROBLEMS]), *more])


def _sentence(problem: Mapping, model: type[BaseModel]) -> str:
    owner, field = _find_field(model, problem["loc"])
    key = brief(".".join(str(part) for part in problem["loc"]))
    value, kind = problem["input"], problem["type"]
    if kind == "extra_forbidden":
        meant = did_you_mean(str(problem["loc"][-1]), owner.model_fields)
        return f"unknown key '{key}'.{meant or _known(owner)}"
    if kind == "missing":
        return f"key '{key}' is missing."
    if kind == "value_error":
        return f"{key}: {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
    if kind == "too_long":
        return f"{key} has {len(value)} entries and must have at most {problem['ctx']['max_length']}."
    if kind == "literal_error":
        return (
            f"{key} is {_written(value)} and must be one of {_range(field)}."
            f"{did_you_mean(brief(value), get_args(field.annotation))}"
        )
    if field is not None and kind.startswith(("greater", "less", "finite")):
        return f"{key} is {_number(value)} and must be {_range(field)}."
    return f"{key} is {_written(value)} and must be {_KINDS.get(kind, problem['msg'])}."


def _written(value: object) -> str:
    return f"'{brief(value)}'" if isinstance(value, str) else brief(value)


def _number(value: object) -> str:
    try:
        return f"{value:g}"
    except (OverflowError, TypeError, ValueError):
        return brief(value)


_KINDS = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "dict_type": "a table of names and numbers",
    "list_type": "a list",
    "model_type": "a table",
}  # pydantic's names for what it expected


def _known(model: type[BaseModel]) -> str:
    return f" Known keys: {', '.join(model.model_fields)}."


def _find_field(
    model: type[BaseModel], location: Sequence[str | int]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """The model that owns the last key of pydantic's location, and that key's field where there is one."""
    field = None
    for part in location:
        inner = _model_inside(field) if field is not None and isinstance(part, str) else None
        model = inner or model
        field = (
            field if isinstance(part, int) else model.model_fields.get(part)
        )  # a number is a place in the field's list
    return model, field


def _model_inside(field: FieldInfo) -> type[BaseModel] | None:
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
