"""A drill on each flavour of server: a whole backup is proven, by its rows and by its definitions."""

import json

from tests.support.cli import Site
from tests.support.drill import scratch_user, scratches


def test_a_backup_is_proven_on_a_server_of_its_own_flavour(site: Site, flavour: str) -> None:
    site.sql("CREATE TABLE odd (id INT PRIMARY KEY, f FLOAT, d DATETIME(6), b BLOB, t TEXT CHARACTER SET latin1)")
    site.sql("INSERT INTO odd VALUES (2, 0, NULL, '', '')")
    site.sql("INSERT INTO odd VALUES (1, 16777216, '2026-10-25 02:30:00.000001', X'00FF0D0A', 'ümlaut')")
    site.sql("CREATE VIEW seen AS SELECT id FROM odd")
    made = site.backup()
    with scratch_user(site.server) as (prefix, url):
        ran = site.run("drill", DRILL_DATABASE_URL=url)
        assert ran.code == 0, ran.said
        assert scratches(site.server, prefix) == []
    proof = json.loads((site.backups / f"{made}.proof.json").read_bytes())
    assert proof["drill_server"].startswith(f"{flavour} ")
    assert proof["definitions_compared"] is True
    assert proof["differences"] == []
    assert {table["name"]: table["rows"] for table in proof["tables"]}["odd"] == 2
