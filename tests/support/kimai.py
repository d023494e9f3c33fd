"""A Kimai folder to back up and restore into, and the whole of a folder as something to compare."""

import stat
from pathlib import Path
from typing import Any


def make_instance(root: Path) -> Path:
    """The files of a small instance, code, cache and log included; returns the root."""
    contents = {
        ".env": b"DATABASE_URL=mysql://kimai:kimai@127.0.0.1:3306/kimai\nAPP_ENV=prod\nAPP_SECRET='of-the-file'\n",
        ".env.dist": b"APP_ENV=prod\n",
        "bin/console": b"#!/bin/sh\n",
        "config/packages/kimai.yaml": b"kimai: {}\n",
        "config/packages/local.yaml": b'kimai:\n    data_dir: "%kernel.project_dir%/var/data"\n',
        "public/index.php": b"<?php\n",
        "var/cache/prod/container.php": b"<?php\n",
        "var/data/.appsecret": b"generated\n",
        "var/data/invoices/2026-001.pdf": b"%PDF" + bytes(range(256)) * 40,
        "var/export/custom.html.twig": "{{ 'Stundenübersicht' }}\n".encode(),
        "var/invoices/rechnung.docx": b"PK\x03\x04",
        "var/log/prod.log": b"log\n",
        "var/plugins/DemoBundle/DemoBundle.php": b"<?php\n",
    }
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "var/data/empty").mkdir()
    (root / "var/data/.appsecret").chmod(0o600)
    (root / "bin/console").chmod(0o755)
    (root / "var/data/newest.pdf").symlink_to("invoices/2026-001.pdf")
    return root


def whole(folder: Path, *, times: bool = True) -> dict[str, tuple[Any, ...]]:
    """All that is below a folder: kind, mode, owner, content or target, and the time, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: Any = None
        if stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        time = status.st_mtime_ns if times else None
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_gid, content, time)
    return found
