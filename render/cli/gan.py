"""`render gan`: words to calls."""

import sys
from contextlib import closing, contextmanager
from pathlib import Path

from render.cli.arguments import command, number, positive, share, whole
from render.cli.choice import wants_ray
from render.errors import RenderError, UsageError
from render.wording import plain

GRID_LIMIT = 10_000  # samples of one grid


def add(commands) -> None:
    parser = commands.add_parser("gan", help="train generative networks on small pictures, and sample them")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _train_words(verbs)
    _sample_words(verbs)


def _train_words(verbs) -> None:
    parser = command(
        verbs,
        "train",
        "train a generator on a folder of pictures, or on (Fashion-)MNIST",
        "render gan train --data paintings/ --crop tiles --size 64 --output gans/paintings\n"
        "  render gan train --data fashion-mnist --architecture dcgan --epochs 10 --output gans/fashion",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="NAME|FOLDER",
        help="fashion-mnist or mnist (downloaded once), a folder with their IDX files, or a folder of "
        "pictures",
    )
    parser.add_argument(
        "--architecture",
        choices=("fc", "dcgan", "wgan-gp", "conv", "compact"),
        default="compact",
        help="compact: colour, for few pictures; the others: grey, 28 x 28 px (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="for gan.safetensors, a grid of samples an epoch, and the losses; a training that is there "
        "goes on",
    )
    parser.add_argument("--size", type=positive, metavar="PX", help="compact: 32, 64 (default), 128 or 256")
    parser.add_argument(
        "--crop",
        choices=("centre", "tiles"),
        help="pictures that are not squares of one size: the middle of each, or "
        "many overlapping squares of each",
    )
    parser.add_argument(
        "--epochs", type=positive, default=20, metavar="N", help="in all (default: %(default)s)"
    )
    parser.add_argument(
        "--loss",
        choices=("minimax", "least-squares", "wasserstein", "hinge"),
        help="minimax: with the non-saturating generator loss; wasserstein: with the gradient penalty "
        "(default: the "
        "architecture's)",
    )
    parser.add_argument("--batch", type=positive, metavar="N", help="default: the architecture's")
    parser.add_argument("--learning-rate", type=number, metavar="RATE", help="default: the architecture's")
    parser.add_argument(
        "--critic-steps", type=positive, metavar="N", help="of the discriminator for one of the generator"
    )
    parser.add_argument(
        "--augment", metavar="KINDS", help="colour,translation,cutout or some of them; '' for none"
    )
    parser.add_argument("--seed", type=whole, default=0, help="default: %(default)s")
    parser.add_argument("--fresh", action="store_true", help="begin anew where a training is")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object an epoch on standard output")
    parser.set_defaults(command=_train)


