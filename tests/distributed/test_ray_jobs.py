"""A real Ray on localhost; workers, nodes and drivers ended by real signals. Every batch must end with the
pictures of an uninterrupted local run."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from helpers.pictures import save_painting, save_photo
from helpers.program import CHEAP_BATCH, run, run_here, start
from helpers.ray import ray_node, ray_workers
from render.distributed.cluster import Cluster, Node, connected, sign
from render.distributed.ray_jobs import RayRunner, Waiting, _Run
from render.jobs.events import JobDone, JobFailed, JobStarted, Notice, Progress
from render.jobs.inputs import Input
from render.jobs.ledger import Ledger
from render.jobs.plan import plan_jobs
from render.jobs.schedule import plan_scales
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.network.device import choose
from render.network.memory import Budget, smallest_bytes
from render.painting.renderer import MakeRenderer, scene_of
from render.painting.storage import Storage
from render.runners.local import LocalRunner

LOOK = Look(
    style_loss="gram", style_layers={"relu1_1": 1.0}, content_layers={"relu1_1": 1.0}, content_weight=0.01
)
SETTINGS = Settings(size_px=352, quality="draft")  # two scales
SMALL = Settings(size_px=64, quality="draft")


@pytest.fixture(scope="module")
def connection(ray_head):
    with connected(ray_head.address, weights="caffe", preprocessing=None, device="cpu") as found:
        yield found


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    photos = [save_photo(folder / f"photos/{name}.png", (24, 64), seed=i) for i, name in enumerate("ab")]
    return photos, [save_painting(folder / f"{name}.png", seed=i) for i, name in enumerate("xy")]


def jobs_in(sources, output: Path, settings=SETTINGS, look=LOOK):
    photos, paintings = sources
    return plan_jobs(
        [Input(photo, photo.stem) for photo in photos],
        [(load_style(p), look) for p in paintings],
        settings,
        output,
        weights_sha256="",
        failed=lambda *why: pytest.fail(str(why)),
    )


@pytest.fixture(scope="module")
def wanted(sources, tmp_path_factory):
    """The prints of a local run, by name."""
    return local_prints(sources, tmp_path_factory.mktemp("local"), SETTINGS)


@pytest.fixture(scope="module")
def wanted_small(sources, tmp_path_factory):
    return local_prints(sources, tmp_path_factory.mktemp("small"), SMALL)


def local_prints(sources, output: Path, settings) -> dict[str, bytes]:
    events = []
    LocalRunner(choose("cpu", "float32", threads=1), MakeRenderer(settings, None)).run(
        jobs_in(sources, output, settings), events.append
    )
    assert len(ended(events)) == 4
    return prints(output)


def prints(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def runner_for(connection, output: Path, **changes) -> RayRunner:
    options = {"requested": 2, "cpus_per_worker": 1, "memory_bytes": 2**33} | changes
    (output / ".render").mkdir(parents=True, exist_ok=True)
    device, settings = options.pop("device", "cpu"), options.pop("settings", SETTINGS)
    storage = Storage.under(output / ".render", interval_s=0.0)
    return RayRunner(connection, device, MakeRenderer(settings, storage), storage, **options)


def run_of(runner, jobs, report) -> _Run:
    return _Run(runner, sign(runner.storage.checkpoints.parent), jobs, report)


def carry_out(runner, jobs, blow=lambda event, events: None):
    """Runs the jobs; blow(event, events so far) may strike at any moment. Returns the events, the ledger
    written as ever."""
    events, ledger = [], Ledger(runner.storage.checkpoints.parents[1])
    by_output = {job.output: job for job in jobs}

    def report(event):
        ledger.record(by_output[event.job.output], event)
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
    return [p for p in ray_workers(node) if any("Worker.run" in word for word in p.cmdline())]


# ---- the same pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])  # two are those of the tests below
def test_any_number_of_workers_gives_the_local_files(connection, sources, wanted_small, tmp_path, workers):
    events, ledger = carry_out(
        runner_for(connection, tmp_path, requested=workers), jobs_in(sources, tmp_path, SMALL)
    )
    assert prints(tmp_path) == wanted_small
    assert set(ledger.values()) == {"done"} and len(ledger) == 4
    assert len(ended(events, JobStarted)) == len(ended(events)) == 4
    assert (
        not list((tmp_path / ".render/checkpoints").glob("*")) and not (tmp_path / ".render/driver").exists()
    )


def test_a_job_of_every_event_is_the_drivers_own(connection, sources, tmp_path):
    jobs = jobs_in(sources, tmp_path)
    events, _ = carry_out(runner_for(connection, tmp_path), jobs[:1])
    assert all(event.job == jobs[0].ref for event in events)
    assert [event.scale for event in events if isinstance(event, Progress)][-1] == 2
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.iteration == last.iterations and last.work == 1


def test_a_style_stays_with_the_workers_that_know_it(sources, tmp_path):
    jobs = jobs_in(sources, tmp_path)
    waiting = Waiting(jobs)
    first, second = waiting.next_for(set(), set()), waiting.next_for(set(), {"x"})
    assert (first.style.name, second.style.name) == ("x", "y"), "a new worker takes a style that nobody has"
    assert [waiting.next_for({"y"}, {"x"}).style.name for _ in range(1)] == ["y"], "and stays with it"
    assert waiting.next_for({"y"}, {"x"}).style.name == "x", "and helps out when that is done"
    waiting.put_back(first)
    assert waiting.next_for({"y"}, {"x"}) is first and not waiting


def test_what_is_wrong_with_one_job_leaves_the_others_alone(connection, sources, wanted_small, tmp_path):
    photos, paintings = sources
    broken = tmp_path / "photos/broken.png"
    broken.parent.mkdir()
    broken.write_bytes(photos[0].read_bytes()[:200])
    output = tmp_path / "out"
    events, ledger = carry_out(
        runner_for(connection, output), jobs_in(([*photos, broken], paintings), output, SMALL)
    )
    assert prints(output) == wanted_small
    failures = [event for event in events if isinstance(event, JobFailed)]
    assert len(failures) == 2 and all("broken.png" in event.message for event in failures)
    assert sorted(ledger.values()) == ["done"] * 4 + ["failed"] * 2


def test_a_photograph_that_changes_before_its_turn_fails_by_name_and_the_rest_are_rendered(
    connection, sources, wanted_small, tmp_path
):
    photos, paintings = sources
    edited = tmp_path / "c.png"
    edited.write_bytes(photos[0].read_bytes())
    output = tmp_path / "out"
    jobs = jobs_in(([photos[0], edited], paintings[:1]), output, SMALL)
    save_photo(edited, seed=3)
    events, _ = carry_out(runner_for(connection, output), jobs)
    (failed,) = [event for event in events if isinstance(event, JobFailed)]
    assert failed.job.photo == edited and "c.png: has changed since the batch began" in failed.message
    assert prints(output) == {"a--x.png": wanted_small["a--x.png"]}


def test_paths_that_are_relative_to_the_drivers_folder_are_found_by_workers_of_another(
    connection, sources, wanted_small, tmp_path, monkeypatch
):
    photos, paintings = sources
    folder = photos[0].parents[1]
    monkeypatch.chdir(folder)  # Ray was started in another one
    relative = [[path.relative_to(folder) for path in paths] for paths in (photos, paintings)]
    carry_out(runner_for(connection, tmp_path), jobs_in(relative, tmp_path, SMALL))
    assert prints(tmp_path) == wanted_small


def test_a_print_that_cannot_be_written_fails_its_job(connection, sources, tmp_path):
    jobs = jobs_in(sources, tmp_path, SMALL)[:2]
    jobs[0].output.mkdir()
    events, _ = carry_out(runner_for(connection, tmp_path), jobs)
    assert ended(events, JobFailed) == [jobs[0].label] and ended(events) == [jobs[1].label]


def test_each_gpu_gets_one_worker(connection, sources, wanted_small, tmp_path, monkeypatch):
    """Placement alone: the workers, on GPUs that are none, are told to use the CPU."""
    runner = runner_for(connection, tmp_path, requested=None, device="cuda")
    plain = RayRunner.config
    monkeypatch.setattr(RayRunner, "config", lambda self, sign: replace(plain(self, sign), device="cpu"))
    run_ = run_of(runner, jobs_in(sources, tmp_path, SMALL), lambda event: None)
    seen = []
    run_._watch = lambda: seen.append(len([member for member in run_.members if member.info]))
    run_.run()
    assert prints(tmp_path) == wanted_small and max(seen) == 2 == len(run_.members)


# ---- faults ------------------------------------------------------------------------------------------------


def test_a_worker_killed_mid_render_costs_minutes_and_no_picture(
    ray_head, connection, sources, wanted, tmp_path
):
    struck = []

    def blow(event, events):
        if isinstance(event, Progress) and event.scale == 2 and not struck:
            struck.extend(busy(ray_head.head_node)[:1])
            struck[0].kill()

    events, ledger = carry_out(runner_for(connection, tmp_path), jobs_in(sources, tmp_path), blow)
    assert struck and prints(tmp_path) == wanted and set(ledger.values()) == {"done"}
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert "its worker died" in notice.text and "last checkpoint" in notice.text


def test_a_job_that_kills_every_worker_is_given_up_by_name_and_the_rest_finish(
    ray_head, connection, sources, wanted, tmp_path
):
    jobs = list(jobs_in(sources, tmp_path))
    # Large, so that it is never done before the blow (seen: the last scale is short, and the machine was slow
    # to strike).
    jobs[2] = jobs_in(sources, tmp_path, Settings(size_px=1024, quality="draft"))[2]
    poison = jobs[2].label

    def blow(event, events):
        if isinstance(event, Progress) and event.job.label == poison:
            for process in busy(ray_head.head_node):
                process.kill()

    events, ledger = carry_out(runner_for(connection, tmp_path, requested=1), jobs, blow)
    (failure,) = [event for event in events if isinstance(event, JobFailed)]
    assert failure.job.label == poison and "given up, its worker died 3 times" in failure.message
    assert prints(tmp_path) == {name: data for name, data in wanted.items() if name != jobs[2].output.name}
    assert sorted(ledger.values()) == ["done"] * 3 + ["failed"]


def test_a_hung_worker_is_replaced(ray_head, connection, sources, wanted, tmp_path):
    struck = []

    def blow(event, events):
        if isinstance(event, Progress) and not struck:
            struck.extend(busy(ray_head.head_node)[:1])
            struck[0].suspend()

    events, ledger = carry_out(
        runner_for(connection, tmp_path, stall_s=15.0), jobs_in(sources, tmp_path), blow
    )
    assert prints(tmp_path) == wanted and set(ledger.values()) == {"done"}
    assert any("gave no sign of life for 15 s" in event.text for event in events if isinstance(event, Notice))
    assert not struck[0].is_running() or struck[0].status() == "zombie", (
        "the hung process must not stay behind"
    )


def test_a_worker_whose_memory_runs_out_goes_on_with_smaller_tiles(ray_head, connection, sources, tmp_path):
    """A real limit on the process; whatever Ray's own threads make of it, the pictures are done."""
    struck = []

    def blow(event, events):
        if isinstance(event, Progress) and event.scale == 2 and not struck:
            struck.extend(busy(ray_head.head_node)[:1])
            struck[0].rlimit(psutil.RLIMIT_AS, (struck[0].memory_info().vms, -1))

    events, ledger = carry_out(runner_for(connection, tmp_path), jobs_in(sources, tmp_path)[:2], blow)
    assert [(e.message, e.trace) for e in events if isinstance(e, JobFailed)] == []
    assert struck and set(ledger.values()) == {"done"} and len(prints(tmp_path)) == 2
    assert any(
        "out of memory" in event.text or "its worker died" in event.text
        for event in events
        if isinstance(event, Notice)
    )


