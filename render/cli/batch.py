"""`render batch`: every photo in every style."""

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from render.cli import gan
from render.cli.arguments import Number, Option, Parser, numeric
from render.cli.ending import ending
from render.cli.messages import inform
from render.cli.options import JSON, OVERWRITE, RUNNER_OPTIONS, look_options
from render.cli.workplace import fingerprint_of, settings_of, workplace
from render.errors import RenderError, UsageError

STYLES = Option(
    "--styles",
    "Styles: presets (.toml), pictures, folders, globs, addresses, or shipped names (`render presets list`).",
    metavar="STYLE",
    nargs="+",
    required=True,
)
INPUTS = Option(
    "--inputs",
    "Photographs: files, folders (with their subfolders), globs and addresses; or samples of a GAN: "
    "gan:CHECKPOINT?count=16&seed=7.",
    metavar="PATH",
    nargs="+",
    required=True,
)
OPTIONS = (
    STYLES,
    INPUTS,
    Option(
        "--output",
        "Folder of the prints, or an address like s3://bucket/prints.",
        "prints",
        metavar="FOLDER",
    ),
)
MORE_OPTIONS = (
    Option(
        "--dry-run",
        "Print jobs, scales, memory and time, measured on this machine; render and write nothing.",
        False,
        kind="flag",
    ),
    JSON,
    Option(
        "--fresh",
        "Render again what is finished already, whatever is in its place.",
        False,
        kind="flag",
    ),
    OVERWRITE,
    numeric(
        "--checkpoint-every",
        "Seconds of work within a scale that a power cut may cost at most.",
        Number(least=0),
        default=300.0,
        metavar="SECONDS",
    ),
    Option(
        "--stop-at",
        "Start no job after this time; running jobs are finished, and the next run does the rest.",
        range="a time of day like 07:00 (the next one), or 8h, 90min, 1h30m from now",
        metavar="TIME",
    ),
    Option(
        "--notify",
        "Run this command of the shell when the batch has ended, however it ended, with the summary as JSON "
        "on its standard input.",
        metavar="COMMAND",
    ),
)


def add(commands: Parser) -> None:
    commands.command(
        "batch",
        "render every photo in every style",
        "render batch --styles presets/paintings --inputs photos/ --size 2048 --output prints",
        _fill,
    )


def _fill(parser: Parser) -> None:
    parser.add(*OPTIONS, *look_options(), *RUNNER_OPTIONS, *MORE_OPTIONS)
    parser.set_defaults(command=_batch)


def _batch(arguments) -> int:
    from render.runners.deadline import parse_deadline

    # From now, not from after torch is loaded.
    until = None if arguments.stop_at is None else parse_deadline(arguments.stop_at)
    settings_of(arguments, format=arguments.format)  # refuses bad ones before anything is fetched

    from render.cli.screen import Screen
    from render.jobs.inputs import find_inputs
    from render.jobs.ledger import Ledger
    from render.jobs.outputs import recipe_of
    from render.jobs.plan import plan_jobs
    from render.jobs.styles import apply_settings, find_styles
    from render.painting.storage import Storage
    from render.runners import remote
    from render.runners.batch import Summary, never, run_batch
    from render.runners.folder import outstanding

    summary = Summary()
    store = remote.Output.at(arguments.output) if remote.is_remote(arguments.output) else None
    output = Path(arguments.output) if store is None else store.folder
    name_of = str if store is None else store.shown  # of an output, as messages show it
    local = partial(
        remote.localised, failed=lambda what, why: summary.failed.append((what, why)), tell=inform
    )
    styles = find_styles(
        local(arguments.styles, endings=remote.STYLES),
        failed=lambda error: summary.failed.append(("a style", str(error))),
    )
    looks = [(style, apply_settings(style.look, arguments.set)) for style in styles]
    photos = local(
        gan.sampled_inputs(arguments.inputs, arguments),
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
        remaining = partial(
            outstanding,
            planned,
            fresh=arguments.fresh,
            overwrite=arguments.overwrite,
            failed=lambda path, why: summary.failed.append((name_of(path), why)),
            read_recipe=recipe_of if store is None else store.recipe_of,
        )
        if arguments.dry_run:
            ledger = Ledger.peek(output) if store is None else Ledger.peek(output, size_of=store.size_of)
            todo, finished = remaining(ledger, None)
            ledger.close()
            return _dry_run(arguments, todo, finished, device, summary, name_of)
        open_.enter_context(ending(arguments, summary))
        ledger = open_.enter_context(
            closing(Ledger(output, tell=inform)) if store is None else store.ledger(inform)
        )
        storage = Storage.under(ledger.folder, interval_s=arguments.checkpoint_every)
        todo, finished = remaining(ledger, storage)
        summary.skipped = len(finished)
        runner = make_runner(storage)
        if store is not None:
            runner = remote.Sending(runner, store, arguments.fresh)
        with Screen(len(todo), as_json=arguments.json, until=until, shown=name_of) as screen:
            run_batch(todo, runner, ledger, summary, screen, stop=until or never, shown=name_of)
    return summary.exit_status


def _photographs(inputs, output: Path):
    """The inputs without prints of earlier batches; one line reports how many those are."""
    from render.jobs import outputs

    photos, prints = outputs.without_prints(inputs, output)
    if prints:
        names = ", ".join(str(item.path) for item in prints[:3]) + (", ..." if len(prints) > 3 else "")
        left_out = f"{len(prints)} of --inputs are prints that were made in {output}, and left out: {names}"
        if not photos:
            raise UsageError(f"--inputs: no photographs there. {left_out}")
        inform(left_out)
    return photos


def _dry_run(arguments, todo, finished, device, summary, name_of) -> int:
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
        shown=name_of,
    )
    return summary.exit_status
