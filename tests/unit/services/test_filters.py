"""Filters and sorts are checked against the endpoints before any request is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Endpoint, Service
from bulk_export.errors import UsageError
from bulk_export.pipelines.options import ExportOptions
from bulk_export.services.catalogue import choose_endpoints, load_service
from bulk_export.services.description import read_description
from bulk_export.services.filters import read_filters, with_required_filters, with_sort

NPQ = load_service("npq")
ECF = load_service("ecf")
UUIDS = [f"7e5bcdbf-c818-4961-8da5-43{number:010x}" for number in range(3)]


def service_of(endpoints: tuple[Endpoint, ...]) -> Service:
    return replace(NPQ, endpoints=endpoints)


def npq(*names: str) -> tuple[Endpoint, ...]:
    return choose_endpoints(NPQ, names)


@pytest.mark.parametrize(
    ("endpoint", "text", "sent"),
    [
        ("npq-applications", "cohort=2021, 2022", "2021,2022"),
        ("npq-applications", f"participant_id={UUIDS[0]}, {UUIDS[1]}", ",".join(UUIDS[:2])),
        ("npq-applications", "updated_since=2025-09-01T01:00:00+01:00", "2025-09-01T00:00:00Z"),
        ("participants-npq-outcomes", "created_since=2025-09-01T00:00:00Z", "2025-09-01T00:00:00Z"),
        ("participants-npq", "training_status=active", "active"),
    ],
)
def test_values_are_sent_as_the_service_takes_them(endpoint: str, text: str, sent: str) -> None:
    ((_, value),) = read_filters([text], npq(endpoint))
    assert value == sent


KINDS = read_description(
    {
        "name": "things",
        "versions": {
            "v1": {
                "boxes": {
                    "path": "/boxes",
                    "filters": ["open", "size", "made", "state", "colours", "changed_since"],
                    "filter_types": {
                        "open": "boolean",
                        "size": "integer",
                        "made": "date",
                        "state": "string",
                        "colours": "strings",
                        "changed_since": "date",
                    },
                    "filter_values": {"state": ["new", "old"], "colours": ["red", "blue"]},
                    "since": "changed_since",
                    "requires": ["changed_since"],
                }
            }
        },
    },
    None,
).endpoints


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("open=true", "open=yes"),
        ("size=-3", "size=3.0"),
        ("made=2024-02-29", "made=2023-02-29"),
        ("state=new", "state=New"),
        ("state=old", "state=new,old"),
        ("colours=red, blue", "colours=red,green"),
    ],
)
def test_every_filter_type_is_checked(good: str, bad: str) -> None:
    assert read_filters([good], KINDS) == (tuple(good.replace(", ", ",").split("=")),)
    with pytest.raises(UsageError, match="does not take"):
        read_filters([bad], KINDS)


def test_time_of_change_satisfies_a_required_filter() -> None:
    """--updated-since gives a required filter for the time of change, in the type that the filter has."""
    assert with_required_filters(KINDS, [], named=True, by_time=True) == KINDS
    with pytest.raises(UsageError) as refused:
        with_required_filters(KINDS, [], named=True)
    assert refused.value.next_step == "Add --updated-since …."
    common: dict[str, Any] = {"environment": "local", "service": service_of(KINDS)}
    asked = ExportOptions.of(updated_since="2024-01-31T23:30:00-01:00", **common)
    assert asked.filters_for(asked.endpoints[0]) == [("changed_since", "2024-02-01")]


def test_left_out_lists_have_reasons() -> None:
    """An export of everything says which lists it leaves out, and why; an export of named endpoints does not."""
    service = replace(ECF, left_out=(("/api/v3/schools/ecf/{id}/lids", "its path needs id"),))
    with pytest.warns(UserWarning, match="schools-ecf"):
        everything = ExportOptions.of(environment="local", service=service)
    assert everything.left_out == (("schools-ecf", "returns no records without cohort"), *service.left_out)
    assert ExportOptions.of(["statements"], environment="local", service=service).left_out == ()


@pytest.mark.parametrize(
    ("endpoint", "text", "message"),
    [
        ("npq-applications", "cohort=21", "years"),
        ("npq-applications", "cohort=2021;2022", "years"),
        ("npq-applications", "cohort=2021,", "years"),
        ("npq-applications", "cohort=\u0662\u0660\u0662\u0661", "years"),
        ("npq-applications", "participant_id=1234", "UUIDs"),
        ("npq-applications", f"participant_id={UUIDS[0]} {UUIDS[1]}", "UUIDs"),
        ("npq-applications", "participant_id={7e5bcdbf-c818-4961-8da5-439cab1984e0}", "UUIDs"),
        ("npq-applications", "updated_since=yesterday", ""),
        ("npq-applications", "training_status=", "It takes: cohort, participant_id, updated_since"),
        ("participants-npq", "training_status=", "training_status=VALUE"),
        ("participants-npq", "cohort=2021", "It takes: updated_since, training_status, from_participant_id"),
        ("delivery-partners", "updated_since=2025-09-01", "It takes: cohort"),
    ],
)
def test_invalid_filters_are_refused(endpoint: str, text: str, message: str) -> None:
    """What the service would refuse is refused before a request, with what to give instead."""
    with pytest.raises(UsageError) as refused:
        read_filters([text], npq(endpoint))
    assert message in refused.value.next_step


@settings(deadline=None, max_examples=60)
@given(st.lists(st.uuids().map(str), min_size=1, max_size=5), st.sampled_from([",", ", ", " ,"]))
def test_lists_of_uuids_may_have_white_space(values: list[str], comma: str) -> None:
    ((_, sent),) = read_filters({"participant_id": comma.join(values)}, npq("npq-applications"))
    assert sent.split(",") == values


def test_every_endpoint_must_take_a_filter() -> None:
    with pytest.raises(UsageError, match="participants-npq does not take the filter 'cohort'"):
        read_filters(["cohort=2021"], npq("npq-applications", "participants-npq"))


def test_endpoint_without_its_required_filter() -> None:
    """It is refused if it is named, and left out with a warning otherwise."""
    schools = choose_endpoints(ECF, ["schools-ecf"])
    with pytest.raises(UsageError) as refused:
        with_required_filters(schools, (), named=True)
    assert "--filter cohort=" in refused.value.next_step
    with pytest.warns(UserWarning, match="schools-ecf returns no records without a filter"):
        kept = with_required_filters(ECF.endpoints, (), named=False)
    assert [endpoint.name for endpoint in ECF if endpoint not in kept] == ["schools-ecf"]
    assert with_required_filters(schools, (("cohort", "2023"),), named=True) == schools


@pytest.mark.parametrize(
    ("sort", "sent", "order"),
    [
        ("created_at", "created_at,id", ("created_at", "id")),
        ("-created_at", "-created_at,id", ()),
        ("updated_at", "updated_at,id", ()),
        ("-updated_at,created_at", "-updated_at,created_at,id", ()),
    ],
)
def test_chosen_sort_replaces_the_own_sort(sort: str, sent: str, order: tuple[str, ...]) -> None:
    """A chosen sort replaces the endpoint's own, and the order stays total."""
    (applications,) = with_sort(npq("npq-applications"), sort)
    assert (applications.sort, applications.order, applications.order_is_total) == (sent, order, True)


