"""The arrow of imports: every module imports only from the rooms before its own, lazy imports included.

import-linter was tried for this. It finds modules by walking the package's folder, so it does not see
distributed/ and presets/, which setup.cfg installs into the package from elsewhere; it would check neither
what they import nor who imports them, and that only distributed/ names Ray is half of what this file is for.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Rooms in the order of the arrow: a module imports only from its own room and those before it.
ROOMS = (
    "render.errors",
    "render.wording",
    "render.system",
    "render.network",
    "render.pictures",
    "render.jobs",
    "render.painting",
    "render.gan",
    "render.runners",
    "render.distributed",
    "render.api",
    "render.cli",
    "render.__main__",
)

# Modules and rooms that must not load torch: a batch is planned, and its files are written, without it.
NO_TORCH = (
    "render.errors",
    "render.wording",
    "render.system",
    "render.pictures",
    "render.jobs",
    "render.network.layers",
    "render.network.tiling",
    "render.network.memory",
    "render.gan.shards",
)
# Rooms that may import less than the arrow allows.
ALLOWED = {
    "render.network": ("render.system",),
    "render.pictures": ("render.system",),
    "render.jobs": ("render.system", "render.pictures", "render.network.layers"),
    # Names for editors, which are loaded at first use.
    "render": ("render.api", "render.jobs.events", "render.runners.batch"),
}
FREE = ("render", "render.errors", "render.wording", "render.presets")


def modules() -> dict[str, Path]:
    """{name: file} of every installed module (setup.cfg: presets/ as render.presets, and so on)."""
    found = {}
    for package, folder in (
        ("render", "render"),
        ("render.presets", "presets"),
        ("render.distributed", "distributed"),
    ):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join((package, *path.relative_to(ROOT / folder).with_suffix("").parts))
            found[name.removesuffix(".__init__")] = path
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


def room(name: str) -> str:
    return next((room for room in ROOMS if name == room or name.startswith(room + ".")), name)


def wrong_imports(name: str, source: str) -> list[str]:
    """Imports of our own modules that this module's room must not make."""
    ours = [other for other in imports(source) if other.split(".")[0] == "render" and other not in FREE]
    return [other for other in ours if room(other) != room(name) and not _may(room(name), other)]


def _may(mine: str, other: str) -> bool:
    allowed = ALLOWED.get(mine, ROOMS[: ROOMS.index(mine)] if mine in ROOMS else ())
    return any(other == each or other.startswith(each + ".") for each in allowed)


def circles(names: set[str]) -> list[str]:
    """Modules that import each other in a circle."""
    above = {name: {other for other in imports(SOURCES[name]) if other in names} for name in names}
    left = dict(above)
    while found := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in found}
    return sorted(left)


def users_of(package: str) -> set[str]:
    return {
        name
        for name, source in SOURCES.items()
        if package in {other.split(".")[0] for other in imports(source)}
    }


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


def _is_literal(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "Literal"


def says_cuda(source: str) -> bool:
    """Whether code names CUDA other than as one of an option's choices, or of a type's."""
    tree = ast.parse(source)
    options = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "choices"]
    types = [node for node in ast.walk(tree) if isinstance(node, ast.Subscript) and _is_literal(node.value)]
    allowed = {id(item) for node in options for item in ast.walk(node.value)}
    allowed |= {id(item) for node in types for item in ast.walk(node.slice)}
    return any("cuda" in word.lower() and id(node) not in allowed for node, word in code_words(tree))


def test_every_module_stands_in_a_room():
    assert {name for name in MODULES if room(name) not in ROOMS} == {"render", "render.presets"}


@pytest.mark.parametrize("name", MODULES)
def test_no_import_of_ours_points_up(name):
    assert wrong_imports(name, SOURCES[name]) == []


def test_no_module_imports_itself_by_way_of_others():
    # Without the package itself, whose version many name and which names the API for editors only.
    assert circles(set(MODULES) - {"render"}) == []


@pytest.mark.parametrize(
    "line",
    [
        "from render.cli import main",
        "import render.cli.main",
        "from render.cli.main import main",
        "def f():\n    from render.cli.main import main",
    ],
)
def test_an_import_that_points_up_is_found_wherever_it_stands(line):
    assert wrong_imports("render.jobs.job", line) != []
    assert (
        wrong_imports(
            "render.jobs.job", line.replace("cli.main", "system.files").replace("render.cli", "render.system")
        )
        == []
    )


def test_a_room_that_may_know_less_than_the_arrow_allows_knows_less():
    assert wrong_imports("render.pictures.images", "from render.network import layers") == [
        "render.network.layers"
    ]


def test_presets_hold_data_alone():
    assert [path.name for path in (ROOT / "presets").rglob("*.py")] == ["__init__.py"]
    assert list(imports(SOURCES["render.presets"])) == []


def test_only_distributed_names_ray():
    assert {name for name in users_of("ray") if not name.startswith("render.distributed")} == set()


def test_only_the_guard_names_torchvision():
    assert users_of("torchvision") == {"render.network.torchvision_guard"}


def torch_free() -> list[str]:
    return [name for name in MODULES if any(name == each or name.startswith(each + ".") for each in NO_TORCH)]


def test_the_rooms_without_torch_never_name_it():
    assert users_of("torch").isdisjoint(torch_free())
    assert "render.painting.renderer" in users_of("torch")


@pytest.mark.parametrize(("more", "loads_torch"), [((), False), (("render.network.linalg",), True)])
def test_importing_them_loads_no_torch(more, loads_torch):
    code = f"import sys, {', '.join([*torch_free(), *more])}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loads_torch)


def test_only_the_device_module_says_cuda():
    assert {name for name in SOURCES if says_cuda(SOURCES[name])} == {"render.network.device"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('x.to("cuda:0")', True),
        ("torch.cuda.synchronize()", True),
        ('f(choices=("auto", "cuda")); g("cuda")', True),
        ('f(choices=("auto", "cuda"))', False),
        ('Name = Literal["auto", "cuda"]', False),
        ('Name = Literal["cpu"]; names["cuda"]', True),
        ('"""On cuda."""  # cuda', False),
    ],
)
def test_cuda_is_found_in_code_and_not_in_prose(source, found):
    assert says_cuda(source) == found
