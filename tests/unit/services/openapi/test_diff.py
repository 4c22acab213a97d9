"""The built-in descriptions agree with the published ones, except for the known differences.

The published files are not part of the project. BULK_EXPORT_TEST_SPECS names their directory. The default is
`shared/openapi` beside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.model import Service
from bulk_export.services.catalogue import load_service
from bulk_export.services.description import read_description
from bulk_export.services.openapi import KNOWN_DIFFERENCES, Change, compare, describe, parse_spec, unexpected_changes

ROOT = Path(__file__).parents[4]


FILES = {
    ("npq", "v1"): "npq-v1.yaml",
    ("npq", "v2"): "npq-v2.yaml",
    ("npq", "v3"): "npq-v3.yaml",
    ("ecf", "v1"): "ecf-v1.json",
    ("ecf", "v2"): "ecf-v2.json",
    ("ecf", "v3"): "ecf-v3.json",
    ("ect", "v3"): "ect-v3.yaml",
}


def directory() -> Path:
    named = os.environ.get("BULK_EXPORT_TEST_SPECS")
    found = Path(named) if named else ROOT.parent / "shared/openapi"
    if not found.is_dir():
        pytest.skip("the published files are not at hand: name their directory in BULK_EXPORT_TEST_SPECS")
    return found


def differences(service: Service) -> list[Change]:
    path = directory() / FILES[service.name, service.version]
    identifiers = {endpoint.path: endpoint.shape.id[0] for endpoint in service}
    described = describe(parse_spec(path.read_bytes(), path.name), path.name, identifiers=identifiers)
    assert described.remarks == ()
    published = read_description(described.document, None)
    lacking = {endpoint.name for endpoint in service} - {endpoint.name for endpoint in published}
    # Tables are published as one text, whose columns a description need not show.
    assert all(endpoint.format == "csv" for endpoint in service if endpoint.name in lacking)
    assert {endpoint.name for endpoint in published} <= {endpoint.name for endpoint in service}
    return [change for change in compare(service, published) if change.what != "endpoint"]


@pytest.mark.parametrize(("name", "version"), FILES, ids="-".join)
def test_no_unexpected_changes(name: str, version: str) -> None:
    """Every published endpoint, field, type and filter is in the built-in description."""
    service = load_service(name, version)
    assert [str(change) for change in unexpected_changes(service, differences(service))] == []


def lists(document: Any) -> set[str]:
    """The paths of a published file whose GET answers with a list, found without the code under test."""

    def resolved(node: Any) -> Any:
        while isinstance(node, dict) and "$ref" in node:
            found = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    found = set()
    for path, item in document["paths"].items():
        content = resolved(item.get("get", {}).get("responses", {}).get("200", {})).get("content", {})
        for media, value in content.items():
            schema = resolved(value.get("schema", {}))
            members = [schema, *map(resolved, schema.get("properties", {}).values())]
            if media == "text/csv" or any(member.get("type") == "array" for member in members):
                found.add(path)
    return found


@pytest.mark.parametrize("name", [*FILES.values(), "ecf-v1.json", "ecf-v2.json", "ect-v3.yaml"])
def test_every_published_list_is_described_or_left_out(name: str) -> None:
    document = parse_spec((directory() / name).read_bytes(), name)
    service = read_description(describe(document, name).document, None)
    found = {endpoint.path for endpoint in service}
    left_out = dict(service.left_out)
    assert len(lists(document)) >= 4
    assert found | left_out.keys() == lists(document)
    assert all("{" in path and reason.startswith("its path needs") for path, reason in left_out.items())


def test_every_known_difference_exists() -> None:
    found = {
        (name, change.endpoint, change.name)
        for name, version in FILES
        for change in differences(load_service(name, version))
    }
    assert found == {(one.service, one.endpoint, one.name) for one in KNOWN_DIFFERENCES}
    assert all(one.reason for one in KNOWN_DIFFERENCES)
