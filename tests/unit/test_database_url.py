from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.database.url import DatabaseUrl, parse
from sidecar.errors import ConfigurationError

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NAME = TEXT.filter(bool)


def encoded(text: str) -> str:
    return quote(text, safe="")


def test_kimais_documented_url_is_read_whole() -> None:
    url = parse("mysql://user:p%40ss@sqldb:3307/kimai?charset=utf8mb4&serverVersion=8.3.0")
    assert url == DatabaseUrl(
        host="sqldb",
        port=3307,
        user="user",
        password="p@ss",
        database="kimai",
        charset="utf8mb4",
        server_version="8.3.0",
    )


@pytest.mark.parametrize(
    "scheme",
    ["mysql", "mysql2", "pdo-mysql", "pdo_mysql", "mysqli", "mariadb", "mysql+pymysql", "MySQL"],
)
def test_every_scheme_of_a_mysql_is_taken(scheme: str) -> None:
    assert parse(f"{scheme}://u:p@db/kimai").database == "kimai"


@pytest.mark.parametrize("scheme", ["sqlite", "postgres", "postgresql", "pgsql", "mssql", "http", "mysqlx"])
def test_another_scheme_is_refused_by_its_name(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{scheme}://.*MySQL and MariaDB alone"):
        parse(f"{scheme}://u:sesame@db/kimai")


def test_sqlites_file_url_is_refused_for_its_scheme() -> None:
    with pytest.raises(ConfigurationError, match="sqlite://"):
        parse("sqlite:///var/data/kimai.sqlite")


def test_without_a_port_it_is_3306() -> None:
    assert parse("mysql://u:p@db/kimai").port == 3306
    assert parse("mysql://u:p@db:/kimai").port == 3306


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("[::1]", "::1", 3306),
        ("[2001:db8::7]:3307", "2001:db8::7", 3307),
        ("[fe80::1%25eth0]:1", "fe80::1%eth0", 1),
        ("kimai_sqldb-1.lan:65535", "kimai_sqldb-1.lan", 65535),
    ],
)
def test_addresses(address: str, host: str, port: int) -> None:
    url = parse(f"mysql://u:p@{address}/kimai")
    assert (url.host, url.port) == (host, port)


def test_a_plus_is_a_plus() -> None:
    url = parse("mysql://a+b:c+d@db/e+f")
    assert (url.user, url.password, url.database) == ("a+b", "c+d", "e+f")


def test_a_password_may_hold_raw_colons_and_at_signs_as_in_php() -> None:
    url = parse("mysql://u:a:b@c:d@db/kimai")
    assert (url.user, url.password, url.host) == ("u", "a:b@c:d", "db")


def test_a_percent_sign_that_encodes_nothing_stays() -> None:
    assert parse("mysql://u:50%off%@db/kimai").password == "50%off%"


def test_no_password_and_no_user() -> None:
    assert parse("mysql://u@db/kimai").password == ""
    assert parse("mysql://db/kimai").user == ""


@pytest.mark.parametrize("authority", ["u:p@localhost", "u:p@"])
def test_a_socket_needs_no_host(authority: str) -> None:
    url = parse(f"mysql://{authority}/kimai?unix_socket=%2Frun%2Fmysqld%2Fmysqld.sock&sslmode=x")
    assert (url.host, url.unix_socket) == ("localhost", "/run/mysqld/mysqld.sock")


def test_the_query_wins_over_the_rest_as_in_doctrine() -> None:
    url = parse("mysql://u:p@db:1/x?host=%3A%3A1&port=2&user=a%20b&password=c%26d&dbname=y")
    assert (url.host, url.port, url.user, url.password, url.database) == ("::1", 2, "a b", "c&d", "y")


def test_a_url_is_taken_with_the_newline_of_its_file() -> None:
    assert parse("mysql://u:p@db/kimai\n").database == "kimai"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "is not a URL"),
        ("kimai", "is not a URL"),
        ("mysql:host=db;dbname=kimai;password=sesame", "is not a URL"),
        ('"mysql://u:sesame@db/kimai"', "quotation mark"),
        ("mysql://u:sesame@/kimai", "names no host"),
        ("mysql:///kimai", "names no host"),
        ("mysql://u:sesame@db", "names no database"),
        ("mysql://u:sesame@db/", "names no database"),
        ("mysql://u:sesame@db/?charset=utf8mb4", "names no database"),
        ("mysql://u:sesame@db:0/kimai", "port"),
        ("mysql://u:sesame@db:65536/kimai", "port"),
        ("mysql://u:sesame@db/kimai?port=%D9%A3", "port"),
        ("mysql://u:sesame@db:mysql/kimai", "host and port"),
        ("mysql://u:sesame@::1/kimai", "host and port"),
        ("mysql://u:sesame@d b/kimai", "host that can't be one"),
        ("mysql://u:sesame@[db]/kimai", "host that can't be one"),
        ("mysql://u:sesame%FF@db/kimai", "password that isn't UTF-8"),
        ("mysql://u%00:sesame@db/kimai", "NUL in its user"),
        ("mysql://u:sesame@db/%00", "NUL in its database name"),
        ("mysql://u:%env(sesame)%@db/kimai", "placeholder"),
        ("%env(DATABASE_URL)%", "placeholder"),
        ("sqlite:///%kernel.project_dir%/var/data.db", "is a sqlite:// URL"),
    ],
)
def test_nonsense_is_refused_with_its_reason_and_without_the_password(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(url)
    assert reason in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert caught.value.mend


@pytest.mark.parametrize("password", ["12/sesame", "12#sesame", "12?sesame", "se/same", "se#same", "se?same", "/", "#"])
def test_a_password_that_is_not_encoded_never_becomes_another_database(password: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ncode|host:3306/database"):
        parse(f"mysql://u:{password}@db/kimai")


@given(user=TEXT, password=TEXT, database=NAME)
def test_whatever_is_percent_encoded_comes_back(user: str, password: str, database: str) -> None:
    url = parse(f"mysql://{encoded(user)}:{encoded(password)}@db/{encoded(database)}")
    assert (url.user, url.password, url.database) == (user, password, database)


@given(password=TEXT, socket=NAME)
def test_whatever_is_encoded_in_the_query_comes_back(password: str, socket: str) -> None:
    url = parse(f"mysql://u@db/kimai?password={quote_plus(password)}&unix_socket={quote_plus(socket)}")
    assert (url.password, url.unix_socket) == (password, socket)


@given(middle=st.text(max_size=40))
def test_whatever_the_password_it_is_read_or_refused_and_never_shown(middle: str) -> None:
    secret = f"sesame{middle}"
    try:
        url = parse(f"mysql://u:{secret}@db/kimai")
        shown = repr(url) + url.redacted
    except ConfigurationError as error:
        shown = str(error)
    assert "sesame" not in shown


@given(user=NAME, password=NAME, database=NAME, host=st.sampled_from(["db", "::1", "10.0.0.1"]))
def test_the_redacted_url_leads_to_the_same_place_without_the_password(
    user: str, password: str, database: str, host: str
) -> None:
    url = DatabaseUrl(host=host, user=user, password=f"sesame{password}", database=database, unix_socket="/run/my.sock")
    again = parse(url.redacted)
    assert (again.host, again.user, again.database, again.unix_socket) == (
        host,
        user,
        database,
        "/run/my.sock",
    )
    assert again.password == "***"
    assert "sesame" not in url.redacted
