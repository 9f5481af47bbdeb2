"""Jobs on this machine with the real network: in this process, and in several that die."""

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import render
from helpers.pictures import photo_pixels, save, save_painting, save_photo
from helpers.program import SHALLOW
from render.errors import WeightsError
from render.jobs.events import JobDone, JobFailed, JobStarted, Notice, Progress
from render.jobs.job import make_job
from render.jobs.settings import Settings
from render.jobs.styles import apply_settings, load_style
from render.network import device
from render.painting.renderer import MakeRenderer
from render.painting.storage import Storage
from render.pictures import images, print_file
from render.pictures.print_file import FORMATS
from render.runners.local import LocalRunner
from render.runners.worker import attempt

CPU = device.choose("cpu", "float32", threads=1)
SMALL = Settings(size_px=64, quality="draft")
pytestmark = pytest.mark.network


def with_(settings: Settings, **changes) -> Settings:
    return settings.model_copy(update=changes)


@pytest.fixture(autouse=True, scope="module")
def threads_are_put_back():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def renderer():
    return MakeRenderer(SMALL, None)(CPU)


def job_of(photo: Path, painting: Path, settings=SMALL, *, look=(), name=None):
    ending = FORMATS[settings.format].extensions[0] if settings.format in FORMATS else ".png"
    return make_job(
        photo,
        load_style(painting),
        apply_settings({}, [*SHALLOW, *look]),
        settings,
        photo.parent / "prints" / f"{name or photo.stem}{ending}",
        weights_sha256="w",
    )


def endings(events) -> dict[str, str]:
    """What became of each job; every job ends once."""
    ended = [event for event in events if isinstance(event, (JobDone, JobFailed))]
    assert len({event.job.output for event in ended}) == len(ended)
    return {event.job.photo.stem: "done" if isinstance(event, JobDone) else "failed" for event in ended}


# --- what a print is ----------------------------------------------------------------------------------------


def test_a_print_is_neither_the_photo_nor_noise_but_lies_towards_the_painting(renderer, photo, painting):
    job = job_of(photo, painting)
    losses = []
    done = renderer.run(job, report=lambda progress: losses.append(progress.loss))
    result = images.read(job.output).pixels
    start = images.read(photo).pixels
    wanted = images.read(painting).pixels.mean((0, 1))
    assert done.loss < 0.5 * losses[0]
    assert np.linalg.norm(result.mean((0, 1)) - wanted) < np.linalg.norm(start.mean((0, 1)) - wanted)
    assert np.corrcoef(result.mean(2).ravel(), start.mean(2).ravel())[0, 1] > 0.5
    assert done.bytes == job.output.stat().st_size


@pytest.mark.usefixtures("few_iterations")
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_carries_profile_resolution_and_the_whole_job(renderer, photo, painting, format):
    job = job_of(photo, painting, with_(SMALL, format=format, dpi=240.0, seed=7))
    renderer.run(job)
    with Image.open(job.output) as image:
        assert image.format == FORMATS[format].pillow_name and image.size == (64, 48) and image.mode == "RGB"
        assert "sRGB" in ImageCms.getProfileDescription(
            ImageCms.ImageCmsProfile(_bytes_file(image.info["icc_profile"]))
        )
        assert image.getexif()[282] == 240.0
    facts = print_file.read_provenance(job.output)
    assert facts["job"] == job.id
    assert facts["photo"] == "photo.png" and facts["style"]["name"] == "painting"
    assert facts["style"]["pictures"] == [{"file": "painting.png", "weight": 1.0}]
    assert facts["look"] == job.look.model_dump(mode="json")
    assert Settings(**facts["settings"]) == job.settings and facts["painted"] == job.painting_id
    assert facts["scales"] == [{"height": 48, "width": 64, "iterations": 4, "deep": True}]
    assert facts["weights"] == {"name": "caffe", "sha256": renderer.weights.sha256}
    assert (facts["device"], facts["precision"]) == ("cpu", "float32")
    assert (
        facts["versions"]["render"] == render.__version__ and facts["versions"]["torch"] == torch.__version__
    )
    assert 0 < facts["loss"] < 1


def _bytes_file(data: bytes):
    from io import BytesIO

    return BytesIO(data)


@pytest.mark.usefixtures("few_iterations")
def test_two_jobs_have_two_provenances(renderer, photo, painting):
    one, other = job_of(photo, painting), job_of(photo, painting, look=["style_weight=2"], name="other")
    renderer.run(one)
    renderer.run(other)
    assert print_file.read_provenance(one.output)["look"] != print_file.read_provenance(other.output)["look"]


