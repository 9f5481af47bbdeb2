"""What the jobs of one batch share: each setting's meaning, default and range, written once.

The options of the command line and their reference are made from these fields (render/cli/options.py).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from render.errors import UsageError, brief
from render.jobs.fields import bounds_of, explain, extra
from render.jobs.schedule import QUALITIES
from render.pictures.paper import (
    HIGHEST_DPI,
    KNOWN,
    LOWEST_DPI,
    Layout,
    by_long_side,
    lay_out,
    parse_paper,
)

# (name of a field, value) -> how the user wrote it: `--size 0`, or `size_px=0`.
Named = Callable[[str, object], str]


def _setting(
    default: Any, description: str, *, range: str = "", unit: str = "", option: str = "", **bounds: float
) -> Any:
    """A field of Settings.

    Args:
        default: What holds where nothing is given.
        description: The meaning, one plain sentence.
        range: What is allowed, where neither the type nor the bounds say it.
        unit: Of a number.
        option: On the command line, where it is not the field's name.
        bounds: Of a number: ge, gt, le.
    """
    ours: dict[str, Any] = {"range": range, "unit": unit, "option": option}
    return Field(default, description=description, json_schema_extra=ours, **bounds)  # type: ignore[arg-type]


class Settings(BaseModel):
    """What one batch shares. Numbers are finite; a text is never taken for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    size_px: int = _setting(
        1024, "Long side of the print, where no paper is named.", unit="px", option="--size", ge=1
    )
    paper: str | None = _setting(
        None,
        "Paper of the print instead of its size in pixels, turned to the photograph's orientation.",
        range=KNOWN,
        option="--print",
    )
    dpi: float = _setting(
        300.0,
        "Resolution of the print, also written into the file.",
        unit="px per inch",
        ge=LOWEST_DPI,
        le=HIGHEST_DPI,
    )
    bleed_mm: float = _setting(
        0.0,
        "With a paper: how far the print reaches beyond it on every side, to be cut off.",
        range="0 to the short side of the paper",
        unit="mm",
        option="--bleed",
        ge=0,
    )
    fit: Literal["fit", "fill", "pad"] = _setting(
        "fit",
        "With a paper: the whole picture (fit), the picture cropped to fill the sheet (fill), or the whole "
        "picture on a white sheet (pad).",
    )
    quality: Literal["draft", "standard", "best"] = _setting(
        "standard",
        "Iterations: "
        + ", ".join(f"{name} {first}" for name, (first, _) in QUALITIES.items())
        + " at the first scale, and fewer at each larger one.",
    )
    seed: int = _setting(
        0,
        "Seed of the random pixels from which a look with init=noise starts.",
        range="a whole number of 64 bits",
        ge=-(2**63),
        le=2**64 - 1,
    )
    color: Literal["style", "luminance", "match", "histogram"] = _setting(
        "style",
        "Colors of the print: as painted (style); the photograph's under the painted lightness (luminance); "
        "the style's, matched to the photograph's before painting (match); or the photograph's distribution "
        "of colors, after painting (histogram).",
    )
    photoreal: float | None = _setting(
        None,
        "Keep the photograph's structure: detail finer than this comes from the photograph.",
        unit="share of the long side",
        ge=0,
        le=10,
    )
    format: Literal["png", "tiff", "jpeg", "webp"] = _setting("png", "Format of the file.")
    bit_depth: Literal[8, 16] = _setting(8, "Bits per color channel; png and tiff can hold 16.")
    profile: str = _setting(
        "srgb",
        "Color profile of the file.",
        range="srgb | adobe-rgb | display-p3 | path of an RGB .icc file",
    )
    intent: Literal["perceptual", "relative", "saturation", "absolute"] = _setting(
        "relative",
        "Rendering intent of the conversion to the profile (relative: with black point compensation).",
    )
    soft_proof: str | None = _setting(
        None,
        "Profile of a printer, CMYK too: the preview PRINT.proof.png shows what will come out of it.",
        range="path of an .icc file",
    )
    weights: str = _setting(
        "caffe",
        "Weights of VGG-19: caffe (Simonyan and Zisserman's own, installed with render), torchvision "
        "(downloaded once), or a file.",
        range="caffe | torchvision | path of a .safetensors or .pth file",
    )
    preprocessing: Literal["caffe", "torchvision"] | None = _setting(
        None, "Preprocessing that a file of weights was trained with, where the file does not say."
    )
    precision: Literal["float32", "bfloat16"] = _setting(
        "float32", "Precision of the network's features; sums and pixels are always float32."
    )

    @model_validator(mode="after")
    def _can_be_laid_out(self) -> "Settings":
        try:
            self.layout((1000, 1000))
        except UsageError as error:
            raise PydanticCustomError("layout", "{why}", {"why": str(error)}) from error
        return self

    def layout(self, photo_size: tuple[int, int]) -> Layout:
        """Where everything lies for a photograph (height, width). Raises UsageError for a paper that makes no
        sense, and for what needs a paper where there is none."""
        if self.paper is None and self.bleed_mm:
            raise UsageError(
                f"--bleed {self.bleed_mm:g}mm: there is no paper to cut. Say which: --print A4, or leave it "
                "out."
            )
        if self.paper is None and self.fit != "fit":
            raise UsageError(
                f"--fit {self.fit}: there is no paper to {self.fit}. Say which: --print A4, or leave it out."
            )
        if self.paper is None:
            return by_long_side(photo_size, self.size_px, dpi=self.dpi)
        return lay_out(
            photo_size, parse_paper(self.paper), dpi=self.dpi, bleed_mm=self.bleed_mm, fit=self.fit
        )

    @property
    def longest_px(self) -> int:
        """The long side of the largest picture, about."""
        return max(self.layout((1000, 1000)).picture)

    @property
    def changes_what_was_painted(self) -> bool:
        """Whether the file holds other colors than the optimizer painted, so that these are kept beside
        it."""
        return self.photoreal is not None or self.color in ("luminance", "histogram")


