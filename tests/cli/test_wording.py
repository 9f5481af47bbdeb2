"""Text from outside on its way to a terminal: names, titles and messages that would steer it."""

import json
import logging
import os
import subprocess
import unicodedata

import pytest

from helpers.pictures import photo_pixels, save, save_painting, save_photo
from helpers.program import CHEAP_BATCH, PROGRAM, run
from render.cli import screen
from render.jobs.events import JobFailed
from render.jobs.job import make_job
from render.jobs.settings import Settings
from render.jobs.styles import Look, load_style
from render.pictures import decoder_warnings, images
from render.runners.batch import Summary
from render.wording import plain

EVIL = "a\x1b]0;pwned\x07\n0 failed\r\u202e"  # a terminal's title, a forged line, writing from right to left
SEEN = r"a\x1b]0;pwned\x07\n0 failed\r\u202e"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (EVIL, SEEN),
        ("\x9b31m", r"\x9b31m"),
        ("\udcff\udc80.png", r"\xff\x80.png"),
        ("\ud800", r"\ud800"),
        ("\u200b\u2028", r"\u200b\u2028"),
        ("tab\there", r"tab\there"),
        ("\x7f", r"\x7f"),
    ],
)
def test_what_steers_breaks_or_hides_becomes_an_escape(text, seen):
    assert plain(text) == seen


@pytest.mark.parametrize(
    "text", ["Ærøskøbing – 夕焼け.jpg", "3.04\u202fPM 100\xa0%", "👩\u200d🚀", "می\u200cخواهم", r"C:\new"]
)
def test_what_people_write_stays_as_it_is(text):
    assert plain(text) == text


def test_lines_of_ours_stay_lines():
    assert plain("one\n\ttwo\x1b", lines=True) == "one\n\ttwo\\x1b"


LOOK = CHEAP_BATCH[5:]
EVIL_BATCH = ("batch", "--inputs", "photos", "--styles", "x.png", f"{EVIL}.png", *LOOK, "--size", "32")


def is_clean(said: str) -> bool:
    return (
        all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") for c in said)
        and "0 failed" not in said.splitlines()
    )


@pytest.fixture
def evil(folder, few_iterations):
    """Beside a good photograph and a good style, evil ones."""
    save_photo(folder / f"photos/{EVIL}.png")
    (folder / f"photos/{EVIL} cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    save_painting(folder / f"{EVIL}.png")
    return folder


@pytest.mark.network
def test_a_batch_its_status_and_its_errors_print_evil_names_as_escapes(evil, program):
    status, _, err = program(*EVIL_BATCH)
    assert status == 1 and is_clean(err) and SEEN in err and "0 failed" in err
    status, out, _ = program("status", "prints")
    assert status == 1 and is_clean(out) and SEEN in out
    status, out, err = program("recolor", "prints", "--color", "luminance")
    assert status == 0 and is_clean(out) and is_clean(err) and SEEN in out
    for words in (
        ["presets", "show", f"{EVIL}.png"],
        ["presets", "check", f"{EVIL}.png"],
        ["presets", "list", f"{EVIL}.png"],
        ["image", f"not there {EVIL}", "x.png", "--output", "o.png"],
        ["presets", "keys", EVIL],
        ["status", f"none {EVIL}"],
        [*EVIL_BATCH, "--fresh", "--dry-run"],
        ["batch", "--inputs", f"gone {EVIL}", "--styles", "x.png"],
    ):
        _, out, err = program(*words)
        assert is_clean(out) and is_clean(err) and SEEN.split("\\n")[0] in out + err, words


def test_a_preset_from_elsewhere_prints_its_title_as_escapes(folder, program):
    (folder / "s.toml").write_text(
        f"title = {json.dumps(EVIL)}\ndescription = '[red]x :smile:'\n[[pictures]]\nfile = 'x.png'\n"
    )
    for verb in ("show", "list"):
        _, out, _ = program("presets", verb, "s.toml")
        assert is_clean(out) and SEEN[:12] in out
    assert "[red]x :smile:" in program("presets", "show", "s.toml")[1]


@pytest.mark.network
def test_json_keeps_names_as_they_are(evil, program):
    _, out, _ = program(*EVIL_BATCH, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert {record["photo"] for record in records if record["event"] == "done"} == {
        "photos/a.png",
        f"photos/{EVIL}.png",
    }


@pytest.mark.network
@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}])
def test_a_terminal_that_knows_few_characters_refuses_none(folder, environment):
    def program(*words):
        return subprocess.run(
            [*PROGRAM, *words], cwd=folder, env=os.environ | environment, capture_output=True
        )

    save_photo(folder / "photos/夕焼け.png")
    done = program(*CHEAP_BATCH, "--size", "32")
    assert done.returncode == 0 and b"2 done" in done.stderr
    assert (rb"\u5915" if "PYTHONUTF8" in environment else "夕焼け".encode()) in done.stderr
    name = os.fsdecode(b"caf\xe9.png")  # no UTF-8, as on disks of other days
    save_photo(folder / name)
    done = program("image", name, "x.png", "--output", f"prints-{name}", "--size", "32", *LOOK)
    assert done.returncode == 0 and rb"prints-caf\xe9.png" in done.stderr
    done = program("status", name)
    assert done.returncode == 2 and b"Traceback" not in done.stderr and rb"caf\xe9" in done.stderr


