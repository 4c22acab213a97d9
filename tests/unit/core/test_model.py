"""The digest of a description."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from bulk_export.core.model import Endpoint, Field, Kind, ListOf, Paging, RecordShape, Struct, description_digest
from bulk_export.services.catalogue import load_service

ENDPOINT = Endpoint(
    name="loans",
    path="/api/loans",
    record_type="loan",
    fields=(Field("state", Kind.STRING), Field("days", ListOf(Struct((Field("day", Kind.DATE),))))),
    filters=("cohort",),
    since=None,
    sort=None,
    order=("id",),
    order_is_total=True,
)


def test_description_digest_is_stable() -> None:
    """The digest of a description does not change with the program.

    An unfinished export is taken up by a later version, so the digest of a known description is fixed here.
    """
    assert description_digest([ENDPOINT]) == "cd92fcaf9b2ea019"


@pytest.mark.parametrize(
    ("service", "version", "digest"),
    [
        ("npq", "v1", "dc7f6c6b46a7fe1e"),
        ("npq", "v2", "e8e8ca30232237dc"),
        ("npq", "v3", "6ed69f7c0a2bebac"),
        ("ecf", "v1", "d3bc9e39115305ed"),
        ("ecf", "v2", "e6ee9721241de640"),
        ("ecf", "v3", "88be4a5642dfb67b"),
        ("ect", "v3", "92e1e5387f4e7d28"),
    ],
)
def test_built_in_digests_are_those_of_0_2_0(service: str, version: str, digest: str) -> None:
    """Exports that version 0.2.0 left unfinished are resumed: renaming classes or fields changes no digest.

    Only a change of what the description says may change its digest. Then put the new one here.
    """
    assert description_digest(load_service(service, version).endpoints) == digest


def test_digest_of_one_built_in_endpoint_is_that_of_0_2_0() -> None:
    (statements,) = [endpoint for endpoint in load_service("npq", "v3") if endpoint.name == "statements"]
    assert description_digest([statements]) == "84fbe8852a77fcff"


@pytest.mark.parametrize("name", [field.name for field in fields(Endpoint)])
def test_every_field_of_an_endpoint_is_in_the_digest(name: str) -> None:
    others: dict[str, Any] = {"fields": (), "paging": Paging(first=0), "shape": RecordShape(at=())}
    assert description_digest([replace(ENDPOINT, **{name: others.get(name, "other")})]) != description_digest(
        [ENDPOINT]
    )


@pytest.mark.parametrize("name", [field.name for field in fields(Paging)])
def test_every_field_of_the_paging_is_in_the_digest(name: str) -> None:
    changes: dict[str, Any] = {name: "other"}
    assert description_digest([replace(ENDPOINT, paging=Paging(**changes))]) != description_digest([ENDPOINT])


@pytest.mark.parametrize("name", [field.name for field in fields(RecordShape)])
def test_every_field_of_the_shape_is_in_the_digest(name: str) -> None:
    changes: dict[str, Any] = {name: Kind.INTEGER if name == "id_type" else ("other",)}
    assert description_digest([replace(ENDPOINT, shape=RecordShape(**changes))]) != description_digest([ENDPOINT])


def test_any_difference_changes_the_digest() -> None:
    others = [
        replace(ENDPOINT, fields=(Field("state", Kind.DATE), ENDPOINT.fields[1])),
        replace(ENDPOINT, fields=(ENDPOINT.fields[0], Field("days", ListOf(ListOf(Kind.DATE))))),
        replace(ENDPOINT, paging=Paging(largest=None)),
        replace(ENDPOINT, shape=RecordShape(type=None)),
        replace(ENDPOINT, shape=RecordShape(identity=(("id",), ("attributes", "record")))),
    ]
    digests = {description_digest([endpoint]) for endpoint in [ENDPOINT, *others]}
    assert len(digests) == 1 + len(others)
    assert description_digest([ENDPOINT, ENDPOINT]) not in digests
