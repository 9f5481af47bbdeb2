"""The programs that painted the shipped style pictures still paint them."""

import importlib
import tomllib
import zlib
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SMALL_PX = 48
QUICK = (  # under half a second each; the others paint thousands of strokes at any size
    "art_nouveau_curves",
    "marbling",
    "stained_glass",
    "sumi_e_ink",
    "watercolour_wash",
    "woodblock_wave",
)


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("paint_presets")


NAMES = sorted(path.stem for path in (ROOT / "presets" / "paintings").glob("*.jpg"))


def painted(name: str) -> np.ndarray:
    painter = importlib.import_module(f"painting.{name}")
    return painter.paint(SMALL_PX, np.random.default_rng(zlib.crc32(name.encode())))


@cache
def shipped(name: str) -> np.ndarray:
    path = ROOT / "presets" / "paintings" / f"{name}.jpg"
    bgr = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_8)  # an eighth of its size is enough here
    return bgr[..., ::-1].astype(np.float32) / 255


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two pictures seen from far away, at 12 x 12 px."""
    far = [cv2.resize(each, (12, 12), interpolation=cv2.INTER_AREA).ravel() for each in (a, b)]
    return float(np.corrcoef(*far)[0, 1])


def test_every_shipped_painting_has_its_program(scripts):
    assert sorted(scripts.PAINTINGS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_small_painting_looks_like_the_shipped_one_and_no_other(name):
    small, large = painted(name), shipped(name)
    height, width = large.shape[:2]
    assert small.dtype == np.float32 and max(small.shape) == SMALL_PX
    assert abs(small.shape[0] / small.shape[1] - height / width) < 2 / SMALL_PX
    assert np.isfinite(small).all() and small.min() >= 0 and small.max() <= 1 and small.std() > 0.05
    closest = max(NAMES, key=lambda other: likeness(small, shipped(other)))
    assert closest == name


@pytest.mark.parametrize("name", QUICK)
def test_a_painting_is_the_same_in_every_run(name):
    assert np.array_equal(painted(name), painted(name))


def test_the_script_writes_the_picture_and_its_preset_and_the_same_bytes_again(scripts, tmp_path):
    options = ["marbling", "--size", str(SMALL_PX), "--output", str(tmp_path)]
    scripts.main(options)
    first = (tmp_path / "marbling.jpg").read_bytes()
    scripts.main(options)
    assert (tmp_path / "marbling.jpg").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marbling.jpg", "marbling.toml"]
    preset = tomllib.loads((tmp_path / "marbling.toml").read_text(encoding="utf-8"))
    assert preset["licence"] == "CC0-1.0" and preset["pictures"] == [{"file": "marbling.jpg"}]


def test_an_unknown_painting_is_refused_with_the_nearest_name(scripts, capsys):
    with pytest.raises(SystemExit):
        scripts.main(["marblin"])
    assert "Did you mean 'marbling'?" in capsys.readouterr().err
