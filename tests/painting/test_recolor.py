"""Other colours for finished prints: the same as a batch with these colours, and no print lost over it.

The real program in this process, with the real network's first layer: a print takes a fraction of a second.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import photo_pixels, save, save_photo
from helpers.profiles import printer_profile
from render.errors import UsageError
from render.jobs import job
from render.jobs.ledger import Ledger
from render.painting.recolor import find_prints
from render.pictures import color, images, print_file, quantize

DEEP = ("--bit-depth", "16")
pytestmark = pytest.mark.usefixtures("files_are_read_anew", "few_iterations")


def painted_again(records: dict) -> bool:
    return "progress" in records


def shown(path) -> np.ndarray:
    return images.read(path).pixels


def kept(output="prints") -> list[str]:
    return sorted(path.name for path in Path(output, ".render", "painted").glob("*"))


# --- a batch again, with other colours ----------------------------------------------------------------------


def test_what_was_painted_is_kept_where_the_print_does_not_show_it(folder, batch):
    batch("--output", "styled")
    assert kept("styled") == []
    batch("--color", "luminance")
    assert kept() == [f"{print_file.read_provenance('prints/a--x.png')['painted']}.safetensors"]


def test_a_batch_again_in_other_colours_does_not_paint_again(folder, batch):
    first, _ = batch("--color", "luminance", *DEEP)
    loss = first["done"][0]["loss"]
    assert painted_again(first)
    for words in (
        ("--color", "histogram", *DEEP),
        ("--color", "style", *DEEP),
        ("--photoreal", *DEEP),
        ("--color", "luminance", "--format", "tiff"),
        ("--profile", "adobe-rgb"),
    ):
        records, status = batch(*words)
        assert status == 0 and not painted_again(records)
        assert records["done"][0]["loss"] == loss
    assert painted_again(batch("--color", "match")[0])
    assert painted_again(batch("--seed", "1")[0])


@pytest.mark.parametrize("color", ["style", "histogram"])
def test_a_kept_picture_gives_the_pixels_of_a_fresh_batch(folder, batch, color):
    batch("--color", "luminance", *DEEP)
    assert not painted_again(batch("--color", color, *DEEP)[0])
    assert painted_again(batch("--color", color, *DEEP, "--output", "fresh")[0])
    assert Path("prints/a--x.png").read_bytes() == Path("fresh/a--x.png").read_bytes()


def test_fresh_paints_again_though_the_picture_is_kept(folder, batch):
    batch("--color", "luminance")
    assert painted_again(batch("--color", "luminance", "--fresh")[0])
    assert not painted_again(batch("--color", "histogram")[0])


def test_a_damaged_kept_picture_is_painted_again(folder, batch):
    batch("--color", "luminance")
    (path,) = Path("prints/.render/painted").iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    records, status = batch("--color", "histogram")
    assert status == 0 and painted_again(records)


def test_the_colour_modes_are_four_different_prints(folder, batch):
    prints = []
    for mode in ("style", "luminance", "match", "histogram"):
        assert batch("--color", mode, "--output", mode)[1] == 0
        prints.append(shown(f"{mode}/a--x.png"))
    for i, one in enumerate(prints):
        assert all(np.abs(one - other).mean() > 0.01 for other in prints[:i])
    photo = photo_pixels() / np.float32(255)
    styled, *kept_colours = (np.abs(p.mean((0, 1)) - photo.mean((0, 1))).max() for p in prints)
    assert all(distance < 0.8 * styled for distance in kept_colours)  # the photo's colours, by whatever way


# --- recolor ------------------------------------------------------------------------------------------------


def test_a_print_in_the_photos_colours_and_back_is_that_of_a_fresh_batch(folder, batch, program):
    batch(*DEEP)
    styled = Path("prints/a--x.png").read_bytes()
    batch(*DEEP, "--color", "luminance", "--output", "fresh")
    status, out, err = program("recolor", "prints", "--color", "luminance")
    assert (status, err) == (0, "") and out.startswith("done  prints/a--x.png")
    assert Path("prints/a--x.png").read_bytes() == Path("fresh/a--x.png").read_bytes()
    assert program("recolor", "prints/a--x.png", "--color", "style")[0] == 0
    assert Path("prints/a--x.png").read_bytes() == styled


def test_a_batch_then_finds_the_recoloured_print_finished_and_no_other(folder, batch, program):
    batch()
    assert program("recolor", "prints", "--color", "luminance")[0] == 0
    records, status = batch("--color", "luminance")
    assert (status, records["summary"][0]["done"], records["summary"][0]["skipped"]) == (0, 0, 1)
    records, _ = batch("--color", "style")
    assert (records["summary"][0]["done"], records["summary"][0]["skipped"]) == (1, 0)


def within_one_level(shown: np.ndarray, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(darkest, lightest) that each channel of a print in the photo's colours may be, when what was painted
    lies within one 8-bit level of `shown` in every channel. (H, W, 3) each.

    The painted picture counts by its Oklab lightness alone, which grows with each channel; so it lies between
    that of one level less and one level more, and the print's colour on the way between the two. That way is
    walked in steps, as a channel need not grow with the lightness: near the gamut's edge chroma is given up.
    Between two steps, half the distance of their colours is allowed for.
    """
    way = np.stack(
        [
            color.recolor("luminance", np.clip(shown + levels / 255, 0, 1).astype(np.float32), photo)
            for levels in np.linspace(-1, 1, 41)
        ]
    )
    between = np.abs(np.diff(way, axis=0)).max(axis=0) / 2
    return way.min(axis=0) - between, way.max(axis=0) + between


