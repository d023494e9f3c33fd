"""The status page: what of a status is shown, and the template that it is put into."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from sidecar.report import log as logs
from sidecar.report import standing, words
from sidecar.report.web import timeline, trend
from sidecar.report.web.glance import glance, when
from sidecar.runs import KEEP_RUNS, KILLED, Run
from sidecar.status import Kept, Shelf, Status

AT_FIRST = 50
"""How many backups of a target are shown before one asks for the rest."""
_RUNS = 10
_REASONS = 3


class Row(NamedTuple):
    """A backup in the table of its target."""

    made: str
    command: str
    age: str
    size: str
    version: str
    marks: Sequence[tuple[str, str]]
    keep: bool
    why: str


class Page:
    """Makes the page; its template is read once."""

    def __init__(self, *, in_container: bool) -> None:
        self._restore = "docker compose run --rm restore" if in_container else "kimai-backup restore"
        # Whoever keeps the key elsewhere, as one should, brings it along.
        self._decrypt = (
            'docker compose run --rm --volume "$PWD/key.txt:/key.txt:ro" --env BACKUP_IDENTITY_FILE=/key.txt restore'
            if in_container
            else "BACKUP_IDENTITY_FILE=key.txt kimai-backup restore"
        )
        self._backup = "docker compose exec backup kimai-backup backup" if in_container else "kimai-backup backup"
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("sidecar.report.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._template = environment.get_template("page.html")
        self.nothing = environment.get_template("nothing.html").render()

    def render(self, status: Status) -> str:
        """The whole page as HTML."""
        now, tz = status.now, status.tz
        return self._template.render(
            instance=status.instance,
            version=status.version,
            zone=words.local(now, tz).strftime("%Z"),
            now=now,
            as_of=words.stamp(now, tz),
            glance=glance(status),
            backup=self._backup,
            problems=[logs.redact(problem) for problem in status.problems],
            nexts=[(each, when(each.at, status)) for each in sorted(status.nexts, key=lambda each: each.at)],
            targets=[self._target(shelf, status) for shelf in standing.shelves(status)],
            lanes=timeline.LANES,
            trends=_trends(status),
            last=_ended(status.runs[-1], status) if status.runs else None,
            runs=[_ended(run, status) for run in reversed(status.runs[-_RUNS:])],
            log=[logs.redact(line) for line in status.log],
        )

    def _target(self, shelf: Shelf, status: Status) -> dict[str, Any]:
        rows = list(self._rows(shelf.backups, status))
        newest, proven = standing.newest(shelf, status.now), standing.newest_proven(shelf, status.now)
        policy = status.policies.get(shelf.target)
        return {
            "name": shelf.target,
            "problem": logs.redact(shelf.problem) if shelf.problem else None,
            "count": words.count(len(rows), "backup"),
            "size": words.amount(sum(each.size for each in shelf.backups)),
            "newest": words.old(newest.created_at, status.now) if newest else "none",
            "proven": words.old(proven.created_at, status.now) if proven else "none",
            "strays": shelf.strays,
            "policy": _policy(policy._asdict()) if policy else "",
            "rows": rows[:AT_FIRST],
            "older": rows[AT_FIRST:],
            "plot": timeline.timeline(f"kept-{shelf.target}", shelf, status.now),
        }

    def _rows(self, backups: Sequence[Kept], status: Status) -> Iterator[Row]:
        for each in backups:
            yield Row(
                made=words.stamp(each.created_at, status.tz),
                command=f"{self._decrypt if each.encrypted else self._restore} {each.id}",
                age=words.age(status.now - each.created_at),
                size=words.amount(each.size),
                version=each.kimai_version,
                marks=_marks(each),
                keep=each.keep,
                why="; ".join(each.reasons[:_REASONS]),
            )


def _marks(backup: Kept) -> Sequence[tuple[str, str]]:
    """What there is to say of it, each with its class of style."""
    marks = [("damaged", "damaged")] if backup.damaged else [("proven", "proven")] if backup.proven else []
    if backup.safety:
        marks.append(("plain", "safety copy"))
    if backup.encrypted:
        marks.append(("plain", "encrypted"))
    return marks or _UNPROVEN


_UNPROVEN = (("unproven", "not proven"),)


def _policy(policy: dict[str, int]) -> str:
    """Retention in words."""
    calendar = [f"{policy[name]} {name}" for name in ("daily", "weekly", "monthly", "yearly") if policy[name]]
    by_age = words.count(policy["days"], "day") if policy["days"] else "all, whatever their age"
    parts = [by_age, *calendar, f"at least the newest {policy['min_keep']}"]
    return f"Kept: {words.listed(parts)}."


def _ended(run: Run, status: Status) -> dict[str, Any]:
    how = "done" if run.is_good else "done in part" if run.is_stored else "failed"
    code = "killed" if run.exit_code == KILLED else f"exit {run.exit_code}"
    return {
        "command": run.command,
        "trigger": {"hand": "by hand", "schedule": "by schedule", "missed": "made up for", "retry": "tried again"}[
            run.trigger
        ],
        "began": words.stamp(run.started_at, status.tz),
        "took": words.duration(run.seconds),
        "how": how if run.is_good else f"{how} ({code})",
        "mood": "well" if run.is_good else "part" if run.is_stored else "wrong",
        "summary": logs.redact(run.summary),
    }


def _trends(status: Status) -> dict[str, Any]:
    # The few older ones that are remembered for other reasons would stretch the time that the plots show.
    backups = [run for run in status.runs[-KEEP_RUNS:] if run.command == "backup"]
    sizes = trend.bars(backups, lambda run: run.size)
    times = trend.bars(backups, lambda run: run.seconds)
    tz = status.tz
    plots: list[Markup] = [
        trend.trend("size", "Size of each backup", sizes, lambda value: words.amount(round(value)), tz),
        trend.trend("duration", "Duration of each backup", times, words.duration, tz),
    ]
    rows = [
        (
            words.stamp(size.at, tz)[:10],
            "none" if size.value is None else words.amount(round(size.value)),
            "none" if time.value is None else words.duration(time.value),
            size.failed,
        )
        for size, time in zip(reversed(sizes), reversed(times), strict=True)
        if size.value is not None or size.failed
    ]
    return {"plots": [plot for plot in plots if plot], "rows": rows}
