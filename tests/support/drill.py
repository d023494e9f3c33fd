"""For drills on a real server: a user who may make scratch databases, what lies there, and backups that went wrong."""

import hashlib
import json
import re
import secrets
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cli import Ran, Site
from tests.support.servers import Server


@contextmanager
def scratch_user(server: Server) -> Iterator[tuple[str, str]]:
    """The prefix, and the URL; user and databases are gone afterwards."""
    prefix = f"s{secrets.token_hex(4)}"
    server.run(
        f"CREATE USER '{prefix}'@'%' IDENTIFIED BY 'scratch-secret'",
        f"GRANT ALL PRIVILEGES ON `{prefix}\\_drill\\_%`.* TO '{prefix}'@'%'",
    )
    try:
        yield prefix, server.url(prefix, prefix, "scratch-secret")
    finally:
        for name in scratches(server, prefix):
            server.run(f"DROP DATABASE {name}")
        server.run(f"DROP USER '{prefix}'@'%'")


def scratches(server: Server, prefix: str) -> list[str]:
    """The databases whose names start so."""
    return sorted(name for (name,) in server.run("SHOW DATABASES") if name.startswith(prefix))


def repack(folder: Path, made: str, change: dict[str, tuple[bytes, bytes]]) -> None:
    """Change entries of a backup, and make its hashes right: as one who backed up wrongly would have left it."""
    path, beside = folder / f"{made}.zip", folder / f"{made}.json"
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    manifest = json.loads(beside.read_bytes())
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in entries:
            if info.filename in change:
                old, new = change[info.filename]
                assert content.count(old) >= 1, (info.filename, old)
                content = content.replace(old, new, 1)
            if info.filename == "database.sql":
                manifest["database"]["size"] = len(content)
            if info.filename == "manifest.json":
                content = json.dumps({**manifest, "archive": None}).encode()
            archive.writestr(info, content, compress_type=zipfile.ZIP_DEFLATED)
    manifest["archive"] = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    beside.write_text(json.dumps(manifest))


def seem_to_be_of(folder: Path, made: str, server_version: str) -> None:
    """Let a backup say that it was made on that release of its server."""
    beside = folder / f"{made}.json"
    manifest = json.loads(beside.read_bytes())
    manifest["database"]["server_version"] = server_version
    beside.write_text(json.dumps(manifest))
    repack(folder, made, {})


def dump_of(folder: Path, made: str) -> bytes:
    with zipfile.ZipFile(folder / f"{made}.zip") as archive:
        return archive.read("database.sql")


def lose_an_index(folder: Path, made: str) -> None:
    text = dump_of(folder, made)
    at = text.index(b"  KEY `", text.index(b"CREATE TABLE `kimai2_timesheet` "))
    repack(folder, made, {"database.sql": (text[at : text.index(b"\n", at) + 1], b"")})


def change_a_default(folder: Path, made: str) -> None:
    """Of a column of kimai2_timesheet, from 0 to 1."""
    text = dump_of(folder, made)
    # MySQL quotes a number, MariaDB doesn't.
    default = re.compile(rb"\n.* DEFAULT '?0").search(text, text.index(b"CREATE TABLE `kimai2_timesheet` "))
    assert default
    repack(folder, made, {"database.sql": (default[0], default[0][:-1] + b"1")})


def proof(site: Site, made: str, kind: str = "proof") -> dict[str, object]:
    found: dict[str, object] = json.loads((site.backups / f"{made}.{kind}.json").read_bytes())
    return found


def failed(site: Site, made: str, scratch: str) -> Ran:
    """Drill a backup that went wrong: it must be found out, marked, and leave nothing on the server."""
    ran = site.run("drill", made)
    assert ran.code == 7, ran.said
    assert f"{made}.failed.json" in site.shelf()
    assert f"{made}.proof.json" not in site.shelf()
    assert proof(site, made, "failed")["matched"] is False
    assert scratches(site.server, scratch) == []
    [line] = [line for line in site.run("list").out.splitlines() if line.startswith(made)]
    assert line.endswith("damaged")
    return ran
