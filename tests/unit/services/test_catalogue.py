"""Loading services, and the built-in descriptions: complete, consistent, and as the services are known to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, Limit, ListOf, Service, Struct
from bulk_export.errors import UsageError
from bulk_export.output.file_names import safe_name
from bulk_export.services.catalogue import built_in_services, choose_endpoints, described_order, load_service

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


def test_endpoints_of_npq_v3() -> None:
    """Every list endpoint of npq v3 is described, under the name of its path."""
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


def test_limits_and_page_sizes_of_npq_are_as_documented() -> None:
    assert (NPQ.version, NPQ.service_limit, NPQ.ip_limit) == ("v3", Limit(1000, 300), Limit(300, 300))
    assert (NPQ.default_page_size, NPQ.largest_page_size) == (100, 3000)


def test_since_filters_of_npq() -> None:
    """Each endpoint has the filter for the time of change that it takes."""
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
def test_types_are_those_sent_not_those_published(endpoint: str, path: str, declared: FieldType) -> None:
    """Where the published types are wrong, the described ones are those that the service sends."""
    (described,) = choose_endpoints(NPQ, [endpoint])
    assert {field.name: field.type for field in described.fields}[path] == declared


def test_nested_fields_are_described() -> None:
    participants = next(endpoint for endpoint in NPQ if endpoint.name == "participants-npq")
    fields = {field.name: field.type for field in participants.fields}
    enrolments = {field.name: field.type for field in below(fields["npq_enrolments"])}
    assert isinstance(enrolments["withdrawal"], Struct)
    assert isinstance(enrolments["deferral"], Struct)
    assert isinstance(fields["participant_id_changes"], ListOf)


def test_built_in_services_and_versions() -> None:
    """The built-in services have their versions, defaults and successors."""
    assert built_in_services() == ("ecf", "ect", "npq")
    assert [(service.name, service.version) for service in SERVICES] == VERSIONS
    assert {load_service(name).version for name in built_in_services()} == {"v3"}
    assert {name: load_service(name).successor for name in built_in_services()} == {
        "ecf": "ect",
        "ect": None,
        "npq": None,
    }


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_csv_endpoints_of_older_npq_versions(version: str) -> None:
    """npq v1 and v2 have their CSV endpoints, which return everything in one response."""
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


def test_endpoints_of_ecf() -> None:
    """ecf has its endpoints in each version, and its schools require a cohort."""
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


def test_rows_without_id_have_a_unique_column_as_id() -> None:
    enrolments = next(endpoint for endpoint in load_service("npq", "v2") if endpoint.name == "npq-enrolments")
    assert enrolments.shape.id == ("npq_application_id",)


@pytest.mark.parametrize(
    ("service", "endpoint"), ENDPOINTS, ids=lambda value: "-".join((value.name, getattr(value, "version", "")))
)
def test_endpoint_is_consistent(service: Service, endpoint: Endpoint) -> None:
    """The name, fields, filters and order of each built-in endpoint agree with each other."""
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
def test_endpoint_names_are_unique(service: object) -> None:
    names = [endpoint.name for endpoint in service]  # type: ignore[attr-defined]  # a Service
    assert len(set(names)) == len(names)


@settings(deadline=None)
@given(st.lists(st.sampled_from([endpoint.name for endpoint in NPQ]), max_size=8))
def test_chosen_endpoints_are_ordered_and_unique(names: list[str]) -> None:
    """Chosen endpoints come in the order in which they are named, each once; all come if none is named."""
    chosen = choose_endpoints(NPQ, names)
    assert [endpoint.name for endpoint in chosen] == list(dict.fromkeys(names or [endpoint.name for endpoint in NPQ]))
    assert described_order(NPQ, chosen) == [endpoint for endpoint in NPQ if endpoint in chosen]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("npq-aplications", "npq-applications"),
        ("participants/npq", "participants-npq"),
        ("declarations", "participant-declarations"),
        ("Statements", "statements"),
    ],
)
def test_unknown_endpoint_suggests_a_similar_one(name: str, nearest: str) -> None:
    with pytest.raises(UsageError) as refused:
        choose_endpoints(NPQ, [name])
    assert f"Did you mean {nearest}?" in refused.value.next_step


@pytest.mark.parametrize("name", ["nqp", "", "../npq", "npq.toml"])
def test_unknown_service_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_service(name)
    assert "npq" in refused.value.next_step


def test_unknown_version_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as refused:
        load_service("npq", "v9")
    assert "v3" in refused.value.next_step


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = 'a\n", "not a description in TOML"),
        (b"\xff", "no text"),
        (b"", "name is missing"),
        (b"[" * 100_000, "not a description"),
    ],
)
def test_file_that_is_no_description_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """The reason is given."""
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_service(str(file))


def test_service_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("name = 'things'\n[versions.v1.boxes]\npath = '/boxes'\nfields = {size = 'integer'}\n", "utf-8-sig")
    assert [endpoint.fields for endpoint in load_service(str(file))] == [(Field("size", Kind.INTEGER),)]
    with pytest.raises(UsageError, match="cannot be read"):
        load_service(str(tmp_path))
