"""The record of one output folder, in its real database."""

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.pictures import save_painting, save_photo
from render.errors import UsageError
from render.jobs.events import Done, JobDone, JobFailed, JobStarted, Notice, Progress
from render.jobs.job import make_job
from render.jobs.ledger import Ledger
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "prints"


@pytest.fixture
def job(tmp_path, output):
    return job_of(tmp_path, output)


def job_of(folder: Path, output: Path, name="a--x.png", **settings):
    photo, painting = save_photo(folder / "photo.png"), save_painting(folder / "painting.png")
    return make_job(
        photo, load_style(painting), Look(), Settings(**settings), output / name, weights_sha256="w"
    )


def finish(ledger: Ledger, job, content=b"a print") -> None:
    ledger.record(job, JobStarted(job.ref))
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_bytes(content)
    ledger.record(job, JobDone(job.ref, Done(seconds=1.5, bytes=len(content), loss=0.25)))


def test_a_finished_job_is_done_also_for_the_next_run(output, job):
    ledger = Ledger(output)
    assert not ledger.is_done(job)
    finish(ledger, job)
    assert ledger.is_done(job)
    ledger.close()
    again = Ledger(output)
    assert again.is_done(job)
    again.close()


def test_a_job_with_another_identity_is_not_done_though_it_writes_the_same_file(output, job, tmp_path):
    ledger = Ledger(output)
    finish(ledger, job)
    assert not ledger.is_done(job_of(tmp_path, output, seed=1))
    assert ledger.is_done(job_of(tmp_path, output))
    ledger.close()


def test_a_print_that_is_deleted_or_cut_short_is_not_done(output, job):
    ledger = Ledger(output)
    finish(ledger, job)
    job.output.write_bytes(b"a pri")
    assert not ledger.is_done(job)
    job.output.unlink()
    assert not ledger.is_done(job)
    ledger.close()


def test_a_job_that_failed_or_never_ended_is_not_done(output, job):
    ledger = Ledger(output)
    finish(ledger, job)
    for event in (JobStarted(job.ref), JobFailed(job.ref, "photo.png: is empty.")):
        ledger.record(job, event)
        assert not ledger.is_done(job)  # though an older print is there
    ledger.close()


def test_rows_tell_what_became_of_each_job(output, tmp_path):
    a, b, c = (job_of(tmp_path, output, name) for name in ("a.png", "sub/b.png", "c.png"))
    ledger = Ledger(output)
    finish(ledger, a)
    ledger.record(b, JobStarted(b.ref))
    ledger.record(b, Progress(b.ref, 1, 1, (48, 64), 1, 36, 0.5, 0.03))
    ledger.record(c, JobStarted(c.ref))
    ledger.record(c, JobFailed(c.ref, "photo.png: is empty.", "Traceback: here"))
    rows = {row["output"]: dict(row) for row in ledger.rows()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.png": "done",
        "sub/b.png": "running",
        "c.png": "failed",
    }
    assert (rows["a.png"]["seconds"], rows["a.png"]["bytes"], rows["a.png"]["loss"]) == (1.5, 7, 0.25)
    assert rows["a.png"]["started_s"] > 1e9 and rows["c.png"]["started_s"] > 1e9
    assert rows["c.png"]["message"] == "photo.png: is empty.\nTraceback: here"
    assert rows["a.png"]["message"] is None
    assert rows["a.png"]["id"] == a.id and rows["a.png"]["style"] == "painting"
    settings = json.loads(rows["a.png"]["settings"])
    assert settings["settings"]["size_px"] == 1024 and settings["look"] == Look().model_dump(mode="json")
    ledger.close()


def test_a_failure_is_forgotten_when_the_job_is_done_at_last(output, job):
    ledger = Ledger(output)
    ledger.record(job, JobStarted(job.ref))
    ledger.record(job, JobFailed(job.ref, "no space left"))
    finish(ledger, job)
    (row,) = ledger.rows()
    assert (row["status"], row["message"]) == ("done", None)
    ledger.close()


def test_what_the_checks_saw_is_recorded_and_gone_when_the_print_is_sound(output, job):
    ledger = Ledger(output)
    finish(ledger, job)
    assert json.loads(ledger.rows()[0]["findings"]) == []
    ledger.record(job, JobDone(job.ref, Done(1.5, 7, 0.25, ("border: 2 px are darker", "specks: 12"))))
    assert json.loads(ledger.rows()[0]["findings"]) == ["border: 2 px are darker", "specks: 12"]
    assert ledger.is_done(job)  # to be looked at, and done
    ledger.record(job, JobFailed(job.ref, "no space left"))
    assert ledger.rows()[0]["findings"] is None
    ledger.close()


