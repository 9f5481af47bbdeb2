"""Paper as people type it, and the pixels that go on it."""

import numpy as np
import pytest

from render.errors import UsageError
from render.pictures import images
from render.pictures.paper import (
    FITS,
    PAPERS_MM,
    Layout,
    Paper,
    by_long_side,
    enough_pixels,
    fit,
    lay_out,
    parse_length_mm,
    parse_paper,
)

PHOTO_SIZES = [(3000, 4000), (4000, 3000), (2000, 2000), (211, 1999), (1999, 211), (3001, 4243)]
PAPER_NAMES = ["A2", "A6", "letter", "60x90cm", "24x36in", "30x30cm"]


def on_paper(photo_size, name="A2", **options) -> Layout:
    return lay_out(photo_size, parse_paper(name), **options)


def assert_same_shape(size, other, slack_px=0.5):
    """Both sides of `size` are those of `other` times one factor, but for rounding."""
    factor = max(size) / max(other)
    assert all(
        abs(side - factor * of) <= slack_px * max(1, factor) for side, of in zip(size, other, strict=True)
    )


# --- papers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sides_mm"),
    [
        ("A2", (420, 594)),
        ("a2", (420, 594)),
        (" A0 ", (841, 1189)),
        ("b6", (125, 176)),
        ("A3+", (329, 483)),
        ("Letter", (215.9, 279.4)),
        ("LEGAL", (215.9, 355.6)),
        ("tabloid", (279.4, 431.8)),
        ("60x90cm", (600, 900)),
        ("60X90CM", (600, 900)),
        ("60 x 90 cm", (600, 900)),
        ("60cm x 90cm", (600, 900)),
        ("60×90cm", (600, 900)),
        ("60*90cm", (600, 900)),
        ("10x15cm", (100, 150)),
        ("300x400mm", (300, 400)),
        ("24x36in", (609.6, 914.4)),
        ('24x36"', (609.6, 914.4)),
        ('24"x36"', (609.6, 914.4)),
        ("8.5x11in", (215.9, 279.4)),
        ("8,5x11in", (215.9, 279.4)),
        ("24 x 36 inches", (609.6, 914.4)),
        ("60cm x 90", (600, 900)),
        ("1in x 50.8mm", (25.4, 50.8)),
    ],
)
def test_paper_is_understood_as_people_write_it(text, sides_mm):
    paper = parse_paper(text)
    assert (paper.width_mm, paper.height_mm) == pytest.approx(sides_mm)


@pytest.mark.parametrize("series", "AB")
def test_iso_papers_halve_from_one_number_to_the_next(series):
    for number in range(6):
        short, long = PAPERS_MM[f"{series}{number}"]
        assert PAPERS_MM[f"{series}{number + 1}"] == (long // 2, short)  # ISO 216 rounds down
        assert long / short == pytest.approx(2**0.5, rel=0.005)


def test_every_known_paper_is_found_by_its_name_in_any_case():
    for name, sides in PAPERS_MM.items():
        for text in (name, name.lower(), name.upper()):
            assert parse_paper(text) == Paper(name, *sides)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("A7", "Did you mean 'A"),
        ("lettre", "Did you mean 'letter'?"),
        ("tabliod", "Did you mean 'tabloid'?"),
        ("poster", "Use A0 to A6"),
        ("", "60x90cm"),
        ("60x90x2cm", "60x90cm"),
        ("60xcm", "60x90cm"),
        ("60x90px", "60x90cm"),
        ("60x90", "--print 60x90cm"),
        ("nanxinfcm", "60x90cm"),
        ("0x90cm", "--print 10x900mm"),
        ("-60x90cm", "--print 10x900mm"),
        ("0x0cm", "--print 10x10mm"),
        ("3000x4000cm", "--print 15000x20000mm"),
        ("1x999999cm", "--print 10x20000mm"),
    ],
)
def test_what_is_no_paper_is_quoted_and_one_that_works_is_named(text, fix):
    with pytest.raises(UsageError) as error:
        parse_paper(text)
    assert f"--print {text}" in str(error.value) and fix in str(error.value)


@pytest.mark.parametrize("text", ["0x90cm", "3000x4000cm", "-1x-1in", "2001x0.5cm"])
def test_the_size_named_for_an_absurd_one_is_accepted(text):
    with pytest.raises(UsageError) as error:
        parse_paper(text)
    parse_paper(str(error.value).rstrip(".").split()[-1])


