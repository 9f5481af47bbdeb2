"""Samples by a real Ray on localhost: the files of a local run, whoever dies."""

import pytest

from helpers.ray import ray_workers
from render.distributed import worker
from render.distributed.cluster import connected
from render.distributed.ray_jobs import RayRunner
from render.gan.rendering import MakeShardRenderer
from render.gan.shards import SHARD, Sampling, plan_shards
from render.jobs.events import JobDone, JobFailed, Notice
from render.jobs.ledger import Ledger
from render.network.device import choose
from render.painting.storage import Storage
from render.runners import batch
from render.runners.batch import Summary
from render.runners.local import LocalRunner

COUNT = 3 * SHARD + 100


@pytest.fixture(scope="module")
def connection(ray_head):
    with connected(ray_head.address, weights="caffe", preprocessing=None, device="cpu") as found:
        yield found


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def sample(settings, output, make_runner, count=COUNT, strike=lambda event: None):
    """As `render gan sample` does it. Returns (events, summary)."""
    events, summary = [], Summary()
    ledger = Ledger(output)

    def report(event):
        events.append(event)
        strike(event)

    try:
        todo, finished = batch.split(plan_shards(settings, count, output), ledger, fresh=False)
        summary.skipped = len(finished)
        batch.run_batch(todo, make_runner(Storage.under(ledger.folder)), ledger, summary, report)
    finally:
        ledger.close()
    return events, summary


def test_ray_writes_the_local_files_and_a_killed_worker_changes_nothing(
    connection, ray_head, checkpoint, tmp_path
):
    settings = Sampling((checkpoint / "dcgan/gan.safetensors").absolute(), seed=7)
    cpu = choose("cpu", "float32", threads=2)
    sample(settings, tmp_path / "local", lambda storage: LocalRunner(cpu, MakeShardRenderer()))

    def on_ray(storage, requested=2):
        return RayRunner(connection, "cpu", MakeShardRenderer(), storage, requested, 1, 2**33)

    killed = []

    def kill(event):
        if isinstance(event, JobDone) and not killed:
            killed.extend(
                p
                for p in ray_workers(ray_head.head_node)
                if any("Worker.run" in word for word in p.cmdline())
            )
            for process in killed:
                process.kill()

    events, summary = sample(settings, tmp_path / "ray", on_ray, strike=kill)
    assert files(tmp_path / "ray") == files(tmp_path / "local") and len(files(tmp_path / "ray")) == COUNT
    assert (summary.done, summary.pictures, summary.failed) == (4, COUNT, []) and not any(
        isinstance(e, JobFailed) for e in events
    )
    if killed:
        assert any(isinstance(event, Notice) for event in events)
    again, summary = sample(settings, tmp_path / "ray", on_ray)
    assert again == [] and summary.skipped == 4


def test_a_worker_that_does_not_see_the_output_sends_its_samples_home(connection, checkpoint, tmp_path):
    settings = Sampling((checkpoint / "fc/gan.safetensors").absolute(), seed=7)
    (shard,) = plan_shards(settings, 5, tmp_path / "home")
    (tmp_path / "out/.render/checkpoints").mkdir(parents=True)
    storage = Storage.under(tmp_path / "out/.render")
    sign = (str(tmp_path / "sign"), "of another machine")
    config = worker.WorkerConfig("cpu", "float32", MakeShardRenderer(), storage, 2**33, 1.0, 1, sign, 60.0)
    remote = worker.Worker(config)
    job = worker.RemoteJob(shard, worker.files_of(shard), {})
    found = list(worker.Worker.run(remote, job))
    returned = {event.index: event.data for event in found if isinstance(event, worker.ReturnedFile)}
    assert isinstance(found[-1], JobDone) and sorted(returned) == list(range(5))
    assert found[-1].job == shard.ref, "events name the files as they are at home"
    LocalRunner(choose("cpu", "float32", threads=1), MakeShardRenderer()).run([shard], lambda event: None)
    assert returned == {i: path.read_bytes() for i, path in enumerate(shard.products)}


def test_a_checkpoint_that_cannot_be_sampled_fails_by_name_and_the_rest_goes_on(
    connection, checkpoint, tmp_path
):
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    good, bad = (
        Sampling(path.absolute())
        for path in (checkpoint / "fc/gan.safetensors", tmp_path / "bad.safetensors")
    )
    shards = [*plan_shards(bad, 5, tmp_path / "bad"), *plan_shards(good, 5, tmp_path / "good")]
    events = []
    storage = Storage.under(tmp_path / "good/.render")
    storage.checkpoints.mkdir(parents=True)
    RayRunner(connection, "cpu", MakeShardRenderer(), storage, 1, 1, 2**33).run(shards, events.append)
    (failed,) = (event for event in events if isinstance(event, JobFailed))
    assert "bad.safetensors" in failed.message and len(files(tmp_path / "good")) == 5
