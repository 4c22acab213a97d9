"""Keys of exports in object stores."""

from __future__ import annotations

import pytest

from bulk_export.output.object_store.layout import OurKey, claim_key, object_key, parse_key


@pytest.mark.parametrize("generation", [1, 2, 17])
@pytest.mark.parametrize("path", ["statements/part-00000.parquet", "pages.sqlite"])
def test_keys_lead_back(generation: int, path: str) -> None:
    """A key says of which generation it is, and which path it has there."""
    key = object_key(generation, path)
    assert parse_key(key) == OurKey(key, generation, path)
    assert parse_key(claim_key(generation)) == OurKey(claim_key(generation), generation, "")


def test_the_first_export_looks_like_a_directory() -> None:
    """Its parts have the keys that they have as paths."""
    assert object_key(1, "statements/part-00000.parquet") == "statements/part-00000.parquet"


@pytest.mark.parametrize(
    "key",
    [
        "manifest.json",
        "notes.txt",
        "statements/notes.txt",
        "statements/x/part-00000.parquet",
        "generation-1/statements/part-00000.parquet",
        "generation-0/statements/part-00000.parquet",
        "generation-2/notes.txt",
        "generation-2/generation-3/pages.sqlite",
        ".bulk-export/generation-0.json",
        ".bulk-export/generation-2.json.old",
        "Statements/part-00000.parquet",
    ],
)
def test_other_keys_are_not_ours(key: str) -> None:
    """What an export did not write is never removed."""
    assert parse_key(key) is None
