"""Ledgers that are locked, damaged, foreign or on a full disk: told as they are, and no job stops for them.

Real locks of real processes, real bytes, a real small disk.
"""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.pictures import painting_pixels, save_painting, save_photo
from helpers.program import CHEAP_BATCH, run, run_here
from render.cli import screen
from render.errors import UsageError
from render.jobs import ledger as ledger_module
from render.jobs.events import Done, JobDone, JobFailed, JobStarted
from render.jobs.job import make_job
from render.jobs.ledger import Ledger
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.pictures import print_file
from render.runners.batch import Summary, never, run_batch, split

HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("begin exclusive")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "prints"


@pytest.fixture
def jobs(tmp_path, output):
    style = load_style(save_painting(tmp_path / "x.png"))
    photos = [save_photo(tmp_path / f"{name}.png", seed=seed) for seed, name in enumerate("abc")]
    return [
        make_job(photo, style, Look(), Settings(), output / f"{photo.stem}--x.png", weights_sha256="w")
        for photo in photos
    ]


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(ledger_module, "LOCK_WAIT_S", 0.3)


def file_of(output: Path) -> Path:
    return output / ".render" / "ledger.sqlite"


@contextlib.contextmanager
def locked(path: Path):
    """Another process has the file for itself. Gives the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    try:
        yield process
    finally:
        process.communicate()


def paint(job) -> Done:
    """A print as a batch writes it: it says itself how it was made."""
    facts = {
        "job": job.id,
        "photo": job.photo.name,
        "style": {"name": job.style.name},
        "look": job.look.model_dump(mode="json"),
        "settings": job.settings.model_dump(),
        "loss": 0.25,
    }
    print_file.write(job.output, np.float32(painting_pixels() / 255), provenance=facts)
    return Done(1.5, job.output.stat().st_size, 0.25)


class Painter:
    """A runner that needs no network. before(job): called when a job was started; broken: jobs that fail."""

    workers = 1

    def __init__(self, before=lambda job: None, broken=()):
        self.before, self.broken = before, broken

    def run(self, jobs, report, stop=never):
        for job in jobs:
            report(JobStarted(job.ref))
            self.before(job)
            report(JobFailed(job.ref, "is empty") if job in self.broken else JobDone(job.ref, paint(job)))


def finished(output: Path, jobs) -> None:
    ledger = Ledger(output)
    run_batch(jobs, Painter(), ledger, Summary(), lambda event: None)
    ledger.close()


def statuses(output: Path) -> list[str]:
    peek = Ledger.peek(output)
    found = [row["status"] for row in peek.rows()]
    peek.close()
    return found


# --- locked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [Ledger, Ledger.peek])
def test_a_locked_ledger_is_told_with_the_process_that_has_it_and_nothing_is_to_be_deleted(
    output, jobs, hurried, opened
):
    finished(output, jobs[:1])
    before = file_of(output).read_bytes()
    with locked(file_of(output)) as holder, pytest.raises(UsageError) as refused:
        opened(output).rows()
    assert f"is locked by process {holder.pid} (" in str(refused.value) and "elete" not in str(refused.value)
    assert file_of(output).read_bytes() == before and statuses(output) == ["done"]


def test_a_lock_that_is_let_go_soon_is_waited_for(output, jobs):
    finished(output, jobs[:1])
    with locked(file_of(output)) as holder:
        subprocess.Popen(["sh", "-c", f"sleep 1; kill {holder.pid}"])
        Ledger(output).close()


def test_another_batch_in_the_folder_is_named(output):
    first = Ledger(output)
    wanted = rf"another batch is rendering there\. Wait for it \(process {os.getpid()} on "
    with pytest.raises(UsageError, match=wanted):
        Ledger(output)
    first.close()


# --- damaged ------------------------------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, however long one looks at it " * 100)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def cut_to_its_head(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:90])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 7):
        data[place] ^= 0xFF
    path.write_bytes(data)


def no_text(path: Path) -> None:
    """Bytes in the middle of a text that make it no UTF-8: SQLite does not look."""
    data = path.read_bytes().replace(b"running", b"\xff\xfe\xfd\xfcing")
    path.write_bytes(data.replace(b"done", b"\xff\xfe\xfd\xfc"))


def foreign_table(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("create table jobs (title text, salary integer)")
        db.execute("insert into jobs values ('painter', 3)")
        db.commit()


DAMAGES = [garbage, cut_short, cut_to_its_head, flipped, no_text, foreign_table]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_is_set_aside_and_finished_prints_still_count(output, jobs, damage):
    finished(output, jobs[:2])
    (output / ".render" / "checkpoints").mkdir()
    (output / ".render" / "checkpoints" / "half.safetensors").write_bytes(b"hours of work")
    damage(file_of(output))
    damaged, told = file_of(output).read_bytes(), []
    ledger = Ledger(output, tell=told.append)
    assert split(jobs, ledger, fresh=False) == (jobs[2:], jobs[:2])
    assert [(row["status"], row["style"], row["loss"]) for row in ledger.rows()] == [("done", "x", 0.25)] * 2
    ledger.close()
    (aside,) = (output / ".render").glob("ledger.corrupt-*.sqlite")
    assert aside.read_bytes() == damaged and len(told) == 1 and aside.name in told[0]
    assert (output / ".render" / "checkpoints" / "half.safetensors").read_bytes() == b"hours of work"
    Ledger(output, tell=told.append).close()
    assert len(told) == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_peeking_into_a_damaged_ledger_says_so_and_changes_nothing(output, jobs, damage):
    finished(output, jobs[:2])
    damage(file_of(output))
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    wanted = r"ledger\.sqlite: is damaged .*Run the batch again.*Keep .*\.render"
    with pytest.raises(UsageError, match=wanted) as refused:
        Ledger.peek(output).rows()
    assert "elete" not in str(refused.value)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_a_print_cut_short_and_a_picture_of_the_users_are_not_taken_for_finished(output, jobs):
    finished(output, jobs[:2])
    jobs[1].output.write_bytes(jobs[1].output.read_bytes()[:-200])
    save_photo(output / "mine.png")
    (output / "notes.png").write_text("no picture")
    garbage(file_of(output))
    ledger = Ledger(output)
    assert split(jobs[:2], ledger, fresh=False) == (jobs[1:2], jobs[:1]) and len(ledger.rows()) == 1
    ledger.close()


def test_the_journal_of_a_damaged_ledger_is_not_played_into_the_new_one(output, jobs):
    finished(output, jobs[:1])
    garbage(file_of(output))
    journal = file_of(output).with_name("ledger.sqlite-journal")
    journal.write_bytes(b"of the damaged one")
    Ledger(output).close()
    assert not journal.exists() and statuses(output) == ["done"]


def test_an_empty_file_is_a_new_ledger(output):
    file_of(output).parent.mkdir(parents=True)
    file_of(output).touch()
    assert statuses(output) == []
    Ledger(output).close()


def test_a_file_that_may_not_be_read_is_not_called_damaged(output, jobs):
    finished(output, jobs[:1])
    file_of(output).unlink()
    file_of(output).mkdir()
    with pytest.raises(UsageError, match="cannot be used .*what is done is kept"):
        Ledger(output)


# --- trouble midway -----------------------------------------------------------------------------------------


def test_a_ledger_locked_midway_stops_no_job_and_is_written_when_it_is_free(output, jobs, hurried):
    summary, ledger, holders = Summary(), Ledger(output), contextlib.ExitStack()

    def before(job):
        if job is jobs[0]:
            holders.enter_context(locked(file_of(output)))
        if job is jobs[2]:
            assert ledger.unrecorded == 2 and "locked by process" in ledger.trouble
            holders.close()

    run_batch(jobs, Painter(before, broken=jobs[1:2]), ledger, summary, lambda event: None)
    ledger.close()
    assert (summary.done, summary.unrecorded, summary.ledger_trouble) == (2, 0, None)
    assert statuses(output) == ["done", "failed", "done"]


def test_results_that_are_never_recorded_are_told_and_change_the_exit_status(output, jobs, hurried, capsys):
    summary, ledger = Summary(), Ledger(output)
    with contextlib.ExitStack() as holders:
        painter = Painter(lambda job: job is jobs[1] and holders.enter_context(locked(file_of(output))))
        run_batch(jobs, painter, ledger, summary, lambda event: None)
    ledger.close()
    assert (summary.done, summary.unrecorded, summary.exit_status) == (3, 2, 1)
    screen.print_summary(summary, output=output, as_json=False)
    said = capsys.readouterr().err
    assert "ledger could not be written (locked by process " in said and "2 results are not recorded" in said
    assert screen.summary_record(summary)["unrecorded"] == 2
    assert statuses(output) == ["done", "running"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_ledger_damaged_midway_is_made_anew_with_all_that_is_known(output, jobs, damage):
    finished(output, jobs[:1])
    summary, told = Summary(), []
    ledger = Ledger(output, tell=told.append)
    painter = Painter(lambda job: job is jobs[2] and damage(file_of(output)), broken=jobs[1:2])
    run_batch(jobs[1:], painter, ledger, summary, lambda event: None)
    ledger.close()
    assert (summary.done, summary.unrecorded) == (1, 0)
    again = Ledger(output, tell=told.append)
    # Pages that SQLite still held in memory have overwritten what was damaged: then nobody noticed.
    assert len(told) <= 1 and {row["output"]: row["status"] for row in again.rows()}.items() >= {
        ("a--x.png", "done"),
        ("c--x.png", "done"),
    }
    again.close()


def test_a_ledger_removed_midway_comes_back(output, jobs):
    summary, ledger = Summary(), Ledger(output)
    painter = Painter(lambda job: job is jobs[1] and file_of(output).unlink())
    run_batch(jobs, painter, ledger, summary, lambda event: None)
    ledger.close()
    assert (summary.done, summary.unrecorded) == (3, 0)
    assert "done" in statuses(output)


def test_a_disk_that_damages_every_ledger_is_not_filled_with_them(output, jobs):
    summary, ledger = Summary(), Ledger(output)
    run_batch(jobs * 3, Painter(lambda job: garbage(file_of(output))), ledger, summary, lambda event: None)
    ledger.close()
    aside = list((output / ".render").glob("ledger.corrupt-*"))
    assert summary.done == 9 and len(aside) == ledger_module.SET_ASIDE_AT_MOST
    assert summary.unrecorded > 0 and "not a database" in summary.ledger_trouble


@contextlib.contextmanager
def full_disk(folder: Path):
    """No file can grow: a small disk where we may mount one, else a limit of the system."""
    filler = folder / "filler"
    if os.path.ismount(folder):
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while file.write(b"x" * 4096):
                file.flush()
        yield
        filler.unlink()
        return
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def disk(tmp_path):
    """A folder on a disk of 1 MB, or an ordinary one where we may not mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=1m", "none", folder)
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def test_on_a_full_disk_results_wait_in_memory_and_are_recorded_once_there_is_space(disk, tmp_path, hurried):
    style = load_style(save_painting(tmp_path / "x.png"))
    photo = save_photo(tmp_path / "a.png")
    jobs = [
        make_job(photo, style, Look(), Settings(), disk / f"{i}--x.png", weights_sha256="w")
        for i in range(40)
    ]  # the ledger needs a new page before the last
    ledger = Ledger(disk)
    with full_disk(disk):
        for job in jobs:
            ledger.record(job, JobStarted(job.ref))
            ledger.record(job, JobFailed(job.ref, "no space left"))
        ledger.settle()
        assert ledger.unrecorded > 0 and ("space" in ledger.trouble or "disk" in ledger.trouble)
    ledger.settle()
    assert (ledger.unrecorded, ledger.trouble) == (0, None)
    ledger.close()
    assert statuses(disk) == ["failed"] * 40


