"""The zips that people already have: the documented script's and the EasyBackup plugin's, read like ours."""

import re
import stat
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, Literal, Self
from zipfile import ZipInfo

import msgspec

from sidecar.archive.entries import BLOCK, MANIFEST_LIMIT, HostileZip, Member, decoded_name
from sidecar.errors import Damaged
from sidecar.manifest import INNER_NAME, File

USER_DATA = (
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
"""What belongs to a Kimai instance, relative to its root; nothing else in such a zip is offered."""

EASYBACKUP_DUMP = "database_dump.sql"

RATIO_LIMIT = 200
"""How many times the zip's size its contents may have, beyond RATIO_FREE bytes: dumps have 20, bombs 1000."""

RATIO_FREE = 1 << 30

TAIL = 4096
"""Bytes at a dump's end in which its footer must stand."""

FOOTER = b"-- Dump completed"

UNKNOWN_OWNER = -1
"""chown's way to say: leave it as it is."""

Kind = Literal["script", "easybackup"]

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?(?:-[0-9A-Za-z.]+)?")
_EXTRA = Struct("<HH")
_TIMESTAMP_ID = 0x5455


class LegacyArchive:
    """A zip without our manifest: what it says of itself, and what of it a restore may use.

    `kind` tells who wrote it; `kimai_version` is None where it doesn't say; `database_name` and
    `database_size` (bytes) are its dump; `files` are the files and folders that belong to Kimai, with what
    the zip knows of them (owners: UNKNOWN_OWNER; times to the second; no SHA-256); `ignored` are the paths
    left out; `warnings` are for the user.
    """

    def __init__(self, archive: HostileZip, kind: Kind) -> None:
        self._zip = archive
        self.kind = kind
        self.database_name = EASYBACKUP_DUMP if kind == "easybackup" else _script_dump(archive)
        self.database_size = archive.members[self.database_name].info.file_size
        self.kimai_version: str | None = None
        self.warnings: list[str] = []
        own = {self.database_name}
        if kind == "easybackup":
            self.kimai_version = _version(_note(archive).version)
            self.warnings.append("EasyBackup dumps with --force: the database in this zip may be incomplete")
            own.add(INNER_NAME)
        others = [member for path, member in archive.members.items() if path not in own]
        self.files = [_file(member) for member in others if _is_offered(member)]
        self.ignored = [member.path for member in others if not _is_offered(member) and not _leads_there(member)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()

    def open(self, name: str) -> BinaryIO:
        """Give the bytes of the dump or of a file in `files`, as many as the zip's directory says.

        Reading raises `Damaged` where they are fewer, or not those that were packed (by their CRC).
        """
        member = self._zip.members.get(name)
        if member is None:
            raise Damaged(f"{self._zip.path.name} has no {name!r}")
        return self._zip.open(member, member.info.file_size)

    def verify(self, progress: Callable[[int], None] | None = None) -> None:
        """Read every byte that a restore would; `progress` is told how many more were read, unpacked.

        Raises `Damaged`. A dump without mysqldump's last line adds a warning: it may have been cut short.
        """
        tail = b""
        for name in [self.database_name, *(file.path for file in self.files if file.kind == "file")]:
            with self.open(name) as stream:
                while block := stream.read(BLOCK):
                    if name == self.database_name:
                        tail = (tail + block[-TAIL:])[-TAIL:]
                    if progress is not None:
                        progress(len(block))
        if FOOTER not in tail:
            self.warnings.append(f"{self.database_name} lacks the last line of a whole dump, {FOOTER.decode()!r}")


def identify(path: Path) -> Literal["ours", "script", "easybackup"]:
    """Tell whose zip this is, from its directory and its manifest.json.

    Raises `Damaged` for what is none of the three, not a whole zip, or a trap, `NoSuchBackup` where there is
    no such file.
    """
    with HostileZip(path) as archive:
        return _origin(archive)


def open_legacy(path: Path) -> LegacyArchive:
    """Open a zip of the documented script or of EasyBackup; leaving its `with` closes it.

    Raises `Damaged` for any other file, and for one that would unpack to far more than a backup does.
    """
    with ExitStack() as stack:
        archive = stack.enter_context(HostileZip(path))
        kind = _origin(archive)
        if kind == "ours":
            raise Damaged(f"{path.name} is one of our own backups, not another tool's")
        _refuse_bomb(archive)
        legacy = LegacyArchive(archive, kind)
        stack.pop_all()
    return legacy


class _Note(msgspec.Struct):
    """The keys of a manifest.json that tell whose it is; all others are passed over unread."""

    format: Any = None
    version: Any = None


def _note(archive: HostileZip) -> _Note:
    member = archive.members.get(INNER_NAME)
    if member is None or member.kind != "file":
        return _Note()
    try:
        return msgspec.json.decode(archive.read(member, MANIFEST_LIMIT), type=_Note)
    except msgspec.DecodeError:  # Somebody else's file of that name tells nothing.
        return _Note()


def _origin(archive: HostileZip) -> Literal["ours", "script", "easybackup"]:
    if _note(archive).format is not None:
        return "ours"
    if EASYBACKUP_DUMP in _root_dumps(archive):
        return "easybackup"
    if _root_dumps(archive):
        return "script"
    roots = sorted({path.split("/")[0] for path in archive.members})
    seen = (", ".join(roots[:5]) + (" …" if len(roots) > 5 else "")) or "nothing"
    raise Damaged(
        f"{archive.path.name} is no backup of Kimai: at its root is {seen}",
        mend=f"Wanted: our {INNER_NAME}, EasyBackup's {EASYBACKUP_DUMP}, or the script's kimai2-….sql.",
    )


def _root_dumps(archive: HostileZip) -> list[str]:
    files = (member.path for member in archive.members.values() if member.kind == "file")
    return [path for path in files if "/" not in path and path.endswith(".sql")]


def _script_dump(archive: HostileZip) -> str:
    """The one dump at the root; of several, the one that the script names `kimai2-….sql`."""
    dumps = _root_dumps(archive)
    named = [path for path in dumps if path.startswith("kimai2-")]
    for choice in (named, dumps):
        if len(choice) == 1:
            return choice[0]
    raise Damaged(f"{archive.path.name} holds {len(dumps)} dumps: {', '.join(dumps[:5])}", mend="Leave one in it.")


def _refuse_bomb(archive: HostileZip) -> None:
    unpacked = sum(member.info.file_size for member in archive.members.values())
    if unpacked > max(RATIO_FREE, RATIO_LIMIT * archive.size()):
        raise Damaged(
            f"{archive.path.name} has {archive.size()} bytes and would unpack to {unpacked}",
            mend="Don't trust this archive.",
        )


def _version(noted: Any) -> str | None:
    match = _VERSION.search(noted) if isinstance(noted, str) else None
    return match[0] if match else None


def _is_at_or_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _is_offered(member: Member) -> bool:
    # No tool that wrote such a zip stored links: one in it is somebody's idea.
    return member.kind != "link" and any(_is_at_or_below(member.path, root) for root in USER_DATA)


def _leads_there(member: Member) -> bool:
    """Whether this is a folder on the way to user data: not offered, yet no loss either."""
    return member.kind == "folder" and any(_is_at_or_below(root, member.path) for root in USER_DATA)


def _file(member: Member) -> File:
    info, folder = member.info, member.kind == "folder"
    name, exact = decoded_name(info)
    mode = (info.external_attr >> 16) & 0o777 or (0o750 if folder else 0o640)
    return File(
        path=member.path,
        path_bytes=None if name.encode() == exact else exact.removesuffix(b"/"),
        kind="folder" if folder else "file",
        size=info.file_size,
        mode=mode | (stat.S_IFDIR if folder else stat.S_IFREG),
        mtime=_seconds(info) * 10**9,
        uid=UNKNOWN_OWNER,
        gid=UNKNOWN_OWNER,
    )


def _seconds(info: ZipInfo) -> int:
    """When the file was changed, in seconds since 1970: exact if the zip says so, else DOS's local time."""
    extra = info.extra
    while len(extra) >= _EXTRA.size:
        kind, size = _EXTRA.unpack_from(extra)
        if kind == _TIMESTAMP_ID and size >= 5:
            return int.from_bytes(extra[5:9], "little", signed=True)
        extra = extra[_EXTRA.size + size :]
    try:
        return int(datetime(*info.date_time, tzinfo=UTC).timestamp())
    except ValueError:  # A date that no calendar has.
        return 0
