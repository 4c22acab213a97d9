"""Addresses that requests are sent to: which are accepted, and in which form."""

from __future__ import annotations

import pytest

from bulk_export.core.urls import check_base_url, is_loopback
from bulk_export.errors import UsageError


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("https://example.org", "https://example.org"),
        (" https://example.org/ ", "https://example.org"),
        ("https://EXAMPLE.org:8443/api/", "https://example.org:8443/api"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_address_is_normalised(given: str, wanted: str) -> None:
    """An address is given back in ASCII, without a trailing slash."""
    assert check_base_url(given) == wanted


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("example.org", "not an address"),
        ("ftp://example.org", "not an http or https address"),
        ("https://", "not an address"),
        ("https://exa_mple..org", "not an address"),
        ("https://example.org:0", "not an http or https address"),
        ("https://example.org:99999", "not an address"),
        ("https://user:secret@example.org", "must not hold a user name or password"),
        ("https://example.org?key=secret", "must not hold a query"),
        ("https://example.org/#secret", "must not hold a query"),
        ("https://example.org/a b", "must not hold a query"),
        ("http://example.org", "in clear over the network"),
    ],
)
def test_unusable_address_is_refused(given: str, reason: str) -> None:
    """An address that cannot be used is refused, and the message does not repeat a secret."""
    with pytest.raises(UsageError, match=reason) as refused:
        check_base_url(given)
    assert "secret" not in "\n".join(refused.value.lines())


def test_plain_http_needs_permission() -> None:
    assert check_base_url("http://example.org", allow_plain_http=True) == "http://example.org"


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("example.org", False)],
)
def test_loopback_is_recognised(host: str, wanted: bool) -> None:
    assert is_loopback(host) is wanted
