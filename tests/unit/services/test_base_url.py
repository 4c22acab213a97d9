"""Base URLs that are given with a part of the paths, or without the service's own path."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.options import ExportOptions
from bulk_export.services.base_url import normalize_base_url
from bulk_export.services.catalogue import load_service

NPQ = load_service("npq")
MIXED = replace(
    NPQ,
    endpoints=tuple(
        replace(endpoint, path=f"/{area}/v2/{endpoint.name}") for area, endpoint in zip("abcdef", NPQ, strict=True)
    ),
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
def test_path_prefix_is_removed_with_a_warning(given: str, used: str) -> None:
    """A part of the endpoints' paths at the end of the base URL is removed, and a warning says so."""
    with pytest.warns(UserWarning, match=f"{used} is used"):
        assert normalize_base_url(NPQ, given) == used
    with pytest.warns(UserWarning, match="a part of the paths"):
        assert ExportOptions.of(base_url=f"{given}/", token="t").base_url == used


def test_beginning_of_an_environment_is_completed() -> None:
    """The beginning of one environment's base URL stands for all of it; that of several is refused."""
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


def test_prefix_of_some_paths_needs_a_version() -> None:
    """The prefix of only some paths is removed if it has the version."""
    with pytest.warns(UserWarning, match="is used"):
        assert normalize_base_url(MIXED, "https://a.org/b/v2") == "https://a.org"


@pytest.mark.parametrize("url", ["https://a.org", "https://a.org/api", "https://a.org/v3", "https://a.org/v3/api"])
def test_other_paths_are_kept(url: str) -> None:
    """Any other path in a base URL is where the service is."""
    assert normalize_base_url(NPQ, url) == url


def test_prefix_of_another_version_is_refused() -> None:
    """The path prefix of another version is refused, with the base URL to give."""
    with pytest.raises(UsageError, match=r"ends with /api/v2, but the paths of npq v3 begin with /api/v3") as refused:
        normalize_base_url(NPQ, "https://a.org/gate/api/v2")
    assert "Give https://a.org/gate, and choose the version with --api-version" in refused.value.next_step
