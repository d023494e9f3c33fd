"""What was given for a setting: the text in NAME, or in the file that NAME_FILE names, and what may be shown of it."""

import re
from collections.abc import Mapping
from typing import Literal

from sidecar import values

Source = Literal["default", "environment", "file"]

_FILE_LIMIT = 1 << 20


class Problem(Exception):
    """A line of the one error: name, value, what is allowed."""


def find(name: str, environment: Mapping[str, str]) -> tuple[str, Source]:
    """What was given for the setting of this name, and where; empty text where nothing was. Raises `Problem`."""
    text = environment.get(name, "")
    file = environment.get(f"{name}_FILE", "").strip()
    if not file:
        return (text if text.strip() else "", "environment" if name in environment else "default")
    if text.strip():
        raise Problem(f"{name} and {name}_FILE are both set: unset one of them")
    try:
        return _content(file), "file"
    except ValueError as error:
        # Whoever mistakes NAME_FILE for NAME puts the secret itself there.
        shown = f"is {file!r}" if file.startswith(("/", "./", "../")) and may_be_shown(file) else "(value hidden)"
        raise Problem(f"{name}_FILE {shown}: must be {error}") from None


def _content(file: str) -> str:
    try:
        with values.readable_file(file).open("rb") as stream:
            text = stream.read(_FILE_LIMIT + 1).decode()
    except OSError as error:
        raise ValueError(f"a file that can be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ValueError("a file of UTF-8 text") from None
    if len(text) > _FILE_LIMIT:
        raise ValueError("a file of at most 1 MiB")
    # An empty file is a secret that was never written; taken for "none" it would turn encryption off unseen.
    if not text.strip():
        raise ValueError("a file with something in it (for none, unset it)")
    return re.sub(r"\r?\n\Z", "", text)


def may_be_shown(text: str) -> bool:
    """Whether a wrong value looks harmless: no URL with a password in it, no private key in the wrong place."""
    return not re.search(r"@|SECRET-KEY|PRIVATE KEY", text, re.IGNORECASE)
