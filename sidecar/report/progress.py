"""How far a long run is: bars on a terminal, a log line for each phase elsewhere, nothing where nobody looks."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

log = logging.getLogger(__name__)

Unit = Literal["bytes", "items"]


class Progress(Protocol):
    """What a use case tells about its way. Any thread may call `advance`; one alone calls `phase`."""

    def phase(self, name: str, total: int | None = None, *, unit: Unit = "bytes") -> None:
        """End the phase before, as done, and begin this one; `total` in its unit, None where unknown."""

    def advance(self, amount: int = 1) -> None:
        """So many more of the phase's unit are done."""


@contextmanager
def progress(*, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Progress]:
    """Show progress while the block runs, on the stream (stderr). Quiet shows nothing, for `--json` and tests.

    A block that raises leaves its last phase as it stands: told as broken off, never as done.
    """
    if quiet:
        yield _Quiet()
    elif (stream or sys.stderr).isatty():
        with _bars(stream) as bars:
            shown = _Bars(bars)
            yield shown
            shown.finish()
    else:
        lines = _Lines()
        try:
            yield lines
        except BaseException:
            lines.finish(how="broke off")
            raise
        lines.finish()


class _Quiet:
    def phase(self, name: str, total: int | None = None, *, unit: Unit = "bytes") -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass


class Timed:
    """Another progress, which remembers of each phase how long it took and how much it had to do."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._lock = threading.Lock()
        self._ended: list[tuple[str, float, int, Unit]] = []
        self._current: tuple[str, Unit] | None = None
        self._began = 0.0
        self._done = 0

    def phase(self, name: str, total: int | None = None, *, unit: Unit = "bytes") -> None:
        """End the phase before, and begin this one."""
        self._end()
        self._current, self._began, self._done = (name, unit), time.monotonic(), 0
        self._shown.phase(name, total, unit=unit)

    def advance(self, amount: int = 1) -> None:
        """So many more of the phase's unit are done."""
        with self._lock:
            self._done += amount
        self._shown.advance(amount)

    def phases(self) -> list[tuple[str, float, int, Unit]]:
        """Name, seconds, amount and unit of every phase; the last one ends now."""
        self._end()
        return list(self._ended)

    def _end(self) -> None:
        if self._current is not None:
            name, unit = self._current
            self._ended.append((name, round(time.monotonic() - self._began, 3), self._done, unit))
            self._current = None


class _Lines:
    """A log line at the end of each phase: what was done, and in how many seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._name: str | None = None
        self._unit: Unit = "bytes"
        self._began = 0.0
        self._done = 0

    def phase(self, name: str, total: int | None = None, *, unit: Unit = "bytes") -> None:  # noqa: ARG002
        self.finish()
        self._name, self._unit, self._began, self._done = name, unit, time.monotonic(), 0

    def advance(self, amount: int = 1) -> None:
        with self._lock:
            self._done += amount

    def finish(self, how: str = "done") -> None:
        if self._name is None:
            return
        seconds = time.monotonic() - self._began
        amount = f", {_amount(self._done, self._unit)}" if self._done else ""
        fields = {"phase": self._name, "seconds": round(seconds, 3), self._unit: self._done}
        log.info("%s: %s after %.1f s%s", self._name, how, seconds, amount, extra={"fields": fields})
        self._name = None


class _Bars:
    """A bar for each phase; those that are done stay above it."""

    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def phase(self, name: str, total: int | None = None, *, unit: Unit = "bytes") -> None:
        self.finish()
        self._task = self._bars.add_task(name, total=total, unit=unit)

    def advance(self, amount: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, amount)

    def finish(self) -> None:
        if self._task is None:
            return
        # What was found on the way may differ from the total that was guessed at the start.
        done = self._bars.tasks[-1].completed
        self._bars.update(self._task, total=done, completed=done)
        self._task = None


def _bars(stream: TextIO | None) -> "Bars":
    # Rich takes 50 ms to import, which only a terminal repays.
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            done = _amount(int(task.completed), task.fields["unit"])
            whole = "" if task.total is None else f" of {_amount(int(task.total), task.fields['unit'])}"
            return Text(done if task.finished else done + whole)

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), Amount(), TimeElapsedColumn())
    console = Console(file=stream) if stream else Console(stderr=True)
    # stdout is left alone: it carries results, and may be a pipe.
    return Bars(*columns, console=console, redirect_stdout=False)


def _amount(number: int, unit: Unit) -> str:
    """1536000 bytes as `1.5 MB` (powers of 1000, as disks are sold), items as `1,536,000`."""
    if unit == "items":
        return f"{number:,}"
    size = float(number)
    for name in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {name}" if name == "B" or size >= 99.95 else f"{size:.1f} {name}"
        size /= 1000
    return f"{size:,.1f} TB"