@pytest.mark.parametrize(
    ("text", "mm"),
    [
        ("3mm", 3),
        ("0.3cm", 3),
        ("0,3 cm", 3),
        ("0.125in", 3.175),
        ('.125"', 3.175),
        ("1 inch", 25.4),
        ("0", 0),
        ("0mm", 0),
    ],
)
def test_a_length_is_understood_with_its_unit(text, mm):
    assert parse_length_mm(text) == pytest.approx(mm)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("3", "--bleed 3mm"),
        ("-3mm", "--bleed 3mm"),
        ("3px", "--bleed 3mm"),
        ("", "--bleed 3mm"),
        ("mm", "--bleed 3mm"),
        ("1e3mm", "--bleed 3mm"),
        ("21000mm", "--bleed 3mm"),
    ],
)
def test_what_is_no_length_is_quoted_and_one_that_works_is_named(text, fix):
    with pytest.raises(UsageError) as error:
        parse_length_mm(text)
    assert f"--bleed {text}" in str(error.value) and fix in str(error.value)


# --- layouts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dpi", "sheet"),
    [
        ("A2", 300, (4961, 7016)),
        ("A4", 300, (2480, 3508)),
        ("24x36in", 300, (7200, 10800)),
        ("10x15cm", 300, (1181, 1772)),
        ("letter", 600, (5100, 6600)),
        ("A2", 150, (2480, 3508)),
    ],
)
def test_well_known_papers_have_their_well_known_pixels(name, dpi, sheet):
    assert on_paper((300, 400), name, dpi=dpi, fit="fill").sheet == sheet


@pytest.mark.parametrize("mode", ["fill", "pad"])
@pytest.mark.parametrize("name", PAPER_NAMES)
@pytest.mark.parametrize("bleed_mm", [0, 3, 3.175])
def test_the_sheet_is_exactly_paper_and_bleed(mode, name, bleed_mm):
    paper = parse_paper(name)
    expected = sorted(round((side + 2 * bleed_mm) / 25.4 * 300) for side in (paper.width_mm, paper.height_mm))
    for size in PHOTO_SIZES:
        assert sorted(lay_out(size, paper, dpi=300, bleed_mm=bleed_mm, fit=mode).sheet) == expected


def test_paper_is_turned_to_the_photographs_orientation_and_stays_as_typed_for_a_square_one():
    for name in ("30x40cm", "40x30cm"):
        tall, wide = (on_paper(size, name, fit="pad").sheet for size in ((400, 300), (300, 400)))
        assert tall == wide[::-1] == (4724, 3543)
    assert (
        on_paper((100, 100), "30x40cm", fit="pad").sheet
        == on_paper((100, 100), "40x30cm", fit="pad").sheet[::-1]
    )


@pytest.mark.parametrize("mode", FITS)
@pytest.mark.parametrize("size", PHOTO_SIZES)
@pytest.mark.parametrize("name", PAPER_NAMES)
def test_every_layout_lies_inside_its_photograph_and_its_sheet_and_keeps_proportions(mode, size, name):
    layout = on_paper(size, name, bleed_mm=3, fit=mode)
    for (top, left), (height, width), frame in (
        (layout.crop[:2], layout.crop[2:], size),
        (layout.offset, layout.picture, layout.sheet),
    ):
        assert min(top, left) >= 0 and min(height, width) >= 1
        assert top + height <= frame[0] and left + width <= frame[1]
        assert (
            abs(2 * top + height - frame[0]) <= 1 and abs(2 * left + width - frame[1]) <= 1
        )  # in the middle
    assert_same_shape(layout.picture, layout.crop[2:])
    assert layout.dpi == 300


@pytest.mark.parametrize("size", PHOTO_SIZES)
def test_fit_shows_the_whole_photograph_as_large_as_paper_and_bleed_allow_and_no_white(size):
    layout, sheet = on_paper(size, bleed_mm=3), on_paper(size, bleed_mm=3, fit="pad").sheet
    assert layout.crop == (0, 0, *size)
    assert layout.sheet == layout.picture and layout.offset == (0, 0)
    assert any(have == most for have, most in zip(layout.picture, sheet, strict=True))


@pytest.mark.parametrize("size", PHOTO_SIZES)
def test_fill_covers_the_sheet_and_crops_one_direction_only(size):
    layout = on_paper(size, bleed_mm=3, fit="fill")
    assert layout.picture == layout.sheet and layout.offset == (0, 0)
    assert layout.crop[2] == size[0] or layout.crop[3] == size[1]


@pytest.mark.parametrize("size", PHOTO_SIZES)
def test_pad_keeps_the_whole_photograph_inside_the_trimmed_paper(size):
    layout, trimmed = on_paper(size, bleed_mm=10, fit="pad"), on_paper(size, fit="pad").sheet
    assert layout.crop == (0, 0, *size)
    assert all(have <= most for have, most in zip(layout.picture, trimmed, strict=True))
    assert layout.picture == on_paper(size).picture
    assert min(layout.offset) >= round(10 / 25.4 * 300)  # no cut touches the picture


