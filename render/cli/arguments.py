"""Words of the command line: how a command reads, and what counts as a number."""

import argparse

from render.wording import plain


class Parser(argparse.ArgumentParser):
    """Complains on one line and without control characters: the shell's `*` puts file names among the
    words."""

    def error(self, message):
        super().error(plain(message))


def command(commands, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def seconds(text: str) -> float:
    found = number(text)
    if not found >= 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return found


def minutes(text: str) -> float:
    found = number(text)
    if not found > 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return found


def share(text: str) -> float:
    found = number(text)
    if not 0 <= found <= 10:
        raise argparse.ArgumentTypeError("must be from 0 to 10")
    return found


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def positive(text: str) -> int:
    return _whole(text, 1)


def whole(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        found = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if found < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more")
    return found
