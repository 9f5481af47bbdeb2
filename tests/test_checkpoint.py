"""Finished scales of unfinished jobs: kept whole or not at all, and going on from one gives the same picture."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from conftest import SHALLOW, save_painting, save_photo
from render import checkpoint, device, export, images, local
from render.checkpoint import Checkpoint
from render.jobs import Settings, make_job
from render.presets import apply_settings, load_style


@pytest.fixture
def stored() -> Checkpoint:
    generator = torch.Generator().manual_seed(0)
    return Checkpoint(1, torch.rand((1, 3, 5, 7), generator=generator), {"m": torch.rand((1, 3, 5, 7), generator=generator)})


def test_what_was_stored_is_loaded_bit_for_bit(tmp_path, stored):
    checkpoint.store(tmp_path / "checkpoints", "job1", stored)
    found = checkpoint.load(tmp_path / "checkpoints", "job1")
    assert found.scale == 1
    assert torch.equal(found.image, stored.image)  # float: never through 8 bits
    assert set(found.carried) == {"m"} and torch.equal(found.carried["m"], stored.carried["m"])


def test_a_later_scale_replaces_the_earlier_one(tmp_path, stored):
    checkpoint.store(tmp_path, "job1", stored)
    checkpoint.store(tmp_path, "job1", Checkpoint(2, stored.image + 1, {}))
    found = checkpoint.load(tmp_path, "job1")
    assert found.scale == 2 and found.carried == {} and torch.equal(found.image, stored.image + 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_job_finds_only_its_own(tmp_path, stored):
    checkpoint.store(tmp_path, "job1", stored)
    assert checkpoint.load(tmp_path, "job2") is None
    checkpoint.path_of(tmp_path, "job1").rename(checkpoint.path_of(tmp_path, "job2"))
    assert checkpoint.load(tmp_path, "job2") is None


def test_what_is_forgotten_is_gone_and_forgetting_twice_is_no_error(tmp_path, stored):
    checkpoint.store(tmp_path, "job1", stored)
    checkpoint.forget(tmp_path, "job1")
    checkpoint.forget(tmp_path, "job1")
    assert checkpoint.load(tmp_path, "job1") is None and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path, stored, share):
    checkpoint.store(tmp_path, "job1", stored)
    path = checkpoint.path_of(tmp_path, "job1")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert checkpoint.load(tmp_path, "job1") is None


@pytest.mark.parametrize("facts", [None, {}, {"render": "no json"}, {"render": "[1]"}, {"render": json.dumps({"job": "job1"})}])
def test_a_file_of_other_origin_is_as_good_as_none(tmp_path, stored, facts):
    save_file({"image": stored.image}, checkpoint.path_of(tmp_path, "job1"), facts)
    assert checkpoint.load(tmp_path, "job1") is None


# --- resuming, with the real network ---------------------------------------------------------------------------------


class Stopped(BaseException):
    """Somebody stops the program; no `except Exception` may hold it up."""


@pytest.fixture(scope="module")
def renderer():
    before = torch.get_num_threads()
    yield local.make_renderer(device.choose("cpu", "float32", threads=1), Settings())
    torch.set_num_threads(before)


@pytest.fixture
def job(tmp_path, request):
    """Two scales, 256 and 336 px, of a narrow photograph: few pixels."""
    look = apply_settings({}, [*SHALLOW, *request.param])
    style = load_style(save_painting(tmp_path / "x.png"))
    return make_job(save_photo(tmp_path / "a.png", size=(16, 200)), style, look,
                    Settings(size_px=336, quality="draft"), tmp_path / "a--x.png", weights_sha256="w")


@pytest.mark.parametrize("job", [(), ("optimiser=adam", "init=noise")], indirect=True)
def test_a_resumed_job_gives_exactly_the_picture_of_an_uninterrupted_one(renderer, job, tmp_path):
    folder = tmp_path / "checkpoints"
    renderer.render(job)
    whole, provenance = images.read(job.output).pixels, export.read_provenance(job.output)
    job.output.unlink()

    def stop_in_the_second_scale(progress):
        if (progress.scale, progress.iteration) == (2, 3):
            raise Stopped

    with pytest.raises(Stopped):
        renderer.render(job, checkpoints=folder, report=stop_in_the_second_scale)
    assert not job.output.exists() and len(list(folder.iterdir())) == 1
    steps = []
    renderer.render(job, checkpoints=folder, report=steps.append)
    assert {step.scale for step in steps} == {2}
    assert [step.work for step in steps] == sorted(step.work for step in steps) and steps[0].work > 0.5
    assert np.array_equal(images.read(job.output).pixels, whole)
    assert export.read_provenance(job.output) == provenance
    assert list(folder.iterdir()) == []  # forgotten once the print is there

    # Were checkpoints ignored, the pictures would be equal too: from another start they are not.
    checkpoint.store(folder, job.id, Checkpoint(1, torch.full((1, 3, 20, 256), 0.5), {}))
    renderer.render(job, checkpoints=folder)
    assert not np.array_equal(images.read(job.output).pixels, whole)
