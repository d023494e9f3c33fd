"""The settings of a session that text, numbers and deadlines hang on: what each must be, and whether it is."""

from collections.abc import Container, Mapping, Sequence
from decimal import Decimal
from typing import Literal

LOCK_DEADLINE = 5
"""Seconds that LOCK TABLES and metadata locks may wait: writers of all listed tables stall meanwhile."""
PACKET_LIMIT = 4 * 1024 * 1024
"""Bytes that one packet of rendered rows may have before it is asked for in halves."""

SETTINGS: dict[str, str | int] = {
    # Text and numbers are rendered by the session's rules: a hostile global default must not reach a dump.
    "sql_mode": "NO_AUTO_VALUE_ON_ZERO",
    "time_zone": "+00:00",
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_results": "binary",
    "sql_quote_show_create": 1,
    "sql_big_selects": 1,
    "sql_select_limit": 18446744073709551615,
    "group_concat_max_len": PACKET_LIMIT,
    "lock_wait_timeout": LOCK_DEADLINE,
    "net_read_timeout": 600,
    "net_write_timeout": 600,
    "wait_timeout": 28800,
    "autocommit": 1,
    "foreign_key_checks": 0,
    "unique_checks": 1,
    "sql_auto_is_null": 0,
    "sql_safe_updates": 0,
}
MARIADB_SETTINGS: dict[str, str | int] = {
    "max_statement_time": 0,
    # One session of a snapshot may have nothing to do for a long time.
    "idle_transaction_timeout": 0,
    "idle_readonly_transaction_timeout": 0,
    "idle_write_transaction_timeout": 0,
    "alter_algorithm": "DEFAULT",
    "max_error_count": 64,
    "check_constraint_checks": 0,
    "sql_if_exists": 0,
    "system_versioning_asof": "DEFAULT",
}
MYSQL_SETTINGS: dict[str, str | int] = {
    "max_execution_time": 0,
    "information_schema_stats_expiry": 0,
    "show_gipk_in_create_table_and_information_schema": 1,
    # Else every table is dumped, and so made, with a row format of its own where it had the server's.
    "show_create_table_verbosity": 0,
}


def wanted_settings(
    flavour: Literal["mariadb", "mysql"], known: Container[str], packet_limit: int
) -> dict[str, str | int]:
    """What to set on a server that knows these variables; one that it hasn't is left out by name, never guessed.

    `packet_limit`: bytes that one packet of rendered rows may have at most.
    """
    wanted = dict(SETTINGS) | (MARIADB_SETTINGS if flavour == "mariadb" else MYSQL_SETTINGS)
    wanted = {name: value for name, value in wanted.items() if name in known}
    wanted["group_concat_max_len"] = packet_limit
    return wanted


def differing_settings(wanted: Mapping[str, str | int], found: Sequence[str | None]) -> list[str]:
    """Which settings, read back in the same order, are not what was wanted; a phrase each."""
    return [
        f"{name} is {value}, not {expected}"
        for (name, expected), value in zip(wanted.items(), found, strict=True)
        if not _same(value, expected)
    ]


def _same(found: str | None, expected: str | int) -> bool:
    if isinstance(expected, str):
        return found == expected
    return found is not None and Decimal(found) == expected  # MariaDB gives some of its numbers decimals
