"""What may be asked of a copy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.sync.options import SyncOptions, split_every
from bulk_export.services.catalogue import load_service, read_description

NPQ = load_service("npq")


def options(tmp_path: Path, **changes: Any) -> SyncOptions:
    return SyncOptions.of(["statements"], environment="local", output=tmp_path / "copy", **changes)


def test_full_syncs_use_the_page_of_an_export_and_polls_the_default_of_the_service(tmp_path: Path) -> None:
    made = options(tmp_path)
    assert (made.full.page_size, made.changes.page_size) == (300, 100)
    assert (made.full.consistent, made.full.gone, made.full.schema) == (True, "drop", "infer")
    told = options(tmp_path, page_size=50)
    assert (told.full.page_size, told.changes.page_size) == (50, 50)


def test_durations_are_text_seconds_or_timedeltas(tmp_path: Path) -> None:
    for given in ("12h", 43_200, timedelta(hours=12)):
        assert options(tmp_path, full_every=given).full_every == timedelta(hours=12)
    assert options(tmp_path).full_every == timedelta(days=7)
    with pytest.raises(UsageError, match="far too long"):
        options(tmp_path, full_every=1e300)


def test_options_of_exports_that_a_copy_chooses_itself_are_not_taken(tmp_path: Path) -> None:
    for name in ("updated_since", "sort", "consistent", "gone", "compression", "flatten", "overwrite", "keep_pages"):
        with pytest.raises(TypeError, match=name):
            options(tmp_path, **{name: "x"})


def test_every_is_taken_out_of_the_options() -> None:
    assert split_every({"every": "90m", "removed": "mark"}) == ({"removed": "mark"}, 5_400)
    assert split_every({}) == ({}, None)
    with pytest.raises(UsageError, match="a second at least"):
        split_every({"every": "10ms"})


def test_the_mark_of_a_token_tells_it_from_others_and_gives_nothing_away(tmp_path: Path) -> None:
    one, same, other = (options(tmp_path, token=token).token_mark(b"key") for token in ("a", "a", "b"))
    assert one == same != other
    assert options(tmp_path, token="a").token_mark(b"another") != one


def test_a_list_that_nothing_identifies_is_no_table_of_a_copy(tmp_path: Path) -> None:
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
