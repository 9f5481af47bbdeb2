"""What render.jobs.styles promises, on real preset files and pictures."""

import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from helpers.pictures import special
from render.errors import PictureError, PresetError, UsageError
from render.jobs import styles, toml
from render.jobs.styles import Look, add_style, apply_settings, describe_look, find_styles, load_style
from render.network.layers import LAYERS


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), "navy").save(path)
    return path


def preset(path: Path, text: str = "", pictures: str | None = None) -> Path:
    """A .toml that names a picture of the same name where `pictures` says nothing else; the picture is made
    too."""
    if pictures is None:
        picture(path.with_suffix(".jpg"))
        pictures = f'[[pictures]]\nfile = "{path.stem}.jpg"\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"{text}\n{pictures}" if "[look]" not in text else f"{pictures}\n{text}", encoding="utf-8"
    )
    return path


def names(styles) -> list[str]:
    return [style.name for style in styles]


# --- the look -----------------------------------------------------------------------------------------------


def test_the_default_look_is_valid_and_its_own_values_make_it_again():
    assert Look.model_validate(Look().model_dump()) == Look()
    assert Look.model_validate_json(Look().model_dump_json()) == Look()


def test_a_look_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Look().style_weight = 2


def test_changing_one_looks_layers_leaves_the_defaults_alone():
    Look().style_layers["relu1_1"] = 99
    assert Look().style_layers["relu1_1"] == Look.model_fields["style_layers"].default["relu1_1"] != 99


def test_every_key_has_a_default_in_its_range_and_is_described():
    keys = describe_look()
    assert [key.key for key in keys] == list(Look.model_fields)
    for key in keys:
        assert key.description.endswith(".") and key.range
        assert Look.model_validate({key.key: key.default}) == Look()


def test_ranges_are_told_from_the_same_bounds_that_are_checked():
    ranges = {key.key: key.range for key in describe_look()}
    assert ranges["style_scale"] == "0.1 to 4"
    assert ranges["tv_weight"] == "0 or more"
    assert ranges["pooling"] == "max | average"
    assert Look(style_scale=0.1) and Look(style_scale=4)
    for outside in (0.09, 4.01):
        with pytest.raises(ValidationError):
            Look(style_scale=outside)


def test_every_layer_of_vgg19_is_known_and_no_other():
    assert len(tuple(LAYERS)) == 2 * 16 + 5
    assert tuple(LAYERS)[:5] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1")
    assert tuple(LAYERS)[-1] == "pool5"
    for layer in tuple(LAYERS):
        assert Look(style_layers={layer: 1}).style_layers == {layer: 1.0}
    for layer in ("relu1_3", "relu6_1", "pool6", "relu3_5", "fc6", "conv0_1", ""):
        with pytest.raises(ValidationError, match=f"'{layer}' is not a layer of VGG-19"):
            Look(content_layers={layer: 1})


# --- settings from the command line -------------------------------------------------------------------------


def test_without_settings_the_defaults_hold_and_overrides_come_before_them():
    assert apply_settings({}) == Look()
    assert apply_settings({"style_scale": 2.0}) == Look(style_scale=2)


def test_settings_win_over_the_preset_and_the_last_over_the_first():
    look = apply_settings(
        {"style_weight": 3.0, "pooling": "average"}, ["style_weight=4", " style_weight = 5 "]
    )
    assert look == Look(style_weight=5, pooling="average")


@pytest.mark.parametrize("text", ["adam", '"adam"', "'adam'", " adam "])
def test_texts_need_no_quotes(text):
    assert apply_settings({}, [f"optimiser={text}"]).optimiser == "adam"


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("0.5", 0.5), ("1e3", 1000), ("1_000", 1000)])
def test_numbers_are_written_as_in_toml(text, value):
    assert apply_settings({}, [f"style_weight={text}"]).style_weight == value


def test_one_layer_is_set_and_the_others_stay():
    defaults = Look().style_layers
    assert apply_settings({}, ["style_layers.relu1_1=2"]).style_layers == {**defaults, "relu1_1": 2}
    assert apply_settings({"style_layers": {"pool4": 1.0}}, ["style_layers.relu1_1=2"]).style_layers == {
        "pool4": 1,
        "relu1_1": 2,
    }


