"""Tiles as plain values: they cover the image once, on every layer's grid, with the halo that the layers
need."""

import pytest

from render.network.layers import LAYERS
from render.network.tiling import MARGIN_PX, borders, halo_px, plan_tiles, whole

DEEP = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
SIZES = [(16, 16), (17, 500), (1000, 33), (768, 1024), (1025, 1023), (2304, 3072), (331, 203)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile_px", [16, 96, 512, 1024, 5000])
def test_inner_boxes_cover_every_pixel_once(size, tile_px):
    tiles = plan_tiles(size, DEEP, tile_px)
    assert sum(tile.inner.pixels for tile in tiles) == size[0] * size[1]
    corners = {(tile.inner.top, tile.inner.left) for tile in tiles}
    assert len(corners) == len(tiles)
    assert all(
        (tile.inner.bottom == size[0] or (tile.inner.bottom, tile.inner.left) in corners)
        and (tile.inner.right == size[1] or (tile.inner.top, tile.inner.right) in corners)
        for tile in tiles
    )
    assert max(max(tile.inner.size) for tile in tiles) <= tile_px


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("names", [DEEP, ("relu3_1",), ("relu1_1",)])
def test_boxes_begin_on_the_deepest_layers_grid_and_hold_the_halo(size, names):
    halo, stride = halo_px(names), max(LAYERS[name].stride_px for name in names)
    for tile in plan_tiles(size, names, 96):
        assert not any(
            side % stride for side in (tile.inner.top, tile.inner.left, tile.outer.top, tile.outer.left)
        )
        for at_border, beyond in zip(tile.on_border(), tile.halo()):
            assert beyond == halo or (at_border and beyond < halo)
        assert max(tile.outer.size) <= 96 + 2 * halo


@pytest.mark.parametrize("size", SIZES)
def test_every_layers_outputs_are_each_some_tiles(size):
    for name in DEEP:
        stride = LAYERS[name].stride_px
        rows_columns = [tile.features_size(stride) for tile in plan_tiles(size, DEEP, 96)]
        assert sum(rows * columns for rows, columns in rows_columns) == (size[0] // stride) * (
            size[1] // stride
        )


def test_the_halo_follows_from_the_layers():
    assert halo_px(DEEP) == 80  # the design's measured figure
    assert halo_px(("relu4_2",)) == 40
    for name in DEEP:
        assert (
            halo_px((name,))
            >= max(LAYERS[name].reach_px, MARGIN_PX + 1)
            > halo_px((name,)) - LAYERS[name].stride_px
        )


def test_one_tile_is_the_whole_image():
    assert plan_tiles((331, 203), DEEP, 1024) == whole((331, 203))
    assert borders(whole((331, 203))) == ((), ())
    assert borders(plan_tiles((200, 300), DEEP, 112)) == ((112,), (112, 224))


def test_tiles_cost_a_third_more_pixels_at_print_size():
    tiles = plan_tiles((7500, 10_000), DEEP, 1024)
    shown = sum(tile.outer.pixels for tile in tiles)
    assert 1.2 < shown / (7500 * 10_000) < 1.4


def test_a_tile_smaller_than_the_deepest_stride_is_refused():
    with pytest.raises(ValueError, match="8 px.*16"):
        plan_tiles((100, 100), DEEP, 8)
