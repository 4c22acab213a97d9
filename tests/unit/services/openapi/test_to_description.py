"""A description from an OpenAPI document is complete, can be written to a file, and survives damaged documents."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Endpoint, Field, Kind, ListOf, Paging, RecordShape, Service, Struct
from bulk_export.errors import UsageError
from bulk_export.services.catalogue import load_service
from bulk_export.services.description import read_description
from bulk_export.services.openapi import compare, describe, openapi_document, openapi_yaml, parse_spec
from tests.support.specs import listing, query, spec

PAGED = [query("page", minimum=1), query("size")]


NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True).filter(lambda name: name not in ("id", "type", "attributes"))


KINDS = st.recursive(
    st.sampled_from(Kind),
    lambda inner: st.one_of(
        inner.map(ListOf),
        st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(
            lambda members: Struct(tuple(Field(name, kind) for name, kind in members.items()))
        ),
    ),
    max_leaves=5,
)


SHAPES = st.sampled_from(
    [RecordShape(), RecordShape(at=("items",), type=None, attributes=()), RecordShape((), ("id",), ("type",), ())]
)


STYLES = st.sampled_from(
    [Paging(), Paging("pages", "page", "size", 0, "{name}", "order"), Paging("offset", "offset", "limit", 0, "{name}")]
)


FILTERS = {"updated_since": "timestamp", "cohort": "years", "participant_id": "uuids", "state": "string"}


@st.composite
def services(draw: st.DrawFn) -> Service:
    largest = draw(st.one_of(st.none(), st.integers(100, 5_000)))
    paging, shape = replace(draw(STYLES), largest=largest), draw(SHAPES)
    endpoints = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        filters = draw(st.lists(st.sampled_from(list(FILTERS)), unique=True))
        kinds = draw(st.dictionaries(NAMES, KINDS, min_size=1, max_size=5))
        endpoints.append(
            Endpoint(
                name=name,
                path=f"/api/v1/{name}",
                record_type=draw(NAMES),
                fields=tuple(Field(field, kind) for field, kind in kinds.items()),
                filters=tuple(filters),
                since=None,
                sort=None,
                order=(),
                order_is_total=False,
                paging=paging,
                shape=shape,
                sorts=tuple(draw(st.lists(NAMES, unique=True, max_size=3))),
                filter_types=tuple((one, FILTERS[one]) for one in filters),
            )
        )
    return Service("boxes", "v1", "Boxes", tuple(endpoints), (), None, None, 100, largest)


@settings(deadline=None, max_examples=50)
@given(services())
def test_round_trip_through_openapi(service: Service) -> None:
    """The description of what a service publishes is that of the service."""
    found = describe(parse_spec(openapi_yaml(service), "spec"), "spec")
    back = read_description(tomllib.loads(tomli_w.dumps(found.document)), None)
    assert back == read_description(found.document, None)
    assert compare(service, back) == []
    assert (back.largest_page_size, back.default_page_size) == (service.largest_page_size, 100)
    for ours, theirs in zip(service, back, strict=True):
        assert (theirs.shape.at, theirs.shape.attributes) == (ours.shape.at, ours.shape.attributes)
        assert (theirs.paging.number, theirs.paging.size, theirs.paging.first) == (
            ours.paging.number,
            ours.paging.size,
            ours.paging.first,
        )


def test_files_from_windows_are_read(tmp_path: Path) -> None:
    """Files with a byte order mark, CRLF line ends or in UTF-16 are read like others."""
    from bulk_export.services.catalogue import load_service

    document = spec({"/boxes": listing(*PAGED)})
    text = json.dumps(document, indent=1).replace("\n", "\r\n")
    path = tmp_path / "spec.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be"):
        mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
        path.write_bytes(mark + text.encode(encoding))
        assert load_service(str(path)) == read_description(describe(document, "x").document, None)
    description = tmp_path / "boxes.toml"
    toml = 'name = "boxes"\r\n[versions.v1.boxes]\r\npath = "/boxes"\r\n'
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        description.write_bytes(toml.encode(encoding))
        assert [endpoint.path for endpoint in load_service(str(description))] == ["/boxes"]


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from nodes(inner)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)


SCRAPS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


SCHEMAS = st.one_of(
    SCRAPS,
    st.sampled_from([{"$ref": "#/paths"}, {"$ref": "#"}, {"$ref": "#/info/title"}, {"type": 3}, {"allOf": [3, None]}]),
)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([("npq", "v3"), ("ecf", "v3"), ("npq", "v2")]), st.randoms(use_true_random=False), SCHEMAS)
def test_damaged_document_is_described_or_refused(name: tuple[str, str], random: Any, scrap: Any) -> None:
    damaged = copy.deepcopy(openapi_document(load_service(*name)))
    for holder, key in random.sample(list(nodes(damaged)), 3):
        if holder is not damaged or key != "openapi":
            holder[key] = scrap
    try:
        found = describe(damaged, "spec")
    except UsageError:
        return
    back = read_description(tomllib.loads(tomli_w.dumps(found.document)), None)
    assert back == read_description(found.document, None)
