"""Whose requests count together: those to one service, and of these, those with one token.

A service has one spelling here, whatever a base URL calls it: names that are known to lead to the same service share
one record. The token itself is never kept.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from bulk_export.core.credentials import Token

LOOPBACK = "127.0.0.1"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Other names of services that count the requests to all their names together.
_ALIASES = {"sandbox.register-npq.education.gov.uk": "npq-registration-sandbox-web.teacherservices.cloud"}
_LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"}
# The unspecified addresses lead to this machine when they are connected to.
_LOOPBACK_ADDRESSES = {LOOPBACK, "::1", "0.0.0.0", "::"}  # noqa: S104 - compared, not listened on


@dataclass(frozen=True, slots=True)
class RateLimitKey:
    """Identifies a token at a service within one ledger.

    Attributes:
        service: Origin of the service: scheme, host and port in one spelling.
        token: Keyed hash of the token.
        number: Number for both: the limit on the service counts by it.
        service_number: Number for the service alone: the limit on an address counts by it, whatever the token.
    """

    service: str
    token: str
    number: int
    service_number: int

    @classmethod
    def of(cls, secret: bytes, base_url: str, token: Token | None) -> Self:
        """Return the key of a token at a service. `secret` is that of the ledger, so that hashes cannot be compared."""
        revealed = token.reveal() if token is not None else ""
        hashed_token = hmac.digest(secret, revealed.encode(), hashlib.sha256).hex()[:16]
        return cls.of_hashed(secret, service_origin(base_url), hashed_token)

    @classmethod
    def of_hashed(cls, secret: bytes, service: str, hashed_token: str) -> Self:
        """Return the key of a service's origin and the keyed hash of a token."""
        return cls(
            service=service,
            token=hashed_token,
            number=_number(secret, f"{service}\0{hashed_token}"),
            service_number=_number(secret, service),
        )


def service_origin(base_url: str) -> str:
    """Return scheme, host and port in one spelling: everything below one origin shares its limits.

    >>> service_origin("HTTPS://Example.org.:443/api/v3")
    'https://example.org'
    """
    parts = urlsplit(base_url.strip())
    scheme, host = parts.scheme.lower(), canonical_host(parts.hostname or "")
    port = parts.port or _DEFAULT_PORTS.get(scheme, 0)
    bracketed = f"[{host}]" if ":" in host else host
    return f"{scheme}://{bracketed}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{bracketed}:{port}"


def canonical_host(host: str) -> str:
    """Return a host in one spelling, under the first of the names that it is known to have.

    >>> canonical_host("LocalHost."), canonical_host("0x7f.1")
    ('127.0.0.1', '127.0.0.1')
    """
    name = host.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return name
    name = _ALIASES.get(name, name)
    address = _ip_address(name)
    if address in _LOOPBACK_ADDRESSES or name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return LOOPBACK
    return address or name


def _ip_address(name: str) -> str | None:
    """Return an IP address in its usual spelling, None for a name. 127.1 and 2130706433 are addresses, too."""
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


def _number(secret: bytes, text: str) -> int:
    """Return 63 bits of a keyed hash: SQLite's integers have a sign."""
    return int.from_bytes(hmac.digest(secret, text.encode(), hashlib.sha256)[:8]) >> 1
