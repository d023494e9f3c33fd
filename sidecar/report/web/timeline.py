"""The plot of where retention keeps what: each backup of a target by its age, by its state in one of four lanes."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from markupsafe import Markup

from sidecar.report import words
from sidecar.report.web.svg import across, element, picture, spread, title
from sidecar.status import Kept, Shelf

State = Literal["proven", "kept", "going", "damaged"]
LANES: tuple[tuple[State, str], ...] = (
    ("proven", "proven by a drill, kept"),
    ("kept", "kept"),
    ("going", "goes with the next prune"),
    ("damaged", "damaged"),
)
_COLUMNS = 72
_LEFT, _RIGHT = 0.015, 0.985
_LANE, _FIRST, _HEIGHT = 17, 14, 92
_TICKS = (
    (0, "now"),
    (7, "1 week"),
    (30, "1 month"),
    (91, "3 months"),
    (365, "1 year"),
    (1096, "3 years"),
    (3652, "10 years"),
)


def state(backup: Kept) -> State:
    """What one wants to know of it first."""
    if backup.damaged:
        return "damaged"
    if not backup.keep:
        return "going"
    return "proven" if backup.proven else "kept"


def timeline(name: str, shelf: Shelf, now: datetime) -> Markup:
    """New ones lie to the right, a day wide where they are new, months where they are old."""
    if not shelf.backups:
        return Markup("")
    ages = [_days(each, now) for each in shelf.backups]
    scale = math.log1p(max(30.0, *ages))
    columns: dict[tuple[State, int], list[Kept]] = {}
    for backup, age in zip(shelf.backups, ages, strict=True):
        column = round(_COLUMNS * math.log1p(age) / scale)
        columns.setdefault((state(backup), column), []).append(backup)
    marks = [_mark(lane, column, found, now) for (lane, column), found in columns.items()]
    counts = [(sum(len(found) for (lane, _), found in columns.items() if lane == each), each) for each, _ in LANES]
    says = (
        f"{words.count(len(shelf.backups), 'backup')}, the oldest {words.old(shelf.backups[-1].created_at, now)}: "
        + words.listed([f"{number} {lane}" for number, lane in counts if number])
        + ". The table of this target has each with its reason."
    )
    parts = [*_axis(scale), *marks]
    return picture(parts, name=name, of=f"What retention keeps on {shelf.target}", says=says, height=_HEIGHT)


def _days(backup: Kept, now: datetime) -> float:
    return max(0.0, (now - backup.created_at).total_seconds() / words.DAY)


def _place(share: float) -> str:
    return across(_RIGHT - (_RIGHT - _LEFT) * share)


def _mark(lane: State, column: int, found: Sequence[Kept], now: datetime) -> Markup:
    first = found[0]
    why = "; ".join(first.reasons)
    if len(found) == 1:
        told = f"{first.created_at:%Y-%m-%d}, {words.old(first.created_at, now)}, {lane}: {why}"
    else:
        ends = f"{found[-1].created_at:%Y-%m-%d} to {first.created_at:%Y-%m-%d}"
        told = f"{len(found)} backups, {ends}, {lane}; the newest of them: {why}"
    row = [each for each, _ in LANES].index(lane)
    return element(
        "use", title(told), href=f"#{lane}", x=_place(column / _COLUMNS), y=_FIRST + _LANE * row, class_=lane
    )


def _axis(scale: float) -> list[Markup]:
    floor = _FIRST + _LANE * len(LANES) - 8
    parts = [element("line", x1="0", x2="100%", y1=floor, y2=floor, class_="grid")]
    ticks = [(math.log1p(days) / scale, text) for days, text in _TICKS if math.log1p(days) <= scale]
    for share, text in spread(ticks, apart=0.24):
        anchor = "end" if share < 0.05 else "start" if share > 0.9 else "middle"
        place = _place(share)
        parts.append(element("line", x1=place, x2=place, y1="4", y2=floor + 3, class_="grid"))
        parts.append(element("text", text, x=place, y=_HEIGHT - 6, text_anchor=anchor, class_="tick"))
    return parts
