"""Which jobs a batch has, what they are called, and what makes two of them the same."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from helpers.pictures import save_painting, save_photo
from render.errors import PictureError, UsageError
from render.jobs import job
from render.jobs.inputs import Input, find_inputs
from render.jobs.job import Job, finished_id, make_job
from render.jobs.plan import output_path, plan_jobs
from render.jobs.settings import FINISHING, Settings, as_option, usage_error
from render.jobs.styles import Look, apply_settings, load_style

WEIGHTS = "c34748d2"


@pytest.fixture(autouse=True)
def files_are_read_anew():
    job.sha256.cache_clear()  # a file's hash is kept for the length of a batch


@pytest.fixture
def in_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())


def names(*entries: str, without: str | None = None) -> list[str]:
    return [item.name for item in find_inputs(entries, without=without and Path(without))]


def plan(inputs, styles, settings=Settings(), output=Path("prints")):
    failures = []
    looks = [(style, apply_settings(style.look)) for style in styles]
    planned = plan_jobs(
        inputs, looks, settings, output, weights_sha256=WEIGHTS, failed=lambda *what: failures.append(what)
    )
    return planned, failures


# --- which photographs --------------------------------------------------------------------------------------


def test_a_folder_gives_its_pictures_with_those_of_its_sub_folders(in_folder):
    touch(
        "photos/b.jpg",
        "photos/a.PNG",
        "photos/italy/rome/forum.tif",
        "photos/notes.txt",
        "photos/italy/list.csv",
    )
    assert names("photos") == ["a", "b", "italy/rome/forum"]
    assert [item.path.as_posix() for item in find_inputs(["photos"])][0] == "photos/a.PNG"


def test_hidden_files_and_folders_are_left_out(in_folder):
    touch("photos/a.jpg", "photos/.b.jpg", "photos/.thumbnails/c.jpg", "photos/italy/.d.png")
    assert names("photos") == ["a"]


def test_the_output_folder_is_never_an_input(in_folder):
    touch("photos/a.jpg", "photos/prints/a--x.png", "photos/prints/deep/b--x.png", "photos/printed/c.jpg")
    assert names("photos", without="photos/prints") == ["a", "printed/c"]
    assert names("photos", without="photos/../photos/prints/") == ["a", "printed/c"]
    assert names("photos") == ["a", "printed/c", "prints/a--x", "prints/deep/b--x"]


def test_what_a_shell_makes_of_a_star_leaves_the_output_folder_out_too(in_folder):
    touch("a.jpg", "prints/a--x.png")
    assert names("a.jpg", "prints", without="prints") == names("*", without="prints") == ["a"]


def test_rendering_into_the_input_folder_itself_is_refused_because_prints_would_become_inputs(in_folder):
    touch("a.jpg")
    with pytest.raises(UsageError, match="the --output folder is never searched"):
        find_inputs(["."], without=Path("photos/.."))
    assert names("a.jpg", without=".") == ["a"]  # a file that is named is meant


def test_files_folders_and_globs_mix_in_the_order_given_and_nothing_comes_twice(in_folder):
    touch("z.jpg", "photos/b.jpg", "photos/a.jpg", "photos/sub/c.jpg", "more/d.jpg", "more/e.txt")
    assert names("z.jpg", "photos", "mo*/*") == ["z", "a", "b", "sub/c", "d"]
    assert names("photos/b.jpg", "photos", "./photos/b.jpg") == ["b", "a", "sub/c"]
    assert names("photos/**/*.jpg") == ["a", "b", "c"]
    assert names("p*") == ["a", "b", "sub/c"]


def test_a_file_that_looks_like_a_glob_is_that_file(in_folder):
    touch("IMG[1].jpg", "IMG1.jpg")
    assert names("IMG[1].jpg") == ["IMG[1]"]


def test_a_missing_file_stays_an_input_so_that_its_job_can_fail_by_name(in_folder):
    touch("a.jpg")
    assert names("a.jpg", "gone.jpg") == ["a", "gone"]


def test_nothing_found_is_wrong_usage(in_folder):
    touch("photos/notes.txt")
    for entry in ("photos", "*.jpg", "none*/"):
        with pytest.raises(UsageError, match=r"no pictures there\. Files with the extensions .*\.jpg"):
            find_inputs([entry])


# --- the plan -----------------------------------------------------------------------------------------------


@pytest.fixture
def two_by_two(in_folder):
    photos = [save_photo(Path("photos/a.png")), save_photo(Path("photos/sub/b.png"), seed=1)]
    styles = [load_style(save_painting(Path(f"styles/{name}.png"), seed)) for seed, name in enumerate("xy")]
    assert all(path.exists() for path in photos)
    return find_inputs(["photos"]), styles


def test_every_photo_meets_every_style_a_style_at_a_time(two_by_two):
    planned, failures = plan(*two_by_two)
    assert [(job.photo.name, job.style.name) for job in planned] == [
        ("a.png", "x"),
        ("b.png", "x"),
        ("a.png", "y"),
        ("b.png", "y"),
    ]
    assert not failures
    assert len({job.id for job in planned}) == 4


@pytest.mark.parametrize(
    ("format", "ending"), [("png", ".png"), ("jpeg", ".jpg"), ("tiff", ".tif"), ("webp", ".webp")]
)
def test_prints_are_named_by_photo_and_style_under_the_sub_folders_of_the_input(two_by_two, format, ending):
    planned, _ = plan(*two_by_two, Settings(format=format))
    assert [job.output.as_posix() for job in planned[:2]] == [
        f"prints/a--x{ending}",
        f"prints/sub/b--x{ending}",
    ]


def test_a_dot_in_a_photos_name_is_kept(in_folder):
    touch("photos/a.b.c.jpg")
    style = load_style(save_painting(Path("x.png")))
    (item,) = find_inputs(["photos"])
    assert output_path(item, style, Settings(), Path("prints")).name == "a.b.c--x.png"


def test_an_unreadable_photo_is_reported_once_and_the_others_are_planned(two_by_two):
    inputs, styles = two_by_two
    planned, failures = plan([*inputs, Input(Path("gone.jpg"), "gone")], styles)
    assert len(planned) == 4
    ((what, why),) = failures
    assert what == "gone.jpg" and "gone.jpg: no such file" in why and "Check" in why


def test_an_unreadable_style_picture_is_reported_once_and_the_other_styles_are_planned(two_by_two):
    inputs, (x, y) = two_by_two
    x.path.unlink()
    planned, failures = plan(inputs, [x, y])
    assert {job.style.name for job in planned} == {"y"} and len(planned) == 2
    ((what, why),) = failures
    assert what == "style x" and "x.png" in why


@pytest.mark.parametrize("other", ["a.tif", "A.png", "more/a.jpg"])  # many disks take A.png for a.png
def test_two_photos_whose_prints_would_collide_are_refused_by_name(in_folder, other):
    style = load_style(save_painting(Path("x.png")))
    inputs = [Input(Path("a.jpg"), "a"), Input(Path(other), Path(other).stem)]
    with pytest.raises(UsageError, match="would be written by two jobs") as error:
        plan(inputs, [style])
    assert "a.jpg" in str(error.value) and other in str(error.value) and "Rename" in str(error.value)


def test_names_that_run_together_collide_too(in_folder):
    styles = [load_style(save_painting(Path(name))) for name in ("x.png", "b--x.png")]
    with pytest.raises(UsageError, match="two jobs"):
        plan([Input(Path("a.jpg"), "a"), Input(Path("a--b.jpg"), "a--b")], styles)


# --- identity -----------------------------------------------------------------------------------------------


@pytest.fixture
def base(photo, painting):
    """What a job is made of, to be changed one thing at a time."""
    return {
        "photo": photo,
        "style": load_style(painting),
        "look": Look(),
        "settings": Settings(),
        "output": Path("prints/a.png"),
        "weights_sha256": WEIGHTS,
    }


def made(base, **changes) -> Job:
    facts = {**base, **changes}
    return make_job(
        facts.pop("photo"),
        facts.pop("style"),
        facts.pop("look"),
        facts.pop("settings"),
        facts.pop("output"),
        **facts,
    )


def identity(base, **changes) -> str:
    return made(base, **changes).id


def test_the_same_job_has_the_same_identity(base):
    assert identity(base) == identity(base)


OTHER_SETTINGS = {
    "size_px": 1025,
    "paper": "A4",
    "bleed_mm": 3.0,
    "fit": "fill",
    "quality": "best",
    "seed": 1,
    "format": "tiff",
    "dpi": 150.0,
    "color": "luminance",
    "photoreal": 0.03,
    "bit_depth": 16,
    "profile": "adobe-rgb",
    "intent": "perceptual",
    "soft_proof": "display-p3",
    "preprocessing": "torchvision",
    "precision": "bfloat16",
}


@pytest.mark.parametrize("key", OTHER_SETTINGS)
def test_every_setting_makes_another_job(base, key):
    assert identity(base, settings=Settings().model_copy(update={key: OTHER_SETTINGS[key]})) != identity(base)


@pytest.mark.parametrize("key", OTHER_SETTINGS)
def test_only_what_is_applied_to_the_painted_picture_leaves_it_the_same(base, key):
    other = made(base, settings=Settings().model_copy(update={key: OTHER_SETTINGS[key]}))
    assert (other.painting_id == made(base).painting_id) == (key in FINISHING or key == "dpi")


@pytest.mark.parametrize("color", ["luminance", "histogram"])
def test_colours_changed_after_painting_leave_what_was_painted_and_colours_matched_before_do_not(base, color):
    styled, after, before = (made(base, settings=Settings(color=mode)) for mode in ("style", color, "match"))
    assert styled.painting_id == after.painting_id != before.painting_id
    assert len({styled.id, after.id, before.id}) == 3


def test_dpi_counts_for_what_was_painted_only_where_there_is_paper(base):
    def painted(**settings):
        return made(base, settings=Settings(**settings)).painting_id

    assert painted(dpi=150.0) == painted(dpi=300.0)  # a tag in the file
    assert painted(dpi=150.0, paper="A4") != painted(dpi=300.0, paper="A4")  # twice the pixels


@pytest.mark.parametrize("key", ["profile", "soft_proof"])
def test_a_profile_counts_by_its_content_and_not_by_its_name(base, tmp_path, key):
    contents = {"one.icc": b"ink", "copy.icc": b"ink", "other.icc": b"other ink"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    one, copy, other = (identity(base, settings=Settings(**{key: str(tmp_path / name)})) for name in contents)
    assert one == copy != other


def test_the_identity_of_a_recoloured_print_is_that_of_a_job_with_that_colour(base):
    for settings in (
        Settings(color="luminance"),
        Settings(color="histogram", bit_depth=16, format="tiff", paper="A4"),
    ):
        assert finished_id(
            made(base, settings=settings.model_copy(update={"color": "style"})).painting_id, settings
        ) == identity(base, settings=settings)


def test_the_file_shows_other_colours_than_were_painted_where_they_were_changed_afterwards():
    changed = [
        settings
        for settings in (
            Settings(),
            Settings(color="match"),
            Settings(color="luminance"),
            Settings(color="histogram"),
            Settings(photoreal=0.03),
            Settings(profile="adobe-rgb", bit_depth=16, format="tiff"),
        )
        if settings.changes_what_was_painted
    ]
    assert changed == [Settings(color="luminance"), Settings(color="histogram"), Settings(photoreal=0.03)]


def test_no_setting_is_forgotten_by_the_test_above():
    assert set(Settings.model_fields) == {*OTHER_SETTINGS, "weights"}


OTHER_LOOKS = [
    "style_loss=gram",
    "style_layers.relu1_1=2",
    "content_layers.relu4_2=2",
    "content_weight=0.2",
    "style_weight=2",
    "tv_weight=1",
    "tv_form=power",
    "normalisation=gatys",
    "style_scale=2",
    "pooling=average",
    "edge=zero",
    "optimiser=adam",
    "init=noise",
]


@pytest.mark.parametrize("setting", OTHER_LOOKS)
def test_every_key_of_the_look_makes_another_job(base, setting):
    assert identity(base, look=apply_settings({}, [setting])) != identity(base)


def test_no_key_of_the_look_is_forgotten_by_the_test_above():
    assert {setting.partition("=")[0].partition(".")[0] for setting in OTHER_LOOKS} == set(Look.model_fields)


def test_another_photo_painting_or_network_makes_another_job(base, tmp_path):
    others = {
        "photo": save_photo(tmp_path / "other.png", seed=1),
        "style": load_style(save_painting(tmp_path / "blots.png", seed=1)),
        "weights_sha256": "dcbb9e9d",
    }
    assert len({identity(base), *(identity(base, **{key: value}) for key, value in others.items())}) == 4


def test_the_share_of_a_style_picture_makes_another_job(base, tmp_path):
    save_painting(tmp_path / "second.png", seed=1)
    ids = set()
    for weight in (1.0, 2.0):
        preset = tmp_path / f"mix{weight}.toml"
        preset.write_text(
            f'[[pictures]]\nfile = "painting.png"\n[[pictures]]\nfile = "second.png"\nweight = {weight}\n'
        )
        ids.add(identity(base, style=load_style(preset)))
    assert len(ids | {identity(base)}) == 3


def test_names_places_and_dates_make_no_other_job(base, photo, painting, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved_photo, moved_painting = elsewhere / "renamed.png", elsewhere / "renamed_too.png"
    moved_photo.write_bytes(photo.read_bytes())
    moved_painting.write_bytes(painting.read_bytes())
    assert identity(base, output=Path("other/folder/b.png")) == identity(base)
    assert identity(base, photo=moved_photo) == identity(base)
    assert identity(base, style=load_style(moved_painting)) == identity(base)


def test_a_preset_that_says_the_defaults_is_the_bare_picture(base, painting):
    preset = painting.with_name("named.toml")
    preset.write_text(
        f'title = "Blots"\n[[pictures]]\nfile = "painting.png"\n[look]\ncontent_weight = '
        f"{Look().content_weight}\n"
    )
    style = load_style(preset)
    assert identity(base, style=style, look=apply_settings(style.look)) == identity(base)


def test_the_weights_count_by_what_they_are_and_not_by_their_files_name(base):
    assert identity(base, settings=Settings(weights="a/vgg19.pth")) == identity(
        base, settings=Settings(weights="b/vgg.pth")
    )


def test_a_starting_picture_counts_by_its_content_and_not_by_its_name(base, tmp_path):
    one, same, other = (
        save_photo(tmp_path / name, seed=seed) for name, seed in (("1.png", 2), ("2.png", 2), ("3.png", 3))
    )
    ids = [identity(base, look=apply_settings({}, [f"init={path}"])) for path in (one, same, other)]
    assert ids[0] == ids[1] != ids[2]
    assert identity(base) not in ids


def test_a_starting_picture_that_is_gone_is_named(base, tmp_path):
    start = save_photo(tmp_path / "start.png")
    look = apply_settings({}, [f"init={start}"])
    start.unlink()
    with pytest.raises(PictureError, match=r"start\.png: no such file"):
        identity(base, look=look)


# --- paper --------------------------------------------------------------------------------------------------


def test_settings_lay_a_photograph_out_by_long_side_or_on_paper():
    assert Settings(size_px=100).layout((30, 40)).picture == (75, 100)
    on_paper = Settings(paper="6x4cm", dpi=100.0, bleed_mm=2.0, fit="pad").layout((30, 40))
    assert (on_paper.picture, on_paper.sheet, on_paper.dpi) == ((157, 209), (173, 252), 100.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bleed_mm": 3.0}, r"--bleed 3mm: .*--print"),
        ({"fit": "fill"}, r"--fit fill: .*--print"),
        ({"dpi": 0.0}, r"--dpi 0: must be 10 to 2400"),
        ({"dpi": float("nan")}, r"--dpi nan: must be 10 to 2400"),
        ({"paper": "A4", "dpi": 9600.0}, r"--dpi 9600: must be 10 to 2400"),
        ({"paper": "A99"}, r"--print A99: is no paper known here"),
    ],
)
def test_settings_of_paper_that_mean_nothing_are_refused_with_the_fix(settings, message):
    with pytest.raises(ValidationError) as error:
        Settings(**settings)
    assert re.match(message, str(usage_error(error.value, as_option)))
    with pytest.raises(UsageError, match=message):  # a copy is not checked when it is made
        Settings().model_copy(update=settings).layout((30, 40))


def test_a_job_is_labelled_by_photo_and_style(base, photo):
    job = make_job(photo, base["style"], Look(), Settings(), Path("a.png"), weights_sha256=WEIGHTS)
    assert job.label == "photo.png x painting"
