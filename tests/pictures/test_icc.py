"""What render.icc promises, held against Little CMS at its most exact and against published numbers."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.pictures import special
from helpers.profiles import PAPER, adobe_like_profile, icc_xyz, linear_grey_profile, printer_profile
from helpers.profiles import icc as assembled
from render.errors import UsageError
from render.pictures import icc
from render.pictures.bands import BAND_PX, row_slices

BUILT_IN = pytest.mark.parametrize("name", icc.BUILT_IN)
INTENT = pytest.mark.parametrize("intent", icc.INTENTS)


def colors(count: int = 60_000) -> np.ndarray:
    """(200, n, 3) uint8: all sorts, with a row of black and a row of white."""
    values = np.random.default_rng(0).integers(0, 256, (200, count // 200, 3), dtype=np.uint8)
    values[0], values[1] = 0, 255
    return values


def unit(values: np.ndarray) -> np.ndarray:
    return (values / 255).astype(np.float32)


def little_cms(values: np.ndarray, data: bytes, intent: str) -> np.ndarray:
    """sRGB uint8 -> the profile's uint8, without Little CMS's shortcuts."""
    flags = ImageCms.Flags.NOOPTIMIZE
    if intent == "relative":
        flags |= ImageCms.Flags.BLACKPOINTCOMPENSATION
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(data)),
        "RGB",
        "RGB",
        icc.INTENTS[intent],
        flags,
    )
    return np.asarray(ImageCms.applyTransform(Image.fromarray(values), transform))


@pytest.fixture
def profile_file(tmp_path):
    """profile_file(data) -> the path of a file that holds it."""

    def write(data: bytes, name: str = "printer.icc"):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


# --- built in -----------------------------------------------------------------------------------------------


@BUILT_IN
def test_a_built_in_profile_is_one_to_little_cms_too_and_the_same_bytes_on_every_day(name):
    profile = icc.load_profile(name)
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile.data))
    assert (profile.name, opened.profile.xcolor_space.strip()) == (name, "RGB")
    assert profile.description == opened.profile.profile_description and profile.description
    assert icc.BUILT_IN[name]() == profile.data and profile.data[24:30] == bytes((0x07, 0xD0, 0, 1, 0, 1))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # Adobe RGB (1998) Color Image Encoding, 4.3.5.1, and Apple's own Display P3.icc: red, green and blue
        # in D50 XYZ.
        (
            "adobe-rgb",
            ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
        ),
        (
            "display-p3",
            ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
        ),
    ],
)
def test_the_primaries_are_the_published_ones(name, published):
    ours = icc._matrix_of(icc.load_profile(name).data).to_xyz.T
    np.testing.assert_allclose(ours, published, atol=6e-5)
    assert (
        np.abs(ours - icc._matrix_of(icc.load_profile("srgb").data).to_xyz.T).max() > 0.05
    )  # sRGB's are others


@BUILT_IN
def test_white_stays_white_black_black_and_gray_gray(name):
    ramp = np.repeat(np.linspace(0, 1, 1001, dtype=np.float32)[None, :, None], 3, axis=2)
    result = icc.convert(ramp, icc.load_profile(name))
    np.testing.assert_allclose(result[0, [0, -1]], [[0] * 3, [1] * 3], atol=1e-6)
    assert np.ptp(result, axis=2).max() < 2e-4


# --- converting ---------------------------------------------------------------------------------------------


def assert_a_level_at_most(off: np.ndarray) -> None:
    """But where a channel is next to nothing: there the first level is less light than the tags' last bit."""
    assert (np.abs(off) <= 1).mean() > 0.999 and np.abs(off).max() < 1.6


@BUILT_IN
@INTENT
def test_conversion_agrees_with_little_cms_to_a_level(name, intent):
    values, profile = colors(), icc.load_profile(name)
    ours = icc.convert(unit(values), profile, intent)
    assert ours.dtype == np.float32 and ours.shape == values.shape
    assert_a_level_at_most(ours * 255 - little_cms(values, profile.data, intent))
    if name != "srgb":
        assert np.abs(ours * 255 - values).max() > 10  # doing nothing would not agree


