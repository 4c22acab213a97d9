"""Check and normalise addresses that requests are sent to."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urlsplit

from bulk_export.core.masking import without_password
from bulk_export.errors import UsageError

_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
_LONGEST_HOST = 253
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~"


def check_base_url(
    base_url: str, *, allow_plain_http: bool = False, option: str = "--base-url", shown: str | None = None
) -> str:
    """Check an address to send requests to, and normalise it.

    Args:
        base_url: The address as the user wrote it.
        allow_plain_http: Whether http may be used beyond this machine.
        option: The option that messages name.
        shown: How messages show the address, by default without anything that may be a password.

    Returns:
        The address in ASCII, without a trailing slash.

    Raises:
        UsageError: It is not an http or https address; has user, password, query, fragment or white space; or would
            carry the token over the network in clear text.
    """
    text = base_url.strip()
    advice = "Write it like https://example.org, without a query."
    shown = repr(without_password(text) if shown is None else shown)
    try:
        parts = urlsplit(text)
        host, port = _ascii_host(parts.hostname or ""), parts.port
    except ValueError:
        raise UsageError(f"{shown} is not an address.", next_step=advice) from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise UsageError(f"{shown} is not an http or https address.", next_step=advice)
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{option} must not hold a user name or password.", next_step=advice)
    if "?" in text or "#" in text or " " in text or not text.isprintable():
        raise UsageError(f"{option} must not hold a query, a fragment or white space.", next_step=advice)
    if parts.scheme == "http" and not allow_plain_http and not is_loopback(host):
        raise UsageError(
            f"http://{host} would carry the token in clear over the network.",
            next_step="Use https, or --allow-plain-http if the network is yours.",
        )
    netloc = (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
    return f"{parts.scheme}://{netloc}{quote(parts.path, safe=_SAFE_IN_PATH)}".rstrip("/")


def _ascii_host(host: str) -> str:
    """A host name in IDNA, or an IP address. Raises ValueError for anything else."""
    if ":" in host:
        return str(ipaddress.IPv6Address(host))
    encoded = host if host.isascii() else host.encode("idna").decode()
    if len(encoded) > _LONGEST_HOST or not all(map(_HOST_LABEL.fullmatch, encoded.removesuffix(".").split("."))):
        raise ValueError("not the name of a host")
    return encoded


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address is this machine's loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
