"""Encrypted backups by whole commands: the stock programs open ours, we open theirs, and nothing beside them tells."""

import json
import re
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Site, poll
from tests.support.keys import Key, age_decrypt, age_encrypt, age_key, ssh_key
from tests.support.s3 import keys_in, settings
from tests.support.seaweed import Store


@pytest.fixture
def key(tmp_path: Path) -> Key:
    (tmp_path / "elsewhere").mkdir()
    return age_key(tmp_path / "elsewhere")


@pytest.fixture
def sealed(site: Site, key: Key) -> Site:
    """A site whose backups are encrypted, to a key that it doesn't have."""
    site.extra["BACKUP_ENCRYPT_TO"] = key.recipient
    return site


def archive(site: Site, made: str) -> Path:
    return site.backups / f"{made}.zip.age"


def names_of_files(path: Path, key: Key, folder: Path) -> list[str]:
    (folder / "plain.zip").write_bytes(age_decrypt(path, key))
    with zipfile.ZipFile(folder / "plain.zip") as opened:
        return [name.rstrip("/") for name in opened.namelist()]


def beside(site: Site, made: str, kind: str = "json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.backups / f"{made}.{kind}").read_bytes())
    return found


def contents_of(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and "cache" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_restored_by_hand_with_the_stock_programs_alone(sealed: Site, key: Key, tmp_path: Path) -> None:
    """As README.md, "Restore by hand", says."""
    sealed.remember()
    contents = contents_of(sealed.root)
    made = sealed.backup()
    assert sealed.shelf() == [f"{made}.json", f"{made}.zip.age"]
    assert [archive(sealed, made).stat().st_mode & 0o777] == [0o600]
    sealed.lose_all()
    (tmp_path / f"{made}.zip").write_bytes(age_decrypt(archive(sealed, made), key))
    subprocess.run(["unzip", "-q", f"{made}.zip", "-d", "unpacked"], cwd=tmp_path, check=True)
    sealed.server.native_load(sealed.database, (tmp_path / "unpacked/database.sql").read_bytes())
    for name in ("var/data", "var/invoices", "var/export", "var/plugins", "config/packages/local.yaml"):
        subprocess.run(["cp", "-a", f"unpacked/{name}", str((sealed.root / name).parent)], cwd=tmp_path, check=True)
    assert sealed.remembered is not None
    assert sealed.rows() == sealed.remembered[0]
    assert contents_of(sealed.root) == contents


@pytest.mark.parametrize("kind", ["age", "ed25519", "rsa"])
def test_restored_by_us_with_the_key(site: Site, tmp_path: Path, kind: str) -> None:
    key = age_key(tmp_path) if kind == "age" else ssh_key(tmp_path, kind)
    site.remember()
    made = site.backup(BACKUP_ENCRYPT_TO=key.recipient)
    site.lose_all()
    ran = site.run("restore", "latest", BACKUP_IDENTITY_FILE=str(key.file))
    assert ran.code == 0, ran.said
    assert f"{made} is restored" in ran.said
    site.assert_restored()
    assert not list((site.state / "spool").iterdir())


def test_restored_from_a_file_that_the_stock_program_made(site: Site, key: Key, tmp_path: Path) -> None:
    site.remember()
    made = site.backup()
    path = tmp_path / "from-elsewhere.zip.age"
    path.write_bytes(age_encrypt((site.backups / f"{made}.zip").read_bytes(), key.recipient))
    shutil.rmtree(site.backups)
    site.backups.mkdir()
    site.lose_all()
    ran = site.run("restore", str(path), BACKUP_IDENTITY_FILE=str(key.file))
    assert ran.code == 0, ran.said
    site.assert_restored()


def test_without_the_key_nothing_is_touched(sealed: Site, tmp_path: Path, key: Key) -> None:
    made = sealed.backup()
    sealed.lose_all()
    before = (sealed.objects(), sealed.files())
    other = age_key(tmp_path, "other.txt")
    for named in ("latest", str(archive(sealed, made))):
        ran = sealed.run("restore", named)
        assert ran.code == 4, ran.said
        assert "is encrypted, and BACKUP_IDENTITY is not set" in ran.errors[0]
        ran = sealed.run("restore", named, BACKUP_IDENTITY_FILE=str(other.file))
        assert ran.code == 4, ran.said
        assert f"no key in BACKUP_IDENTITY opens {made}.zip.age" in ran.errors[0]
        for line in other.identity.splitlines():
            assert line not in ran.said
    assert (sealed.objects(), sealed.files()) == before


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_what_was_cut_or_changed_is_damaged_with_and_without_the_key(sealed: Site, key: Key, damage: str) -> None:
    made = sealed.backup()
    path = archive(sealed, made)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content[:-500] if damage == "cut" else content)
    assert sealed.run("verify").code == 7
    assert sealed.run("verify", BACKUP_IDENTITY_FILE=str(key.file)).code == 7
    sealed.lose_all()
    for named in ("latest", str(path)):
        ran = sealed.run("restore", named, BACKUP_IDENTITY_FILE=str(key.file))
        assert ran.code == 7, ran.said
        assert sealed.objects() == []
    # Without the manifest beside it, age alone tells.
    (sealed.backups / f"{made}.json").unlink()
    ran = sealed.run("restore", str(path), BACKUP_IDENTITY_FILE=str(key.file))
    assert ran.code == 7, ran.said
    assert "is cut short or changed" in ran.errors[0]


def test_nothing_beside_it_names_a_file_or_tells_what_is_in_it(
    sealed: Site, key: Key, tmp_path: Path, scratch: str
) -> None:
    made = sealed.backup()
    ran = sealed.run("drill", BACKUP_IDENTITY_FILE=str(key.file))
    assert ran.code == 0, ran.said
    assert "proven: equal, row for row" in ran.out
    names = names_of_files(archive(sealed, made), key, tmp_path)
    secret = set(names) - {"manifest.json"} | {name.rpartition("/")[2] for name in names if "/" in name}
    secret |= {*sealed.rows(), sealed.database}
    for kind in ("json", "proof.json"):
        text = (sealed.backups / f"{made}.{kind}").read_text()
        # Every text of it, whole or as a piece of a path; keys are the format's own.
        texts = re.findall(r'"([^"]*)"(?!:)', text)
        assert [name for name in secret for each in texts if name in re.split(r"[\s/`',:]", each)] == []
        assert [name for name in secret if len(name) > 8 and name in text] == []
        # The one hash is that of the encrypted archive.
        assert set(re.findall(r"[0-9a-f]{40,}", text)) == {beside(sealed, made)["archive"]["sha256"]}
    found = beside(sealed, made)
    assert found["withheld"]["tables"] == len(sealed.rows())
    assert found["withheld"]["files"] > 5
    proof = beside(sealed, made, "proof.json")
    assert (proof["matched"], proof["withheld"]) == (True, {"tables": len(sealed.rows()), "differences": 0})
    assert sealed.run("list", "--json").json()[0]["proven"] is True


def test_a_drill_that_does_not_match_names_nothing_beside_it(sealed: Site, key: Key, scratch: str) -> None:
    made = sealed.backup()
    path = archive(sealed, made)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    ran = sealed.run("drill", BACKUP_IDENTITY_FILE=str(key.file))
    assert ran.code == 7, ran.said
    failed = beside(sealed, made, "failed.json")
    assert (failed["matched"], failed["differences"], failed["withheld"]["differences"]) == (False, [], 1)


def test_verify_tells_what_it_could_check(sealed: Site, key: Key, tmp_path: Path) -> None:
    made = sealed.backup()
    [row] = sealed.run("verify", "--json").json()
    assert (row["id"], row["whole"], row["opened"], row["problem"]) == (made, True, False, None)
    ran = sealed.run("verify")
    assert (ran.code, "as it was stored; not opened: BACKUP_IDENTITY is not set" in ran.out) == (0, True)
    ran = sealed.run("verify", "--json", BACKUP_IDENTITY_FILE=str(key.file))
    [row] = ran.json()
    assert (ran.code, row["whole"], row["opened"]) == (0, True, True)
    other = age_key(tmp_path, "other.txt")
    ran = sealed.run("verify", "--json", BACKUP_IDENTITY_FILE=str(other.file))
    [row] = ran.json()
    assert (ran.code, row["whole"], row["opened"]) == (4, True, False)


def test_show_tells_more_with_the_key(sealed: Site, key: Key) -> None:
    made = sealed.backup()
    ran = sealed.run("show")
    assert made in ran.out
    assert "It is encrypted" in ran.out
    assert "kimai2_timesheet" not in ran.out
    assert sealed.run("show", "--json").json()["files"] == []
    ran = sealed.run("show", BACKUP_IDENTITY_FILE=str(key.file))
    assert "kimai2_timesheet" in ran.out
    found = sealed.run("show", "--json", BACKUP_IDENTITY_FILE=str(key.file)).json()
    assert found["archive"] == beside(sealed, made)["archive"]
    assert len(found["files"]) > 5


def test_an_archive_that_lost_its_manifest_gets_it_back_by_the_key_alone(sealed: Site, key: Key) -> None:
    made = sealed.backup()
    manifest = sealed.backups / f"{made}.json"
    content = manifest.read_bytes()
    manifest.unlink()
    ran = sealed.run("prune")
    assert ran.code == 0, ran.said
    assert "encrypted, so nobody can look inside without BACKUP_IDENTITY" in ran.said
    assert sealed.shelf() == [f"{made}.zip.age"]
    ran = sealed.run("prune", BACKUP_IDENTITY_FILE=str(key.file))
    assert "checked, and published again" in ran.said
    assert manifest.read_bytes() == content


def test_it_is_switched_on_and_off_and_both_kinds_live_together(site: Site, key: Key) -> None:
    sealed = {"BACKUP_ENCRYPT_TO": key.recipient}
    made = [site.backup(**settings) for settings in ({}, sealed, sealed, {}, sealed)]
    suffixes = [".zip", ".zip.age", ".zip.age", ".zip", ".zip.age"]
    assert site.shelf() == sorted(
        [each + suffix for each, suffix in zip(made, suffixes, strict=True)] + [f"{each}.json" for each in made]
    )
    rows = site.run("list", "--json").json()
    assert [row["encrypted"] for row in reversed(rows)] == [False, True, True, False, True]
    assert all(row["whole"] for row in site.run("verify", "--json", BACKUP_IDENTITY_FILE=str(key.file)).json())
    before = site.shelf()
    for at, day in ((1, "20200101"), (3, "20200102")):
        old = re.sub(r"_[0-9]{8}T", f"_{day}T", made[at])
        text = (site.backups / f"{made[at]}.json").read_text()
        (site.backups / f"{old}.json").write_text(text.replace(made[at], old))
        shutil.copy(site.backups / (made[at] + suffixes[at]), site.backups / (old + suffixes[at]))
        (site.backups / f"{old}.proof.json").write_text('{"finished_at": "2020-01-03T00:00:00Z"}')
    # The newest proven one would stay. The last ones may be named a few seconds ahead of the clock: no two share one.
    (site.backups / f"{made[0]}.proof.json").write_text('{"finished_at": "2026-01-03T00:00:00Z"}')
    assert len(site.shelf()) == len(before) + 7
    ran = site.run("prune", RETENTION_DAYS="1", RETENTION_MIN_KEEP="1", **sealed)
    assert ran.code == 0, ran.said
    assert site.shelf() == sorted([*before, f"{made[0]}.proof.json"])


def test_what_the_encrypted_one_before_had_is_still_missed(sealed: Site) -> None:
    """The manifest beside it names nothing, so this machine remembers; where it forgot, nothing is pruned, once."""
    sealed.backup()
    (sealed.root / "config/packages/local.yaml").unlink()
    ran = sealed.run("backup", "--dry-run")
    assert "config/packages/local.yaml" in ran.out
    assert "this backup lacks what the one before it had: config/packages/local.yaml" in ran.out
    ran = sealed.run("backup")
    assert ran.code == 3, ran.said
    assert "nothing is pruned: this backup lacks what the one before it had" in ran.err
    shutil.rmtree(sealed.state)
    ran = sealed.run("backup")
    assert ran.code == 0, ran.said
    assert (
        "nothing is pruned: the backup before is encrypted, and BACKUP_STATE_DIR does not tell what it held" in ran.err
    )
    ran = sealed.run("backup")
    assert "nothing is pruned" not in ran.err


def test_no_plaintext_lies_on_any_disk_while_a_backup_is_made(sealed: Site, key: Key) -> None:
    """Killed while the archive grows: what is left is encrypted, and the next run sweeps it."""
    sealed.extra["DATABASE_CONNECTIONS"] = "1"
    large = sealed.root / "var/data/large.jpg"  # not compressed any further
    with large.open("wb") as file:
        for _ in range(200):
            file.write(b"PLAINTEXT" * 116_509)
    process = sealed.start("backup")
    parts: list[Path] = []
    while process.poll() is None and not parts:
        parts = [path for path in sealed.backups.glob(".*.part") if path.stat().st_size > 1_000_000]
    process.kill()
    process.communicate(timeout=60)
    [part] = parts
    content = part.read_bytes()
    assert content.startswith(b"age-encryption.org/v1\n-> X25519 ")
    assert b"PLAINTEXT" not in content
    assert b"CREATE TABLE" not in content
    assert b"PK\x03\x04database.sql" not in content
    assert [path for path in sealed.state.rglob("*") if path.is_file() and b"CREATE TABLE" in path.read_bytes()] == []
    large.unlink()
    sealed.backup()
    assert not part.exists()


def test_a_run_that_is_told_to_end_ends_and_leaves_nothing(sealed: Site) -> None:
    with (sealed.root / "var/data/large.jpg").open("wb") as file:
        file.truncate(300 << 20)
    process = sealed.start("backup")
    poll(lambda: [path for path in sealed.backups.glob(".*.part") if path.stat().st_size > 1_000_000], "it grows")
    process.send_signal(signal.SIGTERM)
    ran = sealed.ended(process, 20)
    assert ran.code == 130, ran.said
    assert sealed.shelf() == []


def test_a_safety_backup_that_goes_to_s3_as_it_is_is_warned_of(site: Site, s3_store: Store, tmp_path: Path) -> None:
    made = site.backup()
    ran = site.run("restore", made, "--replace", **settings(s3_store, s3_store.bucket(), tmp_path))
    assert ran.code == 0, ran.said
    assert ran.err.count("backups go to S3 NOT ENCRYPTED") == 1


def test_s3_gets_it_as_it_is_and_is_warned_of_without(
    site: Site, key: Key, s3_store: Store, tmp_path: Path, scratch: str
) -> None:
    bucket = s3_store.bucket()
    on = settings(s3_store, bucket, tmp_path)
    sealed = {"BACKUP_ENCRYPT_TO": key.recipient}
    made = site.backup(**sealed)  # S3 misses it
    ran = site.run("backup", **on)
    assert ran.code == 0, ran.said
    assert ran.err.count("backups go to S3 NOT ENCRYPTED") == 1
    assert {f"{made}.zip.age", f"{made}.json"} <= set(keys_in(s3_store, bucket))
    body = s3_store.client().get_object(Bucket=bucket, Key=f"kimai/backups/{made}.zip.age")["Body"].read()
    assert body == archive(site, made).read_bytes()
    rows = site.run("doctor", "--json", **on).json()
    [row] = [row for row in rows if row["what"] == "encryption"]
    assert "OFF, AND BACKUPS GO TO S3" in row["seen"]
    # With encryption on, nobody is warned of this one; what lies in the bucket alone is restored and drilled.
    site.remember()
    ran = site.run("backup", BACKUP_DIR="", **on, **sealed)
    assert ran.code == 0, ran.said
    assert "backups go to S3 NOT ENCRYPTED" not in ran.err
    there = {**on, "BACKUP_DIR": "", "BACKUP_IDENTITY_FILE": str(key.file)}
    assert site.run("drill", **there).code == 0
    site.lose_all()
    ran = site.run("restore", "latest", **there)
    assert ran.code == 0, ran.said
    site.assert_restored()
    assert not list((site.state / "spool").iterdir())


def test_what_was_made_before_encryption_is_not_sent_to_s3_and_what_lies_there_is_told(
    site: Site, key: Key, s3_store: Store, tmp_path: Path
) -> None:
    bucket = s3_store.bucket()
    on = settings(s3_store, bucket, tmp_path)
    sealed = {"BACKUP_ENCRYPT_TO": key.recipient}
    old = [site.backup(), site.backup()]
    ran = site.run("backup", **on, **sealed)
    assert ran.code == 0, ran.said
    assert "not sent to s3, as they are not encrypted and BACKUP_ENCRYPT_TO is set: 2;" in ran.err
    assert "NOT ENCRYPTED" not in ran.err
    assert [name for name in keys_in(s3_store, bucket) if name.endswith(".zip") or name[:-5] in old] == []
    # One that was sent before is said to lie there open, by each backup and by doctor.
    ran = site.run("backup", **on)
    assert {f"{each}.zip" for each in old} <= set(keys_in(s3_store, bucket))
    ran = site.run("backup", **on, **sealed)
    assert ran.code == 0, ran.said
    assert ran.err.count("earlier backups that lie on S3 NOT ENCRYPTED: 3. ") == 1
    rows = site.run("doctor", "--json", **on, **sealed).json()
    seen = [row["seen"] for row in rows if row["what"] == "encryption"]
    assert (len(seen), "EARLIER BACKUPS LIE ON S3 NOT ENCRYPTED (3)" in seen[1]) == (2, True)


def test_doctor_says_that_drills_by_themselves_lack_their_key(sealed: Site, key: Key, scratch: str) -> None:
    ran = sealed.run("doctor", "--json", DRILL_SCHEDULE="0 5 * * 7")
    assert ran.code == 4, ran.said
    assert "will open no encrypted backup" in next(row for row in ran.json() if row["what"] == "identity")["seen"]
    ran = sealed.run("doctor", "--json", DRILL_SCHEDULE="0 5 * * 7", BACKUP_IDENTITY_FILE=str(key.file))
    assert ran.code == 0, ran.said
    here = next(row for row in ran.json() if row["what"] == "identity")
    assert ("drills need it" in here["seen"], here["mend"]) == (True, "")
    other = str(age_key(key.file.parent, "other.txt").file)
    ran = sealed.run("doctor", "--json", DRILL_SCHEDULE="0 5 * * 7", BACKUP_IDENTITY_FILE=other)
    assert ran.code == 4, ran.said
    here = next(row for row in ran.json() if row["what"] == "identity")
    assert "drills by DRILL_SCHEDULE will fail" in here["seen"]


def test_doctor_knows_whose_key_it_is(sealed: Site, key: Key, tmp_path: Path) -> None:
    def seen(**settings: str) -> dict[str, dict[str, Any]]:
        ran = sealed.run("doctor", "--json", **settings)
        assert ran.code == 0, ran.said
        return {row["what"]: row for row in ran.json()}

    assert key.recipient in seen()["encryption"]["seen"]
    assert "identity" not in seen()
    here = seen(BACKUP_IDENTITY_FILE=str(key.file))["identity"]
    assert "keep it elsewhere" in here["mend"]
    other = age_key(tmp_path, "other.txt")
    assert "opens none" in seen(BACKUP_IDENTITY_FILE=str(other.file))["identity"]["seen"]
