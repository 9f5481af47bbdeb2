"""Paper as people type it, and as a plan in pixels: what of the photograph is rendered, how large, and where
on the sheet.

Sizes are (height, width), but a Paper's sides are (width, height): as people say them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from render.errors import UsageError
from render.wording import did_you_mean

MM_PER_INCH = 25.4
UNITS_MM: Mapping[str, float] = {
    "mm": 1.0,
    "cm": 10.0,
    "in": MM_PER_INCH,
    "inch": MM_PER_INCH,
    "inches": MM_PER_INCH,
    '"': MM_PER_INCH,
    "″": MM_PER_INCH,
    "”": MM_PER_INCH,
}

PAPERS_MM: Mapping[str, tuple[float, float]] = {
    "A0": (841, 1189),
    "A1": (594, 841),
    "A2": (420, 594),
    "A3": (297, 420),
    "A4": (210, 297),
    "A5": (148, 210),
    "A6": (105, 148),  # ISO 216
    "B0": (1000, 1414),
    "B1": (707, 1000),
    "B2": (500, 707),
    "B3": (353, 500),
    "B4": (250, 353),
    "B5": (176, 250),
    "B6": (125, 176),  # ISO 216
    "A3+": (329, 483),  # Super B, 13 x 19 in: makers of photo printers
    "letter": (215.9, 279.4),
    "legal": (215.9, 355.6),
    "tabloid": (279.4, 431.8),  # ANSI/ASME Y14.1, and US legal
}
KNOWN = "A0 to A6, B0 to B6, A3+, letter, legal, tabloid, or two sides: 60x90cm, 24x36in, 300x400mm"

SHORTEST_MM = 10.0
LONGEST_MM = 20_000.0  # a wall; more is a slip of the unit
LOWEST_DPI, HIGHEST_DPI = 10.0, 2400.0  # a poster across a street; the finest a printer draws

FITS = ("fit", "fill", "pad")

# A photograph enlarged twice (150 dpi on a 300 dpi print) still looks sharp at arm's length; more causes a
# warning.
ENOUGH_DPI = 150.0
ENOUGH_ENLARGEMENT = 2.0

_NUMBER = r"([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+))"
_UNIT = "(" + "|".join(sorted(UNITS_MM, key=len, reverse=True)) + ")"
_LENGTH = re.compile(rf"\s*{_NUMBER}\s*{_UNIT}?\s*", re.IGNORECASE)
_SIDES = re.compile(rf"\s*{_NUMBER}\s*{_UNIT}?\s*[x×*]\s*{_NUMBER}\s*{_UNIT}?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Paper:
    """A trimmed sheet as it was requested; `lay_out` turns it to the photograph's orientation."""

    name: str
    width_mm: float
    height_mm: float


@dataclass(frozen=True)
class Layout:
    """Where everything of one print lies, in px."""

    crop: tuple[int, int, int, int]  # (top, left, height, width): what of the photograph is rendered
    picture: tuple[int, int]  # (height, width) to render it at
    sheet: tuple[int, int]  # (height, width) of the file
    offset: tuple[int, int]  # (top, left) of the picture on the sheet
    dpi: float  # as recorded in the file


# --- what people type ---------------------------------------------------------------------------------------


def parse_paper(text: str) -> Paper:
    """A2, letter, 60x90cm, 24 x 36 in, 8,5"×11": see KNOWN. A unit may stand once, after either side.

    Raises UsageError with a paper that works: unknown names, missing units, sides under SHORTEST_MM or over
    LONGEST_MM.
    """
    for name, (width_mm, height_mm) in PAPERS_MM.items():
        if text.strip().casefold() == name.casefold():
            return Paper(name, width_mm, height_mm)
    found = _SIDES.fullmatch(text)
    if not found:
        meant = did_you_mean(text, PAPERS_MM, cutoff=0.5)
        raise UsageError(f"--print {text}: is no paper known here.{meant} Use {KNOWN}.")
    width, width_unit, height, height_unit = found.groups()
    if width_unit is None and height_unit is None:
        raise UsageError(
            f"--print {text}: mm, cm or inches? Write --print {width}x{height}cm, or another unit."
        )
    width_unit, height_unit = width_unit or height_unit, height_unit or width_unit
    paper = Paper(text.strip(), _mm(width, width_unit), _mm(height, height_unit))
    _check_sides(text, paper)
    return paper