def dithered_within(print_: np.ndarray, darkest: np.ndarray, lightest: np.ndarray) -> np.ndarray:
    """Whether each channel is a level that dithering may give a value in the range: one below it, or one
    above."""
    return (print_ * 255 >= np.floor(darkest * 255) - 0.01) & (print_ * 255 <= np.ceil(lightest * 255) + 0.01)


def test_of_a_print_of_8_bits_the_colours_are_right_to_the_dither_and_the_way_back_is_exact(
    folder, batch, program
):
    # The fresh print is dithered once, from what was painted; the recoloured one from what the 8-bit print
    # shows of that. How far apart one level drives them is the photograph's affair: a blue's three channels
    # lie far apart in lightness.
    batch()
    styled, photo = shown("prints/a--x.png"), shown("photos/a.png")
    batch("--color", "luminance", "--output", "fresh")
    program("recolor", "prints", "--color", "luminance")
    fresh, recoloured = shown("fresh/a--x.png"), shown("prints/a--x.png")
    right = color.recolor("luminance", styled, photo)
    assert np.array_equal(np.rint(recoloured * 255), quantize.dithered(right))
    assert dithered_within(fresh, *within_one_level(styled, photo)).all()
    assert np.abs(fresh - recoloured).mean() < 0.5 / 255  # found: 0.21 levels, with and without AVX-512
    lighter = np.clip(styled + np.float32(4 / 255), 0, 1)  # the range is so narrow that it tells four levels
    assert dithered_within(fresh, *within_one_level(lighter, photo)).all(axis=2).mean() < 0.1
    program("recolor", "prints", "--color", "style")
    assert np.array_equal(shown("prints/a--x.png"), styled)


def test_what_was_read_from_an_8_bit_print_never_passes_for_what_was_painted(folder, batch, program):
    batch()
    program("recolor", "prints", "--color", "luminance")
    assert painted_again(batch("--color", "style", *DEEP)[0])
    assert len(np.unique(shown("prints/a--x.png"))) > 300
    deep = Path("prints/a--x.png").read_bytes()
    program("recolor", "prints", "--color", "luminance")
    program("recolor", "prints", "--color", "style")
    assert Path("prints/a--x.png").read_bytes() == deep  # nor does it come back


@pytest.mark.parametrize("format", ["tiff", "jpeg", "webp"])
def test_prints_of_every_format_on_paper_keep_their_sheet(folder, batch, program, format):
    batch("--format", format, "--print", "6x4cm", "--dpi", "60", "--bleed", "2mm", "--fit", "pad")
    path = Path("prints/a--x").with_suffix(print_file.FORMATS[format].extensions[0])
    before = shown(path)
    assert program("recolor", "prints", "--color", "luminance")[0] == 0
    after = shown(path)
    assert after.shape == before.shape == (104, 151, 3) and after[:4].min() > 0.9 < before[:4].min()
    assert np.abs(after - before).mean() > 0.005
    program("recolor", "prints", "--color", "style")
    assert np.abs(shown(path) - before).mean() < (0.01 if format in ("jpeg", "webp") else 1e-9)


