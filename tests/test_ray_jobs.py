"""A real Ray on localhost; workers, nodes and drivers ended by real signals. Every batch must end with the pictures of an
uninterrupted local run."""

from pathlib import Path

import pytest
import ray

from conftest import ray_cluster, ray_workers, save_painting, save_photo
from render.device import choose
from render.distributed.cluster import connected
from render.distributed.ray_jobs import RayRunner, Waiting
from render.events import JobDone, JobFailed, JobStarted, Notice, Progress
from render.jobs import Input, Settings, plan_jobs
from render.ledger import Ledger
from render.local import LocalRunner
from render.pipeline import Keeping
from render.presets import Look, load_style

LOOK = Look(style_loss="gram", style_layers={"relu1_1": 1.0}, content_layers={"relu1_1": 1.0}, content_weight=0.01)
SETTINGS = Settings(size_px=352, quality="draft")


@pytest.fixture(scope="module")
def head():
    with ray_cluster(num_cpus=4) as found:
        yield found


@pytest.fixture(scope="module")
def connection(head):
    with connected(head.address, weights="caffe", preprocessing=None) as found:
        yield found


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    photos = [save_photo(folder / f"photos/{name}.png", seed=i) for i, name in enumerate("abc")]
    return photos, [save_painting(folder / f"{name}.png", seed=i) for i, name in enumerate("xy")]


def jobs_in(sources, output: Path, settings=SETTINGS, look=LOOK):
    photos, paintings = sources
    return plan_jobs([Input(photo, photo.stem) for photo in photos], [(load_style(p), look) for p in paintings], settings, output,
                     weights_sha256="", failed=lambda *why: pytest.fail(str(why)))


@pytest.fixture(scope="module")
def wanted(sources, tmp_path_factory):
    """The prints of a local run, by name."""
    output = tmp_path_factory.mktemp("local")
    events = []
    LocalRunner(choose("cpu", "float32", threads=1), SETTINGS, None).run(jobs_in(sources, output), events.append)
    assert len([event for event in events if isinstance(event, JobDone)]) == 6
    return {path.name: path.read_bytes() for path in output.iterdir()}


