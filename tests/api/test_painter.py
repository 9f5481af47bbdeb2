"""The Painter, stylize and what they give, with the real network's first layer."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import render
from helpers.pictures import painting_pixels, photo_pixels, save, save_painting, save_photo
from helpers.profiles import printer_profile
from helpers.program import CHEAP
from render.api import painter as painter_module
from render.errors import ArgumentError, ArgumentTypeError, BatchError, MemoryShort, PictureError, PresetError
from render.jobs import schedule
from render.pictures import images, print_file

pytestmark = pytest.mark.network

# As CHEAP of the command line.
LOOK: dict[str, Any] = {
    "style_loss": "gram",
    "style_layers": {"relu1_1": 1.0},
    "content_layers": {"relu1_1": 1.0},
    "content_weight": 0.01,
    "quality": "draft",
}
QUICK: dict[str, Any] = {**LOOK, "size": 64}


@pytest.fixture(scope="module")
def paint():
    with render.Painter(device="cpu", precision="float32") as paint:
        yield paint


@pytest.fixture(autouse=True)
def few_iterations(monkeypatch):
    monkeypatch.setattr(schedule, "QUALITIES", {"draft": (4, 1.0), "standard": (4, 1.0), "best": (4, 1.0)})
    monkeypatch.setattr(schedule, "FEWEST_ITERATIONS", 4)


def printed(program, *words) -> Path:
    """What `render image` makes of the same pictures."""
    status, _, err = program("image", "photos/a.png", "x.png", "--output", "cli.png", *CHEAP, *words)
    assert status == 0, err
    return Path("cli.png")


# --- the same picture as the command line -------------------------------------------------------------------


def test_a_saved_picture_is_the_file_that_the_command_line_writes(folder, paint, program):
    art = paint("photos/a.png", "x.png", **QUICK)
    art.save("api.png")
    assert Path("api.png").read_bytes() == printed(program, "--size", "64").read_bytes()


@pytest.mark.parametrize(
    ("options", "saved", "words"),
    [
        (
            {"size": 48, "color": "luminance", "seed": 3, "init": "noise"},
            {"bit_depth": 16, "profile": "adobe-rgb", "intent": "perceptual", "dpi": 200},
            "--size 48 --color luminance --seed 3 --set init=noise --bit-depth 16 --profile adobe-rgb "
            "--intent perceptual --dpi 200",
        ),
        (
            {"paper": "6x4cm", "dpi": 30, "bleed_mm": 2.0, "fit": "pad", "photoreal": 0.03},
            {},
            "--print 6x4cm --dpi 30 --bleed 2mm --fit pad --photoreal",
        ),
    ],
    ids=["color and depth", "paper"],
)
def test_every_option_means_what_it_means_on_the_command_line(folder, paint, program, options, saved, words):
    art = paint("photos/a.png", "x.png", **{**LOOK, **options})
    art.save("api.png", **saved)
    assert Path("api.png").read_bytes() == printed(program, *words.split()).read_bytes()


def test_a_photograph_gives_the_same_pixels_however_it_comes(folder, paint):
    by_path = paint("photos/a.png", "x.png", **QUICK)
    pixels = photo_pixels()
    for photo in (Path("photos/a.png"), pixels, pixels / 255, Image.open("photos/a.png")):
        for style in ("x.png", painting_pixels(), Image.open("x.png")):
            art = paint(photo, style, **QUICK)
            assert np.array_equal(art.pixels, by_path.pixels) and art.loss == by_path.loss


def test_a_mixture_lies_between_its_styles(folder, paint):
    save_painting(folder / "y.png", seed=1)

    def painted(style) -> np.ndarray:
        return paint("photos/a.png", style, **QUICK).pixels

    first, other = painted("x.png"), painted("y.png")
    nearly = painted({"x.png": 1000, "y.png": 1})
    mixed = painted([("x.png", 1), ("y.png", 1)])
    assert np.abs(nearly - first).mean() < np.abs(mixed - first).mean() < np.abs(other - first).mean()


# --- what a picture gives -----------------------------------------------------------------------------------


@pytest.fixture
def art(folder, paint):
    return paint("photos/a.png", "x.png", **QUICK)


def test_pixels_are_floats_between_0_and_1_that_cannot_be_written_to(art):
    assert art.pixels.shape == (48, 64, 3) and art.pixels.dtype == np.float32 and art.alpha is None
    assert art.pixels.min() >= 0 and art.pixels.max() <= 1
    with pytest.raises(ValueError):
        art.pixels[0, 0] = 0


def test_the_pil_image_is_the_eight_bit_file_with_its_profile(art):
    path = art.save("a.png")
    file = Image.open(path)
    assert np.array_equal(np.asarray(art.image), np.asarray(file)) and art.image.mode == "RGB"
    assert art.image.info["icc_profile"] == file.info["icc_profile"]
    art.image.save("b.png")
    assert Image.open("b.png").info["icc_profile"] == file.info["icc_profile"]


def test_the_recipe_is_what_a_file_says_of_itself(art):
    path = art.save("a.png")
    assert art.recipe == print_file.read_provenance(path)
    assert art.recipe["photo"] == "a.png" and art.recipe["loss"] == art.loss > 0
    art.recipe["look"]["content_weight"] = 7  # a copy
    assert art.recipe["look"]["content_weight"] == 0.01


def test_a_file_of_another_kind_says_so_in_its_recipe_and_reads_as_the_same_picture(art):
    path = art.save("a.tif", bit_depth=16, profile="adobe-rgb", dpi=150)
    recipe = print_file.read_provenance(path)
    settings = {"format": "tiff", "bit_depth": 16, "profile": "adobe-rgb", "dpi": 150}
    assert recipe["settings"] == art.recipe["settings"] | settings
    assert recipe["job"] != art.recipe["job"] and recipe["painted"] == art.recipe["painted"]
    assert Image.open(path).info["dpi"] == (150, 150)
    assert np.abs(images.read(path).pixels - art.pixels).max() < 1e-3


def test_a_file_says_and_holds_what_recolor_needs(art, program):
    art.save("a.png", bit_depth=16)
    status, _, err = program("recolor", "a.png", "--color", "luminance", "--photo", "photos/a.png")
    assert status == 0, err


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.PNG", "deep/er/a.png"])
def test_the_extension_names_the_format(art, name):
    assert art.save(name) == Path(name) and Image.open(name).size == (64, 48)


def test_quality_is_that_of_the_file(art):
    sizes = [art.save(f"{quality}.jpg", quality=quality).stat().st_size for quality in (5, 95)]
    assert sizes[0] < sizes[1]


def test_a_soft_proof_is_written_beside_the_file(art, folder):
    (folder / "printer.icc").write_bytes(printer_profile())
    art.save("a.png", soft_proof="printer.icc")
    assert print_file.read_provenance("a.proof.png")["proof_of"] == "a.png"


def test_a_file_is_replaced_but_never_one_that_the_picture_was_made_from(art, folder):
    art.save("a.png")
    before = [Path(name).read_bytes() for name in ("photos/a.png", "x.png")]
    art.save("a.png", bit_depth=16)
    assert print_file.read_provenance("a.png")["settings"]["bit_depth"] == 16
    for name in ("photos/a.png", folder / "x.png"):
        with pytest.raises(ArgumentError, match="the picture was made from it"):
            art.save(name)
    assert [Path(name).read_bytes() for name in ("photos/a.png", "x.png")] == before


@pytest.mark.parametrize(
    ("path", "how", "kind", "said"),
    [
        ("a.gif", {}, ArgumentError, "no picture format has the file extension '.gif'"),
        ("a", {}, ArgumentError, "no picture format has the file extension ''"),
        (3, {}, ArgumentTypeError, "path is 3 and must be a name or a path"),
        ("a.jpg", {"bit_depth": 16}, ArgumentError, "jpeg holds 8 bits per channel, not 16"),
        ("a.png", {"bit_depth": 12}, ArgumentError, "bit_depth=12: must be one of 8 | 16"),
        ("a.png", {"profile": "adobe"}, ArgumentError, "profile is 'adobe': no such file"),
        ("a.png", {"profile": "x.png"}, ArgumentError, "x.png"),
        ("a.png", {"intent": "nice"}, ArgumentError, "intent='nice'"),
        ("a.png", {"dpi": 1e9}, ArgumentError, "dpi=1000000000.0: must be 10 to 2400"),
        ("a.jpg", {"quality": 101}, ArgumentError, "quality is 101 and must be a whole number from 0 to 100"),
        ("x.png/a.png", {}, PictureError, "x.png"),
    ],
)
def test_a_file_that_cannot_be_made_is_refused_and_none_is_left(art, folder, path, how, kind, said):
    before = sorted(folder.rglob("*"))
    with pytest.raises(kind) as caught:
        art.save(path, **how)
    assert said in str(caught.value) and sorted(folder.rglob("*")) == before


def test_the_dpi_of_a_picture_for_a_paper_is_not_to_be_changed(folder, paint):
    art = paint("photos/a.png", "x.png", **LOOK, paper="6x4cm", dpi=30)
    with pytest.raises(ArgumentError, match="painted for 6x4cm at 30 px an inch"):
        art.save("a.png", dpi=60)


def test_transparency_is_kept(folder, paint):
    alpha = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    photo = Image.fromarray(photo_pixels())
    photo.putalpha(Image.fromarray(alpha))
    art = paint(photo, "x.png", **QUICK)
    assert np.array_equal(np.rint(art.alpha * 255), alpha) and art.image.mode == "RGBA"
    assert np.array_equal(np.asarray(Image.open(art.save("a.png"))), np.asarray(art.image))


def test_a_notebook_shows_it_no_larger_than_a_screen(art, monkeypatch):
    import io

    from render.api import art as art_module

    shown = Image.open(io.BytesIO(art._repr_png_()))
    assert np.array_equal(np.asarray(shown), np.asarray(art.image))
    monkeypatch.setattr(art_module, "SHOWN_PX", 32)
    assert Image.open(io.BytesIO(art._repr_png_())).size == (32, 24)
    assert repr(art).startswith("<render.Art a.png x x, 64 x 48 px, loss ")


# --- the painter --------------------------------------------------------------------------------------------


def counting(monkeypatch, owner, name) -> list:
    calls, real = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **more: calls.append(args) or real(*args, **more))
    return calls


def test_the_network_and_a_styles_targets_are_made_once(folder, monkeypatch):
    loaded = counting(monkeypatch, painter_module.network_weights, "load")
    reads = counting(monkeypatch, images, "read")
    save_photo(folder / "photos/b.png", seed=1)
    with render.Painter(device="cpu") as paint:
        assert not loaded
        for photo in ("photos/a.png", "photos/b.png"):
            paint(photo, "x.png", **QUICK)
            paint(photo, painting_pixels(), **QUICK)
    assert len(loaded) == 1
    seen = [source.path.name for (source,) in reads]
    assert seen.count("x.png") == 1 and sum(name.startswith("array-") for name in seen) == 1


def test_a_file_that_changes_between_two_calls_is_read_anew(folder, paint):
    before = paint("photos/a.png", "x.png", **QUICK)
    save_painting(folder / "x.png", seed=1)
    other_style = paint("photos/a.png", "x.png", **QUICK)
    save_photo(folder / "photos/a.png", seed=1)
    other_photo = paint("photos/a.png", "x.png", **QUICK)
    fresh = paint(photo_pixels(seed=1), painting_pixels(seed=1), **QUICK)
    assert not np.array_equal(before.pixels, other_style.pixels)
    assert not np.array_equal(other_style.pixels, other_photo.pixels)
    assert np.array_equal(other_photo.pixels, fresh.pixels)


def test_progress_is_reported_as_on_the_command_line(folder, paint):
    events = []
    art = paint("photos/a.png", "x.png", **QUICK, report=events.append)
    assert [event.iteration for event in events] == [1, 2, 3, 4]
    assert all(isinstance(event, render.Progress) for event in events)
    assert events[-1].work == 1 and events[-1].loss == art.loss


def test_ctrl_c_ends_a_call_and_the_painter_goes_on(folder, paint):
    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(photo_pixels(), "x.png", **QUICK, report=interrupt)
    assert list(paint._store.folder.iterdir()) == []
    assert paint("photos/a.png", "x.png", **QUICK).loss > 0


def test_pictures_that_were_written_for_a_call_are_gone_after_it(folder, paint):
    paint(photo_pixels(), painting_pixels(), **QUICK)
    assert list(paint._store.folder.iterdir()) == []


def test_a_closed_painter_has_no_folder_and_says_that_it_is_closed(folder):
    with render.Painter(device="cpu") as paint:
        paint(photo_pixels(), "x.png", **QUICK)
        private = paint._store.folder
        assert "network loaded" in repr(paint)
    assert not private.exists() and "closed" in repr(paint)
    with pytest.raises(ArgumentError, match="this Painter is closed: make another one"):
        paint("photos/a.png", "x.png", **QUICK)
    paint.close()


def test_a_report_that_calls_the_painter_is_refused(folder, paint):
    def again(event):
        paint("photos/a.png", "x.png", **QUICK)

    with pytest.raises(ArgumentError, match="`report` must not call it"):
        paint("photos/a.png", "x.png", **QUICK, report=again)


def test_threads_take_turns(folder, paint):
    expected, found, running = paint("photos/a.png", "x.png", **QUICK), [], []

    def work():
        def report(event):
            running.append(threading.get_ident())

        found.append(paint("photos/a.png", painting_pixels(), **QUICK, report=report))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(art.pixels, expected.pixels) for art in found) and len(found) == 2
    assert sum(a != b for a, b in zip(running, running[1:])) == 1


def test_a_picture_to_start_from_comes_in_any_form(folder, paint):
    save(folder / "start.png", painting_pixels(seed=5))
    by_path = paint("photos/a.png", "x.png", **QUICK, init="start.png")
    assert np.array_equal(
        paint("photos/a.png", "x.png", **QUICK, init=painting_pixels(seed=5)).pixels, by_path.pixels
    )
    assert not np.array_equal(paint("photos/a.png", "x.png", **QUICK).pixels, by_path.pixels)
    with pytest.raises(
        ArgumentError, match="init is content, noise or a picture, and there is no file 'nois'"
    ):
        paint("photos/a.png", "x.png", **QUICK, init="nois")


def test_running_out_of_memory_says_what_to_change(folder, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("no more")

    with render.Painter(device="cpu") as paint:
        paint("photos/a.png", "x.png", **QUICK)
        monkeypatch.setattr(paint._renderer, "finished", full)
        with pytest.raises(MemoryShort, match="larger memory, or choose a smaller size") as caught:
            paint("photos/a.png", "x.png", **QUICK)
    assert isinstance(caught.value, MemoryError) and isinstance(caught.value, render.RenderError)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"device": "gpu"}, ArgumentError, "device is 'gpu' and must be one of auto, cpu, cuda"),
        ({"device": 1}, ArgumentError, "device is 1"),
        ({"precision": "flota32"}, ArgumentError, "Did you mean 'float32'?"),
        ({"memory": "8"}, ArgumentError, "memory 8: write a number and a unit, for example memory 6GiB"),
        ({"memory": 8}, ArgumentError, "memory is 8 and must be a whole number, 1000000 or more"),
        ({"memory": 8.5}, ArgumentTypeError, "memory is 8.5 and must be a text like '8GiB', or whole bytes"),
        (
            {"weights": "cafe"},
            ArgumentError,
            "weights is 'cafe': no such file and not one of caffe, torchvision.",
        ),
        (
            {"preprocessing": "BGR"},
            ArgumentError,
            "preprocessing is 'BGR' and must be one of caffe, torchvision",
        ),
    ],
)
def test_a_wrong_painter_is_refused(options, kind, said):
    with pytest.raises(kind) as caught:
        render.Painter(**options)
    assert said in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused_at_once():
    with pytest.raises(ArgumentError, match="^device cuda: no CUDA device is usable.*or use device cpu"):
        render.Painter(device="cuda")


def test_a_wrong_call_is_refused_before_anything_is_loaded(folder, monkeypatch):
    loaded = counting(monkeypatch, painter_module.network_weights, "load")
    with render.Painter(device="cpu") as paint:
        for call, kind, said in (
            (lambda: paint("photos/a.png", "x.png", sise=64), ArgumentTypeError, "Did you mean 'size'?"),
            (lambda: paint("photos/a.png", "x.png", bit_depth=16), ArgumentTypeError, "art.save("),
            (
                lambda: paint("photos/a.png", "x.png", device="cpu"),
                ArgumentTypeError,
                "render.Painter(device=",
            ),
            (lambda: paint("photos/a.png", "x.png", size=-1), ArgumentError, "size=-1"),
            (lambda: paint("photos/a.png", "x.png", style_scale=9), ArgumentError, "must be 0.1 to 4"),
            (lambda: paint("photos/a.png", "x.png", report=3), ArgumentTypeError, "report is 3 and must be"),
            (lambda: paint("photos/b.png", "x.png"), PictureError, "photos/b.png: no such file"),
            (lambda: paint("photos/a.png", "y.png"), PresetError, "y.png: no such file or folder"),
            (lambda: paint(np.full((20, 20, 3), np.nan), "x.png"), ArgumentError, "photo holds NaN"),
            (lambda: paint("photos/a.png", np.zeros((20, 20))), ArgumentError, "style has shape (20, 20)"),
            (lambda: paint.batch("photos", "x.png", sise=64), ArgumentTypeError, "Did you mean 'size'?"),
            (lambda: paint.batch("photos", "x.png", format="png"), ArgumentTypeError, "art.save("),
        ):
            with pytest.raises(kind) as caught:
                call()
            assert said in str(caught.value)
    assert not loaded


# --- stylize ------------------------------------------------------------------------------------------------


def test_stylize_is_a_painter_that_is_kept_for_the_next_call(folder, paint, monkeypatch):
    painter_module._kept.cache_clear()
    loaded = counting(monkeypatch, painter_module.network_weights, "load")
    how = dict(device="cpu", precision="float32", **QUICK)
    found = [render.stylize("photos/a.png", "x.png", **how) for _ in range(2)]
    assert len(loaded) == 1
    expected = paint("photos/a.png", "x.png", **QUICK)
    assert all(np.array_equal(art.pixels, expected.pixels) for art in found)
    render.stylize("photos/a.png", "x.png", **how, memory="4GiB")
    assert len(loaded) == 2
    painter_module._kept.cache_clear()


def test_stylize_refuses_what_a_painter_refuses(folder):
    for options, kind, said in (
        ({"devise": "cpu"}, ArgumentTypeError, "Did you mean 'device'?"),
        ({"memory": [1]}, ArgumentTypeError, "memory is [1] and must be a text"),
        ({"weights": None}, ArgumentTypeError, "weights is None and must be a name or a path"),
        ({"profile": "srgb"}, ArgumentTypeError, "art.save("),
        ({"size": 0}, ArgumentError, "size=0"),
    ):
        with pytest.raises(kind) as caught:
            render.stylize("photos/a.png", "x.png", **options)
        assert said in str(caught.value)


# --- batches ------------------------------------------------------------------------------------------------


def test_a_batch_paints_each_pair_when_it_is_asked_for(folder, paint):
    save_photo(folder / "photos/b.png", seed=1)
    save_painting(folder / "y.png", seed=1)
    events = []
    found = paint.batch(["photos", photo_pixels(seed=2)], ["x.png", "y.png"], report=events.append, **QUICK)
    assert not events
    first = next(found)
    assert len(events) == 4
    arts = [first, *found]
    names = [(art.recipe["photo"].split("-")[0], art.recipe["style"]["name"]) for art in arts]
    assert names == [(photo, style) for style in "xy" for photo in ("a.png", "b.png", "array")]
    assert np.array_equal(first.pixels, paint("photos/a.png", "x.png", **QUICK).pixels)


def test_a_batch_leaves_out_what_fails_and_says_so_at_its_end(folder, paint):
    (folder / "photos/0 broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = []
    with pytest.raises(BatchError) as caught:
        for art in paint.batch(["photos", np.zeros((4, 4, 3))], "x.png", **QUICK):
            done.append(art.recipe["photo"])
    assert done == ["a.png"]
    assert [what for what, _ in caught.value.failed] == ["photos/0 broken.png x x", "ndarray x x"]
    assert "2 of the batch failed" in str(caught.value) and "photo has 4 x 4 px" in str(caught.value)


def test_a_batch_into_a_folder_is_that_of_the_command_line_and_goes_on(folder, paint, program):
    save_photo(folder / "photos/b.png", seed=1)
    summary = paint.batch("photos", "x.png", "prints", **QUICK)
    assert (summary.done, summary.skipped, summary.failed) == (2, 0, [])
    status, _, err = program(
        "batch", "--inputs", "photos", "--styles", "x.png", "--output", "others", "--size", "64", *CHEAP
    )
    assert status == 0, err
    for name in ("a--x.png", "b--x.png"):
        assert Path("prints", name).read_bytes() == Path("others", name).read_bytes()
    Path("prints/b--x.png").unlink()
    events = []
    again = paint.batch("photos", "x.png", "prints", report=events.append, **QUICK)
    assert (again.done, again.skipped) == (1, 1) and isinstance(events[-1], render.JobDone)
    status, out, _ = program(
        "batch",
        "--inputs",
        "photos",
        "--styles",
        "x.png",
        "--output",
        "prints",
        "--size",
        "64",
        *CHEAP,
        "--json",
    )
    assert status == 0 and '"skipped": 2' in out


def test_a_batch_into_a_folder_names_files_of_arrays_and_goes_on_with_them_too(folder, paint):
    photos = {
        "sky/one": photo_pixels(),
        "two": Image.fromarray(photo_pixels(seed=1)),
        "three": "photos/a.png",
    }
    made = dict(**QUICK, format="tiff", bit_depth=16)
    summary = paint.batch(photos, [painting_pixels(), {"x.png": 1}], "prints", **made)
    assert summary.done == 6 and not summary.failed
    assert {path.name.split("--")[0] for path in Path("prints").rglob("*.tif")} == {"one", "two", "three"}
    assert len(list(Path("prints/sky").glob("one--*.tif"))) == 2
    assert paint.batch(photos, [painting_pixels(), {"x.png": 1}], "prints", **made).skipped == 6
    assert paint.batch(photos, painting_pixels(), "prints", fresh=True, **made).done == 3
    assert list(paint._store.folder.iterdir()) == []


def test_a_batch_into_a_folder_counts_failures_and_keeps_files_of_others(folder, paint):
    (folder / "photos/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    save(folder / "prints/a--x.png", painting_pixels())
    kept = Path("prints/a--x.png").read_bytes()
    summary = paint.batch("photos", "x.png", "prints", **QUICK)
    assert summary.done == 0 and {what for what, _ in summary.failed} == {
        "broken.png x x",
        str(folder / "prints/a--x.png"),
    }
    assert summary.exit_status == 1 and Path("prints/a--x.png").read_bytes() == kept
    assert paint.batch("photos/a.png", "x.png", "prints", overwrite=True, **QUICK).done == 1
    assert Path("prints/a--x.png").read_bytes() != kept


def test_a_batch_of_two_processes_gives_the_same_files(folder, paint):
    save_photo(folder / "photos/b.png", seed=1)
    script = folder / "script.py"
    script.write_text(
        f"""
