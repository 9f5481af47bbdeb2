"""How an image is cut into tiles that give, together, exactly what the whole image gives. Plans, no
pixels."""

from collections.abc import Iterable
from dataclasses import dataclass

from render.network.layers import LAYERS

MARGIN_PX = (
    16  # how far an image is continued beyond its border: a whole number of the deepest layers' strides
)


@dataclass(frozen=True)
class Box:
    """Rows top to bottom, columns left to right of an image, the ends not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def pixels(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def of(self, image):
        """The view of an image (..., H, W) at this place."""
        return image[..., self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Tile:
    """inner: the pixels that only this tile counts; outer: with the halo, what the network is shown;
    image: (height, width) of the whole."""

    inner: Box
    outer: Box
    image: tuple[int, int]

    def halo(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) px of the outer box beyond the inner one."""
        return (
            self.inner.top - self.outer.top,
            self.inner.left - self.outer.left,
            self.outer.bottom - self.inner.bottom,
            self.outer.right - self.inner.right,
        )

    def on_border(self) -> tuple[bool, bool, bool, bool]:
        """Whether the outer box ends at the image's (top, left, bottom, right) border."""
        height, width = self.image
        return (
            self.outer.top == 0,
            self.outer.left == 0,
            self.outer.bottom == height,
            self.outer.right == width,
        )

    def features_size(self, stride_px: int) -> tuple[int, int]:
        """(rows, columns) of the features, of a layer with this stride, that belong to the inner box."""
        b = self.inner
        return b.bottom // stride_px - b.top // stride_px, b.right // stride_px - b.left // stride_px


def deepest_stride_px(names: Iterable[str]) -> int:
    return max((LAYERS[name].stride_px for name in names), default=1)


def halo_px(names: Iterable[str]) -> int:
    """What the layers see beyond a tile, rounded up to whole outputs of the deepest.

    The reach is covered once: features of the inner box are exact, and their gradient is added wherever in
    the outer box it falls. Methods that keep only the inner box's gradient need it twice (Galerne et al.
    2024). A tile at the border must also hold what is mirrored into the margin.
    """
    names = tuple(names)
    reach, stride = max((LAYERS[name].reach_px for name in names), default=0), deepest_stride_px(names)
    return -(-max(reach, MARGIN_PX + 1) // stride) * stride


def plan_tiles(size: tuple[int, int], names: Iterable[str], tile_px: int) -> tuple[Tile, ...]:
    """Tiles of about equal size, row by row, whose inner boxes cover an image (height, width) once.

    names: the layers to be computed, for the halo; tile_px: longest side of an inner box, at least the
    deepest stride. Inner and outer boxes begin at multiples of the deepest stride, so that every layer's grid
    is the whole image's.
    """
    names = tuple(names)
    stride, halo = deepest_stride_px(names), halo_px(names)
    if tile_px < stride:
        raise ValueError(f"tiles of {tile_px} px are smaller than the deepest layer's stride, {stride} px")
    height, width = size
    rows, columns = (_cuts(side, tile_px, stride) for side in size)
    tiles = []
    for top, bottom in zip(rows, rows[1:]):
        for left, right in zip(columns, columns[1:]):
            outer = Box(
                max(0, top - halo), max(0, left - halo), min(height, bottom + halo), min(width, right + halo)
            )
            tiles.append(Tile(Box(top, left, bottom, right), outer, size))
    return tuple(tiles)


def _cuts(side: int, tile_px: int, stride: int) -> list[int]:
    """Where a side is cut: 0, multiples of the stride no further apart than tile_px, and the side itself."""
    parts = -(-side // (tile_px // stride * stride))
    step = -(-side // (parts * stride)) * stride
    return [*range(0, side, step), side]


def whole(size: tuple[int, int]) -> tuple[Tile, ...]:
    """The plan of one tile."""
    box = Box(0, 0, *size)
    return (Tile(box, box, size),)


def borders(tiles: Iterable[Tile]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(rows, columns) where tiles meet."""
    inner = [tile.inner for tile in tiles]
    return tuple(sorted({b.top for b in inner} - {0})), tuple(sorted({b.left for b in inner} - {0}))
