"""Finished scales of unfinished jobs: kept whole or not at all, and going on from one gives the same
picture."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.pictures import save_painting, save_photo
from helpers.program import SHALLOW, run, start
from render.jobs import schedule
from render.jobs.job import make_job
from render.jobs.settings import Settings
from render.jobs.styles import apply_settings, load_style
from render.network import device
from render.painting import checkpoint
from render.painting.checkpoint import Checkpoint
from render.painting.renderer import MakeRenderer, Renderer
from render.painting.storage import Storage
from render.pictures import images
from render.pictures.print_file import read_provenance


@pytest.fixture
def stored() -> Checkpoint:
    generator = torch.Generator().manual_seed(0)
    image, m, s0 = (torch.rand((1, 3, 5, 7), generator=generator) for _ in range(3))
    return Checkpoint(
        1,
        image,
        {"m": m},
        {"s0": s0.bfloat16(), "point": image},
        {"state": {"iteration": 3, "lowest": 0.1 + 0.2}},
    )


def test_what_was_stored_is_loaded_bit_for_bit(tmp_path, stored):
    checkpoint.store(tmp_path / "checkpoints", "job1", stored)
    found = checkpoint.load(tmp_path / "checkpoints", "job1")
    assert found.scale == 1
    assert torch.equal(found.image, stored.image)  # float: never through 8 bits
    assert set(found.carried) == {"m"} and torch.equal(found.carried["m"], stored.carried["m"])
    assert found.optimiser["s0"].dtype == torch.bfloat16 and torch.equal(
        found.optimiser["s0"], stored.optimiser["s0"]
    )
    assert torch.equal(found.optimiser["point"], stored.image)  # one memory under two names
    assert found.facts == stored.facts  # floats too, to the last bit


def test_what_is_written_is_safetensors_as_the_library_reads_it(tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{kind}".removeprefix("torch."): torch.randint(0, 2, size, generator=generator).to(kind)
        for kind, size in zip(checkpoint._TYPES, ((), (3,), (2, 5), (0, 4), (7,), (1, 3), (5,), (3, 3), (9,)))
    }
    checkpoint.save(tmp_path / "a.safetensors", tensors, {"a": 1})
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == tensors.keys()
    assert all(found[name].dtype == t.dtype and torch.equal(found[name], t) for name, t in tensors.items())


def test_a_checkpoint_is_written_through_one_file_and_no_other(tmp_path, stored, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: seen.extend(tmp_path.iterdir()) or replace(*names))
    checkpoint.store(tmp_path, "job1", stored)
    assert len(seen) == 1 and list(tmp_path.iterdir()) == [checkpoint.path_of(tmp_path, "job1")]


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


def test_one_bit_that_turned_anywhere_is_damage(tmp_path, stored):
    checkpoint.store(tmp_path, "job1", stored)
    path = checkpoint.path_of(tmp_path, "job1")
    whole = path.read_bytes()
    for place in range(8, len(whole), 13):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert checkpoint.load(tmp_path, "job1") is None
    path.write_bytes(whole)
    assert checkpoint.load(tmp_path, "job1") is not None


@pytest.mark.parametrize(
    "facts", [None, {}, {"render": "no json"}, {"render": "[1]"}, {"render": json.dumps({"job": "job1"})}]
)
def test_a_file_of_other_origin_is_as_good_as_none(tmp_path, stored, facts):
    save_file({"image": stored.image}, checkpoint.path_of(tmp_path, "job1"), facts)
    assert checkpoint.load(tmp_path, "job1") is None


# --- resuming, with the real network ------------------------------------------------------------------------


class Stopped(BaseException):
    """Somebody stops the program; no `except Exception` may hold it up."""


@pytest.fixture(scope="module")
def renderer():
    before = torch.get_num_threads()
    yield MakeRenderer(Settings(), None)(device.choose("cpu", "float32", threads=1))
    torch.set_num_threads(before)


@pytest.fixture
def job(tmp_path, request):
    """Two scales, 256 and 336 px, of a narrow photograph: few pixels."""
    look = apply_settings({}, [*SHALLOW, *request.param])
    style = load_style(save_painting(tmp_path / "x.png"))
    return make_job(
        save_photo(tmp_path / "a.png", size=(16, 200)),
        style,
        look,
        Settings(size_px=336, quality="draft"),
        tmp_path / "a--x.png",
        weights_sha256="w",
    )


@pytest.mark.parametrize("job", [(), ("optimiser=adam", "init=noise"), ("optimiser=sgd",)], indirect=True)
@pytest.mark.parametrize("interval_s", [1e9, 0.0], ids=["by scale", "by step"])
def test_a_resumed_job_gives_exactly_the_picture_of_an_uninterrupted_one(
    renderer, job, tmp_path, interval_s, monkeypatch
):
    monkeypatch.setattr(schedule, "QUALITIES", {"draft": (6, 1.0)})
    monkeypatch.setattr(schedule, "FEWEST_ITERATIONS", 6)
    storage = Storage.under(tmp_path / "kept", interval_s=interval_s)
    storing = Renderer(renderer.device, renderer.weights, storage)
    renderer.run(job)
    whole, provenance = images.read(job.output).pixels, read_provenance(job.output)
    job.output.unlink()

    def stop_in_the_second_scale(event):
        if (event.scale, event.iteration) == (2, 4):
            raise Stopped

    with pytest.raises(Stopped):
        storing.run(job, report=stop_in_the_second_scale)
    assert not job.output.exists() and len(list(storage.checkpoints.iterdir())) == 1
    steps = []
    storing.run(job, report=steps.append)
    assert {step.scale for step in steps} == {2}
    assert steps[0].iteration == (4 if interval_s == 0 else 1)  # what was done is not done again
    assert [step.work for step in steps] == sorted(step.work for step in steps) and steps[0].work > 0.4
    assert np.array_equal(images.read(job.output).pixels, whole)
    assert read_provenance(job.output) == provenance
    assert list(storage.checkpoints.iterdir()) == []  # forgotten once the print is there

    # Were checkpoints ignored, the pictures would be equal too: from another start they are not.
    checkpoint.store(storage.checkpoints, job.painting_id, Checkpoint(1, torch.full((1, 3, 20, 256), 0.5)))
    storing.run(job)
    assert not np.array_equal(images.read(job.output).pixels, whole)


@pytest.mark.parametrize("job", [()], indirect=True)
@pytest.mark.parametrize(
    "facts", [{"plan": {"tile": 1}, "state": {}}, {"plan": {}}, {"state": {"iterations": 3}}]
)
def test_a_checkpoint_of_another_version_is_as_good_as_none(renderer, job, tmp_path, monkeypatch, facts):
    monkeypatch.setattr(schedule, "QUALITIES", {"draft": (1, 1.0)})
    monkeypatch.setattr(schedule, "FEWEST_ITERATIONS", 1)
    storage = Storage.under(tmp_path / "kept")
    storing = Renderer(renderer.device, renderer.weights, storage)
    renderer.run(job)
    whole = job.output.read_bytes()
    checkpoint.store(
        storage.checkpoints, job.painting_id, Checkpoint(0, torch.full((1, 3, 20, 256), 0.5), facts=facts)
    )
    storing.run(job)
    assert job.output.read_bytes() == whole


@pytest.mark.network
def test_a_process_killed_at_any_moment_loses_no_step_and_no_bit(tmp_path):
    save_photo(tmp_path / "photos/a.png", size=(16, 200))
    save_painting(tmp_path / "x.png")
    words = [
        "batch",
        "--inputs",
        "photos",
        "--styles",
        "x.png",
        "--size",
        "336",
        "--quality",
        "draft",
        "--device",
        "cpu",
        "--json",
        "--checkpoint-every",
        "0",
        *(word for key in SHALLOW for word in ("--set", key)),
    ]
    assert run(*words, "--output", "whole", cwd=tmp_path).status == 0
    seen = []
    for kill_at in (4, 38):  # evaluations over both scales; the same output folder each time
        process = start(*words, "--output", "killed", cwd=tmp_path)
        count = 0
        for line in process.stdout:
            record = json.loads(line)
            if record["event"] == "progress":
                seen.append((record["scale"], record["iteration"]))
                count = (record["scale"] - 1) * 36 + record["iteration"]
            if count >= kill_at:
                os.killpg(process.pid, signal.SIGKILL)
                break
        process.wait()
        process.stdout.close()
        process.stderr.close()
        assert not list((tmp_path / "killed").glob("*.png"))
    (tmp_path / "killed/.render/checkpoints/.half.part").write_bytes(b"as if killed while writing")
    last = run(*words, "--output", "killed", cwd=tmp_path)
    assert last.status == 0
    first = last.of("progress")[0]
    assert (first["scale"], first["iteration"]) >= max(seen)  # goes on, and not from the beginning
    name = "a--x.png"
    assert np.array_equal(
        images.read(tmp_path / "killed" / name).pixels, images.read(tmp_path / "whole" / name).pixels
    )
    assert not list((tmp_path / "killed/.render/checkpoints").iterdir())


RUNS_OUT = """
import resource, sys
import numpy as np
from pathlib import Path
from render.jobs import schedule
from render.jobs.events import JobDone, JobFailed, JobStarted, Notice
from render.jobs.job import make_job
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.network import device
from render.painting.renderer import MakeRenderer
from render.runners import local
# in fresh processes too
schedule.QUALITIES, schedule.FEWEST_ITERATIONS, schedule.FIRST_PX = {"draft": (2, 1.0)}, 2, 512

