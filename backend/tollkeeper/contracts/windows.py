"""When the windows of budgets begin and end. Pure: a window and a moment in, two whole seconds since 1970 out.

The boundaries of a window are a sequence of moments that never goes back, and a window reaches from one to the next:
so windows tile time whatever a zone does to its clocks. A day may last 23 or 25 hours. A local time that a zone skips
is read as if the clocks had not been moved yet; of one that comes twice the first counts, or the second if the anchor
lies there.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tollkeeper.contracts.money import Window, WindowKind

# The end of the window that holds all time: the year 10000.
FOREVER: Final = 253_402_300_800
SHORTEST_CUSTOM_SECONDS: Final = 60
LONGEST_CUSTOM_SECONDS: Final = 3_660 * 86_400

_HOUR: Final = 3_600
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A Monday that is the first day of a month, a quarter and a year.
_CALENDAR: Final = datetime(2001, 1, 1)  # noqa: DTZ001 - a local time of whichever zone
# Anchors that a rule may have: 1970 to 2100.
_LATEST_ANCHOR: Final = 4_102_444_800
_DAYS: Final = {WindowKind.DAY: 1, WindowKind.WEEK: 7}
_MONTHS: Final = {WindowKind.MONTH: 1, WindowKind.QUARTER: 3, WindowKind.YEAR: 12}


def bounds(window: Window, unix: float) -> tuple[int, int]:
    """The first second of the window that holds `unix`, and the first one after it.

    Costs some 10 µs for calendar windows; a window changes at most once within an hour of its zone, so callers keep it.
    Raises `ValueError` for a window that `window_fault` finds fault with, and for moments no calendar has.
    """
    moment = int(unix // 1)
    if window.kind is WindowKind.TOTAL:
        return 0, FOREVER
    if window.kind is WindowKind.CUSTOM:
        if window.seconds is None or window.seconds < 1:
            raise ValueError("a custom window needs its length in seconds")
        return _even(moment, window.anchor or 0, window.seconds)
    try:
        if window.kind is WindowKind.HOUR:
            if window.anchor is not None:
                return _even(moment, window.anchor, _HOUR)
            return _hour(moment, _zone(window.time_zone))
        return _calendar(window, moment, _zone(window.time_zone))
    except OverflowError:
        raise ValueError(f"no calendar holds the moment {unix}") from None


def previous(window: Window, start: int) -> tuple[int, int] | None:
    """The window before the one that begins at `start`; None where there is none (all time)."""
    return None if window.kind is WindowKind.TOTAL else bounds(window, start - 1)


def window_fault(window: Window) -> str | None:
    """What is wrong with a window somebody asks for, as a sentence; None when `bounds` can work with it."""
    try:
        _zone(window.time_zone)
    except ValueError:
        return f"There is no time zone '{window.time_zone[:64]}'; use a name such as 'UTC' or 'Europe/Berlin'."
    if window.anchor is not None and not 0 <= window.anchor <= _LATEST_ANCHOR:
        return "The anchor lies between 1970 and 2100."
    if window.anchor is not None and window.kind is WindowKind.TOTAL:
        return "A window of all time has no anchor."
    if window.kind is not WindowKind.CUSTOM:
        return None if window.seconds is None else "Only a custom window has a length in seconds."
    if window.seconds is None or not SHORTEST_CUSTOM_SECONDS <= window.seconds <= LONGEST_CUSTOM_SECONDS:
        return f"A custom window needs a length of {SHORTEST_CUSTOM_SECONDS} to {LONGEST_CUSTOM_SECONDS} seconds."
    return None


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        # Without a look into the system's zones, which a small image may lack.
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        # Names of folders and texts that are no path raise what the file system says.
        raise ValueError(f"unknown time zone: {name[:64]!r}") from None


def _even(moment: int, anchor: int, seconds: int) -> tuple[int, int]:
    start = anchor + (moment - anchor) // seconds * seconds
    return start, start + seconds


def _hour(moment: int, zone: tzinfo) -> tuple[int, int]:
    """From full hour to full hour on the clocks of the zone, each of them once: an hour that comes twice is two windows."""
    offset = _offset(moment, zone)
    start = moment - (moment + offset) % _HOUR
    end = start + _HOUR
    if _offset(start, zone) == offset == _offset(end, zone):
        return start, end
    # The clocks are moved about now, by half an hour in some zones: then a window lasts up to an hour and a half.
    offsets = {_offset(moment + hours * _HOUR, zone) for hours in (-3, 0, 3)}
    full = [
        hour
        for offset in offsets
        for hour in range(start - (start + offset) % _HOUR - 3 * _HOUR, end + 4 * _HOUR, _HOUR)
        if _offset(hour, zone) == offset
    ]
    return max(hour for hour in full if hour <= moment), min(hour for hour in full if hour > moment)


def _calendar(window: Window, moment: int, zone: tzinfo) -> tuple[int, int]:
    anchor = _CALENDAR if window.anchor is None else _local(window.anchor, zone)
    now = _local(moment, zone)
    # A guess from local times, off by one where clocks are moved or months are short.
    if (days := _DAYS.get(window.kind)) is not None:
        index = (now - anchor.replace(fold=0)) // (days * _DAY)
    else:
        index = _months_apart(anchor, now) // _MONTHS[window.kind]
    while (start := _boundary(window.kind, anchor, index, zone)) > moment:
        index -= 1
    while (end := _boundary(window.kind, anchor, index + 1, zone)) <= moment:
        index, start = index + 1, end
    return start, end


def _months_apart(first: datetime, second: datetime) -> int:
    return (second.year - first.year) * 12 + second.month - first.month


def _boundary(kind: WindowKind, anchor: datetime, index: int, zone: tzinfo) -> int:
    """The moment at which the window `index` windows after the anchor's begins."""
    if (days := _DAYS.get(kind)) is not None:
        local = (anchor + index * days * _DAY).replace(fold=anchor.fold)
    else:
        years, month = divmod(anchor.month - 1 + index * _MONTHS[kind], 12)
        year = anchor.year + years
        # The 31st of a month with 30 days is its last day.
        local = anchor.replace(year=year, month=month + 1, day=min(anchor.day, monthrange(year, month + 1)[1]))
    return _moment(local, zone)


def _moment(local: datetime, zone: tzinfo) -> int:
    # No two boundaries are nearer than a day, and no zone skips more than one: their order stays.
    return (local.replace(tzinfo=zone) - _EPOCH) // _SECOND


def _local(moment: int, zone: tzinfo) -> datetime:
    """What the clocks of the zone show, with `fold` set in an hour that comes the second time."""
    return (_EPOCH + timedelta(seconds=moment)).astimezone(zone).replace(tzinfo=None)


def _offset(moment: int, zone: tzinfo) -> int:
    offset = (_EPOCH + timedelta(seconds=moment)).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
