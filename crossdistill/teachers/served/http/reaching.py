"""Why a server cannot be reached, in words."""

import socket
import ssl
from collections.abc import Iterator

import httpx

from crossdistill.teachers.served.http.errors import Refused, Transient, Unreachable, shown

CONNECT_S = 10.0
"""Seconds for a connection during a run, when a busy server may be slow to accept it."""
FIRST_CONNECT_S = 2.5
"""Seconds for the first connection, for which a user waits."""


def lost(error: httpx.TransportError | OSError, url: str, connect_s: float = CONNECT_S) -> Transient | Refused:
    """The failure of a request that got no answer.

    Args:
        error: of the network.
        url: of the server.
        connect_s: seconds that were given to the connection.

    Example:
        >>> lost(httpx.ConnectTimeout(""), "http://teacher:8000", 2.5)
        Unreachable('no connection to teacher within 2.5 s: another address, or a firewall')
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Refused(None, f"the server's certificate is not trusted ({shown(error)}): name a ca_bundle")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unreachable(_reason(error, httpx.URL(url), connect_s), is_lost=True)
    return Transient(f"{type(error).__name__}: {shown(error)}", is_lost=True)


def _reason(error: Exception, url: httpx.URL, connect_s: float) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"the name {url.host} is not known to this machine"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return f"nothing listens at {url.host}, port {url.port or _DEFAULT_PORTS[url.scheme]}"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return f"what listens at {url.host} does not speak TLS: is it http, not https? ({shown(error)})"
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection to {url.host} within {connect_s:g} s: another address, or a firewall"
    return f"no connection to {url.host}: {shown(error)}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, those of several addresses too."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _causes(part)
    before = error.__cause__ or error.__context__
    if before is not None:
        yield from _causes(before)
