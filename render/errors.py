"""Every error that a user can correct. Its text names the file or option at fault, and the fix.

RenderError
├── UsageError      wrong options on the command line, or a plan that cannot work   exit status 2
│   ├── ArgumentError      of the Python API: a value out of range (a ValueError too)
│   └── ArgumentTypeError  of the Python API: a wrong type, an unknown keyword (a TypeError too)
├── PictureError    a picture that cannot be read, used or written                  its job fails
├── PresetError     a style preset that is missing, misspelt or out of range        its job fails
├── WeightsError    network weights that are missing, damaged or of another network
├── DivergedError   the optimisation reached NaN or never moved                     its job fails
├── MemoryShort     of the Python API: no memory is left, with the smallest tiles (a MemoryError too)
└── BatchError      of the Python API: some pictures of a batch failed, the others are done
"""


class RenderError(Exception):
    """Base class: `except RenderError` catches what a user can correct, and no programming error."""


class UsageError(RenderError):
    pass


class ArgumentError(UsageError, ValueError):
    pass


class ArgumentTypeError(UsageError, TypeError):
    pass


class PictureError(RenderError):
    pass


class PresetError(RenderError):
    pass


class WeightsError(RenderError):
    pass


class DivergedError(RenderError):
    pass


class MemoryShort(RenderError, MemoryError):
    pass


class BatchError(RenderError):
    """failed: (what, why) of each picture that failed."""

    def __init__(self, failed: "list[tuple[str, str]]"):
        self.failed = tuple(failed)
        super().__init__("\n".join([f"{len(failed)} of the batch failed:", *(why for _, why in failed)]))


def brief(value: object, longest: int = 120) -> str:
    """Any value as one line of a message, with its middle left out if it has more than `longest` characters.

    Of an exception: the first line of its text, or the name of its class if it has no text.
    """
    if isinstance(value, BaseException):
        value = next(iter(str(value).strip().splitlines()), type(value).__name__)
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints; too deep nesting
        return f"a very large {type(value).__name__}"
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in _cut(text, longest)
    )
    return _cut(text, longest)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} ... {text[-(longest // 2) :]}"