@pytest.mark.parametrize(
    ("own", "is_total", "sorts", "chosen", "sent", "stays_total"),
    [
        (None, False, ("updated_at", "-updated_at"), "-updated_at", "-updated_at", False),
        ("id", True, ("id", "updated_at"), "updated_at", "updated_at", False),
        ("id", True, ("-id", "updated_at"), "-id", "-id", True),
        ("id", True, ("id", "updated_at"), "updated_at,id", "updated_at,id", False),
        ("created_at", True, ("updated_at",), "updated_at", "updated_at", False),
        ("created_at,id", False, ("name",), "name", "name,id", False),
        ("created_at,id", True, ("-updated_at",), "-updated_at", "-updated_at,id", True),
        ("created_at,id", True, ("-id", "name"), "name,-id", "name,-id", True),
        (None, True, ("name,created_at",), "name,created_at", "name,created_at", False),
        (None, False, ("name,id",), "name,id", "name,id", True),
    ],
)
def test_tie_break_is_added_where_possible(
    own: str | None, is_total: bool, sorts: tuple[str, ...], chosen: str, sent: str, stays_total: bool
) -> None:
    """The id is added as the last key if the endpoint takes several keys. Otherwise the order may have ties."""
    described = replace(npq("npq-applications")[0], sort=own, order_is_total=is_total, sorts=sorts)
    (found,) = with_sort([described], chosen)
    assert (found.sort, found.order_is_total) == (sent, stays_total)


def test_unfunded_mentors_have_ties_when_sorted() -> None:
    (mentors,) = with_sort(choose_endpoints(ECF, ["unfunded-mentors-ecf"]), "-updated_at")
    assert (mentors.sort, mentors.order_is_total) == ("-updated_at", False)


@pytest.mark.parametrize(
    ("endpoint", "sort", "message"),
    [
        ("npq-applications", "name", "It sorts by: created_at, -created_at, updated_at, -updated_at"),
        ("npq-applications", "create_at", "Did you mean created_at?"),
        ("npq-applications", "created_at,-created_at", "each once"),
        ("statements", "created_at", "It takes no sort"),
    ],
)
def test_sort_that_is_not_published_is_refused(endpoint: str, sort: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        with_sort(npq(endpoint), sort)
    assert message in refused.value.next_step