# Settings that are applied to the painted picture, and can be changed without painting again.
FINISHING = ("color", "photoreal", "format", "bit_depth", "profile", "intent", "soft_proof")


# --- what is wrong, in the user's own terms -----------------------------------------------------------------


def option_of(name: str) -> str:
    """The option of the command line that gives a field: "--size" for "size_px"."""
    return extra(Settings.model_fields[name], "option") or f"--{name.replace('_', '-')}"


def as_option(name: str, value: object) -> str:
    """How the command line writes a setting: `--bleed 3mm`."""
    known = name in Settings.model_fields
    option = option_of(name) if known else f"--{brief(name).replace('_', '-')}"
    unit = "mm" if name == "bleed_mm" and not isinstance(value, str) else ""
    text = f"{value:g}" if isinstance(value, float) else brief(value)
    return f"{option} {text}{unit}"


def as_keyword(name: str, value: object) -> str:
    """How Python writes a setting: `size_px=0`."""
    return f"{brief(name)}={brief(repr(value))}"


def usage_error(error: ValidationError, named: Named = as_keyword) -> UsageError:
    """What pydantic found wrong with Settings, as one message: every option with its value and what is
    allowed.

    Args:
        error: Raised by `Settings(...)`.
        named: How the user wrote a setting; `as_option` for the command line.
    """
    (problem, *_) = problems = error.errors()
    if problem["type"] == "layout":  # alone: pydantic looks at single fields first
        return UsageError(_rename(problem.get("ctx", {})["why"], named))
    message = explain(error, Settings, lambda key, value: f"{named(key, value)}:")
    if len(problems) == 1 and (advice := _nearest_number(problem, named)):
        message = f"{message} {advice}"
    return UsageError(message)


def _nearest_number(problem: Mapping, named: Named) -> str:
    field = Settings.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
    bound = {"greater_than_equal": "ge", "less_than_equal": "le"}.get(problem["type"])
    if field is None or bound is None:
        return ""
    return f"The nearest is {named(str(problem['loc'][0]), bounds_of(field)[bound])}."


def _rename(text: str, named: Named) -> str:
    """A message that names options, as messages about paper do, with every `--option value` as the user
    writes it."""
    fields = {option_of(name): name for name in Settings.model_fields}
    options = "|".join(sorted(fields, key=len, reverse=True))
    # At the beginning the value is everything up to the colon ("--print 60 x 90: mm, cm or inches?").
    pattern = rf"^({options}) (.*?)(?=: )|({options}) (\S+?)(?=[.,;:]?(?:\s|$))"

    def renamed(found: re.Match) -> str:
        name, value = fields[found[1] or found[3]], found[2] if found[1] else found[4]
        return named(name, float(value.removesuffix("mm")) if name == "bleed_mm" else value)

    return re.sub(pattern, renamed, text)
