"""Measure backup and restore against mariadb-dump and mariadb, alternating, and say which goals are met."""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from bench import offsite
from tests.support.instance import Instance, create_database, install_code, make_instance
from tests.support.servers import running

TOOL = Path(sys.executable).with_name("kimai-backup")
DUMPS, LOADS, HELPS = 5, 3, 9
DUMP_GOAL, LOAD_GOAL, MEMORY_GOAL, HELP_GOAL = 1.25, 0.8, 128.0, 0.3

CONSOLE = """#!/bin/sh
# A stand-in that costs next to nothing: what is measured is kimai-backup, not PHP.
case "$1" in
kimai:version) echo 2.66.0 ;;
doctrine:migrations:up-to-date) echo "[OK] Up-to-date! No migrations to execute." ;;
esac
"""


class Run(NamedTuple):
    """One command: wall time in seconds, peak memory in MiB."""

    seconds: float
    memory: float


class Line(NamedTuple):
    what: str
    measured: str
    goal: str
    met: bool


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench N=…", description=__doc__)
    parser.add_argument("timesheets", nargs="?", type=int, default=1_000_000)
    timesheets = parser.parse_args().timesheets
    with _folder() as folder, running(durable=True) as server:
        say(f"machine: {machine()}; server: {server.run('SELECT VERSION()')[0][0]}, on the same machine")
        instance = make_instance(server, folder / "kimai", timesheets=timesheets)
        (instance.root / "bin/console").write_text(CONSOLE)
        lines = measure(Bench(instance, folder), timesheets)
    with _folder() as folder:
        say("S3: SeaweedFS on the same machine, by HTTP; the calls alone, in processes of their own, alternating")
        lines += [Line(*found) for found in offsite.measure(folder, say)]
    say("")
    grid(lines)
    met = sum(line.met for line in lines)
    say(f"\n{met} of {len(lines)} goals are met; the goals are for 1000000 timesheets on a machine that is idle")


