import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import secret
from sidecar.database.url import parse
from sidecar.errors import ConfigurationError
from sidecar.secret import Secret
from sidecar.settings import _READERS, Settings, describe, load, load_some, misspelt, secrets
from sidecar.values import Listen

AGE = "age1" + "q" * 58
AGE_TOO = "age1" + "z" * 58
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGkN"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ=="

DESIGN = [
    "DATABASE_URL",
    "DATABASE_TLS",
    "DATABASE_CA_FILE",
    "DATABASE_CONNECTIONS",
    "KIMAI_SERVICE",
    "KIMAI_CONTAINER",
    "KIMAI_DIR",
    "KIMAI_URL",
    "BACKUP_INSTANCE",
    "BACKUP_DIR",
    "BACKUP_STATE_DIR",
    "BACKUP_SCHEDULE",
    "BACKUP_JITTER",
    "VERIFY_SCHEDULE",
    "TZ",
    "BACKUP_ENCRYPT_TO",
    "BACKUP_IDENTITY",
    "RETENTION_DAYS",
    "RETENTION_MIN_KEEP",
    "RETENTION_DAILY",
    "RETENTION_WEEKLY",
    "RETENTION_MONTHLY",
    "RETENTION_YEARLY",
    "S3_RETENTION_DAYS",
    "S3_RETENTION_MIN_KEEP",
    "S3_RETENTION_DAILY",
    "S3_RETENTION_WEEKLY",
    "S3_RETENTION_MONTHLY",
    "S3_RETENTION_YEARLY",
    "S3_BUCKET",
    "S3_PREFIX",
    "S3_ENDPOINT_URL",
    "S3_REGION",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "S3_CA_FILE",
    "S3_STORAGE_CLASS",
    "S3_SSE",
    "S3_SSE_KMS_KEY_ID",
    "S3_OBJECT_LOCK_MODE",
    "S3_OBJECT_LOCK_DAYS",
    "RETRY_DEADLINE",
    "DRILL_DATABASE_URL",
    "DRILL_SCHEDULE",
    "NOTIFY_URLS",
    "NOTIFY_SUCCESS",
    "NOTIFY_UNPROVEN_DAYS",
    "HEARTBEAT_URL",
    "HTTP_LISTEN",
    "LOG_LEVEL",
    "LOG_FORMAT",
]

