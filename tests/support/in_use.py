"""A Kimai in use, whose restore over it is cut short: how it was at its backup, and how it has gone on since."""

import json
from typing import Any, NamedTuple

from tests.support.cli import Ran, Site
from tests.support.killing import Point

NOTE = "State.write_restore_note"
LOADING = Point("sidecar.database.load", "Load._take", 40, "before")
IN_PLACE = Point("sidecar.carry_out", "settle")


class InUse(NamedTuple):
    """A Kimai that went on since its backup: how it was then, and how it is now."""

    site: Site
    backup: str
    then: Any
    now: Any

    def assert_new(self) -> None:
        self.site.remembered = self.then
        self.site.assert_restored()

    def assert_old(self) -> None:
        self.site.remembered = self.now
        self.site.assert_restored()

    def safeties(self) -> list[str]:
        return [each for each in self.site.ids() if each.endswith("_safety")]


def go_on(site: Site) -> InUse:
    backup = site.backup()
    site.remember()
    then = site.remembered
    site.sql(
        "INSERT INTO kimai2_tags (name) VALUES ('since the backup')",
        "DELETE FROM kimai2_timesheet ORDER BY id LIMIT 1",
        "CREATE TABLE kimai2_since (id INT PRIMARY KEY, name VARCHAR(20))",
        "INSERT INTO kimai2_since VALUES (1, 'since the backup')",
        # Without STARTS it would run once as it is made, before or after what is remembered below.
        f"CREATE DEFINER='{site.user}'@'%' EVENT since_the_backup ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' "
        "DO DELETE FROM kimai2_since",
    )
    (site.root / "var/data/since.pdf").write_bytes(b"since the backup")
    (site.root / "var/invoices/since.pdf").write_bytes(b"since the backup")
    site.remember()
    return InUse(site, backup, then, site.remembered)


def refused(ran: Ran, *words: str) -> None:
    assert ran.code == 8, ran.said
    for word in words:
        assert word in ran.errors[0]


def phase(site: Site) -> str | None:
    """How far the journal says that it is."""
    found = [json.loads(path.read_bytes()) for path in site.state.glob("*.restore.json")]
    return found[0]["phase"] if found else None