class Bench:
    """The commands that are compared, each with all of its set-up outside of the measured time."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        self.instance = instance
        self.backups = folder / "backups"
        self.dump = folder / "dump.sql"
        self.backups.mkdir()
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "DATABASE_URL": instance.url,
            "KIMAI_DIR": str(instance.root),
            "BACKUP_DIR": str(self.backups),
            "BACKUP_STATE_DIR": str(folder / "state"),
            "DRILL_DATABASE_URL": instance.server.url("bench"),
            "LOG_LEVEL": "error",
        }

    def backup(self) -> Run:
        for path in self.backups.iterdir():
            path.unlink()
        return run([str(TOOL), "backup"], self.environment)

    def native_dump(self, target: Path) -> Run:
        with target.open("wb") as stdout:
            return run(self._native("mariadb-dump", "--single-transaction"), self._password(), stdout=stdout)

    def restore(self) -> Run:
        self._empty_database()
        shutil.rmtree(self.instance.root)
        install_code(self.instance.root)
        (self.instance.root / "bin/console").write_text(CONSOLE)
        return run([str(TOOL), "restore", "latest"], self.environment)

    def native_load(self) -> Run:
        self._empty_database()
        with self.dump.open("rb") as stdin:
            return run(self._native("mariadb"), self._password(), stdin=stdin)

    def drill(self) -> Run:
        return run([str(TOOL), "drill"], self.environment)

    def native_proof(self, load: Run) -> Run:
        """What the native clients need for the like of a drill: the load that was measured, and a dump of it."""
        dump = self.native_dump(Path(os.devnull))
        return Run(load.seconds + dump.seconds, max(load.memory, dump.memory))

    def _empty_database(self) -> None:
        self.instance.server.run(f"DROP DATABASE {self.instance.database}")
        create_database(self.instance)

    def _native(self, program: str, *options: str) -> list[str]:
        server = self.instance.server
        account = [f"--host={server.host}", f"--port={server.port}", f"--user={self.instance.user}"]
        return [program, "--no-defaults", *account, "--protocol=TCP", *options, self.instance.database]

    def _password(self) -> dict[str, str]:
        return {**self.environment, "MYSQL_PWD": self.instance.password}


def measure(bench: Bench, timesheets: int) -> list[Line]:
    bench.native_dump(bench.dump)
    size = bench.dump.stat().st_size / 1e6
    say(f"data: {timesheets} timesheets, {size:.0f} MB of SQL by mariadb-dump, a few files")
    say("compared: whole commands by wall time, alternating, medians; kimai-backup's start and its reading of the")
    say("version included, its console a shell script that answers at once; backup writes a zip, prunes and exits;")
    say("restore checks, loads, compares every row and puts the files back; both sides by TCP as Kimai's own user;")
    say("drill checks, loads into a scratch database of the same server, compares every row and drops it")
    dumps, natives = [], []
    for number in range(DUMPS):
        natives.append(bench.native_dump(Path(os.devnull)))
        dumps.append(bench.backup())
        tell(f"dump {number + 1}", natives[-1], dumps[-1])
    loads, native_loads, drills, native_proofs = [], [], [], []
    for number in range(LOADS):
        native_loads.append(bench.native_load())
        native_proofs.append(bench.native_proof(native_loads[-1]))
        loads.append(bench.restore())
        drills.append(bench.drill())
        tell(f"load {number + 1}", native_loads[-1], loads[-1])
        tell(f"drill {number + 1}", native_proofs[-1], drills[-1])
    helps = [run([str(TOOL), "--help"], bench.environment, stdout=subprocess.DEVNULL) for _ in range(HELPS)]
    return [
        compared("backup / mariadb-dump --single-transaction >/dev/null", dumps, natives, DUMP_GOAL),
        compared("restore latest / mariadb <dump.sql", loads, native_loads, LOAD_GOAL),
        compared("drill / mariadb <dump.sql and mariadb-dump of it >/dev/null", drills, native_proofs, LOAD_GOAL),
        memory("backup, peak memory", dumps),
        memory("restore, peak memory", loads),
        memory("drill, peak memory", drills),
        _line("--help", median(helps), HELP_GOAL, " s"),
    ]


def run(
    command: list[str],
    environment: Mapping[str, str],
    *,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
) -> Run:
    """Run one command to its end and ask the kernel what it took; one that fails ends the benchmark."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=dict(environment), stdin=stdin, stdout=stdout)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command[:2])} ended with exit code {process.returncode}")
    return Run(took, usage.ru_maxrss / 1024)


def median(runs: list[Run]) -> float:
    return statistics.median(each.seconds for each in runs)


def compared(what: str, ours: list[Run], theirs: list[Run], goal: float) -> Line:
    ratio = median(ours) / median(theirs)
    measured = f"{ratio:.2f}  ({median(ours):.2f} s / {median(theirs):.2f} s)"
    return Line(what, measured, f"<= {goal:g}", ratio <= goal)


def memory(what: str, runs: list[Run]) -> Line:
    return _line(what, max(each.memory for each in runs), MEMORY_GOAL, " MiB")


def _line(what: str, value: float, goal: float, unit: str) -> Line:
    return Line(what, f"{value:.{0 if value > 10 else 2}f}{unit}", f"<= {goal:g}{unit}", value <= goal)


def grid(lines: list[Line]) -> None:
    rows = [("", "MEASURED", "GOAL", "MET"), *((*line[:3], "yes" if line.met else "NO") for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def tell(what: str, native: Run, own: Run) -> None:
    say(f"  {what}: native {native.seconds:6.2f} s, kimai-backup {own.seconds:6.2f} s, {own.memory:.0f} MiB")


def machine() -> str:
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    total = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    load = os.getloadavg()[0]
    return (
        f"{len(os.sched_getaffinity(0))} cores of {models[0] if models else platform.machine()}, "
        f"{total / 2**20:.0f} GiB, load {load:.1f} at the beginning, Python {platform.python_version()}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def _folder() -> Iterator[Path]:
    """The one folder in which everything lies, the server's data too."""
    with tempfile.TemporaryDirectory(prefix="kimai-backup-bench-", ignore_cleanup_errors=True) as name:
        outer = tempfile.tempdir
        tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = outer


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("bench: interrupted; nothing is left behind")
