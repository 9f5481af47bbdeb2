"""docs/python.md: its code runs, from top to bottom in one session, and prints what the page says.

Sizes and iterations are made small; the network is the real one.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.pictures import painting_pixels, photo_pixels, save
from render.api import painter as painter_module
from render.jobs import schedule

pytestmark = pytest.mark.network

PAGE = Path(__file__).parents[2] / "docs/python.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> Iterator[tuple[int, str, str | None]]:
    """(line, code, what it prints or None) of each python fence; a text fence that follows is what it
    prints."""
    for found in FENCE.finditer(text):
        if found[1] == "python":
            yield text[: found.start()].count("\n") + 1, found[2], found[3]


def run(text: str, name: str) -> int:
    """Runs the blocks in one namespace; how many there are. Raises what they raise, and AssertionError for
    another output."""
    namespace, count = {"__name__": "page"}, 0
    for line, code, printed in blocks(text):
        code = re.sub(r"\bsize=\d+", "size=64", code)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile("\n" * line + code, name, "exec"), namespace)
        assert out.getvalue() == (printed or ""), f"{name}, line {line}"
        count += 1
    return count


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A working folder with the page's pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule, "QUALITIES", {"draft": (3, 1.0), "standard": (3, 1.0), "best": (3, 1.0)})
    monkeypatch.setattr(schedule, "FEWEST_ITERATIONS", 3)
    save(Path("painting.jpg"), painting_pixels())
    for i, name in enumerate(("photo.jpg", "photos/one.jpg", "photos/two.jpg")):
        save(Path(name), photo_pixels(seed=i))
    painter_module._kept.cache_clear()
    yield
    painter_module._kept.cache_clear()


def test_the_page_runs_and_prints_what_it_says(session):
    text = PAGE.read_text(encoding="utf-8")
    assert run(text, str(PAGE)) == text.count("```python") > 8


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", AssertionError),
        ("```python\nprint(1)\n```\n", AssertionError),
        ("```python\nx = 1\n```\n\nText.\n\n```python\nprint(y)\n```\n", NameError),
    ],
)
def test_a_page_that_says_something_else_is_found(page, error):
    with pytest.raises(error):
        run(page, "page")
    assert run("```python\nx = 1\n```\n\n```python\nprint(x)\n```\n\n```text\n1\n```\n", "page") == 2