# One value that is right for each setting, and is not the default; read as the second.
RIGHT: dict[str, tuple[str, object]] = {
    "DATABASE_URL": ("mysql://u:sesame-db@db/kimai", Secret("mysql://u:sesame-db@db/kimai")),
    "DATABASE_TLS": ("VERIFY", "verify"),
    "DATABASE_CONNECTIONS": ("16", 16),
    "KIMAI_SERVICE": ("app", "app"),
    "KIMAI_CONTAINER": ("kimai-app_1.x", "kimai-app_1.x"),
    "KIMAI_DIR": ("/var/www/kimai", Path("/var/www/kimai")),
    "KIMAI_URL": ("https://kimai.example.com/", Secret("https://kimai.example.com/")),
    "BACKUP_INSTANCE": ("demo_1-a", "demo_1-a"),
    "BACKUP_DIR": ("/mnt/backups", Path("/mnt/backups")),
    "BACKUP_STATE_DIR": ("/state", Path("/state")),
    "BACKUP_SCHEDULE": ("*/15 3-5 * * MON", "*/15 3-5 * * MON"),
    "BACKUP_JITTER": ("30", 30),
    "VERIFY_SCHEDULE": ("0 5 * * SUN", "0 5 * * SUN"),
    "TZ": ("Europe/Berlin", "Europe/Berlin"),
    "BACKUP_ENCRYPT_TO": (f"{AGE}, {ED25519} me@laptop {AGE_TOO}", (AGE, ED25519, AGE_TOO)),
    "BACKUP_IDENTITY": ("AGE-SECRET-KEY-1SESAME", Secret("AGE-SECRET-KEY-1SESAME")),
    "RETENTION_DAYS": ("0", 0),
    "RETENTION_MIN_KEEP": ("7", 7),
    "RETENTION_DAILY": ("1", 1),
    "RETENTION_WEEKLY": ("2", 2),
    "RETENTION_MONTHLY": ("3", 3),
    "RETENTION_YEARLY": ("4", 4),
    "S3_RETENTION_DAYS": ("36500", 36500),
    "S3_RETENTION_MIN_KEEP": ("5", 5),
    "S3_RETENTION_DAILY": ("6", 6),
    "S3_RETENTION_WEEKLY": ("7", 7),
    "S3_RETENTION_MONTHLY": ("8", 8),
    "S3_RETENTION_YEARLY": ("9", 9),
    "S3_BUCKET": ("my-bucket.eu", "my-bucket.eu"),
    "S3_PREFIX": ("/kimai/demo/", "kimai/demo"),
    "S3_ENDPOINT_URL": ("http://u:sesame-s3@[::1]:9000", Secret("http://u:sesame-s3@[::1]:9000")),
    "S3_REGION": ("eu-central-1", "eu-central-1"),
    "S3_ACCESS_KEY_ID": ("AKIASESAME", Secret("AKIASESAME")),
    "S3_SECRET_ACCESS_KEY": ("/sesame+key", Secret("/sesame+key")),
    "S3_STORAGE_CLASS": ("STANDARD_IA", "STANDARD_IA"),
    "S3_SSE": ("aws:kms", "aws:kms"),
    "S3_SSE_KMS_KEY_ID": ("alias/kimai", "alias/kimai"),
    "S3_OBJECT_LOCK_MODE": ("governance", "GOVERNANCE"),
    "S3_OBJECT_LOCK_DAYS": ("30", 30),
    "RETRY_DEADLINE": ("60", 60),
    "DRILL_DATABASE_URL": ("mysql://u:sesame-drill@scratch/drill", Secret("mysql://u:sesame-drill@scratch/drill")),
    "DRILL_SCHEDULE": ("0 4 * * 0", "0 4 * * 0"),
    "NOTIFY_URLS": (
        "mailto://u:sesame-mail@example.com?to=a@b.c,d@e.f, tgram://12345:sesame-bot/7",
        (
            Secret("mailto://u:sesame-mail@example.com?to=a@b.c,d@e.f"),
            Secret("tgram://12345:sesame-bot/7"),
        ),
    ),
    "NOTIFY_SUCCESS": ("Yes", "yes"),
    "NOTIFY_UNPROVEN_DAYS": ("10", 10),
    "HEARTBEAT_URL": ("https://hc.example.com/sesame-uuid", Secret("https://hc.example.com/sesame-uuid")),
    "HTTP_LISTEN": ("[::1]:80", Listen("::1", 80)),
    "LOG_LEVEL": ("Debug", "debug"),
    "LOG_FORMAT": ("json", "json"),
}


def right_environment() -> dict[str, str]:
    return {name: text for name, (text, _) in RIGHT.items()}


