"""The program as people run it: every test goes through the real entry point, with the real network."""

import json
import os
import shlex
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import save_painting, save_photo
from helpers.program import PROGRAM, QUICK, SHALLOW, start
from render.cli import main
from render.jobs.ledger import Ledger
from render.pictures import images, print_file

BATCH = ("batch", "--inputs", "photos", "--styles", "styles", *QUICK)
PRINTS = ("a--x.png", "a--y.png", "trip/b--x.png", "trip/b--y.png")


def prints_in(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.*")
        if path.is_file() and ".render" not in path.parts
    )


def snapshot(folder: Path) -> dict[str, tuple]:
    """Every file and folder with its time and content."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def written(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in prints_in(folder)}


def newer(folder: Path, before: dict[str, int]) -> set[str]:
    return {name for name, time_ns in written(folder).items() if before.get(name) != time_ns}


def rows(output: Path) -> dict[str, sqlite3.Row]:
    ledger = Ledger.peek(output)
    found = {row["output"]: row for row in ledger.rows()}
    ledger.close()
    return found


# --- a batch ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(tmp_path_factory, cli):
    """Two photos, one in a sub-folder, in two styles: the folder and what the program said. Not to be
    changed."""
    folder = tmp_path_factory.mktemp("batch")
    save_photo(folder / "photos" / "a.png")
    save_photo(folder / "photos" / "trip" / "b.jpg", size=(64, 40), seed=1)
    for seed, name in enumerate("xy"):
        save_painting(folder / "styles" / f"{name}.png", seed)
    (folder / "styles" / "x.toml").write_text('title = "Blots"\n[[pictures]]\nfile = "x.png"\n')
    return folder, cli(*BATCH, "--json", cwd=folder)


@pytest.fixture
def finished(batch, tmp_path) -> Path:
    """A finished batch of one's own."""
    return Path(shutil.copytree(batch[0], tmp_path / "copy"))  # with the times of its files


def test_two_photos_in_two_styles_make_four_prints_named_as_documented(batch):
    folder, run = batch
    assert run.status == 0
    assert prints_in(folder / "prints") == list(PRINTS)
    sizes = {name: Image.open(folder / "prints" / name).size for name in PRINTS}
    assert sizes["a--x.png"] == (64, 48) and sizes["trip/b--y.png"] == (40, 64)


def test_every_line_of_json_parses_and_the_last_is_the_summary(batch):
    _, run = batch
    summary = run.records[-1]
    assert summary == {
        "event": "summary",
        "done": 4,
        "skipped": 0,
        "left": 0,
        "failed": [],
        "look_at": [],
    } | {name: summary[name] for name in ("seconds", "pictures_per_hour", "devices_busy")}
    assert summary["pictures_per_hour"] == pytest.approx(4 / summary["seconds"] * 3600, rel=0.01)
    assert 0 < summary["devices_busy"] <= 1
    assert [len(run.of(event)) for event in ("started", "progress", "done", "summary")] == [4, 4 * 36, 4, 1]
    assert {record["output"] for record in run.of("done")} == {f"prints/{name}" for name in PRINTS}
    assert [record["style"] for record in run.of("done")] == ["x", "x", "y", "y"]  # a style at a time
    assert "4 done" in run.err


def test_nothing_is_left_behind_but_prints_and_the_ledger(batch):
    folder, _ = batch
    assert sorted(os.listdir(folder / "prints" / ".render")) in (
        ["ledger.sqlite", "lock"],
        ["checkpoints", "ledger.sqlite", "lock"],
    )
    assert list((folder / "prints").rglob("*.part")) == [] == list((folder / "prints").rglob("*.safetensors"))
    assert {row["status"] for row in rows(folder / "prints").values()} == {"done"}


def test_a_print_tells_how_it_was_made(batch):
    folder, run = batch
    facts = print_file.read_provenance(folder / "prints" / "trip" / "b--x.png")
    assert facts["job"] == rows(folder / "prints")["trip/b--x.png"]["id"]
    assert (facts["photo"], facts["style"]["title"]) == ("b.jpg", "Blots")
    assert (facts["settings"]["size_px"], facts["settings"]["quality"]) == (64, "draft")
    (done,) = [record for record in run.of("done") if record["output"].endswith("b--x.png")]
    assert facts["loss"] == done["loss"]


