"""The command line: words to calls. Nothing heavy is imported before a command needs it."""

import argparse
import os
import sys
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from render import __version__, interrupts, streams
from render.errors import RenderError, UsageError
from render.gan import commands as gan
from render.interrupts import INTERRUPTED
from render.runners import wants_ray
from render.wording import plain
from render.words import Parser, command, minutes, number, positive, seconds, share

IMPATIENT_NOTICE_S = 5.0  # for --notify's command when a person will not wait for the end
WORKERS_PER_CORE = 2  # one paints while the other reads and writes

EXAMPLES = """examples:
  render batch --styles presets/paintings --inputs photos/
  render batch --styles impasto_nocturne my/starry_night.jpg --inputs photos/ --size 3072 --format tiff
  render batch --styles paintings --inputs photos/ --print A2 --bleed 3mm --fit fill --format tiff --memory 6GiB
  render image photo.jpg impasto_nocturne --output print.png --size 1024
  render recolor prints/ --color luminance
  render presets list
  render submit --address http://localhost:8265 --styles paintings --inputs photos/ --size 3072
  render status prints/
  render gan train --data paintings/ --crop tiles --output gans/paintings
  render batch --styles paintings --inputs 'gan:gans/paintings/gan.safetensors?count=16&seed=7' --size 3072
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command.

    Exit status: 0 all done, 1 some job failed, or a log or the ledger is incomplete, 2 wrong usage, 130
    interrupted.
    """
    with interrupts.as_one(), streams.guarded():
        arguments = _parser().parse_args(argv)
        if arguments.command in _ONLY_TELL:
            streams.need()
        status = _run(arguments)
        interrupts.hold()
        return streams.verdict(status, as_json=getattr(arguments, "json", False))


