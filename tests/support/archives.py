"""Small backups and hostile zips for tests."""

import hashlib
import stat
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sidecar import manifest as manifests
from sidecar.archive.names import escape_name
from sidecar.archive.writer import Entry, is_compressed, write_archive
from sidecar.archive.zipstream import ZipStream
from sidecar.manifest import Database, File, Kimai, Manifest

MTIME = 1_790_000_000_123_456_789
SQL = b"CREATE TABLE `kimai2_tags` (`id` int);\nINSERT INTO `kimai2_tags` VALUES (1),(2);\n" * 20


def file_of(name: bytes, content: bytes, mode: int = 0o640) -> File:
    text = escape_name(name)
    return File(
        path=text,
        path_bytes=None if text.encode() == name else name,
        size=len(content),
        mode=stat.S_IFREG | mode,
        mtime=MTIME,
        uid=33,
        gid=33,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def folder_of(name: str) -> File:
    return File(path=name, kind="folder", mode=stat.S_IFDIR | 0o755, mtime=MTIME, uid=33, gid=33)


def link_of(name: str, target: bytes) -> File:
    text = escape_name(target)
    return File(
        path=name,
        kind="link",
        mode=stat.S_IFLNK | 0o777,
        mtime=MTIME,
        uid=0,
        gid=0,
        target=text,
        target_bytes=None if text.encode() == target else target,
    )


SAMPLE: list[tuple[File, bytes]] = [
    (file_of(b".env", b"DATABASE_URL=mysql://kimai@db/kimai\n", 0o600), b"DATABASE_URL=mysql://kimai@db/kimai\n"),
    (folder_of("var"), b""),
    (folder_of("var/data"), b""),
    (file_of(b"var/data/.appsecret", b"throwaway", 0o600), b"throwaway"),
    (file_of(b"var/data/empty", b""), b""),
    (file_of("var/data/Rechnung Müller 😀.pdf".encode(), b"%PDF-1.4" * 50), b"%PDF-1.4" * 50),
    (file_of(b"var/data/bad\xffname 100%.txt", b"latin"), b"latin"),
    (file_of(b"var/data/logo.jpg", bytes(range(256))), bytes(range(256))),
    (link_of("var/data/latest", b"empty"), b"empty"),
]


def manifest_of(files: list[File], sql: bytes = SQL) -> Manifest:
    database = Database(
        flavour="mariadb",
        server_version="10.11.6-MariaDB",
        name="kimai",
        charset="utf8mb4",
        collation="utf8mb4_unicode_ci",
        newest_migration="DoctrineMigrations\\Version20260802183206",
        tables=[manifests.Table(name="kimai2_tags", definition={"engine": "InnoDB"}, rows=2, digest="ab" * 16)],
        size=len(sql),
        largest_statement=80,
    )
    return Manifest(
        id="kimai_demo_2.66.0_20261122T011000Z",
        instance="demo",
        started_at=datetime(2026, 11, 22, 1, 10, tzinfo=UTC),
        finished_at=datetime(2026, 11, 22, 1, 11, tzinfo=UTC),
        tool_version="0.1.0",
        kimai=Kimai(version="2.66.0", version_source="console"),
        database=database,
        files=files,
    )


def entry_of(file: File, content: bytes) -> Entry:
    name = file.path + ("/" if file.kind == "folder" else "")
    chunks = [content] if content else []
    return Entry(name, file.mode, file.mtime, chunks, stored=is_compressed(name))


def write_backup(
    path: Path,
    contents: Iterable[tuple[File, bytes]] = SAMPLE,
    sql: bytes = SQL,
    *,
    manifest: Manifest | None = None,
    recipients: Sequence[str] = (),
) -> Manifest:
    """Write a backup as the real one is written; with `manifest`, one that may not fit its contents.

    With `recipients` it is encrypted; what is given is the whole manifest all the same.
    """
    contents = list(contents)
    manifest = manifest or manifest_of([file for file, _ in contents])
    entries = [
        Entry("database.sql", stat.S_IFREG | 0o600, MTIME, [sql[:100], sql[100:]]),
        *(entry_of(file, content) for file, content in contents),
        Entry("manifest.json", stat.S_IFREG | 0o600, MTIME, [manifests.encode(manifest)]),
    ]
    with path.open("wb") as file:
        archive = write_archive(entries, file, recipients)
    return msgspec.structs.replace(manifest, archive=archive)


def write_hostile(path: Path, *entries: tuple[str, int]) -> None:
    """Write a zip of entries with any name and st_mode at all, each holding `x`."""
    with path.open("wb") as file:
        stream = ZipStream(file.write)
        for name, mode in entries:
            stream.add_whole(name, mode, 1_000_000_000, b"" if stat.S_ISDIR(mode) else b"x")
        stream.finish()