def parse_length_mm(text: str) -> float:
    """3mm, 0.3 cm or 0,125in as millimeters. 0 needs no unit. Used for --bleed.

    Raises UsageError: not a length, no unit, negative, over LONGEST_MM.
    """
    found = _LENGTH.fullmatch(text)
    if not found:
        raise UsageError(f"--bleed {text}: is not a length. Write it like --bleed 3mm, 0.3cm or 0.125in.")
    number, unit = found.groups()
    if unit is None and _value(number) != 0:
        raise UsageError(
            f"--bleed {text}: mm, cm or inches? Write --bleed {number.lstrip('+-')}mm, or another unit."
        )
    length_mm = _mm(number, unit or "mm")
    if length_mm < 0:
        raise UsageError(
            f"--bleed {text}: is negative. Write --bleed {text.strip().lstrip('-')}, or --bleed 0 for none."
        )
    if length_mm > LONGEST_MM:
        raise UsageError(f"--bleed {text}: is over {LONGEST_MM / 1000:g} m. Write it like --bleed 3mm.")
    return length_mm


def _value(number: str) -> float:
    return float(number.replace(",", "."))


def _mm(number: str, unit: str | None) -> float:
    assert unit is not None  # checked by the callers
    return _value(number) * UNITS_MM[unit.lower()]


def _check_sides(text: str, paper: Paper) -> None:
    sides = (paper.width_mm, paper.height_mm)
    if min(sides) >= SHORTEST_MM and max(sides) <= LONGEST_MM:
        return
    shrink = min(1.0, LONGEST_MM / max(sides)) if max(sides) > 0 else 1.0  # the same shape where that can be
    width, height = (math.floor(max(SHORTEST_MM, side * shrink)) for side in sides)
    raise UsageError(
        f"--print {text}: a side must have {SHORTEST_MM / 10:g} cm to {LONGEST_MM / 1000:g} m. "
        f"The nearest that works is --print {width}x{height}mm."
    )


# --- the plan -----------------------------------------------------------------------------------------------


def fit(size: tuple[int, int], long_side_px: int) -> tuple[int, int]:
    """(height, width) of the same shape whose long side is `long_side_px`."""
    longest = max(size)
    height, width = (max(1, round(side * long_side_px / longest)) for side in size)
    return height, width


def by_long_side(photo_size: tuple[int, int], size_px: int, *, dpi: float = 300.0) -> Layout:
    """The whole photograph at `size_px` for its long side; the file is the picture. photo_size: (height,
    width).

    Raises UsageError for a dpi out of range.
    """
    _check_dpi(dpi)
    picture = fit(photo_size, size_px)
    return Layout((0, 0, *photo_size), picture, picture, (0, 0), dpi)


def lay_out(
    photo_size: tuple[int, int], paper: Paper, *, dpi: float = 300.0, bleed_mm: float = 0.0, fit: str = "fit"
) -> Layout:
    """The photograph, (height, width) px, on paper that is turned to its orientation and gains bleed on all
    four sides.

    The sheet is paper and bleed, each side round(mm / 25.4 * dpi) px. `fit` is one of:

    fit   The whole picture as large as it fits into the sheet; the file is the picture, with no white. Bleed
          only makes it larger: when it is cut off, the picture loses its edges.
    fill  The picture is the sheet, bleed included; as little as possible of the photograph is cropped, on
          both sides alike.
    pad   The whole picture as large as it fits into the trimmed paper, centered on a white sheet, bleed
          included, so that no cut touches it.

    Raises UsageError: an unknown fit; dpi or bleed out of range.
    """
    _check_dpi(dpi)
    _check_bleed(paper, bleed_mm)
    trimmed = _in_px(_turned(paper, photo_size), dpi, 0.0)
    sheet = _in_px(_turned(paper, photo_size), dpi, bleed_mm)
    whole = (0, 0, *photo_size)
    match fit:
        case "fit":
            picture = _largest_inside(sheet, photo_size)
            return Layout(whole, picture, picture, (0, 0), dpi)
        case "fill":
            return Layout(
                _centered(photo_size, _largest_inside(photo_size, sheet)), sheet, sheet, (0, 0), dpi
            )
        case "pad":
            picture = _largest_inside(trimmed, photo_size)
            return Layout(whole, picture, sheet, _centered(sheet, picture)[:2], dpi)
    raise UsageError(f"--fit {fit}: is unknown. Use --fit {', '.join(FITS[:-1])} or {FITS[-1]}.")


