"""An encrypted backup opened against the manifest beside it, which withholds most; one is kept in golden for ever."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest

from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.archive.source import open_source
from sidecar.catalog import catalog
from sidecar.damaged import learnt
from sidecar.errors import ConfigurationError, Damaged, Exit
from sidecar.manifest import FORMAT, INNER_NAME, Archive, Database, Kimai, Manifest, decode, encode, schema, withhold
from sidecar.names import archive_key, manifest_key
from sidecar.proof import Proof, TableProof
from sidecar.proof import encode as encode_proof
from sidecar.proof import withhold as withhold_proof
from sidecar.report.progress import progress
from sidecar.state import State
from sidecar.storage.base import Storage
from sidecar.storage.local import LocalStorage
from sidecar.verify import Verified, exit_code, remember, verify
from tests.support.archives import SAMPLE, SQL, manifest_of, write_backup
from tests.support.keys import Key, age_decrypt, age_encrypt, age_key
from tests.support.shelf import backup_id

GOLDEN = Path(__file__).parents[1] / "golden"
MADE = backup_id("20261122", instance="demo")


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return age_key(tmp_path)


def keyring(key: Key, folder: Path) -> Keyring:
    return Keyring(key.identity, lambda: folder, "fetched-")


def shelve(folder: Path, key: Key) -> Manifest:
    """A backup as `backup` leaves it, and its whole manifest."""
    whole = write_backup(folder / archive_key(MADE, encrypted=True), recipients=[key.recipient])
    beside = msgspec.structs.replace(withhold(whole), archive=whole.archive)
    (folder / manifest_key(MADE)).write_bytes(encode(beside))
    return whole


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_an_encrypted_archive_of_every_format_ever_published_is_still_opened(tmp_path: Path, number: int) -> None:
    folder = GOLDEN / f"encrypted-format-{number}"
    [path] = folder.glob("*.zip.age")
    key = Key(folder / "key.txt", "")
    with open_source(path, keys=keyring(key, tmp_path)) as source:
        source.verify(lambda _: None)
        with source.open("database.sql") as sql:
            assert sql.read() == SQL
        assert source.label == str(MADE)
        assert {file.path for file in source.files} == {file.path for file, _ in SAMPLE}


def test_what_lies_beside_it_fits_the_schema_and_names_nothing(tmp_path: Path, key: Key) -> None:
    whole = shelve(tmp_path, key)
    text = (tmp_path / manifest_key(MADE)).read_bytes()
    jsonschema.validate(msgspec.json.decode(text), schema())
    for file, _ in SAMPLE[3:]:
        assert file.path.encode() not in text
        assert file.sha256 is None or file.sha256.encode() not in text
    assert b"kimai2_tags" not in text
    assert b"ab" * 16 not in text
    beside = decode(text)
    assert beside.withheld is not None
    assert (beside.withheld.files, beside.withheld.tables) == (6, 1)
    assert (beside.kimai, beside.started_at, beside.archive) == (whole.kimai, whole.started_at, whole.archive)


def test_what_is_missing_and_unreadable_is_counted_and_not_named() -> None:
    found = manifest_of([])
    found = msgspec.structs.replace(
        found,
        missing=["var/data/a"],
        unreadable=["var/data/b", "var/data/c"],
        changed=["var/data/d"],
        warnings=["link leads to what is not in the backup: var/data/e"],
        app_secret="0123456789abcdef",
        app_secret_source="var/data/.appsecret",
        database=msgspec.structs.replace(found.database, unreadable=["kimai2_secrets"], unseen=["triggers"]),
    )
    text = encode(withhold(found)).decode()
    for name in ("var/data", "kimai2", "0123456789abcdef", "triggers"):
        assert name not in text
    counted = withhold(found).withheld
    assert counted is not None
    assert (counted.missing, counted.unreadable, counted.changed, counted.warnings) == (1, 3, 1, 1)


PROOF = Proof(
    id=str(MADE),
    matched=False,
    started_at=datetime(2026, 11, 22, tzinfo=UTC),
    finished_at=datetime(2026, 11, 22, tzinfo=UTC),
    tool_version="0.1.0",
    read_from="local",
    archive=Archive(size=7, sha256="0" * 64),
    backup_server="mariadb",
    drill_server="mariadb",
    same_flavour=True,
    definitions_compared=True,
    newest_migration=None,
    tables=[TableProof(name="kimai2_tags", rows=2, digest="ab" * 16, equal=False)],
    differences=["kimai2_tags: 1 row instead of 2"],
    doubts=["table kimai2_tags: definition.columns"],
)


def test_a_proof_beside_it_names_no_table_and_no_difference() -> None:
    found = msgspec.json.decode(encode_proof(withhold_proof(PROOF)))
    assert (found["tables"], found["differences"], found["doubts"]) == ([], [], [])
    assert found["withheld"] == {"tables": 1, "differences": 1}


SHOWN = {
    Manifest: "format id instance started_at finished_at tool_version kimai database archive withheld",
    Kimai: "version version_source image image_digest git_revision",
    Database: "flavour server_version charset collation newest_migration",
    Proof: "format id matched started_at finished_at tool_version read_from archive backup_server drill_server "
    "same_flavour definitions_compared newest_migration files bytes withheld",
}
"""What docs/format.md says is left beside an encrypted archive."""
WITHHELD = {
    Manifest: "files missing unreadable changed app_secret app_secret_source warnings",
    Kimai: "plugins",
    Database: "name tables objects size largest_statement unreadable unseen",
    Proof: "tables differences doubts",
}


@pytest.mark.parametrize("kind", SHOWN)
def test_of_each_field_it_was_decided_whether_it_lies_beside_an_encrypted_archive(kind: type[msgspec.Struct]) -> None:
    shown, withheld = SHOWN[kind].split(), WITHHELD[kind].split()
    assert sorted(shown + withheld) == sorted(kind.__struct_fields__)


class LaterKimai(Kimai, kw_only=True, frozen=True):
    """As a version to come may know it."""

    themes: list[str]


class LaterDatabase(Database, kw_only=True, frozen=True):
    """As a version to come may know it."""

    users: list[str]


class LaterProof(Proof, kw_only=True, frozen=True):
    """As a version to come may know it."""

    plugins: list[str]


def test_a_field_that_is_to_come_stays_inside() -> None:
    found = manifest_of([])
    kimai = LaterKimai(**msgspec.structs.asdict(found.kimai), themes=["SecretBundle"])
    database = LaterDatabase(**msgspec.structs.asdict(found.database), users=["secret"])
    beside = encode(withhold(msgspec.structs.replace(found, kimai=kimai, database=database)))
    proof = LaterProof(**msgspec.structs.asdict(PROOF), plugins=["SecretBundle"])
    for text in (beside, encode_proof(withhold_proof(proof))):
        assert b"ecret" not in text.replace(b"app_secret", b"")


def test_the_manifest_of_another_is_found_out_by_the_one_inside(tmp_path: Path, key: Key) -> None:
    shelve(tmp_path, key)
    beside = decode((tmp_path / manifest_key(MADE)).read_bytes())
    lying = msgspec.structs.replace(beside, kimai=msgspec.structs.replace(beside.kimai, version="2.0.0"))
    path = tmp_path / archive_key(MADE, encrypted=True)
    with (
        pytest.raises(Damaged, match="holds another manifest than the one beside it"),
        open_source(path, lying, keyring(key, tmp_path)),
    ):
        pass


def test_a_plain_zip_beside_the_manifest_of_the_encrypted_one(tmp_path: Path, key: Key) -> None:
    """Decrypted on the spot: by its path it goes by the manifest inside; it is not the backup that was stored."""
    shelve(tmp_path, key)
    path = tmp_path / archive_key(MADE)
    path.write_bytes(age_decrypt(tmp_path / archive_key(MADE, encrypted=True), key))
    with open_source(path) as source:
        source.verify(lambda _: None)
    beside = decode((tmp_path / manifest_key(MADE)).read_bytes())
    with pytest.raises(Damaged, match="is not encrypted, and the manifest beside it"), open_source(path, beside):
        pass


@contextmanager
def fetch(storage: Storage, key: str) -> Iterator[Path]:
    yield storage._folder / key  # type: ignore[attr-defined]


def verified(folder: Path, keys: Keyring) -> Verified:
    storage = LocalStorage(folder)
    with progress(quiet=True) as shown:
        [found] = verify([storage], catalog([storage], "demo").backups, fetch, shown, keys)
    return found


def test_verify_checks_what_can_be_checked(tmp_path: Path, key: Key) -> None:
    shelf, spool = tmp_path / "shelf", tmp_path / "spool"
    for folder in (shelf, spool):
        folder.mkdir()
    shelve(shelf, key)
    closed, whole = verified(shelf, NO_KEYS), verified(shelf, keyring(key, spool))
    assert (closed.whole, closed.opened, exit_code([closed])) == (True, False, Exit.DONE)
    assert (whole.whole, whole.opened, exit_code([whole], with_key=True)) == (True, True, Exit.DONE)
    other = verified(shelf, keyring(age_key(tmp_path, "other.txt"), spool))
    assert (other.whole, other.opened, exit_code([other], with_key=True)) == (True, False, Exit.CONFIGURATION)
    # One whose outside is right and whose inside is not: only the key tells.
    path = shelf / archive_key(MADE, encrypted=True)
    plain = age_decrypt(path, key)
    at = plain.index(bytes(range(64)))  # of a picture, which lies there as it is
    path.write_bytes(age_encrypt(plain[:at] + bytes([plain[at] ^ 1]) + plain[at + 1 :], key.recipient))
    beside = decode((shelf / manifest_key(MADE)).read_bytes())
    stored = msgspec.structs.replace(
        beside.archive, size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
    )
    (shelf / manifest_key(MADE)).write_bytes(encode(msgspec.structs.replace(beside, archive=stored)))
    assert verified(shelf, NO_KEYS).whole
    damaged = verified(shelf, keyring(key, spool))
    assert (damaged.whole, exit_code([damaged], with_key=True)) == (False, Exit.DAMAGED)
    assert list(spool.iterdir()) == []


def test_what_a_key_found_damaged_inside_stays_so_until_a_key_finds_it_right(tmp_path: Path) -> None:
    state = State(tmp_path / "state", "demo", tmp_path)

    def known(problem: str | None, *, keyed: bool = False, unopened: str | None = None) -> list[str]:
        copy = Verified(str(MADE), "local", archive_key(MADE, encrypted=True), 7, problem, unopened=unopened)
        remember(state, [copy], keyed=keyed)
        return [each.why for each in state.damaged.known()]

    assert known("rotten inside", keyed=True) == ["rotten inside"]
    assert known(None, unopened="BACKUP_IDENTITY is not set") == ["rotten inside"]
    assert known(None, keyed=True, unopened="no key in BACKUP_IDENTITY opens it") == ["rotten inside"]
    # One without a key forgets what such a one found, and that alone.
    assert known("cut") == ["rotten inside", "cut"]
    assert known(None, unopened="BACKUP_IDENTITY is not set") == ["rotten inside"]
    # Nor does sending it say what is inside.
    key = "local", archive_key(MADE, encrypted=True)
    state.damaged.change(learnt({key}, []))
    assert [each.why for each in state.damaged.known()] == ["rotten inside"]
    assert known(None, keyed=True) == []


def test_without_a_key_nothing_is_opened(tmp_path: Path, key: Key) -> None:
    shelve(tmp_path, key)
    with (
        pytest.raises(ConfigurationError, match="BACKUP_IDENTITY is not set"),
        open_source(tmp_path / archive_key(MADE, encrypted=True)),
    ):
        pass
    assert INNER_NAME.encode() not in (tmp_path / archive_key(MADE, encrypted=True)).read_bytes()
