"""Settings that hold keys: what is wrong with them is told at once, by its place, and no private half is ever shown."""

from pathlib import Path

import pytest

from sidecar.archive.age import check_identity, check_recipients
from sidecar.archive.decrypting import Keyring
from sidecar.errors import ConfigurationError
from sidecar.settings import Settings, describe, load, secrets
from tests.support.keys import Key, age_encrypt, age_key, ssh_key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def key(folder: Path) -> Key:
    return age_key(folder)


def read(**environment: str) -> Settings:
    return load(environment, check_recipients=check_recipients, check_identity=check_identity)


def problems(**environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(**environment)
    return str(caught.value).splitlines()


def test_each_kind_of_recipient_is_taken_also_from_a_file(folder: Path, key: Key) -> None:
    recipients = [key.recipient, *(ssh_key(folder, kind).recipient for kind in ("ed25519", "rsa"))]
    (folder / "recipients").write_text("# who can open our backups\n" + "\n".join(recipients) + "\n")
    found = read(BACKUP_ENCRYPT_TO_FILE=str(folder / "recipients")).backup_encrypt_to
    assert found == (recipients[0], *(each.removesuffix(" me@laptop") for each in recipients[1:]))
    assert read(BACKUP_ENCRYPT_TO=", ".join(recipients)).backup_encrypt_to == found


def test_one_that_was_mistyped_is_named_by_its_place(key: Key) -> None:
    wrong = key.recipient[:-1] + ("q" if key.recipient[-1] != "q" else "p")
    [line] = problems(BACKUP_ENCRYPT_TO=f"{key.recipient}, {wrong}")
    assert "number 2 of 2 is none: its checksum is wrong" in line
    [line] = problems(BACKUP_ENCRYPT_TO="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5")
    assert "number 1 of 1 is none: an SSH key that is cut short" in line
    [line] = problems(BACKUP_ENCRYPT_TO=f"{key.recipient}, ssh-dss AAAAB3")
    assert "number 2 is none" in line


def test_an_rsa_key_of_a_size_that_age_does_not_take_is_told_so(tmp_path: Path) -> None:
    small = ssh_key(tmp_path, "rsa", "", "-b", "1024")
    [line] = problems(BACKUP_ENCRYPT_TO=small.recipient)
    assert "or an RSA one of a size that age doesn't take (2048 to 4096 bits)" in line


@pytest.mark.slow
def test_there_are_no_more_recipients_than_a_header_has_room_for(tmp_path: Path) -> None:
    longest = ssh_key(tmp_path, "rsa", "", "-b", "4096")
    check_recipients([longest.recipient] * 64)
    encrypted = tmp_path / "it.zip.age"
    encrypted.write_bytes(age_encrypt(b"content", *[longest.recipient] * 64))
    with Keyring(longest.identity, lambda: tmp_path, "f").opened(encrypted, lambda _: None) as plain:
        assert plain.read_bytes() == b"content"
    with pytest.raises(ValueError, match="at most 64 age recipients, and not 65"):
        check_recipients([longest.recipient] * 65)


def test_a_private_key_among_the_recipients_is_refused_and_not_shown(tmp_path: Path, key: Key) -> None:
    private = next(line for line in key.identity.splitlines() if line.startswith("AGE-SECRET-KEY-"))
    ssh = ssh_key(tmp_path, "ed25519").identity
    for text in (private, f"{key.recipient}\n{private}", private.lower(), ssh, key.identity):
        [line] = problems(BACKUP_ENCRYPT_TO=text)
        assert "it holds a PRIVATE key" in line
        assert "(value hidden)" in line
        for piece in (private, private.lower(), ssh.splitlines()[1]):
            assert piece not in line


def test_an_identity_is_hidden_wherever_it_is_shown(key: Key) -> None:
    found = read(BACKUP_IDENTITY_FILE=str(key.file))
    [(_, shown, source)] = [row for row in describe(found) if row[0] == "BACKUP_IDENTITY"]
    assert (shown, source) == ("***", "file")
    private = next(line for line in key.identity.splitlines() if line.startswith("AGE-SECRET-KEY-"))
    assert private in secrets(found)


@pytest.mark.parametrize(
    ("kind", "options"), [("ed25519", ()), ("rsa", ()), ("rsa", ("-m", "PEM"))], ids=["ed25519", "rsa", "pem"]
)
def test_a_key_with_a_passphrase_is_refused_with_what_to_do(
    tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    locked = ssh_key(tmp_path, kind, "sesame", *options)
    [line] = problems(BACKUP_IDENTITY_FILE=str(locked.file))
    assert "without a passphrase: take that off a copy of it (`ssh-keygen -p -f COPY`)" in line
    assert locked.identity.splitlines()[2] not in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----", "`age -d FILE`"),
        ("AGE-SECRET-KEY-1SESAME", "line 1 is none"),
        ("# made today\nAGE-SECRET-KEY-1SESAME", "line 2 is none"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----", "ed25519 or rsa, whole"),
    ],
)
def test_what_is_no_identity_is_told_by_its_line(text: str, told: str) -> None:
    [line] = problems(BACKUP_IDENTITY=text)
    assert told in line
    assert "SESAME" not in line


def test_all_that_is_wrong_is_told_at_once(key: Key) -> None:
    lines = problems(BACKUP_ENCRYPT_TO=key.identity, BACKUP_IDENTITY=key.recipient, RETENTION_DAYS="many")
    assert [line.split()[0] for line in lines] == ["BACKUP_ENCRYPT_TO", "BACKUP_IDENTITY", "RETENTION_DAYS"]
