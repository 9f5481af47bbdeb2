"""Times of day and durations as people type them."""

import time
from datetime import datetime, timedelta

import pytest

from render.errors import UsageError
from render.runners.deadline import Deadline, parse_deadline

EVENING = datetime(2026, 3, 9, 22, 0, 30)


def moment(deadline: Deadline) -> datetime:
    return datetime.fromtimestamp(deadline.time_s)


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("07:00", EVENING, datetime(2026, 3, 10, 7)),
        ("7:00", EVENING, datetime(2026, 3, 10, 7)),
        ("23:30", EVENING, datetime(2026, 3, 9, 23, 30)),
        ("22:00", EVENING, datetime(2026, 3, 10, 22)),  # half a minute ago: tomorrow
        ("22:01", EVENING, datetime(2026, 3, 9, 22, 1)),
        ("00:00", EVENING, datetime(2026, 3, 10)),
        ("07:00", datetime(2026, 12, 31, 8), datetime(2027, 1, 1, 7)),
    ],
)
def test_a_time_of_day_is_the_next_one(text, now, expected):
    assert moment(parse_deadline(text, now)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8h", timedelta(hours=8)),
        ("90min", timedelta(minutes=90)),
        ("90m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("1.5h", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1 h 30 min", timedelta(minutes=90)),
    ],
)
def test_a_duration_counts_from_now(text, expected):
    assert moment(parse_deadline(text, EVENING)) == EVENING + expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "25:00",
        "12:60",
        "7:5",
        "07:00:00",
        "tomorrow",
        "8 hours",
        "-1h",
        "h",
        "1h 7",
        "0h",
        "1e3h",
        "99999h",
    ],
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"--stop-at .*Write it like 07:00"):
        parse_deadline(text, EVENING)


def test_it_has_passed_from_its_moment_on():
    assert Deadline(time.time() - 1)() and not Deadline(time.time() + 3600)()
    assert not parse_deadline("8h")()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system's time zone cannot be changed")
def test_a_night_with_an_hour_less_ends_at_the_clocks_time_and_durations_stay_as_long(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        evening = datetime(2026, 3, 28, 22)  # clocks go from 2:00 to 3:00
        assert parse_deadline("07:00", evening).time_s - evening.timestamp() == 8 * 3600
        assert parse_deadline("9h", evening).time_s - evening.timestamp() == 9 * 3600
    finally:
        monkeypatch.undo()
        time.tzset()


def test_it_is_shown_with_its_day():
    assert str(parse_deadline("07:00", EVENING)).endswith(" 07:00")
