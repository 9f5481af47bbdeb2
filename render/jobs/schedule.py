"""Which sizes to render at, coarse to fine, and how many iterations each gets. Plans, no pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

from render.errors import PictureError
from render.pictures.paper import fit

# The deepest layers have one value for every 16 px; a shorter side leaves them nothing.
SHORTEST_SIDE_PX = 16
FIRST_PX = 256  # below it the photograph's content is lost (measured)
# A last step smaller than this is not worth a scale of its own: 512 -> 520 becomes one scale at 520.
SMALLEST_STEP = 1.25

# Iterations of the first scale, and the factor from each scale to the next.
QUALITIES: Mapping[str, tuple[int, float]] = {"draft": (36, 0.5), "standard": (90, 0.5), "best": (250, 0.7)}
FEWEST_ITERATIONS = 12
# Above this long side the forms that block 5 judges are settled: leaving it out saves a quarter of the work
# and half of the halo, and the pictures stay equal (measured: BENCHMARKS.md). "best" keeps it.
DEEP_UP_TO_PX = 1024


@dataclass(frozen=True)
class Scale:
    """One scale of a job."""

    size: tuple[int, int]  # (height, width) of the content
    style_long_side_px: int
    iterations: int
    deep: bool = True  # whether block 5 of the network, with its broad forms and its wide halo, takes part

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]


def long_sides(size_px: int) -> tuple[int, ...]:
    """256, 512, 1024 ... and exactly size_px at the end."""
    sides, side = [], FIRST_PX
    while side * SMALLEST_STEP < size_px:
        sides.append(side)
        side *= 2
    return (*sides, size_px)


def _too_narrow(size: tuple[int, int], size_px: int, on_paper: bool) -> str:
    height, width = size
    needed = -(-SHORTEST_SIDE_PX * max(size) // min(size))
    advice = "a larger --print or more --dpi" if on_paper else f"--size {needed}"
    return (
        f"{width}x{height} px is too narrow for a result {size_px} px long: its short side would have "
        f"{min(fit(size, size_px))} px, and the network needs {SHORTEST_SIDE_PX}. Crop it, or use "
        f"{advice}."
    )


def plan_scales(
    photo_size: tuple[int, int],
    size_px: int,
    *,
    quality: str = "standard",
    style_scale: float = 1.0,
    cut_from: tuple[int, int] | None = None,
    on_paper: bool = False,
) -> tuple[Scale, ...]:
    """The scales of one job, coarse to fine.

    The style pictures' long side follows the content's, so that strokes keep their proportion to the picture.
    Very narrow photographs start at the first scale that is wide enough for the network.

    Args:
        photo_size: (height, width) of the photograph, for its proportions.
        size_px: Long side of the result.
        quality: A key of QUALITIES.
        style_scale: The style pictures' long side as a factor of the content's.
        cut_from: (height, width) of the photograph itself where photo_size is already scaled, and at small
            sizes rounded: for the advice.
        on_paper: Whether the size follows from a paper and its dpi: the advice is then about these.

    Raises PictureError when even the last scale is too narrow.
    """
    sides = [side for side in long_sides(size_px) if min(fit(photo_size, side)) >= SHORTEST_SIDE_PX]
    if not sides:
        raise PictureError(_too_narrow(cut_from or photo_size, size_px, on_paper))
    first, factor = QUALITIES[quality]
    return tuple(
        Scale(
            fit(photo_size, side),
            max(2 * SHORTEST_SIDE_PX, round(side * style_scale)),
            max(FEWEST_ITERATIONS, round(first * factor**i)),
            deep=quality == "best" or side <= DEEP_UP_TO_PX,
        )
        for i, side in enumerate(sides)
    )
