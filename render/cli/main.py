"""The command line: which commands there are, and how they end. Nothing heavy is imported before a command
needs it."""

import argparse
import os
import sys

from render import __version__
from render.cli import batch, doctor, gan, image, presets, recolor, status, submit
from render.cli.arguments import Parser
from render.cli.messages import complain
from render.errors import RenderError, UsageError
from render.system import interrupts, streams
from render.system.interrupts import INTERRUPTED

EXAMPLES = """examples:
  render batch --styles presets/paintings --inputs photos/
  render batch --styles impasto_nocturne my/starry_night.jpg --inputs photos/ --size 3072 --format tiff
  render batch --styles paintings --inputs photos/ --print A2 --bleed 3mm --fit fill --format tiff
  render image photo.jpg impasto_nocturne --output print.png --size 1024
  render recolor prints/ --color luminance
  render presets list
  render submit --address http://localhost:8265 --styles paintings --inputs photos/ --size 3072
  render status prints/
  render gan train --data paintings/ --crop tiles --output gans/paintings
  render batch --styles paintings --inputs 'gan:gans/paintings/gan.safetensors?count=16&seed=7' --size 3072
"""


WELCOME = """render: every photograph in every painting's style, at print size.

  What this machine has, and whether it can render:
      render doctor
  One photograph in one style:
      render image photo.jpg impasto_nocturne --output print.png
  Every photograph in every style:
      render batch --styles paintings --inputs photos/

All commands: render --help. The options of one: render batch --help.
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command.

    Exit status: 0 all done, 1 some job failed, or a log or the ledger is incomplete, 2 wrong usage, 130
    interrupted.
    """
    with interrupts.as_one(), streams.guarded():
        try:
            arguments = parser().parse_args(argv)
        except UsageError as error:  # of an option's value
            return complain(error, 2)
        if getattr(arguments, "only_reports", False):  # it makes no files, so it ends when nobody reads it
            streams.need()
        status = _run(arguments)
        interrupts.hold()
        return streams.verdict(status, as_json=getattr(arguments, "json", False))


def _run(arguments) -> int:
    # Read when torch is loaded: threads that wait without spinning. On a busy machine a spinning one keeps
    # its core from the thread it waits for (a job of 25 s took 146 s); on a quiet one it gains nothing
    # measurable.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return arguments.command(arguments) or 0
    except UsageError as error:
        return complain(error, 2)
    except RenderError as error:
        return complain(error, 1)
    except KeyboardInterrupt:
        print(
            "render: interrupted. What is finished is kept; run the same command again to go on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    except streams.Lost:  # `render presets list | head`
        return 1


def _welcome(arguments) -> int:
    print(WELCOME, end="")
    return 0


def parser() -> Parser:
    found = Parser(
        prog="render",
        description="Every photograph in every painting's style, at print size.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--version", action="version", version=f"render {__version__}")
    found.set_defaults(command=_welcome)  # its other defaults would be those of every command
    for each in (batch, image, recolor, presets, submit, status, gan, doctor):
        each.add(found)
    return found
