"""The URLs that `--budget` accepts, and what messages show of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.extract.rate_limit.location import Memory, RedisServer, SqliteFile, parse_location


def test_parses_memory_file_and_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger is in memory, in a file (relative, absolute, from home, the default) or on a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert parse_location("memory://") == Memory()
    assert parse_location(f"sqlite:///{tmp_path}/b.sqlite") == SqliteFile(tmp_path / "b.sqlite")
    assert parse_location("sqlite:///b.sqlite") == SqliteFile(tmp_path / "b.sqlite")
    assert parse_location("sqlite:///~/b%20c.sqlite") == SqliteFile(tmp_path / "home" / "b c.sqlite")
    assert parse_location("sqlite://") == SqliteFile(tmp_path / "state" / "bulk-export" / "budget.sqlite")
    assert parse_location("redis://host:6379/0") == RedisServer("redis://host:6379/0")


def test_missing_slash_is_forgiven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing fourth slash is forgiven if only the absolute path has an existing directory."""
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
def test_other_urls_are_refused(url: str) -> None:
    """Any other URL is refused, naming the option."""
    with pytest.raises(UsageError, match="--budget"):
        parse_location(url)


def test_password_is_not_shown() -> None:
    """Neither messages nor the repr of a server show its password."""
    assert RedisServer("redis://me:secret@host:6379/0").shown == "redis://host:6379/0"
    assert "secret" not in repr(RedisServer("redis://me:secret@host:6379/0"))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///~/spent.sqlite"])
def test_missing_home_is_explained(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A user without a home directory is told how to go on.

    As in a container: no HOME, and a number that is in no list of users.
    """
    for variable in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    with pytest.raises(UsageError, match="home directory") as refused:
        parse_location(url)
    assert "--budget" in refused.value.next_step