@INTENT
def test_a_matrix_profile_of_the_output_class_agrees_too(profile_file, intent):
    tags = {name: data for name, data in icc._tags(adobe_like_profile()).items() if name != b"wtpt"}
    data = assembled(
        b"prtr", b"RGB ", b"XYZ ", tags | {b"wtpt": icc_xyz(PAPER)}
    )  # absolute: on this paper's white
    profile, values = icc.load_profile(profile_file(data)), colors()
    ours = icc.convert(unit(values), profile, intent)
    assert_a_level_at_most(ours * 255 - little_cms(values, data, intent))
    differs = np.abs(ours - icc.convert(unit(values), profile, "relative")).mean() > 0.01
    assert differs == (intent == "absolute")


@INTENT
def test_a_profile_of_tables_agrees_with_little_cms_almost_everywhere(profile_file, intent):
    profile, values = icc.load_profile(profile_file(printer_profile())), colors()
    off = np.abs(icc.convert(unit(values), profile, intent) * 255 - little_cms(values, profile.data, intent))
    assert (off <= 1).mean() > 0.99 and off.max() < 8 and off.mean() < 0.2
    assert np.abs(values - little_cms(values, profile.data, intent).astype(float)).mean() > 0.5


def test_intents_of_a_printer_differ(profile_file):
    profile, white = icc.load_profile(profile_file(printer_profile())), np.ones((4, 4, 3), np.float32)
    assert icc.convert(white, profile, "relative").min() > 0.99
    assert (
        icc.convert(white, profile, "absolute").min() < 0.97
    )  # the screen's white on yellowish paper: less red


@BUILT_IN
def test_a_fine_ramp_stays_fine_in_sixteen_bits(name):
    ramp = np.linspace(0.3, 0.35, 2000, dtype=np.float32)
    pixels = np.stack([ramp, ramp * 0.8, ramp * 0.6], axis=-1)[None]
    result = np.rint(icc.convert(pixels, icc.load_profile(name)) * 65535)[0]
    steps = np.diff(result, axis=0)
    assert steps.min() >= 0 and steps.max() <= 4
    assert np.diff(np.rint(result / 257) * 257, axis=0).max() > 4  # eight bits fail that


def test_a_ramp_through_tables_has_no_steps_between_levels(profile_file):
    ramp = np.repeat(np.linspace(0.4, 0.5, 2000, dtype=np.float32)[None, :, None], 3, axis=2)
    result = icc.convert(ramp, icc.load_profile(profile_file(printer_profile())))[0]
    assert np.abs(np.diff(result, axis=0)).max() < 0.1 / 255 * 2 and len(np.unique(result[:, 0])) > 1000


@BUILT_IN
def test_there_and_back_is_the_same_picture(name):
    profile, pixels = icc.load_profile(name), unit(colors())
    np.testing.assert_allclose(icc.to_srgb(icc.convert(pixels, profile), profile.data), pixels, atol=5e-4)


def test_every_kind_of_parametric_curve_agrees_with_little_cms():
    numbers = {
        0: (2.2,),
        1: (2.4, 0.9, 0.1),
        2: (2.0, 0.9, 0.05, 0.05),
        3: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
        4: (2.4, 0.85, 0.1, 0.2, 0.02, 0.1, 0.0),
    }
    columns = {name: data for name, data in icc._tags(adobe_like_profile()).items() if name.endswith(b"XYZ")}
    for kind, parameters in numbers.items():
        curve = b"para\0\0\0\0" + kind.to_bytes(2, "big") + b"\0\0" + icc._fixed(parameters)
        device = np.linspace(0, 1, 256, dtype=np.float32)
        linear = icc._decoded(icc._curve(curve), device)
        curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
        data = assembled(b"mntr", b"RGB ", b"XYZ ", columns | curves)
        ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(data)),
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            1,
            ImageCms.Flags.NOOPTIMIZE,
        )
        theirs = np.asarray(ImageCms.applyTransform(Image.fromarray(ramp), transform))[0]
        assert np.abs(icc.to_srgb(unit(ramp), data)[0] * 255 - theirs).max() <= 1, kind
        inside = (linear > linear[0]) & (linear <= 1)
        np.testing.assert_allclose(icc._encoded(icc._curve(curve), linear)[inside], device[inside], atol=1e-4)


