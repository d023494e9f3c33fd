"""Names in an archive: which ones may be followed, and how a name that a zip can't hold is written."""

import re
from pathlib import PurePosixPath

from sidecar.errors import Damaged

COMPONENT_LIMIT = 255
"""Bytes that Linux allows a file's name."""

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_DRIVE = re.compile(r"[A-Za-z]:")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")


def escape_name(name: bytes) -> str:
    """Write any relative path as text that every unzip takes; `unescape_name` gives the exact bytes back.

    A name stays as it is where it is UTF-8, without control characters, backslashes, a drive's colon, and
    without anything that would read as an escape (`%` and two hex digits). Otherwise each byte at fault is
    written `%XX` and each `%` is written `%25`. So no two names are written alike, and text with an escape
    in it is always escaped.
    """
    text = name.decode("utf-8", "surrogateescape")
    if _is_plain(text) and not _ESCAPE.search(name):
        return text
    # The colon of a drive is the only fault that lies in the place and not in the character.
    drive = _DRIVE.match(text) is not None
    return "".join(
        _escaped(character) if character == "%" or not _is_safe(character) or (drive and place == 1) else character
        for place, character in enumerate(text)
    )


def unescape_name(text: str) -> bytes:
    """The exact bytes of a name that `escape_name` wrote."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text.encode())


def safe_path(name: str) -> PurePosixPath:
    """The relative path that an entry's name stands for; a folder's final slash goes.

    Raises `Damaged` for a name that isn't one plain relative path: empty, absolute, with `.`, `..` or
    nothing between slashes, with a backslash, NUL or other control character, with a drive letter, or too
    long for a file system. Names are not folded: on Linux, `A` and `a` are two files, and so are both ways
    to write `ü`.
    """
    parts = name.removesuffix("/").split("/")
    if not _is_plain(name) or any(part in ("", ".", "..") for part in parts):
        raise Damaged(f"archive names {name!r}, which no backup contains", mend="Don't trust this archive.")
    if any(len(part) > COMPONENT_LIMIT for part in unescape_name(name).split(b"/")):
        raise Damaged(f"archive names {name[:80]!r}…, longer than a file's name may be")
    return PurePosixPath(*parts)


def link_stays_inside(path: PurePosixPath, target: bytes) -> bool:
    """Whether a link at `path` leads to somewhere below the root that `path` is relative to.

    Strict on purpose: a `..` counts as leading inside only at the start of the target, where it goes up
    from the link's own folder; after another component it could go up from wherever a second link leads. A
    chain is inside where each of its links is.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    up = next((place for place, part in enumerate(parts) if part != b".."), len(parts))
    return bool(target) and not target.startswith(b"/") and up < len(path.parts) and b".." not in parts[up:]


def _is_safe(character: str) -> bool:
    return not _UNSAFE.match(character) and not "\ud800" <= character <= "\udfff"


def _is_plain(text: str) -> bool:
    return not _UNSAFE.search(text) and not _DRIVE.match(text) and _is_utf8(text)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