def report(event):
    if isinstance(event, JobStarted):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * 2**20,) * 2)
    if isinstance(event, (Notice, JobFailed)):
        print(getattr(event, "text", "") or event.message)
    if isinstance(event, (JobDone, JobFailed)):
        print(type(event).__name__)

if __name__ == "__main__":
    held = np.ones(int(sys.argv[2]) * 2**17)  # by this process, and by no other
    chosen = device.choose("cpu", "float32", threads=1, memory_bytes=64 * 2**30)  # a budget that is not there
    settings = Settings(size_px=512, quality="draft")
    job = make_job(Path("photo.png"), load_style(Path("painting.png")), Look(), settings,
                   Path("print.png"), weights_sha256="")
    local.LocalRunner(chosen, MakeRenderer(Settings(), None)).run([job], report)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits a process's memory as Linux does")
def test_running_out_of_memory_halves_the_tiles_or_begins_afresh_says_so_and_goes_on(tmp_path):
    save_photo(tmp_path / "photo.png", size=(480, 512))
    save_painting(tmp_path / "painting.png")
    (tmp_path / "batch.py").write_text(RUNS_OUT)

    def attempt(more_mb: int, held_mb: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "batch.py", str(more_mb), str(held_mb)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def difference() -> float:
        return np.abs(images.read(tmp_path / "print.png").pixels - whole).mean()

    assert attempt(10**5).split() == ["JobDone"]
    whole = images.read(tmp_path / "print.png").pixels
    squeezed = attempt(520)
    assert "out of memory at 512 px with tiles of" in squeezed and squeezed.split()[-1] == "JobDone"
    assert difference() < 0.5 / 255  # float error, and dithering
    afresh = attempt(60, held_mb=1200)
    assert (
        "ran out of memory: once more, in a fresh process and with 32.0GiB" in afresh
        and afresh.split()[-1] == "JobDone"
    )
    assert difference() < 0.5 / 255
    hopeless = attempt(60)
    assert hopeless.split()[-1] == "JobFailed" and "memory" in hopeless
