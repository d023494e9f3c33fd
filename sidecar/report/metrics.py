"""The metrics: how things stand, computed from a status when somebody asks, in Prometheus' text format."""

import platform
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

from sidecar.report import standing
from sidecar.runs import Phase, Run
from sidecar.status import Shelf, Status

__all__ = ["CONTENT_TYPE", "Metrics"]

_ID = re.compile(r"\s*\bkimai_[a-z0-9_-]+_[^_/\s]+_[0-9]{8}T[0-9]{6}Z(?:_safety)?\b")
_MOST_PHASES = 30
"""A new name of a phase must not make series without end; those above are one, `other`."""
_Samples = Sequence[tuple[Sequence[str], float]]
_Found = list[tuple[Sequence[str], float]]


class Metrics:
    """Answers of `/metrics`. Counters count the runs that ended `since` (default: now), and never go back."""

    def __init__(self, status: Callable[[], Status], since: datetime | None = None) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Standing(status, since or datetime.now(UTC)))

    def text(self) -> bytes:
        """Every metric as it is now."""
        return generate_latest(self._registry)


class _Standing(Collector):
    def __init__(self, status: Callable[[], Status], since: datetime) -> None:
        self._status = status
        self._since = since
        self._seen: set[str] = set()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._retries: Counter[str] = Counter()

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        self._count(status.runs)
        yield from _daemon(status)
        yield from _targets(status)
        yield from _last_runs(status)
        yield from _last_backup(status)
        ended = list(self._ended.items())
        yield _counter("runs", "Runs that ended since the daemon began.", ("command", "exit_code"), ended)
        retries = [((command,), number) for command, number in self._retries.items()]
        yield _counter("retries", "Calls to targets made again since the daemon began.", ("command",), retries)

    def _count(self, runs: Sequence[Run]) -> None:
        """The history forgets its oldest: what was counted stays so, and what ended before gives a count of zero."""
        for run in runs:
            is_new = run.id not in self._seen and run.finished_at > self._since
            self._ended[run.command, str(run.exit_code)] += is_new
            self._retries[run.command] += run.retries if is_new else 0
        # A few dozen bytes a run: less than a megabyte in ten years.
        self._seen.update(run.id for run in runs)


def fold(phase: str) -> str:
    """The name of a phase without the ID in it: `send ID to s3` is one phase, whichever backup was sent."""
    return " ".join(_ID.sub("", phase).split())


def _daemon(status: Status) -> Iterator[Metric]:
    info = ((status.version, platform.python_version(), status.instance), 1.0)
    # Not `instance`: Prometheus has a label of that name for what it asked.
    yield _gauge("build_info", "What runs: always 1.", ("version", "python", "backup_instance"), [info])
    yield _gauge("healthy", "1 where all is well, else 0.", (), [((), not status.problems)])
    yield _gauge("problems", "How many reasons there are why not all is well.", (), [((), len(status.problems))])
    running = [((status.running.command,), 1.0)] if status.running else []
    yield _gauge("running", "1 for the command that runs right now; else absent.", ("command",), running)
    soonest: dict[str, float] = {}
    for each in status.nexts:
        soonest[each.command] = min(each.at.timestamp(), soonest.get(each.command, float("inf")))
    nexts = [((command,), at) for command, at in soonest.items()]
    yield _gauge("next_run_timestamp_seconds", "When a command runs next by itself.", ("command",), nexts)
    looked = [((), status.look.taken_at.timestamp())] if status.look else []
    yield _gauge("look_timestamp_seconds", "When the targets were last looked at.", (), looked)