@pytest.mark.usefixtures("few_iterations")
@pytest.mark.parametrize(
    ("format", "mode"), [("png", "RGBA"), ("tiff", "RGBA"), ("webp", "RGBA"), ("jpeg", "RGB")]
)
def test_transparency_comes_through_where_the_format_has_it(renderer, tmp_path, painting, format, mode):
    alpha = np.full((48, 64, 1), 255, np.uint8)
    alpha[:, :32] = 0
    job = job_of(
        save(tmp_path / "cut.png", np.dstack([photo_pixels(), alpha])),
        painting,
        with_(SMALL, format=format),
    )
    renderer.run(job)
    with Image.open(job.output) as image:
        assert image.mode == mode
        if mode == "RGBA":
            assert np.array_equal(np.asarray(image)[..., 3:], alpha)
        else:
            assert np.asarray(image)[:, :30].mean() > 235  # white shows through


@pytest.mark.usefixtures("few_iterations")
def test_an_opaque_photo_gives_an_opaque_print(renderer, photo, painting):
    job = job_of(photo, painting)
    renderer.run(job)
    with Image.open(job.output) as image:
        assert image.mode == "RGB"


@pytest.mark.usefixtures("few_iterations")
def test_a_photo_held_upright_gives_a_print_that_stands_upright(renderer, tmp_path, painting):
    upright = photo_pixels((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn it by 90 degrees clockwise
    lying = job_of(save(tmp_path / "lying.png", np.rot90(upright).copy(), exif=exif), painting)
    standing = job_of(save(tmp_path / "standing.png", upright), painting)
    for job in (lying, standing):
        renderer.run(job)
    assert images.read(lying.output).size == (64, 48)
    assert np.array_equal(images.read(lying.output).pixels, images.read(standing.output).pixels)


@pytest.mark.usefixtures("few_iterations")
def test_the_style_targets_of_a_batch_change_no_pixel(renderer, photo, painting, tmp_path):
    """Targets are kept between jobs: the second job with a style gives what the first one alone gives."""
    other = save_painting(tmp_path / "other.png", seed=1)
    for i, picture in enumerate([painting, other, painting]):
        renderer.run(job_of(photo, picture, name=str(i)))
    first, second, third = (images.read(photo.parent / "prints" / f"{i}.png").pixels for i in range(3))
    assert np.array_equal(first, third)
    assert not np.array_equal(first, second)


# --- what a runner reports ----------------------------------------------------------------------------------


def test_a_job_is_started_makes_progress_and_is_done(photo, painting):
    events = []
    job = job_of(photo, painting)
    LocalRunner(CPU, MakeRenderer(SMALL, None)).run([job], events.append)
    first, *middle, last = events
    assert isinstance(first, JobStarted) and isinstance(last, JobDone)
    assert [step.iteration for step in middle] == list(range(1, 37))
    assert all(
        isinstance(step, Progress) and step.size == (48, 64) and step.iterations == 36 for step in middle
    )
    shares = [step.work for step in middle]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    assert last.done.loss == pytest.approx(min(step.loss for step in middle))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_notice_comes_through_from_every_process_and_painted_pictures_are_kept(tmp_path, painting, workers):
    settings = with_(SMALL, paper="6x4cm", dpi=40.0, color="luminance")
    jobs = [
        job_of(save_photo(tmp_path / f"{name}.png", (24, 32), seed), painting, settings)
        for seed, name in enumerate("ab")
    ]
    events, storage = [], Storage.under(tmp_path / ".render")
    LocalRunner(CPU, MakeRenderer(settings, storage), workers=workers).run(jobs, events.append)
    assert endings(events) == {"a": "done", "b": "done"}
    assert sorted(event.job.photo.stem for event in events if isinstance(event, Notice)) == ["a", "b"]
    assert {path.stem for path in storage.paintings.iterdir()} == {job.painting_id for job in jobs}
    assert not list(storage.checkpoints.glob("*"))


@pytest.mark.parametrize(("workers", "started"), [(1, "a"), (2, "ab")])
def test_after_the_deadline_running_jobs_are_finished_and_no_other_is_started(three_jobs, workers, started):
    events = []
    runner = LocalRunner(CPU, MakeRenderer(SMALL, None), workers=workers)
    runner.run(three_jobs, events.append, lambda: any(isinstance(event, Progress) for event in events))
    assert endings(events) == dict.fromkeys(started, "done")
    assert [event.job.photo.stem for event in events if isinstance(event, JobStarted)] == list(started)
    assert [job.output.exists() for job in three_jobs] == [job.photo.stem in started for job in three_jobs]
    assert multiprocessing.active_children() == []


def test_the_seconds_a_device_painted_are_some_of_those_a_job_took(renderer, photo, painting):
    done = renderer.run(job_of(photo, painting))
    assert 0 < done.busy_s < done.seconds


@pytest.mark.usefixtures("few_iterations")
def test_one_bad_photo_fails_by_name_and_the_others_are_done(tmp_path, painting):
    photos = [save_photo(tmp_path / f"{name}.png", seed=seed) for seed, name in enumerate("abc")]
    photos[1].write_bytes(photos[1].read_bytes()[:-100])
    events = []
    jobs = [job_of(photo, painting) for photo in photos]
    LocalRunner(CPU, MakeRenderer(SMALL, None)).run(jobs, events.append)
    assert endings(events) == {"a": "done", "b": "failed", "c": "done"}
    (failure,) = [event for event in events if isinstance(event, JobFailed)]
    assert "b.png" in failure.message and "Export it again" in failure.message and not failure.trace
    assert [job.output.exists() for job in jobs] == [True, False, True]


def test_a_mistake_of_ours_fails_its_job_with_a_traceback(renderer, photo, painting):
    job = job_of(photo, painting, with_(SMALL, quality="superb"))
    failure = attempt(renderer, job, lambda event: None)
    assert isinstance(failure, JobFailed)
    assert (
        "photo.png x painting: unexpected KeyError: 'superb'" in failure.message
        and "report it" in failure.message
    )
    assert "Traceback" in failure.trace and "plan_scales" in failure.trace


def test_a_result_that_is_no_number_is_never_written(renderer, photo, painting):
    job = job_of(photo, painting, look=["style_weight=1e308"])  # its loss is more than float64 holds
    failure = attempt(renderer, job, lambda event: None)
    assert isinstance(failure, JobFailed)
    assert "the loss became" in failure.message and "smaller style_weight" in failure.message
    assert not job.output.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_weights_that_are_not_there_are_told(photo, painting, workers):
    settings = with_(SMALL, weights="gone.pth")
    runner, events = LocalRunner(CPU, MakeRenderer(settings, None), workers=workers), []
    if workers == 1:
        with pytest.raises(WeightsError, match="gone.pth: no such file"):
            runner.run([job_of(photo, painting)], events.append)
    else:
        runner.run([job_of(photo, painting)], events.append)
        assert "gone.pth: no such file" in events[-1].message


# --- workers that die ---------------------------------------------------------------------------------------


@pytest.fixture
def three_jobs(tmp_path, painting):
    return [
        job_of(save_photo(tmp_path / f"{name}.png", seed=seed), painting) for seed, name in enumerate("abc")
    ]


def kill_one_worker() -> None:
    victim = multiprocessing.active_children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()


def test_a_killed_worker_fails_its_job_by_name_and_the_others_are_done(three_jobs):
    events = []

    def report(event):
        events.append(event)
        if isinstance(event, Progress) and not any(isinstance(e, Progress) for e in events[:-1]):
            kill_one_worker()

    LocalRunner(replace(CPU, threads=2), MakeRenderer(SMALL, None), workers=2).run(three_jobs, report)
    ended = endings(events)
    assert sorted(ended) == list("abc") and sorted(ended.values()) == ["done", "done", "failed"]
    (failure,) = [event for event in events if isinstance(event, JobFailed)]
    assert f"{failure.job.label}: its worker process was killed by signal 9" in failure.message
    assert "--workers" in failure.message and "--size" in failure.message
    assert all(job.output.exists() == (ended[job.photo.stem] == "done") for job in three_jobs)
    assert multiprocessing.active_children() == []


def test_a_worker_killed_between_two_jobs_fails_the_next_one_only(three_jobs):
    events = []

    def report(event):
        events.append(event)
        if isinstance(event, JobStarted) and event.job == three_jobs[2].ref:
            for victim in multiprocessing.active_children():
                os.kill(victim.pid, signal.SIGKILL)
                victim.join()

    LocalRunner(CPU, MakeRenderer(SMALL, None), workers=2).run(three_jobs, report)
    ended = endings(events)
    assert sorted(ended) == list("abc")
    assert ended["c"] == "failed" and "done" in ended.values()


def test_an_interrupted_runner_leaves_no_process_behind(three_jobs):
    def report(event):
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalRunner(CPU, MakeRenderer(SMALL, None), workers=2).run(three_jobs, report)
    assert multiprocessing.active_children() == []
    assert not any(job.output.exists() for job in three_jobs)
