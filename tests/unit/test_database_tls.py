"""What TLS is in the way of, or the lack of it, is said in one line with its setting, not as a server that is gone."""

import ssl
from pathlib import Path

import pymysql
import pytest

from sidecar.database import tls
from sidecar.errors import ConfigurationError, Unreachable


def wrapped(cause: Exception) -> pymysql.err.OperationalError:
    """As PyMySQL hands on what a connection fails with."""
    error = pymysql.err.OperationalError(2003, f"Can't connect to MySQL server on 'sqldb' ({cause})")
    error.original_exception = cause  # type: ignore[attr-defined]
    return error


def distrusted(code: int, message: str) -> pymysql.err.OperationalError:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_code, cause.verify_message = code, message
    return wrapped(cause)


def told(error: Exception, asked_for: tls.Tls, ca_file: str | None = None) -> str:
    refusal = tls.refusal(error, "database mysql://k@sqldb", "sqldb", asked_for, ca_file)
    assert isinstance(refusal, Unreachable)
    assert "\n" not in str(refusal)
    assert str(refusal).startswith("database mysql://k@sqldb ")
    assert refusal.mend
    return str(refusal)


@pytest.mark.parametrize(
    ("error", "asked_for", "ca_file", "what"),
    [
        (distrusted(62, "Hostname mismatch"), "verify", "ca.pem", "its certificate is not for sqldb"),
        (distrusted(64, "IP address mismatch"), "verify", "ca.pem", "its certificate is not for sqldb"),
        (distrusted(10, "certificate has expired"), "verify", "ca.pem", "its certificate has expired"),
        (distrusted(20, "unable to get issuer"), "verify", "ca.pem", "of no authority in DATABASE_CA_FILE (unable"),
        (distrusted(18, "self-signed"), "verify", None, "of no authority that this system trusts (self-signed)"),
        (wrapped(ssl.SSLError(1, "[SSL] no protocols")), "required", None, "does not agree on TLS"),
        (pymysql.err.OperationalError(2026, "SSL is required"), "required", None, "no TLS, and DATABASE_TLS=required"),
        (
            pymysql.err.OperationalError(3159, "Insecure transport."),
            "off",
            None,
            "Insecure transport. Set DATABASE_TLS",
        ),
        (pymysql.err.OperationalError(1045, "Access denied"), "off", None, "can't sign in with DATABASE_TLS=off"),
    ],
)
def test_each_obstacle_has_its_words(error: Exception, asked_for: tls.Tls, ca_file: str | None, what: str) -> None:
    assert what in told(error, asked_for, ca_file)


@pytest.mark.parametrize(
    ("error", "asked_for"),
    [
        (pymysql.err.OperationalError(1045, "Access denied"), "preferred"),
        (wrapped(ConnectionRefusedError(111, "Connection refused")), "verify"),
        (ConnectionResetError(104, "Connection reset"), "required"),
    ],
)
def test_what_is_no_matter_of_tls_is_left_to_others(error: Exception, asked_for: tls.Tls) -> None:
    assert tls.refusal(error, "database", "sqldb", asked_for, None) is None


def test_a_ca_file_without_a_certificate_is_a_wrong_setting(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("not a certificate")
    connection = pymysql.connect(host="nowhere", defer_connect=True)
    with pytest.raises(ConfigurationError, match=r"DATABASE_CA_FILE: .*ca\.pem holds no certificate"):
        tls.prepare(connection, "verify", str(path))