def test_a_notice_changes_nothing(output, job):
    ledger = Ledger(output)
    finish(ledger, job)
    before = [tuple(row) for row in ledger.rows()]
    ledger.record(job, Notice(job.ref, "the photograph has only 10 dpi"))
    assert [tuple(row) for row in ledger.rows()] == before
    ledger.close()


def test_a_recoloured_print_is_what_a_batch_with_that_colour_would_have_made(output, job, tmp_path):
    other = job_of(tmp_path, output, color="luminance")
    ledger = Ledger(output)
    finish(ledger, job)
    later = job_of(tmp_path, output, seed=1)  # of another batch, which left the print as it was
    ledger.record(later, JobFailed(later.ref, "no space left"))
    job.output.write_bytes(b"other colours")
    ledger.recoloured(
        job.output,
        other.id,
        other.settings,
        Look().model_dump(mode="json"),
        Done(0.1, 13, 0.25, ("specks: 12",)),
    )
    assert ledger.is_done(other) and not ledger.is_done(job)
    (row,) = ledger.rows()
    assert (row["status"], row["message"], json.loads(row["findings"])) == ("done", None, ["specks: 12"])
    assert json.loads(row["settings"])["settings"]["color"] == "luminance"
    ledger.close()


def test_a_ledger_without_findings_is_read_as_it_is_and_gains_them_when_it_is_written(output, job):
    ledger = Ledger(output)
    finish(ledger, job)
    ledger._db.execute("alter table jobs drop column findings")  # as an earlier version made it
    ledger.close()
    peek = Ledger.peek(output)
    assert peek.is_done(job) and "findings" not in peek.rows()[0].keys()
    peek.close()
    ledger = Ledger(output)
    assert ledger.is_done(job) and ledger.rows()[0]["findings"] is None
    finish(ledger, job)
    assert ledger.rows()[0]["findings"] == "[]"
    ledger.close()


def test_the_photo_is_known_by_its_path_from_anywhere(output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = replace(job_of(tmp_path, output), photo=Path("photo.png"))
    ledger = Ledger(output)
    finish(ledger, job)
    assert ledger.rows()[0]["photo"] == str(tmp_path / "photo.png")
    ledger.close()


def test_what_was_recorded_is_there_for_others_at_once(output, job):
    ledger = Ledger(output)
    finish(ledger, job)
    other = sqlite3.connect(output / ".render" / "ledger.sqlite")
    assert other.execute("select status from jobs").fetchall() == [("done",)]
    other.close()
    ledger.close()


def test_one_output_folder_takes_one_batch_at_a_time(output):
    first = Ledger(output)
    with pytest.raises(UsageError, match=r"another batch is rendering there\. .*--output"):
        Ledger(output)
    Ledger(output.with_name("elsewhere")).close()
    first.close()
    Ledger(output).close()


def test_a_batch_that_died_holds_no_lock(output):
    code = (
        f"import os; from pathlib import Path; from render.jobs.ledger import Ledger; l = "
        f"Ledger(Path({str(output)!r})); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    Ledger(output).close()


def test_an_output_folder_that_cannot_be_written_is_wrong_usage(output):
    output.write_bytes(b"a file in its place")
    with pytest.raises(UsageError, match=r"prints: cannot be written .*Choose another --output"):
        Ledger(output)


def test_peeking_writes_nothing_where_there_is_nothing(output, job):
    ledger = Ledger.peek(output)
    assert not ledger.is_done(job) and ledger.rows() == []
    ledger.close()
    assert not output.exists()


def test_peeking_sees_what_is_done_and_waits_for_nobody(output, job):
    batch = Ledger(output)
    finish(batch, job)
    peek = Ledger.peek(output)  # while the batch has it
    assert peek.is_done(job)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        peek.record(job, JobStarted(job.ref))
    peek.close()
    batch.close()


def test_a_folder_with_an_odd_name_can_be_peeked_into(tmp_path):
    output = tmp_path / "50% of #1? yes"
    job = job_of(tmp_path, output)
    ledger = Ledger(output)
    finish(ledger, job)
    ledger.close()
    peek = Ledger.peek(output)
    assert peek.is_done(job)
    peek.close()
