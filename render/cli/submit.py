"""`render submit`: a batch as a job on a running Ray cluster."""

import argparse
from pathlib import Path

from render.cli import gan
from render.cli.arguments import command
from render.cli.messages import tell
from render.cli.options import look_options, worker_options
from render.cli.status import follow_job
from render.cli.workplace import memory_bytes, settings_of


def add(commands) -> None:
    parser = command(
        commands,
        "submit",
        "render a batch as a job on a running Ray cluster",
        "render submit --address http://localhost:8265 --styles paintings --inputs photos/ --size 3072\n"
        "  render submit --address http://localhost:8265 --shared --styles paintings --inputs /mnt/photos "
        "--output /mnt/prints --wait",
    )
    parser.add_argument(
        "--address",
        required=True,
        help="of the cluster's dashboard, as seen from here: http://localhost:8265",
    )
    parser.add_argument(
        "--styles",
        nargs="+",
        required=True,
        metavar="STYLE",
        help="see `render batch --help`; shipped names stay names, files travel",
    )
    parser.add_argument(
        "--inputs", nargs="+", required=True, metavar="PATH", help="see `render batch --help`"
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="send no files: every path is one that all machines of the cluster see, from / on",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="on the cluster, from / on (default: ~/render-jobs/JOB on the head)",
    )
    look_options(parser)
    worker_options(parser)
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="follow the job to its end; the exit status is the batch's",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be sent and run; contact nobody"
    )
    parser.set_defaults(command=_submit, only_tells=True)


def _submit(arguments) -> int:
    from render.distributed import submit
    from render.distributed.jobs_api import Dashboard

    package, what = _packed(arguments)
    planned = submit.plan(arguments.address, package, what=what, output=arguments.output)
    if arguments.dry_run:
        print(f"{submit.describe(planned)}\nNothing was sent.")
        return 0
    cluster = Dashboard(arguments.address)
    print(submit.describe(planned), flush=True)
    submit.send(planned, cluster)
    print(submit.next_steps(planned), flush=True)
    return follow_job(cluster, planned.job_id) if arguments.wait else 0


def _packed(arguments):
    """(what travels to a cluster with the words of its batch, what that is for a person). Refuses before
    anything is sent what the batch would refuse."""
    from render.distributed import package
    from render.jobs.inputs import find_inputs
    from render.jobs.plan import refuse_collisions
    from render.jobs.styles import apply_settings, find_styles
    from render.painting.finish import Finish

    memory_bytes(arguments)
    settings = settings_of(arguments, format=arguments.format)
    settings.layout((1000, 1000))
    options = _changed_options(arguments)
    if arguments.shared:
        words = package.shared_words(arguments.inputs, arguments.styles, options)
        return package.Package((), words), "every path is the cluster's"
    Finish.of(settings)
    styles = find_styles(arguments.styles)
    looks = [(style, apply_settings(style.look, arguments.set)) for style in styles]
    inputs = find_inputs(gan.sampled_inputs(arguments.inputs, arguments, tell))
    refuse_collisions(inputs, looks, settings, Path("prints"))
    shipped, files = package.split_shipped(arguments.styles)
    what = f"{len(inputs)} photographs, to be rendered in {len(styles)} styles each"
    return package.plan_package(inputs, find_styles(files), shipped, options), what


def _changed_options(arguments) -> list[tuple[str, str]]:
    """Options that are not at their default, as they would be written for `render batch`."""
    parser = argparse.ArgumentParser(add_help=False)
    look_options(parser)
    worker_options(parser)
    given = []
    for action in parser._actions:
        value = getattr(arguments, action.dest)
        if value != action.default:
            given += [
                (action.option_strings[0], str(each))
                for each in (value if isinstance(value, list) else [value])
            ]
    return given
