"""Back up a throwaway Kimai with the real commands, lose it, restore it, compare both, and prove the backup."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tests.support.instance import (
    USER_DATA,
    Found,
    Instance,
    create_database,
    files,
    install_code,
    make_instance,
    tables,
)
from tests.support.servers import running

TIMESHEETS = 50_000
COMMAND_DEADLINE = 300
TOOL = Path(sys.executable).with_name("kimai-backup")


def main() -> int:
    # A kill must leave nothing behind either, so it ends as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    started = time.monotonic()
    with _folder() as folder, running(durable=True) as server:
        say(f"a throwaway MariaDB on port {server.port}, and a Kimai-like instance with {TIMESHEETS} timesheets")
        say("its console is a stand-in (tests/standin): this shows the backup, not Kimai")
        instance = make_instance(server, folder / "kimai", timesheets=TIMESHEETS)
        same = demonstrate(instance, folder)
    say(f"{time.monotonic() - started:.0f} s; the server and every file are gone")
    return 0 if same else 1


def demonstrate(instance: Instance, folder: Path) -> bool:
    """The whole round; True where everything came back as it was."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "DATABASE_URL": instance.url,
        "KIMAI_DIR": str(instance.root),
        "BACKUP_DIR": str(folder / "backups"),
        "BACKUP_STATE_DIR": str(folder / "state"),
        "LOG_FORMAT": "text",
        # The same server here, which a drill warns of; an admin has one of its own for it.
        "DRILL_DATABASE_URL": instance.server.url("demo"),
    }
    (folder / "backups").mkdir()
    tables_before, files_before = tables(instance), files(instance.root)
    for command in (["doctor"], ["backup"], ["list"], ["verify"]):
        run(command, environment)
    digests_before = digests(environment)
    lose(instance)
    run(["restore", "latest"], environment)
    tables_after, files_after = tables(instance), files(instance.root)
    say("one more backup, of what was restored, for the tool's own digests of it")
    run(["backup", "--no-prune"], environment)
    digests_after = digests(environment)
    say("tables: rows by COUNT(*), checksum by the server's CHECKSUM TABLE, digest by kimai-backup")
    same_tables = compare(
        ("TABLE", "ROWS", "CHECKSUM", "DIGEST"),
        {name: (*found, digests_before.get(name, "none")) for name, found in tables_before.items()},
        {name: (*found, digests_after.get(name, "none")) for name, found in tables_after.items()},
    )
    say("files: SHA-256 or a link's target, mode, owner and time, read back from the disk")
    same_files = compare(
        ("FILE", "MODE", "OWNER", "TIME", "CONTENT"),
        {name: row(found) for name, found in files_before.items()},
        {name: row(found) for name, found in files_after.items()},
    )
    say("a drill of that backup: into a scratch database, and read back")
    run(["drill"], environment)
    same = same_tables and same_files
    say(
        f"{len(tables_before)} tables and {len(files_before)} files, folders and links are as they were"
        if same
        else "NOT the same: see the lines marked DIFFERENT"
    )
    return same


def lose(instance: Instance) -> None:
    """The worst day: database and folder are gone; an empty database and a fresh Kimai of that version are there."""
    say("the worst day: the database is dropped, Kimai's folder deleted; Kimai is installed anew, its database empty")
    instance.server.run(f"DROP DATABASE {instance.database}")
    shutil.rmtree(instance.root)
    create_database(instance)
    install_code(instance.root)
    left = [name for name in USER_DATA if (instance.root / name).exists()]
    if left or tables(instance):
        raise SystemExit(f"demo: not everything is gone: {left}")


def run(arguments: list[str], environment: Mapping[str, str]) -> None:
    """One real command, shown as it is typed; one that fails ends the demo."""
    print(f"\n$ kimai-backup {shlex.join(arguments)}", flush=True)
    done = subprocess.run(
        [str(TOOL), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        # In a file or a pipe the log's lines would come in another order than the demo's own.
        stderr=None if sys.stderr.isatty() else subprocess.STDOUT,
        timeout=COMMAND_DEADLINE,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"demo: kimai-backup {shlex.join(arguments)} ended with exit code {done.returncode}")


def digests(environment: Mapping[str, str]) -> dict[str, str]:
    """Each table's digest from the newest backup's manifest."""
    print("\n$ kimai-backup show latest --json   # read, not shown", flush=True)
    done = subprocess.run(
        [str(TOOL), "show", "latest", "--json"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=COMMAND_DEADLINE,
        check=True,
    )
    return {table["name"]: table["digest"] for table in json.loads(done.stdout)["database"]["tables"]}


def row(found: Found) -> tuple[str, ...]:
    whole, part = divmod(found.mtime, 10**9)
    moment = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(whole))}.{part:09d}"
    return f"{found.mode:04o}", "{}:{}".format(*found.owner), moment, found.content or found.kind


def short(cell: object) -> str:
    """A digest's first digits: the whole of it was compared, and would fill the line."""
    return re.sub(r"^(?:[a-z0-9-]+:)?([0-9a-f]{16})[0-9a-f]{48}$", r"\1…", str(cell))


def compare(head: tuple[str, ...], before: Mapping[str, tuple[Any, ...]], after: Mapping[str, tuple[Any, ...]]) -> bool:
    """Print both sides of every line; True where all of them are equal."""
    none = ("gone",) * (len(head) - 1)
    lines = [(head[0], "", *head[1:])]
    same = bool(before)
    for name in sorted({*before, *after}):
        was, is_ = before.get(name, none), after.get(name, none)
        equal = was == is_
        same = same and equal
        lines.append((name, "before", *was))
        lines.append(("", "after" if equal else "DIFFERENT", *is_))
    cells = [[short(cell) for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return same


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """The one folder in which everything lies, the server's data too."""
    with tempfile.TemporaryDirectory(prefix="kimai-backup-demo-", ignore_cleanup_errors=True) as name:
        outer = tempfile.tempdir
        tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = outer


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("demo: interrupted; nothing is left behind")