def test_a_rerun_does_nothing(finished, here):
    before = snapshot(finished / "photos") | written(finished / "prints")
    run = here(*BATCH, cwd=finished)
    assert run.status == 0
    assert snapshot(finished / "photos") | written(finished / "prints") == before
    assert "0 done, 4 finished earlier" in run.err
    assert run.out == ""  # standard output is --json's


@pytest.mark.usefixtures("few_iterations")
def test_only_what_is_missing_or_changed_is_rendered_again(finished, here):
    prints = finished / "prints"
    before = written(prints)
    (prints / "a--y.png").unlink()
    (prints / "a--x.png").write_bytes((prints / "a--x.png").read_bytes()[:1000])
    save_photo(finished / "photos" / "c.png", seed=2)
    run = here(*BATCH, "--json", cwd=finished)
    assert newer(prints, before) == {"a--x.png", "a--y.png", "c--x.png", "c--y.png"}
    assert (run.status, run.records[-1]["done"], run.records[-1]["skipped"]) == (0, 4, 2)
    images.read(prints / "a--x.png")


@pytest.mark.usefixtures("few_iterations")
def test_a_changed_photo_and_a_changed_preset_are_rendered_again_and_only_they(finished, here):
    prints = finished / "prints"
    before = written(prints)
    save_photo(finished / "photos" / "a.png", seed=3)
    with open(finished / "styles" / "x.toml", "a") as f:
        f.write("[look]\ncontent_weight = 0.5\n")
    run = here(*BATCH, cwd=finished)
    assert newer(prints, before) == {"a--x.png", "a--y.png", "trip/b--x.png"}
    assert "3 done, 1 finished earlier" in run.err


@pytest.mark.usefixtures("few_iterations")
def test_a_changed_setting_makes_a_job_new_and_fresh_renders_it_again(finished, here):
    words = (
        "batch",
        "--inputs",
        "photos/a.png",
        "--styles",
        "styles/x.toml",
        *QUICK,
        "--set",
        "style_weight=3",
    )
    path = finished / "prints" / "a--x.png"
    before, pixels = written(finished / "prints"), images.read(path).pixels
    run = here(*words, cwd=finished)
    assert "1 done in" in run.err and newer(finished / "prints", before) == {"a--x.png"}
    assert not np.array_equal(images.read(path).pixels, pixels)
    before, content = written(finished / "prints"), path.read_bytes()
    run = here(*words, "--fresh", cwd=finished)
    assert "1 done in" in run.err and newer(finished / "prints", before) == {"a--x.png"}
    assert path.read_bytes() == content  # the same job gives the same file


# --- the same pixels ----------------------------------------------------------------------------------------


@pytest.fixture
def two_cores():
    """What is started here has two cores wherever the tests run."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    yield
    os.sched_setaffinity(0, before)


# All of VGG-19 takes a while, and where bfloat16 is emulated minutes; its deep layers are test_objective's.
WHOLE_LOOK = ("--size", 64)
CHEAP_LOOK = (
    "--size",
    32,
    "--set",
    "style_layers={relu1_1=1, relu2_1=1}",
    "--set",
    "content_layers={relu2_1=1}",
)


@pytest.mark.parametrize(
    ("precision", "look"),
    [
        ("float32", CHEAP_LOOK),
        pytest.param("bfloat16", CHEAP_LOOK, marks=pytest.mark.slow),
        pytest.param("float32", WHOLE_LOOK, marks=pytest.mark.slow),
    ],
    ids=["float32", "bfloat16", "all of VGG-19"],
)
def test_the_default_look_gives_the_same_file_by_one_worker_and_by_two(
    batch, cli, two_cores, tmp_path, precision, look
):
    """Every sum of the default loss: by two threads in one process, and by one in
    another."""
    folder, _ = batch
    words = (
        "batch",
        "--inputs",
        "photos/a.png",
        "--styles",
        "styles/x.toml",
        *look,
        "--quality",
        "draft",
        "--device",
        "cpu",
        "--precision",
        precision,
    )
    for workers in (1, 2):
        done = cli(*words, "--output", tmp_path / str(workers), "--workers", workers, cwd=folder)
        assert done.status == 0
    one, two = (tmp_path / str(workers) / "a--x.png" for workers in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_many_jobs_give_the_same_files_by_one_worker_and_by_two(batch, cli, tmp_path):
    folder, _ = batch
    assert cli(*BATCH, "--output", tmp_path, "--workers", 2, cwd=folder).status == 0
    for name in PRINTS:
        assert (tmp_path / name).read_bytes() == (folder / "prints" / name).read_bytes()


def test_a_single_image_is_the_batchs(batch, cli, tmp_path):
    folder, _ = batch
    run = cli(
        "image",
        "photos/trip/b.jpg",
        "styles/x.toml",
        "--output",
        tmp_path / "one.png",
        *QUICK,
        "--json",
        cwd=folder,
    )
    assert run.status == 0 and run.records[-1]["event"] == "done"
    assert (tmp_path / "one.png").read_bytes() == (folder / "prints" / "trip" / "b--x.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes() != (folder / "prints" / "trip" / "b--y.png").read_bytes()
    assert os.listdir(tmp_path) == ["one.png"]


# --- bad input ----------------------------------------------------------------------------------------------


def write_bomb(path: Path) -> None:
    """A small PNG that claims 60 000 x 60 000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


