"""Backups on a target, made of names and a manifest, for tests that don't look into archives."""

from datetime import UTC, datetime

from sidecar.manifest import Archive, BackupId, Database, Kimai, Manifest, encode
from sidecar.names import archive_key, failed_key, manifest_key, proof_key
from sidecar.storage.base import Storage


def backup_id(
    day: str = "20261122", *, instance: str = "prod", version: str = "2.66.0", safety: bool = False
) -> BackupId:
    created_at = datetime.strptime(day, "%Y%m%d").replace(hour=1, minute=10, tzinfo=UTC)
    return BackupId(instance, version, created_at, safety)


def manifest_of(wanted: BackupId, size: int = 7) -> Manifest:
    return Manifest(
        id=str(wanted),
        instance=wanted.instance,
        started_at=wanted.created_at,
        finished_at=wanted.created_at,
        tool_version="0.1.0",
        kimai=Kimai(version=wanted.kimai_version, version_source="console"),
        database=Database(
            flavour="mariadb",
            server_version="10.11.6-MariaDB",
            name="kimai",
            charset="utf8mb4",
            collation="utf8mb4_unicode_ci",
            newest_migration=None,
            tables=[],
            size=0,
            largest_statement=0,
        ),
        files=[],
        archive=Archive(size=size, sha256="0" * 64),
    )


def shelve(
    storage: Storage,
    wanted: BackupId,
    *,
    proof: bytes | None = None,
    failed: bool = False,
    encrypted: bool = False,
    archive: bytes = b"archive",
) -> BackupId:
    """Store a backup; `proof` is the content of its proof, where it has one."""
    storage.put(archive_key(wanted, encrypted=encrypted), archive)
    storage.put(manifest_key(wanted), encode(manifest_of(wanted, len(archive))))
    if proof is not None:
        storage.put(proof_key(wanted), proof)
    if failed:
        storage.put(failed_key(wanted), b"{}")
    return wanted