def _run(arguments) -> int:
    # Read when torch is loaded: threads that wait without spinning. On a busy machine a spinning one keeps its core from
    # the thread it waits for (a job of 25 s took 146 s); on a quiet one it gains nothing measurable.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return arguments.command(arguments) or 0
    except UsageError as error:
        return _complain(error, 2)
    except RenderError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        print("render: interrupted. What is finished is kept; run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    except streams.Lost:  # `render presets list | head`
        return 1


def _complain(error: Exception, status: int) -> int:
    print(f"render: {plain(error)}", file=sys.stderr)
    return status


def _tell(text: str) -> None:
    print(f"render: {plain(text)}", file=sys.stderr)


# ---- words ----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="render", description="Every photograph in every painting's style, at print size.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"render {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _batch_words(commands)
    _image_words(commands)
    _recolor_words(commands)
    _presets_words(commands)
    _submit_words(commands)
    _status_words(commands)
    gan.add_words(commands)
    doctor = commands.add_parser("doctor", help="what this machine has: devices, memory, weights, versions")
    doctor.set_defaults(command=_doctor)
    return parser


def _batch_words(commands) -> None:
    parser = command(commands, "batch", "render every photo in every style",
                      "render batch --styles presets/paintings --inputs photos/ --size 2048 --output prints")
    parser.add_argument("--styles", nargs="+", required=True, metavar="STYLE",
                        help="presets (TOML), pictures, folders, globs, or shipped names (`render presets list`)")
    parser.add_argument("--inputs", nargs="+", required=True, metavar="PATH",
                        help="photographs: files, folders (with their sub-folders) and globs, here or at an address; or samples of a GAN: "
                             "gan:CHECKPOINT?count=16&seed=7")
    parser.add_argument("--output", default="prints", metavar="FOLDER",
                        help="a folder, or an address like s3://bucket/prints (default: %(default)s)")
    _look_words(parser)
    _runner_words(parser)
    parser.add_argument("--dry-run", action="store_true", help="print jobs, scales, memory and time; render nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    parser.add_argument("--fresh", action="store_true", help="render again what is finished already, whatever is in its place")
    _overwrite_word(parser)
    parser.add_argument("--checkpoint-every", type=seconds, default=300.0, metavar="SECONDS",
                        help="what a power cut may cost at most, within a scale (default: %(default)g)")
    parser.add_argument("--stop-at", metavar="TIME", help="start no job after this: 07:00 (the next one), or 8h, 90min from "
                        "now; running jobs are finished, the rest is left for the next run")
    parser.add_argument("--notify", metavar="COMMAND",
                        help="run this at the end, however it came, with the summary as JSON on its standard input")
    parser.set_defaults(command=_batch)


def _overwrite_word(parser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that are in a print's place, though render did not "
                        "make them")


def _runner_words(parser) -> None:
    parser.add_argument("--runner", choices=("auto", "local", "ray"), default="auto",
                        help="ray: jobs, and the tiles of large prints, spread over GPUs and machines; auto: where --address is "
                             "given or there are several GPUs, else local")
    parser.add_argument("--address", metavar="ADDRESS", help="of a running Ray cluster, from its network: HOST:6379 or auto. Without "
                        "one, --runner ray starts Ray on this machine, on localhost only")
    _worker_words(parser)


def _worker_words(parser) -> None:
    parser.add_argument("--workers", type=positive, metavar="N",
                        help="local: processes that share this machine's cores (1); ray: so many workers (as many as fit)")
    parser.add_argument("--cpus-per-worker", type=positive, metavar="N", help="ray without GPUs: cores of each worker (4)")
    parser.add_argument("--timeout", type=minutes, default=30.0, metavar="MINUTES",
                        help="ray: a worker that gives no sign of life for so long is replaced (default: %(default)g)")


def _image_words(commands) -> None:
    parser = command(commands, "image", "render one photo in one style",
                      "render image photo.jpg impasto_nocturne --output print.png --size 1024")
    parser.add_argument("photo", metavar="CONTENT", help="the photograph")
    parser.add_argument("style", metavar="STYLE", help="a preset, a picture, or a shipped name")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="ending .png, .jpg, .tif or .webp")
    _look_words(parser, with_format=False)
    _overwrite_word(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    parser.set_defaults(command=_image)


def _recolor_words(commands) -> None:
    parser = command(commands, "recolor", "give finished prints other colours, without rendering again",
                      "render recolor prints/ --color luminance")
    parser.add_argument("prints", nargs="+", type=Path, metavar="PRINT|FOLDER", help="prints, or the batch's output folder")
    parser.add_argument("--color", choices=("style", "luminance", "histogram"), required=True, help="see `render batch --help`")
    parser.add_argument("--photo", type=Path, help="of a single print that was moved away from its batch's folder")
    parser.set_defaults(command=_recolor)


def _submit_words(commands) -> None:
    parser = command(commands, "submit", "render a batch as a job on a running Ray cluster",
                      "render submit --address http://localhost:8265 --styles paintings --inputs photos/ --size 3072\n"
                      "  render submit --address http://localhost:8265 --shared --styles paintings --inputs /mnt/photos "
                      "--output /mnt/prints --wait")
    parser.add_argument("--address", required=True, help="of the cluster's dashboard, as seen from here: http://localhost:8265")
    parser.add_argument("--styles", nargs="+", required=True, metavar="STYLE", help="see `render batch --help`; shipped names stay names, "
                        "files travel")
    parser.add_argument("--inputs", nargs="+", required=True, metavar="PATH", help="see `render batch --help`")
    parser.add_argument("--shared", action="store_true",
                        help="send no files: every path is one that all machines of the cluster see, from / on")
    parser.add_argument("--output", metavar="FOLDER", help="on the cluster, from / on (default: ~/render-jobs/JOB on the head)")
    _look_words(parser)
    _worker_words(parser)
    parser.add_argument("--wait", action=argparse.BooleanOptionalAction, default=False,
                        help="follow the job to its end; the exit status is the batch's")
    parser.add_argument("--dry-run", action="store_true", help="print what would be sent and run; contact nobody")
    parser.set_defaults(command=_submit)


def _status_words(commands) -> None:
    parser = command(commands, "status", "what is done, failed and running, in a folder or of a job on a cluster",
                      "render status prints/\n"
                      "  render status --address http://localhost:8265 render-20260801-213000-1a2b --follow --fetch prints/")
    parser.add_argument("what", metavar="OUTPUT|JOB", help="a batch's output folder; with --address: a job's name")
    parser.add_argument("--address", help="of the cluster's dashboard, as seen from here: http://localhost:8265")
    parser.add_argument("--follow", action="store_true", help="until the job ends")
    parser.add_argument("--logs", action="store_true", help="the job's own words")
    parser.add_argument("--fetch", type=Path, metavar="FOLDER", help="bring finished prints back, those that are not there yet")
    parser.set_defaults(command=_status)


def _look_words(parser, *, with_format: bool = True) -> None:
    """Options of batch and image that decide the pixels."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", type=positive, default=1024, metavar="PX", help="long side in px (default: %(default)s)")
    size.add_argument("--print", dest="paper", metavar="PAPER",
                      help="paper instead of --size: A2, 60x90cm, 24x36in ... (turned to the photo's orientation)")
    parser.add_argument("--dpi", type=number, default=300.0, help="px an inch, also written into the file (default: %(default)g)")
    parser.add_argument("--bleed", default="0", metavar="LENGTH", help="with --print: on every side, e.g. 3mm or 0.125in")
    parser.add_argument("--fit", choices=("fit", "fill", "pad"), default="fit",
                        help="with --print: the whole picture (fit), cropped to fill the sheet, or whole on a white sheet "
                             "(pad) (default: %(default)s)")
    parser.add_argument("--quality", choices=("draft", "standard", "best"), default="standard",
                        help="iterations at each scale (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="change a key of the look, e.g. --set content_weight=0.3 (`render presets keys` lists them)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise that init=noise starts from (default: %(default)s)")
    if with_format:
        parser.add_argument("--format", choices=("png", "tiff", "jpeg", "webp"), default="png", help="default: %(default)s")
    _finish_words(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto",
                        help="of the network's features; auto: bfloat16 where the hardware has it")
    parser.add_argument("--weights", default="caffe", metavar="NAME|FILE",
                        help="VGG-19's: caffe (embedded, Gatys' own), torchvision, or a .safetensors or .pth file")
    parser.add_argument("--preprocessing", choices=("caffe", "torchvision"), help="what --weights FILE was trained with")
    parser.add_argument("--memory", metavar="BYTES", help="the most to use, e.g. 6GiB: decides tile size, kept activations "
                        "and the optimiser's history (default: 80 %% of what is free)")


def _finish_words(parser) -> None:
    """Options that are applied to the painted picture."""
    parser.add_argument("--color", choices=("style", "luminance", "match", "histogram"), default="style",
                        help="as painted (style); the photo's colours under the painted lightness (luminance); the style's "
                             "colours matched to the photo's before painting (match); the photo's distribution of colours "
                             "after it (histogram) (default: %(default)s)")
    parser.add_argument("--photoreal", type=share, nargs="?", const=0.03, metavar="LENGTH",
                        help="keep the photo's structure: detail finer than LENGTH, a share of the long side, comes from the "
                             "photo (0.03 when no number is given)")
    parser.add_argument("--bit-depth", type=int, choices=(8, 16), default=8, help="16: png and tiff (default: %(default)s)")
    parser.add_argument("--profile", default="srgb", metavar="NAME|FILE",
                        help="the file's colours: srgb, adobe-rgb, display-p3, or an RGB .icc file (default: %(default)s)")
    parser.add_argument("--intent", choices=("perceptual", "relative", "saturation", "absolute"), default="relative",
                        help="rendering intent of the conversion (default: %(default)s)")
    parser.add_argument("--soft-proof", metavar="FILE",
                        help="a printer's .icc profile (CMYK too): PRINT.proof.png shows what will come out of it")


def _presets_words(commands) -> None:
    parser = commands.add_parser("presets", help="list, show, check and add styles")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    verb = command(verbs, "list", "list the shipped styles, or those of a folder", "render presets list my-styles/")
    verb.add_argument("styles", nargs="*", metavar="STYLE")
    verb.set_defaults(command=_presets_list)
    verb = command(verbs, "show", "show one style with its whole look", "render presets show impasto_nocturne")
    verb.add_argument("style", metavar="STYLE")
    verb.set_defaults(command=_presets_show)
    verb = command(verbs, "check", "check presets and their pictures", "render presets check my-styles/")
    verb.add_argument("styles", nargs="+", metavar="STYLE")
    verb.set_defaults(command=_presets_check)
    verb = command(verbs, "add", "make a preset from a picture",
                    "render presets add scan.jpg --name harbour --title 'Harbour at dusk' --folder my-styles")
    verb.add_argument("picture", type=Path)
    verb.add_argument("--folder", type=Path, default=Path("styles"), help="default: %(default)s")
    verb.add_argument("--name", help="default: the picture's")
    verb.add_argument("--title", help="default: the name")
    verb.add_argument("--author", default="", help="who painted it")
    verb.add_argument("--licence", default="", help="e.g. public domain")
    verb.set_defaults(command=_presets_add)
    verb = command(verbs, "keys", "list every key of a look: meaning, range, default", "render presets keys")
    verb.set_defaults(command=_presets_keys)


# ---- calls ----------------------------------------------------------------------------------------------------------


def _batch(arguments) -> int:
    from render.deadline import parse_deadline

    until = None if arguments.stop_at is None else parse_deadline(arguments.stop_at)  # from now, not from after loading torch

    from render import batch, console, jobs, outputs, presets, remote
    from render.batch import Summary
    from render.ledger import Ledger
    from render.pipeline import Keeping, forget_painted, forget_unfinished

    summary = Summary()
    store = remote.Output.at(arguments.output) if remote.is_remote(arguments.output) else None
    output = Path(arguments.output) if store is None else store.folder
    shown = str if store is None else store.shown
    local = partial(remote.localised, failed=lambda what, why: summary.failed.append((what, why)), tell=_tell)
    styles = presets.find_styles(
        local(arguments.styles, endings=remote.STYLES), failed=lambda error: summary.failed.append(("a style", str(error))))
    looks = [(style, presets.apply_settings(style.look, arguments.set)) for style in styles]
    photos = local(gan.sampled_inputs(arguments.inputs, arguments, _tell), endings=remote.PICTURES, without=None if store is None else store.url)
    if not photos:
        raise UsageError(" ".join(["--inputs: no pictures there.", *(why for _, why in summary.failed)]))
    inputs = _photographs(jobs.find_inputs(photos, without=output), output)
    with ExitStack() as open_:
        settings, device, make_runner = open_.enter_context(_workplace(arguments))
        planned = jobs.plan_jobs(
            inputs, looks, settings, output, weights_sha256=_fingerprint(settings),
            failed=lambda what, why: summary.failed.append((what, why)),
        )
        sort = partial(outputs.sorted_out, recipe_of=outputs.recipe_of if store is None else store.recipe_of,
                       failed=lambda path, why: summary.failed.append((shown(path), why)))
        if arguments.dry_run:
            ledger = Ledger.peek(output) if store is None else Ledger.peek(output, size_of=store.size_of)
            todo, finished = _split(arguments, planned, ledger, sort)
            ledger.close()
            return _dry_run(arguments, todo, finished, device, summary, shown)
        open_.enter_context(_ending(arguments, summary))
        ledger = open_.enter_context(closing(Ledger(output, tell=_tell)) if store is None else store.ledger(_tell))
        keeping = Keeping.under(ledger.folder, interval_s=arguments.checkpoint_every)

        def adopt(done) -> None:
            ledger.record(done)
            forget_unfinished(keeping, done.job.painted)

        todo, finished = _split(arguments, planned, ledger, sort, adopt)
        summary.skipped = len(finished)
        for job in todo if arguments.fresh else ():
            forget_painted(keeping, job.painted)
        runner = make_runner(keeping)
        if store is not None:
            runner = remote.Sending(runner, store, arguments.fresh)
        with console.Screen(len(todo), as_json=arguments.json, until=until, shown=shown) as screen:
            batch.run_batch(todo, runner, ledger, summary, screen, stop=until or batch.never, shown=shown)
    return summary.exit_status


def _photographs(inputs, output: Path):
    """The inputs without prints of earlier batches; how many those are is said in a line."""
    from render import outputs

    photos, prints = outputs.without_prints(inputs, output)
    if prints:
        names = ", ".join(str(item.path) for item in prints[:3]) + (", ..." if len(prints) > 3 else "")
        said = f"{len(prints)} of --inputs are prints that were made in {output}, and left out: {names}"
        if not photos:
            raise UsageError(f"--inputs: no photographs there. {said}")
        _tell(said)
    return photos


def _split(arguments, planned, ledger, sort, adopt=lambda done: None):
    """(jobs to render, finished ones); files that are not ours stay unless the user says otherwise."""
    from render.batch import split

    todo, finished = split(planned, ledger, fresh=arguments.fresh)
    if arguments.fresh or arguments.overwrite:
        return todo, finished
    todo, found = sort(todo, ledger, adopt=adopt)
    return todo, [*finished, *found]


@contextmanager
def _workplace(arguments):
    """(settings, device, keeping -> runner) for a batch; the device is None where Ray's workers choose theirs. A dry run
    is always for this machine."""
    if not wants_ray(arguments) or arguments.dry_run:
        device, settings = _device_and_settings(arguments, format=arguments.format)
        yield settings, device, lambda keeping: _local_runner(arguments, device, settings, keeping)
        return
    from render.distributed import cluster

    memory_bytes = _memory_bytes(arguments)
    _refuse_bad(_settings(arguments, format=arguments.format))
    with cluster.connected(arguments.address, weights=_weights(arguments), preprocessing=arguments.preprocessing,
                           device=arguments.device) as found:
        from render.distributed.ray_jobs import RayRunner

        name = found.device(arguments.device)
        settings = _settings(arguments, format=arguments.format, precision=found.precision(arguments.precision, name))
        cpus = found.cpus_each(arguments.cpus_per_worker, arguments.workers)
        yield settings, None, lambda keeping: RayRunner(
            found, name, settings, keeping, arguments.workers, cpus, memory_bytes, 60 * arguments.timeout)


@contextmanager
def _ending(arguments, summary):
    """However a batch ends that has begun, its summary is printed and --notify's command is told, once."""
    notice = _Notice(arguments, summary, datetime.now().astimezone())
    interrupts.before_an_end_at_once(notice.hurry)
    try:
        try:
            yield
        finally:
            interrupts.hold()  # what follows tells how the batch ended, and must not be cut off
    except UsageError:
        raise
    except BaseException as error:  # Ctrl-C too
        _sum_up(arguments, summary, notice, INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)
        raise
    _sum_up(arguments, summary, notice, summary.exit_status)


def _sum_up(arguments, summary, notice: "_Notice", status: int) -> None:
    from render import console

    try:
        console.print_summary(summary, output=arguments.output, as_json=arguments.json)
    finally:
        notice(status or (1 if streams.lost() else 0))


class _Notice:
    """Tells --notify's command of a batch, the first time it is called."""

    def __init__(self, arguments, summary, started: datetime):
        self.arguments, self.summary, self.started = arguments, summary, started
        self.told = False

    def __call__(self, status: int, **how) -> None:
        from render import console
        from render.notify import notify

        summary, command = self.summary, self.arguments.notify
        if command is None or self.told or not (summary.done or summary.left or summary.failed):
            return
        self.told = True
        record = console.notice_record(summary, output=self.arguments.output, started=self.started,
                                       exit_status=status, interrupted=status == INTERRUPTED)
        try:
            notify(command, record, **how)
        except RenderError as error:
            _complain(error, status)

    def hurry(self) -> None:
        """A person will not wait: the command is started, or has been and is ended."""
        from render.notify import end_now

        end_now()
        self(INTERRUPTED, timeout_s=IMPATIENT_NOTICE_S)


def _device_and_settings(arguments, **more):
    from render.device import choose

    device = choose(arguments.device, arguments.precision, memory_bytes=_memory_bytes(arguments))
    settings = _settings(arguments, precision=device.precision, **more)
    _refuse_bad(settings)
    return device, settings


def _memory_bytes(arguments) -> int | None:
    from render.memory import parse_bytes

    return None if arguments.memory is None else parse_bytes(arguments.memory)


def _refuse_bad(settings) -> None:
    """A bad profile or paper is refused before any work. Raises UsageError."""
    from render.finish import Finish

    Finish.of(settings)
    settings.layout((1000, 1000))


def _settings(arguments, **more):
    from render.jobs import Settings
    from render.prints import parse_length_mm

    return Settings(
        size_px=arguments.size, paper=arguments.paper, dpi=arguments.dpi, bleed_mm=parse_length_mm(arguments.bleed),
        fit=arguments.fit, quality=arguments.quality, seed=arguments.seed, color=arguments.color,
        photoreal=arguments.photoreal, bit_depth=arguments.bit_depth, profile=_absolute(arguments.profile),
        intent=arguments.intent, soft_proof=_absolute(arguments.soft_proof), weights=_weights(arguments),
        preprocessing=arguments.preprocessing, **more,
    )


def _weights(arguments) -> str:
    """A source's name as it is; a path absolute, because workers may run in another folder."""
    from render.weights import SOURCES

    return arguments.weights if arguments.weights in SOURCES else os.path.abspath(arguments.weights)


def _absolute(profile: str | None) -> str | None:
    """A built-in name as it is, and a path absolute, as for `_weights`."""
    from render.icc import BUILT_IN

    return profile if profile is None or profile in BUILT_IN else os.path.abspath(profile)


def _fingerprint(settings) -> str:
    from render.weights import fingerprint

    return fingerprint(settings.weights)


def _local_runner(arguments, device, settings, keeping):
    from render.local import LocalRunner

    workers = _some_workers(arguments.workers or 1)
    if workers > 1 and device.name != "cpu":
        raise UsageError(f"--workers {workers}: one process a GPU. Use --runner ray for several GPUs, leave it out, or use --device cpu.")
    return LocalRunner(device, settings, keeping, workers=workers)


def _some_workers(wanted: int) -> int:
    """Each takes some hundred megabytes before it paints anything."""
    most = WORKERS_PER_CORE * (os.cpu_count() or 1)
    if wanted > most:
        _tell(f"--workers {wanted}: this machine has {os.cpu_count()} cores, so {most} are started at most")
    return min(wanted, most)


def _dry_run(arguments, todo, finished, device, summary, shown) -> int:
    from render import console
    from render.estimate import estimate
    from render.local import make_renderer

    costs = []
    for job, cost in estimate(todo, device, make_renderer(device, todo[0].settings)) if todo else ():
        if isinstance(cost, RenderError):
            summary.failed.append((job.label, str(cost)))
        else:
            costs.append((job, cost))
    console.print_plan(costs, finished, summary, device=device, workers=arguments.workers or 1, as_json=arguments.json, shown=shown)
    return summary.exit_status


def _image(arguments) -> int:
    from render import console, export, jobs, outputs, presets
    from render.batch import Summary, run_batch
    from render.local import LocalRunner

    style = presets.find_style(arguments.style)
    look = presets.apply_settings(style.look, arguments.set)
    device, settings = _device_and_settings(arguments, format=export.format_of(arguments.output))
    photo = Path(arguments.photo)
    job = jobs.make_job(photo, style, look, settings, arguments.output, weights_sha256=_fingerprint(settings))
    jobs.refuse_to_replace_sources(job)
    for path in () if arguments.overwrite else job.products:
        outputs.refuse_to_replace(path, job.hashes[photo])
    summary = Summary()
    with console.Screen(1, as_json=arguments.json) as screen:
        run_batch([job], LocalRunner(device, settings, keeping=None), None, summary, screen)
    return summary.exit_status


def _recolor(arguments) -> int:
    from render import recolor

    if arguments.photo is not None and (len(arguments.prints) > 1 or arguments.prints[0].is_dir()):
        raise UsageError("--photo: name a single print with it.")
    problems = []
    for path in recolor.find_prints(arguments.prints):
        try:
            done = recolor.recolor(path, arguments.color, photo=arguments.photo)
        except RenderError as error:
            problems.append(error)
        else:
            print(f"done  {plain(path)}" + "".join(f"\n  look at it: {plain(finding)}" for finding in done.findings))
    return _report(problems)


def _presets_list(arguments) -> int:
    from render import console, presets

    problems = []
    styles = presets.find_styles(arguments.styles or list(presets.shipped_collections()), failed=problems.append)
    console.print_styles(styles)
    return _report(problems)


def _presets_show(arguments) -> int:
    from render import console, presets

    style = presets.find_style(arguments.style)
    console.print_style(style, presets.apply_settings(style.look, []))
    return 0


def _presets_check(arguments) -> int:
    from render import images, presets

    problems = []
    styles = presets.find_styles(arguments.styles, failed=problems.append)
    for style in styles:
        try:
            presets.apply_settings(style.look, [])
            sizes = [images.read(picture.path).size for picture in style.pictures]
        except RenderError as error:
            problems.append(error)
            continue
        print(f"ok  {plain(style.name)}: " + ", ".join(f"{width}x{height} px" for height, width in sizes))
    return _report(problems)


def _report(problems) -> int:
    for problem in problems:
        _complain(problem, 1)
    return 1 if problems else 0


def _presets_add(arguments) -> int:
    from render import presets

    name = arguments.name or arguments.picture.stem
    path = presets.add_style(arguments.picture, folder=arguments.folder, name=name, title=arguments.title or name,
                             author=arguments.author, licence=arguments.licence)
    print(f"{plain(path)}  use it: render batch --styles {plain(path)} --inputs photos/")
    return 0


def _presets_keys(arguments) -> int:
    from render import console, presets

    console.print_keys(presets.describe_look())
    return 0


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
    return _follow(cluster, planned.job_id) if arguments.wait else 0


def _packed(arguments):
    """(what travels to a cluster with the words of its batch, what that is for a person). Refuses before anything is sent
    what the batch would refuse."""
    from render import jobs, presets
    from render.distributed import package
    from render.finish import Finish

    _memory_bytes(arguments)
    settings = _settings(arguments, format=arguments.format)
    settings.layout((1000, 1000))
    options = _changed_options(arguments)
    if arguments.shared:
        words = package.shared_words(arguments.inputs, arguments.styles, options)
        return package.Package((), words), "every path is the cluster's"
    Finish.of(settings)
    styles = presets.find_styles(arguments.styles)
    looks = [(style, presets.apply_settings(style.look, arguments.set)) for style in styles]
    inputs = jobs.find_inputs(gan.sampled_inputs(arguments.inputs, arguments, _tell))
    jobs.refuse_collisions(inputs, looks, settings, Path("prints"))
    shipped, files = package.split_shipped(arguments.styles)
    what = f"{len(inputs)} photographs, to be rendered in {len(styles)} styles each"
    return package.plan_package(inputs, presets.find_styles(files), shipped, options), what


def _changed_options(arguments) -> list[tuple[str, str]]:
    """Options that are not at their default, as they would be written for `render batch`."""
    parser = argparse.ArgumentParser(add_help=False)
    _look_words(parser)
    _worker_words(parser)
    given = []
    for action in parser._actions:
        value = getattr(arguments, action.dest)
        if value != action.default:
            given += [(action.option_strings[0], str(each)) for each in (value if isinstance(value, list) else [value])]
    return given


def _status(arguments) -> int:
    from render import console
    from render.ledger import Ledger

    if arguments.address is not None:
        return _job_status(arguments)
    if arguments.follow or arguments.logs or arguments.fetch:
        raise UsageError("--follow, --logs and --fetch are for a job on a cluster: name it with --address http://localhost:8265.")
    ledger = Ledger.peek(Path(arguments.what))
    rows = ledger.rows()
    ledger.close()
    if not rows:
        raise UsageError(f"{arguments.what}: no batch was rendered there. Name its --output folder, or a job with --address.")
    return 1 if console.print_status(rows, Path(arguments.what)) else 0


def _job_status(arguments) -> int:
    from render import console
    from render.distributed import follow
    from render.distributed.jobs_api import Dashboard

    cluster, name = Dashboard(arguments.address), arguments.what
    job = cluster.job(name)
    if arguments.logs:
        for line in cluster.lines(name) if arguments.follow else cluster.log(name).splitlines():
            print(plain(line), flush=True)
        status = _ended_status(cluster.job(name))
    elif arguments.follow:
        status = _follow(cluster, name)
    else:
        tally = follow.tally_of(cluster.log(name))
        console.print_job(name, job.status.lower(), tally, output=(job.metadata or {}).get("output"))
        status = _job_verdict(job, tally)
    if arguments.fetch is not None:
        brought = 0
        for path in follow.fetch(cluster, name, arguments.fetch):
            print(f"fetched {plain(path)}", flush=True)
            brought += 1
        print(f"{brought} files fetched; {plain(arguments.fetch)} holds every print that is finished")
    return status


def _follow(cluster, name: str) -> int:
    """Draws the job's events as if it ran here."""
    from render import console
    from render.distributed import follow

    tally = follow.Tally()
    records = (record for record in map(tally.add, cluster.lines(name)) if record is not None)
    begin = next((record for record in records if record["event"] == "begin"), None)
    if begin is not None:
        with console.Screen(begin["jobs"]) as screen:
            for event in filter(None, map(console.from_record, records)):
                screen(event)
    job = follow.ended(cluster, name)
    console.print_job(name, job.status.lower(), tally, output=(job.metadata or {}).get("output"))
    return _job_verdict(job, tally)


def _job_verdict(job, tally) -> int:
    from render.distributed import follow

    if job.status.is_terminal() and tally.summary is None:
        return _complain(RenderError(f"{job.submission_id}: ended before its batch did: {follow.why_it_failed(job, tally)}"), 1)
    return 1 if tally.failed else _ended_status(job)


def _ended_status(job) -> int:
    return 1 if job.status in ("FAILED", "STOPPED") else 0


def _doctor(arguments) -> int:
    from render import doctor

    return doctor.examine()


# These do nothing but tell, so they end when nobody reads it any more. The others make files and go on.
_ONLY_TELL = (_presets_list, _presets_show, _presets_check, _presets_keys, _status, _submit, _doctor)