BAD_PHOTOS = {
    "cut.jpg": ("truncated", "Export it again"),
    "empty.jpg": ("is empty (0 bytes)", "copy it again"),
    "text.jpg": ("is not an image", "Export it again"),
    "bomb.png": ("is too large", "Make it smaller"),
    "gone.jpg": ("no such file", "Check the path"),
}
BAD_STYLES = {
    "nosuch": ("no style of that name is shipped", "presets list"),
    "broken.toml": ("is not valid TOML", "Correct that line"),
    "misspelt.toml": ("unknown key 'look.style_wieght'", "Did you mean 'style_weight'?"),
    "lonely.toml": ("style picture 'lost.png' is missing", "Put it at"),
    "torn.jpg": ("truncated", "Export it again"),
}


@pytest.fixture(scope="module")
def half_broken(tmp_path_factory, cli, here):
    """One good photo among bad ones, and one good style among bad ones."""
    folder = tmp_path_factory.mktemp("half_broken")
    photos, styles = folder / "photos", folder / "styles"
    save_photo(photos / "good.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for path in (photos / "cut.jpg", styles / "torn.jpg"):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:3000])
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("These are not the pixels you are looking for.\n" * 20)
    write_bomb(photos / "bomb.png")
    save_painting(styles / "fine.png")
    (styles / "broken.toml").write_text('title = "no end\n')
    (styles / "misspelt.toml").write_text('[[pictures]]\nfile = "fine.png"\n[look]\nstyle_wieght = 2\n')
    (styles / "lonely.toml").write_text('[[pictures]]\nfile = "lost.png"\n')
    words = ("batch", "--inputs", "photos", "gone.jpg", "--styles", "nosuch", "styles", *QUICK)
    return (
        folder,
        here(*words, "--dry-run", cwd=folder),
        cli(*words, "--json", cwd=folder),
        here(*words, cwd=folder),
    )


def test_what_is_good_among_bad_input_is_rendered_and_the_status_is_1(half_broken):
    folder, _, run, again = half_broken
    assert run.status == again.status == 1
    assert prints_in(folder / "prints") == ["good--fine.png"]
    assert (run.records[-1]["done"], run.records[-1]["skipped"]) == (1, 0)
    assert "0 done, 1 finished earlier" in again.err  # finished prints are kept


@pytest.mark.parametrize(("name", "words"), [*BAD_PHOTOS.items(), *BAD_STYLES.items()])
def test_every_bad_file_is_named_with_what_is_wrong_and_the_fix(half_broken, name, words):
    _, _, run, _ = half_broken
    reasons = [failure["why"] for failure in run.records[-1]["failed"] if name in failure["why"]]
    assert reasons
    assert all(word in reason for word in words for reason in reasons)
    assert all(word in run.err for word in words)


def test_the_ledger_tells_the_truth_about_failed_jobs(half_broken):
    folder, _, run, _ = half_broken
    found = rows(folder / "prints")
    assert found["good--fine.png"]["status"] == "done"
    assert {name for name, row in found.items() if row["status"] == "failed"} == {
        "bomb--fine.png",
        "cut--fine.png",
        "text--fine.png",
        "good--torn.png",
        "bomb--torn.png",
        "cut--torn.png",
        "text--torn.png",
    }  # fmt: skip  of an empty photo no job is planned
    assert "truncated" in found["cut--fine.png"]["message"] and "cut.jpg" in found["cut--fine.png"]["message"]
    assert "torn.jpg" in found["good--torn.png"]["message"]


def test_a_dry_run_finds_what_headers_and_presets_show(half_broken):
    folder, dry, _, _ = half_broken
    assert dry.status == 1 and "Nothing was rendered" in dry.out
    for name in (
        "empty.jpg",
        "text.jpg",
        "bomb.png",
        "gone.jpg",
        "nosuch",
        "broken.toml",
        "misspelt.toml",
        "lonely.toml",
    ):
        assert name in dry.out


# --- wrong usage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("paint",), "invalid choice: 'paint'"),
        (("presets",), "COMMAND"),
        (("batch", "--styles", "x.png"), "--inputs"),
        (("batch", "--inputs", "a", "--styles", "x.png", "--size", "0"), "--size 0: must be 1 or more"),
        (
            ("batch", "--inputs", "a", "--styles", "x.png", "--format", "gif"),
            "--format gif: must be one of png | tiff",
        ),
        (
            ("batch", "--inputs", "a", "--styles", "x.png", "--set", "stile_weight=2"),
            "Did you mean 'style_weight'?",
        ),
        (("batch", "--inputs", "a", "--styles", "x.png", "--set", "style_scale=9"), "must be 0.1 to 4"),
        (
            ("batch", "--inputs", "a", "--styles", "x.png", "--stop-at", "25:00"),
            "--stop-at 25:00: is no time of day",
        ),
        (("batch", "--inputs", "a", "--styles", "x.png", "--stop-at", "soon"), "Write it like 07:00"),
        (("batch", "--inputs", "none", "--styles", "x.png"), "none: no pictures there"),
        (("batch", "--inputs", "a", "b", "--styles", "x.png"), "would be written by two jobs"),
        (("batch", "--inputs", "a", "--styles", "x.png", "--output", "file"), "Choose another --output"),
        (
            ("image", "a/p.jpg", "x.png", "--output", "print.gif"),
            "no picture format has the file extension '.gif'",
        ),
    ],
)
def test_wrong_usage_is_refused_with_status_2_before_any_work(here, tmp_path, words, message):
    for name in ("a/p.jpg", "b/p.png"):
        save_photo(tmp_path / name)
    save_painting(tmp_path / "x.png")
    (tmp_path / "none").mkdir()
    (tmp_path / "file").touch()
    before = snapshot(tmp_path)
    run = here(*words, cwd=tmp_path)
    assert run.status == 2, run.err
    assert message in run.err
    assert snapshot(tmp_path) == before


