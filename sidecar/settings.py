"""The settings: every one of them read from the environment or its file and checked, all problems told at once."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any, Literal

import msgspec

from sidecar import secret, values
from sidecar.errors import ConfigurationError
from sidecar.given import Problem, Source, find, may_be_shown
from sidecar.secret import Secret
from sidecar.values import Listen

_Checks = Mapping[Callable[[str], Any], Callable[[Any], object]]
"""By the reader of a setting, what looks at the value that it has read."""

_PREFIXES = ("BACKUP_", "VERIFY_", "RETENTION_", "S3_", "DATABASE_", "DRILL_", "KIMAI_", "NOTIFY_", "HEARTBEAT_")


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """Every setting under its name in lower case. None: not set, or set to nothing.

    The ages are in days, `backup_jitter` is in minutes, `retry_deadline` in seconds; where `s3_retention_*` is None,
    `retention_*` holds.
    `sources` tells of each field that is not the default where it was read.
    """

    database_url: Secret | None = None
    database_tls: Literal["off", "preferred", "required", "verify"] = "preferred"
    database_ca_file: Path | None = None
    database_connections: int = 2
    kimai_service: str | None = None
    kimai_container: str | None = None
    kimai_dir: Path = Path("/opt/kimai")
    kimai_url: Secret | None = None
    backup_instance: str | None = None
    backup_dir: Path | None = Path("/backups")
    backup_state_dir: Path = Path("/var/lib/kimai-backup")
    backup_schedule: str | None = "10 1 * * *"
    backup_jitter: int = 0
    verify_schedule: str | None = None
    tz: str = "UTC"
    backup_encrypt_to: tuple[str, ...] = ()
    backup_identity: Secret | None = None
    retention_days: int = 60
    retention_min_keep: int = 3
    retention_daily: int = 0
    retention_weekly: int = 0
    retention_monthly: int = 0
    retention_yearly: int = 0
    s3_retention_days: int | None = None
    s3_retention_min_keep: int | None = None
    s3_retention_daily: int | None = None
    s3_retention_weekly: int | None = None
    s3_retention_monthly: int | None = None
    s3_retention_yearly: int | None = None
    s3_bucket: str | None = None
    s3_prefix: str | None = None
    s3_endpoint_url: Secret | None = None
    s3_region: str | None = None
    s3_access_key_id: Secret | None = None
    s3_secret_access_key: Secret | None = None
    s3_ca_file: Path | None = None
    s3_storage_class: str | None = None
    s3_sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    s3_sse_kms_key_id: str | None = None
    s3_object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    s3_object_lock_days: int | None = None
    retry_deadline: int = 300
    drill_database_url: Secret | None = None
    drill_schedule: str | None = None
    notify_urls: tuple[Secret, ...] = ()
    notify_success: Literal["yes", "no"] = "no"
    notify_unproven_days: int | None = None
    heartbeat_url: Secret | None = None
    http_listen: Listen | None = Listen("0.0.0.0", 8080)  # noqa: S104 -- the container's own network
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    sources: dict[str, Source] = {}

    def is_set(self, field: str) -> bool:
        """Whether a value was given for the field (an empty one counts only where it turns a default off)."""
        return field in self.sources

    @property
    def timezone(self) -> tzinfo:
        """TZ: schedules are meant in it, and days begin in it."""
        return values.timezone(self.tz)


def load(
    environment: Mapping[str, str],
    *,
    check_database_url: Callable[[str], object] | None = None,
    check_recipients: Callable[[Sequence[str]], object] | None = None,
    check_identity: Callable[[str], object] | None = None,
) -> Settings:
    """Read every setting from NAME, or from the file that NAME_FILE names.

    `check_database_url` raises `ConfigurationError` for a database URL that is wrong: its reader is an adapter,
    which settings don't know. `check_recipients` and `check_identity` raise `ValueError` for keys that look right and
    are none. Raises one `ConfigurationError` with a line for each problem.
    """
    checks: _Checks = {
        secret.database_url: lambda value: check_database_url and check_database_url(value.reveal()),
        values.recipients: lambda value: check_recipients and check_recipients(value),
        values.identity: lambda value: check_identity and check_identity(value.reveal()),
    }
    read, sources, problems = _read_all(_READERS, environment, checks)
    problems += _contradictions(sources)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return Settings(**read, sources=sources)


def load_some(environment: Mapping[str, str], fields: Collection[str]) -> tuple[Settings, list[str]]:
    """These settings alone, each that is wrong at its default; and what is wrong with them, a line each."""
    read, sources, problems = _read_all(fields, environment, {})
    return Settings(**read, sources={field: sources[field] for field in read}), problems


def _read_all(
    fields: Collection[str], environment: Mapping[str, str], checks: _Checks
) -> tuple[dict[str, Any], dict[str, Source], list[str]]:
    read: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    problems: list[str] = []
    for field in fields:
        try:
            text, source = find(field.upper(), environment)
        except Problem as problem:
            problems.append(str(problem))
            sources[field] = "file"
            continue
        if source == "default" or (not text and field not in _WHEN_EMPTY):
            continue
        sources[field] = source
        try:
            read[field] = _read(field, text, source, checks)
        except Problem as problem:
            problems.append(str(problem))
    return read, sources, problems


def describe(settings: Settings) -> list[tuple[str, str, Source]]:
    """For people: each setting's NAME, its value with secrets hidden, and where it comes from."""
    return [
        (field.upper(), _shown(getattr(settings, field)), settings.sources.get(field, "default")) for field in _READERS
    ]


