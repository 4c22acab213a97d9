"""Addresses in object stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.errors import UsageError
from bulk_export.output.object_store.url import StoreUrl, parse_location, parse_store_url

ONELAKE = "abfss://work@onelake.dfs.fabric.microsoft.com/lake.Lakehouse/Files/npq"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/a/b", StoreUrl("s3", "bucket", "a/b")),
        ("S3://bucket", StoreUrl("s3", "bucket", "")),
        ("s3://bucket/a/", StoreUrl("s3", "bucket", "a")),
        ("az://container/2026-11-26", StoreUrl("az", "container", "2026-11-26")),
        ("gs://my.bucket_1/x", StoreUrl("gs", "my.bucket_1", "x")),
        (
            "abfss://box@acc.dfs.core.windows.net/x",
            StoreUrl("abfss", "box", "x", "acc.dfs.core.windows.net"),
        ),
        (ONELAKE, StoreUrl("abfss", "work", "lake.Lakehouse/Files/npq", "onelake.dfs.fabric.microsoft.com")),
    ],
)
def test_addresses(text: str, url: StoreUrl) -> None:
    """Each form is parsed, and shown in one way, which is an address again."""
    assert parse_store_url(text) == url
    assert parse_store_url(str(url)) == url


def test_accounts() -> None:
    """The host of abfss names the account, and tells OneLake."""
    assert parse_store_url(ONELAKE).account == "onelake"
    assert parse_store_url(ONELAKE).is_fabric
    assert not parse_store_url("abfss://box@acc.dfs.core.windows.net/x").is_fabric


@pytest.mark.parametrize(
    "text",
    [
        "s4://bucket/x",
        "s3a://bucket/x",
        "https://bucket.s3.amazonaws.com/x",
        "file:///data",
        "s3:/bucket/x",
        "s3://",
        "s3:///x",
        "s3://bucket//x",
        "s3://bucket/a/../b",
        "s3://bucket/a?sig=canary",
        "s3://bucket/a#canary",
        "s3://key:canary@bucket/x",
        "s3://canary@bucket/x",
        "s3://bucket:9000/x",
        "abfss://box/x",
        "abfss://box@example.com/x",
        "abfss://box@acc.dfs.core.windows.net.example.com/x",
        "s3://bucket/a*",
        "s3://bucket/a%2Fb",
        "s3://bucket/~",
        "s3://bucket/a\nb",
    ],
)
def test_unusable_addresses_are_refused_without_being_shown(text: str) -> None:
    """What is no address of ours is no directory either; it may hold a secret, so it is not repeated."""
    with pytest.raises(UsageError) as raised:
        parse_location(text)
    assert "canary" not in " ".join(raised.value.lines())


def test_paths_are_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything without a scheme is a path."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_location("~/x") == Path("/home/somebody/x")
    assert parse_location("./s3:/x") == Path("s3:/x")
    assert parse_location("s3") == Path("s3")


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text raises anything else."""
    try:
        url = parse_store_url(text)
    except UsageError:
        return
    assert parse_store_url(str(url)) == url
