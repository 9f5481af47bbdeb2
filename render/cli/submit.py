"""`render submit`: a batch as a job on a running Ray cluster."""

from dataclasses import replace
from pathlib import Path

from render.cli import batch, gan
from render.cli.arguments import Option, Parser
from render.cli.options import CLUSTER_ADDRESS, WORKER_OPTIONS, changed, look_options
from render.cli.status import follow_job
from render.cli.workplace import memory_bytes, settings_of

OPTIONS = (replace(CLUSTER_ADDRESS, required=True), batch.STYLES, batch.INPUTS)
MORE_OPTIONS = (
    Option(
        "--shared",
        "Send no files: every path is absolute, and one that all machines of the cluster see.",
        False,
        kind="flag",
    ),
    Option(
        "--output",
        "Folder of the prints on the cluster, an absolute path.",
        metavar="FOLDER",
        default_shown="~/render-jobs/JOB on the head",
    ),
    Option(
        "--wait",
        "Follow the job to its end; the exit status is then the batch's.",
        False,
        kind="on or off",
    ),
    Option("--dry-run", "Print what would be sent and run; contact nobody.", False, kind="flag"),
)


def add(commands: Parser) -> None:
    commands.command(
        "submit",
        "render a batch as a job on a running Ray cluster",
        "render submit --address http://localhost:8265 --styles paintings --inputs photos/ --size 3072\n"
        "  render submit --address http://localhost:8265 --shared --styles paintings --inputs /mnt/photos "
        "--output /mnt/prints",
        _fill,
    )


def _fill(parser: Parser) -> None:
    parser.add(*OPTIONS, *MORE_OPTIONS, *look_options(), *WORKER_OPTIONS)
    parser.set_defaults(command=_submit, only_reports=True)


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
    """(what travels to a cluster with the options of its batch, a description of that for a person). What the
    batch would refuse is refused before anything is sent."""
    from render.distributed import package
    from render.jobs.inputs import find_inputs
    from render.jobs.plan import refuse_collisions
    from render.jobs.styles import apply_settings, find_styles
    from render.painting.finish import Finish

    memory_bytes(arguments)
    settings = settings_of(arguments, format=arguments.format)
    settings.layout((1000, 1000))
    options = changed((*look_options(), *WORKER_OPTIONS), arguments)
    if arguments.shared:
        batch_options = package.shared_words(arguments.inputs, arguments.styles, options)
        return package.Package((), batch_options), "every path is the cluster's"
    Finish.of(settings)
    styles = find_styles(arguments.styles)
    looks = [(style, apply_settings(style.look, arguments.set)) for style in styles]
    inputs = find_inputs(gan.sampled_inputs(arguments.inputs, arguments))
    refuse_collisions(inputs, looks, settings, Path("prints"))
    shipped, files = package.split_shipped(arguments.styles)
    what = f"{len(inputs)} photographs, to be rendered in {len(styles)} styles each"
    return package.plan_package(inputs, find_styles(files), shipped, options), what
