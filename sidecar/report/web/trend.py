"""The plots of size and duration over time: a bar for each stretch of time, a cross where runs failed."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from markupsafe import Markup

from sidecar.report import words
from sidecar.report.web.svg import across, element, picture, title
from sidecar.runs import Run

_BARS = 60
_TOP, _FLOOR, _HEIGHT = 12, 126, 150
_WIDE = 0.83
"""What the bars take of the width; the rest is for the scale, beside them."""
_MANTISSAS = (1, 2, 2.5, 5, 10)


class Bar(NamedTuple):
    """One stretch of time that ends with `at`: the largest value in it (None: no backup), and how many runs failed."""

    at: datetime
    value: float | None
    failed: int


def bars(runs: Sequence[Run], value: Callable[[Run], float]) -> list[Bar]:
    """Backups by their beginnings: at most 60 stretches of whole hours or days, the last ends with the newest."""
    if not runs:
        return []
    first, last = min(run.started_at for run in runs), max(run.started_at for run in runs)
    hours = max(1, math.ceil((last - first).total_seconds() / 3600 / (_BARS - 1)))
    # A night is a night: a stretch of 23 hours would leave gaps where there are none.
    step = timedelta(hours=hours if hours <= 6 else 24 * math.ceil(hours / 24))
    values: dict[int, float] = {}
    failed: dict[int, int] = {}
    for run in runs:
        back = (last - run.started_at) // step
        if run.backup:
            values[back] = max(values.get(back, 0.0), value(run))
        else:
            failed[back] = failed.get(back, 0) + 1
    return [
        Bar(last - back * step, values.get(back), failed.get(back, 0))
        for back in range(max((*values, *failed)), -1, -1)
    ]


def trend(name: str, of: str, found: Sequence[Bar], shown: Callable[[float], str], tz: tzinfo) -> Markup:
    """One plot. `shown` writes a value with its unit."""
    known = [bar.value for bar in found if bar.value is not None]
    if not known:
        return Markup("")
    step = _step(max(known))
    top = step * max(1, math.ceil(max(known) / step))
    parts = [*_grid(step, top, shown), *_bars(found, top, shown, tz), *_dates(found, tz)]
    failed = sum(bar.failed for bar in found)
    says = (
        f"From {words.local(found[0].at, tz):%Y-%m-%d} to {words.local(found[-1].at, tz):%Y-%m-%d}:"
        f" between {shown(min(known))} and {shown(max(known))}, the last {shown(known[-1])};"
        f" {words.count(failed, 'run')} failed. The table below has the figures."
    )
    return picture(parts, name=name, of=of, says=says, height=_HEIGHT)


def _step(most: float) -> float:
    """A round distance between lines, so that there are two to four of them."""
    rough = max(most, 1e-9) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    return next(mantissa * power for mantissa in _MANTISSAS if mantissa * power >= rough * 0.999)


def _grid(step: float, top: float, shown: Callable[[float], str]) -> list[Markup]:
    parts = []
    for number in range(round(top / step) + 1):
        y = _y(number * step, top)
        parts.append(element("line", x1="0", x2=across(_WIDE), y1=y, y2=y, class_="grid"))
        text = shown(number * step).replace(".0 ", " ")
        parts.append(element("text", text, x="100%", y=y + 4, text_anchor="end", class_="tick"))
    return parts


def _bars(found: Sequence[Bar], top: float, shown: Callable[[float], str], tz: tzinfo) -> list[Markup]:
    # A single bar must not fill the plot.
    width = _WIDE / max(12, len(found))
    parts = []
    for number, bar in enumerate(found):
        day = f"{words.local(bar.at, tz):%Y-%m-%d}"
        if bar.value is not None:
            y = _y(bar.value, top)
            tall = max(1.0, _FLOOR - y)
            place = {"x": across((number + 0.1) * width), "width": across(0.8 * width)}
            parts.append(
                element(
                    "rect", title(f"{day}: {shown(bar.value)}"), **place, y=_FLOOR - tall, height=tall, class_="bar"
                )
            )
        if bar.failed:
            told = title(f"{day}: {words.count(bar.failed, 'run')} failed")
            # Above the bar, where one of another run of the same stretch stands there.
            above = _FLOOR if bar.value is None else max(12.0, _y(bar.value, top))
            place = {"x": across((number + 0.5) * width), "y": str(above - 7)}
            parts.append(element("use", told, href="#damaged", **place, class_="damaged"))
    return parts


def _dates(found: Sequence[Bar], tz: tzinfo) -> list[Markup]:
    ends = [(found[0], "0", "start")]
    if len(found) >= 12:
        ends.append((found[-1], across(_WIDE), "end"))
    return [
        element("text", f"{words.local(bar.at, tz):%Y-%m-%d}", x=x, y=_HEIGHT - 6, text_anchor=anchor, class_="tick")
        for bar, x, anchor in ends
    ]


def _y(value: float, top: float) -> float:
    return round(_FLOOR - (_FLOOR - _TOP) * value / top, 1)
