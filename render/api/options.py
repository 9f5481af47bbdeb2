"""The keywords of the Python API: which there are, what each may be, and whether it is of the look."""

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np
from pydantic import ValidationError

from render.errors import ArgumentError, ArgumentTypeError, RenderError, UsageError, brief
from render.jobs.fields import explain
from render.jobs.look import Look
from render.jobs.settings import Settings, as_keyword, usage_error
from render.pictures import icc
from render.wording import did_you_mean


class LookOptions(TypedDict, total=False):
    """The keys of a look (`render presets keys` gives each one's meaning, range and default). What is not
    given is as in the style's preset, or else the default."""

    style_loss: Literal["gram", "gram-mean-std", "wasserstein"]
    style_layers: dict[str, float]  # layer of VGG-19 -> its share, 0 or more
    content_layers: dict[str, float]  # layer of VGG-19 -> its share, 0 or more
    content_weight: float  # how firmly the photograph's content is kept, 0 or more
    style_weight: float  # how strongly the style is applied, 0 or more
    tv_weight: float  # smoothing, 0 or more
    tv_form: Literal["l2", "power"]
    normalisation: Literal["relative", "gatys"]
    style_scale: float  # size of the painting relative to the print, 0.1 to 4
    pooling: Literal["max", "average"]
    edge: Literal["continued", "zero"]
    optimiser: Literal["lbfgs", "adam", "sgd"]
    init: Any  # "content", "noise", or a picture: a path, an array or a PIL image


class PaintOptions(LookOptions, total=False):
    """Everything that decides the pixels."""

    size: int  # long side in px (1024); not together with paper
    paper: str | None  # a sheet instead of a size: "A2", "60x90cm", "24x36in"
    dpi: float  # px an inch, also written into the file (300)
    bleed_mm: float  # added to the paper on every side (0)
    fit: Literal["fit", "fill", "pad"]  # on paper: the whole picture, cropped to fill it, or whole on white
    quality: Literal["draft", "standard", "best"]  # iterations at each scale ("standard")
    seed: int  # of the noise that init="noise" starts from (0)
    color: Literal["style", "luminance", "match", "histogram"]  # "style": as painted
    photoreal: float | None  # detail finer than this share of the long side comes from the photograph


class BatchOptions(PaintOptions, total=False):
    """Everything that decides the files of a batch. A single picture gets these when it is saved."""

    format: Literal["png", "tiff", "jpeg", "webp"]
    bit_depth: Literal[8, 16]
    profile: str | os.PathLike[str]  # "srgb", "adobe-rgb", "display-p3", or an RGB .icc file
    intent: Literal["perceptual", "relative", "saturation", "absolute"]
    soft_proof: str | os.PathLike[str] | None  # a printer's profile, for a preview beside each print


