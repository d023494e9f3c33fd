"""What the text of a setting may be: a reader for each kind, which raises `ValueError` with what is allowed."""

import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import NamedTuple

from sidecar.secret import Secret, service_url

_RECIPIENT = re.compile(r"(?:age1[02-9ac-hj-np-z]{58}|ssh-(?:ed25519|rsa) AAAA[A-Za-z0-9+/]+=*)(?!\S)")

_PRIVATE = re.compile(r"AGE-SECRET-KEY-|PRIVATE KEY-----", re.IGNORECASE)


class Listen(NamedTuple):
    """Where to listen: a host without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def choice(*allowed: str) -> Callable[[str], str]:
    """One of a few words, in any case; given in the case of `allowed`."""
    by_lower = {text.lower(): text for text in allowed}

    def read(text: str) -> str:
        if text.lower() not in by_lower:
            raise ValueError(f"one of {', '.join(allowed)}")
        return by_lower[text.lower()]

    return read


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number from low to high, in ASCII digits."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def text(pattern: str, allowed: str) -> Callable[[str], str]:
    """A text that a pattern matches whole."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(allowed)
        return text

    return read


def readable_file(text: str) -> Path:
    """A file that can be opened now. Only a regular one: a pipe that nobody writes to would never answer."""
    try:
        if not stat.S_ISREG(Path(text).stat().st_mode):
            raise ValueError("a regular file")
        with Path(text).open("rb"):
            return Path(text)
    except OSError as error:
        raise ValueError(f"a file that can be read ({error.strerror})") from error


def timezone(name: str) -> tzinfo:
    """A time zone by its name."""
    # The one zone that needs no database of time zones, which small images lack.
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError("the name of a time zone, such as Europe/Berlin or UTC") from error


def timezone_name(text: str) -> str:
    """The name of a time zone that is known here."""
    timezone(text)
    return text


def schedule(text: str) -> str:
    """A cron expression of five fields that comes true some day."""
    from cronsim import CronSim, CronSimError

    allowed = "five fields of cron (minute, hour, day, month, weekday), such as 10 1 * * *"
    if len(text.split()) != 5:
        raise ValueError(allowed)
    try:
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"{allowed} ({str(error).lower() or 'this one never comes'})") from error
    return text


def listen(text: str) -> Listen:
    """Where to listen, an IPv6 host in brackets."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise ValueError("host:port, such as 0.0.0.0:8080 or [::]:8080")
    return Listen(match[1] or match[2], int(match[3]))


def recipients(text: str) -> tuple[str, ...]:
    """Age recipients, as in age's own files too: a comment behind an SSH key, lines that begin with #."""
    if _PRIVATE.search(text):
        raise ValueError(
            "age recipients alone, the public halves of keys, and it holds a PRIVATE key: "
            "`age-keygen -y FILE` or `ssh-keygen -y -f FILE` tells the public half of one"
        )
    found: list[str] = []
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for part in re.split(r"[\n,]", "\n".join(lines)):
        words = part.split()
        while words:
            recipient = _RECIPIENT.match(" ".join(words))
            if recipient is None:
                raise ValueError(
                    "age recipients (age1…, ssh-ed25519 …, ssh-rsa …), separated by commas, spaces or lines, "
                    f"and number {len(found) + 1} is none"
                )
            found.append(recipient[0])
            words = words[len(recipient[0].split()) :]
            # Behind an SSH key, up to the next recipient, stands its comment.
            while " " in recipient[0] and words and not words[0].startswith(("age1", "ssh-")):
                words.pop(0)
    if not found:
        raise ValueError("at least one age recipient, or empty for no encryption")
    return tuple(found)


def prefix(text: str) -> str | None:
    """The folder-like beginning of S3 keys, without slashes at its ends; None where nothing else is in it."""
    segments = text.strip("/").split("/")
    if segments == [""]:
        return None
    if any(part in {"", ".", ".."} or not part.isprintable() for part in segments):
        raise ValueError("a prefix such as kimai/backups")
    return "/".join(segments)


def identity(text: str) -> Secret:
    """An age identity, or a file of them, or an SSH private key."""
    if "AGE ENCRYPTED FILE" in text:
        raise ValueError("a key that is not encrypted itself: `age -d FILE` asks for its passphrase, and gives the key")
    if not re.search(r"AGE-SECRET-KEY-1|PRIVATE KEY-----", text):
        raise ValueError("an age identity (AGE-SECRET-KEY-1…) or an SSH private key")
    # A log may be given a line of it alone.
    lines = (line.strip() for line in text.splitlines())
    return Secret(text, parts=tuple(line for line in lines if len(line) > 15 and not line.startswith(("#", "-----"))))


def service_urls(text: str) -> tuple[Secret, ...]:
    """Apprise URLs. A comma may stand in a URL: it separates only where another URL follows."""
    return tuple(service_url(url) for url in re.split(r"\s+|,\s*(?=[A-Za-z][\w+.-]*://)", text) if url)