def test_a_second_batch_in_the_same_output_folder_is_refused(finished, here):
    first = Ledger(finished / "prints")  # as any batch holds it
    run = here(*BATCH, "--fresh", cwd=finished)
    assert run.status == 2
    assert "another batch is rendering there" in run.err
    first.close()


def test_a_missing_photo_of_a_single_image_is_named(here, tmp_path, painting):
    run = here("image", "gone.jpg", painting, "--output", "print.png", cwd=tmp_path)
    assert run.status == 1 and "gone.jpg: no such file" in run.err
    assert not (tmp_path / "print.png").exists()


# --- a dry run ----------------------------------------------------------------------------------------------


def test_a_dry_run_names_every_job_and_writes_nothing(batch, here, tmp_path):
    folder, _ = batch
    shutil.copytree(folder / "photos", tmp_path / "photos")
    shutil.copytree(folder / "styles", tmp_path / "styles")
    before = snapshot(tmp_path)
    run = here(*BATCH, "--size", 600, "--dry-run", cwd=tmp_path)
    assert run.status == 0
    assert snapshot(tmp_path) == before
    lines = [line for line in run.out.splitlines() if line.startswith("prints/")]
    assert sorted(line.split()[0] for line in lines) == [f"prints/{name}" for name in PRINTS]
    for line in lines:
        assert "256x36, 600x18" in line or "256x36, 512x18, 600x12" in line
        assert "GiB" in line and (" s " in line or " min " in line)
    assert "4 to render, 0 finished earlier" in run.out


