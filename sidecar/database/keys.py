"""A CREATE TABLE without the secondary indexes and foreign keys that are faster, or only possible, after the rows."""

import re
from dataclasses import dataclass

_KEY = re.compile(rb"  (?:UNIQUE |FULLTEXT |SPATIAL )?KEY [`(]")
_FOREIGN = re.compile(rb"  CONSTRAINT `(?:[^`]|``)*` FOREIGN KEY |  FOREIGN KEY ")
_KNOWN = re.compile(rb"  (?:`|PRIMARY KEY |CONSTRAINT |PERIOD FOR |CHECK )")
_AUTO_INCREMENT = re.compile(rb"  (`(?:[^`]|``)*`) .*\bAUTO_INCREMENT\b")
_NAME = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?(`(?:[^`]|``)*`) \(\Z")


@dataclass(frozen=True)
class Bare:
    """A table to create before its rows, and what to add to it after them, as the inside of an ALTER TABLE."""

    name: bytes
    create: bytes
    indexes: tuple[bytes, ...]
    foreign_keys: tuple[bytes, ...]


def bare(create: bytes) -> Bare | None:
    """Take the late parts out of what SHOW CREATE TABLE printed; None for another shape, to be run as it is."""
    lines = create.strip().split(b"\n")
    name = _NAME.match(lines[0].rstrip(b"\r"))
    end = next((n for n, line in enumerate(lines) if n and line.startswith(b")")), 0)
    if name is None or end < 2:
        return None
    body = [line.rstrip(b"\r").removesuffix(b",") for line in lines[1:end]]
    if not all(_KNOWN.match(line) or _KEY.match(line) or _FOREIGN.match(line) for line in body):
        return None
    late_indexes = _may_wait(body, b"\n".join(lines[end:]))
    indexes = [line for line in body if late_indexes and _KEY.match(line)]
    foreign_keys = [line for line in body if _FOREIGN.match(line)]
    kept = [line for line in body if line not in indexes and line not in foreign_keys]
    if not kept:
        return None
    text = b"\n".join((lines[0], b",\n".join(kept), *lines[end:]))
    return Bare(name[1], text, tuple(i.strip() for i in indexes), tuple(f.strip() for f in foreign_keys))


def _may_wait(body: list[bytes], options: bytes) -> bool:
    """Whether the table's secondary indexes may come after its rows."""
    primary = next((line for line in body if line.startswith(b"  PRIMARY KEY ")), None)
    automatic = next((match[1] for match in map(_AUTO_INCREMENT.match, body) if match), None)
    if primary is None or b"ENGINE=InnoDB" not in options or b"SYSTEM VERSIONING" in options:
        return False  # a unique key stands in for the primary one, or an ALTER of the table isn't as cheap or as plain
    return automatic is None or primary.split(b"(", 1)[1].startswith(automatic)