def test_a_whole_table_of_layers_replaces_them_all():
    assert apply_settings({}, ["style_layers={relu1_1=1, pool4=0.5}"]).style_layers == {
        "relu1_1": 1,
        "pool4": 0.5,
    }


def test_applying_settings_changes_neither_the_preset_nor_the_defaults():
    overrides = {"style_layers": {"pool4": 1.0}}
    apply_settings(overrides, ["style_layers.relu1_1=2", "style_weight=9"])
    apply_settings({}, ["content_layers.relu4_1=2"])
    assert overrides == {"style_layers": {"pool4": 1.0}}
    assert Look().content_layers == {"relu4_2": 1.0}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "style_wieght=2",
            r"--set style_wieght=2: unknown key 'style_wieght'\. Did you mean 'style_weight'\?",
        ),
        ("zzz=2", r"unknown key 'zzz'\. Known keys: style_loss, "),
        ("style_weight", r"--set style_weight: a value is missing\. Write key=value"),
        ("style_scale=9", r"style_scale is 9 and must be 0\.1 to 4\."),
        ("style_weight=-1", r"style_weight is -1 and must be 0 or more\."),
        ("style_weight=nan", r"style_weight is nan and must be 0 or more\."),
        ("style_weight=inf", r"style_weight is inf and must be 0 or more\."),
        ("style_weight=heavy", r"style_weight is 'heavy' and must be a number\."),
        ("style_weight=true", r"style_weight is True and must be a number\."),
        ("style_weight='2'", r"style_weight is '2' and must be a number\."),
        ("style_weight=1\nstyle_scale=2", r"must be a number\."),
        (
            "pooling=averge",
            r"pooling is 'averge' and must be one of max \| average\. Did you mean 'average'\?",
        ),
        ("pooling=2", r"pooling is 2 and must be one of max \| average\."),
        ("pooling.x=2", r"--set pooling\.x=2: 'pooling' has no parts\. Write --set pooling=2\."),
        (
            "style_layers.rel1_1=1",
            r"style_layers: 'rel1_1' is not a layer of VGG-19\. Did you mean 'relu1_1'\?",
        ),
        ("style_layers.relu1_1=-1", r"style_layers: the weight of 'relu1_1' is -1 and must be 0 or more\."),
        ("style_layers.relu1_1=inf", r"style_layers\.relu1_1 is inf and must be a finite number\."),
        ("style_layers.relu1_1=x", r"style_layers\.relu1_1 is 'x' and must be a number\."),
        ("style_layers=3", r"style_layers is 3 and must be a table of names and numbers\."),
        ("style_layers={}", r"style_layers: at least one layer must have a weight above 0\."),
        ("content_layers.relu4_2=0", r"content_layers: at least one layer must have a weight above 0\."),
        (
            "init=contnt",
            r"init is content, noise or a picture, and there is no file 'contnt'\. Did you mean 'content'\?",
        ),
        ("init=", r"there is no file ''"),
        ("init=3", r"init is 3 and must be a text in quotes"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_with_the_fix(setting, message):
    with pytest.raises(UsageError, match=message):
        apply_settings({}, [setting])


def test_nothing_to_optimise_is_refused_though_either_weight_may_be_zero():
    assert apply_settings({}, ["content_weight=0"]) and apply_settings({}, ["style_weight=0"])
    with pytest.raises(UsageError, match="content_weight and style_weight are both 0"):
        apply_settings({}, ["content_weight=0", "style_weight=0"])


def test_a_starting_picture_becomes_an_absolute_path(tmp_path, monkeypatch):
    picture(tmp_path / "start.png")
    monkeypatch.chdir(tmp_path)
    assert apply_settings({}, ["init=start.png"]).init == str(tmp_path / "start.png")
    assert apply_settings({}, ["init=noise"]).init == "noise"


# --- one style ----------------------------------------------------------------------------------------------


def test_a_preset_gives_its_words_pictures_and_only_the_look_it_names(tmp_path):
    for name in ("a.jpg", "sub/b.png"):
        picture(tmp_path / name)
    path = tmp_path / "storm.toml"
    path.write_text(
        'title = "Stürm"\nauthor = "A. N. Other"\nlicence = "CC0-1.0"\ndescription = "Waves."\n'
        '[[pictures]]\nfile = "a.jpg"\n[[pictures]]\nfile = "sub/b.png"\nweight = 2.5\n'
        '[look]\nstyle_scale = 2\npooling = "average"\n[look.style_layers]\nrelu2_2 = 1\n',
        encoding="utf-8",
    )
    style = load_style(path)
    assert (style.name, style.title, style.author, style.licence, style.description) == (
        "storm",
        "Stürm",
        "A. N. Other",
        "CC0-1.0",
        "Waves.",
    )
    assert style.pictures == (
        styles.StylePicture(tmp_path / "a.jpg", 1.0),
        styles.StylePicture(tmp_path / "sub/b.png", 2.5),
    )
    assert style.look == {"style_scale": 2.0, "pooling": "average", "style_layers": {"relu2_2": 1.0}}
    assert style.path == path


def test_a_bare_picture_is_a_style_with_the_default_look(tmp_path):
    path = picture(tmp_path / "starry night.JPG")
    style = load_style(path)
    assert (style.name, style.title, style.licence) == ("starry night", "starry night", "unknown")
    assert style.pictures == (styles.StylePicture(path, 1.0),) and style.look == {}


def test_paths_are_absolute_wherever_the_preset_was_named_from(tmp_path, monkeypatch):
    preset(tmp_path / "styles/a.toml")
    monkeypatch.chdir(tmp_path)
    style = load_style("styles/a.toml")
    monkeypatch.chdir("/")
    assert style.path.is_file() and style.pictures[0].path == tmp_path / "styles/a.jpg"


def test_a_starting_picture_is_found_beside_its_preset(tmp_path):
    picture(tmp_path / "start.png")
    style = load_style(preset(tmp_path / "a.toml", '[look]\ninit = "start.png"'))
    assert style.look["init"] == str(tmp_path / "start.png")
    with pytest.raises(PresetError, match="the picture that look.init names 'gone.png' is missing"):
        load_style(preset(tmp_path / "b.toml", '[look]\ninit = "gone.png"'))


def test_a_style_travels_to_another_process(tmp_path):
    style = load_style(preset(tmp_path / "a.toml", "[look]\nstyle_scale = 2"))
    assert pickle.loads(pickle.dumps(style)) == style


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[look]\nstyle_wieght = 2",
            r"a\.toml: unknown key 'look\.style_wieght'\. Did you mean 'style_weight'\?",
        ),
        ('autor = "me"', r"a\.toml: unknown key 'autor'\. Did you mean 'author'\?"),
        (
            "xyzzy = 1",
            r"unknown key 'xyzzy'\. Known keys: title, author, licence, description, pictures, look\.",
        ),
        ("title = 3", r"a\.toml: title is 3 and must be a text in quotes\."),
        ("[look]\nstyle_scale = 9", r"a\.toml: look\.style_scale is 9 and must be 0\.1 to 4\."),
        ("[look]\nstyle_weight = nan", r"look\.style_weight is nan and must be 0 or more\."),
        (
            '[look]\npooling = "mx"',
            r"look\.pooling is 'mx' and must be one of max \| average\. Did you mean 'max'\?",
        ),
        (
            "[look]\nstyle_layers = {rel1_1 = 1}",
            r"look\.style_layers: 'rel1_1' is not a layer of VGG-19\. Did you mean 'relu1_1'",
        ),
        ("[look]\nstyle_weight = 0\ncontent_weight = 0", r"look: content_weight and style_weight are both 0"),
        (
            "[look]\nstyle_scale = 9\ntv_wait = 1",
            r"style_scale is 9 .* unknown key 'look\.tv_wait'\. Did you mean 'tv_weight'",
        ),
        ("look = 3", r"look is 3 and must be a table\."),
        ("title = ", r"a\.toml: is not valid TOML: .*line 1, column 9.*\. Correct that line\."),
    ],
)
def test_a_wrong_preset_is_refused_by_file_and_key_with_the_fix(tmp_path, text, message):
    with pytest.raises(PresetError, match=message):
        load_style(preset(tmp_path / "a.toml", text))


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ("", r"a\.toml: key 'pictures' is missing\."),
        ("pictures = []", r"a\.toml: pictures is empty\. Name the style's picture"),
        (
            '[[pictures]]\nfile = "gone.jpg"',
            r"style picture 'gone\.jpg' is missing\. Put it at /.*/gone\.jpg, or correct its name",
        ),
        ('[[pictures]]\nfile = "b.jpg"\nweight = 0', r"pictures\.0\.weight is 0 and must be above 0\."),
        (
            '[[pictures]]\nfile = "b.jpg"\nwieght = 1',
            r"unknown key 'pictures\.0\.wieght'\. Did you mean 'weight'\?",
        ),
        ("[[pictures]]\nweight = 1", r"key 'pictures\.0\.file' is missing\."),
        (
            '[[pictures]]\nfile = "b.jpg"\n[[pictures]]\nfile = "./b.jpg"',
            r"names '\./b\.jpg' twice\. Name it once",
        ),
        ('pictures = "b.jpg"', r"pictures is 'b\.jpg' and must be a list\."),
        ('pictures = ["b.jpg"]', r"pictures\.0 is 'b\.jpg' and must be a table\."),
    ],
)
def test_wrong_pictures_in_a_preset_are_refused(tmp_path, pictures, message):
    picture(tmp_path / "b.jpg")
    with pytest.raises(PresetError, match=message):
        load_style(preset(tmp_path / "a.toml", pictures=pictures))


