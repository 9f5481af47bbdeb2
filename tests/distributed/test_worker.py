"""What travels to a worker that does not see the driver's files: a real Ray node in a mount namespace of its
own."""

import ctypes
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from helpers.pictures import save_painting, save_photo
from helpers.ray import STORE_BYTES
from render.distributed.cluster import connected, sign
from render.distributed.ray_jobs import RayRunner
from render.distributed.worker import files_of
from render.errors import PictureError
from render.jobs.events import JobDone, JobFailed, Notice, Progress
from render.jobs.inputs import Input
from render.jobs.plan import plan_jobs
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.network.device import choose
from render.painting.renderer import MakeRenderer
from render.painting.storage import Storage
from render.runners.local import LocalRunner

LOOK = Look(
    style_loss="gram", style_layers={"relu1_1": 1.0}, content_layers={"relu1_1": 1.0}, content_weight=0.01
)


NEW_MOUNTS = 0x00020000  # CLONE_NEWNS


def hidden_from(folder: Path, call):
    """call()'s result from a thread, with its children, that finds this folder empty. None where that is not
    allowed."""

    def body():
        if ctypes.CDLL(None).unshare(NEW_MOUNTS) == 0:
            mounted = subprocess.run(
                f"mount --make-rprivate / && mount -t tmpfs none '{folder}'", shell=True, capture_output=True
            )
            if mounted.returncode == 0:
                result.append(call())

    result = []
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return result[0] if result else None


@pytest.fixture(scope="module")
def far_away(bare_head, tmp_path_factory):
    """(connection to a head without cores and one node, the folder that this node does not see)."""
    hidden = tmp_path_factory.mktemp("hidden")
    node = hidden_from(
        hidden,
        lambda: bare_head.add_node(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=STORE_BYTES),
    )
    if node is None:
        pytest.skip("needs the right to mount (root on Linux)")
    with connected(bare_head.address, weights="caffe", preprocessing=None) as found:
        yield found, hidden
    bare_head.remove_node(node)


def jobs_in(folder: Path, output: Path, settings: Settings):
    photos = [save_photo(folder / f"photos/{name}.png", (24, 64), seed=i) for i, name in enumerate("ab")]
    style = load_style(save_painting(folder / "x.png"))
    return plan_jobs(
        [Input(photo, photo.stem) for photo in photos],
        [(style, LOOK)],
        settings,
        output,
        weights_sha256="",
        failed=lambda *why: pytest.fail(str(why)),
    )


def runner_for(found, output: Path, settings: Settings) -> RayRunner:
    (output / ".render").mkdir(parents=True)
    storage = Storage.under(output / ".render", interval_s=0.0)
    return RayRunner(found, "cpu", MakeRenderer(settings, storage), storage, 1, 1, 2**33)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(size_px=352, quality="draft"),
        Settings(size_px=64, quality="draft", color="luminance", soft_proof="srgb"),
    ],
    ids=["plain", "with a proof and a kept picture"],
)
def test_files_travel_there_and_back_and_are_the_local_ones(far_away, tmp_path, settings):
    found, hidden = far_away
    folder = hidden / settings.color
    jobs = jobs_in(folder, folder / "prints", settings)
    events = []
    runner_for(found, folder / "prints", settings).run(jobs, events.append)
    assert [type(event) for event in events if isinstance(event, (JobDone, JobFailed))] == [JobDone] * 2
    local = [replace(job, output=tmp_path / job.output.name) for job in jobs]
    (tmp_path / ".render").mkdir()
    make_worker = MakeRenderer(settings, Storage.under(tmp_path / ".render"))
    LocalRunner(choose("cpu", "float32", threads=1), make_worker).run(local, lambda event: None)

    def files(output):
        return {
            path.relative_to(output).as_posix(): path.read_bytes()
            for path in output.rglob("*")
            if path.is_file()
        }

    assert files(folder / "prints") == files(tmp_path)
    assert len(files(tmp_path)) == (2 if settings.color == "style" else 6)


def test_a_finished_scale_comes_home_and_the_next_worker_goes_on_from_there(far_away):
    found, hidden = far_away
    folder = hidden / "killed"
    settings = Settings(size_px=352, quality="draft")
    jobs = jobs_in(folder, folder / "prints", settings)[:1]
    struck, scales = [], []

    def report(event):
        if isinstance(event, Progress):
            scales.append(event.scale)
            if event.scale == 2 and not struck:
                assert list((folder / "prints/.render/checkpoints").glob("*.safetensors")), (
                    "it is here before the next scale"
                )
                struck.append(event)
                for actor in runner_members():
                    ray.kill(actor)
        elif isinstance(event, (Notice, JobDone, JobFailed)):
            scales.append(type(event))

    from render.distributed import ray_jobs

    runner = runner_for(found, folder / "prints", settings)
    run = ray_jobs._Run(runner, sign(folder), jobs, report)

    def runner_members():
        return [member.actor for member in run.members if member.running is not None]

    run.run()
    assert scales[-1] is JobDone and Notice in scales
    assert set(scales[scales.index(Notice) + 1 : -1]) == {2}, "the first scale is not painted again"


def test_the_files_of_a_job_are_all_that_it_reads(tmp_path):
    start = save_photo(tmp_path / "start.png", seed=5)
    (job,) = jobs_in(tmp_path, tmp_path / "prints", Settings(size_px=64))[:1]
    assert set(files_of(job)) == {str(tmp_path / "photos/a.png"), str(tmp_path / "x.png")}
    more = replace(
        job,
        look=LOOK.model_copy(update={"init": str(start)}),
        settings=Settings(profile="adobe-rgb", soft_proof=str(start)),
    )
    assert set(files_of(more)) == {*files_of(job), str(start)}
    with pytest.raises(PictureError, match="gone.png"):
        files_of(replace(job, photo=tmp_path / "gone.png"))