def secrets(settings: Settings) -> list[str]:
    """Every spelling of a secret that must appear in no log; for `report.log.configure`."""
    every = [getattr(settings, field) for field in _READERS]
    found = [one for value in every for one in (value if isinstance(value, tuple) else (value,))]
    return [spelling for one in found if isinstance(one, Secret) for spelling in one.spellings()]


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """A warning for each variable that looks like a setting and is none (RETENTION_DAY, BACKUP_DIRR)."""
    names = [name for field in _READERS for name in (field.upper(), f"{field.upper()}_FILE")]
    unknown = [
        name
        for name in sorted(environment)
        if name.startswith(_PREFIXES) and name not in names and not _KUBERNETES.fullmatch(name)
    ]
    if not unknown:
        return []
    from difflib import get_close_matches

    warnings = []
    for name in unknown:
        ending = [known for known in names if name.endswith(f"_{known}")]
        meant = ending or get_close_matches(name, names, n=1, cutoff=0.81)
        warnings += [f"{name} is no setting; did you mean {known}?" for known in meant[:1]]
    return warnings


def _read(field: str, text: str, source: Source, checks: _Checks) -> Any:
    if not text:
        return _WHEN_EMPTY[field]
    reader = _READERS[field]
    # A file may be the wrong one, and its content a secret.
    is_open = reader not in _SECRET_READERS and source != "file" and may_be_shown(text)
    value = f"is {text[:200]!r}" if is_open else "(value hidden)"
    try:
        found = reader(text if reader is Secret else text.strip())
        if reader in checks:
            checks[reader](found)
    except ConfigurationError as error:
        raise Problem(f"{field.upper()} {value}: {error}") from None
    except ValueError as error:
        raise Problem(f"{field.upper()} {value}: must be {error}") from None
    return found


def _contradictions(given: Mapping[str, Source]) -> Iterator[str]:
    """What each setting allows and all of them together don't. A wrong value counts as given."""
    s3 = sorted(field for field in given if field.startswith("s3_"))
    if s3 and "s3_bucket" not in given:
        yield f"S3_BUCKET is not set: must be, for {', '.join(s3).upper()} to mean anything"
    for field, needed in _NEEDS:
        if field in given and needed not in given:
            yield f"{needed.upper()} is not set: must be, because {field.upper()} is"


def _shown(value: object) -> str:
    if value is None or value == ():
        return "none"
    return ", ".join(map(str, value)) if type(value) is tuple else str(value)