def test_a_photograph_of_the_papers_shape_is_the_same_in_every_fit():
    layouts = [on_paper((2000, 3000), "20x30cm", fit=mode) for mode in FITS]
    assert layouts == [Layout((0, 0, 2000, 3000), (2362, 3543), (2362, 3543), (0, 0), 300)] * 3


@pytest.mark.parametrize("size", PHOTO_SIZES)
def test_a_size_in_pixels_is_a_layout_too(size):
    layout = by_long_side(size, 1024)
    assert layout == Layout((0, 0, *size), fit(size, 1024), fit(size, 1024), (0, 0), 300)


def test_a_bleed_or_dpi_out_of_range_is_refused_with_one_that_works():
    with pytest.raises(UsageError, match=r"--bleed 106mm: .* 105mm \(A6\)"):
        on_paper((3, 4), "A6", bleed_mm=106)
    with pytest.raises(UsageError, match="--bleed -1mm"):
        on_paper((3, 4), bleed_mm=-1)
    with pytest.raises(UsageError, match="--bleed nanmm"):
        on_paper((3, 4), bleed_mm=float("nan"))
    for dpi, nearest in ((0, 10), (-300, 10), (1e6, 2400)):
        with pytest.raises(UsageError, match=f"--dpi {nearest}"):
            on_paper((3, 4), dpi=dpi)
        on_paper((3, 4), dpi=nearest)


def test_an_unknown_fit_is_refused_and_the_known_ones_are_named():
    with pytest.raises(UsageError, match="--fit cover: .* fit, fill or pad"):
        on_paper((3, 4), fit="cover")


# --- enough pixels ------------------------------------------------------------------------------------------


def test_a_photograph_with_half_the_prints_pixels_is_enough_and_one_with_fewer_is_told():
    assert enough_pixels(on_paper((2480, 3508))) is None
    warning = enough_pixels(on_paper((1240, 1754)))
    assert (
        "75 dpi" in warning
        and "59.4 x 42.0 cm" in warning
        and "29.7 x 20.9 cm" in warning
        and "300 dpi" in warning
    )


@pytest.mark.parametrize("size", PHOTO_SIZES)
@pytest.mark.parametrize("mode", FITS)
def test_the_largest_print_named_by_the_warning_is_large_enough_and_draws_no_warning(size, mode):
    warning = enough_pixels(on_paper(size, "B0", fit=mode))
    width, height = warning.split("Up to ")[1].split(" cm")[0].split(" x ")
    assert enough_pixels(on_paper(size, f"{width}x{height}cm", fit=mode)) is None
    assert (
        enough_pixels(on_paper(size, f"{float(width) * 1.1}x{float(height) * 1.1}cm", fit=mode)) is not None
    )


def test_what_fill_crops_away_does_not_count_as_pixels():
    wide = (1000, 4000)
    assert enough_pixels(on_paper(wide, "20x30cm", fit="fit")) is None
    assert enough_pixels(on_paper(wide, "20x30cm", fit="fill")) is not None


def test_a_coarse_print_needs_fewer_pixels_and_a_fine_one_no_more():
    size = (1240, 1754)  # 75 dpi on A2
    assert enough_pixels(on_paper(size, dpi=100)) is None
    assert "150 dpi" in enough_pixels(on_paper(size, dpi=300)) and "150 dpi" in enough_pixels(
        on_paper(size, dpi=600)
    )


# --- pixels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), ()])
def test_the_picture_lies_at_its_place_and_the_sheet_is_white_around_it(shape):
    layout = on_paper((30, 50), "3x4cm", dpi=50, bleed_mm=3, fit="pad")
    pixels = np.random.default_rng(0).random((*layout.picture, *shape), dtype=np.float32)
    sheet = images.place(pixels, layout)
    top, left = layout.offset
    assert sheet.shape == (*layout.sheet, *shape) and sheet.dtype == np.float32
    assert np.array_equal(sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]], pixels)
    assert sheet.sum() == pytest.approx(pixels.sum() + sheet.size - pixels.size)
    assert images.place(pixels, layout, background=0.0).sum() == pytest.approx(pixels.sum())


def test_a_picture_of_another_size_than_planned_is_not_placed():
    with pytest.raises(ValueError, match="planned"):
        images.place(np.zeros((4, 4, 3), np.float32), by_long_side((3, 4), 4))


def test_the_crop_is_the_middle_of_the_photograph():
    photo = np.arange(30 * 40 * 3).reshape(30, 40, 3)
    assert np.array_equal(images.crop(photo, on_paper((30, 40), "10x10cm", fit="fill")), photo[:, 5:35])
    assert np.array_equal(images.crop(photo, by_long_side((30, 40), 256)), photo)