# --- junk in a sound file, and the program ------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "findings = 'no json'",
        "findings = '{\"a\": 1}'",
        "findings = 7",
        "findings = x'ff00'",
        "status = 'failed', message = null",
        "status = 'failed', message = 3",
        "status = 'running', started_s = null",
        "status = 'running', started_s = 'yesterday'",
        "status = 'of another planet'",
        "output = '../../../etc'",
        "bytes = 'many'",
    ],
)
def test_junk_in_a_row_is_no_crash(output, jobs, change):
    finished(output, jobs[:2])
    with contextlib.closing(sqlite3.connect(file_of(output))) as db:
        db.execute(f"update jobs set {change} where output = 'a--x.png'")
        db.commit()
    assert run_here("status", output, cwd=output.parent).status in (0, 1)
    ledger = Ledger(output)
    split(jobs, ledger, fresh=False)
    ledger.close()


@pytest.fixture
def batch_folder(tmp_path):
    for seed, name in enumerate("ab"):
        save_photo(tmp_path / "photos" / f"{name}.png", seed=seed)
    save_painting(tmp_path / "x.png")
    return tmp_path


@pytest.mark.network
def test_a_batch_with_a_damaged_ledger_renders_only_what_is_missing(batch_folder):
    words = (*CHEAP_BATCH, "--size", "32", "--json")
    assert run_here(*words, cwd=batch_folder).status == 0
    garbage(file_of(batch_folder / "prints"))
    assert run_here("status", "prints", cwd=batch_folder).status == 2
    (batch_folder / "prints" / "b--x.png").unlink()
    again = run_here(*words, cwd=batch_folder)
    assert again.status == 0 and (again.records[-1]["done"], again.records[-1]["skipped"]) == (1, 1)
    assert "is damaged" in again.err and "ledger.corrupt-" in again.err
    assert run_here("status", "prints", cwd=batch_folder).status == 0


