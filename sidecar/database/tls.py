"""TLS to the database server by DATABASE_TLS: none, where it can be had, required, or with the server's name proven."""

import ssl
from functools import lru_cache
from typing import Any, Literal

Tls = Literal["off", "preferred", "required", "verify"]


def prepare(connection: Any, tls: Tls, ca_file: str | None) -> None:
    """Tell an unconnected PyMySQL connection what TLS to ask for; a socket of this machine needs none.

    Only `required` and `verify` fail where the server has none. PyMySQL's own way reads the system's whole list of
    authorities for each connection, even where nothing is verified: 20 ms each.
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
        context.load_verify_locations(cafile=ca_file)
    elif verified:
        context.load_default_certs()
    return context
