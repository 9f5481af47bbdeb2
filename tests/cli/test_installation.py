"""How the program is installed: its commands, and other packages of the same name beside it."""

import configparser
import os
import subprocess
from pathlib import Path

import pytest

from helpers.program import PROGRAM
from render.cli import installation

ROOT = Path(__file__).parents[2]


def install(folder: Path, name: str, *, top_level: str = "", scripts: str = "") -> None:
    """A distribution as pip leaves it, with an import or a command."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("")
    if top_level:
        (info / "top_level.txt").write_text(f"{top_level}\n")
    if scripts:
        (info / "entry_points.txt").write_text(f"[console_scripts]\n{scripts}\n")


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"top_level": "render"}, ["an import `render`"]),
        ({"scripts": "render = render.cli:main"}, ["a command `render`"]),
        (
            {"top_level": "render", "scripts": "render = render.cli:main"},
            ["a command `render`", "an import `render`"],
        ),
    ],
)
def test_another_package_that_has_our_import_or_command_is_found(tmp_path, monkeypatch, facts, what):
    install(tmp_path, "render", **facts)
    install(tmp_path, "harmless", top_level="harmless", scripts="harmless = harmless:main")
    monkeypatch.syspath_prepend(tmp_path)
    assert installation.rivals() == {"render": what}


def test_we_are_no_rivals_of_ourselves(tmp_path, monkeypatch):
    assert installation.rivals() == {}
    install(tmp_path, "Render_Prints", top_level="render", scripts="render = render.__main__:main")
    monkeypatch.syspath_prepend(tmp_path)
    assert installation.rivals() == {}


def test_the_doctor_warns_of_a_rival_and_says_what_to_do(tmp_path):
    install(tmp_path, "render", top_level="render", scripts="render = render.cli:main")
    done = subprocess.run(
        [*PROGRAM, "doctor"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    (warning,) = [line for line in done.stdout.splitlines() if line.startswith("WARNING")]
    for text in (
        "the package render has installed a command `render` and an import `render` here too",
        "pipx install render-prints",
        "uv tool install render-prints",
    ):
        assert text in warning


def test_both_commands_are_the_same_program():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    scripts = dict(
        map(str.strip, line.split("="))
        for line in setup["options.entry_points"]["console_scripts"].strip().splitlines()
    )
    assert scripts == {"render": "render.__main__:main", "render-prints": "render.__main__:main"}
    assert setup["metadata"]["name"] == installation.OURS
