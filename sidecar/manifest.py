"""What a backup is called and what it holds: the ID, and the manifest that lies in and beside each archive."""

import inspect
import re
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Self

import msgspec

from sidecar.errors import Damaged

FORMAT = 1
INNER_NAME = "manifest.json"
DATABASE_NAME = "database.sql"
ENVIRONMENT_NAME = "container.env"
SAFETY_SUFFIX = "_safety"
TIME_FORMAT = "%Y%m%dT%H%M%SZ"

_ID = re.compile(
    r"kimai_(?P<instance>[a-z0-9_-]+)_(?P<version>[^_/\s]+)_(?P<time>[0-9]{8}T[0-9]{6}Z)(?P<safety>_safety)?"
)


class BackupId(NamedTuple):
    """`kimai_<instance>_<version>_<YYYYMMDDTHHMMSSZ>`, read from the right; `_safety` ends a safety backup's. UTC."""

    instance: str
    kimai_version: str
    created_at: datetime
    safety: bool = False

    def __str__(self) -> str:
        stem = f"kimai_{self.instance}_{self.kimai_version}_{self.created_at.strftime(TIME_FORMAT)}"
        return stem + SAFETY_SUFFIX if self.safety else stem

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read an ID; None for a name that isn't one, and so isn't ours."""
        match = _ID.fullmatch(text)
        if match is None:
            return None
        try:
            created_at = datetime.strptime(match["time"], TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(match["instance"], match["version"], created_at, match["safety"] is not None)


class Plugin(msgspec.Struct, kw_only=True, frozen=True):
    """A plugin that Kimai loads, by its folder, and what its composer.json says of it; None for what it doesn't say.

    `requires` is the oldest Kimai that it works with, as Kimai counts its versions: 26600 is 2.66.0.
    """

    folder: str
    name: str | None = None
    version: str | None = None
    requires: int | None = None


class Kimai(msgspec.Struct, kw_only=True, frozen=True):
    """The application that was backed up, how its version was learnt, and its plugins, None if nobody knows them."""

    version: str
    version_source: str
    image: str | None = None
    image_digest: str | None = None
    git_revision: str | None = None
    plugins: list[Plugin] | None = None


class Table(msgspec.Struct, kw_only=True, frozen=True):
    """One table: its definition as normalised information_schema rows, its rows, and a digest over them."""

    name: str
    definition: dict[str, Any]
    rows: int
    digest: str


class SchemaObject(msgspec.Struct, kw_only=True, frozen=True):
    """A view, trigger, routine or event: its definition as normalised information_schema columns."""

    kind: Literal["view", "trigger", "procedure", "function", "event", "sequence", "package", "package body"]
    name: str
    definition: dict[str, Any]


class Database(msgspec.Struct, kw_only=True, frozen=True):
    """The dump: where it came from, what is in it, and what could not be read. Sizes in bytes.

    Its text has no hash of its own: the archive's covers it, its CRC stands in the zip, and each table has its digest.
    """

    flavour: Literal["mariadb", "mysql"]
    server_version: str
    name: str
    charset: str
    collation: str
    newest_migration: str | None
    tables: list[Table]
    objects: list[SchemaObject] = []
    size: int
    largest_statement: int
    unreadable: list[str] = []
    unseen: list[str] = []


class File(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One file, folder or link below Kimai's root; the path is relative to it. Size in bytes, mtime in nanoseconds.

    `path` is the archive's name for it. Where the exact name isn't UTF-8, `path` is escaped (`%FF` for a byte)
    and `path_bytes` holds the exact one; the same for a link's target.
    """

    path: str
    path_bytes: bytes | None = None
    kind: Literal["file", "folder", "link"] = "file"
    size: int = 0
    mode: int
    mtime: int
    uid: int
    gid: int
    sha256: str | None = None
    target: str | None = None
    target_bytes: bytes | None = None


class Archive(msgspec.Struct, kw_only=True, frozen=True):
    """The zip itself, as it lies on the target."""

    size: int
    sha256: str


class Withheld(msgspec.Struct, kw_only=True, frozen=True):
    """How much of each the manifest beside an encrypted archive leaves out: the one inside has it."""

    tables: int
    objects: int
    files: int
    missing: int
    unreadable: int
    changed: int
    warnings: int


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """The whole of a backup (docs/format.md). The copy inside the archive has no `archive`. No secret ever.

    With `withheld` it is what may lie unencrypted beside an encrypted archive.
    """

    format: int = FORMAT
    id: str
    instance: str
    started_at: datetime
    finished_at: datetime
    tool_version: str
    kimai: Kimai
    database: Database
    files: list[File]
    missing: list[str] = []
    unreadable: list[str] = []
    changed: list[str] = []
    app_secret: str | None = None
    app_secret_source: str | None = None
    warnings: list[str] = []
    archive: Archive | None = None
    withheld: Withheld | None = None


def withhold(manifest: Manifest) -> Manifest:
    """What of a manifest may lie unencrypted beside an encrypted archive.

    When, by what and of what it was made, and how much of each there is. No name and no hash of a file; of the
    database no table, definition or digest either: a digest of few or guessable rows gives those away, and a
    definition may hold text. It is made of what may be shown, so that a field to come stays inside.
    """
    database, kimai = manifest.database, manifest.kimai
    return Manifest(
        format=manifest.format,
        id=manifest.id,
        instance=manifest.instance,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        tool_version=manifest.tool_version,
        kimai=Kimai(
            version=kimai.version,
            version_source=kimai.version_source,
            image=kimai.image,
            image_digest=kimai.image_digest,
            git_revision=kimai.git_revision,
        ),
        database=Database(
            flavour=database.flavour,
            server_version=database.server_version,
            name="",
            charset=database.charset,
            collation=database.collation,
            newest_migration=database.newest_migration,
            tables=[],
            size=0,
            largest_statement=0,
        ),
        files=[],
        archive=manifest.archive,
        withheld=Withheld(
            tables=len(database.tables),
            objects=len(database.objects),
            files=sum(file.kind == "file" for file in manifest.files),
            missing=len(manifest.missing),
            unreadable=len(manifest.unreadable) + len(database.unreadable),
            changed=len(manifest.changed),
            warnings=len(manifest.warnings),
        ),
    )


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON text, UTF-8."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(data: bytes) -> Manifest:
    """Read a manifest. Raises `Damaged` for anything else, and for a format that this version doesn't know."""
    try:
        known = msgspec.json.decode(data, type=_Format).format
        if known != FORMAT:
            raise Damaged(f"manifest has format {known}, this version reads {FORMAT}", mend="Use a newer kimai-backup.")
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"manifest can't be read: {error}") from error


def schema() -> dict[str, Any]:
    """The JSON schema of the manifest (docs/manifest.schema.json), the same by every version of msgspec."""
    made = msgspec.json.schema(Manifest)
    for part in made["$defs"].values():
        # msgspec up to 0.22 gives docstrings as they are indented in the code, 0.23 without.
        part["description"] = inspect.cleandoc(part["description"])
    return made


class _Format(msgspec.Struct):
    format: int
