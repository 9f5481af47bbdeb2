"""`render gan`: train generators, and sample them."""

import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from render.cli.arguments import COUNT, INDEX, Number, Option, Parser, numeric
from render.cli.choice import wants_ray
from render.cli.messages import inform
from render.cli.options import DEVICE, JSON, RUNNER_OPTIONS, changed
from render.cli.workplace import local_runner
from render.errors import RenderError, UsageError
from render.wording import plain

GRID_LIMIT = 10_000  # samples of one grid


SEED = numeric("--seed", "Seed of all that is random.", INDEX, default=0, metavar="N")

TRAIN_OPTIONS = (
    Option(
        "--data",
        "Pictures to learn from: fashion-mnist or mnist (downloaded once), a folder with their IDX files, "
        "or a folder of pictures.",
        metavar="NAME|FOLDER",
        required=True,
    ),
    Option(
        "--architecture",
        "Networks: compact is for color and few pictures; the others are for gray pictures of 28 x 28 px.",
        "compact",
        choices=("fc", "dcgan", "wgan-gp", "conv", "compact"),
    ),
    Option(
        "--output",
        "Folder for gan.safetensors, a grid of samples for each epoch, and the losses; a training found "
        "there is continued.",
        parse=Path,
        metavar="FOLDER",
        required=True,
    ),
    Option(
        "--size",
        "With compact: side of the pictures in px.",
        range="32, 64, 128 or 256",
        parse=COUNT,
        metavar="PX",
        default_shown="64",
    ),
    Option(
        "--crop",
        "What becomes of pictures that are not squares of one size: the middle of each (centre), or many "
        "overlapping squares of each (tiles).",
        choices=("centre", "tiles"),
    ),
    numeric("--epochs", "Epochs in all, those of earlier runs included.", COUNT, default=20, metavar="N"),
    Option(
        "--loss",
        "Loss of the training: minimax has the non-saturating generator loss, wasserstein the gradient "
        "penalty.",
        choices=("minimax", "least-squares", "wasserstein", "hinge"),
        default_shown="the architecture's",
    ),
    numeric("--batch", "Pictures per step.", COUNT, metavar="N", default_shown="the architecture's"),
    numeric(
        "--learning-rate",
        "Learning rate of both optimizers.",
        Number(above=0),
        metavar="RATE",
        default_shown="the architecture's",
    ),
    numeric(
        "--critic-steps",
        "Steps of the discriminator for each one of the generator.",
        COUNT,
        metavar="N",
        default_shown="the architecture's",
    ),
    Option(
        "--augment",
        "Random changes of the pictures that both networks see.",
        range="some of colour,translation,cutout, with commas; '' for none",
        metavar="KINDS",
        default_shown="the architecture's",
    ),
    SEED,
    Option("--fresh", "Start again where a training is found.", False, kind="flag"),
    DEVICE,
    JSON,
)

SAMPLE_OPTIONS = (
    Option(
        "checkpoint",
        "The generator: gan.safetensors; with --latent also a TorchScript file or an exported program "
        "(.pt2).",
        parse=Path,
        metavar="CHECKPOINT",
    ),
    Option(
        "--output",
        "Where the samples go: a folder for png and npz, a .png file for a grid or a strip.",
        parse=Path,
        metavar="FOLDER|FILE",
        required=True,
    ),
    numeric("--count", "Number of samples.", COUNT, default=64, metavar="N"),
    numeric("--start", "Number of the first sample.", INDEX, default=0, metavar="I"),
    replace(SEED, meaning="Seed of the samples; sample I of a seed is always the same picture."),
    Option(
        "--format",
        "One file per sample (png), one picture of all (grid), or samples.npz with an array `samples` (N, "
        "H, W, C).",
        "png",
        choices=("png", "grid", "npz"),
    ),
    numeric(
        "--truncation",
        "Draw latents toward their mean, which gives fewer odd samples and less variety; 1 changes nothing.",
        Number(least=0, most=10),
        default=1.0,
        metavar="T",
    ),
    Option(
        "--interpolate",
        "Make a strip of pictures from sample to sample, by slerp.",
        range="two sample numbers or more",
        parse=INDEX,
        metavar="I",
        nargs="+",
    ),
    numeric(
        "--frames",
        "With --interpolate: pictures from one sample to the next.",
        COUNT,
        default=10,
        metavar="N",
    ),
    Option(
        "--latent",
        "Shape of the latents of a generator that was not trained by render.",
        range="128, or 128x1x1",
        metavar="SHAPE",
    ),
    Option(
        "--latent-distribution",
        "With --latent: distribution of the latents.",
        "normal",
        choices=("normal", "uniform"),
    ),
    Option(
        "--range",
        "With --latent: range of the generator's pictures.",
        "-1..1",
        choices=("-1..1", "0..1"),
    ),
    *RUNNER_OPTIONS,
    Option("--dry-run", "Print what would be made; make nothing.", False, kind="flag"),
    Option("--fresh", "Make again what is finished already.", False, kind="flag"),
    DEVICE,
    JSON,
)


