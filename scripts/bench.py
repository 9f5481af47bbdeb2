"""Measures the renderer: against pastiche 1.6.0, and one evaluation by size. Results go into BENCHMARKS.md.

python scripts/bench.py pastiche PHOTO PAINTING
    loss against seconds at 512 px, both programs in one run
python scripts/bench.py evaluation
    seconds for one value and gradient, by size and precision
python scripts/bench.py start PHOTO PAINTING
    what the photograph's detail is worth at the start of a scale
python scripts/bench.py memory --memory 4GiB
    peak memory of the process against size, tiled and untiled
python scripts/bench.py tiles
    what tiles of 1024 px cost against the untiled picture
python scripts/bench.py workers
    pictures an hour by 1 and 2 Ray workers of one core, driver's cost a job
python scripts/bench.py tile-parallel
    one step of 2048 px by 1 and 2 Ray workers of one core
python scripts/bench.py night JOB_MS EVENT_MS
    8 machines of 8 GPUs and 10 000 pairs, simulated from measured costs
python scripts/bench.py recolor PHOTO PAINTING
    seconds for the colors and the structure of a finished picture of 3072 x 2304 px
python scripts/bench.py gan-sampling CHECKPOINT...
    samples a second, end to end, against the bare generator's
python scripts/bench.py gan-workers CHECKPOINT
    the same by 1 and 2 Ray workers of one core
python scripts/bench.py gan-quality DATA CHECKPOINT...
    what a classifier sees in samples of Fashion-MNIST (IDX files in DATA)
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from render.jobs import schedule, styles
from render.jobs.job import make_job
from render.jobs.settings import Settings
from render.network import device, memory, optimise, tiling, weights
from render.network.moments import moments
from render.network.objective import Objective, content_target, style_target
from render.painting import renderer
from render.painting.storage import Storage
from render.pictures import images, print_file
from render.system import large_pages

SIZE_PX = 512
STYLE_LAYERS = {f"relu{i}_1": 64 * 2 ** min(i - 1, 3) for i in range(1, 6)}  # with their channels
CONTENT_LAYER = "relu4_2"


def main() -> None:
    large_pages.restart_with_them()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, command in (
        ("pastiche", compare_pastiche),
        ("start", compare_starts),
        ("recolor", time_recolor),
    ):
        words = commands.add_parser(name)
        words.add_argument("photo", type=Path)
        words.add_argument("painting", type=Path)
        if name == "recolor":
            words.add_argument("--runs", type=int, default=5)
            words.add_argument("--threads", type=int, default=1, help="OpenCV's; numpy takes one")
        words.set_defaults(command=command)
    commands.add_parser("evaluation").set_defaults(command=time_evaluations)
    words = commands.add_parser("memory")
    words.add_argument("--memory", default="4GiB")
    words.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 3072, 4096])
    words.add_argument("--untiled", type=int, nargs="*", default=[1024, 2048])
    words.set_defaults(command=measure_memory)
    words = commands.add_parser("one-scale")  # what `memory` runs, each in a process of its own
    words.add_argument("size", type=int)
    words.add_argument("--memory", default=None)
    words.set_defaults(command=run_one_scale)
    commands.add_parser("tiles").set_defaults(command=time_tiles)
    words = commands.add_parser("workers")
    words.add_argument("--jobs", type=int, default=8)
    words.add_argument("--size", type=int, default=256)
    words.set_defaults(command=time_workers)
    commands.add_parser("tile-parallel").set_defaults(command=time_tile_parallel)
    words = commands.add_parser("night")
    words.add_argument("job_ms", type=float, help="driver's time for a job's hand-out, result and ledger")
    words.add_argument(
        "event_ms", type=float, help="driver's time for a progress event; a worker sends one a second"
    )
    words.set_defaults(command=simulate_night)
    for name, command in (
        ("gan-sampling", time_sampling),
        ("gan-workers", time_sample_workers),
        ("gan-quality", judge_samples),
    ):
        words = commands.add_parser(name)
        if name == "gan-quality":
            words.add_argument("data", type=Path)
        words.add_argument("checkpoints", type=Path, nargs="+")
        words.add_argument("--count", type=int, default=20_000)
        words.set_defaults(command=command)
    arguments = parser.parse_args()
    print(f"{torch.__version__}, {device.cores()} cores, {device.choose().precision} features by default")
    arguments.command(arguments)


# ---- against pastiche --------------------------------------------------------------------------------------


def compare_pastiche(arguments) -> None:
    """pastiche's 100 L-BFGS steps and our command, one after the other, each as a process from start to
    written file."""
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = Path(folder, "pastiche.png"), Path(folder, "render.png")
        # Both get the pictures at the final size: how a program resizes changes the Gram matrices it aims at.
        arguments.photo, arguments.painting = (
            at_size(path, Path(folder)) for path in (arguments.photo, arguments.painting)
        )
        settings = [
            f"--set={key}={value}"
            for key, value in pastiche_look(arguments.photo, arguments.painting).items()
        ]
        started = time.perf_counter()
        curve = run_pastiche(arguments, theirs)
        theirs_s = time.perf_counter() - started
        print("pastiche 1.6.0\n   seconds      loss")
        for seconds, loss in curve:
            print(f"{seconds:10.1f}{loss:10.1f}")
        started = time.perf_counter()
        curve = run_render(arguments, ours, settings, started)
        ours_s = time.perf_counter() - started
        print("render, Gram losses with pastiche's weights\n   seconds      loss  (scale)")
        for seconds, loss, size in curve:
            print(f"{seconds:10.1f}{loss:10.1f}  {size}")
        print("both pictures by pastiche's own loss code, from their files:")
        for name, path, seconds in (("pastiche", theirs, theirs_s), ("render", ours, ours_s)):
            print(
                f"{name:>10}: loss {pastiche_loss(arguments.photo, arguments.painting, path):.1f} after "
                f"{seconds:.1f} s, "
                "everything included"
            )
        print(f"ratio of seconds: {theirs_s / ours_s:.2f}")


def at_size(path: Path, folder: Path) -> Path:
    result = folder / f"{path.stem}-{SIZE_PX}.png"
    print_file.write(result, images.read(path, long_side_px=SIZE_PX).pixels, provenance={})
    return result


def run_pastiche(arguments, output: Path) -> list[tuple[float, float]]:
    command = [
        sys.executable,
        "-m",
        "pastiche",
        "--content",
        arguments.photo,
        "--styles",
        arguments.painting,
        "--size",
        SIZE_PX,
        "--style-size",
        SIZE_PX,
        "--num-steps",
        100,
        "--info-step",
        10,
        "--seed",
        0,
        "--output",
        output,
    ]
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(float(row[1]), float(row[2])) for row in rows if len(row) == 3 and row[0].isdigit()]


def run_render(
    arguments, output: Path, settings: list[str], started: float
) -> list[tuple[float, float, int]]:
    command = [
        sys.executable,
        "-m",
        "render",
        "image",
        arguments.photo,
        arguments.painting,
        "--output",
        output,
        "--size",
        SIZE_PX,
        "--quality",
        "standard",
        "--json",
        *settings,
    ]
    curve = []
    with subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and (
                event["iteration"] % 10 == 0 or event["iteration"] == event["iterations"]
            ):
                curve.append((time.perf_counter() - started, event["loss"], max(event["size"])))
    if process.returncode:
        raise SystemExit("render failed")
    return curve


def pastiche_look(photo: Path, painting: Path) -> dict[str, object]:
    """Our relative weights under which our loss at SIZE_PX is pastiche's: 10 / C^2 times the mean squared
    difference of Gram matrices (the sum over C^2 entries, so 10 / C^4), 0.01 times the mean squared
    difference of content features."""
    network = weights.load().network()
    with torch.no_grad():
        content = network(load(photo), [CONTENT_LAYER])[CONTENT_LAYER]
        style = network(load(painting), STYLE_LAYERS)
        layers = {
            name: 10 / channels**4 * moments(style[name]).gram.square().sum().item()
            for name, channels in STYLE_LAYERS.items()
        }
    return {
        "style_loss": "gram",
        "style_layers": "{" + ", ".join(f"{name} = {weight:.9g}" for name, weight in layers.items()) + "}",
        "style_weight": sum(layers.values()),
        "tv_weight": 0,
        "edge": "zero",
        "content_weight": 0.01 * content.square().mean().item(),
    }


def pastiche_loss(photo: Path, painting: Path, picture: Path) -> float:
    from pastiche.pastiche import PasticheArtist

    return PasticheArtist(
        str(photo), [str(painting)], init=str(picture), size=SIZE_PX, style_size=SIZE_PX, device="cpu"
    ).loss


def load(path: Path, long_side_px: int = SIZE_PX) -> torch.Tensor:
    pixels = images.read(path, long_side_px=long_side_px).pixels
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]


# ---- parts -------------------------------------------------------------------------------------------------


def time_evaluations(arguments) -> None:
    chosen = device.choose()
    device.prepare(chosen)
    loaded = weights.load()
    print("      px  style loss     precision   seconds (median of 5)")
    for precision in device.PRECISIONS:
        network = loaded.network(device=chosen.name, dtype=device.PRECISIONS[precision])
        for style_loss in ("gram", "wasserstein"):
            weighting = renderer.weighting_of(styles.Look(style_loss=style_loss))
            for side in (256, 512, 1024):
                image = torch.rand(1, 3, side * 3 // 4, side, generator=torch.Generator().manual_seed(0)).to(
                    chosen.name
                )
                target = style_target(network, [(image.flip(-1), 1.0)], weighting)
                objective = Objective(
                    network, weighting, target, content_target(network, image.flip(-2), weighting)
                )
                objective(image)
                seconds = sorted(timed(lambda: objective(image), chosen.name) for _ in range(5))[2]
                print(f"{side:8}  {style_loss:13}  {precision:10} {seconds:8.3f}")


def timed(call, device_name: str) -> float:
    device.synchronise(device_name)
    started = time.perf_counter()
    call()
    device.synchronise(device_name)
    return time.perf_counter() - started


def measure_memory(arguments) -> None:
    """Two L-BFGS iterations, targets included, of a 4:3 picture; default look, as above 1024 px."""
    print("      px  budget     tiles  kept  seconds an iteration  peak GiB")
    for size in arguments.sizes:
        measure_one_scale(size, arguments.memory)
    for size in arguments.untiled:
        measure_one_scale(size, None)


def measure_one_scale(size: int, memory: str | None) -> None:
    command = [sys.executable, __file__, "one-scale", str(size), *(["--memory", memory] if memory else [])]
    print(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1],
        flush=True,
    )


def run_one_scale(arguments) -> None:
    import resource

    untiled = arguments.memory is None
    chosen = device.choose(memory_bytes=None if untiled else memory.parse_bytes(arguments.memory))
    device.prepare(chosen)
    network = weights.load().network(device=chosen.name, dtype=chosen.dtype)
    size = (arguments.size * 3 // 4, arguments.size)
    scale = schedule.Scale(size, arguments.size, 2, deep=False)
    weighting = renderer.weighting_of(styles.Look(), scale)
    scene = memory.Scene(
        size, weighting.layers, tuple(weighting.content_layers), chosen.dtype.itemsize, "lbfgs", 12
    )
    plan = None if untiled else memory.plan_memory(scene, chosen.budget)

    def tiled(size):
        return tiling.whole(size) if untiled else tiling.plan_tiles(size, weighting.layers, plan.tile_px)

    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    style = style_target(network, [(image, 1.0)], weighting, tiled)
    content = content_target(network, image.flip(-1), weighting, tiled)
    objective = Objective(
        network, weighting, style, content, tiles=tiled(size), kept=1 if untiled else plan.kept
    )
    lbfgs = optimise.Lbfgs(11 if untiled else plan.history)
    pair = torch.rand(1, 3, *size)
    lbfgs.pairs = [
        (pair.bfloat16(), pair.bfloat16(), 1e9) for _ in range(lbfgs.history - 2)
    ]  # a full history's memory
    del pair
    started = time.perf_counter()
    optimise.minimise(objective, optimise.State(image.mul_(0.9), lbfgs), iterations=2)
    seconds = (time.perf_counter() - started) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{arguments.size:8}  {arguments.memory or 'untiled':8} {len(tiled(size)):7} "
        f"{1 if untiled else plan.kept:5}"
        f"{seconds:22.1f}{peak:10.2f}"
    )


def time_tiles(arguments) -> None:
    """Alternating, in one process: the untiled picture, tiles that are all kept, and tiles that are all run
    twice."""
    chosen = device.choose()
    device.prepare(chosen)
    network = weights.load().network(device=chosen.name, dtype=chosen.dtype)
    for deep in (True, False):
        size = (1536, 2048)
        weighting = renderer.weighting_of(styles.Look(), schedule.Scale(size, 2048, 1, deep=deep))
        image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        style = style_target(network, [(image, 1.0)], weighting)
        content = content_target(network, image.flip(-1), weighting)
        tiles = tiling.plan_tiles(size, weighting.layers, 1024)
        ways = {
            "untiled": (None, 1),
            "4 tiles, all kept": (tiles, 4),
            "4 tiles, 2 kept": (tiles, 2),
            "4 tiles, 1 kept": (tiles, 1),
        }
        found = {name: [] for name in ways}
        for _ in range(3):
            for name, (plan, kept) in ways.items():
                objective = Objective(network, weighting, style, content, tiles=plan, kept=kept)
                found[name].append(timed(lambda: objective(image), chosen.name))
        base = min(found["untiled"])
        for name, seconds in found.items():
            print(
                f"2048 x 1536, {'all layers' if deep else 'without block 5'}, {name:18} "
                f"{min(seconds):7.2f} s  {min(seconds) / base:.2f}"
            )


def compare_starts(arguments) -> None:
    """Loss at 512 px after few and many evaluations, with and without the photograph's detail in the starting
    image."""
    chosen = device.choose()
    device.prepare(chosen)
    style = styles.load_style(arguments.painting)
    settings = Settings(size_px=SIZE_PX, precision=chosen.precision)
    losses = {}
    for share in (0.0, 1.0):
        renderer.DETAIL = share
        with tempfile.TemporaryDirectory() as folder:
            job = make_job(
                arguments.photo, style, styles.Look(), settings, Path(folder, "print.png"), weights_sha256=""
            )
            seen = []
            renderer.Renderer(chosen, weights.load()).run(
                job, report=lambda p: seen.append(p.loss) if p.scale == 2 else None
            )
            losses[share] = seen
    print("evaluations at 512 px     plainly enlarged     with the photograph's detail")
    for i in (1, 2, 4, 6, 10, 20, len(losses[0.0])):
        print(f"{i:21} {losses[0.0][i - 1]:20.4f} {losses[1.0][i - 1]:32.4f}")


# ---- cluster -----------------------------------------------------------------------------------------------


def time_workers(arguments) -> None:
    """The default look, bfloat16 where it is fast; from the first hand-out to the last print, workers ready
    beforehand in neither case, so their start is told apart."""
    import psutil

    from render.distributed.cluster import connected
    from render.distributed.ray_jobs import RayRunner
    from render.jobs.events import JobDone, Progress
    from render.jobs.ledger import Ledger

    style = styles.find_style("impasto_nocturne")
    rates = {}
    with (
        connected(None, weights="caffe", preprocessing=None) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        photos = [Path(folder, f"{i}.png") for i in range(arguments.jobs)]
        for i, photo in enumerate(photos):
            pixels = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(i))
            pixels = torch.nn.functional.interpolate(pixels, (192, 256), mode="bicubic").clamp(0, 1)
            print_file.write(photo, pixels[0].permute(1, 2, 0).numpy(), provenance={})
        for count in (1, 2):
            output = Path(folder, str(count))
            ledger = Ledger(output)
            settings = Settings(size_px=arguments.size, quality="draft", precision=device.choose().precision)
            todo = [
                make_job(
                    photo,
                    style,
                    styles.apply_settings(style.look, []),
                    settings,
                    output / photo.name,
                    weights_sha256="",
                )
                for photo in photos
            ]
            by_output = {job.output: job for job in todo}
            ends, events = [], 0

            def report(event) -> None:
                nonlocal events
                ledger.record(by_output[event.job.output], event)
                events += isinstance(event, Progress)
                if isinstance(event, JobDone):
                    ends.append((time.perf_counter(), event.done.seconds))

            driver = psutil.Process().cpu_times()
            storage = Storage.under(ledger.folder)
            make_worker = renderer.MakeRenderer(settings, storage)
            RayRunner(cluster, "cpu", make_worker, storage, requested=count).run(todo, report)
            spent = psutil.Process().cpu_times()
            ledger.close()
            # From the end of each worker's first job, which also loads and makes targets, to the last.
            seconds = ends[-1][0] - ends[count - 1][0]
            rates[count] = (len(ends) - count) / seconds * 3600
            busy = sum(s for _, s in ends[count:]) / (seconds * count)
            cost_ms = 1000 * (spent.user + spent.system - driver.user - driver.system)
            print(
                f"{count} workers: {rates[count]:.0f} pictures an hour, at work {busy:.1%} of the time; "
                f"driver {cost_ms / len(ends):.0f} ms of "
                f"processor a job with {events / len(ends):.0f} events",
                flush=True,
            )
    print(f"2 workers against twice one: {rates[2] / (2 * rates[1]):.3f}")


def time_tile_parallel(arguments) -> None:
    """Leader alone and leader with one helper, four times each, alternating; one core each, without block 5,
    all tiles kept by whoever has them.

    A step is sums, gradients and the rest (losses, total variation, optimiser). Where other tenants slow the
    cores down, whole steps are seldom left alone: `best of each part` is what a step takes when each part
    once was.
    """
    import ray

    from render.distributed.cluster import connected, sign
    from render.distributed.tile_parallel import RayCrew, TileWorker
    from render.distributed.worker import Actor, WorkerConfig
    from render.network.objective import ContentTarget

    chosen = device.choose(threads=1)
    device.prepare(chosen)
    network = weights.load().network(device=chosen.name, dtype=chosen.dtype)
    size = (1536, 2048)
    weighting = renderer.weighting_of(styles.Look(), schedule.Scale(size, 2048, 1, deep=False))
    scene = memory.Scene(
        size, weighting.layers, tuple(weighting.content_layers), chosen.dtype.itemsize, "lbfgs", 12
    )
    work = renderer.TileWork(
        scene, 1024, 4, tuple(weighting.style_layers), tuple(weighting.content_layers), weighting.edge, "max"
    )
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with connected(None, weights="caffe", preprocessing=None), tempfile.TemporaryDirectory() as folder:
        storage = Storage.under(Path(folder))
        make_worker = renderer.MakeRenderer(Settings(precision=chosen.precision), storage)
        config = WorkerConfig(
            "cpu", chosen.precision, make_worker, storage, 8 * 2**30, 1.0, 1, sign(folder), 600.0
        )
        helper = Actor.options(num_cpus=1).remote(config)
        ray.get(helper.info.remote())
        steps = {"alone": [], "with a helper": []}
        for name, helpers in 4 * [("alone", []), ("with a helper", [helper])]:
            crew = RayCrew(TileWorker(network, work), helpers, image.flip(-1), print, stall_s=600.0)
            style = style_target(
                network,
                [(image, 1.0)],
                weighting,
                lambda size: tiling.plan_tiles(size, weighting.layers, 1024),
                moments_of=crew.moments,
            )
            content = ContentTarget(squares=crew.content_squares())
            clock = Clock(crew)
            objective = Objective(network, weighting, style, content, runner=clock)
            state = optimise.State(image.mul(0.9), optimise.Lbfgs(4))
            optimise.minimise(objective, state, iterations=6, report=lambda step: clock.end_step())
            steps[name] += clock.steps[1:]
            print(
                f"2048 x 1536, {name}: {' '.join(f'{sum(step):.1f}' for step in clock.steps[1:])} s a step",
                flush=True,
            )
            crew.dismiss()
    for name, of in (
        ("best", lambda taken: min(map(sum, taken))),
        ("median", lambda taken: statistics.median(map(sum, taken))),
        ("best of each part", lambda taken: sum(map(min, zip(*taken)))),
    ):
        alone, shared = of(steps["alone"]), of(steps["with a helper"])
        print(f"{name}: {alone:.2f} -> {shared:.2f} s, speed-up {alone / shared:.2f}")
    for name, taken in steps.items():
        print(f"{name}, best of each part: {' + '.join(f'{min(part):.2f}' for part in zip(*taken))} s")


class Clock:
    """A TileRunner that keeps, for each step, the seconds of another's sums, gradients, and all between."""

    def __init__(self, runner):
        self.runner, self.steps, self.parts, self.began = runner, [], [], time.perf_counter()

    def sums(self, image):
        return self._timed(self.runner.sums, image)

    def add_gradient(self, image, slopes, gradient):
        self._timed(self.runner.add_gradient, image, slopes, gradient)

    def end_step(self) -> None:
        now = time.perf_counter()
        self.steps.append((*self.parts, now - self.began - sum(self.parts)))
        self.parts, self.began = [], now

    def _timed(self, call, *arguments):
        began = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.parts.append(time.perf_counter() - began)