def test_a_dry_run_knows_what_is_finished_and_touches_none_of_it(finished, here):
    (finished / "prints" / "a--y.png").unlink()
    before = snapshot(finished)
    run = here(*BATCH, "--dry-run", "--json", cwd=finished)
    assert snapshot(finished) == before
    (job,) = run.of("planned")
    assert job["output"] == "prints/a--y.png" and job["warning"] is None
    (scale,) = job["scales"]
    assert (scale["size"], scale["iterations"], scale["tiles"], scale["optimiser"]) == (
        [48, 64],
        36,
        1,
        "lbfgs",
    )
    assert job["seconds"] >= 0 and job["memory_bytes"] > 1e8
    assert run.records[-1]["event"] == "plan" and (run.records[-1]["jobs"], run.records[-1]["skipped"]) == (
        1,
        3,
    )


# --- interrupted --------------------------------------------------------------------------------------------

TWO_SCALES = (
    "--size",
    "336",
    "--quality",
    "draft",
    "--device",
    "cpu",
    *(word for key in SHALLOW for word in ("--set", key)),
)


@pytest.fixture(scope="module")
def strips(tmp_path_factory, here):
    """Two narrow photos (few pixels, two scales), and the second one's uninterrupted print."""
    folder = tmp_path_factory.mktemp("strips")
    for seed, name in enumerate("ab"):
        save_photo(folder / "photos" / f"{name}.png", size=(16, 200), seed=seed)
    save_painting(folder / "x.png")
    assert (
        here("image", "photos/b.png", "x.png", "--output", "whole.png", *TWO_SCALES, cwd=folder).status == 0
    )
    return folder


def stop(
    process: subprocess.Popen, with_signal: signal.Signals, *, when, group=False
) -> tuple[list[str], str]:
    """Sends a signal as soon as a line of output says so. The lines of standard output, and standard
    error."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if when(line):
            (os.killpg if group else os.kill)(process.pid, with_signal)
            break
    rest, errors = process.communicate(timeout=120)
    return lines + rest.splitlines(keepends=True), errors


def nobody_is_left(group: int) -> bool:
    """Whether the process group is empty, or soon is: Python's resource tracker sees a moment later that all
    is over."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def in_the_second_scale_of_b(line: str) -> bool:
    return "b.png" in line and '"scale": 2' in line and '"iteration": 3,' in line


