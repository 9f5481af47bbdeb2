"""Costs told before a job runs."""

from dataclasses import replace

import pytest
from conftest import save_painting, save_photo

from render import device, weights
from render.errors import PictureError
from render.estimate import estimate, job_memory_bytes, job_multiply_adds
from render.jobs import Settings, make_job
from render.pipeline import Renderer, weighting_of
from render.presets import Look, load_style
from render.schedule import Scale

WEIGHTING = weighting_of(Look())
CPU = device.Device("cpu", "float32", 1)


def scale(side, iterations=10):
    return Scale((side, side), side, iterations)


def test_work_is_in_proportion_to_pixels_and_iterations():
    one = job_multiply_adds([scale(64)], WEIGHTING)
    assert job_multiply_adds([scale(128)], WEIGHTING) == 4 * one
    assert job_multiply_adds([scale(64), scale(64, 30)], WEIGHTING) == 4 * one
    shallow = replace(WEIGHTING, style_layers={"relu1_1": 1.0}, content_layers={"relu1_2": 1.0})
    assert job_multiply_adds([scale(64)], shallow) < one / 5


def test_memory_is_that_of_the_largest_scale_and_less_with_adam_and_with_bfloat16():
    lbfgs = job_memory_bytes([scale(256), scale(1024)], WEIGHTING, CPU, optimiser="lbfgs")
    assert lbfgs == job_memory_bytes([scale(1024)], WEIGHTING, CPU, optimiser="lbfgs")
    assert lbfgs > job_memory_bytes([scale(1024)], WEIGHTING, CPU, optimiser="adam")
    assert lbfgs > job_memory_bytes([scale(1024)], WEIGHTING, replace(CPU, precision="bfloat16"), optimiser="lbfgs")


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
    assert large.seconds / small.seconds == pytest.approx(
        job_multiply_adds(large.scales, WEIGHTING) / job_multiply_adds(small.scales, WEIGHTING))