def test_a_cropped_print_is_recoloured_by_what_it_shows_of_the_photo(folder, batch, program):
    paper = ("--print", "4x4cm", "--dpi", "40", "--fit", "fill", *DEEP)
    batch(*paper)
    batch(*paper, "--color", "histogram", "--output", "fresh")
    program("recolor", "prints", "--color", "histogram")
    assert Path("prints/a--x.png").read_bytes() == Path("fresh/a--x.png").read_bytes()


def test_half_transparent_prints_go_to_other_colours_and_back(folder, batch, program):
    alpha = np.full((48, 64, 1), 255, np.uint8)
    alpha[:, :20], alpha[:, 20:40] = 0, 128
    save(folder / "photos" / "a.png", np.dstack([photo_pixels(), alpha]))
    job.sha256.cache_clear()
    batch(*DEEP)
    before = images.read("prints/a--x.png")
    program("recolor", "prints", "--color", "luminance")
    assert np.abs(shown("prints/a--x.png") - before.pixels).mean() > 0.005
    program("recolor", "prints", "--color", "style")
    after = images.read("prints/a--x.png")
    assert np.array_equal(after.alpha, before.alpha) and np.abs(after.pixels - before.pixels).max() < 1e-4


def test_the_ledger_knows_the_photo_whatever_folder_one_stands_in(folder, batch, program, monkeypatch):
    batch()
    monkeypatch.chdir("prints")
    assert program("recolor", ".", "--color", "luminance")[0] == 0
    assert program("recolor", "a--x.png", "--color", "style")[0] == 0


def test_a_print_far_from_its_batch_is_recoloured_when_its_photo_is_named(folder, batch, program):
    batch()
    shutil.copy("prints/a--x.png", "alone.png")
    before = Path("alone.png").read_bytes()
    status, _, err = program("recolor", "alone.png", "--color", "luminance")
    assert status == 1 and "alone.png: its photograph is not known here. Name it: --photo FILE." in err
    assert Path("alone.png").read_bytes() == before
    assert program("recolor", "alone.png", "--color", "luminance", "--photo", "photos/a.png")[0] == 0
    assert Path("alone.png").read_bytes() != before
    status, _, err = program("recolor", "alone.png", "--color", "style", "--photo", "photos/a.png")
    assert status == 1 and "what was painted is not kept" in err  # no batch is there to keep it


