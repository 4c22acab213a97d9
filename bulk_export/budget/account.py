"""Whose requests are counted together: those to one service with one token. The token itself is never kept."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from bulk_export.credentials import Token

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Account:
    """`service` is the origin of an address, `token` a keyed hash of the token, `number` one of both."""

    service: str
    token: str
    number: int


def account(key: bytes, base_url: str, token: Token | None) -> Account:
    """The account of a token at a service. `key` is the secret of the place that keeps it."""
    origin = service_origin(base_url)
    secret = token.reveal() if token is not None else ""
    both = hmac.digest(key, f"{origin}\0{secret}".encode(), hashlib.sha256)
    return Account(
        service=origin,
        token=hmac.digest(key, secret.encode(), hashlib.sha256).hex()[:16],
        number=int.from_bytes(both[:8]) >> 1,
    )


def service_origin(base_url: str) -> str:
    """Scheme, host and port, in one spelling: what is under one address shares its limits."""
    parts = urlsplit(base_url.strip())
    scheme, host = parts.scheme.lower(), (parts.hostname or "").rstrip(".")
    port = parts.port or _PORTS.get(scheme, 0)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port == _PORTS.get(scheme) else f"{scheme}://{shown}:{port}"
