"""Kimai's files in its container: put some of every kind in every place, and tell what is there.

This runs inside Kimai's container, by its own python3 and as root; it knows nothing of kimai-backup. `fill` writes,
`look` prints one JSON object of every path that holds user data.
"""

import contextlib
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path("/opt/kimai")
LARGE = 30 << 20
"""Bytes of the file that no single read takes."""

PLACES = (
    ".env",
    ".env.local",
    "config/bundles-local.php",
    "config/packages/local.yaml",
    "templates/export",
    "templates/invoice",
    "var/data",
    "var/export",
    "var/invoices",
    "var/packages",
    "var/plugins",
)
ODD_NAMES = (
    "Rechnung für Müller & Söhne.pdf".encode(),
    b'it\'s "quoted" $HOME `x` \\ 100 %.txt',
    "日本 ☕.html".encode(),
    b"latin-1 caf\xe9.txt",
    b"two\nlines.txt",
    b"-rf",
    b"n" * 250,
)
OUTSIDE = b"/an \xe9trange link"
"""Ends the name of the links that lead out of Kimai."""


def write(path: bytes, content: bytes, mode: int = 0o644, owner: tuple[int, int] = (33, 33)) -> None:
    place = os.path.join(os.fsencode(ROOT), path)  # noqa: PTH118 - bytes
    os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
    with open(place, "wb") as file:  # noqa: PTH123
        file.write(content)
    os.chown(place, *owner)
    os.chmod(place, mode)  # noqa: PTH101
    os.utime(place, (1_700_000_000, 1_700_000_000))


def fill() -> None:
    """Something of everything, wherever Kimai keeps data."""
    for place in (
        b"var/data/invoices",
        b"var/plugins/DemoBundle",
        b"var/invoices",
        b"var/export",
        b"templates/invoice",
    ):
        _odd(place)
    write(b"var/data/large.bin", os.urandom(LARGE), 0o640)
    write(b"var/packages/DemoBundle-1.0.zip", b"PK" + os.urandom(LARGE // 10), 0o600, (0, 0))
    write(b"var/invoices/meine-rechnung.docx", os.urandom(70_000), 0o664, (1000, 1000))
    write(b"var/export/custom.html.twig", b"{{ entries }}\n" * 1000, 0o400)
    write(b"config/packages/local.yaml", b"kimai:\n    timesheet:\n        rounding: {}\n", 0o640, (0, 33))
    write(b"config/bundles-local.php", b"<?php return [];\n", 0o444, (1000, 1000))
    write(b"templates/export/own.pdf.twig", b"{# own #}\n", 0o600, (0, 0))


def _odd(folder: bytes) -> None:
    """Odd names, modes and owners, folders with nothing in them, links and second names in one folder."""
    owners = [(33, 33), (0, 0), (1000, 1000)]
    modes = [0o644, 0o600, 0o755, 0o444, 0o660, 0o400, 0o604]
    for index, name in enumerate(ODD_NAMES):
        write(folder + b"/" + name, name * (index + 1) + folder, modes[index], owners[index % 3])
    write(folder + b"/empty", b"")
    place = os.path.join(os.fsencode(ROOT), folder)  # noqa: PTH118
    for name, mode, owner in ((b"no files/none here", 0o750, (33, 33)), (b"sticky", 0o1777, (0, 0))):
        os.makedirs(place + b"/" + name, exist_ok=True)  # noqa: PTH103
        os.chown(place + b"/" + name, *owner)
        os.chmod(place + b"/" + name, mode)  # noqa: PTH101
    for name in (b"/a link", b"/a broken link", OUTSIDE, b"/second name of nothing", b"/second name of a file"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place + name)  # noqa: PTH108
    os.symlink("empty", place + b"/a link")  # noqa: PTH211
    os.symlink("nowhere/ü", place + b"/a broken link")  # noqa: PTH211
    os.symlink("/etc/hostname", place + OUTSIDE)  # noqa: PTH211
    os.link(place + b"/empty", place + b"/second name of nothing")
    os.link(place + b"/" + ODD_NAMES[0], place + b"/second name of a file")


def look() -> dict[str, Any]:
    """Every path with its kind, mode, owner, content or target, and time in seconds."""
    found = {}
    for place in PLACES:
        for path in _below(os.path.join(os.fsencode(ROOT), place.encode())):  # noqa: PTH118
            status = os.lstat(path)
            kind, content = "folder", ""
            if stat.S_ISLNK(status.st_mode):
                kind, content = "link", os.fsdecode(os.readlink(path))  # noqa: PTH115
            elif stat.S_ISREG(status.st_mode):
                kind = "file"
                with open(path, "rb") as file:  # noqa: PTH123
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            name = os.fsdecode(os.path.relpath(path, os.fsencode(ROOT)))
            found[name] = {
                "kind": kind,
                "mode": 0 if kind == "link" else stat.S_IMODE(status.st_mode),
                "owner": [status.st_uid, status.st_gid],
                "content": content,
                "mtime": int(status.st_mtime) if kind == "file" else 0,
            }
    return found


def _below(top: bytes) -> Iterator[bytes]:
    if not os.path.lexists(top):
        return
    yield top
    if os.path.isdir(top) and not os.path.islink(top):  # noqa: PTH112, PTH114
        for name in sorted(os.listdir(top)):  # noqa: PTH208
            yield from _below(os.path.join(top, name))  # noqa: PTH118


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill()
    else:
        print(json.dumps(look()))
