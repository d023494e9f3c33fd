"""Keys for age: recipients that archives are encrypted to, and identities that open them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrage import ssh, x25519

    Recipient = ssh.Recipient | x25519.Recipient
    Identity = ssh.Identity | x25519.Identity


HEADER_LIMIT = 64 << 10
"""Bytes that the header of an archive may take, which holds a piece for each recipient."""
_RECIPIENTS = 64
"""So many pieces for the longest SSH keys have room in it."""


def check_recipients(recipients: Sequence[str]) -> None:
    """Raise `ValueError`, naming the place of the one that is none: its checksum or its key is wrong."""
    if len(recipients) > _RECIPIENTS:
        raise ValueError(f"at most {_RECIPIENTS} age recipients, and not {len(recipients)}")
    for place, text in enumerate(recipients, 1):
        try:
            recipient(text)
        except ValueError as error:
            raise ValueError(f"age recipients, and number {place} of {len(recipients)} is none: {error}") from None


def check_identity(text: str) -> None:
    """Raise `ValueError` for what is no identity that opens anything, and never with a part of it."""
    identities(text)


def recipient(text: str) -> "Recipient":
    """Pyrage's own object for one recipient. Raises `ValueError`."""
    import pyrage

    kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
    try:
        return kind.from_str(text)
    except pyrage.RecipientError:
        raise ValueError(_why_none(text)) from None


def _why_none(text: str) -> str:
    if text.startswith("ssh-rsa "):
        return "an SSH key that is cut short, or an RSA one of a size that age doesn't take (2048 to 4096 bits)"
    return "an SSH key that is cut short" if text.startswith("ssh-") else "its checksum is wrong: it was mistyped"


def identities(text: str) -> "list[Identity]":
    """Pyrage's own object for every key in the text: lines of `age-keygen`, or one SSH private key.

    Raises `ValueError`.
    """
    import pyrage

    if "PRIVATE KEY-----" in text:
        try:
            return [pyrage.ssh.Identity.from_buffer(text.strip().encode() + b"\n")]
        except pyrage.IdentityError as error:
            if "decrypted first" in str(error) or "ENCRYPTED" in text:
                raise ValueError(
                    "an SSH private key without a passphrase: take that off a copy of it (`ssh-keygen -p -f COPY`)"
                ) from None
            raise ValueError("an SSH private key of type ed25519 or rsa, whole, with its first and last line") from None
    found: list[Identity] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found.append(pyrage.x25519.Identity.from_str(line.strip()))
        except pyrage.IdentityError:
            raise ValueError(f"age identities (AGE-SECRET-KEY-1…), a line each, and line {number} is none") from None
    if not found:
        raise ValueError("an age identity (AGE-SECRET-KEY-1…) or an SSH private key")
    return found