def _targets(status: Status) -> Iterator[Metric]:
    shelves = standing.shelves(status)
    reached = [shelf for shelf in shelves if shelf.problem is None]
    succeeded = {shelf.target: standing.last_success(status, shelf) for shelf in shelves}
    proven = {shelf.target: each.created_at for shelf in reached if (each := standing.newest_proven(shelf, status.now))}
    for name, what, moments in (
        ("last_success", "the newest sound backup on a target", succeeded),
        ("newest_proven", "the newest backup on a target that a drill has proven", proven),
    ):
        known = {target: moment for target, moment in moments.items() if moment}
        at = [((target,), moment.timestamp()) for target, moment in known.items()]
        ages = [((target,), (status.now - moment).total_seconds()) for target, moment in known.items()]
        yield _gauge(f"{name}_timestamp_seconds", f"Of when {what} is.", ("target",), at)
        yield _gauge(f"{name}_age_seconds", f"How old {what} is.", ("target",), ages)
    up = [((shelf.target,), shelf.problem is None) for shelf in shelves]
    yield _gauge("target_up", "1 where the target could be listed at the last look, else 0.", ("target",), up)
    figures: tuple[tuple[str, str, Callable[[Shelf], float]], ...] = (
        ("backups", "Backups on the target.", lambda shelf: len(shelf.backups)),
        ("bytes", "What the backups on the target take.", lambda shelf: sum(each.size for each in shelf.backups)),
        ("proven_backups", "Backups there that are proven.", lambda shelf: sum(each.proven for each in shelf.backups)),
        ("damaged_backups", "Backups there that are damaged.", lambda shelf: sum(k.damaged for k in shelf.backups)),
        ("stray_objects", "Objects there that are no whole backup.", lambda shelf: len(shelf.strays)),
    )
    for name, what, figure in figures:
        yield _gauge(f"target_{name}", what, ("target",), [((shelf.target,), figure(shelf)) for shelf in reached])


def _last_runs(status: Status) -> Iterator[Metric]:
    last = standing.last_runs(status.runs)
    label, both = ("command",), ("command", "phase")
    ended = [((command,), run.finished_at.timestamp()) for command, run in last.items()]
    yield _gauge("last_run_timestamp_seconds", "When the last run of a command ended.", label, ended)
    took = [((command,), run.seconds) for command, run in last.items()]
    yield _gauge("last_run_duration_seconds", "How long the last run of a command took.", label, took)
    codes = [((command,), float(run.exit_code)) for command, run in last.items()]
    yield _gauge("last_run_exit_code", "How it ended: 0 is done, 137 killed; README, Exit codes.", label, codes)
    seconds: _Found = []
    sizes: _Found = []
    items: _Found = []
    for command, run in last.items():
        for name, parts in _phases(run.phases).items():
            seconds.append(((command, name), sum(part.seconds for part in parts)))
            for unit, found in (("bytes", sizes), ("items", items)):
                if any(part.unit == unit and part.amount for part in parts):
                    found.append(((command, name), float(sum(p.amount for p in parts if p.unit == unit))))
    yield _gauge("phase_duration_seconds", "How long each part of the last run took.", both, seconds)
    yield _gauge("phase_bytes", "What each part of the last run read or wrote.", both, sizes)
    yield _gauge("phase_items", "What each part of the last run worked on, such as rows.", both, items)


def _phases(phases: Sequence[Phase]) -> dict[str, list[Phase]]:
    found: dict[str, list[Phase]] = defaultdict(list)
    for phase in phases:
        name = fold(phase.name)
        found[name if name in found or len(found) < _MOST_PHASES else "other"].append(phase)
    return found


def _last_backup(status: Status) -> Iterator[Metric]:
    last = standing.last_backup(status.runs)
    figures: tuple[tuple[str, str, Callable[[Run], int]], ...] = (
        ("size_bytes", "The size of the last backup's archive.", lambda run: run.size),
        ("tables", "Tables in the last backup.", lambda run: run.tables),
        ("rows", "Rows in the last backup.", lambda run: run.rows),
        ("files", "Files in the last backup.", lambda run: run.files),
        (
            "lacks",
            "What was missing, unreadable, changed or left undone in the last backup.",
            lambda run: len(run.lacks),
        ),
    )
    for name, what, figure in figures:
        yield _gauge(f"last_backup_{name}", what, (), [((), figure(last))] if last else [])


def _gauge(name: str, what: str, labels: Sequence[str], samples: _Samples) -> Metric:
    family = GaugeMetricFamily(f"kimai_backup_{name}", what, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family


def _counter(name: str, what: str, labels: Sequence[str], counts: _Samples) -> Metric:
    family = CounterMetricFamily(f"kimai_backup_{name}", what, labels=labels)
    for values, value in counts:
        family.add_metric(values, value)
    return family
