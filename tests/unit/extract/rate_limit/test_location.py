"""What `--budget` may say, and what is shown of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulk_export.core.credentials import Token
from bulk_export.errors import UsageError
from bulk_export.extract.rate_limit import read_usage
from bulk_export.extract.rate_limit.key import RateLimitKey, service_origin
from bulk_export.extract.rate_limit.location import Memory, RedisServer, SqliteFile, parse_location


def test_places_are_memory_a_file_or_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert parse_location("memory://") == Memory()
    assert parse_location(f"sqlite:///{tmp_path}/b.sqlite") == SqliteFile(tmp_path / "b.sqlite")
    assert parse_location("sqlite:///b.sqlite") == SqliteFile(tmp_path / "b.sqlite")
    assert parse_location("sqlite:///~/b%20c.sqlite") == SqliteFile(tmp_path / "home" / "b c.sqlite")
    assert parse_location("sqlite://") == SqliteFile(tmp_path / "state" / "bulk-export" / "budget.sqlite")
    assert parse_location("redis://host:6379/0") == RedisServer("redis://host:6379/0")


def test_a_slash_too_few_is_forgiven_where_only_one_reading_makes_sense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert parse_location(f"sqlite://{tmp_path}/there/b.sqlite") == SqliteFile(tmp_path / "there" / "b.sqlite")
    assert parse_location("sqlite:///no/such/b.sqlite") == SqliteFile(tmp_path / "work" / "no" / "such" / "b.sqlite")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "b.sqlite",
        "file:///b",
        "memory://x",
        "sqlite://host/b",
        "sqlite:///dir/",
        "redis://",
        "redis://h:x/0",
        "redis://h/a",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        parse_location(url)


def test_a_server_is_shown_without_its_password() -> None:
    assert RedisServer("redis://me:secret@host:6379/0").shown == "redis://host:6379/0"
    assert "secret" not in repr(RedisServer("redis://me:secret@host:6379/0"))


def test_nothing_is_remembered_in_memory() -> None:
    assert read_usage("memory://") == []


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
def test_an_address_in_any_spelling_is_one_service(address: str, origin: str) -> None:
    assert service_origin(address) == origin


def test_accounts_differ_by_key_service_and_token_and_hold_no_token() -> None:
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


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///~/spent.sqlite"])
def test_a_user_without_a_home_is_told_how_to_go_on(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """As in a container: no HOME, and a number that is in no list of users."""
    for variable in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    with pytest.raises(UsageError, match="home directory") as refused:
        parse_location(url)
    assert "--budget" in refused.value.next_step
