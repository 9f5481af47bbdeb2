"""Plans how to cut an image into tiles that together give exactly what the whole image gives. No pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from render.network.layers import LAYERS

# How far an image is continued beyond its border: a multiple of the stride of every layer up to block 5.
MARGIN_PX = 16


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows top to bottom and columns left to right, the ends not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    @property
    def pixels(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def of(self, image):
        """The view of an image (..., H, W) at this place."""
        return image[..., self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Tile:
    """One tile of an image, and what the network must see to compute it."""

    inner: Box  # pixels that no other tile counts
    outer: Box  # the inner box and its halo: the network's input
    image: tuple[int, int]  # (height, width) of the whole image

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
    """How far the layers see beyond a tile, rounded up to whole outputs of the deepest layer.

    The halo covers the reach once: features of the inner box are exact, and their gradient is added to every
    pixel of the outer box. Methods that keep only the inner box's gradient need twice the reach (Galerne et
    al. 2024). A tile at the border must also hold the pixels that are mirrored into the margin.
    """
    names = tuple(names)
    reach, stride = max((LAYERS[name].reach_px for name in names), default=0), deepest_stride_px(names)
    return -(-max(reach, MARGIN_PX + 1) // stride) * stride


def plan_tiles(size: Sequence[int], names: Iterable[str], tile_px: int) -> tuple[Tile, ...]:
    """Tiles of about equal size, row by row, whose inner boxes cover an image exactly once.

    Inner and outer boxes begin at multiples of the deepest layer's stride, so that the outputs of every layer
    lie where they lie for the whole image.

    Args:
        size: (height, width) of the image.
        names: the layers to be computed. They determine the halo.
        tile_px: longest side of an inner box, at least the deepest layer's stride.
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
            tiles.append(Tile(Box(top, left, bottom, right), outer, (height, width)))
    return tuple(tiles)


def _cuts(side: int, tile_px: int, stride: int) -> list[int]:
    """Where a side is cut: at 0, at multiples of the stride at most tile_px apart, and at its end."""
    parts = -(-side // (tile_px // stride * stride))
    step = -(-side // (parts * stride)) * stride
    return [*range(0, side, step), side]


def whole(size: Sequence[int]) -> tuple[Tile, ...]:
    """The plan of a single tile. size: (height, width)."""
    height, width = size
    box = Box(0, 0, height, width)
    return (Tile(box, box, (height, width)),)


def borders(tiles: Iterable[Tile]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(rows, columns) where tiles meet."""
    inner = [tile.inner for tile in tiles]
    return tuple(sorted({b.top for b in inner} - {0})), tuple(sorted({b.left for b in inner} - {0}))