@pytest.mark.parametrize(
    ("with_signal", "status"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_a_stopped_batch_keeps_what_is_finished_and_goes_on_from_the_last_scale(
    strips, here, tmp_path, with_signal, status
):
    words = (
        "batch",
        "--inputs",
        "photos",
        "--styles",
        "x.png",
        "--output",
        tmp_path / "prints",
        *TWO_SCALES,
        "--json",
    )
    process = start(*words, cwd=strips)
    lines, errors = stop(process, with_signal, when=in_the_second_scale_of_b)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    assert prints_in(tmp_path / "prints") == ["a--x.png"]
    assert {name: row["status"] for name, row in rows(tmp_path / "prints").items()} == {
        "a--x.png": "done",
        "b--x.png": "running",
    }
    if status == 130:
        assert '"event": "summary", "done": 1' in lines[-1]
        assert "run the same command again to go on" in errors

    again = here(*words, cwd=strips)
    assert again.status == 0 and (again.records[-1]["done"], again.records[-1]["skipped"]) == (1, 1)
    assert {step["scale"] for step in again.of("progress")} == {2}
    assert len(again.of("progress")) == 18  # of 36 + 18
    assert (tmp_path / "prints" / "b--x.png").read_bytes() == (strips / "whole.png").read_bytes()
    assert (
        list((tmp_path / "prints").rglob("*.safetensors"))
        == []
        == list((tmp_path / "prints").rglob("*.part"))
    )


# --- overnight ----------------------------------------------------------------------------------------------


def notice_in(folder: Path) -> dict:
    return json.loads((folder / "notice.json").read_text())


@pytest.mark.usefixtures("few_iterations")
def test_a_batch_past_its_deadline_leaves_the_rest_to_the_next_run(finished, here):
    (finished / "prints" / "a--y.png").unlink()
    before = written(finished / "prints")
    late = here(*BATCH, "--stop-at", "0.001s", "--notify", "cat > notice.json", "--json", cwd=finished)
    assert late.status == 0 and written(finished / "prints") == before
    assert (late.records[-1]["done"], late.records[-1]["skipped"], late.records[-1]["left"]) == (0, 3, 1)
    assert "1 left for the next run" in late.err and "no job is started after" in late.err
    assert (notice_in(finished)["left"], notice_in(finished)["exit_status"]) == (1, 0)
    again = here(*BATCH, "--stop-at", "8h", cwd=finished)
    assert again.status == 0 and newer(finished / "prints", before) == {"a--y.png"}


def test_the_command_to_notify_hears_of_failures_and_changes_nothing(finished, here):
    words = (*BATCH, "--inputs", "photos", "gone.jpg", "--json")
    run = here(*words, "--notify", "tee notice.json; exit 7", cwd=finished)
    assert run.status == 1 and "--notify tee notice.json; exit 7: ended with status 7" in run.err
    assert run.records[-1]["event"] == "summary"  # what the command prints is elsewhere
    record = notice_in(finished)
    assert (record["exit_status"], record["interrupted"], record["output"]) == (1, False, "prints")
    assert "gone.jpg" in record["failed"][0]["why"]


def test_nobody_is_notified_of_nothing(finished, here):
    for words in ((), ("--dry-run", "--fresh"), ("--size", "0")):
        here(*BATCH, *words, "--notify", "touch notice.json", cwd=finished)
        assert not (finished / "notice.json").exists()


def test_an_interrupted_batch_notifies_too(strips, tmp_path):
    words = (
        "batch",
        "--inputs",
        "photos",
        "--styles",
        "x.png",
        "--output",
        tmp_path / "prints",
        *TWO_SCALES,
        "--json",
    )
    process = start(*words, "--notify", f"cat > {tmp_path}/notice.json", cwd=strips)
    _, errors = stop(process, signal.SIGINT, when=in_the_second_scale_of_b, group=True)
    assert process.returncode == 130, errors
    record = notice_in(tmp_path)
    assert (record["done"], record["left"], record["exit_status"], record["interrupted"]) == (1, 1, 130, True)


def test_ctrl_c_at_a_terminal_ends_the_workers_too(strips, tmp_path):
    words = (
        "batch",
        "--inputs",
        "photos",
        "--styles",
        "x.png",
        "--output",
        tmp_path / "prints",
        *TWO_SCALES,
        "--json",
        "--workers",
        2,
    )
    process = start(*words, cwd=strips)
    _, errors = stop(process, signal.SIGINT, when=lambda line: '"progress"' in line, group=True)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert nobody_is_left(process.pid)
    assert list((tmp_path / "prints").rglob("*.part")) == []


def test_a_reader_that_goes_away_is_no_crash(finished):
    """`render ... | head`"""
    process = start(*BATCH, "--json", "--fresh", cwd=finished)
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=120) == 1
    assert "Traceback" not in errors


# --- the other commands -------------------------------------------------------------------------------------


def test_presets_are_listed_shown_and_checked(batch, here):
    folder, _ = batch
    listed = here("presets", "list", "styles", cwd=folder)
    assert listed.status == 0 and "x" in listed.out and "Blots" in listed.out
    shown = here("presets", "show", "styles/x.toml", cwd=folder)
    assert (
        shown.status == 0 and "Blots" in shown.out and "content_weight" in shown.out and "x.png" in shown.out
    )
    checked = here("presets", "check", "styles", cwd=folder)
    assert checked.status == 0 and "ok  x: 80x60 px" in checked.out and "ok  y: 80x60 px" in checked.out
    assert here("presets", "list", cwd=folder).status == 0


def test_checking_broken_presets_names_each_and_fails(half_broken, here):
    folder, *_ = half_broken
    run = here("presets", "check", "styles", cwd=folder)
    assert run.status == 1 and "ok  fine: 80x60 px" in run.out
    for name in ("broken.toml", "misspelt.toml", "lonely.toml", "torn.jpg"):
        assert name in run.err and name not in run.out


def test_a_picture_becomes_a_preset_that_can_be_shown(here, tmp_path, painting):
    run = here(
        "presets",
        "add",
        painting,
        "--name",
        "harbour",
        "--title",
        "Harbour at dusk",
        "--folder",
        "mine",
        cwd=tmp_path,
    )
    assert run.status == 0 and "mine/harbour.toml" in run.out
    assert "Harbour at dusk" in here("presets", "show", "mine/harbour.toml", cwd=tmp_path).out
    again = here("presets", "add", painting, "--name", "harbour", "--folder", "mine", cwd=tmp_path)
    assert again.status == 1 and "exists already" in again.err


def test_every_key_of_a_look_is_listed_with_range_and_default(here, tmp_path):
    run = here("presets", "keys", cwd=tmp_path)
    assert run.status == 0
    assert "style_scale = 1.0   0.1 to 4" in run.out and 'optimiser = "lbfgs"   lbfgs | adam | sgd' in run.out


@pytest.mark.network
def test_the_doctor_finds_this_machine_ready(here, tmp_path):
    run = here("doctor", cwd=tmp_path)
    assert run.status == 0
    assert (
        "verdict" in run.out
        and "ready" in run.out
        and "verified, network runs" in run.out
        and "PROBLEM" not in run.out
    )


def imported_by(*words: str, cwd: Path) -> set[str]:
    """Top-level packages that the program imports to answer."""
    python, *module = PROGRAM
    done = subprocess.run(
        [python, "-X", "importtime", *module, *words], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = [
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    ]
    return {name.split(".")[0] for name in names}


HEAVY = {"torch", "ray", "cv2", "numpy", "PIL", "rich"}


@pytest.mark.parametrize("words", [(), ("--help",), ("--version",), ("presets", "add", "--help")])
def test_help_answers_without_importing_anything_heavy(words, tmp_path):
    assert imported_by(*words, cwd=tmp_path).isdisjoint(HEAVY | {"pydantic"})


@pytest.mark.parametrize("words", [("batch", "--help"), ("submit", "--help"), ("recolor", "--help")])
def test_the_help_of_a_command_with_settings_imports_what_defines_them_alone(words, tmp_path):
    assert imported_by(*words, cwd=tmp_path).isdisjoint(HEAVY)


def test_the_bare_command_welcomes_with_three_commands_that_exist(cli, tmp_path):
    run = cli(cwd=tmp_path)
    assert (run.status, run.err) == (0, "") and len(run.out.splitlines()) < 12
    lines = [line.split() for line in run.out.splitlines() if line.startswith("      render ")]
    assert [line[1] for line in lines] == ["doctor", "image", "batch"]
    for line in lines:
        assert main.parser().parse_args(line[1:]).command  # the options of each are right


def test_what_the_reader_of_a_help_pastes_is_accepted():
    def all_of(parser):
        return [parser.complete(), *(deep for child in parser.commands.values() for deep in all_of(child))]

    examples = [line for parser in all_of(main.parser()) for line in parser.example.splitlines()]
    examples += [line for line in main.EXAMPLES.splitlines() if line.strip().startswith("render")]
    assert len(examples) > 20
    for line in examples:
        assert main.parser().parse_args(shlex.split(line)[1:]).command, line


def test_heavy_imports_would_be_seen(batch):
    assert {"cv2", "pydantic"} <= imported_by("presets", "list", "styles", cwd=batch[0])


def test_the_console_command_is_the_same_program(tmp_path):
    command = Path(sys.executable).with_name("render")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (
        done.returncode == 0
        and done.stdout
        == subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, cwd=tmp_path).stdout
    )


@pytest.mark.parametrize("output", ["photo.png", "painting.png"])
def test_an_output_that_is_one_of_the_sources_is_refused(here, tmp_path, photo, painting, output):
    before = (tmp_path / output).read_bytes()
    done = here("image", "photo.png", "painting.png", "--output", output, *QUICK, cwd=tmp_path)
    assert done.status == 2 and output in done.err and "another --output" in done.err
    assert (tmp_path / output).read_bytes() == before
