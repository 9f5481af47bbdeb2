"""`render recolor`: finished prints in other colors, without painting again."""

from pathlib import Path

from render.cli.arguments import command
from render.cli.messages import report
from render.errors import RenderError, UsageError
from render.wording import plain


def add(commands) -> None:
    parser = command(
        commands,
        "recolor",
        "give finished prints other colours, without rendering again",
        "render recolor prints/ --color luminance",
    )
    parser.add_argument(
        "prints", nargs="+", type=Path, metavar="PRINT|FOLDER", help="prints, or the batch's output folder"
    )
    parser.add_argument(
        "--color",
        choices=("style", "luminance", "histogram"),
        required=True,
        help="see `render batch --help`",
    )
    parser.add_argument(
        "--photo", type=Path, help="of a single print that was moved away from its batch's folder"
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