import render
if __name__ == "__main__":
    with render.Painter(device="cpu", precision="float32") as paint:
        summary = paint.batch("photos", "x.png", "two", workers=2, **{QUICK!r})
    print(summary.done, summary.workers)
    with render.Painter(device="cpu", precision="float32") as paint:
        paint.batch("photos", "x.png", "one", **{QUICK!r})
"""
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "2"], done.stderr
    for name in ("a--x.png", "b--x.png"):
        assert Path("two", name).read_bytes() == Path("one", name).read_bytes()


@pytest.mark.parametrize(
    ("photos", "styles", "options", "kind", "said"),
    [
        ([], "x.png", {}, ArgumentError, "photos is empty"),
        ({}, "x.png", {}, ArgumentError, "photos is empty"),
        ("photos", [], {}, ArgumentError, "styles is empty"),
        ("nothing/*", "x.png", {}, ArgumentError, "photos nothing/*: no pictures there"),
        ({"../a": "photos/a.png"}, "x.png", {}, ArgumentTypeError, "photos: the name ../a must be a text"),
        ({3: "photos/a.png"}, "x.png", {}, ArgumentTypeError, "photos: the name 3 must be a text"),
        ([3], "x.png", {}, ArgumentTypeError, "photos[0] is 3 (int)"),
        ("photos", [3], {}, ArgumentTypeError, "styles[0] is 3 (int)"),
        (
            "photos",
            "x.png",
            {"workers": 0},
            ArgumentError,
            "workers is 0 and must be a whole number, 1 or more",
        ),
        ("photos", "x.png", {"checkpoint_every_s": -1}, ArgumentError, "checkpoint_every_s is -1"),
        ("photos", "x.png", {"format": "jpeg", "bit_depth": 16}, ArgumentError, "jpeg holds 8 bits"),
        ("photos", "x.png", {"bitdepth": 16}, ArgumentTypeError, "Did you mean 'bit_depth'?"),
    ],
)
def test_a_wrong_batch_is_refused_before_its_folder_is_made(
    folder, paint, photos, styles, options, kind, said
):
    with pytest.raises(kind) as caught:
        paint.batch(photos, styles, "prints", **{**QUICK, **options})
    assert said in str(caught.value) and not Path("prints").exists()
