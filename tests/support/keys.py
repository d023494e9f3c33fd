"""Keys for age, made by the programs that people make theirs with, and Debian's `age` itself."""

import subprocess
from pathlib import Path
from typing import NamedTuple


class Key(NamedTuple):
    """A key: the file of its private half, and its public one."""

    file: Path
    recipient: str

    @property
    def identity(self) -> str:
        return self.file.read_text()


def age_key(folder: Path, name: str = "key.txt") -> Key:
    file = folder / name
    _run("age-keygen", "-o", str(file))
    return Key(file, _run("age-keygen", "-y", str(file)).decode().strip())


def ssh_key(folder: Path, kind: str, passphrase: str = "", *options: str) -> Key:
    file = folder / f"id_{kind}"
    _run("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "me@laptop", "-f", str(file), *options)
    return Key(file, Path(f"{file}.pub").read_text().strip())


def age_encrypt(content: bytes, *recipients: str, armored: bool = False) -> bytes:
    """What the stock program makes of it."""
    chosen = [option for each in recipients for option in ("-r", each)]
    return _run("age", *chosen, *["-a"] * armored, content=content)


def age_decrypt(path: Path, key: Key) -> bytes:
    """What the stock program makes of the file; fails where it can't open it."""
    return _run("age", "-d", "-i", str(key.file), str(path))


def _run(*command: str, content: bytes = b"") -> bytes:
    return subprocess.run(command, input=content, check=True, capture_output=True, timeout=60).stdout
