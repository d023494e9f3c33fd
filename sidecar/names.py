"""What the objects of a backup are called on a target: the ID, and what each part adds to it."""

from sidecar.manifest import BackupId

ARCHIVE_SUFFIX = ".zip"
ENCRYPTED_SUFFIX = ".zip.age"
MANIFEST_SUFFIX = ".json"
PROOF_SUFFIX = ".proof.json"
FAILED_SUFFIX = ".failed.json"
_SUFFIXES = (ENCRYPTED_SUFFIX, ARCHIVE_SUFFIX, PROOF_SUFFIX, FAILED_SUFFIX, MANIFEST_SUFFIX)
ARCHIVE_SUFFIXES = (ARCHIVE_SUFFIX, ENCRYPTED_SUFFIX)


def archive_key(backup_id: BackupId, *, encrypted: bool = False) -> str:
    """The name of a backup's archive."""
    return f"{backup_id}{ENCRYPTED_SUFFIX if encrypted else ARCHIVE_SUFFIX}"


def is_encrypted(key: str) -> bool:
    """Whether the archive of this name is encrypted with age."""
    return key.endswith(ENCRYPTED_SUFFIX)


def manifest_key(backup_id: BackupId) -> str:
    """The name of a backup's manifest."""
    return f"{backup_id}{MANIFEST_SUFFIX}"


def proof_key(backup_id: BackupId) -> str:
    """The name of the proof that a drill of a backup matched."""
    return f"{backup_id}{PROOF_SUFFIX}"


def failed_key(backup_id: BackupId) -> str:
    """The name of the note that a drill of a backup did not match."""
    return f"{backup_id}{FAILED_SUFFIX}"


def belongs_to(key: str, instance: str) -> bool:
    """Whether a key names a part of a backup of this instance."""
    stem, _ = split(key)
    backup_id = parse(stem)
    return backup_id is not None and backup_id.instance == instance


def split(key: str) -> tuple[str, str]:
    """A key as stem and suffix; an ID ends in Z or _safety, so that no part of it looks like a suffix."""
    for suffix in _SUFFIXES:
        if key.endswith(suffix):
            return key.removesuffix(suffix), suffix
    return "", ""


def parse(stem: str) -> BackupId | None:
    """The ID that writes itself exactly so; a stem that only parses would lead to keys that aren't there."""
    backup_id = BackupId.parse(stem)
    return backup_id if backup_id is not None and str(backup_id) == stem else None
