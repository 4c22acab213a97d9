"""Which base URLs are one service, and which tokens share its limits."""

from __future__ import annotations

import pytest

from bulk_export.core.credentials import Token
from bulk_export.extract.rate_limit.key import RateLimitKey, service_origin


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(
            [
                "http://127.0.0.1:8080",
                "http://localhost:8080/",
                "http://LocalHost.:8080",
                "http://[::1]:8080/api",
                "http://[0:0:0:0:0:0:0:1]:8080",
                "http://[::ffff:127.0.0.1]:8080",
                "http://127.1:8080",
                "http://2130706433:8080",
                "http://0x7f.0.0.1:8080",
                "http://service.localhost:8080",
                "http://0.0.0.0:8080",
            ],
            id="loopback",
        ),
        pytest.param(
            [
                "https://npq-registration-sandbox-web.teacherservices.cloud",
                "https://sandbox.register-npq.education.gov.uk",
                "https://Sandbox.Register-NPQ.education.gov.uk.:443/api/v3?x=1",
            ],
            id="sandbox",
        ),
        pytest.param(
            ["https://b\u00fccher.example", "https://B\u00dcCHER.example", "https://xn--bcher-kva.example"], id="IDNA"
        ),
        pytest.param(["https://[2001:DB8::1]", "https://[2001:db8:0:0::1]:443"], id="version 6"),
    ],
)
def test_service_aliases_share_key(names: list[str]) -> None:
    """All names and spellings of one service have the same key."""
    accounts = {RateLimitKey.of(b"k" * 32, name, Token("t")) for name in names}
    assert len(accounts) == 1


def test_different_services_differ() -> None:
    """Services that differ in scheme, host or port have different origins."""
    names = [
        "https://service.example",
        "http://service.example",
        "https://service.example:8443",
        "https://other.example",
        "https://127.0.0.1",
        "https://127.0.0.2",
        "https://10.0.0.1",
        "https://localhost.example",
    ]
    assert len({service_origin(name) for name in names}) == len(names)


def test_tokens_share_service_number() -> None:
    """Tokens at one service have numbers of their own, and share that of the service."""
    one, two, none = (
        RateLimitKey.of(b"k" * 32, "https://s.example", token) for token in (Token("1"), Token("2"), None)
    )
    assert len({one.number, two.number, none.number}) == 3
    assert one.service_number == two.service_number == none.service_number


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://Example.org:443/a/b?c", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:8080/", "http://example.org:8080"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
        ("https://example.org.", "https://example.org"),
    ],
)
def test_service_origin_is_normalised(address: str, origin: str) -> None:
    """A base URL in any spelling has the same origin."""
    assert service_origin(address) == origin


def test_keys_differ_and_hide_token() -> None:
    """Keys differ by secret, service and token, and do not hold the token."""
    one = RateLimitKey.of(b"k" * 32, "https://a", Token("secret-token"))
    assert one == RateLimitKey.of(b"k" * 32, "https://A/", Token("secret-token"))
    others = [
        RateLimitKey.of(b"l" * 32, "https://a", Token("secret-token")),
        RateLimitKey.of(b"k" * 32, "https://b", Token("secret-token")),
        RateLimitKey.of(b"k" * 32, "https://a", Token("secret-tokem")),
        RateLimitKey.of(b"k" * 32, "https://a", None),
    ]
    assert len({one.number, *(other.number for other in others)}) == 5
    assert "secret" not in repr(one)