def test_files_that_are_no_text_or_are_missing_are_named(tmp_path):
    (tmp_path / "a.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(PresetError, match=r"a\.toml: is not UTF-8 text \(byte 9\)"):
        load_style(tmp_path / "a.toml")
    with pytest.raises(PresetError, match=r"b\.toml: no such preset"):
        load_style(tmp_path / "b.toml")
    with pytest.raises(PresetError, match=r"b\.jpg: no such style picture"):
        load_style(tmp_path / "b.jpg")
    (tmp_path / "c.toml").mkdir()
    with pytest.raises(PresetError, match=r"c\.toml: is a folder, not a preset"):
        load_style(tmp_path / "c.toml")


# --- many styles --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two presets and two pictures that no preset uses, at two depths, and things that are no style."""
    folder = tmp_path / "styles"
    preset(folder / "b.toml")
    preset(
        folder / "deep/mix.toml", pictures='[[pictures]]\nfile = "../z.png"\n[[pictures]]\nfile = "../b.jpg"'
    )
    for name in ("z.png", "a.webp", "deep/c.TIF", ".hidden/x.png", ".d.png"):
        picture(folder / name)
    (folder / "README.md").write_text("about these")
    return folder


def test_a_folder_gives_its_presets_and_the_pictures_no_preset_uses(folder):
    styles = find_styles([folder])
    assert names(styles) == ["a", "b", "c", "mix"]
    assert [style.path.suffix for style in styles] == [".webp", ".toml", ".TIF", ".toml"]


def test_the_order_is_the_one_given_and_nothing_comes_twice(folder):
    entries = [folder / "deep", folder, f"{folder}/b.toml", f"{folder}/./b.toml"]
    assert names(find_styles(entries)) == ["c", "mix", "a", "b"]
    assert find_styles(entries) == find_styles(entries)


def test_a_relative_folder_gives_what_the_absolute_one_does(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert find_styles(["styles"]) == find_styles([folder]) == find_styles(["styles/"])


def test_a_glob_gives_what_it_matches(folder):
    assert names(find_styles([f"{folder}/*.toml"])) == ["b"]
    assert names(find_styles([f"{folder}/**/*.toml"])) == ["b", "mix"]
    assert names(find_styles([f"{folder}/*"])) == ["a", "b", "c", "mix"]
    assert names(find_styles([f"{folder}/*.png"])) == ["z"]


def test_a_pattern_the_shell_expands_to_presets_and_their_pictures_names_each_once(folder):
    for entries in (["b.jpg", "b.toml"], ["b.toml", "b.jpg"]):
        (style,) = find_styles([folder / name for name in entries])
        assert style.path == folder / "b.toml"


def test_a_picture_named_alone_is_a_style_though_a_preset_uses_it(folder):
    assert names(find_styles([folder / "deep/mix.toml", folder / "z.png"])) == ["mix", "z"]


def test_two_styles_of_one_name_are_refused_because_prints_are_named_by_it(tmp_path):
    for name in ("x/a.jpg", "y/a.jpg"):
        picture(tmp_path / name)
    with pytest.raises(
        UsageError, match=r"two styles are called 'a': .*x/a\.jpg and .*y/a\.jpg\..*rename one"
    ):
        find_styles([tmp_path])


def test_a_folder_or_pattern_without_styles_is_refused(tmp_path):
    (tmp_path / "README.md").touch()
    with pytest.raises(PresetError, match="holds no .toml preset and no picture"):
        find_styles([tmp_path])
    with pytest.raises(PresetError, match=r"\*\.md: matches no \.toml preset and no picture"):
        find_styles([f"{tmp_path}/*.md"])
    with pytest.raises(
        PresetError, match="gone: no such file or folder, and no style of that name is shipped"
    ):
        find_styles([tmp_path / "gone"])


def test_one_broken_preset_in_a_folder_is_named_with_its_path(folder, monkeypatch):
    (folder / "deep/broken.toml").write_text("title = ")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(PresetError, match=r"^styles/deep/broken\.toml: is not valid TOML"):
        find_styles(["styles"])


# --- what is shipped ----------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """An installed copy of the package with a collection of two, in a folder from which nothing else is
    found."""
    installed = tmp_path / "installed"
    monkeypatch.setattr(styles, "_shipped", lambda: installed)
    preset(installed / "paintings/impasto_nocturne.toml")
    preset(installed / "paintings/sumi_e_ink.toml")
    (installed / "__pycache__").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return installed


def test_a_shipped_collection_is_found_by_name_where_there_is_no_checkout(shipped):
    assert styles.shipped_collections() == {"paintings": shipped / "paintings"}
    assert names(find_styles(["paintings"])) == ["impasto_nocturne", "sumi_e_ink"]


@pytest.mark.parametrize("name", ["sumi_e_ink", "paintings/sumi_e_ink"])
def test_a_shipped_style_is_found_by_either_of_its_names(shipped, name):
    (style,) = find_styles([name])
    assert style.path == shipped / "paintings/sumi_e_ink.toml"


def test_presets_slash_paintings_is_a_path_and_no_name(shipped):
    with pytest.raises(PresetError, match="presets/paintings: no such file or folder"):
        find_styles(["presets/paintings"])


def test_what_exists_on_disk_comes_before_what_is_shipped(shipped):
    picture(Path("paintings/mine.jpg"))
    assert names(find_styles(["paintings"])) == ["mine"]


@pytest.mark.parametrize(("name", "near"), [("paintngs", "paintings"), ("sumi_ink", "sumi_e_ink")])
def test_an_unknown_name_is_answered_with_the_nearest(shipped, name, near):
    with pytest.raises(
        PresetError, match=f"^{name}: no such .* Did you mean '{near}'.* Shipped collections: paintings;"
    ):
        find_styles([name])


def test_every_style_that_comes_with_the_program_loads_and_says_whose_it_is():
    for name in styles.shipped_collections():
        for style in find_styles([name]):
            apply_settings(style.look)
            assert "unknown" not in (style.author, style.licence), style.path
            assert style.description and all(item.path.stat().st_size for item in style.pictures)


# --- a new style --------------------------------------------------------------------------------------------

HARD_TEXT = 'He said "no\\pe"\n\ttab, \x00 \x1f \x7f, [[pictures]] = # 花 🎨'


def test_an_added_style_is_found_with_every_word_as_given(tmp_path):
    source = picture(tmp_path / "in/Scan 1.PNG")
    path = add_style(
        source,
        folder=tmp_path / "mine/new",
        name="storm",
        title=HARD_TEXT,
        author=HARD_TEXT,
        licence="CC0-1.0",
        description=HARD_TEXT,
    )
    (style,) = find_styles([tmp_path / "mine"])
    assert path == style.path == tmp_path / "mine/new/storm.toml"
    assert (style.title, style.author, style.licence, style.description) == (
        HARD_TEXT,
        HARD_TEXT,
        "CC0-1.0",
        HARD_TEXT,
    )
    assert style.pictures[0].path.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("text", ["", "plain", '"""', "\\", "\\u0041", HARD_TEXT, "\r\n", "a" * 5000])
def test_any_text_survives_being_written_as_toml(text):
    assert tomllib.loads(toml.dumps({"key": text})) == {"key": text}


def test_bytes_that_are_no_text_are_written_as_question_marks():
    assert tomllib.loads(toml.dumps({"key": "a\udcffb"})) == {"key": "a?b"}


def test_adding_overwrites_nothing(tmp_path):
    source = picture(tmp_path / "a.png")
    path = add_style(source, folder=tmp_path / "mine", name="storm")
    before = path.read_bytes()
    with pytest.raises(PresetError, match=r"storm\.toml: exists already\. Choose another name"):
        add_style(source, folder=tmp_path / "mine", name="storm", title="new")
    path.unlink()
    with pytest.raises(PresetError, match=r"storm\.png: exists already"):
        add_style(source, folder=tmp_path / "mine", name="storm")
    assert b"new" not in before and not path.exists()


def test_a_picture_already_in_the_folder_is_described_where_it_lies(tmp_path):
    source = picture(tmp_path / "storm.png")
    assert load_style(add_style(source, folder=tmp_path, name="storm")).pictures[0].path == source


def test_a_picture_that_does_not_open_is_not_added(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(tmp_path / "b.png").read_bytes()[:60])
    with pytest.raises(PictureError, match=r"a\.png"):
        add_style(tmp_path / "a.png", folder=tmp_path / "mine", name="storm")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["", "../storm", "a/b", ".hidden", "two words", "a\n"])
def test_a_name_that_cannot_name_a_file_is_refused(tmp_path, name):
    with pytest.raises(PresetError, match="cannot name a style"):
        add_style(picture(tmp_path / "a.png"), folder=tmp_path / "mine", name=name)


# --- imports ------------------------------------------------------------------------------------------------


def test_reading_presets_needs_neither_torch_nor_opencv(tmp_path):
    path = preset(tmp_path / "a.toml")
    code = (
        "import sys; from render.jobs import styles;"
        f"styles.load_style({str(path)!r}); styles.apply_settings({{}}, ['style_weight=2']); "
        f"styles.describe_look();"
        "print(sorted({'torch', 'cv2', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        == "[]\n"
    )


# --- made to harm -------------------------------------------------------------------------------------------

HARMFUL = {
    "brackets": ("title = " + "[" * 20_000, "nested too deeply"),
    "tables in tables": ("title = " + "{a=" * 20_000, "nested too deeply"),
    "digits": ("title = " + "1" * 5_000, "too many digits"),
    "a huge number": (f"[look]\nstyle_weight = 0x{'f' * 60_000}", "style_weight is a very large int"),
    "a deep key": (".".join("a" * 20_000) + " = 1", "a key has more than 32 parts"),
    "a deep table": (f"[{'.'.join('a' * 20_000)}]\nb = 1", "a key has more than 32 parts"),
    "a deep key of quoted parts": (".".join(['"a"'] * 20_000) + " = 1", "a key has more than 32 parts"),
    "unknown keys by the thousand": (
        "\n".join(f"k{i} = 1" for i in range(5_000)),
        r"unknown key 'k0'.*And 49.. more\.",
    ),
    "a long key": (f"{'k' * 50_000} = 1", "unknown key 'kkk"),
    "a long text": (f"[look]\npooling = '{'x' * 50_000}'", "pooling is 'xxx"),
    "an unclosed text": ('title = """' + '\\"""' * 50_000, "is not valid TOML"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_preset_made_to_harm_is_refused_in_few_words_and_the_others_go_on(tmp_path, name):
    text, message = HARMFUL[name]
    preset(tmp_path / "bad.toml", text)
    preset(tmp_path / "good.toml")
    failures = []
    assert names(find_styles([tmp_path], failed=failures.append)) == [
        "bad",
        "good",
    ]  # bad.jpg: its preset says nothing
    (failure,) = failures
    assert re.search(rf"bad\.toml: .*{message}", str(failure)) and len(str(failure)) < 2_000


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "1" * 5_000, f"0x{'f' * 60_000}", "a.b" * 5_000, "{" + "a." * 20_000 + "=1}"]
)
@pytest.mark.parametrize("key", ["style_weight", "style_layers", "init", "pooling", "style_layers.relu1_1"])
def test_a_setting_made_to_harm_is_wrong_usage(key, text):
    with pytest.raises(UsageError, match=f"--set.*{key.partition('.')[0]}") as error:
        apply_settings({}, [f"{key}={text}"])
    assert len(str(error.value)) < 1_000


@pytest.mark.parametrize("name", ["x" * 5_000, "a\\u0000b", "x/" * 3_000])
@pytest.mark.parametrize("key", ["pictures", "init"])
def test_a_file_name_that_no_disk_can_have_is_missing(tmp_path, name, key):
    start = f'[look]\ninit = "{name}"' if key == "init" else ""
    pictures = f'[[pictures]]\nfile = "{name}"\n' if key == "pictures" else None
    with pytest.raises(PresetError, match=r"a\.toml: .*is missing") as error:
        load_style(preset(tmp_path / "a.toml", start, pictures=pictures))
    assert len(str(error.value)) < 2_000


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b", "x" * 5_000 + ".toml", "a\0b.toml", "a\0b.png"])
def test_a_style_of_a_name_that_no_disk_can_have_is_missing(name):
    failures = []
    assert find_styles([name], failed=failures.append) == () and "no such" in str(failures[0])
    with pytest.raises(PresetError, match="no such"):
        load_style(name)


def test_a_preset_with_a_byte_order_mark_is_read(tmp_path):
    path = preset(tmp_path / "a.toml", 'title = "Nocturne"')
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_style(path).title == "Nocturne"


def test_a_preset_of_many_pictures_or_of_many_bytes_is_refused(tmp_path):
    many = "".join(f'[[pictures]]\nfile = "{i}.jpg"\n' for i in range(1_001))
    with pytest.raises(PresetError, match=r"a\.toml: pictures has 1001 entries and must have at most 1000"):
        load_style(preset(tmp_path / "a.toml", pictures=many))
    with pytest.raises(PresetError, match=r"b\.toml: is too large \(10 MB; a preset has at most 1 MB\)"):
        load_style(preset(tmp_path / "b.toml", "#" * 10_000_000))


def test_a_description_may_have_as_many_dots_as_it_likes(tmp_path):
    for text in (
        '"' + "a." * 500 + '"',
        "'''" + "a." * 500 + "\n'''",
        '"""\n' + "a." * 500 + '"""',
        '"" # ' + "a." * 500,
    ):
        assert load_style(preset(tmp_path / "a.toml", f"description = {text}"))


@pytest.mark.parametrize("ending", [".toml", ".jpg"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_refused_and_the_other_styles_go_on(tmp_path, kind, ending):
    preset(tmp_path / "good.toml")
    special(tmp_path / f"bad{ending}", kind)
    failures = []
    for entries in ([tmp_path], [f"{tmp_path}/*"], sorted(tmp_path.iterdir())):
        assert names(find_styles(entries, failed=failures.append)) == ["good"]
        assert f"bad{ending}: is not a regular file" in str(failures.pop())


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_preset_whose_picture_is_a_pipe_or_a_device_is_refused(tmp_path, kind):
    special(tmp_path / "odd.png", kind)
    for path in (
        preset(tmp_path / "a.toml", pictures='[[pictures]]\nfile = "odd.png"\n'),
        preset(tmp_path / "b.toml", '[look]\ninit = "odd.png"'),
    ):
        with pytest.raises(PresetError, match=rf"{path.name}: .*odd\.png: is not a regular file"):
            load_style(path)
    with pytest.raises(UsageError, match=r"--set init=.*odd\.png: is not a regular file"):
        apply_settings({}, [f"init={tmp_path}/odd.png"])
