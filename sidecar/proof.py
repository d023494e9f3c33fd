"""What a drill leaves beside a backup: the proof that it matched, or the note of what did not."""

from datetime import datetime

import msgspec

from sidecar.manifest import Archive

FORMAT = 1


class TableProof(msgspec.Struct, kw_only=True, frozen=True):
    """One table as it was read back from the scratch database, and whether it is as the manifest says."""

    name: str
    rows: int
    digest: str
    equal: bool


class Withheld(msgspec.Struct, kw_only=True, frozen=True):
    """How much of each the proof beside an encrypted archive leaves out."""

    tables: int
    differences: int


class Proof(msgspec.Struct, kw_only=True, frozen=True):
    """`ID.proof.json` and `ID.failed.json` (docs/format.md). Times are UTC; `files` and `bytes` count what was hashed.

    `definitions_compared` is false on a server of another flavour or series than the backup's, and where `doubts` name
    definitions that another release of the series may only put in other words: rows alone are proven then. `read_from`
    is the target whose copy was restored; others that hold the same archive, by size and SHA-256, bear the proof as
    well. `withheld`, beside an encrypted archive: so many tables and differences are not named.
    """

    format: int = FORMAT
    id: str
    matched: bool
    started_at: datetime
    finished_at: datetime
    tool_version: str
    read_from: str
    archive: Archive
    backup_server: str
    drill_server: str
    same_flavour: bool
    definitions_compared: bool
    newest_migration: str | None
    tables: list[TableProof] = []
    files: int = 0
    bytes: int = 0
    differences: list[str] = []
    doubts: list[str] = []
    withheld: Withheld | None = None


def withhold(proof: Proof) -> Proof:
    """What of a proof may lie unencrypted beside an encrypted archive: no table, no digest, no name of a file.

    It is made of what may be shown, so that a field to come is withheld.
    """
    return Proof(
        format=proof.format,
        id=proof.id,
        matched=proof.matched,
        started_at=proof.started_at,
        finished_at=proof.finished_at,
        tool_version=proof.tool_version,
        read_from=proof.read_from,
        archive=proof.archive,
        backup_server=proof.backup_server,
        drill_server=proof.drill_server,
        same_flavour=proof.same_flavour,
        definitions_compared=proof.definitions_compared,
        newest_migration=proof.newest_migration,
        files=proof.files,
        bytes=proof.bytes,
        withheld=Withheld(tables=len(proof.tables), differences=len(proof.differences)),
    )


def encode(proof: Proof) -> bytes:
    """As indented JSON text, UTF-8."""
    return msgspec.json.format(msgspec.json.encode(proof), indent=1) + b"\n"