def add(commands: Parser) -> None:
    commands.command(
        "gan",
        "train generative networks on small pictures, and sample them",
        "render gan train --data paintings/ --crop tiles --output gans/paintings",
        _fill,
    )


def _fill(parser: Parser) -> None:
    parser.command(
        "train",
        "train a generator on a folder of pictures, or on (Fashion-)MNIST",
        "render gan train --data paintings/ --crop tiles --size 64 --output gans/paintings\n"
        "  render gan train --data fashion-mnist --architecture dcgan --epochs 10 --output gans/fashion",
        _fill_train,
    )
    parser.command(
        "sample",
        "make pictures with a trained generator",
        "render gan sample gans/fashion/gan.safetensors --count 10000 --seed 7 --output samples/\n"
        "  render gan sample gans/fashion/gan.safetensors --interpolate 3 17 42 --frames 12 --output "
        "strip.png\n"
        "  render gan sample other.pt --latent 128 --format grid --output grid.png",
        _fill_sample,
    )


def _fill_train(parser: Parser) -> None:
    parser.add(*TRAIN_OPTIONS)
    parser.set_defaults(command=_train)


def _fill_sample(parser: Parser) -> None:
    parser.add(*SAMPLE_OPTIONS)
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
    if single:
        _refuse_workers(arguments)
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


def _refuse_workers(arguments) -> None:
    """Options that would do nothing. Raises UsageError."""
    for name, text in changed(RUNNER_OPTIONS, arguments):
        if (name, text) not in (("--runner", "local"), ("--workers", "1")):
            raise UsageError(
                f"{name} {text}: one picture of all samples is made by this process alone. Leave it out, or "
                "use --format png or npz."
            )


def _one_picture(arguments, sampler) -> int:
    import numpy as np

    from render.gan import sampling, sheets
    from render.jobs import outputs

    if arguments.output.suffix.lower() != ".png":
        raise UsageError(f"--output {arguments.output}: name the picture's file, with the extension .png.")
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
    summary, on_ray = batch.Summary(), wants_ray(arguments)
    with closing(Ledger(arguments.output, tell=inform)) as ledger:
        if not arguments.fresh and not ledger.rows():
            written = [path for shard in shards for path in shard.products]
            outputs.refuse_existing([*written, arguments.output / "samples.npz"], word="--fresh")
        todo, finished = batch.split(shards, ledger, fresh=arguments.fresh)
        gone = [shard for shard in finished if not all(path.is_file() for path in shard.products)]
        todo = sorted([*todo, *gone], key=lambda shard: shard.start)
        summary.skipped = len(shards) - len(todo)
        with _runner(arguments, Storage.under(ledger.folder), device, on_ray) as runner:
            with screen.Screen(len(todo), as_json=arguments.json) as drawn:
                batch.run_batch(todo, runner, ledger, summary, drawn)
    if settings.format == "npz" and not summary.failed:
        rendering.write_npz(arguments.output / "samples.npz", shards)
    screen.print_summary(summary, output=arguments.output, as_json=arguments.json)
    return summary.exit_status


@contextmanager
def _runner(arguments, storage, device, on_ray: bool):
    from render.gan.rendering import MakeShardRenderer

    if not on_ray:
        yield local_runner(arguments, device, MakeShardRenderer())
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


def sampled_inputs(entries, arguments) -> list[str]:
    """Entries like gan:CHECKPOINT?count=16&seed=7 become folders with the samples; the others stay."""
    return [_sampled(entry, arguments) if entry.startswith("gan:") else entry for entry in entries]


def _sampled(entry: str, arguments) -> str:
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
                lambda: inform(f"sampling {count} inputs from {settings.checkpoint}"),
            )
        )
    except RenderError as error:
        raise UsageError(f"--inputs {entry}: {error}") from error
