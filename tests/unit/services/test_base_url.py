"""Addresses that end with a part of the paths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.options import ExportOptions
from bulk_export.services.base_url import normalize_base_url
from bulk_export.services.catalogue import load_service

NPQ = load_service("npq")
MIXED = replace(
    NPQ, endpoints=tuple(replace(one, path=f"/{place}/v2/{one.name}") for place, one in zip("abcdef", NPQ, strict=True))
)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://a.org/api/v3", "https://a.org"),
        ("https://a.org/gate/way/api/v3", "https://a.org/gate/way"),
        ("https://a.org/api/v3/statements", "https://a.org"),
        ("https://a.org:8443/api/v3/participants", "https://a.org:8443"),
    ],
)
def test_a_part_of_the_paths_at_the_end_is_taken_off_and_said(given: str, used: str) -> None:
    with pytest.warns(UserWarning, match=f"{used} is used"):
        assert normalize_base_url(NPQ, given) == used
    with pytest.warns(UserWarning, match="a part of the paths"):
        assert ExportOptions.of(base_url=f"{given}/", token="t").base_url == used


def test_the_beginning_of_the_address_of_an_environment_stands_for_all_of_it() -> None:
    placed = replace(NPQ, environments=(("live", "https://a.org/npq/live"), ("trial", "https://b.org/npq")))
    with pytest.warns(UserWarning, match="the service is at https://b.org/npq, which is used"):
        assert normalize_base_url(placed, "https://b.org") == "https://b.org/npq"
    assert normalize_base_url(placed, "https://a.org/npq/live") == "https://a.org/npq/live"
    nested = replace(NPQ, environments=(("live", "https://a.org/"), ("trial", "https://a.org/trial/")))
    for url in ("https://a.org", "https://a.org/trial"):
        assert normalize_base_url(nested, url) == url
    assert ExportOptions.of(service=nested, environment="live", token="t").base_url == "https://a.org"
    both = replace(NPQ, environments=(("live", "https://a.org/live"), ("trial", "https://a.org/trial")))
    with pytest.raises(UsageError) as refused:
        normalize_base_url(both, "https://a.org")
    assert refused.value.next_step == "Give one of: https://a.org/live, https://a.org/trial."


def test_a_part_of_some_paths_is_enough_where_it_names_the_version() -> None:
    with pytest.warns(UserWarning, match="is used"):
        assert normalize_base_url(MIXED, "https://a.org/b/v2") == "https://a.org"


@pytest.mark.parametrize("url", ["https://a.org", "https://a.org/api", "https://a.org/v3", "https://a.org/v3/api"])
def test_any_other_path_is_where_the_service_stands(url: str) -> None:
    assert normalize_base_url(NPQ, url) == url


def test_the_beginning_of_another_version_is_refused_with_the_right_address() -> None:
    with pytest.raises(UsageError, match=r"ends with /api/v2, but the paths of npq v3 begin with /api/v3") as refused:
        normalize_base_url(NPQ, "https://a.org/gate/api/v2")
    assert "Give https://a.org/gate, and choose the version with --api-version" in refused.value.next_step