def test_a_table_is_read_between_its_nodes_as_numpy_does_to_half_a_16_bit_step():
    table = np.linspace(0, 1, 1024, dtype=np.float32) ** 2
    places = np.concatenate([np.linspace(0, 1, 9_999), np.arange(1024) / 1023]).astype(np.float32)
    plain = np.interp(places, np.linspace(0, 1, 1024), table)
    assert np.abs(icc._between_nodes(table, places) - plain).max() < 0.5 / 65535


def test_converting_needs_memory_for_the_result_and_little_more():
    pixels = np.full((2000, 1500, 3), 0.5, np.float32)
    profile = icc.load_profile("adobe-rgb")
    tracemalloc.start()
    icc.convert(pixels, profile)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes + 90 * BAND_PX  # whole, the intermediate values alone would take more


def test_an_unknown_intent_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="'vivid' is no rendering intent. Use one of perceptual, relative"):
        icc.convert(np.zeros((2, 2, 3), np.float32), icc.load_profile("srgb"), "vivid")


# --- loading ------------------------------------------------------------------------------------------------


def test_a_profile_is_read_from_a_file_and_describes_itself(profile_file):
    path = profile_file(printer_profile())
    profile = icc.load_profile(path)
    assert profile == icc.Profile(str(path), path.read_bytes(), "made by a test")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"a letter to a friend" * 20, "is not an ICC profile"),
        (printer_profile()[:5000], "is cut short"),
        (
            printer_profile(b"CMYK"),
            r"for CMYK and prints are written in RGB\. The print shop converts from RGB.*--soft-proof",
        ),
        (linear_grey_profile(), "for GRAY and prints are written in RGB. Use srgb, adobe-rgb"),
        (
            assembled(b"scnr", b"RGB ", b"XYZ ", icc._tags(adobe_like_profile())),
            "of class input; display, output or color",
        ),
        (assembled(b"link", b"RGB ", b"RGB ", {}), "of class device link"),
        (assembled(b"prtr", b"RGB ", b"Lab ", {}), "cannot be converted to"),
    ],
)
def test_a_profile_that_cannot_be_written_in_is_refused_with_its_name_and_the_fix(profile_file, data, words):
    path = profile_file(data)
    with pytest.raises(UsageError, match=rf"printer\.icc: .*{words}"):
        icc.load_profile(path)


def test_a_missing_profile_a_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(
        UsageError,
        match=r"adobergb: no such profile\. Did you mean 'adobe-rgb'\? Use srgb, adobe-rgb, display-p3",
    ):
        icc.load_profile("adobergb")
    with pytest.raises(UsageError, match="is a folder, not a profile"):
        icc.load_profile(tmp_path)
    for kind in ("pipe", "device"):
        with pytest.raises(UsageError, match="is not a regular file"):
            icc.load_profile(special(tmp_path / f"{kind}.icc", kind))
    for name in ("x" * 5_000, "a\0b"):
        with pytest.raises(UsageError, match="no such profile"):
            icc.load_profile(name)


@pytest.mark.parametrize(
    ("at", "found"), [(12, b"mnt\x80"), (16, b"RG\x80 "), (16, b"\xff\xff\xff\xff"), (16, b"\0\0\0\0")]
)
def test_a_profile_of_a_kind_or_space_that_is_no_text_is_refused_by_name(profile_file, at, found):
    data = bytearray(adobe_like_profile())
    data[at : at + 4] = found
    with pytest.raises(
        UsageError, match=r"printer\.icc: (is an ICC profile of class|is a profile for|is a damaged)"
    ):
        icc.load_profile(profile_file(bytes(data)))


