"""`render presets`: which styles there are, and new ones."""

from pathlib import Path

from render.cli.arguments import Option, Parser
from render.cli.messages import report
from render.errors import RenderError
from render.wording import plain


def add(commands: Parser) -> None:
    commands.command(
        "presets", "list, show, check and add styles", "render presets show impasto_nocturne", _fill
    )


def _fill(parser: Parser) -> None:
    parser.command(
        "list", "list the shipped styles, or those of a folder", "render presets list my-styles/", _fill_list
    )
    parser.command(
        "show", "show one style with its whole look", "render presets show impasto_nocturne", _fill_show
    )
    parser.command(
        "check", "check presets and their pictures", "render presets check my-styles/", _fill_check
    )
    parser.command(
        "add",
        "make a preset from a picture",
        "render presets add scan.jpg --name harbour --title 'Harbour at dusk' --folder my-styles",
        _fill_add,
    )
    parser.command(
        "keys", "list every key of a look: meaning, range, default", "render presets keys", _fill_keys
    )


def _fill_list(parser: Parser) -> None:
    parser.add(
        Option(
            "styles",
            "Styles: presets, pictures, folders, globs, or shipped names.",
            metavar="STYLE",
            nargs="*",
            default_shown="all that are shipped",
        )
    )
    parser.set_defaults(command=_presets_list, only_reports=True)


def _fill_show(parser: Parser) -> None:
    parser.add(Option("style", "A preset, a picture, or a shipped name.", metavar="STYLE"))
    parser.set_defaults(command=_presets_show, only_reports=True)


def _fill_check(parser: Parser) -> None:
    parser.add(
        Option(
            "styles",
            "Styles: presets, pictures, folders, globs, or shipped names.",
            metavar="STYLE",
            nargs="+",
        )
    )
    parser.set_defaults(command=_presets_check, only_reports=True)


def _fill_add(parser: Parser) -> None:
    parser.add(
        Option(
            "picture", "The picture, of which a copy is put beside the preset.", parse=Path, metavar="PICTURE"
        ),
        Option("--folder", "Folder of the new preset.", Path("styles"), parse=Path, metavar="FOLDER"),
        Option("--name", "Name of the style.", metavar="NAME", default_shown="the picture's"),
        Option("--title", "Title of the picture.", metavar="TITLE", default_shown="the name"),
        Option("--author", "Who painted it.", "", metavar="AUTHOR"),
        Option("--licence", "License of the picture, for example public domain.", "", metavar="LICENSE"),
    )
    parser.set_defaults(command=_presets_add)


def _fill_keys(parser: Parser) -> None:
    parser.set_defaults(command=_presets_keys, only_reports=True)


def _presets_list(arguments) -> int:
    from render.cli import screen
    from render.jobs.styles import find_styles, shipped_collections

    problems = []
    styles = find_styles(arguments.styles or list(shipped_collections()), failed=problems.append)
    screen.print_styles(styles)
    return report(problems)


def _presets_show(arguments) -> int:
    from render.cli import screen
    from render.jobs.styles import apply_settings, find_style

    style = find_style(arguments.style)
    screen.print_style(style, apply_settings(style.look, []))
    return 0


def _presets_check(arguments) -> int:
    from render.jobs.styles import apply_settings, find_styles
    from render.pictures import images

    problems = []
    styles = find_styles(arguments.styles, failed=problems.append)
    for style in styles:
        try:
            apply_settings(style.look, [])
            sizes = [images.read(picture.path).size for picture in style.pictures]
        except RenderError as error:
            problems.append(error)
            continue
        print(f"ok  {plain(style.name)}: " + ", ".join(f"{width}x{height} px" for height, width in sizes))
    return report(problems)


def _presets_add(arguments) -> int:
    from render.jobs.styles import add_style

    name = arguments.name or arguments.picture.stem
    path = add_style(
        arguments.picture,
        folder=arguments.folder,
        name=name,
        title=arguments.title or name,
        author=arguments.author,
        licence=arguments.licence,
    )
    print(f"{plain(path)}  use it: render batch --styles {plain(path)} --inputs photos/")
    return 0


def _presets_keys(arguments) -> int:
    from render.cli import screen
    from render.jobs.styles import describe_look

    screen.print_keys(describe_look())
    return 0
