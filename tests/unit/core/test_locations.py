"""Paths as users write them: `~`, and texts that look like URLs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulk_export.core.locations import local_path, scheme_of, with_home
from bulk_export.errors import UsageError


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("s3://bucket/x", "s3"),
        ("S3://bucket", "s3"),
        ("s3:/bucket", "s3"),
        ("file:///x", "file"),
        ("/data/x", None),
        ("C:/x", None),
        ("C:\\x", None),
        ("\\\\server\\share", None),
        ("./s3://x", None),
        ("a:b", None),
        ("", None),
    ],
)
def test_scheme(text: str, scheme: str | None) -> None:
    """What begins with a name of two letters or more, a colon and a slash looks like a URL."""
    assert scheme_of(text) == scheme


def test_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` and `~NAME` become home directories; anywhere else they are characters."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert with_home("~/x/~") == Path("/home/somebody/x/~")
    assert with_home("~") == Path("/home/somebody")
    assert with_home(Path("~/x")) == Path("/home/somebody/x")
    assert with_home("a~/x") == Path("a~/x")
    assert with_home("./~") == Path("~")


def test_home_of_nobody_is_refused() -> None:
    """No directory called `~nobody-here` is made."""
    with pytest.raises(UsageError, match="no home directory for ~nobody-here"):
        with_home("~nobody-here/x")


def test_names_that_are_not_text_stay(tmp_path: Path) -> None:
    """A name that is not UTF-8 is kept."""
    name = os.fsdecode(b"\xff")
    assert with_home(tmp_path / name) == tmp_path / name


def test_url_is_no_local_path() -> None:
    """A local file is named by a path, and the message names the option."""
    with pytest.raises(UsageError, match="--token-file takes a path on this machine") as raised:
        local_path("https://host/token", "--token-file")
    assert "host" not in str(raised.value)


def test_name_that_no_file_can_have() -> None:
    """Only Python programs and settings files can give one: a command line cannot hold U+0000."""
    with pytest.raises(UsageError, match=r"'a\\x00b' cannot be read or written: the name holds U\+0000\."):
        local_path("a\0b", "--output")
