"""What the options for paper, colors, files and memory do, from the command line to the file.

The real program in this process, with the real network's first layer: a print takes a fraction of a second.
"""

import json
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.limits import small_disk
from helpers.pictures import photo_pixels, save, save_photo
from helpers.profiles import printer_profile
from helpers.program import CHEAP, CHEAP_BATCH
from render.jobs import job, schedule
from render.network import device
from render.pictures import icc, images, print_file

pytestmark = pytest.mark.usefixtures("files_are_read_anew", "few_iterations")
PAPER = ("--print", "6x4cm", "--dpi", "100", "--bleed", "2mm")


def shown(path) -> np.ndarray:
    return images.read(path).pixels


def ledger_rows(output="prints") -> list[dict]:
    db = sqlite3.connect(Path(output, ".render", "ledger.sqlite"))
    db.row_factory = sqlite3.Row
    found = [dict(row) for row in db.execute("select * from jobs order by output")]
    db.close()
    return found


# --- paper --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "tolerance"), [("png", 0), ("tiff", 0), ("jpeg", 0.12)])
def test_paper_with_bleed_gives_exactly_its_pixels_dpi_and_white_border(folder, batch, format, tolerance):
    _, status = batch(*PAPER, "--fit", "pad", "--format", format)
    path = Path("prints/a--x").with_suffix(print_file.FORMATS[format].extensions[0])
    assert status == 0
    # 64 x 44 mm with bleed; the whole 4:3 photo in the trimmed 60 x 40 mm: 40 mm high, in the middle.
    with Image.open(path) as image:
        assert image.size == (252, 173)
        assert tuple(round(float(value), 1) for value in image.info["dpi"]) == (100, 100)
        assert image.getexif()[282] == image.getexif()[283] == 100
    sheet = shown(path)
    top, left, height, width = 8, 21, 157, 209
    border = np.ones((173, 252), bool)
    border[top : top + height, left : left + width] = False
    assert sheet[border].min() >= 1 - tolerance
    inside = sheet[top : top + height, left : left + width]
    assert all(line.mean() < 0.85 for line in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_fill_crops_the_photo_to_the_whole_sheet(folder, batch):
    save_photo(Path("photos/a.png"), size=(64, 64))
    batch(*PAPER, "--fit", "fill", "--set", "style_weight=0")  # the photo's content alone
    found = shown("prints/a--x.png")
    assert found.shape == (173, 252, 3)
    cut = photo_pixels((64, 64))[10:54] / np.float32(255)  # 44 of 64 rows, in the middle
    whole = images.resize(photo_pixels((64, 64)) / np.float32(255), found.shape[:2])
    assert np.abs(found - images.resize(cut, found.shape[:2])).mean() < 0.03 < np.abs(found - whole).mean()


def test_fit_is_the_whole_picture_without_white_turned_to_its_orientation(folder, batch):
    save_photo(Path("photos/a.png"), size=(60, 40))
    batch(*PAPER)
    found = shown("prints/a--x.png")
    assert found.shape == (252, 168, 3)  # 2:3 in 64 x 44 mm, standing
    assert all(line.mean() < 0.9 for line in (found[0], found[-1], found[:, 0], found[:, -1]))


def test_a_photo_too_small_for_its_paper_is_noted_once_and_printed(folder, batch, program):
    save_photo(Path("photos/a.png"), size=(24, 32))
    save_photo(Path("photos/large.png"), size=(90, 120))
    paper = ("--print", "6x4cm", "--dpi", "60", "--bleed", "2mm")
    records, status = batch(*paper)
    (notice,) = records["notice"]
    assert status == 0 and len(records["done"]) == 2
    assert (
        notice["photo"] == "photos/a.png"
        and "the photograph has only" in notice["text"]
        and "Up to" in notice["text"]
    )
    assert "notice" not in batch(*paper)[0]  # finished
    assert "notice" not in batch("--fresh", "--output", "by_px")[0]  # px were asked for, and no paper


def test_a_dry_run_warns_too(folder, batch):
    records, status = batch(*PAPER, "--dry-run")
    (job,) = records["planned"]
    assert (
        status == 0
        and "the photograph has only" in job["warning"]
        and job["scales"][-1]["size"] == [173, 231]
    )
    assert not Path("prints").exists()


# --- options that mean nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--print", "A99"), "--print A99: is no paper known here. Use A0 to A6"),
        (("--print", "leter"), "Did you mean 'letter'?"),
        (("--print", "60x90"), "Write --print 60x90cm"),
        (("--print", "A4", "--bleed", "3"), "Write --bleed 3mm"),
        (("--print", "A4", "--dpi", "9600"), "The nearest is --dpi 2400"),
        (("--dpi", "0"), "The nearest is --dpi 10"),
        (("--bleed", "3mm"), "Say which: --print A4"),
        (("--fit", "pad"), "Say which: --print A4"),
        (("--memory", "lots"), "--memory lots: write a number and a unit, for example --memory 6GiB"),
        (("--memory", "6"), "for example --memory 6GiB"),
        (("--bit-depth", "16", "--format", "jpeg"), "jpeg holds 8 bits per channel, not 16. Use png or tiff"),
        (("--profile", "press.icc"), "use --soft-proof to preview this profile"),
        (("--profile", "notes.txt"), "notes.txt: is not an ICC profile"),
        (("--soft-proof", "notes.txt"), "notes.txt: is not an ICC profile"),
        (("--soft-proof", "gone.icc"), "gone.icc: no such profile"),
    ],
)
def test_options_that_mean_nothing_are_refused_with_the_fix_before_any_work(
    folder, program, options, message
):
    Path("press.icc").write_bytes(printer_profile(b"CMYK"))
    Path("notes.txt").write_text("These are not the inks you are looking for.\n" * 20)
    for command in (
        ("batch", "--inputs", "photos", "--styles", "x.png"),
        ("image", "photos/a.png", "x.png", "--output", "print.jpg" if "jpeg" in options else "print.png"),
    ):
        given = options[:-2] if command[0] == "image" and "jpeg" in options else options
        status, out, err = program(*command, *given)
        assert (status, out) == (2, "") and message in err
    assert not Path("prints").exists() and not list(Path().glob("print.*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--print", "A4", "--size", "1024"), "--size: not allowed with argument --print"),
        (
            ("--color", "sepia"),
            "--color sepia: must be one of style | luminance | match | histogram.",
        ),
        (("--photoreal", "-1"), "--photoreal -1: must be 0 to 10. The nearest is --photoreal 0."),
        (("--photoreal", "soft"), "--photoreal soft: must be a number."),
        (("--size", "10cm"), "--size 10cm: must be a whole number."),
        (("--checkpoint-every", "-1"), "--checkpoint-every -1: must be 0 or more."),
        (("--bit-depth", "12"), "--bit-depth 12: must be one of 8 | 16."),
        (("--fit", "stretch"), "--fit stretch: must be one of fit | fill | pad."),
        (("--intent", "vivid"), "--intent vivid: must be one of perceptual |"),
    ],
)
def test_options_out_of_range_are_refused_by_name(folder, program, options, message):
    status, _, err = program("batch", "--inputs", "photos", "--styles", "x.png", *options)
    assert status == 2 and message in err
    assert not Path("prints").exists()