DeviceName: TypeAlias = Literal["auto", "cpu", "cuda"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
Preprocessing: TypeAlias = Literal["caffe", "torchvision"]

LOOK = tuple(LookOptions.__annotations__)
PAINT = tuple(PaintOptions.__annotations__)
BATCH = tuple(BatchOptions.__annotations__)
FILE = tuple(name for name in BATCH if name not in PAINT)
OF_THE_PAINTER = ("device", "precision", "memory", "weights", "preprocessing")


# --- one value ----------------------------------------------------------------------------------------------


def number(name: str, value: Any, *, least: float = -math.inf, most: float = math.inf) -> float:
    """The value as a float. Raises ArgumentTypeError and ArgumentError, naming argument and range."""
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentTypeError(f"{name} is {_shown(value)} and must be a number{_range(least, most)}.")
    if not (math.isfinite(value) and least <= value <= most):
        raise ArgumentError(f"{name} is {value:g} and must be a finite number{_range(least, most)}.")
    return float(value)


def whole(name: str, value: Any, *, least: int | None = None) -> int:
    """The value as an int. Raises as `number` does."""
    value, what = _plain(value), "a whole number" + ("" if least is None else f", {least} or more")
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{name} is {_shown(value)} and must be {what}.")
    if least is not None and value < least:
        raise ArgumentError(f"{name} is {value} and must be {what}.")
    return value


def choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """The value, one of the choices. Raises ArgumentError with the nearest one."""
    value = _plain(value)
    if isinstance(value, str | int) and not isinstance(value, bool) and value in choices:
        return value
    near = did_you_mean(value, map(str, choices)) if isinstance(value, str) else ""
    kind = ArgumentError if isinstance(value, str | int) else ArgumentTypeError
    raise kind(f"{name} is {_shown(value)} and must be one of {', '.join(map(str, choices))}.{near}")


def path_text(name: str, value: Any) -> str:
    """A path as text. Raises ArgumentTypeError."""
    if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
        return text
    raise ArgumentTypeError(f"{name} is {_shown(value)} and must be a name or a path.")


def named_or_path(name: str, value: Any, names: Collection[str]) -> str:
    """One of the names as it is; a path absolute, because the working folder may change. Raises ArgumentError
    for what is neither."""
    text = path_text(name, value)
    if text in names:
        return text
    if not os.path.exists(text):
        known = f" and not one of {', '.join(names)}" if names else ""
        raise ArgumentError(f"{name} is {_shown(text)}: no such file{known}.{did_you_mean(text, names)}")
    return os.path.abspath(text)


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's own, which is what the strict checks of a look take."""
    return value.item() if isinstance(value, np.generic) else value


def _shown(value: Any) -> str:
    return f"'{brief(value)}'" if isinstance(value, str) else brief(value)


def _range(least: float, most: float) -> str:
    if most < math.inf:
        return f" from {least:g} to {most:g}"
    return f", {least:g} or more" if least > -math.inf else ""


# --- all of them --------------------------------------------------------------------------------------------


def check_names(options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises ArgumentTypeError for the first keyword that is not known, with the nearest that is."""
    for name in options:
        if name not in known:
            raise ArgumentTypeError(f"unknown keyword '{brief(name)}'.{_advice(name, known)}")


def _advice(name: str, known: Collection[str]) -> str:
    if name in FILE:
        return f" It belongs to the file: art.save('print.tif', {name}=...)."
    if name in OF_THE_PAINTER:
        return f" It belongs to the painter: render.Painter({name}=...)."
    return did_you_mean(name, known) or f" Known: {', '.join(known)}."


def settings_of(options: Mapping[str, Any], **more: Any) -> Settings:
    """What of the options is not a key of a look. Raises ArgumentError, ArgumentTypeError, and UsageError for
    a paper or a profile that makes no sense."""
    if options.get("paper") is not None and "size" in options:
        raise ArgumentError("size and paper contradict each other: give one of them.")
    values = {_FIELDS.get(name, name): _plain(value) for name, value in options.items() if name not in LOOK}
    for name, names in _FILES.items():
        if values.get(name) is not None:
            values[name] = named_or_path(name, values[name], names)
    try:
        return Settings(**values, **more)
    except ValidationError as error:
        raise _kind_of(error)(str(usage_error(error, _as_argument))) from error


_FIELDS = {"size": "size_px"}  # of Settings, where the keyword has another name
_FILES: Mapping[str, Collection[str]] = {"profile": icc.BUILT_IN, "soft_proof": ()}  # keyword -> names too


def _as_argument(name: str, value: object) -> str:
    return as_keyword("size" if name == "size_px" else name, value)


def _kind_of(error: ValidationError) -> type[ArgumentError] | type[ArgumentTypeError]:
    problem = error.errors()[0]
    wrong_type = problem["type"].endswith("_type") or (
        problem["type"] == "literal_error" and not isinstance(problem["input"], str | int)
    )
    return ArgumentTypeError if wrong_type else ArgumentError


def look_of(preset: Mapping[str, Any], options: Mapping[str, Any]) -> Look:
    """Defaults, then the preset's keys, then the options'. Raises ArgumentError, naming key and range."""
    given = {name: _plain_table(value) for name, value in options.items() if name in LOOK}
    try:
        return Look.model_validate({**preset, **given})
    except ValidationError as error:
        raise ArgumentError(explain(error, Look)) from error


def _plain_table(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return _plain(value)


# --- the words of an error ----------------------------------------------------------------------------------

_OPTION = re.compile(r"(?<!\S)--([a-z]+(?:-[a-z]+)*)")
_ARGUMENTS = {"print": "paper", "bleed": "bleed_mm", "inputs": "photos", "overwrite": "overwrite=True"}


@contextmanager
def named_as_arguments() -> Iterator[None]:
    """Errors of the body name an option of the command line by the argument that means the same here, and a
    UsageError is a ValueError too, as Python users expect."""
    try:
        yield
    except RenderError as error:
        kind, text = type(error), as_arguments(str(error))
        if kind is UsageError:
            kind = ArgumentError
        elif text == str(error):
            raise
        raise kind(text) from error


def as_arguments(text: str) -> str:
    return _OPTION.sub(lambda found: _ARGUMENTS.get(found[1], found[1].replace("-", "_")), text)
