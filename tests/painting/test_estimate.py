"""Costs told before a job runs."""

import json
from dataclasses import replace
from itertools import chain, repeat

import pytest

from helpers.pictures import save_painting, save_photo
from render.cli import screen
from render.errors import PictureError
from render.jobs.job import make_job
from render.jobs.schedule import Scale
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.network import device, weights
from render.network.memory import Budget, plan_memory
from render.painting.estimate import Clocks, Cost, estimate, idle_time, job_multiply_adds
from render.painting.renderer import Renderer, scene_of
from render.runners.batch import Summary

CPU = device.Device("cpu", "float32", 1)


def scale(side, iterations=10):
    return Scale((side, side), side, iterations)


@pytest.fixture
def job(tmp_path):
    style = load_style(save_painting(tmp_path / "painting.png"))
    return make_job(
        save_photo(tmp_path / "photo.png"),
        style,
        Look(),
        Settings(size_px=64),
        tmp_path / "out.png",
        weights_sha256="",
    )


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


@pytest.mark.network
def test_each_job_has_a_cost_and_an_unreadable_photograph_its_error(tmp_path):
    style = load_style(save_painting(tmp_path / "painting.png"))
    photo = save_photo(tmp_path / "photo.png")
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"no picture")
    jobs = [
        make_job(path, style, Look(), Settings(size_px=size), tmp_path / "out.png", weights_sha256="")
        for path, size in ((photo, 64), (photo, 512), (torn, 64))
    ]
    (_, small), (_, large), (_, error) = estimate(jobs, CPU, Renderer(CPU, weights.load()))
    assert 0 < small.seconds < large.seconds and small.memory_bytes < large.memory_bytes
    assert [max(s.size) for s in large.scales] == [256, 512]
    assert isinstance(error, PictureError) and "torn.png" in str(error)
    assert large.seconds / small.seconds == pytest.approx(
        work(jobs[1], *large.scales) / work(jobs[0], *small.scales)
    )


# --- the speed, by a clock of the test's --------------------------------------------------------------------


class Machine:
    """Two cores on which an evaluation takes as many seconds as the test says, and others use what they are
    given.

    walls: of one evaluation after the other; own_s: of processor time in each; others: cores in other
    programs' hands.
    """

    def __init__(self, walls, *, own_s, others=0.0):
        self.walls, self.own_s, self.others = iter(walls), own_s, others
        self.now, self.evaluations = Clocks(100.0, 7.0, 1000.0), 0

    def evaluate(self):
        wall_s, now = next(self.walls), self.now
        self.evaluations += 1
        self.now = Clocks(
            now.wall_s + wall_s, now.own_s + self.own_s, now.all_s + self.own_s + self.others * wall_s
        )

    def time(self, threads=2):
        return idle_time(self.evaluate, threads=threads, read=lambda: self.now, cores=2)


def test_on_an_idle_machine_a_few_evaluations_that_agree_are_enough_and_the_best_counts():
    machine = Machine([9.0, 0.31, 0.30, 0.30, 0.1], own_s=0.5)
    assert machine.time() == (pytest.approx(0.30), 0.0) and machine.evaluations == 4, (
        "the first one loads kernels"
    )


def test_evaluations_that_do_not_agree_are_repeated_until_two_do():
    machine = Machine([0.3, 2.0, 0.9, 0.5, 0.32, 0.4, 0.31, 0.1], own_s=0.5)
    assert machine.time()[0] == pytest.approx(0.31) and machine.evaluations == 7


def test_a_dry_run_does_not_wait_for_a_machine_to_become_idle():
    machine = Machine(chain([9.0], (4.0 * 0.8**i for i in range(100))), own_s=0.5)
    machine.time()
    assert machine.evaluations == 3


def test_on_a_busy_machine_the_time_is_what_the_threads_had_of_the_processor():
    # Six other programs leave two threads a quarter of two cores: 0.3 s of work take 1.2 s.
    machine = Machine(repeat(1.2), own_s=0.6, others=1.5)
    seconds, others_share = machine.time()
    assert seconds == pytest.approx(0.3) and others_share == pytest.approx(0.75)
    assert Machine(repeat(1.2), own_s=0.6, others=1.5).time(threads=None)[0] == pytest.approx(1.2), (
        "a GPU's is not ours"
    )


def test_processor_time_does_not_count_on_an_idle_machine_where_one_thread_waits_for_another():
    assert Machine(repeat(0.3), own_s=0.4).time()[0] == pytest.approx(0.3)


def test_the_real_clocks_go_forward_and_know_others_from_this_process():
    before = Clocks.read()
    sum(range(2_000_000))
    span = Clocks.read() - before
    assert span.wall_s > 0 and span.own_s > 0 and span.all_s >= 0
    assert 0 <= span.others_share(device.cores()) <= 1


@pytest.mark.parametrize(("others_share", "busy"), [(0.05, False), (0.43, True)])
def test_a_busy_machine_is_said_to_be_one(job, capsys, others_share, busy):
    costs = [
        (
            job,
            Cost((scale(64),), (plan_memory(scene_of(job, scale(64), 4), Budget(2**33)),), 60.0, None, share),
        )
        for share in (0.0, others_share)
    ]
    for as_json in (False, True):
        screen.print_plan(costs, [], Summary(), device=CPU, workers=1, as_json=as_json)
    *said, record = capsys.readouterr().out.splitlines()
    assert any("other programs use 43 % of its processor" in line for line in said) == busy
    assert (json.loads(record)["busy"], json.loads(record)["others_share"]) == (busy, others_share)


def test_nothing_to_render_says_nothing_of_the_machine(capsys):
    screen.print_plan([], [], Summary(), device=CPU, workers=1, as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert record["busy"] is False and record["others_share"] is None