# --- memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("too_little", ["1KB", "0GB", "0.1GiB"])
def test_too_little_memory_fails_each_job_with_the_number_that_works(folder, batch, too_little):
    records, status = batch("--memory", too_little)
    (failure,) = records["summary"][0]["failed"]
    assert status == 1 and "progress" not in records
    enough = re.search(r"Use --memory (\S+) or more", failure["why"])[1]
    assert batch("--memory", too_little, "--dry-run")[0]["plan"][0]["failed"][0]["why"] == failure["why"]
    records, status = batch("--memory", enough)
    assert status == 0 and len(records["done"]) == 1


def test_memory_that_only_the_first_scale_has_is_refused_before_any_work(folder, batch):
    """At 64 MP a scale needs gigabytes more than the first one."""
    save(Path("photos/a.png"), np.zeros((20, 20, 3), np.uint8))
    records, status = batch("--memory", "1.5GiB", "--size", "8000")
    (failure,) = records["summary"][0]["failed"]
    assert status == 1 and "progress" not in records and "8000 x 8000 px need at least" in failure["why"]


def test_the_memory_given_is_the_budget_and_otherwise_there_is_some(folder):
    assert device.choose("cpu", memory_bytes=10**9).budget.device_bytes == 10**9
    assert device.choose("cpu", memory_bytes=0).budget.device_bytes == 0
    assert device.choose("cpu").budget.device_bytes > 10**8


# --- files --------------------------------------------------------------------------------------------------


def test_every_option_about_the_file_reaches_it(folder, batch):
    Path("press.icc").write_bytes(printer_profile())
    exif = Image.Exif()
    exif[0x8298] = "(c) Anna Muster"
    save(Path("photos/a.png"), photo_pixels(), exif=exif)
    _, status = batch(
        "--format",
        "tiff",
        "--bit-depth",
        "16",
        "--profile",
        "adobe-rgb",
        "--intent",
        "perceptual",
        "--soft-proof",
        "press.icc",
        "--dpi",
        "240",
        "--photoreal",
        "--color",
        "histogram",
    )
    assert status == 0
    with Image.open("prints/a--x.tif") as image:
        assert image.info["icc_profile"] == icc.load_profile("adobe-rgb").data
        assert image.getexif()[0x8298] == "(c) Anna Muster" and image.getexif()[282] == 240
        assert image.tag_v2[258] == (16, 16, 16)
    settings = print_file.read_provenance("prints/a--x.tif")["settings"]
    assert (settings["photoreal"], settings["color"], settings["intent"]) == (0.03, "histogram", "perceptual")
    assert settings["soft_proof"] == str(Path("press.icc").absolute())  # workers may stand elsewhere
    assert Path("prints/a--x.proof.png").exists()
    again, _ = batch(
        "--format",
        "tiff",
        "--bit-depth",
        "16",
        "--profile",
        "adobe-rgb",
        "--intent",
        "perceptual",
        "--soft-proof",
        "press.icc",
        "--dpi",
        "240",
        "--photoreal",
        "0.03",
        "--color",
        "histogram",
    )
    assert (again["summary"][0]["done"], again["summary"][0]["skipped"]) == (
        0,
        1,
    )  # the proof is no input either