def test_a_profile_whose_description_is_no_text_keeps_its_colors_and_is_called_by_its_file(profile_file):
    whole = adobe_like_profile()
    length, text = struct.pack(">I", 15), b"made by a test\0"
    assert length + text in whole
    path = profile_file(whole.replace(length + text, length + b"\xc2" * 14 + b"\0"))
    profile = icc.load_profile(path)
    assert profile.description and np.isfinite(icc.convert(unit(colors(400)), profile)).all()


@pytest.mark.parametrize("start", [128, 132, 200, 400])
def test_a_damaged_profile_is_refused_or_used_and_never_a_traceback(profile_file, start):
    data = bytearray(adobe_like_profile())
    data[start : start + 40] = b"\xff" * 40
    path = profile_file(bytes(data))
    try:
        result = icc.convert(unit(colors(400)), icc.load_profile(path))
    except UsageError as error:
        assert str(path) in str(error)
    else:
        assert np.isfinite(result).all()


def parametric(kind: int, *numbers: float) -> bytes:
    return (
        b"para\0\0\0\0"
        + struct.pack(">HH", kind, 0)
        + struct.pack(f">{len(numbers)}i", *(round(65536 * n) for n in numbers))
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "curve",
    [
        parametric(1, 2.2, 0, 0.5),
        parametric(2, 2.2, 0, 0.5, 0.1),
        parametric(0, 0),
        parametric(0, -3),
        parametric(0, 30_000),
        parametric(3, 2.4, -1, 0, 0.1, 0.04),
    ],
)
def test_a_curve_that_cannot_be_turned_round_is_left_to_little_cms(profile_file, curve):
    tags = icc._tags(adobe_like_profile()) | dict.fromkeys(icc._CURVES, curve)
    path = profile_file(assembled(b"mntr", b"RGB ", b"XYZ ", tags))
    try:
        found = icc.convert(unit(colors(400)), icc.load_profile(path))
    except UsageError as error:
        assert str(path) in str(error)
    else:
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


@pytest.mark.filterwarnings("error")
def test_primaries_that_are_all_one_color_are_left_to_little_cms(profile_file):
    tags = icc._tags(adobe_like_profile())
    path = profile_file(
        assembled(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys(icc._COLUMNS, tags[b"gXYZ"]))
    )
    try:
        assert np.isfinite(icc.convert(unit(colors(400)), icc.load_profile(path))).all()
    except UsageError as error:
        assert str(path) in str(error)


# --- soft proofs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [b"RGB ", b"CMYK", b"GRAY"])
def test_a_soft_proof_shows_the_paper_and_the_ink(profile_file, space):
    profile = icc.load_profile(profile_file(printer_profile(space)), proof=True)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4], pixels[4] = 255, (255, 0, 0)
    proof = icc.soft_proof(pixels, profile)
    assert proof.dtype == np.uint8 and proof.shape == pixels.shape
    red, green, blue = proof[0, 0].astype(int)
    assert red > green > blue and 200 < blue < 230 and red < 250  # PAPER is yellowish
    saturation = np.ptp(proof[4, 0])
    assert saturation < 255 and (saturation < 10) == (space == b"GRAY")


def test_a_soft_proof_on_perfect_paper_changes_nothing():
    values = colors()
    assert np.abs(icc.soft_proof(values, icc.load_profile("srgb")).astype(int) - values).max() <= 1


def test_a_soft_proof_of_several_bands_is_that_of_its_parts(profile_file):
    profile, values = icc.load_profile(profile_file(printer_profile(b"CMYK")), proof=True), colors(600_000)
    assert len(list(row_slices(values.shape))) > 1
    parts = [icc.soft_proof(part, profile) for part in np.split(values, 8)]
    np.testing.assert_array_equal(icc.soft_proof(values, profile), np.concatenate(parts))


def test_a_lab_space_is_refused_even_for_a_proof(profile_file):
    with pytest.raises(UsageError, match="is a profile for Lab"):
        icc.load_profile(profile_file(assembled(b"spac", b"Lab ", b"XYZ ", {})), proof=True)