GREEDY = """
import sys, ray
from render.distributed.ray_jobs import _ran_out_of_memory
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
try:
    ray.get(ray.remote(max_retries=0)(lambda: [bytes(2**20) for _ in range(10**9)]).remote(), timeout=60)
except ray.exceptions.RayError as error:
    print(_ran_out_of_memory(error), _ran_out_of_memory(ray.exceptions.RayError("x")))
"""


def test_rays_own_memory_monitor_is_understood_and_the_job_is_tried_again_with_less(
    bare_head, sources, tmp_path
):
    watchful = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
    (job,) = jobs_in(sources, tmp_path)[:1]
    with ray_node(bare_head, num_cpus=1, env_vars=watchful):
        done = subprocess.run(
            [sys.executable, "-c", GREEDY, bare_head.address], capture_output=True, text=True, timeout=120
        )
    assert done.stdout.split() == ["True", "False"], done.stderr
    told = []
    machine = Cluster(None, (Node("1", "localhost", 1, 0, "", "", ""),))
    run_ = run_of(runner_for(machine, tmp_path), [], told.append)
    run_._try_again(job, "ran out of memory", True)
    assert run_.out_of_memory == {job.id: 1} and run_.waiting.next_for(set(), set()) is job
    assert "continues from its last checkpoint" in told[0].text


