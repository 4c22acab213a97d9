"""Names and versions from paths and titles."""

from __future__ import annotations

import pytest

from bulk_export.services.openapi.naming import (
    PathName,
    parse_path,
    slug,
    unused_name,
    version_from_info,
    version_sort_key,
)


@pytest.mark.parametrize(
    ("path", "name", "version", "resource"),
    [
        ("/api/v3/participants/npq", "participants-npq", "v3", ("api", "participants", "npq")),
        ("/v1.2/Boxes.csv", "boxes-csv", "v1-2", ("Boxes.csv",)),
        ("/api/boxes", "boxes", None, ("api", "boxes")),
        ("/v2", "records", "v2", ()),
        ("/", "records", None, ()),
    ],
)
def test_paths_are_parsed(path: str, name: str, version: str | None, resource: tuple[str, ...]) -> None:
    assert parse_path(path) == PathName(name, version, resource)


@pytest.mark.parametrize(
    ("stated", "version"),
    [("1.0", "v1"), ("v2.3.0", "v2-3"), ("3", "v3"), ("", "v1"), (None, "v1"), ("beta", "v1"), (2.1, "v2-1")],
)
def test_version_of_a_document(stated: object, version: str) -> None:
    """The version comes from the document's own, v1 if that has no number."""
    assert version_from_info(stated) == version


def test_versions_are_ordered_by_their_numbers() -> None:
    assert sorted(["v10", "v2", "v2-1", "v1"], key=version_sort_key) == ["v1", "v2", "v2-1", "v10"]


def test_slug_is_a_valid_name() -> None:
    assert (slug("  Boxes & Lids!"), slug("…"), len(slug("x" * 200))) == ("boxes-lids", "", 80)


def test_unused_name_counts_up() -> None:
    assert [unused_name("a", used) for used in ({}, {"a": 1}, {"a": 1, "a-2": 1})] == ["a", "a-2", "a-3"]
