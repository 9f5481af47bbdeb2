"""The arrow of imports: every module of ours names only modules above it, lazy imports included."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ORDER = (
    "render", "render.large_pages", "render.interrupts", "render.streams", "render.child", "render.wording", "render.decoder_warnings", "render.words", "render.errors", "render.files", "render.deadline", "render.notify", "render.prints", "render.layers", "render.tiling", "render.memory", "render.icc", "render.images",
    "render.export", "render.colour", "render.photoreal", "render.checks", "render.presets.toml", "render.presets.look", "render.presets",
    "render.schedule", "render.jobs", "render.events", "render.ledger", "render.outputs",
    "render.device", "render.linalg", "render.moments", "render.losses", "render.features", "render.objective",
    "render.optimise", "render.torchvision_guard", "render.weights", "render.checkpoint", "render.finish", "render.pipeline",
    "render.recolor", "render.batch",
    "render.gan", "render.gan.architectures", "render.gan.losses", "render.gan.augment", "render.gan.data", "render.gan.foreign",
    "render.gan.facts", "render.gan.files", "render.gan.training", "render.gan.sampling", "render.gan.sheets", "render.gan.shards", "render.gan.rendering",
    "render.remote", "render.local", "render.distributed", "render.estimate", "render.console", "render.doctor",
    "render.runners", "render.gan.screen", "render.gan.commands", "render.cli", "render.__main__",
)  # fmt: skip

PLANNING = ("errors", "files", "layers", "icc", "images", "export", "schedule", "jobs", "ledger", "outputs", "events", "presets", "presets.look",
            "gan.shards")


def modules() -> dict[str, Path]:
    """Name and file of every module that is installed (setup.cfg: presets/ as render.presets, and so on)."""
    found = {}
    for package, folder in (("render", "render"), ("render.gan", "render/gan"), ("render.presets", "presets"), ("render.distributed", "distributed")):
        for path in sorted((ROOT / folder).glob("*.py")):
            found[package if path.stem == "__init__" else f"{package}.{path.stem}"] = path
    return found


MODULES = modules()
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}


def imports(source: str) -> Iterator[str]:
    """Every module named by an import anywhere in the source: `from render import jobs` names render.jobs."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in inside)


def place(name: str) -> int:
    """A package's modules stand at the package's place, unless they have one of their own."""
    while name not in ORDER:
        name = name.rpartition(".")[0]
    return ORDER.index(name)


def backward_imports(name: str, source: str) -> list[str]:
    ours = [other for other in imports(source) if other.split(".")[0] == "render"]
    return [other for other in ours if place(other) >= place(name) and place(other) != place("render")
            and not (other.startswith("render.distributed") and name.startswith("render.distributed"))]


def users_of(package: str) -> set[str]:
    return {name for name, source in SOURCES.items() if package in {other.split(".")[0] for other in imports(source)}}


def code_words(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Names and strings of the code; comments and docstrings are not code."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node, node.value
        elif isinstance(node, ast.Attribute):
            yield node, node.attr
        elif isinstance(node, ast.Name):
            yield node, node.id


def says_cuda(source: str) -> bool:
    """Whether code names CUDA other than as one of an option's choices."""
    tree = ast.parse(source)
    options = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "choices"]
    allowed = {id(item) for option in options for item in ast.walk(option.value)}
    return any("cuda" in word.lower() and id(node) not in allowed for node, word in code_words(tree))


def test_every_module_has_its_place_in_the_order():
    assert set(ORDER) <= set(MODULES)
    unplaced = {name for name in MODULES if name not in ORDER and not name.startswith("render.distributed.")}
    assert not unplaced, f"give {unplaced} a place in ORDER"


@pytest.mark.parametrize("name", MODULES)
def test_every_import_of_ours_points_to_an_earlier_module(name):
    assert backward_imports(name, SOURCES[name]) == []


@pytest.mark.parametrize("line", ["from render import cli", "import render.cli", "from render.cli import main",
                                  "def f():\n    from render.cli import main"])
def test_an_import_that_points_forward_is_found_wherever_it_stands(line):
    assert backward_imports("render.jobs", line) == ["render.cli"]
    assert backward_imports("render.jobs", line.replace("cli", "errors")) == []


def test_only_distributed_names_ray():
    assert {name for name in users_of("ray") if not name.startswith("render.distributed")} == set()


def test_only_the_guard_names_torchvision():
    assert users_of("torchvision") == {"render.torchvision_guard"}


def test_the_planning_modules_never_name_torch():
    assert users_of("torch").isdisjoint(f"render.{name}" for name in PLANNING)
    assert "render.pipeline" in users_of("torch")


@pytest.mark.parametrize(("names", "loads_torch"), [(PLANNING, False), ((*PLANNING, "linalg"), True)])
def test_importing_the_planning_modules_loads_no_torch(names, loads_torch):
    code = f"import sys, {', '.join('render.' + name for name in names)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loads_torch)


def test_only_the_device_module_says_cuda():
    assert {name for name in SOURCES if says_cuda(SOURCES[name])} == {"render.device"}


@pytest.mark.parametrize(("source", "found"), [
    ('x.to("cuda:0")', True),
    ("torch.cuda.synchronize()", True),
    ('f(choices=("auto", "cuda")); g("cuda")', True),
    ('f(choices=("auto", "cuda"))', False),
    ('"""On cuda."""  # cuda', False),
])  # fmt: skip
def test_cuda_is_found_in_code_and_not_in_prose(source, found):
    assert says_cuda(source) == found
