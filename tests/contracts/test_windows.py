"""Windows tile time: whatever the kind, the zone, the anchor and the moment, nothing is counted twice or never."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.contracts.money import Window, WindowKind
from tollkeeper.contracts.windows import FOREVER, bounds, previous, window_fault

# Whole and half hours, summer time on both halves of the globe, half an hour of it, a skipped day, and none of it all.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "America/Caracas",
)
CALENDAR = [kind for kind in WindowKind if kind not in (WindowKind.TOTAL, WindowKind.CUSTOM)]


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


# Moments about which clocks are moved, leap days and turns of the year, each with its neighbourhood.
TURNS = (
    at("2026-03-29T01:00"),  # Berlin, forward
    at("2026-10-25T01:00"),  # Berlin, back
    at("2026-03-08T07:00"),  # New York, forward
    at("2026-11-01T06:00"),  # New York, back
    at("2026-04-04T15:00"),  # Lord Howe, back by half an hour
    at("2026-10-03T15:30"),  # Lord Howe, forward by half an hour
    at("2011-12-30T10:00"),  # Apia, a day skipped
    at("2018-11-04T03:00"),  # São Paulo, midnight skipped
    at("2015-08-14T15:00"),  # Pyongyang, half an hour back for years
    at("2016-05-01T07:00"),  # Caracas, half an hour forward
    at("1972-01-07T00:44:30"),  # Monrovia, 44 minutes and 30 seconds
    at("2024-02-29T00:00"),
    at("2028-02-29T12:00"),
    at("2026-01-01T00:00"),
    at("2099-02-28T23:59:59"),
)

moments = st.one_of(
    st.integers(0, 6_000_000_000),
    st.builds(lambda turn, near: turn + near, st.sampled_from(TURNS), st.integers(-100_000, 100_000)),
)
anchors = st.one_of(
    st.none(),
    st.integers(0, 4_102_444_800),
    st.builds(lambda turn, near: turn + near, st.sampled_from(TURNS), st.integers(-10_000, 10_000)),
)
calendar_windows = st.builds(Window, st.sampled_from(CALENDAR), st.sampled_from(ZONES), anchors)
custom_windows = st.builds(
    Window, st.just(WindowKind.CUSTOM), st.sampled_from(ZONES), anchors, st.integers(60, 100 * 86_400)
)
windows = st.one_of(calendar_windows, custom_windows)


@settings(max_examples=600, deadline=None)
@given(windows, moments, st.floats(0, 0.999))
def test_a_window_holds_its_moment_and_is_the_same_for_all_moments_within(
    window: Window, moment: int, part: float
) -> None:
    start, end = bounds(window, moment + part)
    assert start <= moment < end
    for within in (start, start + 1, (start + end) // 2, moment, end - 1):
        assert bounds(window, within) == (start, end)
    assert bounds(window, end - 0.001) == (start, end)


@settings(max_examples=400, deadline=None)
@given(windows, moments)
def test_windows_follow_one_another_without_gap_or_overlap(window: Window, moment: int) -> None:
    start, end = bounds(window, moment)
    for _ in range(4):
        following = bounds(window, end)
        assert following[0] == end
        assert previous(window, end) == (start, end)
        start, end = following


@settings(max_examples=200, deadline=None)
@given(windows)
def test_a_window_begins_at_its_anchor(window: Window) -> None:
    if window.anchor is not None:
        assert bounds(window, window.anchor)[0] == window.anchor


@pytest.mark.parametrize("kind", [WindowKind.DAY, WindowKind.WEEK, WindowKind.MONTH, WindowKind.YEAR])
@pytest.mark.parametrize("moment", ["2026-10-25T00:30", "2026-10-25T01:30"])
def test_an_anchor_in_an_hour_that_comes_twice_keeps_its_place(kind: WindowKind, moment: str) -> None:
    window = Window(kind, "Europe/Berlin", at(moment))
    assert bounds(window, at(moment))[0] == at(moment)
    assert bounds(window, at(moment) - 1)[1] == at(moment)


LONGEST_HOURS = {
    WindowKind.HOUR: 1.75,
    WindowKind.DAY: 26,
    WindowKind.WEEK: 7 * 24 + 2,
    WindowKind.MONTH: 31 * 24 + 2,
    WindowKind.QUARTER: 92 * 24 + 2,
    WindowKind.YEAR: 366 * 24 + 2,
}


@settings(max_examples=400, deadline=None)
@given(calendar_windows, moments)
def test_no_window_is_longer_than_its_name(window: Window, moment: int) -> None:
    start, end = bounds(window, moment)
    assert 0 < end - start <= LONGEST_HOURS[window.kind] * 3_600


@pytest.mark.parametrize(
    ("kind", "zone", "moment", "start", "end"),
    [
        (WindowKind.HOUR, "Asia/Kolkata", "2026-05-05T10:45", "2026-05-05T10:00", "2026-05-05T11:00"),
        (WindowKind.DAY, "Europe/Berlin", "2026-05-05T00:00", "2026-05-05T00:00", "2026-05-06T00:00"),
        (WindowKind.WEEK, "America/New_York", "2026-11-21T12:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        (WindowKind.MONTH, "UTC", "2024-02-29T23:59:59", "2024-02-01T00:00", "2024-03-01T00:00"),
        (WindowKind.QUARTER, "UTC", "2026-11-21T00:00", "2026-10-01T00:00", "2027-01-01T00:00"),
        (WindowKind.YEAR, "Pacific/Kiritimati", "2027-01-01T00:00", "2027-01-01T00:00", "2028-01-01T00:00"),
    ],
)
def test_windows_begin_where_the_zones_calendar_says(
    kind: WindowKind, zone: str, moment: str, start: str, end: str
) -> None:
    assert bounds(Window(kind, zone), at(moment, zone)) == (at(start, zone), at(end, zone))


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-03-30", 24), ("2026-10-25", 25), ("2026-10-26", 24)]
)
def test_days_on_which_clocks_are_moved_have_23_or_25_hours(day: str, hours: int) -> None:
    start, end = bounds(Window(WindowKind.DAY, "Europe/Berlin"), at(f"{day}T12:00", "Europe/Berlin"))
    assert end - start == hours * 3_600


def test_an_hour_that_comes_twice_is_two_windows() -> None:
    window = Window(WindowKind.HOUR, "Europe/Berlin")
    first, second = at("2026-10-25T00:30"), at("2026-10-25T01:30")
    assert bounds(window, first) == (first - 1_800, first + 1_800)
    assert bounds(window, second) == (second - 1_800, second + 1_800)


def test_a_midnight_that_a_zone_skips_is_the_moment_of_the_jump() -> None:
    start, end = bounds(Window(WindowKind.DAY, "America/Sao_Paulo"), at("2018-11-04T12:00", "America/Sao_Paulo"))
    assert (start, end - start) == (at("2018-11-04T03:00"), 23 * 3_600)


def test_a_month_anchored_on_the_15th_at_nine_keeps_that_local_time_all_year() -> None:
    zone = "Europe/Berlin"
    window = Window(WindowKind.MONTH, zone, at("2026-01-15T09:00", zone))
    assert bounds(window, at("2026-07-15T08:59", zone)) == (at("2026-06-15T09:00", zone), at("2026-07-15T09:00", zone))
    assert bounds(window, at("2026-07-15T09:00", zone))[0] == at("2026-07-15T09:00", zone)


def test_a_month_anchored_on_the_31st_begins_on_the_last_day_of_shorter_months() -> None:
    window = Window(WindowKind.MONTH, "UTC", at("2026-01-31T00:00"))
    starts = [bounds(window, at(f"2026-{month:02d}-15T00:00"))[1] for month in range(2, 8)]
    assert starts == [at(f"2026-{day}T00:00") for day in ("02-28", "03-31", "04-30", "05-31", "06-30", "07-31")]


def test_a_year_anchored_on_a_leap_day_begins_on_the_28th_otherwise() -> None:
    window = Window(WindowKind.YEAR, "UTC", at("2024-02-29T00:00"))
    assert bounds(window, at("2026-01-01T00:00")) == (at("2025-02-28T00:00"), at("2026-02-28T00:00"))
    assert bounds(window, at("2028-03-01T00:00"))[0] == at("2028-02-29T00:00")


def test_a_week_begins_on_the_anchors_weekday_and_time() -> None:
    zone = "America/New_York"
    window = Window(WindowKind.WEEK, zone, at("2026-11-19T18:00", zone))
    start, end = bounds(window, at("2026-03-10T00:00", zone))
    assert (start, end) == (at("2026-03-05T18:00", zone), at("2026-03-12T18:00", zone))
    # With an hour less: the clocks go forward on the Sunday between.
    assert end - start == 7 * 86_400 - 3_600


def test_a_custom_window_counts_real_seconds_from_its_anchor() -> None:
    anchor = at("2026-03-01T00:00")
    window = Window(WindowKind.CUSTOM, "Europe/Berlin", anchor, 10 * 86_400)
    assert bounds(window, at("2026-04-05T00:00")) == (anchor + 30 * 86_400, anchor + 40 * 86_400)
    assert bounds(window, anchor - 1) == (anchor - 10 * 86_400, anchor)


def test_all_time_is_one_window_with_none_before() -> None:
    window = Window(WindowKind.TOTAL)
    assert bounds(window, 0) == bounds(window, 2e9) == (0, FOREVER)
    assert previous(window, 0) is None


@pytest.mark.parametrize(
    "window",
    [
        Window(WindowKind.DAY, "Mars/Olympus"),
        Window(WindowKind.DAY, "../../etc/passwd"),
        Window(WindowKind.DAY, "/etc/localtime"),
        Window(WindowKind.DAY, "Europe"),
        Window(WindowKind.DAY, ""),
        Window(WindowKind.DAY, "a\0b"),
        Window(WindowKind.DAY, "x" * 10_000),
        Window(WindowKind.DAY, "UTC", -1),
        Window(WindowKind.DAY, "UTC", 10**18),
        Window(WindowKind.DAY, "UTC", None, 60),
        Window(WindowKind.TOTAL, "UTC", 1),
        Window(WindowKind.CUSTOM, "UTC", 1),
        Window(WindowKind.CUSTOM, "UTC", 1, 0),
        Window(WindowKind.CUSTOM, "UTC", 1, 10**12),
    ],
)
def test_windows_that_cannot_be_are_told_what_is_wrong(window: Window) -> None:
    fault = window_fault(window)
    assert fault is not None
    assert fault.endswith(".")


@given(windows)
def test_windows_that_can_be_have_no_fault(window: Window) -> None:
    assert window_fault(window) is None


@pytest.mark.parametrize("moment", [1e15, -1e15])
def test_moments_that_no_calendar_has_are_refused(moment: float) -> None:
    with pytest.raises(ValueError, match="calendar"):
        bounds(Window(WindowKind.MONTH), moment)


def test_the_default_zone_needs_no_zones_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollkeeper.contracts.windows.ZoneInfo", None)
    start, _ = bounds(Window(WindowKind.DAY), datetime(2026, 5, 5, 10, tzinfo=UTC).timestamp())
    assert start == at("2026-05-05T00:00")
