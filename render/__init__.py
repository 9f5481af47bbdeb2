"""High-resolution batch renderer for neural style transfer.

    import render

    art = render.stylize("photo.jpg", "impasto_nocturne", size=1024)
    art.save("print.tif", bit_depth=16, profile="adobe-rgb")

    with render.Painter(memory="8GiB") as paint:
        art = paint("photo.jpg", "impasto_nocturne", content_weight=0.3)

Names are loaded when they are first used: `import render` alone is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for editors and type checkers; at run time see __getattr__
    from render.api.art import Art
    from render.api.painter import Painter, stylize
    from render.errors import (
        ArgumentError,
        ArgumentTypeError,
        BatchError,
        DivergedError,
        MemoryShort,
        PictureError,
        PresetError,
        RenderError,
        UsageError,
        WeightsError,
    )
    from render.jobs.events import JobDone, JobFailed, JobStarted, Notice, Progress
    from render.runners.batch import Summary

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "Art",
    "BatchError",
    "DivergedError",
    "JobDone",
    "JobFailed",
    "JobStarted",
    "MemoryShort",
    "Notice",
    "Painter",
    "PictureError",
    "PresetError",
    "Progress",
    "RenderError",
    "Summary",
    "UsageError",
    "WeightsError",
    "__version__",
    "stylize",
]

_EVENTS = ("JobDone", "JobFailed", "JobStarted", "Notice", "Progress")
_HOMES = {
    "Art": "render.api.art",
    "Painter": "render.api.painter",
    "stylize": "render.api.painter",
    "Summary": "render.runners.batch",
    **dict.fromkeys(_EVENTS, "render.jobs.events"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'render' has no attribute '{name}'")
    found = getattr(import_module(_HOMES.get(name, "render.errors")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