# ---- the program -------------------------------------------------------------------------------------------

RAY = (*CHEAP_BATCH, "--size", "352", "--runner", "ray", "--workers", "2", "--json")


@pytest.fixture
def three_photos(folder) -> Path:
    for i, name in enumerate("bc"):
        save_photo(folder / f"photos/{name}.png", seed=i)
    return folder


def begun(folder: Path, until: str):
    """(the program with Ray on this machine, its processes), at the first event of a kind."""
    process = start(*RAY, cwd=folder)
    for line in process.stdout:
        if json.loads(line)["event"] == until:
            return process, psutil.Process(process.pid).children(recursive=True)
    raise AssertionError(process.stderr.read())


@pytest.fixture(scope="module")
def plain_prints(tmp_path_factory) -> dict[str, bytes]:
    """What the program makes of the three photos on its own."""
    folder = tmp_path_factory.mktemp("plain")
    save_photo(folder / "photos/a.png")
    save_painting(folder / "x.png")
    for i, name in enumerate("bc"):
        save_photo(folder / f"photos/{name}.png", seed=i)
    assert run_here(*CHEAP_BATCH, "--size", "352", cwd=folder).status == 0
    return prints(folder / "prints")


@pytest.mark.ray
def test_a_killed_driver_leaves_nothing_running_and_the_rerun_does_the_rest(three_photos, plain_prints):
    process, children = begun(three_photos, "done")
    assert any("raylet" in child.name() for child in children)
    process.kill()
    # Ray's two agents notice after a minute or two by themselves.
    _, alive = psutil.wait_procs([child for child in children if "Agent" not in child.name()], timeout=60)
    assert not alive
    process.communicate()
    again = run(*RAY, cwd=three_photos)
    assert again.status == 0 and again.of("summary")[0]["skipped"] >= 1
    assert again.of("summary")[0]["skipped"] + again.of("summary")[0]["done"] == 3
    assert prints(three_photos / "prints") == plain_prints


