"""Whose requests are counted together: those to one service, and of these, those with one token.

A service has one spelling here, whatever it is called in an address: names that are known to lead to the same
service share one record. The token itself is never kept.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from bulk_export.core.credentials import Token

_PORTS = {"http": 80, "https": 443}
# Names that lead to one service: the limits are counted there, not by name.
_OTHER_NAMES = {"sandbox.register-npq.education.gov.uk": "npq-registration-sandbox-web.teacherservices.cloud"}
LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"}
# The unspecified addresses lead to the same place when they are connected to.
_LOOPBACK_ADDRESSES = {LOOPBACK, "::1", "0.0.0.0", "::"}  # noqa: S104 - compared, not listened on


@dataclass(frozen=True, slots=True)
class RateLimitKey:
    """`service` is the origin of an address, `token` a keyed hash of the token.

    The limit on the whole service is counted by `number`, which stands for both; the limit on each address by
    `service_number`, which stands for the service alone: it holds whatever the token.
    """

    service: str
    token: str
    number: int
    service_number: int


def account(key: bytes, base_url: str, token: Token | None) -> RateLimitKey:
    """The account of a token at a service. `key` is the secret of the place that keeps it."""
    secret = token.reveal() if token is not None else ""
    return account_of(key, service_origin(base_url), hmac.digest(key, secret.encode(), hashlib.sha256).hex()[:16])


def account_of(key: bytes, service: str, hashed_token: str) -> RateLimitKey:
    """The account of a service and the keyed hash of a token."""
    return RateLimitKey(
        service=service,
        token=hashed_token,
        number=_number(key, f"{service}\0{hashed_token}"),
        service_number=_number(key, service),
    )


def service_origin(base_url: str) -> str:
    """Scheme, host and port, in one spelling: what is under one address shares its limits."""
    parts = urlsplit(base_url.strip())
    scheme, host = parts.scheme.lower(), host_name(parts.hostname or "")
    port = parts.port or _PORTS.get(scheme, 0)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port == _PORTS.get(scheme) else f"{scheme}://{shown}:{port}"


def host_name(host: str) -> str:
    """A host in one spelling, under the first of the names that it is known to have."""
    name = host.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return name
    name = _OTHER_NAMES.get(name, name)
    address = _numeric(name)
    if address in _LOOPBACK_ADDRESSES or name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return LOOPBACK
    return address or name


def _numeric(name: str) -> str | None:
    """An IP address as it is usually written, None for a name. The system reads 127.1 and 2130706433 as addresses."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        if not re.fullmatch(r"(0x[0-9a-f]+|\d+)(\.(0x[0-9a-f]+|\d+)){0,3}", name):
            return None
        try:
            return socket.inet_ntoa(socket.inet_aton(name))
        except OSError:
            return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _number(key: bytes, text: str) -> int:
    return int.from_bytes(hmac.digest(key, text.encode(), hashlib.sha256)[:8]) >> 1
