"""How a command reads: options as values, from which argparse's parsers and the reference (docs/options.md)
are made."""

import argparse
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from render.errors import UsageError, brief
from render.wording import plain


@dataclass(frozen=True)
class Option:
    """An option of a command, or, where its name has no dashes, an argument."""

    name: str  # "--size", or "style"
    meaning: str  # one sentence, without range and default, which are added where it is shown
    default: Any = None
    range: str = ""  # what is allowed, where there are no choices
    metavar: str | None = None  # of the value
    choices: tuple[Any, ...] = ()
    parse: Callable[[str], Any] = (
        str  # the value of a text; raises ValueError, or UsageError with the whole message
    )
    write: Callable[[Any], str] = str  # the text of a value
    default_shown: str = ""  # in place of the default where that is not a value: "80 % of what is free"
    required: bool = False
    nargs: Literal["?", "*", "+"] | None = None  # of the values of one option, as argparse has it
    without_value: Any = None  # with nargs "?": the value of the bare option
    kind: Literal["value", "repeated", "flag", "on or off"] = "value"
    instead_of: str = ""  # another option that must not be given beside this one

    @property
    def is_argument(self) -> bool:
        return not self.name.startswith("-")

    @property
    def attribute(self) -> str:
        """Of the parsed arguments, where its value is found."""
        return self.name.lstrip("-").replace("-", "_")

    @property
    def label(self) -> str:
        return (self.metavar or self.name) if self.is_argument else self.name

    def value_of(self, text: str) -> Any:
        """Raises UsageError, which names the option, the text and what is allowed."""
        try:
            value = self.parse(text)
        except ValueError as error:
            raise UsageError(f"{self.label} {brief(text)}: {error}.") from None
        if self.choices and value not in self.choices:
            known = [str(choice) for choice in self.choices]
            near = difflib.get_close_matches(text, known, n=1)
            advice = f" Did you mean '{near[0]}'?" if near else ""
            raise UsageError(f"{self.label} {brief(text)}: must be one of {' | '.join(known)}.{advice}")
        return value

    def default_text(self) -> str:
        """The default as the reference shows it, "" where there is none."""
        if self.default_shown or self.default in (None, "", (), []) or isinstance(self.default, bool):
            return self.default_shown
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def range_text(self) -> str:
        return " | ".join(map(str, self.choices)) or self.range

    def help(self) -> str:
        """The meaning with range and default, for `--help`."""
        default = self.default_text()
        notes = [*([] if self.choices else [self.range]), f"default: {default}" if default else ""]
        noted = "; ".join(note for note in notes if note)
        return f"{self.meaning} [{noted}]" if noted else self.meaning


class Parser(argparse.ArgumentParser):
    """A command. Its options are added when it is asked to parse, so that `render --help` waits for none of
    them.

    Its errors are one line without control characters: the shell's `*` puts file names among the arguments.
    """

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.options: list[Option] = []
        self.commands: dict[str, Parser] = {}
        self.summary = self.example = ""
        self._fill: Callable[[Parser], None] | None = None
        self._subcommands: Any = None

    def error(self, message):
        super().error(plain(message))

    def command(self, name: str, summary: str, example: str, fill: Callable[["Parser"], None]) -> "Parser":
        """A command of this one.

        Args:
            name: As it is typed.
            summary: What it does: a sentence without capital and period.
            example: A line to paste.
            fill: Adds its options; called when they are needed.
        """
        if self._subcommands is None:
            # At the top the bare command is a welcome (main.py).
            nested = " " in self.prog
            self._subcommands = self.add_subparsers(title="commands", metavar="COMMAND", required=nested)
        parser = self._subcommands.add_parser(
            name,
            help=summary,
            description=sentence(summary),
            epilog=f"example:\n  {example}" if example else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser._fill, parser.summary, parser.example = fill, summary, example
        self.commands[name] = parser
        return parser

    def complete(self) -> "Parser":
        """With all its options."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return self

    def parse_known_args(self, args=None, namespace=None):
        return super(Parser, self.complete()).parse_known_args(args, namespace)

    def add(self, *options: Option) -> None:
        exclusive = {}
        names = {option.instead_of for option in options}
        for option in options:
            place = self
            if key := option.instead_of or (option.name if option.name in names else ""):
                place = exclusive.get(key) or exclusive.setdefault(key, self.add_mutually_exclusive_group())
            place.add_argument(option.name, **_for_argparse(option))
            self.options.append(option)


def sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _for_argparse(option: Option) -> dict[str, Any]:
    found: dict[str, Any] = {"help": option.help().replace("%", "%%")}
    if option.kind == "flag":
        return found | {"action": "store_true"}
    if option.kind == "on or off":
        return found | {"action": argparse.BooleanOptionalAction, "default": option.default}
    found |= {"type": option.value_of, "default": option.default, "nargs": option.nargs}
    if option.kind == "repeated":
        found |= {"action": "append", "default": []}
    if option.choices:
        found["metavar"] = "{" + ",".join(map(str, option.choices)) + "}"
    elif option.metavar:
        found["metavar"] = option.metavar
    if option.without_value is not None:
        found["const"] = option.without_value
    if not option.is_argument:
        found["required"] = option.required
    return found


@dataclass(frozen=True)
class Number:
    """A number within bounds: parses texts, and says what is allowed."""

    kind: type[int] | type[float] = float
    least: float | None = None
    above: float | None = None  # all are larger
    most: float | None = None

    def __call__(self, text: str) -> Any:
        """Raises ValueError."""
        try:
            found = self.kind(text)
        except ValueError:
            raise ValueError(f"must be a {'whole ' if self.kind is int else ''}number") from None
        enough = self.least is None or found >= self.least
        if not (
            enough
            and (self.above is None or found > self.above)
            and (self.most is None or found <= self.most)
        ):
            raise ValueError(f"must be {self}")
        return found

    def __str__(self) -> str:
        if self.above is not None:
            return f"above {self.above:g}"
        return f"{self.least:g} or more" if self.most is None else f"{self.least:g} to {self.most:g}"


COUNT, INDEX = Number(int, least=1), Number(int, least=0)


def numeric(name: str, meaning: str, number: Number, **more) -> Option:
    """An option whose value is a number."""
    return Option(name, meaning, range=str(number), parse=number, **more)


def checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """A parser that refuses what `parse` refuses, and leaves the text as it is."""

    def parsed(text: str) -> str:
        parse(text)
        return text

    return parsed
