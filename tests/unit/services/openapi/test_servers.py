"""The base URLs of a service."""

from __future__ import annotations

from typing import Any

from bulk_export.core.model import Service
from bulk_export.services.description import read_description
from bulk_export.services.openapi import describe
from tests.support.specs import described, listing, read, spec

PATHS = {"/boxes": listing()}


def service_at(servers: list[Any]) -> Service:
    return read(PATHS, servers=servers)


def test_servers_are_environments() -> None:
    servers = [{"url": "https://a.example/v2/", "description": "Test one"}]
    assert service_at(servers).environments == (("test-one", "https://a.example/v2"),)


def test_relative_server_is_a_prefix_of_the_paths() -> None:
    """It is resolved instead if the address of the document is known."""
    servers = [{"url": "/api/v2"}]
    assert [endpoint.path for endpoint in service_at(servers)] == ["/api/v2/boxes"]
    fetched = describe(spec(PATHS, servers=servers), "spec", address="https://b.example/docs/spec.yaml")
    assert read_description(fetched.document, None).environments == (("b-example", "https://b.example/api/v2"),)


def test_unusable_servers_are_ignored() -> None:
    urls = ["http://0.0.0.0:3000", "https://{tenant}.example", "http://[::1"]
    assert service_at([*({"url": url} for url in urls), 3]).environments == ()


def test_server_variables_are_filled_in() -> None:
    """Each combination of values is an environment; a server with an unknown value is left out with a remark."""
    variables = {"host": {"default": "live", "enum": ["live", "trial"]}, "base": {"default": "v2"}}
    assert service_at([{"url": "https://{host}.example/{base}", "variables": variables}]).environments == (
        ("live-example", "https://live.example/v2"),
        ("trial-example", "https://trial.example/v2"),
    )
    named = {"url": "https://{host}.example", "description": "Main", "variables": variables}
    servers = [named, {"url": "https://{unknown}.example"}]
    assert dict(service_at(servers).environments) == {
        "main": "https://live.example",
        "main-trial-example": "https://trial.example",
    }
    remarks = described(PATHS, servers=servers).remarks
    assert any("the values of unknown are not known" in remark for remark in remarks)
