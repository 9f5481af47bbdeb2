"""What is told of a batch: lines in a log, the summary, JSON."""

import json
import re
import time
from dataclasses import replace
from datetime import datetime

import pytest

from helpers.pictures import save_painting, save_photo
from render.cli import screen
from render.jobs.events import Done, JobDone, JobFailed, JobStarted, Notice, Progress
from render.jobs.job import make_job
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.runners.batch import Summary


@pytest.fixture
def jobs(tmp_path):
    style = load_style(save_painting(tmp_path / "x.png"))
    return [
        make_job(
            save_photo(tmp_path / f"{name}.png"),
            style,
            Look(),
            Settings(),
            tmp_path / f"{name}--x.png",
            weights_sha256="w",
        )
        for name in "abc"
    ]


def lines_until(capsys, wanted: str) -> str:
    """What standard error says until a line has the words; it comes from another thread."""
    said = ""
    for _ in range(200):
        said += capsys.readouterr().err
        if re.search(wanted, said):
            return said
        time.sleep(0.05)
    raise AssertionError(f"never said {wanted!r}: {said}")


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(screen, "LOG_EVERY_S", 0.02)


def test_a_log_gets_lines_though_nothing_happens(jobs, capsys, hurried):
    with screen.Screen(3):
        said = lines_until(capsys, "running(.|\n)*running(.|\n)*running")
    assert re.fullmatch(r"\w{3} \d\d:\d\d  0/3 ended, 0 running, time left unknown", said.splitlines()[0])


def test_a_line_tells_how_many_jobs_run_and_where_the_last_of_them_is(jobs, capsys, hurried):
    with screen.Screen(3) as drawn:
        for job in jobs:
            drawn(JobStarted(job.ref))
        drawn(JobDone(jobs[0].ref, Done(1.0, 10, 0.5)))
        drawn(Progress(jobs[1].ref, 2, 3, (48, 64), 4, 18, 0.25, 0.5))
        said = lines_until(capsys, "1/3 ended, 2 running")
    assert re.search(
        r"1/3 ended, 2 running, \d+ s left: b.png x x  scale 2/3 \(64 px\)  4/18  loss 0.25\n", said
    )


def test_lines_end_with_the_batch(jobs, capsys, hurried):
    with screen.Screen(3) as drawn:
        lines_until(capsys, "running")
    drawn.log.join(10)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_nothing_but_the_line_a_minute_is_said_of_progress(jobs, capsys):
    with screen.Screen(3) as drawn:
        drawn(JobStarted(jobs[0].ref))
        for i in range(1, 19):
            drawn(Progress(jobs[0].ref, 1, 1, (48, 64), i, 18, 0.25, i / 18))
    assert capsys.readouterr().err == ""


def test_an_event_that_was_written_as_json_is_read_back_but_for_its_id(jobs):
    job = jobs[0].ref
    known = replace(job, id="")  # a record does not hold it
    assert known.label == jobs[0].label == "a.png x x"
    for event in (
        JobStarted(job),
        Progress(job, 2, 3, (48, 64), 4, 18, 0.25, 0.5),
        Notice(job, "only 10 dpi"),
        JobDone(job, Done(1.5, 10, 0.5, ("specks: 12",))),
        JobFailed(job, "is empty"),
    ):
        record = json.loads(json.dumps(screen.as_record(event)))
        assert screen.from_record(record) == replace(event, job=known)
    assert screen.from_record({"event": "begin", "jobs": 3}) is None


SUMMARY = Summary(
    done=6,
    pictures=6,
    skipped=2,
    left=3,
    failed=[("a.jpg x x", "is empty")],
    seconds=1800,
    busy_s=2700,
    workers=2,
)


def test_the_summary_tells_done_failed_why_left_pace_and_use(capsys):
    screen.print_summary(SUMMARY, output="prints", as_json=False)
    said = capsys.readouterr().err
    assert "failed a.jpg x x: is empty" in said
    assert said.splitlines()[-1] == (
        "6 done, 2 finished earlier, 1 failed, 3 left for the next run in 30 min, "
        "12 pictures an hour, devices busy 75 %: prints"
    )


def test_a_slow_pace_keeps_its_decimal_and_no_pace_is_told_of_nothing(capsys):
    screen.print_summary(
        Summary(done=1, pictures=1, seconds=2400, busy_s=2400), output="prints", as_json=False
    )
    screen.print_summary(Summary(seconds=2400, left=1), output="prints", as_json=False)
    one, none = capsys.readouterr().err.splitlines()
    assert "1.5 pictures an hour, devices busy 100 %" in one and "an hour" not in none


def test_the_summary_as_json_has_the_same(capsys):
    screen.print_summary(SUMMARY, output="prints", as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert (record["done"], record["skipped"], record["left"]) == (6, 2, 3)
    assert (record["pictures_per_hour"], record["devices_busy"]) == (12, 0.75)
    assert record["failed"] == [{"what": "a.jpg x x", "why": "is empty"}]


def test_the_notice_tells_where_when_and_how_it_ended():
    started = datetime.now().astimezone()
    record = screen.notice_record(
        SUMMARY, output="prints", started=started, exit_status=130, interrupted=True
    )
    assert record.items() >= screen.summary_record(SUMMARY).items()
    assert (
        record["output"] == "prints"
        and record["host"]
        and record["interrupted"] is True
        and record["exit_status"] == 130
    )
    begin, end = (datetime.fromisoformat(record[name]) for name in ("started", "ended"))
    assert begin.utcoffset() is not None and begin <= end
