"""The pages in Markdown: links lead somewhere, command lines parse, lines fit."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from render.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# Pages of the reader's tasks: what is new is held to the line length; the older reports are not rewrapped.
WRAPPED = [ROOT / "README.md", *sorted(set(ROOT.glob("docs/**/*.md")) - {ROOT / "docs" / "options.md"})]
# Linked pages that are added together with the code they describe: checked as soon as they are there.
LONGEST_LINE = 110
LONGEST_README = 120
PROGRAMS = ("render", "render-prints")


# --- reading Markdown ---------------------------------------------------------------------------------------


def blocks(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is code: fenced, or indented after a blank line or other code."""
    fenced, indented, before = False, False, ""
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        indented = line.startswith("    ") and (indented or not before.strip())
        yield line, not fence and (fenced or indented)
        fenced ^= fence
        before = line


def code(text: str) -> list[str]:
    return [line for line, is_code in blocks(text) if is_code]


def prose(text: str) -> list[str]:
    return [line for line, is_code in blocks(text) if not is_code]


def links(text: str) -> list[str]:
    """Targets of links and pictures, without those inside code."""
    plain = re.sub(r"`[^`]*`", lambda code: "x" * len(code[0]), "\n".join(prose(text)))
    return re.findall(r"\]\(([^)\s]+)\)", plain)


def missing_paths(text: str) -> list[str]:
    """Files and folders of the project, named in backticks, that are not there; NAME stands for any."""
    named = re.findall(
        r"`((?:render|tests|scripts|presets|distributed|docs)/[\w./-]*)", "\n".join(prose(text))
    )
    return [path for path in named if "NAME" not in path and not (ROOT / path).exists()]


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading: lower case, no punctuation, hyphens for spaces."""
    words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return words.replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {anchor(line.lstrip("#")) for line in prose(text) if re.match(r"#{1,6} ", line)}


def broken(page: Path, text: str) -> list[str]:
    """Relative links of a page that lead nowhere."""
    return [link for link in links(text) if "://" not in link and not _leads(page, text, link)]


def _leads(page: Path, text: str, link: str) -> bool:
    path, _, name = link.partition("#")
    target = page if not path else (page.parent / path).resolve()
    if not target.exists():
        return False
    return not name or name in anchors(text if target == page else target.read_text(encoding="utf-8"))


# --- command lines ------------------------------------------------------------------------------------------


def commands(text: str) -> list[list[str]]:
    """Every command line of ours in a page's code, as words after the program's name; environment variables
    before it, comments and redirections are the shell's."""
    found = []
    for line in "\n".join(code(text)).replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a sentence of the program's output, with an apostrophe
            continue
        while words and re.fullmatch(r"\w+=\S*", words[0]):
            words.pop(0)
        if words and words[0].rsplit("/", 1)[-1] in PROGRAMS:
            found.append(_without_redirections(words[1:]))
    return found


def _without_redirections(words: list[str]) -> list[str]:
    first = next((i for i, word in enumerate(words) if re.match(r"\d?>|\||&&", word)), len(words))
    return words[:first]


def parses(words: list[str]) -> bool:
    try:
        main.parser().parse_args(words)
    except SystemExit as end:
        return end.code == 0  # --help, --version
    return True


def too_long(text: str) -> list[str]:
    """Lines beyond the limit; tables, and what a link's address makes long, are exempt."""
    return [
        line
        for line in text.splitlines()
        if len(re.sub(r"\]\([^)]*\)", "]()", line)) > LONGEST_LINE and not line.startswith("|")
    ]


# --- the pages ----------------------------------------------------------------------------------------------


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_and_anchor_leads_somewhere(page):
    assert broken(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_of_ours_that_is_named_exists(page):
    assert missing_paths(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_line_parses(page):
    wrong = [words for words in commands(page.read_text(encoding="utf-8")) if not parses(words)]
    assert wrong == []


@pytest.mark.parametrize("page", WRAPPED, ids=name)
def test_no_line_is_too_long(page):
    assert too_long(page.read_text(encoding="utf-8")) == []


def test_the_front_page_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_README


def test_every_page_of_docs_is_reached_from_the_front_page():
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        reached.add(page)
        found = {
            (page.parent / link.partition("#")[0]).resolve()
            for link in links(page.read_text(encoding="utf-8"))
        }
        todo += [each for each in found & set(PAGES) if each not in reached]
    assert {page for page in PAGES if page.parent == ROOT / "docs"} - reached == set()


def test_the_dependencies_are_explained_once_each():
    """Every package of setup.cfg stands in the table of docs/install.md."""
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    part = setup[setup.index("install_requires") : setup.index("[options.package_data]")]
    packages = set(re.findall(r"^    ([\w-]+)(?:\[[\w,]+\])?[>=]", part, flags=re.MULTILINE))
    assert {"torch", "moto", "ray"} <= packages
    install = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    table = install[install.index("## What it is built on") :]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    explained = [word for cell in first_cells for word in re.split(r"[ ,]+", cell.partition("(")[0])]
    extra = "ray"  # in two lines: with and without its dashboard
    assert {each: explained.count(each) for each in packages - {extra}} == dict.fromkeys(
        packages - {extra}, 1
    )
    assert extra in explained


# --- what the checks find -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](docs/install.md)", []),
        ("[a](docs/gone.md)", ["docs/gone.md"]),
        ("[a](#here)\n\n## Here", []),
        ("[a](#there)\n\n## Here", ["#there"]),
        ("[a](docs/install.md#the-demo)", []),
        ("[a](docs/install.md#the-damo)", ["docs/install.md#the-damo"]),
        ("![a](gone.png)", ["gone.png"]),
        ("[a](https://example.org/gone)", []),
        ("`[a](gone.md)`\n\n    [a](gone.md)\n", []),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text, found):
    assert broken(ROOT / "README.md", text) == found


def test_a_file_that_moved_is_found():
    assert missing_paths(
        "`render/wording.py`, `render/pipeline.py`, `scripts/torture/`, `else/where.py`"
    ) == ["render/pipeline.py"]


def test_anchors_are_githubs():
    assert (
        anchor(" Options of `render batch` and `render image`") == "options-of-render-batch-and-render-image"
    )
    assert anchor(" GANs (machine A, 2026-11-22)") == "gans-machine-a-2026-11-22"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\n    render doctor\n", [["doctor"]]),
        ("```\n.venv/bin/render doctor  # says\n```\n", [["doctor"]]),
        ("```\nrender \\\n    doctor\n```\n", [["doctor"]]),
        ("```\nX=1 render-prints doctor 2>> log\n```\n", [["doctor"]]),
        ("render doctor\n", []),
        ("\n    pip install render\n", []),
    ],
)
def test_command_lines_are_found_in_code_alone(text, found):
    assert commands(text) == found


def test_a_command_line_with_an_unknown_option_does_not_parse():
    assert parses(["batch", "--styles", "a", "--inputs", "b"])
    assert not parses(["batch", "--styles", "a", "--inputs", "b", "--sise", "3"])


def test_a_long_line_is_found_but_in_tables_and_links():
    long = "x " * 60
    assert too_long(long) == [long]
    assert too_long(f"| {long} |\n\n[a](https://example.org/{'x' * 100})") == []
