"""What the fields of our pydantic models mean to a person: ranges and defaults for the reference, and errors
as sentences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from render.errors import brief
from render.wording import did_you_mean

MOST_PROBLEMS = 5  # in one message

# (key, value) -> how a sentence about a wrong value begins.
Opening = Callable[[str, object], str]


@dataclass(frozen=True)
class Described:
    """A field as the reference shows it."""

    key: str
    default: Any
    range: str  # what is allowed
    unit: str  # of a number, "" where it has none
    description: str  # one sentence


def describe(model: type[BaseModel]) -> list[Described]:
    return [
        Described(
            key,
            field.get_default(call_default_factory=True),
            range_of(field),
            extra(field, "unit"),
            field.description or "",
        )
        for key, field in model.model_fields.items()
    ]


def extra(field: FieldInfo, name: str) -> str:
    """A text that the field carries for us beside what pydantic knows, "" where it does not."""
    known = field.json_schema_extra
    return str(known.get(name, "")) if isinstance(known, dict) else ""


def choices_of(field: FieldInfo) -> tuple[Any, ...]:
    """The values of a field that is a Literal, or a Literal or None; () for every other field."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if get_origin(kind) is Literal:
            return get_args(kind)
    return ()


def bounds_of(field: FieldInfo) -> dict[str, Any]:
    """Of a number: some of ge (the least), gt (all are above it) and le (the most)."""
    return {
        name: getattr(item, name)
        for item in field.metadata
        for name in ("ge", "gt", "le")
        if hasattr(item, name)
    }


def range_of(field: FieldInfo) -> str:
    """What is allowed, in a few words: "a | b", "0.1 to 4", "1 or more"; "" for any text."""
    if words := extra(field, "range"):
        return words
    if choices := choices_of(field):
        return " | ".join(map(str, choices))
    bounds = bounds_of(field)
    if "le" in bounds:
        return f"{bounds['ge']:g} to {bounds['le']:g}"
    if "gt" in bounds:
        return f"above {bounds['gt']:g}"
    return f"{bounds['ge']:g} or more" if "ge" in bounds else ""


def unknown_key(key: str, model: type[BaseModel]) -> str:
    """A sentence with the nearest key, or all keys where none is near. key: with those that lead to it."""
    known = f" Known keys: {', '.join(model.model_fields)}."
    return f"unknown key '{brief(key)}'.{did_you_mean(key.rpartition('.')[2], model.model_fields) or known}"


def _key_is_value(key: str, value: object) -> str:
    return f"{key} is {written(value)} and"


def explain(error: ValidationError, model: type[BaseModel], opening: Opening = _key_is_value) -> str:
    """The first few problems that pydantic found, each a sentence with the key, its value and what is
    allowed."""
    problems = error.errors()
    more = [f"And {len(problems) - MOST_PROBLEMS} more."] if len(problems) > MOST_PROBLEMS else []
    return " ".join([*(_sentence(problem, model, opening) for problem in problems[:MOST_PROBLEMS]), *more])


def _sentence(problem: Mapping, model: type[BaseModel], opening: Opening) -> str:
    owner, field = _find_field(model, problem["loc"])
    key = ".".join(str(part) for part in problem["loc"])
    value, kind = problem["input"], problem["type"]
    if kind == "extra_forbidden":
        return unknown_key(key, owner)
    key = brief(key)
    if kind == "missing":
        return f"key '{key}' is missing."
    if kind == "value_error":
        return f"{key}: {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
    if kind == "too_long":
        return f"{key} has {len(value)} entries and must have at most {problem['ctx']['max_length']}."
    begin = opening(key, value)
    if field is not None and kind == "literal_error":
        choices = choices_of(field)
        return f"{begin} must be one of {range_of(field)}.{did_you_mean(brief(value), map(str, choices))}"
    if field is not None and kind.startswith(("greater", "less", "finite")):
        return f"{begin} must be {range_of(field)}."
    return f"{begin} must be {_KINDS.get(kind, problem['msg'])}."


def written(value: object) -> str:
    """A value as a sentence shows it: texts in quotes, numbers short."""
    if isinstance(value, str):
        return f"'{brief(value)}'"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    return brief(value)


def number(value: object) -> str:
    try:
        return f"{value:g}"
    except (OverflowError, TypeError, ValueError):
        return brief(value)


_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "dict_type": "a table of names and numbers",
    "list_type": "a list",
    "model_type": "a table",
}  # pydantic's names for what it expected


def _find_field(
    model: type[BaseModel], location: Sequence[str | int]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """The model that owns the last key of pydantic's location, and that key's field where there is one."""
    field: FieldInfo | None = None
    for part in location:
        if isinstance(part, int):
            continue  # a place in the field's list
        inner = _model_inside(field) if field is not None else None
        model = inner or model
        field = model.model_fields.get(part)
    return model, field


def _model_inside(field: FieldInfo) -> type[BaseModel] | None:
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