# ---- warnings of decoders ----------------------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path):
    """A good picture whose EXIF is cut short."""
    decoder_warnings.warn_once.cache_clear()
    return save(tmp_path / "odd\x1b.jpg", photo_pixels(), exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0")


def test_a_warning_of_pillows_names_its_file_and_comes_once(odd, caplog, recwarn):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            images.probe(odd)
            images.read(odd)
    [record] = caplog.records
    assert "odd\\x1b.jpg: Corrupt EXIF data" in record.getMessage() and record.name.startswith("render")
    assert not list(recwarn)


def test_each_of_two_odd_pictures_is_named(odd, caplog):
    other = odd.with_name("other.jpg")
    other.write_bytes(odd.read_bytes())
    for path in (odd, other):
        images.read(path)
    assert [record.getMessage().split(": ")[0].rpartition("/")[2] for record in caplog.records] == [
        r"odd\x1b.jpg",
        "other.jpg",
    ]


def test_warnings_of_others_and_their_hooks_stay_theirs(odd, recwarn):
    import warnings

    before = warnings.showwarning, list(warnings.filters), list(logging.getLogger("PIL").handlers)
    with images.opened(odd):
        warnings.warn("of somebody else", DeprecationWarning)
    assert (warnings.showwarning, list(warnings.filters), list(logging.getLogger("PIL").handlers)) == before
    assert [str(w.message) for w in recwarn] == ["of somebody else"]


@pytest.mark.network
def test_the_program_says_it_on_standard_error_in_one_line(odd, folder):
    odd.rename(folder / "photos/odd.jpg")
    done = run(*CHEAP_BATCH, "--size", "32", cwd=folder)
    [line] = [line for line in done.err.splitlines() if "EXIF" in line]
    assert line.startswith("photos/odd.jpg: Corrupt EXIF data") and "site-packages" not in done.err


# ---- failures of one cause ---------------------------------------------------------------------------------

CUT = "photos/broken.jpg: cannot be read (truncated). Export it again."


def test_failures_of_one_cause_are_one_line_of_the_summary(capsys):
    failed = [
        *((f"broken.jpg x s{i}", CUT) for i in range(12)),
        ("a.jpg x s1", "other.jpg: is empty"),
        ("gone.jpg", "gone.jpg: no such file"),
        *((f"{name}.jpg x s1", f"{name}.jpg x s1: out of memory") for name in "pqrst"),
    ]
    screen.print_summary(Summary(done=1, failed=failed), output="prints", as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        f"failed {CUT} (12 prints)",
        "failed a.jpg x s1: other.jpg: is empty",
        "failed gone.jpg: no such file",
        "failed p.jpg x s1, q.jpg x s1, r.jpg x s1 and 2 more: out of memory",
        "1 done, 19 failed in 0 s: prints",
    ]


def test_json_keeps_every_failure(capsys):
    screen.print_summary(Summary(failed=[("a x s", CUT), ("a x t", CUT)]), output="prints", as_json=True)
    assert len(json.loads(capsys.readouterr().out)["failed"]) == 2


def test_while_it_runs_a_photographs_failure_is_told_once_and_then_counted(tmp_path, capsys, monkeypatch):
    style = load_style(save_painting(tmp_path / "x.png"))
    photo = save_photo(tmp_path / "broken.png")
    jobs = [
        make_job(photo, style, Look(), Settings(), tmp_path / f"{i}.png", weights_sha256="w")
        for i in range(12)
    ]
    with screen.Screen(12) as drawn:
        for job in jobs:
            drawn(JobFailed(job.ref, CUT))
        assert drawn.ended == drawn.failed == 12
    assert capsys.readouterr().err == f"failed {CUT}\n"


@pytest.mark.network
def test_status_groups_failures_of_one_cause(folder, program, few_iterations):
    styles = [str(save_painting(folder / f"s{i}.png", seed=i)) for i in range(3)]
    (folder / "photos/broken.png").write_bytes((folder / "photos/a.png").read_bytes()[:200])
    status, _, err = program("batch", "--inputs", "photos", "--styles", *styles, *LOOK, "--size", "32")
    assert status == 1 and [
        line.endswith("(3 prints)") for line in err.splitlines() if "broken.png" in line
    ] == [False, True]
    status, out, _ = program("status", "prints")
    assert status == 1 and out.count("broken.png") == 1 and "(3 prints)" in out and "3 failed" in out
