"""What the tables of a Kimai look like that was only just installed, told from one that somebody uses."""

import re

_KIMAIS = re.compile(r"kimai2_\w+|migration_versions|bundle_migration_\w+")

_FILLED = re.compile(r"(?:bundle_)?migration_\w+|kimai2_(?:configuration|sessions|user_preferences)")
"""What `kimai:install` and its migrations fill, and what a look at the login page and the first user bring along."""

_USERS = "kimai2_users"


def is_kimais(table: str) -> bool:
    """Whether a table's name is one of Kimai's own, plugins' migration tables included."""
    return _KIMAIS.fullmatch(table) is not None


def rows_allowed(table: str) -> int | None:
    """How many rows a table of a Kimai may have that nobody has used yet; None for any number."""
    if _FILLED.fullmatch(table):
        return None
    return 1 if table == _USERS else 0
