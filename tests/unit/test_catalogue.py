"""The descriptions of services: complete, consistent, and what the service's own facts say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.catalogue import built_in_services, choose_endpoints, load_service, read_description
from bulk_export.errors import UsageError
from bulk_export.files import safe_name
from bulk_export.model import Endpoint, Field, FieldType, Kind, Limit, ListOf, Struct

SERVICES = [load_service(name) for name in built_in_services()]
ENDPOINTS = [endpoint for service in SERVICES for endpoint in service]
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


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_each_description_is_sound(endpoint: Endpoint) -> None:
    assert safe_name(endpoint.name) == endpoint.name
    assert endpoint.path.startswith("/")
    assert endpoint.since is None or endpoint.since in endpoint.filters
    names = [field.name for field in endpoint.fields]
    assert names
    assert len(set(names)) == len(names)
    assert not {"id", "type", "_extra"} & set(names)
    for attribute in endpoint.order:
        assert attribute == "id" or attribute in names
    if endpoint.sort is not None:
        assert endpoint.order in (tuple(endpoint.sort.split(",")), ())  # none: it sorts by what it does not show
        assert "+" not in endpoint.sort
    if endpoint.order_is_total:
        assert (endpoint.sort or ",".join(endpoint.order)).endswith("id")


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
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