_age = values.number(0, 36500)
_count = values.number(0, 10000)
_name = values.text(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a name: letters, digits, _ . -")

_READERS: dict[str, Callable[[str], Any]] = {
    "database_url": secret.database_url,
    "database_tls": values.choice("off", "preferred", "required", "verify"),
    "database_ca_file": values.readable_file,
    "database_connections": values.number(1, 16),
    "kimai_service": _name,
    "kimai_container": _name,
    "kimai_dir": Path,
    "kimai_url": secret.http_url,
    "backup_instance": values.text(r"[a-z0-9_-]{1,100}", "a-z, 0-9, _ and -, at most 100 of them"),
    "backup_dir": Path,
    "backup_state_dir": Path,
    "backup_schedule": values.schedule,
    "backup_jitter": values.number(0, 720),
    "verify_schedule": values.schedule,
    "tz": values.timezone_name,
    "backup_encrypt_to": values.recipients,
    "backup_identity": values.identity,
    "retention_days": _age,
    "retention_min_keep": _count,
    "retention_daily": _count,
    "retention_weekly": _count,
    "retention_monthly": _count,
    "retention_yearly": _count,
    "s3_retention_days": _age,
    "s3_retention_min_keep": _count,
    "s3_retention_daily": _count,
    "s3_retention_weekly": _count,
    "s3_retention_monthly": _count,
    "s3_retention_yearly": _count,
    "s3_bucket": values.text(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}|arn:[!-~]+", "a bucket's name or ARN alone"),
    "s3_prefix": values.prefix,
    "s3_endpoint_url": secret.http_url,
    "s3_region": values.text(r"[A-Za-z0-9_-]+", "a region such as eu-central-1"),
    "s3_access_key_id": Secret,
    "s3_secret_access_key": Secret,
    "s3_ca_file": values.readable_file,
    "s3_storage_class": values.text(r"[A-Z0-9_]+", "a storage class such as STANDARD_IA"),
    "s3_sse": values.choice("AES256", "aws:kms", "aws:kms:dsse"),
    "s3_sse_kms_key_id": values.text(r"[!-~]+", "a key's id, alias or ARN"),
    "s3_object_lock_mode": values.choice("GOVERNANCE", "COMPLIANCE"),
    "s3_object_lock_days": values.number(1, 36500),
    "retry_deadline": values.number(0, 86400),
    "drill_database_url": secret.database_url,
    "drill_schedule": values.schedule,
    "notify_urls": values.service_urls,
    "notify_success": values.choice("yes", "no"),
    "notify_unproven_days": values.number(1, 3650),
    "heartbeat_url": secret.ping_url,
    "http_listen": values.listen,
    "log_level": values.choice("debug", "info", "warning", "error"),
    "log_format": values.choice("auto", "json", "text"),
}

# Empty turns these off. RETENTION_DAYS of none deletes nothing, which 60 would; the rest keep their default.
_WHEN_EMPTY: dict[str, Any] = {"backup_dir": None, "backup_schedule": None, "retention_days": 0, "http_listen": None}

_SECRET_READERS = (Secret, secret.database_url, secret.ping_url, values.identity, values.service_urls)

# The first means nothing without the second.
_NEEDS = (
    ("s3_access_key_id", "s3_secret_access_key"),
    ("s3_secret_access_key", "s3_access_key_id"),
    ("s3_object_lock_mode", "s3_object_lock_days"),
    ("s3_object_lock_days", "s3_object_lock_mode"),
    ("s3_sse_kms_key_id", "s3_sse"),
    ("drill_schedule", "drill_database_url"),
    ("notify_success", "notify_urls"),
    ("notify_unproven_days", "notify_urls"),
)

# What Kubernetes puts into every container for a service called `kimai`: KIMAI_SERVICE_HOST, KIMAI_PORT_8001_TCP.
_KUBERNETES = re.compile(r"\w+_(?:SERVICE_(?:HOST|PORT)\w*|PORT(?:_[0-9]+_\w+)?)")