@pytest.mark.ray
def test_ctrl_c_keeps_what_is_finished_and_leaves_no_half_file_and_no_process(three_photos):
    process, children = begun(three_photos, "progress")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err, err
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert not [path for path in three_photos.rglob("*") if ".part" in path.name]
    assert run("status", "prints", cwd=three_photos).status == 0


def test_a_machine_that_goes_away_costs_its_jobs_a_new_start_elsewhere(bare_head, three_photos, plain_prints):
    with ray_node(bare_head, num_cpus=1) as leaving, ray_node(bare_head, num_cpus=1):
        words = (*CHEAP_BATCH, "--size", "352", "--address", bare_head.address, "--json")
        process, gone = start(*words, cwd=three_photos), []
        for line in process.stdout:
            if json.loads(line)["event"] == "done" and not gone:
                gone.append(leaving)
                bare_head.remove_node(leaving, allow_graceful=False)
        assert process.wait(timeout=60) == 0 and gone, process.stderr.read()
    assert prints(three_photos / "prints") == plain_prints


def test_after_the_time_to_stop_running_jobs_end_and_the_rest_is_left(
    connection, sources, wanted_small, tmp_path
):
    jobs = jobs_in(sources, tmp_path, SMALL)
    events = []
    runner_for(connection, tmp_path).run(jobs, events.append, lambda: len(ended(events, JobStarted)) >= 2)
    assert len(ended(events, JobStarted)) == len(ended(events)) == 2
    assert prints(tmp_path).items() <= wanted_small.items()


def test_idle_workers_help_with_the_tiles_of_the_last_print_and_no_pixel_changes(
    connection, sources, tmp_path, monkeypatch
):
    """Tiles of 128 px, which a small memory enforces."""
    photo, (painting, _) = save_photo(tmp_path / "photos/a.png"), sources[1]
    settings = Settings(size_px=512, quality="draft")
    (job,) = jobs_in(([photo], [painting]), tmp_path, settings)
    scene = scene_of(job, plan_scales((384, 512), 512, quality="draft", style_scale=1.0)[-1], 4, 48 * 64 * 12)
    memory_bytes = smallest_bytes(scene) + 2**20
    alone = replace(job, output=tmp_path / "alone.png")
    events, lent = [], []
    LocalRunner(
        replace(choose("cpu", "float32", threads=1), budget=Budget(memory_bytes)),
        MakeRenderer(settings, None),
    ).run([alone], events.append)
    runner = runner_for(connection, tmp_path, settings=settings, memory_bytes=memory_bytes)
    monkeypatch.setattr(
        RayRunner, "config", lambda self, sign, plain=RayRunner.config: replace(plain(self, sign), share=1.0)
    )
    run_ = run_of(runner, [job], events.append)
    assign_helpers = run_._assign_helpers

    def assign_and_see():
        assign_helpers()
        lent.extend(member for member in run_.members if member.helps)

    run_._assign_helpers = assign_and_see
    run_.run()
    assert lent and job.output.read_bytes() == alone.output.read_bytes()