def test_a_profile_that_changes_makes_the_job_new(folder, batch):
    Path("press.icc").write_bytes(printer_profile())
    batch("--soft-proof", "press.icc")
    assert batch("--soft-proof", "press.icc")[0]["summary"][0]["skipped"] == 1
    Path("press.icc").write_bytes(printer_profile(b"CMYK"))
    job.sha256.cache_clear()
    assert batch("--soft-proof", "press.icc")[0]["summary"][0]["skipped"] == 0


def test_a_single_image_takes_the_same_words(folder, batch, program):
    options = ("--print", "6x4cm", "--dpi", "60", "--color", "luminance", "--bit-depth", "16")
    batch(*options)
    assert program("image", "photos/a.png", "x.png", "--output", "one.png", *CHEAP, *options)[0] == 0
    assert np.array_equal(shown("one.png"), shown("prints/a--x.png"))
    assert not Path(".render").exists()


def test_a_disk_that_is_full_leaves_the_print_as_it_was(folder, batch, program):
    batch("--color", "luminance")  # kept: the next run writes nothing before its print
    before = Path("prints/a--x.png").read_bytes()
    with small_disk():
        status, _, err = program("recolor", "prints/a--x.png", "--color", "histogram")
    assert status == 1 and "cannot write a--x.png there" in err
    assert Path("prints/a--x.png").read_bytes() == before and not list(Path().rglob("*.part"))
    assert (
        batch("--color", "luminance")[0]["summary"][0]["skipped"] == 1
    )  # the ledger has not forgotten the old one
    assert program("recolor", "prints/a--x.png", "--color", "histogram")[0] == 0


# --- findings -----------------------------------------------------------------------------------------------


STILL = (
    "--set",
    "style_weight=0.000001",
    "--set",
    "content_weight=0",
    "--set",
    "tv_weight=0",
)  # a start stays


@pytest.fixture
def framed(folder, monkeypatch) -> tuple[str, ...]:
    """A start with a dark frame, and a look that leaves it: a fault that is really there."""
    monkeypatch.setattr(schedule, "QUALITIES", {"draft": (36, 0.5)})  # within fewer the rest is not calm yet
    calm = np.uint8(64 + photo_pixels((96, 128)) / 2)
    save(Path("photos/a.png"), calm)
    start = calm.copy()
    for edge in (start[:2], start[-2:], start[:, :2], start[:, -2:]):
        edge[:] = 20
    save(Path("start.png"), start)
    return ("--size", "128", "--set", "init=start.png", *STILL)


def test_a_print_with_a_fault_is_done_and_to_be_looked_at(framed, batch, program):
    records, status = batch(*framed)
    ((finding,),) = [done["findings"] for done in records["done"]]
    assert status == 0 and finding.startswith("border: the outermost ") and "px are darker" in finding
    assert records["summary"][0]["look_at"] == [{"output": "prints/a--x.png", "finding": finding}]
    (row,) = ledger_rows()
    assert row["status"] == "done" and json.loads(row["findings"]) == [finding]
    assert batch(*framed)[0]["summary"][0]["skipped"] == 1  # done is done

    status, out, err = program(*CHEAP_BATCH, *framed, "--fresh")
    assert (
        (status, out) == (0, "")
        and "done, look at it" in err
        and finding in err
        and "1 of them to look at" in err
    )
    status, out, _ = program("recolor", "prints", "--color", "luminance")
    assert status == 0 and "look at it: border" in out


def test_a_sound_print_has_no_findings(folder, batch):
    records, _ = batch("--size", "160")
    assert records["done"][0]["findings"] == [] == records["summary"][0]["look_at"]
    assert ledger_rows()[0]["findings"] == "[]"


def test_a_ledger_of_an_earlier_version_goes_on_and_gains_the_findings(folder, batch):
    batch()
    db = sqlite3.connect("prints/.render/ledger.sqlite")
    db.execute("alter table jobs drop column findings")
    db.commit()
    db.close()
    assert batch("--dry-run")[0]["plan"][0]["skipped"] == 1
    assert "findings" not in ledger_rows()[0]  # a dry run changes nothing
    assert batch()[0]["summary"][0]["skipped"] == 1
    assert ledger_rows()[0]["findings"] is None
    batch("--fresh", "--size", "160")
    assert ledger_rows()[0]["findings"] == "[]"
