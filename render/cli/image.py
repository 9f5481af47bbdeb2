"""`render image`: one photo in one style."""

from pathlib import Path

from render.cli.arguments import command
from render.cli.options import look_options, overwrite_option
from render.cli.workplace import device_and_settings, fingerprint_of


def add(commands) -> None:
    parser = command(
        commands,
        "image",
        "render one photo in one style",
        "render image photo.jpg impasto_nocturne --output print.png --size 1024",
    )
    parser.add_argument("photo", metavar="CONTENT", help="the photograph")
    parser.add_argument("style", metavar="STYLE", help="a preset, a picture, or a shipped name")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="ending .png, .jpg, .tif or .webp"
    )
    look_options(parser, with_format=False)
    overwrite_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    parser.set_defaults(command=_image)


def _image(arguments) -> int:
    from render.cli.screen import Screen
    from render.jobs import outputs, plan
    from render.jobs.job import make_job
    from render.jobs.styles import apply_settings, find_style
    from render.painting.renderer import MakeRenderer
    from render.pictures import export
    from render.runners.batch import Summary, run_batch
    from render.runners.local import LocalRunner

    style = find_style(arguments.style)
    look = apply_settings(style.look, arguments.set)
    device, settings = device_and_settings(arguments, format=export.format_of(arguments.output))
    photo = Path(arguments.photo)
    job = make_job(photo, style, look, settings, arguments.output, weights_sha256=fingerprint_of(settings))
    plan.refuse_to_replace_sources(job)
    for path in () if arguments.overwrite else job.products:
        outputs.refuse_to_replace(path, job.hashes[photo])
    summary = Summary()
    with Screen(1, as_json=arguments.json) as screen:
        run_batch([job], LocalRunner(device, MakeRenderer(settings, None)), None, summary, screen)
    return summary.exit_status
