"""`render batch`: every photo in every style."""

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from render.cli import gan
from render.cli.arguments import command, seconds
from render.cli.ending import ending
from render.cli.messages import tell
from render.cli.options import look_options, overwrite_option, runner_options
from render.cli.workplace import fingerprint_of, workplace
from render.errors import RenderError, UsageError


def add(commands) -> None:
    parser = command(
        commands,
        "batch",
        "render every photo in every style",
        "render batch --styles presets/paintings --inputs photos/ --size 2048 --output prints",
    )
    parser.add_argument(
        "--styles",
        nargs="+",
        required=True,
        metavar="STYLE",
        help="presets (TOML), pictures, folders, globs, or shipped names (`render presets list`)",
    )
    parser.add_argument(
        "--inputs",
        nargs="+",
        required=True,
        metavar="PATH",
        help="photographs: files, folders (with their sub-folders) and globs, here or at an address; or "
        "samples of a GAN: "
        "gan:CHECKPOINT?count=16&seed=7",
    )
    parser.add_argument(
        "--output",
        default="prints",
        metavar="FOLDER",
        help="a folder, or an address like s3://bucket/prints (default: %(default)s)",
    )
    look_options(parser)
    runner_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print jobs, scales, memory and time; render nothing"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    parser.add_argument(
        "--fresh", action="store_true", help="render again what is finished already, whatever is in its place"
    )
    overwrite_option(parser)
    parser.add_argument(
        "--checkpoint-every",
        type=seconds,
        default=300.0,
        metavar="SECONDS",
        help="what a power cut may cost at most, within a scale (default: %(default)g)",
    )
    parser.add_argument(
        "--stop-at",
        metavar="TIME",
        help="start no job after this: 07:00 (the next one), or 8h, 90min from "
        "now; running jobs are finished, the rest is left for the next run",
    )
    parser.add_argument(
        "--notify",
        metavar="COMMAND",
        help="run this at the end, however it came, with the summary as JSON on its standard input",
    )
    parser.set_defaults(command=_batch)


def _batch(arguments) -> int:
    from render.runners.deadline import parse_deadline

    until = (
        None if arguments.stop_at is None else parse_deadline(arguments.stop_at)
    )  # from now, not from after loading torch

    from render.cli.screen import Screen
    from render.jobs import outputs
    from render.jobs.events import JobDone
    from render.jobs.inputs import find_inputs
    from render.jobs.ledger import Ledger
    from render.jobs.plan import plan_jobs
    from render.jobs.styles import apply_settings, find_styles
    from render.painting.storage import Storage, forget_painting, forget_unfinished
    from render.runners import remote
    from render.runners.batch import Summary, never, run_batch

    summary = Summary()
    store = remote.Output.at(arguments.output) if remote.is_remote(arguments.output) else None
    output = Path(arguments.output) if store is None else store.folder
    shown = str if store is None else store.shown
    local = partial(remote.localised, failed=lambda what, why: summary.failed.append((what, why)), tell=tell)
    styles = find_styles(
        local(arguments.styles, endings=remote.STYLES),
        failed=lambda error: summary.failed.append(("a style", str(error))),
    )
    looks = [(style, apply_settings(style.look, arguments.set)) for style in styles]
    photos = local(
        gan.sampled_inputs(arguments.inputs, arguments, tell),
        endings=remote.PICTURES,
        without=None if store is None else store.url,
    )
    if not photos:
        raise UsageError(" ".join(["--inputs: no pictures there.", *(why for _, why in summary.failed)]))
    inputs = _photographs(find_inputs(photos, without=output), output)
    with ExitStack() as open_:
        settings, device, make_runner = open_.enter_context(workplace(arguments))
        planned = plan_jobs(
            inputs,
            looks,
            settings,
            output,
            weights_sha256=fingerprint_of(settings),
            failed=lambda what, why: summary.failed.append((what, why)),
        )
        sort = partial(
            outputs.sorted_out,
            recipe_of=outputs.recipe_of if store is None else store.recipe_of,
            failed=lambda path, why: summary.failed.append((shown(path), why)),
        )
        if arguments.dry_run:
            ledger = Ledger.peek(output) if store is None else Ledger.peek(output, size_of=store.size_of)
            todo, finished = _split(arguments, planned, ledger, sort)
            ledger.close()
            return _dry_run(arguments, todo, finished, device, summary, shown)
        open_.enter_context(ending(arguments, summary))
        ledger = open_.enter_context(
            closing(Ledger(output, tell=tell)) if store is None else store.ledger(tell)
        )
        storage = Storage.under(ledger.folder, interval_s=arguments.checkpoint_every)

        def adopt(job, done) -> None:
            ledger.record(job, JobDone(job.ref, done))
            forget_unfinished(storage, job.painting_id)

        todo, finished = _split(arguments, planned, ledger, sort, adopt)
        summary.skipped = len(finished)
        for job in todo if arguments.fresh else ():
            forget_painting(storage, job.painting_id)
        runner = make_runner(storage)
        if store is not None:
            runner = remote.Sending(runner, store, arguments.fresh)
        with Screen(len(todo), as_json=arguments.json, until=until, shown=shown) as screen:
            run_batch(todo, runner, ledger, summary, screen, stop=until or never, shown=shown)
    return summary.exit_status


def _photographs(inputs, output: Path):
    """The inputs without prints of earlier batches; how many those are is said in a line."""
    from render.jobs import outputs

    photos, prints = outputs.without_prints(inputs, output)
    if prints:
        names = ", ".join(str(item.path) for item in prints[:3]) + (", ..." if len(prints) > 3 else "")
        said = f"{len(prints)} of --inputs are prints that were made in {output}, and left out: {names}"
        if not photos:
            raise UsageError(f"--inputs: no photographs there. {said}")
        tell(said)
    return photos


def _split(arguments, planned, ledger, sort, adopt=lambda job, done: None):
    """(jobs to render, finished ones); files that are not ours stay unless the user says otherwise."""
    from render.runners.batch import split

    todo, finished = split(planned, ledger, fresh=arguments.fresh)
    if arguments.fresh or arguments.overwrite:
        return todo, finished
    todo, found = sort(todo, ledger, adopt=adopt)
    return todo, [*finished, *found]


def _dry_run(arguments, todo, finished, device, summary, shown) -> int:
    from render.cli import screen
    from render.painting.estimate import estimate
    from render.painting.renderer import MakeRenderer

    costs = []
    for job, cost in estimate(todo, device, MakeRenderer(todo[0].settings, None)(device)) if todo else ():
        if isinstance(cost, RenderError):
            summary.failed.append((job.label, str(cost)))
        else:
            costs.append((job, cost))
    screen.print_plan(
        costs,
        finished,
        summary,
        device=device,
        workers=arguments.workers or 1,
        as_json=arguments.json,
        shown=shown,
    )
    return summary.exit_status
