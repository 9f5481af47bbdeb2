#!/usr/bin/env python3
"""Writes docs/options.md: every command's options and every key of a look, from the definitions that the
program itself uses.

    python scripts/make_docs.py             # writes it
    python scripts/make_docs.py --check     # says whether it is up to date; exit status 1 where it is not
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's render, whichever one is installed

from render.cli import main as program  # noqa: E402
from render.cli.arguments import Option, Parser, sentence  # noqa: E402
from render.jobs.look import describe_look  # noqa: E402

PAGE = ROOT / "docs" / "options.md"
COMMAND = "python scripts/make_docs.py"
HEAD = f"""# Options

This page is written by `{COMMAND}`; change the definitions in `render/` instead of it.
`render COMMAND --help` shows the same.
"""
LOOK_HEAD = """## Keys of a look

In the `[look]` table of a preset, or as `--set KEY=VALUE`. `render presets keys` lists the same.
"""


def page() -> str:
    """The text of docs/options.md."""
    sections = [section for child in program.parser().commands.values() for section in _sections(child)]
    return "\n".join([HEAD, *sections, LOOK_HEAD, _look_table()])


def _sections(parser: Parser) -> Iterator[str]:
    """Of a command and of those inside it."""
    parser.complete()
    if parser.commands:
        for child in parser.commands.values():
            yield from _sections(child)
        return
    example = "\n".join(f"    {line.strip()}" for line in parser.example.splitlines())
    parts = [f"## {parser.prog}\n", f"{sentence(parser.summary)}\n", f"{example}\n"]
    if parser.options:
        rows = [(_name(o), o.meaning, o.range_text(), _default(o)) for o in parser.options]
        parts.append(_table(("option", "meaning", "range", "default"), rows))
    yield "\n".join(parts)


def _name(option: Option) -> str:
    value = "" if option.kind in ("flag", "on or off") else option.metavar or ""
    if option.is_argument:
        return f"`{option.label}`"
    if option.kind == "on or off":
        return f"`{option.name}`, `--no-{option.name.lstrip('-')}`"
    if option.choices and not value:
        return f"`{option.name}`"
    value = f"[{value}]" if option.nargs == "?" else f"{value} ..." if option.nargs else value
    return f"`{option.name} {value}`" if value else f"`{option.name}`"


def _default(option: Option) -> str:
    must_be_given = option.required or (option.is_argument and option.nargs in (None, "+"))
    return "required" if must_be_given else option.default_text()


def _look_table() -> str:
    rows = [
        (f"`{key.key}`", key.description, key.range, f"`{json.dumps(key.default)}`")
        for key in describe_look()
    ]
    return _table(("key", "meaning", "range", "default"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def stale() -> str | None:
    """What to do, where the page is not what the definitions say; None where it is."""
    current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if current == page():
        return None
    return f"{PAGE.relative_to(ROOT)} is not up to date. Refresh it: {COMMAND}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where it is stale")
    if parser.parse_args().check:
        if message := stale():
            print(message, file=sys.stderr)
        return 1 if message else 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
