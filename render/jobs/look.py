"""The look of a print: every key that changes what it looks like, with its meaning, default and range,
written once."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from render.errors import UsageError, brief
from render.jobs import toml
from render.jobs.fields import Described, describe, explain, unknown_key
from render.network.layers import LAYERS
from render.system import files
from render.wording import did_you_mean


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
        default="wasserstein",
        description="What of the painting's features is matched: their Gram matrices (Gatys et al. 2016), "
        "those with their means and deviations (Galerne et al. 2024), or their Gaussians (Wasserstein-2).",
    )
    style_layers: Layers = Field(
        default={"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.0, "relu4_1": 1.0, "relu5_1": 1.0},
        description="Layers of VGG-19 that carry the style, each with its share of the loss (no unit): "
        "relu1_1 is brush texture and color, relu5_1 large shapes.",
        json_schema_extra={"range": "layer = weight, 0 or more, at least one above 0"},
    )
    content_layers: Layers = Field(
        default={"relu4_2": 1.0},
        description="Layers of VGG-19 that hold the photograph's content, each with its share of the loss "
        "(no unit).",
        json_schema_extra={"range": "layer = weight, 0 or more, at least one above 0"},
    )
    content_weight: float = Field(
        default=0.15,
        ge=0,
        description="How firmly the photograph's content is kept (no unit); 0 gives a texture of the style.",
    )
    style_weight: float = Field(
        default=1.0,
        ge=0,
        description="How strongly the style is applied (no unit); 0 gives back the photograph's content "
        "alone.",
    )
    tv_weight: float = Field(
        default=0.5,
        ge=0,
        description="Smoothing: the weight of total variation, which removes speckle and, when high, detail "
        "(no unit).",
    )
    tv_form: Literal["l2", "power"] = Field(
        default="l2",
        description="Total variation as the sum of squared differences between neighbors (l2), or of a lower "
        "power, which keeps edges (power).",
    )
    normalisation: Literal["relative", "gatys"] = Field(
        default="relative",
        description="Units of the loss: relative to each target's own size, so that weights mean the same "
        "for every picture and layer; or as in Gatys et al. 2016.",
    )
    style_scale: float = Field(
        default=1.0,
        ge=0.1,
        le=4,
        description="Size of the painting relative to the print (a factor): larger gives broader strokes.",
    )
    pooling: Literal["max", "average"] = Field(
        default="max",
        description="How VGG-19 halves its maps: max as trained, or average, which is smoother (Gatys et al. "
        "2016).",
    )
    edge: Literal["continued", "zero"] = Field(
        default="continued",
        description="What the network sees beyond the border of the picture: its mirror image for a while "
        "(continued), or zeros at once (zero, as in Gatys' program), which paints a thin frame.",
    )
    optimiser: Literal["lbfgs", "adam", "sgd"] = Field(
        default="lbfgs",
        description="How pixels are improved: lbfgs needs the fewest steps, adam and sgd less memory.",
    )
    init: Start = Field(
        default="content",
        description="What the smallest scale starts from: the photograph (content), random pixels (noise), "
        "or a picture of yours, by its path.",
        json_schema_extra={"range": "content | noise | path of a picture"},
    )

    @model_validator(mode="after")
    def _something_to_do(self) -> "Look":
        if not (self.content_weight or self.style_weight):
            raise ValueError("content_weight and style_weight are both 0: give one of them a value above 0.")
        return self


def describe_look() -> list[Described]:
    """Every key of a look, for the reference."""
    return describe(Look)


def apply_settings(look_overrides: Mapping[str, Any], settings: Sequence[str] = ()) -> Look:
    """The defaults, then a preset's own values, then the texts of `--set key=value` in their order; the last
    one wins.

    Values are written as in TOML, texts also without quotes. `style_layers.relu1_1=2` changes one layer of
    several.

    Args:
        look_overrides: The keys that a preset gives, with their values.
        settings: Texts like "style_weight=2".

    Raises UsageError, which names the key, its value and what is allowed.
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
    option = f"--set {brief(setting)}"
    if not equals:
        raise UsageError(f"{option}: a value is missing. Write key=value, for example --set style_weight=2.")
    if key not in Look.model_fields:
        raise UsageError(f"{option}: {unknown_key(key, Look)}")
    value = _value(option, text.strip())
    if key == "init" and isinstance(value, str):
        value = _start(option, value)
    table = values.get(key, Look.model_fields[key].default)
    if not dot:
        values[key] = value
    elif isinstance(table, dict):
        values[key] = {**table, entry: value}
    else:
        raise UsageError(f"{option}: '{key}' has no parts. Write --set {key}={brief(text)}.")


def _value(option: str, text: str) -> Any:
    """The value that a text is in TOML, or the text itself. option: as the user wrote it, for messages."""
    try:
        document = toml.parse(f"value = {text}")
    except toml.TOMLDecodeError:
        return text
    except ValueError as error:
        raise UsageError(
            f"{option}: {error}. Write a number, a text, or a table like {{relu1_1=1}}."
        ) from error
    return document["value"] if len(document) == 1 else text


def _start(option: str, start: str) -> str:
    """A path becomes absolute, because workers may run in another folder."""
    if start in ("content", "noise"):
        return start
    if not os.path.exists(start):
        raise UsageError(
            f"{option}: init is content, noise or a picture, and there is no file '{brief(start)}'."
            f"{did_you_mean(start, ('content', 'noise'))}"
        )
    try:
        files.check(Path(start), what="picture", error=UsageError)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from error
    return os.path.abspath(start)