def test_a_soft_proof_is_no_print_and_is_made_again_with_its_print(folder, batch, program):
    Path("press.icc").write_bytes(printer_profile(b"CMYK"))
    batch("--soft-proof", "press.icc")
    assert sorted(path.name for path in Path("prints").glob("*.*") if path.is_file()) == [
        "a--x.png",
        "a--x.proof.png",
    ]
    proof = shown("prints/a--x.proof.png")
    status, out, _ = program("recolor", "prints", "--color", "luminance")
    assert status == 0 and [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == [
        "done"
    ]
    assert np.abs(shown("prints/a--x.proof.png") - proof).mean() > 0.005
    before = Path("prints/a--x.proof.png").read_bytes()
    status, _, err = program("recolor", "prints/a--x.proof.png", "--color", "style")
    assert status == 1 and "is the soft proof of a--x.png" in err
    assert Path("prints/a--x.proof.png").read_bytes() == before


def test_what_the_checks_see_of_the_new_colours_is_told_and_recorded(folder, batch, program):
    batch()
    ledger = Ledger(Path("prints"))
    with ledger._db:
        ledger._db.execute(
            "update jobs set findings = '[\"specks: of the old colours\"]', message = 'old', status = "
            "'failed'"
        )
    ledger.close()
    program("recolor", "prints", "--color", "luminance")
    ledger = Ledger.peek(Path("prints"))
    (row,) = ledger.rows()
    ledger.close()
    assert "old colours" not in row["findings"] and (row["status"], row["message"]) == ("done", None)
    assert json.loads(row["settings"])["settings"]["color"] == "luminance"
    assert row["bytes"] == Path("prints/a--x.png").stat().st_size


# --- what cannot be recoloured ------------------------------------------------------------------------------


@pytest.fixture
def untouched(folder):
    yield
    assert not list(folder.rglob("*.part"))


def refused(program, path: Path, *words) -> tuple[int, str]:
    before = path.read_bytes()
    status, out, err = program("recolor", path, *words)
    assert path.read_bytes() == before and "done" not in out
    return status, err


def test_a_print_whose_colours_were_matched_before_painting_is_refused(folder, batch, program, untouched):
    batch("--color", "match")
    status, err = refused(program, Path("prints/a--x.png"), "--color", "luminance")
    assert status == 1 and "matched before it was painted. Render it again with --color luminance" in err


def test_pictures_of_others_are_refused_and_ours_beside_them_recoloured(folder, batch, program, untouched):
    batch()
    save_photo(Path("prints/holiday.png"))
    Path("prints/torn.jpg").write_bytes(b"\xff\xd8\xff")
    exif = Image.Exif()
    exif[0x010E] = json.dumps({"painted": "1", "settings": {"unknown": 1}, "layout": {}, "look": {}})
    save(Path("prints/later.png"), photo_pixels(), exif=exif)
    before = {name: Path("prints", name).read_bytes() for name in ("holiday.png", "torn.jpg", "later.png")}
    status, out, err = program("recolor", "prints", "--color", "luminance")
    assert status == 1 and out.startswith("done  prints/a--x.png")
    for name in ("holiday.png", "later.png"):
        assert f"{name}: does not say how this version of render made it" in err
    assert "torn.jpg: " in err and "Traceback" not in err
    assert before == {name: Path("prints", name).read_bytes() for name in before}


def test_a_wrong_photo_is_refused_though_it_has_the_same_size(folder, batch, program, untouched):
    batch()
    save_photo(Path("other.png"), seed=1)
    status, err = refused(program, Path("prints/a--x.png"), "--color", "luminance", "--photo", "other.png")
    assert status == 1 and "other.png: is not the file that prints/a--x.png was made from" in err
    save_photo(Path("photos/a.png"), seed=2)
    job.sha256.cache_clear()
    status, err = refused(program, Path("prints/a--x.png"), "--color", "luminance")
    assert status == 1 and "or has changed since" in err
    Path("photos/a.png").unlink()
    status, err = refused(program, Path("prints/a--x.png"), "--color", "luminance")
    assert status == 1 and "is not there any more. Name it: --photo" in err
    assert kept() == []


def test_a_print_that_was_made_smaller_since_is_refused(folder, batch, program, untouched):
    batch()
    path = Path("prints/a--x.png")
    with Image.open(path) as image:
        exif = image.getexif()
        image.resize((32, 24)).save(path, exif=exif)
    status, err = refused(program, path, "--color", "luminance")
    assert status == 1 and "its size has changed" in err


def test_a_folder_where_a_batch_is_rendering_is_left_alone(folder, batch, program, untouched):
    batch()
    ledger = Ledger(Path("prints"))  # as any batch holds it
    status, err = refused(program, Path("prints/a--x.png"), "--color", "luminance")
    ledger.close()
    assert status == 1 and "another batch is rendering there" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("empty", "--color", "style"), "empty: no prints there"),
        (("x.png", "empty", "--color", "style"), "empty: no prints there"),
        (("empty", "--color", "style", "--photo", "photos/a.png"), "--photo: name a single print with it"),
        (
            ("x.png", "x.png", "--color", "style", "--photo", "photos/a.png"),
            "--photo: name a single print with it",
        ),
    ],
)
def test_wrong_usage_is_refused_before_any_work(folder, program, words, message):
    Path("empty").mkdir()
    status, out, err = program("recolor", *words)
    assert (status, out) == (2, "") and message in err


def test_a_print_that_is_not_there_is_named(folder, program):
    status, _, err = program("recolor", "gone.png", "--color", "style")
    assert status == 1 and "gone.png: no such file" in err


def test_only_colours_of_finished_pictures_can_be_asked_for(folder, program):
    status, _, err = program("recolor", "prints", "--color", "match")
    assert status == 2 and "--color match: must be one of style | luminance | histogram." in err


def test_prints_are_found_in_sub_folders_and_what_is_kept_beside_them_is_not(tmp_path):
    names = (
        "a.png",
        "sub/b.tif",
        "sub/c.jpg",
        "a.proof.png",
        ".render/painted/d.png",
        "notes.txt",
        ".hidden.png",
    )
    (tmp_path / ".render" / "checkpoints").mkdir(parents=True)
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_prints([tmp_path, tmp_path / "gone.png"]) == tuple(
        tmp_path / name for name in ("a.png", "sub/b.tif", "sub/c.jpg", "gone.png")
    )
    with pytest.raises(UsageError, match="no prints there"):
        find_prints([tmp_path, tmp_path / ".render" / "checkpoints"])