def enough_pixels(layout: Layout) -> str | None:
    """A warning when the photograph is enlarged so much that its own detail will look soft; None when it will
    not.

    Its dpi on this print are compared with 150, or with half the print's where that is less.
    """
    _, _, height, width = layout.crop
    # Rounding: enlarged exactly to what is advised below must not warn again.
    photo_dpi = round(layout.dpi * min(height / layout.picture[0], width / layout.picture[1]))
    enough_dpi = min(ENOUGH_DPI, layout.dpi / ENOUGH_ENLARGEMENT)
    if photo_dpi >= enough_dpi:
        return None
    wanted_cm = " x ".join(f"{math.floor(side / enough_dpi * 25.4) / 10:g}" for side in (width, height))
    printed_cm = " x ".join(f"{side / layout.dpi * 2.54:.1f}" for side in layout.picture[::-1])
    return (
        f"the photograph has only {photo_dpi} dpi on a print of {printed_cm} cm, so its details will "
        f"look soft. "
        f"Up to {wanted_cm} cm it would have {enough_dpi:g} dpi. The style's strokes are painted at the full "
        f"{layout.dpi:g} dpi at any size."
    )


def _check_dpi(dpi: float) -> None:
    if not LOWEST_DPI <= dpi <= HIGHEST_DPI:
        nearest = HIGHEST_DPI if dpi > HIGHEST_DPI else LOWEST_DPI
        raise UsageError(
            f"--dpi {dpi:g}: must be {LOWEST_DPI:g} to {HIGHEST_DPI:g}; prints use 300. The nearest is "
            f"--dpi {nearest:g}."
        )


def _check_bleed(paper: Paper, bleed_mm: float) -> None:
    most_mm = min(paper.width_mm, paper.height_mm)
    if not 0 <= bleed_mm <= most_mm:
        raise UsageError(
            f"--bleed {bleed_mm:g}mm: must be 0 to the short side of the paper, {most_mm:g}mm "
            f"({paper.name}). "
            "Printers ask for --bleed 3mm."
        )


def _turned(paper: Paper, photo_size: tuple[int, int]) -> tuple[float, float]:
    """(height, width) in mm; for a square photograph the paper stays as it was typed."""
    height, width = photo_size
    short_mm, long_mm = sorted((paper.width_mm, paper.height_mm))
    if height == width:
        return paper.height_mm, paper.width_mm
    return (long_mm, short_mm) if height > width else (short_mm, long_mm)


def _in_px(size_mm: tuple[float, float], dpi: float, bleed_mm: float) -> tuple[int, int]:
    height, width = (max(1, round((side + 2 * bleed_mm) / MM_PER_INCH * dpi)) for side in size_mm)
    return height, width


def _largest_inside(frame: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) of `shape`'s proportions inside `frame`; one side is exactly the
    frame's."""
    height, width = frame
    if height * shape[1] <= width * shape[0]:
        return height, max(1, round(height * shape[1] / shape[0]))
    return max(1, round(width * shape[0] / shape[1])), width


def _centered(frame: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of `size` in the middle of `frame`."""
    top, left = ((outer - inner) // 2 for outer, inner in zip(frame, size, strict=True))
    return top, left, *size