def test_what_a_killed_batch_was_writing_is_cleared_by_the_next_wherever_prints_stand(batch_folder):
    photos, out = batch_folder / "photos", batch_folder / "prints"
    (photos / "italy").mkdir()
    (photos / "b.png").rename(photos / "italy" / "b.png")
    words = [*CHEAP_BATCH, "--size", "32", "--json"]
    killer = (
        "import os, signal, sys; from render.cli import main; replace = os.replace\n"
        "def blow(a, b):\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if str(b).endswith('b--x.png') else replace(a, b)\n"
        "os.replace = blow; main.main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", killer, *words], cwd=batch_folder, capture_output=True)
    assert done.returncode == -signal.SIGKILL and len(list(out.rglob("*.part"))) == 1
    (out / "italy" / "film.part").write_bytes(b"the user's")
    assert run(*words, cwd=batch_folder).status == 0
    assert [path.name for path in out.rglob("*.part")] == ["film.part"]


@pytest.mark.network
def test_a_killed_image_is_cleared_by_the_next_beside_its_file(batch_folder):
    half = batch_folder / f".render-{'0a' * 16}.part"
    half.write_bytes(b"half a picture")
    words = ("image", "photos/a.png", "x.png", "--output", "one.png", *CHEAP_BATCH[5:], "--size", "32")
    assert run_here(*words, cwd=batch_folder).status == 0
    assert not half.exists()
