"""What the database user may do: what a dump and a load need, what is lacking, and the GRANT that mends it."""

import re
from collections.abc import Iterable

from sidecar.brief import some
from sidecar.database.server import Session, quote_name
from sidecar.errors import Refused
from sidecar.manifest import SchemaObject

FOR_DUMP = ("SELECT", "LOCK TABLES", "SHOW VIEW", "TRIGGER", "EVENT")
"""Without LOCK TABLES one connection dumps; without the others what they cover is named as unread or unseen."""
FOR_LOAD = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES")
"""What any dump of Kimai's needs; see `for_objects` for the rest."""

_FOR_KIND = {"view": "CREATE VIEW", "trigger": "TRIGGER", "event": "EVENT"}
_FOR_KIND |= dict.fromkeys(("function", "procedure", "package", "package body"), "CREATE ROUTINE")

_SHOWN = 5

FOR_OBJECTS = tuple(sorted(set(_FOR_KIND.values())))
"""What views, triggers, events and routines need beside it."""


def privileges(session: Session) -> set[str]:
    """What the user may do in this database, by SHOW GRANTS: names in capitals, `ALL PRIVILEGES` among them."""
    granted: set[str] = set()
    for (grant,) in session.texts(_show_grants(session)):
        match = re.match(r"GRANT (?P<what>.+?) ON (?P<scope>.+?) TO ", grant or "", re.DOTALL)
        if match and _covers(match["scope"], session.database):
            granted.update(part.strip().upper() for part in match["what"].split(","))
    return granted


def _show_grants(session: Session) -> str:
    """On MySQL what a role gives shows only where the role is named."""
    roles = session.value("SELECT CURRENT_ROLE()") if session.flavour == "mysql" else None
    return f"SHOW GRANTS FOR CURRENT_USER() USING {roles}" if roles and roles != "NONE" else "SHOW GRANTS"


def may(granted: Iterable[str], privilege: str) -> bool:
    """Whether these privileges include this one."""
    return not {privilege, "ALL PRIVILEGES", "ALL"}.isdisjoint(granted)


def _covers(scope: str, database: str) -> bool:
    if scope == "*.*":
        return True
    if not scope.endswith(".*"):
        return False
    pattern = scope[:-2].strip("`").replace("``", "`")
    parts = re.findall(r"\\.|%|_|.", pattern, re.DOTALL)
    wildcard = {"%": ".*", "_": "."}
    regex = "".join(wildcard.get(part, re.escape(part[-1])) for part in parts)
    return re.fullmatch(regex, database, re.DOTALL | re.IGNORECASE) is not None


def for_objects(kinds: Iterable[str]) -> set[str]:
    """The rights that creating objects of these kinds needs."""
    return {_FOR_KIND[kind] for kind in kinds if kind in _FOR_KIND}


def lacking(session: Session, needed: Iterable[str]) -> list[str]:
    """Those of the needed rights that the user hasn't got on this database."""
    granted = privileges(session)
    return [privilege for privilege in needed if not may(granted, privilege)]


def check_code(session: Session, objects: Iterable[SchemaObject]) -> None:
    """Raise `Refused` where the server would let the user make none of these triggers and functions (error 1419).

    One that writes a binary log asks for SUPER then, unless it trusts all.
    """
    coded = [f"{each.kind} {each.name}" for each in objects if each.kind in ("trigger", "function")]
    if coded and not _may_make_code(session):
        raise Refused(
            "the server writes a binary log and lets the user make no trigger or function, "
            f"and there is {some(coded, _SHOWN)}",
            mend="As the server's administrator: SET GLOBAL log_bin_trust_function_creators = 1;",
        )


def _may_make_code(session: Session) -> bool:
    log, trust = session.texts("SELECT @@GLOBAL.log_bin, @@GLOBAL.log_bin_trust_function_creators")[0]
    if (log, trust) != ("1", "0"):
        return True
    sql = "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'SUPER' LIMIT 1"
    return bool(session.query(sql))


def for_drills(prefix: str) -> str:
    """What gives a user all rights on the scratch databases whose names begin so."""
    return f"Grant all rights on {prefix}\\_drill\\_% (README)."


def grant(session: Session, rights: Iterable[str]) -> str:
    """The statement by which an administrator of the server grants these rights."""
    user = session.value("SELECT CURRENT_USER()") or ""
    name, _, host = user.rpartition("@")
    return f"GRANT {', '.join(rights)} ON {quote_name(session.database)}.* TO '{name}'@'{host}';"