def problems(environment: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(environment, check_database_url=parse)
    return str(caught.value).splitlines()


def with_what_it_needs(name: str, text: str) -> dict[str, str]:
    """The setting alone, with those that it means nothing without."""
    beside = {"S3_": ["S3_BUCKET"], "S3_SECRET": ["S3_ACCESS_KEY_ID"], "S3_ACCESS": ["S3_SECRET_ACCESS_KEY"]}
    beside |= {"S3_OBJECT": ["S3_OBJECT_LOCK_MODE", "S3_OBJECT_LOCK_DAYS"], "S3_SSE_": ["S3_SSE"]}
    beside |= {"DRILL_SCHEDULE": ["DRILL_DATABASE_URL"]}
    beside |= {"NOTIFY_SUCCESS": ["NOTIFY_URLS"], "NOTIFY_UNPROVEN_DAYS": ["NOTIFY_URLS"]}
    needed = [other for prefix, others in beside.items() if name.startswith(prefix) for other in others]
    return {other: RIGHT[other][0] for other in needed} | {name: text}


def test_every_setting_of_the_table_is_there_and_none_else() -> None:
    fields = [field.upper() for field in Settings.__struct_fields__ if field != "sources"]
    assert fields == [field.upper() for field in _READERS]
    assert sorted(fields) == sorted(DESIGN)
    assert sorted({*RIGHT, "DATABASE_CA_FILE", "S3_CA_FILE"}) == sorted(DESIGN)


def test_with_nothing_set_the_defaults_hold() -> None:
    settings = load({}, check_database_url=parse)
    assert settings == Settings()
    assert (settings.backup_dir, settings.kimai_dir) == (Path("/backups"), Path("/opt/kimai"))
    assert (settings.retention_days, settings.retention_min_keep, settings.s3_retention_days) == (60, 3, None)
    assert (settings.backup_schedule, settings.timezone, settings.database_connections) == ("10 1 * * *", UTC, 2)
    assert settings.http_listen == ("0.0.0.0", 8080)
    assert settings.backup_instance is None
    assert not any(settings.is_set(field) for field in _READERS)


@pytest.mark.parametrize("name", RIGHT)
def test_each_is_read_from_the_environment(name: str) -> None:
    text, value = RIGHT[name]
    settings = load(with_what_it_needs(name, text), check_database_url=parse)
    assert getattr(settings, name.lower()) == value
    assert settings.is_set(name.lower())


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("newline", ["", "\n", "\r\n"])
def test_each_is_read_from_its_file_without_the_newline(name: str, newline: str, tmp_path: Path) -> None:
    text, value = RIGHT[name]
    file = tmp_path / "value"
    file.write_bytes(text.encode() + newline.encode())
    environment = with_what_it_needs(name, text)
    del environment[name]
    settings = load(environment | {f"{name}_FILE": str(file)}, check_database_url=parse)
    assert getattr(settings, name.lower()) == value
    assert settings.sources[name.lower()] == "file"


def test_only_one_newline_is_taken_from_a_secret_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(" odd key \n\n")
    environment = {"S3_BUCKET": "bucket", "S3_ACCESS_KEY_ID": "id", "S3_SECRET_ACCESS_KEY_FILE": str(tmp_path / "key")}
    key = load(environment).s3_secret_access_key
    assert key is not None
    assert key.reveal() == " odd key \n"


def test_empty_turns_off_what_has_a_default_and_else_means_not_set() -> None:
    settings = load(dict.fromkeys(DESIGN, "") | {f"{name}_FILE": "" for name in DESIGN}, check_database_url=parse)
    off = Settings(backup_dir=None, backup_schedule=None, http_listen=None, retention_days=0)
    for field in _READERS:
        assert getattr(settings, field) == getattr(off, field)
    assert [field for field in _READERS if settings.is_set(field)] == [
        "backup_dir",
        "backup_schedule",
        "retention_days",
        "http_listen",
    ]


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    assert load({"RETENTION_DAYS": " 30 ", "BACKUP_INSTANCE": "  "}).retention_days == 30


WRONG = [
    ("DATABASE_URL", "sqlite:///sesame"),
    ("DATABASE_TLS", "on"),
    ("DATABASE_CONNECTIONS", "0"),
    ("DATABASE_CONNECTIONS", "17"),
    ("KIMAI_SERVICE", "a b"),
    ("KIMAI_CONTAINER", "/kimai"),
    ("KIMAI_URL", "kimai.example.com"),
    ("KIMAI_URL", "ftp://kimai.example.com"),
    ("KIMAI_URL", "https://"),
    ("BACKUP_INSTANCE", "Demo"),
    ("BACKUP_INSTANCE", "a/b"),
    ("BACKUP_INSTANCE", "a" * 101),
    ("BACKUP_SCHEDULE", "daily"),
    ("BACKUP_JITTER", "721"),
    ("VERIFY_SCHEDULE", "weekly"),
    ("BACKUP_SCHEDULE", "10 1 * *"),
    ("BACKUP_SCHEDULE", "0 10 1 * * *"),
    ("BACKUP_SCHEDULE", "60 1 * * *"),
    ("BACKUP_SCHEDULE", "0 0 31 2 *"),
    ("TZ", "Europe/Nowhere"),
    ("TZ", "Europe"),
    ("TZ", "../../etc/passwd"),
    ("BACKUP_ENCRYPT_TO", "age1short"),
    ("BACKUP_ENCRYPT_TO", AGE + "q"),
    ("BACKUP_ENCRYPT_TO", f"{AGE} someone"),
    ("BACKUP_ENCRYPT_TO", "ssh-ed25519"),
    ("BACKUP_ENCRYPT_TO", "ssh-dss AAAAB3"),
    ("BACKUP_ENCRYPT_TO", "# nobody"),
    ("BACKUP_IDENTITY", "sesame"),
    ("RETENTION_DAYS", "-1"),
    ("RETENTION_DAYS", "2.5"),
    ("RETENTION_DAYS", "36501"),
    ("RETENTION_DAYS", "٣"),
    ("RETENTION_DAYS", "1_0"),
    ("RETENTION_MIN_KEEP", "many"),
    ("S3_RETENTION_YEARLY", "x"),
    ("S3_BUCKET", "s3://bucket"),
    ("S3_BUCKET", "bucket/prefix"),
    ("S3_PREFIX", "a//b"),
    ("S3_PREFIX", "../a"),
    ("S3_ENDPOINT_URL", "minio:9000"),
    ("S3_REGION", "eu central"),
    ("S3_STORAGE_CLASS", "standard ia"),
    ("S3_SSE", "aes"),
    ("S3_SSE_KMS_KEY_ID", "a b"),
    ("S3_OBJECT_LOCK_MODE", "LEGAL"),
    ("S3_OBJECT_LOCK_DAYS", "0"),
    ("RETRY_DEADLINE", "5m"),
    ("DRILL_DATABASE_URL", "mysql://u:sesame@scratch"),
    ("DRILL_SCHEDULE", "weekly"),
    ("NOTIFY_URLS", "sesame@example.com"),
    ("HEARTBEAT_URL", "hc.example.com/sesame"),
    ("HTTP_LISTEN", "8080"),
    ("HTTP_LISTEN", "::1:8080"),
    ("HTTP_LISTEN", "0.0.0.0:65536"),
    ("LOG_LEVEL", "verbose"),
    ("LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_wrong_value_is_one_line_with_name_value_and_what_is_allowed(name: str, text: str) -> None:
    (line,) = problems(with_what_it_needs(name, text))
    assert line.startswith(f"{name} ")
    assert "sesame" not in line
    assert "must be " in line or "database" in line
    hidden = {"DATABASE_URL", "DRILL_DATABASE_URL", "BACKUP_IDENTITY", "NOTIFY_URLS", "HEARTBEAT_URL"}
    assert ("(value hidden)" in line) is (name in hidden)
    assert (repr(text[:200]) in line) is (name not in hidden)


def test_all_problems_are_told_at_once() -> None:
    lines = problems({"RETENTION_DAYS": "x", "TZ": "y", "DATABASE_URL": "mysql://db", "S3_REGION": "eu"})
    assert [line.split()[0] for line in lines] == ["DATABASE_URL", "TZ", "RETENTION_DAYS", "S3_BUCKET"]


def test_a_missing_secret_file_is_an_error_and_never_unset(tmp_path: Path) -> None:
    (line,) = problems({"DATABASE_URL_FILE": str(tmp_path / "absent")})
    assert line.startswith(f"DATABASE_URL_FILE is '{tmp_path / 'absent'}': must be a file that can be read")


def test_an_empty_secret_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (line,) = problems({"BACKUP_ENCRYPT_TO_FILE": str(tmp_path / "empty")})
    assert "with something in it" in line


def test_a_folder_a_pipe_a_binary_and_an_endless_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    lines = problems(
        {
            "BACKUP_INSTANCE_FILE": str(tmp_path),
            "BACKUP_IDENTITY_FILE": str(tmp_path / "pipe"),
            "KIMAI_URL_FILE": str(tmp_path / "binary"),
            "DATABASE_URL_FILE": str(tmp_path / "large"),
            "DATABASE_CA_FILE": str(tmp_path / "pipe"),
            "DRILL_DATABASE_URL_FILE": "/dev/zero",
        }
    )
    assert {line.split()[0]: line.split("must be ")[1] for line in lines} == {
        "BACKUP_INSTANCE_FILE": "a regular file",
        "BACKUP_IDENTITY_FILE": "a regular file",
        "KIMAI_URL_FILE": "a file of UTF-8 text",
        "DATABASE_URL_FILE": "a file of at most 1 MiB",
        "DATABASE_CA_FILE": "a regular file",
        "DRILL_DATABASE_URL_FILE": "a regular file",
    }


@pytest.mark.parametrize("text", ["mysql://u:sesame@db/kimai", "AGE-SECRET-KEY-1SESAME", "sesame", "/sesame@x"])
def test_a_secret_put_where_its_files_name_belongs_is_not_shown(text: str) -> None:
    (line,) = problems({"BACKUP_IDENTITY_FILE": text})
    assert "sesame" not in line.lower()


@pytest.mark.parametrize("text", ["AGE-SECRET-KEY-1SESAME", "http//u:sesame@kimai"])
def test_a_secret_in_the_wrong_setting_is_not_shown(text: str) -> None:
    lines = problems({"BACKUP_ENCRYPT_TO": text, "KIMAI_URL": text, "TZ": text})
    assert len(lines) == 3
    assert "sesame" not in "\n".join(lines).lower()


def test_a_wrong_value_out_of_a_file_is_not_shown_for_it_may_be_the_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("sesame")
    (line,) = problems({"RETENTION_DAYS_FILE": str(tmp_path / "file")})
    assert line == "RETENTION_DAYS (value hidden): must be a whole number from 0 to 36500"


def test_name_and_file_together_are_refused_and_one_of_them_empty_is_fine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("30")
    file = str(tmp_path / "file")
    (line,) = problems({"RETENTION_DAYS": "30", "RETENTION_DAYS_FILE": file})
    assert line == "RETENTION_DAYS and RETENTION_DAYS_FILE are both set: unset one of them"
    assert load({"RETENTION_DAYS": "", "RETENTION_DAYS_FILE": file}).retention_days == 30
    assert load({"RETENTION_DAYS": "31", "RETENTION_DAYS_FILE": ""}).retention_days == 31


@pytest.mark.parametrize("name", ["DATABASE_CA_FILE", "S3_CA_FILE"])
def test_the_ca_file_must_be_readable(tmp_path: Path, name: str) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    environment = {"DATABASE_TLS": "verify", "S3_BUCKET": "bucket", name: str(tmp_path / "ca.pem")}
    assert getattr(load(environment), name.lower()) == tmp_path / "ca.pem"
    (line,) = problems(environment | {name: str(tmp_path / "absent.pem")})
    assert line.startswith(f"{name} is ")
    assert "absent.pem" in line


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("S3_REGION", "S3_BUCKET"),
        ("S3_RETENTION_DAYS", "S3_BUCKET"),
        ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"),
        ("S3_SECRET_ACCESS_KEY", "S3_ACCESS_KEY_ID"),
        ("S3_OBJECT_LOCK_MODE", "S3_OBJECT_LOCK_DAYS"),
        ("S3_OBJECT_LOCK_DAYS", "S3_OBJECT_LOCK_MODE"),
        ("S3_SSE_KMS_KEY_ID", "S3_SSE"),
        ("DRILL_SCHEDULE", "DRILL_DATABASE_URL"),
    ],
)
def test_what_means_nothing_without_another_setting_says_which(given: str, missing: str) -> None:
    environment = with_what_it_needs(given, RIGHT[given][0])
    del environment[missing]
    (line,) = problems(environment)
    assert line.startswith(f"{missing} is not set")
    assert given in line


def test_a_wrong_bucket_is_not_told_as_missing_too() -> None:
    (line,) = problems({"S3_BUCKET": "s3://x", "S3_REGION": "eu"})
    assert line.startswith("S3_BUCKET is 's3://x'")


def test_the_time_zone_is_one() -> None:
    assert load({"TZ": "Europe/Berlin"}).timezone == ZoneInfo("Europe/Berlin")


def test_recipients_are_read_as_age_reads_its_files() -> None:
    text = f"# us, all of us\n{AGE}\n\n{ED25519} me, too@home\n{RSA} {AGE_TOO},{AGE}"
    with pytest.raises(ConfigurationError, match="BACKUP_ENCRYPT_TO"):
        load({"BACKUP_ENCRYPT_TO": text})
    expected = (AGE, ED25519, RSA, AGE_TOO, AGE)
    assert load({"BACKUP_ENCRYPT_TO": text.replace("me, too", "me too")}).backup_encrypt_to == expected


def test_nothing_printed_of_the_settings_holds_a_secret() -> None:
    settings = load(right_environment(), check_database_url=parse)
    table = describe(settings)
    printed = repr(settings) + str(table) + f"{settings.s3_secret_access_key:>20}{settings.database_url!s}"
    assert "sesame" not in printed.lower()
    assert "AKIA" not in printed


def test_the_table_for_people_tells_value_and_source(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("mysql://kimai:p%40ss@[::1]:3307/kimai?charset=utf8mb4&password=x\n")
    environment = right_environment() | {"DATABASE_URL": "", "DATABASE_URL_FILE": str(tmp_path / "url"), "TZ": ""}
    rows = {name: (shown, source) for name, shown, source in describe(load(environment))}
    assert list(rows) == [field.upper() for field in _READERS]
    assert rows["DATABASE_URL"] == ("mysql://kimai:***@[::1]:3307/kimai?charset=utf8mb4&password=***", "file")
    assert rows["TZ"] == ("UTC", "default")
    assert rows["DATABASE_CA_FILE"] == ("none", "default")
    assert rows["S3_ENDPOINT_URL"] == ("http://***@[::1]:9000", "environment")
    assert rows["S3_SECRET_ACCESS_KEY"] == ("***", "environment")
    assert rows["KIMAI_URL"] == ("https://kimai.example.com/", "environment")
    assert rows["NOTIFY_URLS"] == ("mailto://***, tgram://***", "environment")
    assert rows["HEARTBEAT_URL"] == ("https://hc.example.com/***", "environment")
    assert rows["HTTP_LISTEN"] == ("[::1]:80", "environment")
    assert rows["BACKUP_ENCRYPT_TO"] == (f"{AGE}, {ED25519}, {AGE_TOO}", "environment")


def test_the_log_is_told_every_spelling_of_every_secret() -> None:
    told = secrets(load(right_environment() | {"DATABASE_URL": "mysql://u:p%40ss@db/kimai?password=q%2Fr"}))
    assert {"p%40ss", "p@ss", "q%2Fr", "q/r", "sesame-drill", "sesame-s3", "sesame-mail", "sesame-bot"} <= {*told}
    assert {"sesame-uuid", "AKIASESAME", "/sesame+key", "AGE-SECRET-KEY-1SESAME"} <= {*told}
    assert "https://kimai.example.com/" not in told
    assert "" not in told


@given(
    password=st.text(max_size=30), rest=st.sampled_from(["", "/kimai", "/kimai?charset=utf8mb4", "?password=sesame"])
)
def test_whatever_the_password_a_database_url_shows_none_of_it(password: str, rest: str) -> None:
    assert "sesame" not in str(secret.database_url(f"mysql://u:sesame{password}@db{rest}"))


@pytest.mark.parametrize("make", [secret.http_url, secret.ping_url])
def test_an_http_url_shows_neither_user_nor_password(make: type[Secret]) -> None:
    url = make("https://sesame-user:sesame%40word@example.com:8443/path-of-token?x=1")
    assert "sesame" not in str(url)
    assert "@example.com" not in str(url) or "***@example.com" in str(url)


def test_secrets_are_equal_by_value_and_never_equal_to_text() -> None:
    assert Secret("a") == Secret("a", "shown")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a", "shown")}) == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RETENTION_DAY", "RETENTION_DAYS"),
        ("BACKUP_DIRR", "BACKUP_DIR"),
        ("BACKUP_RETENTION_DAYS", "RETENTION_DAYS"),
        ("S3_BUKCET", "S3_BUCKET"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("KIMAI_CONTANER", "KIMAI_CONTAINER"),
        ("DATABASE_URL_FIEL", "DATABASE_URL_FILE"),
    ],
)
def test_what_looks_like_a_misspelling_is_warned_of_and_no_error(name: str, meant: str) -> None:
    (warning,) = misspelt({name: "x", "PATH": "/bin"})
    assert re.fullmatch(rf"{name} is no setting; did you mean ({meant})\?", warning)
    assert load({name: "x"}) == Settings()