def simulate_night(arguments) -> None:
    """One driver serves hand-outs and events in the order in which they come; jobs last 60 s, give or take a
    tenth."""
    import heapq
    import random

    print("   GPUs  events/s   GPU use  pictures/h  driver busy")
    for gpus, events_a_second in ((8, 1), (64, 1), (64, 20), (256, 1), (1024, 1)):
        draw = random.Random(0)
        free_s, left, busy_s, driver_s = 0.0, 10_000, 0.0, 0.0
        calls = [
            (0.0, gpu, 0.0) for gpu in range(gpus)
        ]  # (when the driver is asked for a job, by whom, seconds of the last one)
        end = 0.0
        while calls:
            asked_s, gpu, lasted_s = heapq.heappop(calls)
            cost = (arguments.job_ms + lasted_s * events_a_second * arguments.event_ms) / 1000
            free_s = max(free_s, asked_s) + cost
            driver_s += cost
            end = max(end, free_s)
            if left:
                left -= 1
                seconds = 60 * draw.uniform(0.9, 1.1)
                busy_s += seconds
                heapq.heappush(calls, (free_s + seconds, gpu, seconds))
        print(
            f"{gpus:7} {events_a_second:9} {busy_s / (gpus * end):9.1%} {10_000 / end * 3600:11.0f} "
            f"{driver_s / end:12.1%}"
        )


