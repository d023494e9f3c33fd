"""TLS to the database server by DATABASE_TLS: none, where it can be had, required, or with the server's name proven."""

import ssl
from functools import lru_cache
from typing import Any, Literal

import pymysql
from pymysql.constants import CR, ER

from sidecar.errors import ConfigurationError, Unreachable

Tls = Literal["off", "preferred", "required", "verify"]

_EXPIRED = 10
_OTHER_NAME = {62, 64}
"""OpenSSL's numbers for what is wrong with a certificate; 64 is an address, not a name."""
_INSECURE_TRANSPORT = 3159


def prepare(connection: Any, tls: Tls, ca_file: str | None) -> None:
    """Tell an unconnected PyMySQL connection what TLS to ask for; a socket of this machine needs none.

    Only `required` and `verify` fail where the server has none. PyMySQL's own way reads the system's whole list of
    authorities for each connection, even where nothing is verified: 20 ms each. Raises `ConfigurationError` where the
    CA file holds no certificate.
    """
    wanted = tls in ("required", "verify")
    if tls == "off" or (connection.unix_socket and not wanted):
        return
    connection.ssl = True
    connection.ctx = _context(tls == "verify", ca_file)
    connection._ssl_required = wanted


@lru_cache(maxsize=4)
def _context(verified: bool, ca_file: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verified
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    if verified and ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # SSLError is one
            raise ConfigurationError(
                f"DATABASE_CA_FILE: {ca_file} holds no certificate that can be read ({error.strerror or error})",
                mend="Give the certificate of the authority that signed the server's, as PEM.",
            ) from error
    elif verified:
        context.load_default_certs()
    return context


def refusal(error: Exception, where: str, host: str, tls: Tls, ca_file: str | None) -> Unreachable | None:
    """What to say of a connection that TLS, or the lack of it, is in the way of; None where it is something else."""
    code = error.args[0] if error.args else 0
    cause = getattr(error, "original_exception", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        what, mend = _distrusted(cause, host, ca_file)
        return Unreachable(f"{where} is not trusted: {what}", mend=mend)
    if isinstance(cause, ssl.SSLError):
        return Unreachable(f"{where} does not agree on TLS: {cause}", mend="Look at the server's TLS versions.")
    if not isinstance(error, pymysql.err.MySQLError):
        return None
    said = str(error.args[-1]).rstrip(".")
    if code == CR.CR_SSL_CONNECTION_ERROR:
        what = f"it has no TLS, and DATABASE_TLS={tls}"
        return Unreachable(f"{where} is not used: {what}", mend="Switch TLS on at the server, or use preferred.")
    if code == _INSECURE_TRANSPORT:
        return Unreachable(f"{where} refuses: {said}", mend="Set DATABASE_TLS to preferred, or more.")
    if code == ER.ACCESS_DENIED_ERROR and tls == "off":
        return Unreachable(
            f"{where} refuses: {said}",
            mend="Check user and password in DATABASE_URL; one who must use TLS can't sign in with DATABASE_TLS=off.",
        )
    return None


def _distrusted(cause: ssl.SSLCertVerificationError, host: str, ca_file: str | None) -> tuple[str, str]:
    if cause.verify_code in _OTHER_NAME:
        return f"its certificate is not for {host}", "Use a name in DATABASE_URL that the certificate holds."
    if cause.verify_code == _EXPIRED:
        return "its certificate has expired", "Give the server a new one."
    trusted = "in DATABASE_CA_FILE" if ca_file else "that this system trusts"
    return (
        f"its certificate is of no authority {trusted} ({cause.verify_message})",
        "Set DATABASE_CA_FILE to the certificate of the authority that signed the server's.",
    )
