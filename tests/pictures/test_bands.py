"""Bands of rows: every row once and in order, whatever the size."""

import numpy as np
import pytest

from render.pictures import bands


@pytest.mark.parametrize("band_px", [1, 100, 10**6])
@pytest.mark.parametrize("rows_each", [None, 1, 7, 1000])
@pytest.mark.parametrize("size", [(1, 1), (53, 61), (40, 500, 3)])
def test_the_slices_cover_each_row_once_from_the_top(size, rows_each, band_px, monkeypatch):
    monkeypatch.setattr(bands, "BAND_PX", band_px)
    found = list(bands.row_slices(size, rows_each=rows_each))
    rows = [row for part in found for row in range(part.start, part.stop)]
    assert rows == list(range(size[0]))
    most = rows_each or max(1, band_px // size[1])
    assert all(part.stop - part.start <= most for part in found)


def test_a_change_in_bands_is_the_change_of_the_whole(monkeypatch):
    monkeypatch.setattr(bands, "BAND_PX", 100)
    a, b = np.random.default_rng(0).random((2, 53, 61, 3), dtype=np.float32)
    seen = []

    def change(a, b):
        seen.append(len(a))
        return a - 2 * b

    assert np.array_equal(bands.in_bands(change, a, b), a - 2 * b)
    assert len(seen) == 53 and bands.in_bands(change, a, b).dtype == np.float32