def test_variables_that_are_others_are_left_in_peace() -> None:
    others = ["PATH", "DATABASE_HOST", "KIMAI_SERVICE_HOST", "KIMAI_SERVICE_PORT_HTTP", "KIMAI_PORT_8001_TCP_ADDR"]
    others += ["KIMAI_PORT", "KIMAI_SAMPLE_SQL", "KIMAI_SAMPLE_FILES", "S3_COMPATIBLE", "RETENTIONDAYS"]
    known = [name for field in _READERS for name in (field.upper(), f"{field.upper()}_FILE")]
    assert misspelt(dict.fromkeys([*others, *known], "x")) == []


def test_reading_the_defaults_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sidecar.settings import load; load({})\n"
        "print(*({'zoneinfo', 'cronsim', 'difflib', 'rich', 'pymysql'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, timeout=30, capture_output=True, text=True)
    assert ran.stdout.strip() == ""


def test_some_of_them_are_read_whatever_the_others_are() -> None:
    environment = {
        "TZ": "Mars/Olympus",
        "NOTIFY_SUCCESS": "yes",
        "S3_ACCESS_KEY_ID_FILE": "/nowhere",
        "LOG_LEVEL": "debug",
    }
    found, problems = load_some(environment, ["tz", "notify_success", "log_level"])
    assert (found.tz, found.notify_success, found.log_level) == ("UTC", "yes", "debug")
    [problem] = problems
    assert problem.startswith("TZ is 'Mars/Olympus': must be")
    assert found.is_set("log_level")
    assert not found.is_set("tz")
