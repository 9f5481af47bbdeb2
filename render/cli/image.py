"""`render image`: one photo in one style."""

from pathlib import Path

from render.cli.arguments import Option, Parser
from render.cli.options import JSON, OVERWRITE, look_options
from render.cli.workplace import device_and_settings, fingerprint_of

OPTIONS = (
    Option("photo", "The photograph.", metavar="CONTENT"),
    Option("style", "A preset, a picture, or a shipped name (`render presets list`).", metavar="STYLE"),
    Option(
        "--output",
        "File of the print; its extension is its format.",
        parse=Path,
        range="a path with .png, .jpg, .tif or .webp",
        metavar="FILE",
        required=True,
    ),
)


def add(commands: Parser) -> None:
    commands.command(
        "image",
        "render one photo in one style",
        "render image photo.jpg impasto_nocturne --output print.png --size 1024",
        _fill,
    )


def _fill(parser: Parser) -> None:
    parser.add(*OPTIONS, *look_options(with_format=False), OVERWRITE, JSON)
    parser.set_defaults(command=_image)


def _image(arguments) -> int:
    from render.cli.screen import Screen
    from render.jobs import outputs, plan
    from render.jobs.job import make_job
    from render.jobs.styles import apply_settings, find_style
    from render.painting.renderer import MakeRenderer
    from render.pictures import print_file
    from render.runners.batch import Summary, run_batch
    from render.runners.local import LocalRunner

    style = find_style(arguments.style)
    look = apply_settings(style.look, arguments.set)
    device, settings = device_and_settings(arguments, format=print_file.format_of(arguments.output))
    photo = Path(arguments.photo)
    job = make_job(photo, style, look, settings, arguments.output, weights_sha256=fingerprint_of(settings))
    plan.refuse_to_replace_sources(job)
    for path in () if arguments.overwrite else job.products:
        outputs.refuse_to_replace(path, job.hashes[photo])
    summary = Summary()
    with Screen(1, as_json=arguments.json) as screen:
        run_batch([job], LocalRunner(device, MakeRenderer(settings, None)), None, summary, screen)
    return summary.exit_status
