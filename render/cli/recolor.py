"""`render recolor`: finished prints in other colors, without painting again."""

from pathlib import Path

from render.cli.arguments import Option, Parser
from render.cli.messages import report
from render.cli.options import setting
from render.errors import RenderError, UsageError
from render.wording import plain


def add(commands: Parser) -> None:
    commands.command(
        "recolor",
        "give finished prints other colors, without rendering again",
        "render recolor prints/ --color luminance",
        _fill,
    )


def _fill(parser: Parser) -> None:
    of_batch = setting("color")
    parser.add(
        Option(
            "prints",
            "Prints, or the output folder of a batch.",
            parse=Path,
            metavar="PRINT|FOLDER",
            nargs="+",
        ),
        Option(
            of_batch.name,
            "Colors of the prints, as for `render batch`.",
            choices=tuple(mode for mode in of_batch.choices if mode != "match"),  # which acts before painting
            required=True,
        ),
        Option(
            "--photo",
            "The photograph of a single print that was moved away from its batch's folder.",
            parse=Path,
            metavar="FILE",
        ),
    )
    parser.set_defaults(command=_recolor)


def _recolor(arguments) -> int:
    from render.painting import recolor

    if arguments.photo is not None and (len(arguments.prints) > 1 or arguments.prints[0].is_dir()):
        raise UsageError("--photo: name a single print with it.")
    problems = []
    for path in recolor.find_prints(arguments.prints):
        try:
            done = recolor.recolor(path, arguments.color, photo=arguments.photo)
        except RenderError as error:
            problems.append(error)
        else:
            print(
                f"done  {plain(path)}"
                + "".join(f"\n  look at it: {plain(finding)}" for finding in done.findings)
            )
    return report(problems)
