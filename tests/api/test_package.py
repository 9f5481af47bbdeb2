"""What `import render` gives: every name of the API, its types, and nothing heavy."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import render
from render import errors

ROOT = Path(__file__).parents[2]


def modules_after(code: str) -> set[str]:
    code = f"import sys\n{code}\nprint(*sorted(name.split('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "numpy", "PIL", "cv2", "pydantic", "rich", "ray"}


@pytest.mark.parametrize("code", ["import render", "import render; render.RenderError; dir(render)"])
def test_importing_the_package_loads_nothing_heavy(code):
    assert modules_after(code) & HEAVY == set()
    assert "torch" in modules_after("import render; render.Painter")


def test_a_finished_picture_is_known_without_torch():
    assert "torch" not in modules_after("import render; render.Art, render.Progress")


@pytest.mark.parametrize("name", render.__all__)
def test_every_name_of_the_api_is_there(name):
    assert name in dir(render) and getattr(render, name) is not None
    assert name == "__version__" or getattr(render, name).__doc__ or name in vars(errors)


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'render' has no attribute 'stylise'"):
        render.stylise  # noqa: B018


def test_every_error_is_one_of_the_packages_and_of_pythons():
    mine = [getattr(render, name) for name in render.__all__ if name.endswith(("Error", "Short"))]
    known = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert set(mine) == set(known) and all(issubclass(kind, render.RenderError) for kind in mine)
    assert issubclass(render.ArgumentError, ValueError) and issubclass(render.ArgumentTypeError, TypeError)
    assert issubclass(render.MemoryShort, MemoryError)


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "render/py.typed").is_file()
    assert "render =\n    py.typed\n" in (ROOT / "setup.cfg").read_text(encoding="utf-8")


TYPED = """
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import render
from PIL import Image

art: render.Art = render.stylize(Path("a.jpg"), {"x": 1.0}, size=64, quality="draft", content_weight=0.3)
art = render.stylize(np.zeros((20, 20, 3)), [(Image.new("RGB", (20, 20)), 1.0)], memory="8GiB")
pixels: np.ndarray = art.pixels
image: Image.Image = art.image
facts: tuple[float, tuple[str, ...], dict] = art.loss, art.findings, art.recipe
path: Path = art.save("a.tif", bit_depth=16, profile="adobe-rgb")


def report(event: object) -> None:
    if isinstance(event, render.Progress):
        print(event.iteration, event.loss)


with render.Painter(device="auto", memory="8GiB") as paint:
    art = paint("a.jpg", "x", report=report, style_layers={"relu1_1": 1.0})
    arts: Iterator[render.Art] = paint.batch(["a.jpg"], "x", size=64)
    summary: render.Summary = paint.batch(["a.jpg"], "x", "prints", workers=2, format="tiff")
"""
WRONG = {
    "an unknown keyword": 'render.stylize("a", "x", content_weigth=0.3)',
    "a value that is no choice": 'render.stylize("a", "x", quality="drfat")',
    "a wrong type": 'render.stylize("a", "x", size="64")',
    "an option of files": 'render.stylize("a", "x", bit_depth=16)',
    "a photograph that is none": 'render.stylize(3, "x")',
    "a device that is none": 'render.Painter(device="gpu")',
    "a batch's result": 'summary: render.Summary = render.Painter().batch("a", "x")',
}


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_a_type_checker_accepts_right_programs_and_finds_what_is_wrong(tmp_path):
    lines = "\n".join(f"{code}  # {what}" for what, code in WRONG.items())
    (tmp_path / "right.py").write_text(TYPED)
    (tmp_path / "wrong.py").write_text(f"import render\n{lines}\n")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"])
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    }
    assert found == {("wrong.py", 1 + i) for i in range(len(WRONG))}