# ---- a finished picture ------------------------------------------------------------------------------------


def time_recolor(arguments) -> None:
    """Two real pictures, scaled to one size: how many colors leave the gamut, which costs, depends on
    them."""
    import cv2

    from render.pictures import color, photoreal

    cv2.setNumThreads(arguments.threads)
    size = (2304, 3072)
    painted, photo = (
        images.resize(images.read(p).pixels, size) for p in (arguments.painting, arguments.photo)
    )
    calls = {
        "luminance": lambda: color.recolor("luminance", painted, photo),
        "histogram": lambda: color.recolor("histogram", painted, photo),
        "photoreal": lambda: photoreal.keep_structure(painted, photo),
    }
    seconds = {name: [] for name in calls}
    for _ in range(arguments.runs):  # alternating, so that what else the machine does meets all alike
        for name, call in calls.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            call()
            seconds[name].append((time.perf_counter() - began, time.process_time() - began_cpu))
    for name, took in seconds.items():
        wall, cpu = zip(*took)
        print(
            f"3072 x 2304, {name}: best {min(wall):.2f} s, median {statistics.median(wall):.2f} s "
            f"(of the processor {min(cpu):.2f} and {statistics.median(cpu):.2f} s) "
            f"of {len(took)} runs, OpenCV threads: {arguments.threads}",
            flush=True,
        )


