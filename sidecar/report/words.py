"""Sizes, ages and times as people read them."""

from datetime import datetime, timedelta, tzinfo

from sidecar.brief import amount as amount

MINUTE, HOUR, DAY = 60, 3600, 86400
_STEPS = ((365 * DAY, "year"), (60 * DAY, "month"), (2 * DAY, "day"), (2 * HOUR, "hour"), (MINUTE, "minute"))
_LENGTHS = {"year": 365.25 * DAY, "month": 30.44 * DAY, "day": DAY, "hour": HOUR, "minute": MINUTE}


def count(number: int, noun: str) -> str:
    """A number with its noun, which takes an s but where it is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def age(span: timedelta) -> str:
    """How old something is, in the one unit that fits: 26 hours, 2 days, 3 months."""
    seconds = span.total_seconds()
    if seconds < 0:
        return "in the future"
    for least, unit in _STEPS:
        if seconds >= least:
            return count(int(seconds / _LENGTHS[unit]), unit)
    return "less than a minute"


def old(moment: datetime, now: datetime) -> str:
    """How old what was made at a moment is: 5 hours old; or that one of two clocks was wrong."""
    return f"{age(now - moment)} old" if moment <= now else "dated in the future"


def duration(seconds: float) -> str:
    """How long something took: 0.4 s, 42 s, 3 min 12 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"


def stamp(moment: datetime, tz: tzinfo) -> str:
    """A time on the clock of a zone, to the minute."""
    return local(moment, tz).strftime("%Y-%m-%d %H:%M")


def soon(moment: datetime, now: datetime, tz: tzinfo) -> str:
    """A time near to now: today at 01:10, tomorrow at 01:10, on Sunday at 01:10; further away its date."""
    then, today = local(moment, tz), local(now, tz).date()
    days = (then.date() - today).days
    clock = f"{then:%H:%M}"
    if 0 <= days <= 1:
        return f"{('today', 'tomorrow')[days]} at {clock}"
    return f"on {then:%A} at {clock}" if 1 < days < 7 else f"on {then:%Y-%m-%d} at {clock}"


def local(moment: datetime, tz: tzinfo) -> datetime:
    """The same moment in the zone; the first and the last day of the calendar, which may have none there, as it is."""
    try:
        return moment.astimezone(tz)
    except OverflowError:
        return moment


def listed(names: list[str]) -> str:
    """Words one after the other, the last two with `and` between them."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
