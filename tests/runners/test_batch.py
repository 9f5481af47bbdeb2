"""Many jobs through a runner: what is recorded, counted and skipped. The ledger is the real one."""

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.pictures import save_painting, save_photo
from helpers.runners import Painter
from render.jobs.events import JobDone, JobStarted, Progress
from render.jobs.job import make_job
from render.jobs.ledger import Ledger
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.runners.batch import Summary, run_batch, split


@pytest.fixture
def jobs(tmp_path):
    style = load_style(save_painting(tmp_path / "x.png"))
    return [
        make_job(
            save_photo(tmp_path / f"{name}.png", seed=seed),
            style,
            Look(),
            Settings(),
            tmp_path / "prints" / f"{name}--x.png",
            weights_sha256="w",
        )
        for seed, name in enumerate("abc")
    ]


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "prints")
    yield ledger
    ledger.close()


def statuses(ledger: Ledger) -> list[str]:
    return [row["status"] for row in ledger.rows()]


def test_every_job_is_recorded_counted_and_reported(jobs, ledger):
    summary, events = Summary(), []
    run_batch(jobs, Painter(), ledger, summary, events.append)
    assert statuses(ledger) == ["done"] * 3
    assert (summary.done, summary.failed, summary.exit_status) == (3, [], 0)
    assert [type(event) for event in events] == [JobStarted, Progress, JobDone] * 3


def test_what_to_look_at_is_told_by_print_and_is_no_failure(jobs, ledger):
    class Careless(Painter):
        def run(self, some, report, stop):
            super().run(
                some,
                lambda event: report(
                    replace(event, done=replace(event.done, findings=("border: 2 px", "specks: 12")))
                    if isinstance(event, JobDone) and event.job == jobs[1].ref
                    else event
                ),
                stop,
            )

    summary = Summary()
    run_batch(jobs, Careless(), ledger, summary, lambda event: None)
    assert (summary.done, summary.failed, summary.exit_status) == (3, [], 0)
    assert summary.look_at == [(str(jobs[1].output), "border: 2 px"), (str(jobs[1].output), "specks: 12")]
    assert [row["findings"] for row in ledger.rows()] == ["[]", '["border: 2 px", "specks: 12"]', "[]"]


def test_a_failed_job_is_counted_by_name_and_the_others_are_done(jobs, ledger):
    summary = Summary()
    run_batch(jobs, Painter(broken=[jobs[1]]), ledger, summary, lambda event: None)
    assert statuses(ledger) == ["done", "failed", "done"]
    assert summary.done == 2 and summary.exit_status == 1
    assert summary.failed == [("b.png x x", f"{jobs[1].photo}: is empty.")]


def test_a_copy_of_a_job_is_known_by_the_name_of_the_original(jobs, tmp_path):
    """What a worker elsewhere reports is about the files as they are at home."""
    copy = jobs[0].with_files(lambda path: tmp_path / "copies" / path.name).moved(tmp_path / "there")
    assert copy.photo == tmp_path / "copies/a.png" and copy.output == tmp_path / "there/a--x.png"
    assert copy.ref == jobs[0].ref and copy.original is jobs[0]
    assert copy.with_files(lambda path: path).original is jobs[0]
    assert jobs[1].ref != jobs[0].ref


def test_what_failed_before_any_job_counts_too(ledger):
    summary = Summary(failed=[("gone.jpg", "no such file")])
    run_batch([], Painter(), ledger, summary, lambda event: None)
    assert summary.exit_status == 1


def test_the_summary_is_true_when_the_batch_is_interrupted(jobs, ledger):
    summary = Summary()
    with pytest.raises(KeyboardInterrupt):
        run_batch(jobs, Painter(interrupted=jobs[1]), ledger, summary, lambda event: None)
    assert (summary.done, summary.failed, summary.left) == (1, [], 2)
    assert statuses(ledger) == ["done", "running"]
    assert split(jobs, ledger, fresh=False) == (jobs[1:], jobs[:1])


def test_only_what_is_missing_is_left_to_do(jobs, ledger):
    assert split(jobs, ledger, fresh=False) == (jobs, [])
    run_batch(jobs, Painter(broken=[jobs[2]]), ledger, Summary(), lambda event: None)
    jobs[0].output.unlink()
    assert split(jobs, ledger, fresh=False) == ([jobs[0], jobs[2]], [jobs[1]])


def test_jobs_left_at_the_deadline_are_neither_failed_nor_recorded_and_the_next_run_does_them(jobs, ledger):
    summary = Summary()
    run_batch(
        jobs,
        Painter(broken=[jobs[0]]),
        ledger,
        summary,
        lambda event: None,
        stop=lambda: len(summary.failed) == 1,
    )
    assert (summary.done, summary.left, summary.exit_status) == (0, 2, 1)
    assert statuses(ledger) == ["failed"]
    summary = Summary()
    run_batch(jobs, Painter(), ledger, summary, lambda event: None, stop=lambda: summary.done == 2)
    assert (summary.done, summary.left, summary.exit_status) == (2, 1, 0)
    assert statuses(ledger) == ["done", "done"]
    assert split(jobs, ledger, fresh=False) == (jobs[2:], jobs[:2])
    summary = Summary()
    run_batch(jobs[2:], Painter(), ledger, summary, lambda event: None)
    assert (summary.done, summary.left) == (1, 0)


def test_a_deadline_that_has_passed_starts_nothing(jobs, ledger):
    summary, events = Summary(), []
    run_batch(jobs, Painter(), ledger, summary, events.append, stop=lambda: True)
    assert (summary.done, summary.left, summary.exit_status, events) == (0, 3, 0, [])
    assert summary.pictures_per_hour is None and summary.devices_busy is None


def test_pictures_per_hour_and_the_devices_share_come_from_what_was_finished():
    summary = Summary(done=6, pictures=6, seconds=1800, busy_s=2700, workers=2)
    assert summary.pictures_per_hour == 12 and summary.devices_busy == 0.75
    assert Summary(seconds=5).pictures_per_hour is None  # nothing was finished: no pace


def test_busy_seconds_of_every_worker_are_added(jobs, ledger):
    class Timed(Painter):
        def run(self, some, report, stop):
            super().run(
                some,
                lambda event: report(
                    replace(event, done=replace(event.done, busy_s=4.0))
                    if isinstance(event, JobDone)
                    else event
                ),
                stop,
            )

    summary = Summary()
    run_batch(jobs, Timed(broken=[jobs[2]]), ledger, summary, lambda event: None)
    assert (summary.busy_s, summary.workers) == (8.0, 2)


def test_fresh_leaves_everything_to_do(jobs, ledger):
    run_batch(jobs, Painter(), ledger, Summary(), lambda event: None)
    assert split(jobs, ledger, fresh=False) == ([], jobs)
    assert split(jobs, ledger, fresh=True) == (jobs, [])


def test_one_picture_needs_no_ledger(jobs, tmp_path: Path):
    summary = Summary()
    jobs[0].output.parent.mkdir()
    run_batch(jobs[:1], Painter(), None, summary, lambda event: None)
    assert summary.done == 1 and not (tmp_path / "prints" / ".render").exists()
