"""Nothing of the user's is written over, and no print is taken for a photograph."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from helpers.pictures import save_painting, save_photo
from helpers.program import CHEAP
from render.jobs.ledger import Ledger
from render.pictures import images, print_file

SMALL = ("--size", "32", *CHEAP)


def contents(folder: str) -> dict[str, bytes]:
    return {
        path.as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and ".render" not in path.parts
    }


@pytest.fixture
def render(program, files_are_read_anew, few_iterations):
    """render(*words): (status, standard output and error together) of a batch or image with a small, cheap
    look."""

    def run(*words):
        status, out, err = program(*words, *SMALL)
        return status, out + err

    return run


@pytest.fixture
def named_alike(folder):
    """A photograph that is called what the print of another one is going to be called."""
    save_photo(Path("d1/a.png"))
    save_photo(Path("d1/a--x.png"), seed=1)
    return contents("d1") | contents("x.png")


# --- sources ------------------------------------------------------------------------------------------------


def test_a_print_that_would_replace_a_photograph_of_the_batch_is_refused_before_any_work(named_alike, render):
    status, said = render(
        "batch", "--styles", "x.png", "--inputs", "d1/a.png", "d1/a--x.png", "--output", "d1"
    )
    assert status == 2 and "d1/a--x.png" in said and "Choose another --output" in said
    assert contents("d1") == named_alike


def test_a_print_that_would_replace_a_style_picture_is_refused(folder, render):
    save_painting(Path("d1/a--x.png"))
    shutil.copy("x.png", "d1/x.png")
    save_photo(Path("d1/a.png"))
    before = contents("d1")
    status, said = render(
        "batch",
        "--styles",
        "d1/x.png",
        "d1/a--x.png",
        "--inputs",
        "d1/a.png",
        "--output",
        "d1",
        "--overwrite",
    )
    assert status == 2 and "d1/a--x.png" in said
    assert contents("d1") == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_source_is_recognised_by_whatever_name_it_has(named_alike, render, link):
    os.mkdir("prints")
    link(os.path.abspath("d1/a--x.png"), "prints/a--x.png")
    status, said = render("batch", "--styles", "x.png", "--inputs", "d1", "--output", "prints", "--overwrite")
    assert status == 2 and "prints/a--x.png" in said
    assert contents("d1") == named_alike


def test_an_output_folder_that_is_a_link_to_the_photographs_is_recognised(named_alike, render):
    os.symlink("d1", "prints")
    status, _ = render(
        "batch", "--styles", "x.png", "--inputs", "d1/a.png", "d1/a--x.png", "--output", "prints", "--fresh"
    )
    assert status == 2 and contents("d1") == named_alike


def test_a_single_picture_and_its_preview_replace_no_source_either(folder, render, tmp_path):
    from helpers.profiles import printer_profile

    Path("press.icc").write_bytes(printer_profile())
    shutil.copy("photos/a.png", "p.proof.png")
    before = contents(".")
    for output, words in (("photos/a.png", ()), ("x.png", ()), ("p.png", ("--soft-proof", "press.icc"))):
        status, said = render(
            "image",
            "p.proof.png" if words else "photos/a.png",
            "x.png",
            "--output",
            output,
            "--overwrite",
            *words,
        )
        assert status == 2 and "would replace" in said
    assert contents(".") == before


@pytest.mark.network
def test_the_preview_of_one_print_is_not_another_print(folder, render):
    from helpers.profiles import printer_profile

    Path("press.icc").write_bytes(printer_profile())
    shutil.copy("x.png", "x.proof.png")
    words = ("batch", "--styles", "x.png", "x.proof.png", "--inputs", "photos")
    status, said = render(*words, "--soft-proof", "press.icc")
    assert (
        status == 2 and "a--x.proof.png would be written by two jobs" in said and not Path("prints").exists()
    )
    assert render(*words)[0] == 0  # without a preview there is nothing to collide with


# --- what is there already ----------------------------------------------------------------------------------


@pytest.mark.network
def test_a_file_that_no_batch_made_stays_and_the_other_prints_are_made(folder, render):
    save_photo(Path("photos/b.png"), seed=1)
    mine = save_photo(Path("prints/a--x.png"), seed=2).read_bytes()
    for _ in range(2):  # that it failed once does not make it ours
        status, said = render("batch", "--styles", "x.png", "--inputs", "photos")
        assert status == 1 and "prints/a--x.png" in said and "--overwrite" in said
        assert (
            Path("prints/a--x.png").read_bytes() == mine
            and print_file.read_provenance("prints/b--x.png") is not None
        )


@pytest.mark.network
@pytest.mark.parametrize("word", ["--overwrite", "--fresh"])
def test_it_is_replaced_by_who_says_so(folder, render, word):
    save_photo(Path("prints/a--x.png"), seed=2)
    assert render("batch", "--styles", "x.png", "--inputs", "photos", word)[0] == 0
    assert print_file.read_provenance("prints/a--x.png") is not None


def test_a_dry_run_says_so_too(folder, render):
    save_photo(Path("prints/a--x.png"), seed=2)
    status, said = render("batch", "--styles", "x.png", "--inputs", "photos", "--dry-run")
    assert status == 1 and "cannot run" in said and "--overwrite" in said


@pytest.mark.network
def test_without_its_ledger_a_folder_of_prints_is_still_done(folder, render):
    render("batch", "--styles", "x.png", "--inputs", "photos")
    before = contents("prints")
    shutil.rmtree("prints/.render")
    status, said = render("batch", "--styles", "x.png", "--inputs", "photos")
    assert status == 0 and "1 finished earlier" in said and contents("prints") == before
    ledger = Ledger.peek(Path("prints"))
    (row,) = ledger.rows()
    ledger.close()
    assert row["status"] == "done" and row["bytes"] == len(before["prints/a--x.png"]) and row["loss"] > 0


@pytest.mark.network
def test_a_print_that_was_made_before_its_worker_died_is_done_and_nothing_is_kept_of_its_making(
    folder, render
):
    words = ("batch", "--styles", "x.png", "--inputs", "photos")
    render(*words)
    (facts,) = [print_file.read_provenance("prints/a--x.png")]
    kept = Path("prints/.render/checkpoints", f"{facts['painted']}.safetensors")
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"as if killed between writing the print and letting go of this")
    with sqlite3.connect("prints/.render/ledger.sqlite") as db:
        db.execute("update jobs set status = 'failed', message = 'its worker was killed', bytes = null")
    status, said = render(*words)
    assert status == 0 and "1 finished earlier" in said and not kept.exists()


@pytest.mark.network
def test_without_its_ledger_a_print_of_another_look_or_one_cut_short_stays(folder, render):
    save_photo(Path("photos/b.png"), seed=1)
    render("batch", "--styles", "x.png", "--inputs", "photos")
    shutil.rmtree("prints/.render")
    whole = Path("prints/b--x.png").read_bytes()
    Path("prints/b--x.png").write_bytes(whole[:-200])
    before = contents("prints")
    status, said = render("batch", "--styles", "x.png", "--inputs", "photos", "--set", "tv_weight=2")
    assert status == 1 and contents("prints") == before
    status, said = render("batch", "--styles", "x.png", "--inputs", "photos")
    assert (
        status == 1
        and "prints/b--x.png" in said
        and "1 finished earlier" in said
        and contents("prints") == before
    )


@pytest.mark.network
def test_the_ledgers_own_prints_are_replaced_when_a_setting_changes(folder, render):
    render("batch", "--styles", "x.png", "--inputs", "photos")
    before = contents("prints")
    assert render("batch", "--styles", "x.png", "--inputs", "photos", "--set", "tv_weight=2")[0] == 0
    assert contents("prints") != before


@pytest.mark.network
def test_a_preview_takes_no_other_files_place(folder, render):
    from helpers.profiles import printer_profile

    Path("press.icc").write_bytes(printer_profile())
    render("batch", "--styles", "x.png", "--inputs", "photos")
    mine = save_photo(Path("prints/a--x.proof.png"), seed=2).read_bytes()
    words = ("batch", "--styles", "x.png", "--inputs", "photos", "--soft-proof", "press.icc")
    status, said = render(*words)
    assert status == 1 and "a--x.proof.png" in said and Path("prints/a--x.proof.png").read_bytes() == mine
    os.remove("prints/a--x.proof.png")
    assert render(*words)[0] == 0 and render(*words, "--set", "tv_weight=2")[0] == 0  # its own it may replace


@pytest.mark.network
def test_a_single_picture_replaces_only_an_earlier_try(folder, render):
    mine = save_photo(Path("p.png"), seed=2).read_bytes()
    status, said = render("image", "photos/a.png", "x.png", "--output", "p.png")
    assert status == 2 and "--overwrite" in said and Path("p.png").read_bytes() == mine
    assert render("image", "photos/a.png", "x.png", "--output", "p.png", "--overwrite")[0] == 0
    assert render("image", "photos/a.png", "x.png", "--output", "p.png", "--set", "tv_weight=2")[0] == 0
    save_photo(Path("photos/b.png"), seed=1)
    assert render("image", "photos/b.png", "x.png", "--output", "p.png")[0] == 2


# --- yesterday's prints -------------------------------------------------------------------------------------


@pytest.mark.network
def test_prints_of_the_output_folder_are_no_photographs_also_through_a_glob(folder, render):
    words = ("batch", "--styles", "x.png", "--inputs", "photos/*.png", "--output", "photos")
    assert render(*words)[0] == 0
    before = contents("photos")
    status, said = render(*words)
    assert status == 0 and contents("photos") == before
    assert said.count("photos/a--x.png") == 1 and "1 of --inputs are prints" in said
    status, said = render("batch", "--styles", "x.png", "--inputs", "photos/a--x.png", "--output", "photos")
    assert status == 2 and "no photographs" in said


@pytest.mark.network
def test_a_print_whose_recipe_is_lost_is_known_by_the_ledger(folder, render):
    words = ("batch", "--styles", "x.png", "--inputs", "photos/*.png", "--output", "photos")
    render(*words)
    save_photo(Path("photos/a--x.png"))
    assert print_file.read_provenance("photos/a--x.png") is None
    _, said = render(*words, "--dry-run")
    assert "1 of --inputs are prints" in said


@pytest.mark.network
def test_a_print_is_a_photograph_for_another_output_folder(folder, render):
    render("batch", "--styles", "x.png", "--inputs", "photos")
    assert render("batch", "--styles", "x.png", "--inputs", "prints/*.png", "--output", "again")[0] == 0
    assert [*contents("again")] == ["again/a--x--x.png"]


# --- what is recorded is what is shown ----------------------------------------------------------------------


@pytest.mark.network
def test_a_photograph_that_changes_during_the_batch_fails_and_the_next_run_shows_it(
    folder, render, monkeypatch
):
    from render.runners import local

    before, attempt = Path("photos/a.png").read_bytes(), local.attempt

    def edited_meanwhile(*arguments):
        save_photo(Path("photos/a.png"), seed=3)
        return attempt(*arguments)

    monkeypatch.setattr(local, "attempt", edited_meanwhile)
    status, said = render("batch", "--styles", "x.png", "--inputs", "photos")
    assert status == 1 and "photos/a.png: has changed" in said and not Path("prints/a--x.png").exists()
    monkeypatch.setattr(local, "attempt", attempt)
    jobs_anew()
    assert render("batch", "--styles", "x.png", "--inputs", "photos")[0] == 0
    Path("photos/a.png").write_bytes(before)
    jobs_anew()
    status, said = render("batch", "--styles", "x.png", "--inputs", "photos")
    assert status == 0 and "1 done" in said and "finished earlier" not in said


@pytest.mark.network
@pytest.mark.parametrize("which", ["x.png", "start.png", "press.icc"])
def test_so_does_a_job_any_of_whose_other_files_changes(folder, render, monkeypatch, which):
    from helpers.profiles import printer_profile
    from render.runners import local

    attempt = local.attempt
    save_photo(Path("start.png"), seed=1)
    Path("press.icc").write_bytes(printer_profile())

    def edited_meanwhile(*arguments):
        if which == "press.icc":
            Path(which).write_bytes(printer_profile(b"CMYK"))
        else:
            save_painting(Path(which), seed=3)
        return attempt(*arguments)

    monkeypatch.setattr(local, "attempt", edited_meanwhile)
    status, said = render(
        "batch",
        "--styles",
        "x.png",
        "--inputs",
        "photos",
        "--set",
        "init=start.png",
        "--soft-proof",
        "press.icc",
    )
    assert status == 1 and f"{which}: has changed" in said.replace(str(folder) + "/", "")


def jobs_anew() -> None:
    from render.jobs import job

    job.sha256.cache_clear()


# --- names that are no text ---------------------------------------------------------------------------------


@pytest.mark.network
def test_a_file_name_that_is_not_utf_8_is_a_name_like_any_other(folder, cli):
    os.rename(b"photos/a.png", b"photos/a\xff\xe9.png")
    save_photo(Path("photos/b.png"), seed=1)
    words = ("batch", "--styles", "x.png", "--inputs", "photos", "--json", *SMALL)
    done = cli(*words, cwd=folder)
    assert done.status == 0, done.err
    assert sorted(os.listdir(b"prints")) == [b".render", b"a\xff\xe9--x.png", b"b--x.png"]
    outputs = {os.fsencode(record["output"]) for record in done.of("done")}
    assert outputs == {b"prints/a\xff\xe9--x.png", b"prints/b--x.png"}
    (summary,) = cli(*words, cwd=folder).of("summary")
    assert summary["skipped"] == 2
    with sqlite3.connect("prints/.render/ledger.sqlite") as db:
        db.text_factory = bytes
        assert {row[0] for row in db.execute("select output from jobs")} == {b"a\xff\xe9--x.png", b"b--x.png"}
    assert cli("status", "prints", cwd=folder).status == 0
    assert cli("recolor", "prints", "--color", "luminance", cwd=folder).status == 0


@pytest.mark.network
@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
    ],
)
def test_names_of_another_alphabet_need_no_locale(folder, cli, monkeypatch, locale):
    os.rename("photos/a.png", "photos/Žižkov 夜.png")
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    for skipped in (0, 1):
        done = cli("batch", "--styles", "x.png", "--inputs", "photos", *SMALL, cwd=folder)
        assert done.status == 0, done.err
        assert ("1 finished earlier" in done.err) == bool(skipped)
    assert "Žižkov 夜--x.png".encode() in os.listdir(b"prints")
    assert cli("status", "prints", cwd=folder).status == 0


# --- what is no file ----------------------------------------------------------------------------------------


@pytest.mark.network
@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), lambda path: os.mkdir(path)]
)
def test_what_is_no_file_fails_and_the_batch_goes_on(folder, render, make):
    make("photos/b.png")
    make("y.png")
    status, said = render("batch", "--styles", "x.png", "y.png", "--inputs", "photos/a.png", "photos/b.png")
    assert status in (0, 1) and Path("prints/a--x.png").is_file()
    if Path("photos/b.png").exists() and not Path("photos/b.png").is_dir():
        assert status == 1 and "photos/b.png: is not a regular file" in said


@pytest.mark.network
def test_a_huge_file_is_refused_by_its_size_and_not_read(folder, render, monkeypatch):
    with open("photos/b.png", "wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)  # takes no room
    status, said = render("batch", "--styles", "x.png", "--inputs", "photos")
    assert status == 1 and "photos/b.png: is too large" in said and Path("prints/a--x.png").is_file()


# --- other commands -----------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    import torch

    from render.gan.architectures import ARCHITECTURES
    from render.gan.data import Data
    from render.gan.training import Recipe, Training
    from render.network.device import choose

    data = Data(torch.zeros(4, 1, 28, 28, dtype=torch.uint8), "black")
    training = Training(Recipe.of(ARCHITECTURES["fc"]), data, choose("cpu"), tmp_path / "gan.safetensors")
    training.save()
    return tmp_path / "gan.safetensors"


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        ("samples/000001.png", ("--count", "3", "--output", "samples")),
        ("samples/samples.npz", ("--count", "3", "--output", "samples", "--format", "npz")),
        ("grid.png", ("--count", "4", "--format", "grid", "--output", "grid.png")),
        ("grid.png", ("--interpolate", "0", "1", "--output", "grid.png")),
    ],
)
def test_samples_replace_no_file_that_is_not_theirs(checkpoint, folder, program, mine, words):
    Path(mine).parent.mkdir(exist_ok=True)
    Path(mine).write_text("mine")
    status, _, said = program("gan", "sample", checkpoint, *words)
    assert status == 2 and mine in said and "--fresh" in said and Path(mine).read_text() == "mine"
    assert program("gan", "sample", checkpoint, *words, "--fresh")[0] == 0
    assert Path(mine).read_bytes() != b"mine"


def test_more_samples_than_last_time_go_into_the_same_folder(checkpoint, folder, program):
    for count in ("3", "5"):
        assert program("gan", "sample", checkpoint, "--count", count, "--output", "samples")[0] == 0
    assert len(list(Path("samples").glob("*.png"))) == 5


def test_a_training_replaces_no_pictures_that_are_not_its_own(folder, program):
    Path("mine").mkdir()
    Path("mine/losses.png").write_text("mine")
    status, _, said = program(
        "gan", "train", "--data", "photos", "--crop", "centre", "--size", "32", "--output", "mine"
    )
    assert status == 2 and "mine/losses.png" in said and Path("mine/losses.png").read_text() == "mine"


def test_prints_that_are_fetched_replace_no_file_that_is_no_print(tmp_path):
    from render.distributed.follow import receive
    from render.errors import RenderError

    (tmp_path / "a--x.png").write_text("mine")
    with pytest.raises(RenderError, match=r"a--x\.png: is there already and is no print"):
        list(receive([{"event": "print", "path": "a--x.png", "bytes": 3, "sha256": ""}], tmp_path))
    assert (tmp_path / "a--x.png").read_text() == "mine"


def test_reading_a_small_file_needs_little_memory_whatever_it_might_have_been(photo):
    import tracemalloc

    tracemalloc.start()
    images.load(photo)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10 * photo.stat().st_size + 2**20


def test_a_file_that_grows_while_it_is_read_is_told_to_be_unfinished(photo, monkeypatch):
    from render.errors import PictureError
    from render.system import files

    check = files._check_size

    def grow(*words):
        check(*words)
        with open(photo, "ab") as file:
            file.write(b"more")

    monkeypatch.setattr(files, "_check_size", grow)
    with pytest.raises(PictureError, match=r"photo\.png: is still being written"):
        images.load(photo)
