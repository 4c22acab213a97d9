"""The descriptions of services: complete, consistent, and what the service's own facts say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import (
    Authorization,
    Endpoint,
    Field,
    FieldType,
    Kind,
    Limit,
    ListOf,
    Paging,
    RecordShape,
    Service,
    Struct,
)
from bulk_export.errors import UsageError
from bulk_export.output.file_names import safe_name
from bulk_export.services.catalogue import built_in_services, choose_endpoints, load_service, read_description

VERSIONS = [("npq", "v1"), ("npq", "v2"), ("npq", "v3"), ("ecf", "v1"), ("ecf", "v2"), ("ecf", "v3")]
SERVICES = [load_service(name, version) for name, version in VERSIONS]
ENDPOINTS = [(service, endpoint) for service in SERVICES for endpoint in service]
NPQ = load_service("npq")


def below(declared: FieldType) -> Iterator[Field]:
    if isinstance(declared, ListOf):
        yield from below(declared.item)
    elif isinstance(declared, Struct):
        for field in declared.fields:
            yield field
            yield from below(field.type)


def test_every_list_endpoint_of_npq_v3_is_there_under_the_name_of_its_path() -> None:
    assert [endpoint.path for endpoint in NPQ] == [
        "/api/v3/npq-applications",
        "/api/v3/participants/npq",
        "/api/v3/participants/npq/outcomes",
        "/api/v3/participant-declarations",
        "/api/v3/statements",
        "/api/v3/delivery-partners",
    ]
    for endpoint in NPQ:
        assert endpoint.name == endpoint.path.removeprefix("/api/v3/").replace("/", "-")


def test_limits_and_pages_of_npq_are_the_documented_ones() -> None:
    assert (NPQ.version, NPQ.service_limit, NPQ.ip_limit) == ("v3", Limit(1000, 300), Limit(300, 300))
    assert (NPQ.default_page_size, NPQ.largest_page_size) == (100, 3000)


def test_what_changed_is_asked_for_as_each_endpoint_takes_it() -> None:
    since = {endpoint.name: endpoint.since for endpoint in NPQ}
    assert since == dict.fromkeys(since, "updated_since") | {
        "participants-npq-outcomes": "created_since",
        "delivery-partners": None,
    }


@pytest.mark.parametrize(
    ("endpoint", "path", "declared"),
    [
        ("participant-declarations", "has_passed", Kind.BOOLEAN),
        ("participants-npq-outcomes", "completion_date", Kind.DATE),
        ("delivery-partners", "cohort", ListOf(Kind.INTEGER)),
        ("statements", "cut_off_date", Kind.DATE),
        ("statements", "payment_date", Kind.DATE),
        ("npq-applications", "created_at", Kind.TIMESTAMP),
        ("npq-applications", "cohort_suffix", Kind.STRING),
        ("participants-npq", "previous_names", ListOf(Kind.STRING)),
    ],
)
def test_types_are_those_that_the_service_sends_where_its_documents_err(
    endpoint: str, path: str, declared: FieldType
) -> None:
    (described,) = choose_endpoints(NPQ, [endpoint])
    assert {field.name: field.type for field in described.fields}[path] == declared


def test_what_is_nested_is_described() -> None:
    participants = next(endpoint for endpoint in NPQ if endpoint.name == "participants-npq")
    fields = {field.name: field.type for field in participants.fields}
    enrolments = {field.name: field.type for field in below(fields["npq_enrolments"])}
    assert isinstance(enrolments["withdrawal"], Struct)
    assert isinstance(enrolments["deferral"], Struct)
    assert isinstance(fields["participant_id_changes"], ListOf)


def test_every_service_and_version_of_the_family_is_built_in() -> None:
    assert built_in_services() == ("ecf", "ect", "npq")
    assert [(service.name, service.version) for service in SERVICES] == VERSIONS
    assert {load_service(name).version for name in built_in_services()} == {"v3"}
    assert {name: load_service(name).successor for name in built_in_services()} == {
        "ecf": "ect",
        "ect": None,
        "npq": None,
    }


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_older_versions_of_npq_have_the_endpoints_that_give_rows_of_text(version: str) -> None:
    described = load_service("npq", version)
    assert [endpoint.name for endpoint in described] == [
        "npq-applications",
        "npq-applications-csv",
        "participants-npq",
        *(["npq-enrolments"] if version == "v2" else []),
        "participants-npq-outcomes",
        "participant-declarations",
        "participant-declarations-csv",
    ]
    for endpoint in described:
        assert (endpoint.format == "csv") == endpoint.path.endswith(".csv")
        assert (endpoint.paging.style == "none") == (endpoint.format == "csv")


def test_ecf_has_its_endpoints_and_schools_need_a_cohort() -> None:
    schools = next(endpoint for endpoint in load_service("ecf") if endpoint.name == "schools-ecf")
    assert schools.requires == ("cohort",)
    assert {endpoint.name for endpoint in load_service("ecf")} == {
        "participants-ecf",
        "participants-ecf-transfers",
        "unfunded-mentors-ecf",
        "partnerships-ecf",
        "schools-ecf",
        "participant-declarations",
        "statements",
        "delivery-partners",
    }
    for version in ("v1", "v2"):
        assert {endpoint.name for endpoint in load_service("ecf", version)} == {
            "participants-ecf",
            "participants-ecf-csv",
            "participant-declarations",
            "participant-declarations-csv",
        }


def test_rows_without_an_id_are_told_apart_by_what_is_unique_in_them() -> None:
    enrolments = next(endpoint for endpoint in load_service("npq", "v2") if endpoint.name == "npq-enrolments")
    assert enrolments.shape.id == ("npq_application_id",)


@pytest.mark.parametrize(
    ("service", "endpoint"), ENDPOINTS, ids=lambda value: "-".join((value.name, getattr(value, "version", "")))
)
def test_each_description_is_sound(service: Service, endpoint: Endpoint) -> None:
    expected = endpoint.path.removeprefix(f"/api/{service.version}/").replace("/", "-").replace(".csv", "-csv")
    assert endpoint.name in (expected, expected.removesuffix("-csv"))
    assert [name for name, _ in endpoint.filter_types] == list(endpoint.filters)
    assert safe_name(endpoint.name) == endpoint.name
    assert endpoint.path.startswith("/")
    assert endpoint.since is None or endpoint.since in endpoint.filters
    names = [field.name for field in endpoint.fields]
    assert names
    assert len(set(names)) == len(names)
    assert not {"id", "_extra"} & set(names)
    for attribute in endpoint.order:
        assert attribute == "id" or attribute in names
    if endpoint.sort is not None:
        assert endpoint.order in (tuple(endpoint.sort.split(",")), ())  # none: it sorts by what it does not show
        assert "+" not in endpoint.sort
    if endpoint.order_is_total and endpoint.paging.style != "none" and endpoint.order:
        assert (endpoint.sort or ",".join(endpoint.order)).endswith("id")


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: f"{service.name}-{service.version}")
def test_the_names_of_a_service_are_unique(service: object) -> None:
    names = [endpoint.name for endpoint in service]  # type: ignore[attr-defined]  # a Service
    assert len(set(names)) == len(names)


@settings(deadline=None)
@given(st.lists(st.sampled_from([endpoint.name for endpoint in NPQ]), max_size=8))
def test_chosen_endpoints_come_in_the_catalogues_order_each_once(names: list[str]) -> None:
    chosen = [endpoint.name for endpoint in choose_endpoints(NPQ, names)]
    assert set(chosen) == set(names or [endpoint.name for endpoint in NPQ])
    assert chosen == [endpoint.name for endpoint in NPQ if endpoint.name in chosen]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("npq-aplications", "npq-applications"),
        ("participants/npq", "participants-npq"),
        ("declarations", "participant-declarations"),
        ("Statements", "statements"),
    ],
)
def test_an_unknown_endpoint_brings_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UsageError) as refused:
        choose_endpoints(NPQ, [name])
    assert f"Did you mean {nearest}?" in refused.value.next_step


@pytest.mark.parametrize("name", ["nqp", "", "../npq", "npq.toml"])
def test_an_unknown_service_brings_those_that_there_are(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_service(name)
    assert "npq" in refused.value.next_step


def test_an_unknown_version_brings_those_that_there_are() -> None:
    with pytest.raises(UsageError) as refused:
        load_service("npq", "v9")
    assert "v3" in refused.value.next_step


def test_a_description_is_read_as_it_is_written() -> None:
    document = {
        "name": "things",
        "title": "Things",
        "default_version": "v1",
        "limits": {"service": "10/1s", "ip": "5/1s"},
        "pages": {"default": 10, "largest": 50},
        "versions": {
            "v1": {
                "boxes": {
                    "path": "/boxes",
                    "record_type": "box",
                    "filters": [],
                    "order": ["id"],
                    "order_is_total": True,
                    "fields": {"tags": ["string"], "lid": {"closed": "boolean", "hinges": [{"width": "number"}]}},
                }
            }
        },
    }
    service = read_description(document, None)
    (boxes,) = service
    assert service.service_limit == Limit(10, 1.0)
    assert (boxes.since, boxes.sort) == (None, None)
    hinge = Struct((Field("width", Kind.NUMBER),))
    assert boxes.fields == (
        Field("tags", ListOf(Kind.STRING)),
        Field("lid", Struct((Field("closed", Kind.BOOLEAN), Field("hinges", ListOf(hinge))))),
    )


def described(endpoint: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    boxes = {"path": "/boxes", "filters": ["colour"], "fields": {"colour": "string"}} | (endpoint or {})
    return {"name": "things", "versions": {"v1": {"boxes": boxes}}} | top


def test_what_a_description_leaves_out_is_as_for_npq_but_limits_and_the_largest_page() -> None:
    service = read_description(described(), None)
    (boxes,) = service
    assert (boxes.paging, boxes.shape, service.auth) == (Paging(largest=None), RecordShape(), Authorization())
    assert (service.service_limit, service.ip_limit, service.largest_page_size) == (None, None, None)
    assert (boxes.format, boxes.sorts, boxes.filter_types, boxes.order_is_total) == ("json", (), (), False)


def test_every_setting_is_read_and_an_endpoint_overrides_those_of_the_service() -> None:
    document = described(
        {
            "sorts": ["size", "-size"],
            "filter_types": {"colour": "uuids"},
            "pages": {"style": "pages", "number": "p", "first": 0},
            "records": {"at": [], "id_type": "integer"},
        },
        pages={
            "largest": 40,
            "style": "offset",
            "number": "offset",
            "size": "limit",
            "filter": "{name}",
            "sort": "order_by",
        },
        records={"at": ["result", "items"], "id": ["number"], "attributes": []},
        auth={"header": "X-Api-Key", "scheme": ""},
    )
    service = read_description(document, "v1")
    (boxes,) = service
    assert service.auth == Authorization("X-Api-Key", "")
    assert boxes.paging == Paging("pages", "p", "limit", 0, "{name}", "order_by", 40)
    assert boxes.shape == RecordShape((), ("number",), None, (), Kind.INTEGER)
    assert (boxes.sorts, boxes.filter_types) == (("size", "-size"), (("colour", "uuids"),))


def test_offsets_begin_at_0_unless_something_else_is_said() -> None:
    for said, first in (({}, 0), ({"first": 1}, 1)):
        (boxes,) = read_description(described(pages={"style": "offset", "number": "o", "size": "n"} | said), None)
        assert boxes.paging.first == first


def test_an_endpoint_of_csv_takes_one_request_and_has_its_rows_beside_each_other() -> None:
    (boxes,) = read_description(described({"format": "csv"}), None)
    assert boxes.paging.style == "none"
    assert boxes.shape == RecordShape((), ("id",), None, ())


@pytest.mark.parametrize(
    ("document", "path", "hint"),
    [
        (described(nmae="x"), "nmae", "name"),
        (described(pages={"defualt": 5}), "pages.defualt", "default"),
        (described(pages={"style": "page"}), "pages.style", "pages"),
        (described(pages={"largest": 0}), "pages.largest", ""),
        (described(pages={"largest": True}), "pages.largest", ""),
        (described(pages={"first": 2}), "pages.first", ""),
        (described(pages={"filter": "filter"}), "pages.filter", ""),
        (described(pages={"size": "page[page]"}), "pages.size", ""),
        (described(records={"id": [""]}), "records.id", ""),
        (described(records={"at": "data"}), "records.at", ""),
        (described(limits={"service": "1000"}), "limits.service", "1000/5m"),
        (described(limits=[]), "limits", ""),
        (described(auth={"header": "X Key"}), "auth.header", ""),
        (described(auth={"header": "X\r\nHost"}), "auth.header", ""),
        (described(environments={"live": 5}), "environments.live", ""),
        (described(name="../up"), "name", ""),
        (described(versions={}), "versions", ""),
        (described(default_version="v2"), "default_version", "v1"),
        (described({"path": "boxes"}), "versions.v1.boxes.path", ""),
        (described({"path": None}), "versions.v1.boxes.path", ""),
        (described({"filtres": []}), "versions.v1.boxes.filtres", "filters"),
        (described({"since": "color"}), "versions.v1.boxes.since", "colour"),
        (described({"fields": {"a": {"b": ["strnig"]}}}), "versions.v1.boxes.fields.a.b", "string"),
        (described({"fields": {"a": ["string", "date"]}}), "versions.v1.boxes.fields.a", ""),
        (described({"format": "xml"}), "versions.v1.boxes.format", "csv"),
        (described({"format": "csv", "pages": {"style": "pages"}}), "versions.v1.boxes.format", ""),
        (described({"filter_types": {"color": "string"}}), "versions.v1.boxes.filter_types.color", "colour"),
        (described({"filter_types": {"colour": "uuid"}}), "versions.v1.boxes.filter_types.colour", "uuids"),
        (described({"order_is_total": "yes"}), "versions.v1.boxes.order_is_total", ""),
        (described({"records": {"attribute": []}}), "versions.v1.boxes.records.attribute", "attributes"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_wrong_is_named_by_its_path(document: dict[str, Any], path: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_description(document, None)
    assert path in refused.value.what
    assert hint in " ".join(refused.value.lines())


def test_types_nested_without_end_are_refused() -> None:
    declared: Any = "string"
    for _ in range(500):
        declared = {"a": declared}
    with pytest.raises(UsageError, match="nested"):
        read_description(described({"fields": declared}), None)


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["name", "versions", "pages", "records", "auth", "limits", "environments"]), JSONISH, st.data())
def test_whatever_stands_in_a_description_it_is_read_or_refused(key: str, value: Any, data: st.DataObject) -> None:
    keys = ["style", "number", "first", "at", "id", "attributes", "header", "service", "v1"]
    document = described(**{key: value if data.draw(st.booleans()) else {data.draw(st.sampled_from(keys)): value}})
    with contextlib.suppress(UsageError):
        assert read_description(document, None).name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = 'a\n", "not a description in TOML"),
        (b"\xff", "no text"),
        (b"", "name is missing"),
        (b"[" * 100_000, "not a description"),
    ],
)
def test_a_file_that_is_no_description_is_refused_with_the_reason(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        load_service(str(file))


def test_a_service_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("name = 'things'\n[versions.v1.boxes]\npath = '/boxes'\nfields = {size = 'integer'}\n", "utf-8-sig")
    assert [endpoint.fields for endpoint in load_service(str(file))] == [(Field("size", Kind.INTEGER),)]
    with pytest.raises(UsageError, match="cannot be read"):
        load_service(str(tmp_path))