# ---- GANs --------------------------------------------------------------------------------------------------


def time_sampling(arguments) -> None:
    """Best of three, alternating. The bare generator gets ready-made latents, in batches as they suit it
    best, and its images are thrown away; arrays are samples in memory; files are those of `render gan
    sample`, a fresh folder each time."""
    from render.gan import files, rendering, sampling, shards

    chosen = device.choose(precision="float32")
    device.prepare(chosen)
    count = arguments.count // 2048 * 2048
    for path in arguments.checkpoints:
        sampler = sampling.Sampler(files.load(path), chosen.name, chosen.threads)
        calls = {
            f"bare, batches of {size}": lambda folder, size=size: run_bare(sampler, count, size)
            for size in (64, 256, 1024)
        }
        calls["arrays"] = lambda folder: [
            len(images) for _, images in sampler.samples(sampling.Drawn(7), 0, count)
        ]
        for form in shards.FORMATS:
            calls[f"{form} files"] = lambda folder, form=form: render_shards(
                shards.plan_shards(
                    shards.Sampling(path.absolute(), 7, format=form),
                    count,
                    folder,
                    size=shards.shard_size(sampler.generator.shape),
                )
            )
        renderer = rendering.ShardRenderer(chosen)

        def render_shards(planned) -> None:
            for shard in planned:
                renderer.run(shard)

        seconds = {name: [] for name in calls}
        for _ in range(3):
            for name, call in calls.items():
                with tempfile.TemporaryDirectory() as folder:
                    began = time.perf_counter()
                    call(Path(folder))
                    seconds[name].append(time.perf_counter() - began)
        bare_s = min(min(took) for name, took in seconds.items() if name.startswith("bare"))
        print(path.parent.name)
        for name, took in seconds.items():
            print(
                f"  {name}: {count / min(took):.0f} samples/s, {bare_s / min(took):.3f} of the best bare",
                flush=True,
            )


