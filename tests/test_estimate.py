"""Costs told before a job runs."""

from dataclasses import replace

import pytest
from conftest import save_painting, save_photo

from render import device, weights
from render.errors import PictureError
from render.estimate import estimate, job_multiply_adds
from render.jobs import Settings, make_job
from render.memory import Budget, plan_memory
from render.pipeline import Renderer, scene_of
from render.presets import Look, load_style
from render.schedule import Scale

CPU = device.Device("cpu", "float32", 1)


def scale(side, iterations=10):
    return Scale((side, side), side, iterations)


@pytest.fixture
def job(tmp_path):
    style = load_style(save_painting(tmp_path / "painting.png"))
    return make_job(save_photo(tmp_path / "photo.png"), style, Look(), Settings(size_px=64), tmp_path / "out.png", weights_sha256="")


def work(job, *scales, memory=Budget(64 * 2**30)):
    return job_multiply_adds(job, scales, [plan_memory(scene_of(job, scale, 4), memory) for scale in scales])


def test_work_is_in_proportion_to_pixels_and_iterations(job):
    one = work(job, scale(64))
    assert work(job, scale(128)) == 4 * one
    assert work(job, scale(64), scale(64, 30)) == 4 * one
    shallow = replace(job, look=Look(style_layers={"relu1_1": 1.0}, content_layers={"relu1_2": 1.0}))
    assert work(shallow, scale(64)) < one / 5


def test_tiles_cost_their_halo_and_those_that_are_not_kept_another_pass(job):
    whole = 1024**2 / 64**2 * work(job, scale(64))
    plenty, little = (work(job, scale(2048), memory=Budget(gib * 2**30)) for gib in (64, 4))
    assert 4 * whole < plenty < 5 * whole
    assert 1.2 * plenty < little < 2 * plenty


def test_each_job_has_a_cost_and_an_unreadable_photograph_its_error(tmp_path):
    style = load_style(save_painting(tmp_path / "painting.png"))
    photo = save_photo(tmp_path / "photo.png")
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"no picture")
    jobs = [make_job(path, style, Look(), Settings(size_px=size), tmp_path / "out.png", weights_sha256="")
            for path, size in ((photo, 64), (photo, 512), (torn, 64))]
    (_, small), (_, large), (_, error) = estimate(jobs, CPU, Renderer(CPU, weights.load()))
    assert 0 < small.seconds < large.seconds and small.memory_bytes < large.memory_bytes
    assert [max(s.size) for s in large.scales] == [256, 512]
    assert isinstance(error, PictureError) and "torn.png" in str(error)
    assert large.seconds / small.seconds == pytest.approx(work(jobs[1], *large.scales) / work(jobs[0], *small.scales))