def _sample_words(verbs) -> None:
    parser = command(
        verbs,
        "sample",
        "make pictures with a trained generator",
        "render gan sample gans/fashion/gan.safetensors --count 10000 --seed 7 --output samples/\n"
        "  render gan sample gans/fashion/gan.safetensors --interpolate 3 17 42 --frames 12 --output "
        "strip.png\n"
        "  render gan sample other.pt --latent 128 --format grid --output grid.png",
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="gan.safetensors; or, with --latent, a TorchScript file or an exported program (.pt2)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER|FILE",
        help="png and npz: a folder; grid and strip: a .png",
    )
    parser.add_argument("--count", type=positive, default=64, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--start", type=whole, default=0, metavar="I", help="number of the first (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=whole,
        default=0,
        help="sample I of a seed is always the same picture (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=("png", "grid", "npz"),
        default="png",
        help="a file each, one picture of all, or samples.npz with `samples` (N, H, W, C) (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--truncation",
        type=share,
        default=1.0,
        metavar="T",
        help="draw latents towards their mean: fewer odd samples, less variety (default: %(default)g, "
        "not at all)",
    )
    parser.add_argument(
        "--interpolate",
        type=whole,
        nargs="+",
        metavar="I",
        help="a strip of pictures from sample to sample, by slerp",
    )
    parser.add_argument(
        "--frames", type=positive, default=10, metavar="N", help="with --interpolate (default: %(default)s)"
    )
    parser.add_argument("--latent", metavar="SHAPE", help="of a generator from elsewhere: 128, or 128x1x1")
    parser.add_argument(
        "--latent-distribution",
        choices=("normal", "uniform"),
        default="normal",
        help="with --latent (default: %(default)s)",
    )
    parser.add_argument(
        "--range",
        choices=("-1..1", "0..1"),
        default="-1..1",
        help="with --latent: of its images (default: %(default)s)",
    )
    parser.add_argument(
        "--runner", choices=("auto", "local", "ray"), default="auto", help="see `render batch --help`"
    )
    parser.add_argument("--address", metavar="ADDRESS", help="see `render batch --help`")
    parser.add_argument("--workers", type=positive, metavar="N", help="ray: so many (as many as fit)")
    parser.add_argument(
        "--cpus-per-worker", type=positive, metavar="N", help="ray without GPUs: cores of each worker (4)"
    )
    parser.add_argument(
        "--timeout", type=number, default=30.0, metavar="MINUTES", help="see `render batch --help`"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be made; make nothing")
    parser.add_argument("--fresh", action="store_true", help="make again what is finished already")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    parser.set_defaults(command=_sample)


# ---- train -------------------------------------------------------------------------------------------------


def _train(arguments) -> int:
    from render.cli.gan_screen import TrainingScreen
    from render.gan import augment, data, sheets
    from render.gan.architectures import ARCHITECTURES
    from render.gan.training import Recipe, Training
    from render.jobs import outputs
    from render.network import device
    from render.runners.remote import cache_folder

    if unknown := [
        kind for kind in filter(None, (arguments.augment or "").split(",")) if kind not in augment.KINDS
    ]:
        raise UsageError(
            f"--augment {arguments.augment}: {unknown[0]!r} is not one of {', '.join(augment.KINDS)}."
        )
    sheets.import_pyplot()
    architecture = ARCHITECTURES[arguments.architecture]
    recipe = Recipe.of(
        architecture,
        arguments.size,
        loss=arguments.loss,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        critic_steps=arguments.critic_steps,
        augment=arguments.augment,
        seed=arguments.seed,
    )
    chosen = device.choose(arguments.device, "auto" if architecture.mixed else "float32")
    device.prepare(chosen)
    found = data.load(arguments.data, recipe.shape, crop=arguments.crop, cache=cache_folder() / "datasets")
    checkpoint = arguments.output / "gan.safetensors"
    if arguments.fresh:
        checkpoint.unlink(missing_ok=True)
    elif not checkpoint.exists():
        outputs.refuse_existing((arguments.output / "losses.png", arguments.output / "grids"), word="--fresh")
    training = Training(recipe, found, chosen, checkpoint)
    with TrainingScreen(training, arguments.epochs, arguments.output, as_json=arguments.json) as screen:
        training.run(arguments.epochs, screen)
    return 0


# ---- sample ------------------------------------------------------------------------------------------------


def _sample(arguments) -> int:
    from render.gan import rendering
    from render.gan.files import parse_latent
    from render.gan.shards import Sampling
    from render.network import device

    single = arguments.interpolate is not None or arguments.format == "grid"
    latent = None if arguments.latent is None else parse_latent(arguments.latent)
    settings = Sampling(
        arguments.checkpoint.absolute(),
        arguments.seed,
        arguments.truncation,
        "png" if single else arguments.format,
        latent,
        arguments.latent_distribution,
        arguments.range == "-1..1",
    )
    chosen = device.choose(arguments.device, "float32")
    device.prepare(chosen)
    sampler = rendering.make_sampler(
        settings, chosen
    )  # a bad checkpoint is refused before anything is written
    if single:
        return _one_picture(arguments, sampler)
    return _many(arguments, settings, sampler, chosen)


def _one_picture(arguments, sampler) -> int:
    import numpy as np

    from render.gan import sampling, sheets
    from render.jobs import outputs

    if arguments.output.suffix.lower() != ".png":
        raise UsageError(f"--output {arguments.output}: name the picture's file, ending in .png.")
    if not arguments.fresh:
        outputs.refuse_existing([arguments.output], word="--fresh")
    drawn = sampling.Drawn(arguments.seed, arguments.truncation)
    if arguments.interpolate is not None:
        if len(arguments.interpolate) < 2:
            raise UsageError("--interpolate: name two samples or more, like --interpolate 3 17.")
        latents = sampling.between(sampler.generator, drawn, arguments.interpolate, arguments.frames)
        sheet = sheets.grid(sampler.images(latents), columns=arguments.frames)
    else:
        if arguments.count > GRID_LIMIT:
            raise UsageError(
                f"--count {arguments.count}: a grid of at most {GRID_LIMIT}. Use --format png or npz."
            )
        found = sampler.samples(drawn, arguments.start, arguments.start + arguments.count)
        sheet = sheets.grid(np.concatenate([images for _, images in found]))
    if arguments.dry_run:
        print(
            f"would write {plain(arguments.output)}: {sheet.shape[1]} x {sheet.shape[0]} px. Nothing was "
            f"written."
        )
        return 0
    sheets.write_png(arguments.output, sheet)
    print(f"{plain(arguments.output)}: {sheet.shape[1]} x {sheet.shape[0]} px", file=sys.stderr)
    return 0


def _many(arguments, settings, sampler, device) -> int:
    from render.cli import screen
    from render.gan import rendering
    from render.gan.sampling import Drawn
    from render.gan.shards import plan_shards, shard_size
    from render.jobs import outputs
    from render.jobs.ledger import Ledger
    from render.painting.storage import Storage
    from render.runners import batch

    size = shard_size(sampler.generator.shape)
    shards = plan_shards(settings, arguments.count, arguments.output, start=arguments.start, size=size)
    if arguments.dry_run:
        first = next(sampler.samples(Drawn(settings.seed, settings.truncation), 0, 1))[1]
        print(
            f"would write {arguments.count} samples of {first.shape[2]} x {first.shape[1]} px, "
            f"{len(shards)} jobs, to {plain(arguments.output)}. "
            "Nothing was written."
        )
        return 0
    summary = batch.Summary()

    def tell(text: str) -> None:
        print(f"render: {text}", file=sys.stderr)

    with closing(Ledger(arguments.output, tell=tell)) as ledger:
        if not arguments.fresh and not ledger.rows():
            written = [path for shard in shards for path in shard.products]
            outputs.refuse_existing([*written, arguments.output / "samples.npz"], word="--fresh")
        todo, finished = batch.split(shards, ledger, fresh=arguments.fresh)
        gone = [shard for shard in finished if not all(path.is_file() for path in shard.products)]
        todo = sorted([*todo, *gone], key=lambda shard: shard.start)
        summary.skipped = len(shards) - len(todo)
        with _runner(arguments, Storage.under(ledger.folder), device) as runner:
            with screen.Screen(len(todo), as_json=arguments.json) as shown:
                batch.run_batch(todo, runner, ledger, summary, shown)
    if settings.format == "npz" and not summary.failed:
        rendering.write_npz(arguments.output / "samples.npz", shards)
    screen.print_summary(summary, output=arguments.output, as_json=arguments.json)
    return summary.exit_status


@contextmanager
def _runner(arguments, storage, device):
    from render.gan.rendering import MakeShardRenderer
    from render.runners.local import LocalRunner

    if not wants_ray(arguments):
        yield LocalRunner(device, MakeShardRenderer())
        return
    from render.distributed import cluster

    with cluster.connected(
        arguments.address, weights="caffe", preprocessing=None, device=arguments.device
    ) as found:
        from render.distributed.ray_jobs import RayRunner

        cpus = found.cpus_each(arguments.cpus_per_worker, arguments.workers)
        yield RayRunner(
            found,
            found.device(arguments.device),
            MakeShardRenderer(),
            storage,
            arguments.workers,
            cpus,
            None,
            60 * arguments.timeout,
        )


# ---- samples as a batch's inputs ---------------------------------------------------------------------------


def sampled_inputs(entries, arguments, tell) -> list[str]:
    """Entries like gan:CHECKPOINT?count=16&seed=7 become folders with the samples; the others stay."""
    return [_sampled(entry, arguments, tell) if entry.startswith("gan:") else entry for entry in entries]


def _sampled(entry: str, arguments, tell) -> str:
    from render.gan import rendering
    from render.gan.shards import parse_query
    from render.network import device
    from render.runners.remote import cache_folder

    settings, count, start = parse_query(entry)
    chosen = device.choose(arguments.device, "float32")
    device.prepare(chosen)
    try:
        return str(
            rendering.input_folder(
                cache_folder() / "samples",
                settings,
                count,
                start,
                chosen,
                lambda: tell(f"sampling {count} inputs from {settings.checkpoint}"),
            )
        )
    except RenderError as error:
        raise UsageError(f"--inputs {entry}: {error}") from error