def prints(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def runner_for(connection, output: Path, **changes) -> RayRunner:
    words = {"wanted": 2, "cpus_per_worker": 1, "memory_bytes": 2**33} | changes
    (output / ".render").mkdir(parents=True, exist_ok=True)
    return RayRunner(connection, "cpu", SETTINGS, Keeping.under(output / ".render", interval_s=0.0), output, **words)


def carry_out(runner, jobs, blow=lambda event, events: None):
    """Runs the jobs; blow(event, events so far) may strike at any moment. Returns the events, the ledger written as ever."""
    events, ledger = [], Ledger(runner.output)

    def report(event):
        ledger.record(event)
        events.append(event)
        blow(event, events)
    try:
        runner.run(jobs, report)
        return events, {row["output"]: row["status"] for row in ledger.rows()}
    finally:
        ledger.close()


def ended(events, kind=JobDone) -> list[str]:
    return sorted(event.job.label for event in events if isinstance(event, kind))


def busy(node) -> list:
    return [p for p in ray_workers(node) if any("Worker.render" in word for word in p.cmdline())]


# ---- the same pictures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_local_files(connection, sources, wanted, tmp_path, workers):
    events, ledger = carry_out(runner_for(connection, tmp_path, wanted=workers), jobs_in(sources, tmp_path))
    assert prints(tmp_path) == wanted
    assert set(ledger.values()) == {"done"} and len(ledger) == 6
    assert len(ended(events, JobStarted)) == len(ended(events)) == 6
    assert not list((tmp_path / ".render/checkpoints").glob("*")) and not (tmp_path / ".render/driver").exists()


def test_a_job_of_every_event_is_the_drivers_own(connection, sources, tmp_path):
    jobs = jobs_in(sources, tmp_path)
    events, _ = carry_out(runner_for(connection, tmp_path), jobs[:1])
    assert all(event.job is jobs[0] for event in events)
    assert [event.scale for event in events if isinstance(event, Progress)][-1] == 2
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.iteration == last.iterations and last.work == 1


def test_a_style_stays_with_the_workers_that_know_it(sources, tmp_path):
    jobs = jobs_in(sources, tmp_path)
    waiting = Waiting(jobs)
    first, second = waiting.next_for(set(), set()), waiting.next_for(set(), {"x"})
    assert (first.style.name, second.style.name) == ("x", "y"), "a new worker takes a style that nobody has"
    assert [waiting.next_for({"y"}, {"x"}).style.name for _ in range(2)] == ["y", "y"], "and stays with it"
    assert waiting.next_for({"y"}, {"x"}).style.name == "x", "and helps out when that is done"
    waiting.again(first)
    assert waiting.next_for({"y"}, {"x"}) is first and len(waiting) == 1


def test_what_is_wrong_with_one_job_leaves_the_others_alone(connection, sources, wanted, tmp_path):
    photos, paintings = sources
    broken = tmp_path / "photos/broken.png"
    broken.parent.mkdir()
    broken.write_bytes(photos[0].read_bytes()[:200])
    output = tmp_path / "out"
    events, ledger = carry_out(runner_for(connection, output), jobs_in(([*photos, broken], paintings), output))
    assert prints(output) == wanted
    failures = [event for event in events if isinstance(event, JobFailed)]
    assert len(failures) == 2 and all("broken.png" in event.message for event in failures)
    assert sorted(ledger.values()) == ["done"] * 6 + ["failed"] * 2


def test_a_print_that_cannot_be_written_fails_its_job(connection, sources, tmp_path):
    jobs = jobs_in(sources, tmp_path)[:2]
    jobs[0].output.mkdir()
    events, _ = carry_out(runner_for(connection, tmp_path), jobs)
    assert ended(events, JobFailed) == [jobs[0].label] and ended(events) == [jobs[1].label]


# ---- faults ---------------------------------------------------------------------------------------------------------


def test_a_worker_killed_mid_render_costs_minutes_and_no_picture(head, connection, sources, wanted, tmp_path):
    struck = []

    def blow(event, events):
        if isinstance(event, Progress) and event.scale == 2 and not struck:
            struck.extend(busy(head.head_node)[:1])
            struck[0].kill()
    events, ledger = carry_out(runner_for(connection, tmp_path), jobs_in(sources, tmp_path), blow)
    assert struck and prints(tmp_path) == wanted and set(ledger.values()) == {"done"}
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert "its worker died" in notice.text and "last checkpoint" in notice.text


def test_a_job_that_kills_every_worker_is_given_up_by_name_and_the_rest_finish(head, connection, sources, wanted, tmp_path):
    jobs = jobs_in(sources, tmp_path)
    poison = jobs[2].label

    def blow(event, events):
        if isinstance(event, Progress) and event.job.label == poison:
            for process in busy(head.head_node):
                process.kill()
    events, ledger = carry_out(runner_for(connection, tmp_path, wanted=1), jobs, blow)
    (failure,) = [event for event in events if isinstance(event, JobFailed)]
    assert failure.job.label == poison and "given up, its worker died 3 times" in failure.message
    assert prints(tmp_path) == {name: data for name, data in wanted.items() if name != jobs[2].output.name}
    assert sorted(ledger.values()) == ["done"] * 5 + ["failed"]


def test_a_hung_worker_is_replaced(head, connection, sources, wanted, tmp_path):
    struck = []

    def blow(event, events):
        if isinstance(event, Progress) and not struck:
            struck.extend(busy(head.head_node)[:1])
            struck[0].suspend()
    events, ledger = carry_out(runner_for(connection, tmp_path, stall_s=15.0), jobs_in(sources, tmp_path), blow)
    assert prints(tmp_path) == wanted and set(ledger.values()) == {"done"}
    assert any("gave no sign of life for 15 s" in event.text for event in events if isinstance(event, Notice))
    assert not struck[0].is_running() or struck[0].status() == "zombie", "the hung process must not stay behind"


def test_a_machine_that_goes_away_costs_its_jobs_a_new_start_elsewhere(sources, wanted, tmp_path):
    with ray_cluster(num_cpus=0) as cluster:
        nodes = [cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=100 * 2**20) for _ in range(2)]
        gone = []

        def blow(event, events):
            if isinstance(event, JobDone) and not gone:
                gone.append(nodes[0])
                cluster.remove_node(nodes[0], allow_graceful=False)
        with connected(cluster.address, weights="caffe", preprocessing=None) as found:
            assert found.workers("cpu", 1) == 2
            events, ledger = carry_out(runner_for(found, tmp_path), jobs_in(sources, tmp_path), blow)
    assert gone and prints(tmp_path) == wanted and set(ledger.values()) == {"done"}


def test_a_worker_that_runs_out_of_memory_is_tried_again_with_less():
    from render.distributed.ray_jobs import _ran_out_of_memory

    assert _ran_out_of_memory(ray.exceptions.OutOfMemoryError("x")) and not _ran_out_of_memory(ray.exceptions.RayError("x"))
