"""`prune` as it is typed: what it keeps of a shelf on which all is too old, and the reasons that it gives."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from sidecar.manifest import BackupId, encode
from sidecar.proof import Proof
from sidecar.proof import encode as encode_proof
from tests.support.archives import SAMPLE, manifest_of, write_backup
from tests.support.cli import Ran, Site

UNPROVEN, KEPT, DAYS = 20, 3, 60
SETTINGS = {"RETENTION_DAYS": str(DAYS), "RETENTION_MIN_KEEP": str(KEPT)}


def shelve(site: Site, age: int, *, proven: bool = False) -> str:
    """A whole backup that many days old."""
    began = (datetime.now(UTC) - timedelta(days=age)).replace(microsecond=0)
    made = str(BackupId("kimai", "2.66.0", began))
    inner = manifest_of([file for file, _ in SAMPLE])
    inner = msgspec.structs.replace(inner, id=made, instance="kimai", started_at=began, finished_at=began)
    manifest = write_backup(site.backups / f"{made}.zip", manifest=inner)
    (site.backups / f"{made}.json").write_bytes(encode(manifest))
    if proven:
        assert manifest.archive is not None
        server = f"{manifest.database.flavour} {manifest.database.server_version}"
        proof = Proof(
            id=made, matched=True, started_at=began, finished_at=began, tool_version="0.1.0", read_from="local",
            archive=manifest.archive, backup_server=server, drill_server=server, same_flavour=True,
            definitions_compared=True, newest_migration=manifest.database.newest_migration,
        )  # fmt: skip
        (site.backups / f"{made}.proof.json").write_bytes(encode_proof(proof))
    return made


@pytest.fixture
def shelf(site: Site) -> tuple[str, list[str]]:
    """The proven one, the oldest of all; and the others, newest first."""
    return shelve(site, 300, proven=True), [shelve(site, 100 + day) for day in range(UNPROVEN)]


def row(ran: Ran, made: str) -> tuple[str, str, str]:
    """Where it lies, what became of it, and why, by the printed table."""
    [line] = [line for line in ran.out.splitlines() if line.startswith(f"{made}  ")]
    _, where, *rest = line.split("  ")
    what, why = [word.strip() for word in rest if word.strip()]
    return where.strip(), what, why


def test_the_proven_one_and_the_newest_stay_with_their_reasons(site: Site, shelf: tuple[str, list[str]]) -> None:
    proven, others = shelf
    dry = site.run("prune", "--dry-run", **SETTINGS)
    assert dry.code == 0, dry.said
    assert len(site.ids()) == UNPROVEN + 1, "a dry run deletes nothing"
    ran = site.run("prune", **SETTINGS)
    assert ran.code == 0, ran.said
    assert dry.out.replace("would delete", "deleted     ").split() == ran.out.split()
    assert row(ran, proven) == ("local", "keep", "the newest proven")
    for made in others[:KEPT]:
        assert row(ran, made) == ("local", "keep", f"among the newest {KEPT}")
    for day, made in enumerate(others[KEPT:], KEPT):
        why = f"older than {DAYS} days ({100 + day}), and no other rule keeps it"
        assert row(ran, made) == ("local", "deleted", why)
    left = [*others[:KEPT], proven]
    assert site.shelf() == sorted(
        [f"{made}{end}" for made in left for end in (".zip", ".json")] + [f"{proven}.proof.json"]
    )
    # What stays is whole.
    assert site.run("verify").code == 0


def test_the_same_as_json(site: Site, shelf: tuple[str, list[str]]) -> None:
    proven, others = shelf
    dry = site.run("prune", "--json", "--dry-run", **SETTINGS).json()
    rows = {each["id"]: each for each in site.run("prune", "--json", **SETTINGS).json()}
    assert list(rows) == [*others, proven]
    assert [{**each, "deleted": False} for each in rows.values()] == dry
    kept = {made: each["reasons"] for made, each in rows.items() if each["keep"]}
    assert kept == {**{made: [f"among the newest {KEPT}"] for made in others[:KEPT]}, proven: ["the newest proven"]}
    assert [made for made, each in rows.items() if each["deleted"]] == others[KEPT:]
    assert sorted(site.ids()) == sorted(kept)
    # And the next one finds nothing more to give up.
    assert not any(each["deleted"] for each in site.run("prune", "--json", **SETTINGS).json())
