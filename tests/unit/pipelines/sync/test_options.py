"""The options of a copy: what is accepted, and what it becomes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.services.catalogue import load_service, read_description

NPQ = load_service("npq")


def options(tmp_path: Path, **changes: Any) -> SyncOptions:
    return SyncOptions.of(["statements"], environment="local", output=tmp_path / "copy", **changes)


def test_page_sizes(tmp_path: Path) -> None:
    """Full syncs use the page size of an export, polls the default of the service."""
    made = options(tmp_path)
    assert (made.full.page_size, made.changes.page_size) == (300, 100)
    assert (made.full.consistent, made.full.gone, made.full.schema) == (True, "drop", "infer")
    small = options(tmp_path, page_size=50)
    assert (small.full.page_size, small.changes.page_size) == (50, 50)


def test_durations(tmp_path: Path) -> None:
    """A duration is a text, seconds, or a timedelta."""
    for given in ("12h", 43_200, timedelta(hours=12)):
        assert options(tmp_path, full_every=given).full_every == timedelta(hours=12)
    assert options(tmp_path).full_every == timedelta(days=7)
    with pytest.raises(UsageError, match="far too long"):
        options(tmp_path, full_every=1e300)


def test_options_of_exports_only(tmp_path: Path) -> None:
    """Options that a copy chooses itself are refused."""
    for name in ("updated_since", "sort", "consistent", "gone", "compression", "flatten", "overwrite", "keep_pages"):
        with pytest.raises(TypeError, match=name):
            options(tmp_path, **{name: "x"})


def test_poll_interval(tmp_path: Path) -> None:
    """`every` is at least a second; without it there is one poll."""
    assert options(tmp_path, every="90m").every == 5_400
    assert options(tmp_path).every is None
    with pytest.raises(UsageError, match="a second at least"):
        options(tmp_path, every="10ms")


@pytest.mark.parametrize("load", ["", "npq.sqlite", "env:NOT_SET", "postgresql://ann:geheim@h/db", "a://b/#c"])
def test_database_to_load_into(tmp_path: Path, load: str) -> None:
    """What is wrong with the address is said of `--load`; `sync` has none of the options of the command `load`."""
    with pytest.raises(UsageError) as refused:
        options(tmp_path, load=load, environ={})
    said = str(refused.value)
    assert "--load" in said
    assert not any(option in said for option in ("--to", "--password-file", "geheim"))


def test_token_mark(tmp_path: Path) -> None:
    """It distinguishes tokens and depends on the key."""
    one, same, other = (options(tmp_path, token=token).token_mark(b"key") for token in ("a", "a", "b"))
    assert one == same != other
    assert options(tmp_path, token="a").token_mark(b"another") != one


def test_endpoints_without_ids(tmp_path: Path) -> None:
    """An endpoint whose records nothing identifies is left out, or refused if it was named."""
    document = {
        "name": "things",
        "versions": {"v1": {"boxes": {"path": "/boxes"}, "notes": {"path": "/notes", "records": {"id": []}}}},
    }
    common: dict[str, Any] = {"service": read_description(document, None), "environment": "local", "output": tmp_path}
    everything = SyncOptions.of((), **common)
    assert [endpoint.name for endpoint in everything.full.endpoints] == ["boxes"]
    assert [name for name, _ in everything.full.left_out] == ["notes"]
    assert everything.changes.left_out == ()
    with pytest.raises(UsageError, match="Nothing identifies the records of notes"):
        SyncOptions.of(["notes"], **common)
