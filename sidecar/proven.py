"""The outcome of a drill, laid beside the copy that was tried and beside others of the same archive."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.catalog import LOCAL, Backup, Copy, read_manifest
from sidecar.errors import Damaged, NoSuchBackup, ObjectNotFound, StorageFailed
from sidecar.names import failed_key, proof_key
from sidecar.proof import Proof, encode, withhold
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)

Fetch = Callable[[Storage, str], AbstractContextManager[Path]]


@dataclass(frozen=True)
class Drilled:
    """What became of one copy: its proof, with all that an encrypted copy's withholds where it lies.

    `marked` are the targets that bear it, `unmarked` says of others why not.
    """

    proof: Proof
    marked: tuple[str, ...] = ()
    unmarked: dict[str, str] = field(default_factory=dict)


def lay_down(
    proof: Proof, backup: Backup, copies: Sequence[Copy], by_name: Mapping[str, Storage], fetch: Fetch
) -> Drilled:
    """Lay the outcome beside the copy that was read, and a proof beside the others of the same archive.

    `copies` are those of which nothing bad is known.
    """
    marked, unmarked = [], {}
    for copy in copies:
        storage = by_name[copy.target]
        try:
            if copy.target == proof.read_from or (proof.matched and _is_same(storage, backup, copy, proof, fetch)):
                _write(storage, backup, withhold(proof) if copy.encrypted else proof)
                marked.append(copy.target)
        except (StorageFailed, NoSuchBackup, Damaged) as error:
            log.error("the outcome can't be laid beside %s on %s: %s", backup.id, copy.target, error)  # noqa: TRY400
            unmarked[copy.target] = str(error)
    return Drilled(proof, tuple(marked), unmarked)


def _is_same(storage: Storage, backup: Backup, copy: Copy, proof: Proof, fetch: Fetch) -> bool:
    """By its manifest and its size; on this machine by its bytes. A store has shown its SHA-256 when it took it."""
    if read_manifest(storage, backup.id).archive != proof.archive or copy.size != proof.archive.size:
        return False
    if storage.name != LOCAL:
        return True
    with fetch(storage, copy.archive_key) as path, path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == proof.archive.sha256


def _write(storage: Storage, backup: Backup, proof: Proof) -> None:
    """What speaks against a backup is written before what speaks for it is removed, and the other way round."""
    if proof.matched:
        storage.put(proof_key(backup.id), encode(proof))
        _forget(storage, failed_key(backup.id))
    else:
        storage.put(failed_key(backup.id), encode(proof))
        _forget(storage, proof_key(backup.id))


def _forget(storage: Storage, key: str) -> None:
    try:
        storage.delete(key)
    except ObjectNotFound:
        log.debug("%s is not there", key)
