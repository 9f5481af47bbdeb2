"""One job from file to file, with the real VGG-19 on real photographs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from render.errors import DivergedError, PictureError, UsageError
from render.jobs import schedule
from render.jobs.events import Notice
from render.jobs.job import make_job
from render.jobs.settings import Settings
from render.jobs.styles import Look, find_style, load_style
from render.network import device, weights
from render.network.losses import wasserstein
from render.network.memory import Budget, plan_memory
from render.network.moments import moments
from render.network.objective import Objective
from render.painting import checkpoint
from render.painting import renderer as renderer_module
from render.painting.checkpoint import Checkpoint
from render.painting.renderer import Renderer, enlarged, plan
from render.painting.storage import Storage, load_painting, store_painting
from render.pictures import images, print_file

SIZE_PX = 160
PRINTS_AGREE_DB = (
    45.0  # two plans' prints after one scale of the fewest iterations that a scale has, 12, or less
)
# For tests of what a job does, whatever the network sees.
SHALLOW = {"style_layers": {"relu1_1": 1.0, "relu2_1": 1.0}, "content_layers": {"relu2_1": 1.0}}
FIRST_LAYER = Look(style_layers={"relu1_1": 1.0}, content_layers={"relu1_1": 1.0}, style_loss="gram")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    Image.fromarray(data.coffee()).save(folder / "coffee.png")
    Image.fromarray(data.astronaut()[:400, 50:450]).save(folder / "painting.png")
    return folder


@pytest.fixture(scope="module")
def renderer():
    chosen = device.choose("cpu", "float32")
    device.prepare(chosen)
    return Renderer(chosen, weights.load())


def job_of(
    folder: Path,
    *,
    look=Look(),
    name="print.png",
    settings=Settings(size_px=SIZE_PX, quality="draft"),
    style=None,
    photo="coffee.png",
):
    style = style or load_style(folder / "painting.png")
    return make_job(folder / photo, style, look, settings, folder / name, weights_sha256="")


@pytest.fixture(scope="module")
def rendered(folder, renderer):
    """A print of the coffee in the shipped nocturne, its job and its progress."""
    job, progress = job_of(folder, style=find_style("impasto_nocturne")), []
    renderer.run(job, report=progress.append)
    return job, progress


@pytest.fixture
def few_iterations(monkeypatch):
    """For tests of what a job does, not of how good it gets."""
    monkeypatch.setattr(schedule, "QUALITIES", {"draft": (10, 1.0), "standard": (10, 1.0), "best": (10, 1.0)})
    monkeypatch.setattr(schedule, "FEWEST_ITERATIONS", 10)


def tensor(pixels):
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]


def test_a_short_run_lowers_the_loss_to_less_than_half(rendered):
    _, progress = rendered
    assert progress[-1].loss < 0.5 * progress[0].loss


def test_the_print_has_the_paintings_style_and_the_photographs_content(folder, renderer, rendered):
    job, _ = rendered
    photo, print_ = (images.read(path, long_side_px=SIZE_PX).pixels for path in (job.photo, job.output))
    painting = images.read(job.style.pictures[0].path, long_side_px=SIZE_PX).pixels
    assert print_.shape == photo.shape

    def style_distance(pixels, layer):
        found, wanted = (moments(renderer.network(tensor(x), [layer])[layer]) for x in (pixels, painting))
        return wasserstein(found, wanted).item()

    for layer in ("relu1_2", "relu2_2", "relu3_2"):  # layers that were not optimised
        assert style_distance(print_, layer) < 0.6 * style_distance(photo, layer)
    # Large forms are the photograph's: its lightness, blurred, is still there, and another picture's is not.
    blur = lambda x: images.resize(x.mean(axis=2), (9, 12)).ravel()
    correlation = np.corrcoef(blur(photo), blur(print_))[0, 1]
    assert correlation > 0.6
    assert abs(np.corrcoef(blur(photo[::-1, ::-1]), blur(print_))[0, 1]) < correlation - 0.2


def test_progress_counts_every_iteration_of_the_plan_up_to_all_the_work(folder, rendered):
    job, progress = rendered
    scales = plan(job, job.settings.layout(images.probe(job.photo)))
    assert len(progress) == sum(scale.iterations for scale in scales)
    assert [p.work for p in progress] == sorted(p.work for p in progress) and progress[
        -1
    ].work == pytest.approx(1)


def test_provenance_tells_how_the_print_was_made(rendered):
    job, progress = rendered
    facts = print_file.read_provenance(job.output)
    assert (
        facts["job"] == job.id
        and facts["photo"] == "coffee.png"
        and facts["style"]["name"] == "impasto_nocturne"
    )
    assert Look(**facts["look"]) == job.look and Settings(**facts["settings"]) == job.settings
    assert facts["weights"]["sha256"] == weights.SOURCES["caffe"].sha256
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["scales"][-1]["width"] == SIZE_PX


def test_the_same_job_gives_the_same_pixels(folder, renderer, few_iterations):
    job = job_of(folder, settings=Settings(size_px=80, quality="draft"), name="once.png")
    again = replace(job, output=folder / "again.png")
    for each in (job, again):
        renderer.run(each)
    assert np.array_equal(np.asarray(Image.open(job.output)), np.asarray(Image.open(again.output)))


def test_noise_depends_on_the_seed_and_nothing_else(folder, renderer, few_iterations):
    prints = []
    for seed in (1, 1, 2):
        settings = Settings(size_px=64, quality="draft", seed=seed)
        job = job_of(
            folder,
            look=FIRST_LAYER.model_copy(update={"init": "noise", "content_weight": 0.0}),
            settings=settings,
            name=f"noise{len(prints)}.png",
        )
        renderer.run(job)
        prints.append(np.asarray(Image.open(job.output)))
    assert np.array_equal(prints[0], prints[1]) and not np.array_equal(prints[0], prints[2])


def test_a_file_can_be_the_initial_image(folder, renderer, few_iterations):
    start = folder / "start.png"
    Image.new("RGB", (60, 40), (255, 0, 0)).save(start)
    settings = Settings(size_px=64, quality="draft")
    look = Look(init=str(start), style_weight=1e-6, content_weight=0.0, tv_weight=1.0)
    job = job_of(folder, look=look, settings=settings, name="from_file.png")
    renderer.run(job)
    red, green, _ = np.asarray(Image.open(job.output)).reshape(-1, 3).mean(axis=0)
    assert red > 230 and green < 25  # nothing pulled it away from where it started


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam", "sgd"])
@pytest.mark.parametrize("style_loss", ["gram", "gram-mean-std", "wasserstein"])
def test_every_optimiser_lowers_every_loss(folder, renderer, optimiser, style_loss, few_iterations):
    losses = []
    job = job_of(
        folder,
        look=Look(optimiser=optimiser, style_loss=style_loss, **SHALLOW),
        name=f"{optimiser}.png",
        settings=Settings(size_px=96, quality="draft"),
    )
    renderer.run(job, report=lambda p: losses.append(p.loss))
    assert losses[-1] < 0.9 * losses[0]


def difference_db(one: Path, other: Path) -> float:
    """PSNR of two prints."""
    difference = images.read(one).pixels - images.read(other).pixels
    return -10 * np.log10(np.square(difference, dtype=np.float64).mean())


def test_tiles_paint_the_picture_of_one_tile_but_for_rounding_that_grows(
    folder, renderer, few_iterations, monkeypatch
):
    # A tiled gradient is the whole one's to about 7e-7. But a pixel's change moves units of the network
    # across the kinks of ReLU and pooling, so a small change of the picture changes its gradient by about its
    # square root: after a scale of so few steps two plans agree to PRINTS_AGREE_DB, and not to the bit.
    settings = Settings(size_px=128, quality="draft", bit_depth=16)
    layers = {"style_layers": {f"relu{i}_1": 1.0 for i in (1, 2, 3)}, "content_layers": {"relu3_1": 1.0}}

    def painted(name, tile_px=None, **changes):
        job = job_of(folder, name=name, settings=settings, look=Look(**layers, **changes))
        with monkeypatch.context() as patched:
            if tile_px is not None:
                patched.setattr(
                    renderer_module,
                    "plan_memory",
                    lambda *words: replace(plan_memory(*words), tile_px=tile_px),
                )
            renderer.run(job)
        return job.output

    whole, tiled = painted("whole.png"), painted("tiled.png", tile_px=64)
    assert difference_db(whole, tiled) > PRINTS_AGREE_DB
    other = painted("other.png", content_weight=0.2)
    assert difference_db(whole, other) < PRINTS_AGREE_DB  # that much is seen


def test_style_targets_are_made_once_for_all_photographs(folder, renderer, monkeypatch, few_iterations):
    Image.fromarray(data.rocket()).save(folder / "rocket.png")
    renderer._targets.clear()  # an earlier test may have used this painting
    reads, read = [], images.read
    monkeypatch.setattr(
        images, "read", lambda source, **more: reads.append(source.path.name) or read(source, **more)
    )
    settings = Settings(size_px=80, quality="draft")
    first = job_of(folder, look=FIRST_LAYER, settings=settings, name="first.png")
    second = make_job(
        folder / "rocket.png", first.style, first.look, settings, folder / "second.png", weights_sha256=""
    )
    for job in (first, second):
        renderer.run(job)
    assert reads.count("painting.png") == 1 and reads.count("coffee.png") == reads.count("rocket.png") == 1


def test_targets_of_another_look_are_not_mixed_up(folder, renderer, few_iterations):
    settings, found = Settings(size_px=80, quality="draft"), []
    changes = ({}, {"pooling": "average"}, {"style_layers": {"relu2_1": 1.0}}, {"style_scale": 0.5}, {})
    for i, look in enumerate(Look(**SHALLOW | change) for change in changes):
        job = job_of(folder, look=look, settings=settings, name=f"look{i}.png")
        renderer.run(job)
        found.append(np.asarray(Image.open(job.output)))
    assert np.array_equal(found[0], found[4])
    assert not any(np.array_equal(found[0], other) for other in found[1:4])


def test_alpha_is_kept(folder, renderer, few_iterations):
    rgba = np.dstack([data.coffee(), np.full(data.coffee().shape[:2], 255, np.uint8)])
    rgba[:, :200, 3] = 0
    Image.fromarray(rgba).save(folder / "cut.png")
    job = job_of(
        folder, settings=Settings(size_px=64, quality="draft"), name="cut_print.png", photo="cut.png"
    )
    renderer.run(job)
    alpha = np.asarray(Image.open(job.output))[..., 3]
    assert (alpha[:, :18] == 0).all() and (alpha[:, -30:] == 255).all()


def test_a_job_goes_on_from_its_last_finished_scale_to_the_same_pixels(
    folder, renderer, tmp_path, monkeypatch, few_iterations
):
    monkeypatch.setattr(schedule, "FIRST_PX", 64)  # two small scales
    storage = Storage.under(tmp_path)
    storing = Renderer(renderer.device, renderer.weights, storage)

    class Stop(Exception):
        pass

    for optimiser in ("lbfgs", "adam"):  # Adam's moments must come along
        settings = Settings(size_px=96, quality="draft")
        look = Look(optimiser=optimiser, **SHALLOW)
        whole = job_of(folder, look=look, settings=settings, name="whole.png")
        renderer.run(whole)
        stopped = replace(whole, output=folder / f"stopped_{optimiser}.png")

        def stop(progress):
            if progress.scale == 2:
                raise Stop

        with pytest.raises(Stop):
            storing.run(stopped, report=stop)
        assert (
            checkpoint.load(storage.checkpoints, stopped.painting_id).scale == 1
            and not stopped.output.exists()
        )
        progress = []
        storing.run(stopped, report=progress.append)
        assert {p.scale for p in progress} == {2}
        assert np.array_equal(np.asarray(Image.open(whole.output)), np.asarray(Image.open(stopped.output)))
        assert (
            checkpoint.load(storage.checkpoints, stopped.painting_id) is None
            and not storage.paintings.exists()
        )


def test_a_kept_picture_is_the_painted_one_to_the_last_bit(folder, renderer, tmp_path, few_iterations):
    settings = Settings(size_px=64, quality="draft", color="histogram", bit_depth=16)
    storage, progress = Storage.under(tmp_path), []
    storing = Renderer(renderer.device, renderer.weights, storage)
    first = job_of(folder, look=FIRST_LAYER, settings=settings, name="kept1.png")
    again = replace(first, output=folder / "kept2.png")
    done = storing.run(first)
    assert storing.run(again, report=progress.append).loss == done.loss and not progress
    assert first.output.read_bytes() == again.output.read_bytes()
    alone = replace(first, output=folder / "kept3.png")
    renderer.run(alone)  # where nothing is kept
    assert first.output.read_bytes() == alone.output.read_bytes()


def test_a_picture_read_from_a_print_is_not_taken_for_the_painted_one(
    folder, renderer, tmp_path, few_iterations
):
    settings = Settings(size_px=64, quality="draft", color="histogram")
    storage, progress = Storage.under(tmp_path), []
    storing = Renderer(renderer.device, renderer.weights, storage)
    job = job_of(folder, look=FIRST_LAYER, settings=settings, name="inexact.png")
    storing.run(job)
    found = load_painting(storage, job.painting_id)
    store_painting(storage, job.painting_id, replace(found, exact=False))
    storing.run(job, report=progress.append)
    assert len(progress) == 10 and load_painting(storage, job.painting_id).exact


def test_matched_colours_are_those_of_each_photo(folder, renderer, few_iterations):
    """Style targets are kept between jobs, but not from one photo to another when they are matched to it."""
    Image.fromarray(data.rocket()).save(folder / "rocket.png")
    settings, found = Settings(size_px=64, quality="draft", color="match"), []
    style = load_style(folder / "painting.png")
    for i, photo in enumerate(("coffee.png", "rocket.png", "coffee.png", "rocket.png")):
        if i == 3:
            renderer._targets.clear()
        job = make_job(
            folder / photo, style, FIRST_LAYER, settings, folder / f"match{i}.png", weights_sha256=""
        )
        renderer.run(job)
        found.append(images.read(job.output).pixels)
    assert np.array_equal(found[0], found[2]) and np.array_equal(found[1], found[3])


def test_running_out_of_memory_halves_the_tiles_says_so_and_goes_on(
    folder, renderer, few_iterations, monkeypatch
):
    """A pretended shortage; test_checkpoint has a real one, among the slow tests."""
    job = job_of(folder, name="whole.png", look=FIRST_LAYER, settings=Settings(size_px=160, quality="draft"))
    renderer.run(job)
    plain, notices = Objective.__call__, []

    def runs_out(objective, image):
        if len(objective.tiles) == 1:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        return plain(objective, image)

    monkeypatch.setattr(Objective, "__call__", runs_out)
    squeezed = replace(job, output=folder / "squeezed.png")
    renderer.run(
        squeezed, report=lambda event: notices.append(event.text) if isinstance(event, Notice) else None
    )
    assert [notice.split(" (")[0] for notice in notices[:1]] == [
        "out of memory at 160 px with tiles of 192 px"
    ]
    assert notices[-1].endswith("continuing with 128 px")
    assert difference_db(job.output, squeezed.output) > PRINTS_AGREE_DB


def test_too_little_memory_for_the_last_scale_is_told_before_the_first(folder, renderer, monkeypatch):
    monkeypatch.setattr(renderer, "device", replace(renderer.device, budget=Budget(1_500_000_000)))
    progress = []
    with pytest.raises(UsageError, match=r"px need at least .* Use --memory \S+ or more"):
        renderer.run(
            job_of(folder, settings=Settings(size_px=12_000), name="never.png"), report=progress.append
        )
    assert not progress


def test_a_diverging_job_writes_nothing(folder, renderer, few_iterations):
    job = job_of(
        folder,
        look=Look(normalisation="gatys", style_loss="gram", style_weight=1e38),
        settings=Settings(size_px=64),
        name="never.png",
    )
    with pytest.raises(DivergedError):
        renderer.run(job)
    assert not job.output.exists()


def test_a_truncated_photograph_is_named(folder, renderer):
    whole = (folder / "coffee.png").read_bytes()
    (folder / "cut_short.png").write_bytes(whole[: len(whole) // 2])
    job = job_of(folder, photo="cut_short.png")
    with pytest.raises(PictureError, match="cut_short.png.*truncated"):
        renderer.run(job)


def test_an_enlarged_image_keeps_its_forms_and_gains_the_photographs_detail():
    generator = torch.Generator().manual_seed(0)
    content = torch.rand(1, 3, 64, 96, generator=generator)
    image = torch.full((1, 3, 32, 48), 0.5)
    plain = enlarged(image, content, Look(content_weight=0.0))
    assert torch.allclose(plain, torch.full_like(content, 0.5), atol=1e-5)
    detailed = enlarged(image, content, Look())
    gained = (detailed - 0.5).flatten()
    band = (
        content
        - torch.nn.functional.interpolate(content, (32, 48), mode="area")
        .repeat_interleave(2, 2)
        .repeat_interleave(2, 3)
    ).flatten()
    assert torch.corrcoef(torch.stack([gained, band]))[0, 1] > 0.8
    assert detailed.min() >= 0 and detailed.max() <= 1


def test_a_checkpoint_that_is_damaged_is_as_good_as_none(tmp_path):
    checkpoint.store(tmp_path, "job", Checkpoint(1, torch.rand(1, 3, 4, 4), {"m": torch.ones(3)}))
    assert checkpoint.load(tmp_path, "job").carried["m"].sum() == 3
    path = checkpoint.path_of(tmp_path, "job")
    path.write_bytes(path.read_bytes()[:-10])
    assert checkpoint.load(tmp_path, "job") is None
