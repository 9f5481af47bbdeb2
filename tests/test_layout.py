"""Where tests stand: in folders that mirror render/, and what they share in helpers."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FILES = sorted(TESTS.rglob("*.py"))
# helpers hold no tests; torture's and scripts' are those of scripts/, and docs' hold the pages to the code.
OTHERS = {"helpers", "torture", "scripts", "docs"}


def rooms() -> set[str]:
    """Names that stand directly in render/, and distributed/, which is installed there."""
    return {path.stem for path in (ROOT / "render").iterdir()} | {"distributed"}


def borrowed(source: str, modules: set[str]) -> set[str]:
    """Of these modules, those that the source imports from."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in modules if any(name in other.split(".") for other in found)}


def test_every_folder_of_tests_is_a_room_of_render():
    folders = {path.parent.relative_to(TESTS).parts[0] for path in FILES if path.parent != TESTS}
    assert folders - OTHERS <= rooms()
    assert "nowhere" not in rooms()


TEST_FILES = {path.stem for path in FILES if path.stem.startswith(("test_", "conftest"))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_file_imports_from_another(path):
    assert borrowed(path.read_text(encoding="utf-8"), TEST_FILES) == set()


@pytest.mark.parametrize(
    "line", ["import test_layout", "from test_layout import rooms", "from tests import test_layout"]
)
def test_an_import_from_another_test_file_is_found(line):
    assert borrowed(line, TEST_FILES) == {"test_layout"}