def run_bare(sampler, count: int, size: int) -> None:
    latents = torch.zeros(size, *sampler.generator.latent).uniform_(-1, 1).to(sampler.device)
    with torch.inference_mode():
        for _ in range(count // size):
            sampler.network(latents)
    device.synchronise(sampler.device.type)


def time_sample_workers(arguments) -> None:
    """Arrays, from the end of each worker's first shard to the last."""
    from render.distributed.cluster import connected
    from render.distributed.ray_jobs import RayRunner
    from render.gan.rendering import MakeShardRenderer
    from render.gan.shards import SMALL_SHARD, Sampling, plan_shards
    from render.jobs.events import JobDone

    rates = {}
    with (
        connected(None, weights="caffe", preprocessing=None) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        settings = Sampling(arguments.checkpoints[0].absolute(), 7, format="npz")
        for count in (1, 2):
            shards, ends = (
                plan_shards(settings, arguments.count, Path(folder, str(count)), size=SMALL_SHARD),
                [],
            )
            storage = Storage.under(Path(folder, str(count), ".render"))
            storage.checkpoints.mkdir(parents=True)
            RayRunner(cluster, "cpu", MakeShardRenderer(), storage, requested=count).run(
                shards, lambda event: ends.append(time.perf_counter()) if isinstance(event, JobDone) else None
            )
            rates[count] = (len(ends) - count) * SMALL_SHARD / (ends[-1] - ends[count - 1])
            print(f"{count} workers: {rates[count]:.0f} samples/s", flush=True)
    print(f"2 workers against twice one: {rates[2] / (2 * rates[1]):.3f}")


def judge_samples(arguments) -> None:
    """A classifier trained on the real pictures and their labels, independent of every GAN, looks at
    samples."""
    from render.gan import files, sampling
    from render.gan.data import read_idx

    def idx(name: str, dimensions: int):
        return torch.from_numpy(read_idx(arguments.data / f"{name}-ubyte.gz", dimensions=dimensions))

    train, test = (idx(f"{part}-images-idx3", 3)[:, None].float() / 255 for part in ("train", "t10k"))
    labels, test_labels = idx("train-labels-idx1", 1).long(), idx("t10k-labels-idx1", 1).long()
    classifier = trained_classifier(train, labels)
    wanted, logits = seen(classifier, test)
    print(f"classifier: {(logits.argmax(1) == test_labels).float().mean():.1%} of the test pictures right")
    print("                  mean confidence  classes   Frechet distance")
    rows = {
        "training data": train[
            torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:10_000]
        ]
    }
    for path in arguments.checkpoints:
        sampler = sampling.Sampler(files.load(path), threads=device.cores())
        samples = torch.cat(
            [torch.from_numpy(images) for _, images in sampler.samples(sampling.Drawn(7), 0, 10_000)]
        )
        rows[path.parent.name] = samples.permute(0, 3, 1, 2).float() / 255
    for name, pictures in rows.items():
        features, logits = seen(classifier, pictures)
        shares = torch.bincount(logits.argmax(1), minlength=10) / len(pictures)
        classes = torch.exp(-(shares * shares.clamp(min=1e-12).log()).sum())
        confidence = logits.softmax(1).max(1).values.mean()
        print(
            f"{name:>14} {confidence:21.3f} {classes:8.2f} {frechet(features, wanted):18.2f}   "
            f"{' '.join(f'{100 * share:.0f}' for share in shares)} %",
            flush=True,
        )


def trained_classifier(pictures: torch.Tensor, labels: torch.Tensor) -> torch.nn.Module:
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 49, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    adam = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(3):
        for places in torch.randperm(len(pictures)).split(128):
            loss = nn.functional.cross_entropy(network(pictures[places]), labels[places])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return network.eval()


@torch.inference_mode()
def seen(classifier, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(features before the last layer (N, 128), logits (N, 10))."""
    features = torch.cat([classifier[:-1](part) for part in pictures.split(500)])
    return features, classifier[-1](features)


def frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    """Between Gaussians fitted to features (Heusel et al. 2017, eq. 6)."""
    (mean_a, cov_a), (mean_b, cov_b) = ((x.double().mean(0), x.double().T.cov()) for x in (a, b))
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    both = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return ((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * both).item()


if __name__ == "__main__":
    main()
