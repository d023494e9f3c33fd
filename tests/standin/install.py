"""Putting the stand-in for Kimai's console into a folder, as its `bin/console`."""

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

VERSION = "2.66.0"
NEWEST_MIGRATION = "Version20260802183206"


def install_console(
    root: Path,
    *,
    version: str = VERSION,
    newest_migration: str = NEWEST_MIGRATION,
    python: str = sys.executable,
    sql: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Path:
    """Make `bin/console` below the root, run by the interpreter that has PyMySQL, and return its path.

    `sql` is what its migrations do to an older database, `without` are commands that this version doesn't have. A
    shell wrapper, as the first line of a script can hold no path with a space and none over 255 bytes.
    """
    folder = root / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "standin-console.py"
    script.write_bytes((Path(__file__).parent / "console.py").read_bytes())
    said = {"version": version, "migration": newest_migration, "sql": list(sql), "without": list(without)}
    (folder / "standin.json").write_text(json.dumps(said))
    migrations = root / "migrations"
    shutil.rmtree(migrations, ignore_errors=True)
    migrations.mkdir()
    for name in ("Version20180701120000", newest_migration):
        (migrations / f"{name}.php").write_text("<?php // not Kimai\n")
    console = folder / "console"
    console.write_text(
        "#!/bin/sh\n# Not Kimai: a stand-in for its console, see tests/standin.\n"
        f'exec {shlex.quote(python)} -I {shlex.quote(str(script))} "$@"\n'
    )
    console.chmod(0o755)
    return console


def set_fault(root: Path, fault: str | None) -> None:
    """Let the stand-in `hang`, `fail`, `flood` or print `nonsense` (`fail kimai:reload`: that command alone)."""
    path = root / "bin" / "standin-fault"
    if fault is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(fault)
