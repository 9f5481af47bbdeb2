"""`render presets`: which styles there are, and new ones."""

from pathlib import Path

from render.cli.arguments import command
from render.cli.messages import report
from render.errors import RenderError
from render.wording import plain


def add(commands) -> None:
    parser = commands.add_parser("presets", help="list, show, check and add styles")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    verb = command(
        verbs, "list", "list the shipped styles, or those of a folder", "render presets list my-styles/"
    )
    verb.add_argument("styles", nargs="*", metavar="STYLE")
    verb.set_defaults(command=_presets_list, only_tells=True)
    verb = command(
        verbs, "show", "show one style with its whole look", "render presets show impasto_nocturne"
    )
    verb.add_argument("style", metavar="STYLE")
    verb.set_defaults(command=_presets_show, only_tells=True)
    verb = command(verbs, "check", "check presets and their pictures", "render presets check my-styles/")
    verb.add_argument("styles", nargs="+", metavar="STYLE")
    verb.set_defaults(command=_presets_check, only_tells=True)
    verb = command(
        verbs,
        "add",
        "make a preset from a picture",
        "render presets add scan.jpg --name harbour --title 'Harbour at dusk' --folder my-styles",
    )
    verb.add_argument("picture", type=Path)
    verb.add_argument("--folder", type=Path, default=Path("styles"), help="default: %(default)s")
    verb.add_argument("--name", help="default: the picture's")
    verb.add_argument("--title", help="default: the name")
    verb.add_argument("--author", default="", help="who painted it")
    verb.add_argument("--licence", default="", help="e.g. public domain")
    verb.set_defaults(command=_presets_add)
    verb = command(verbs, "keys", "list every key of a look: meaning, range, default", "render presets keys")
    verb.set_defaults(command=_presets_keys, only_tells=True)


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
