"""The successor of ecf v3 as it is described and as the bundled service shows it, and what was its predecessor's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bulk_export.core.model import Limit
from bulk_export.errors import ServiceRefused, UsageError
from bulk_export.pipelines.export import export
from bulk_export.pipelines.remote_descriptions import fetch_published_locally
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.services.catalogue import load_service
from bulk_export.services.local import LocalService, serving
from bulk_export.services.openapi import compare, unexpected_changes
from tests.support.exporting import FREE, QUICK, TOKEN, options, settings
from tests.support.outputs import read_parquet
from tests.support.restore import canonical, restore

ECT = load_service("ect")
COHORT = {"filter": {"cohort": "2023"}}


def served(records: int = 150, **changes: Any) -> Any:
    return serving(settings(service=ECT, records_by_endpoint={}, records=records, **changes))


async def get(service: LocalService, path: str, token: str = TOKEN) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.get(service.base_url + path, headers=headers) as response:
        return response.status, json.loads(await response.text()) if response.status == 200 else None


def test_lists_are_sorted_without_ties() -> None:
    """Its lists are the published ones, and sorted without ties where the service takes a sort."""
    assert {endpoint.path.removeprefix("/api/v3/") for endpoint in ECT} == {
        "participants",
        "participants/transfers",
        "unfunded-mentors",
        "partnerships",
        "schools",
        "participant-declarations",
        "statements",
        "delivery-partners",
    }
    assert {endpoint.name for endpoint in ECT if endpoint.sort is None} == {"participant-declarations"}
    assert {endpoint.sort for endpoint in ECT} == {"created_at,id", None}
    assert {endpoint.name for endpoint in ECT if not endpoint.order_is_total} == {"participant-declarations"}


async def test_bundled_service_publishes_description() -> None:
    """The bundled service publishes what is described."""
    assert unexpected_changes(ECT, compare(ECT, await fetch_published_locally(ECT))) == []


async def test_records_have_the_shapes_of_the_service() -> None:
    async with served() as service:
        shown = {endpoint.name: [one["attributes"] for one in service.truth(endpoint.name)] for endpoint in ECT}
        ids = {endpoint.name: {one["id"] for one in service.truth(endpoint.name)} for endpoint in ECT}
    people, declarations = shown["participants"], shown["participant-declarations"]
    kinds = Counter(tuple(one["participant_type"] for one in person["ecf_enrolments"]) for person in people)
    assert kinds.keys() == {("ect",), ("mentor",), ("ect", "mentor")}
    trainings = [one["training_record_id"] for person in people for one in person["ecf_enrolments"]]
    assert len(set(trainings)) == len(trainings)
    merged = [change for person in people for change in person["participant_id_changes"]]
    assert merged
    assert not {change["from_participant_id"] for change in merged} & ids["participants"]
    joined = [one["joining"] is None for person in shown["participants-transfers"] for one in person["transfers"]]
    assert set(joined) == {True, False}
    assert all(one["leaving"] for person in shown["participants-transfers"] for one in person["transfers"])
    assert all(one["statement_id"] is None for one in declarations if one["state"] == "voided")
    for key, name in (("participant_id", "participants"), ("statement_id", "statements")):
        assert {one[key] for one in declarations} - {None} <= ids[name]
    assert {one["delivery_partner_id"] for one in shown["partnerships"]} <= ids["delivery-partners"]
    assert {one["school_id"] for one in shown["partnerships"]} <= ids["schools"]


async def test_tied_declarations_are_all_exported(tmp_path: Path) -> None:
    """Declarations of one moment come in any order, and all are exported."""
    async with served() as service:
        _, first = await get(service, "/api/v3/participant-declarations?page[per_page]=150")
        _, again = await get(service, "/api/v3/participant-declarations?page[per_page]=150")
        assert first != again
        assert "sort" not in "".join(record.query for record in service.log)
        await export(
            options(service, tmp_path, "participant-declarations", service=ECT, page_size=10, consistent=True),
            tuning=QUICK,
        )
        taken = {row["id"]: canonical(restore(row)) for row in read_parquet(tmp_path / "participant-declarations")}
        assert taken == {one["id"]: canonical(one) for one in service.truth("participant-declarations")}


async def test_statements_are_sorted(tmp_path: Path) -> None:
    """Statements are sorted although that is not published."""
    async with served() as service:
        await export(options(service, tmp_path, "statements", service=ECT, page_size=10), tuning=QUICK)
        assert all("sort=created_at,id" in record.query for record in service.log)
        assert [row["id"] for row in read_parquet(tmp_path / "statements")] == [
            one["id"] for one in service.truth("statements")
        ]


async def test_schools_need_one_cohort(tmp_path: Path) -> None:
    """Schools are requested for one cohort, and never for several."""
    async with served() as service:
        with pytest.raises(UsageError, match="2022,2023"):
            options(service, tmp_path, "schools", service=ECT, filter={"cohort": "2022,2023"})
        assert not service.log
        _, several = await get(service, "/api/v3/schools?filter[cohort]=2023,2022&page[per_page]=150")
        await export(options(service, tmp_path, "schools", service=ECT, **COHORT), tuning=QUICK)
        taken = {row["id"] for row in read_parquet(tmp_path / "schools")}
        wanted = {one["id"] for one in service.truth("schools") if one["attributes"]["cohort"] == "2023"}
    assert taken == wanted == {one["id"] for one in several["data"]} != set()


async def test_filters_look_into_trainings(tmp_path: Path) -> None:
    """A filter by cohort or status looks into the trainings of a person."""
    async with served() as service:
        for key, value in (("cohort", "2023,2024"), ("training_status", "withdrawn")):
            _, body = await get(service, f"/api/v3/participants?filter[{key}]={value}&page[per_page]=150")
            wanted = {
                one["id"]
                for one in service.truth("participants")
                if {training[key] for training in one["attributes"]["ecf_enrolments"]} & set(value.split(","))
            }
            assert {one["id"] for one in body["data"]} == wanted != set()


async def test_a_copy_follows_what_changes_and_what_is_new(tmp_path: Path) -> None:
    names = ["participants", "participants-transfers", "participant-declarations"]
    async with served(20) as service:
        chosen = SyncOptions.of(
            names, **FREE, base_url=service.base_url, token=TOKEN, output=tmp_path, service=ECT, format="parquet"
        )
        await sync_once(chosen)
        for name in names:
            service.touch(name, 3)
            service.append(name)
        await sync_once(chosen)
        for name in names:
            copied = {row["id"] for row in read_parquet(tmp_path / name)}
            assert copied == {one["id"] for one in service.truth(name)}


async def test_tokens_share_the_address_limit() -> None:
    """Several tokens from one address share its limit."""
    limit = Limit(6, 60.0)
    async with served(
        5, ip_limit=limit, service_limit=Limit(4, 60.0), other_tokens=("other",), clock=lambda: 0.0
    ) as it:
        statuses = [(await get(it, "/api/v3/statements", token))[0] for token in (TOKEN, "other") * 4]
    assert statuses == [200] * 6 + [429] * 2


@pytest.mark.parametrize("service", ["ecf", "npq"])
async def test_ecf_names_its_successor(tmp_path: Path, service: str) -> None:
    """ecf names its successor if its paths are not found."""
    async with served(5) as it:
        with pytest.raises(ServiceRefused, match="status 404") as refused:
            await export(options(it, tmp_path, f"participants-{service}", service=service), tuning=QUICK)
        assert refused.value.exit_code == 3
        assert ("--service ect" in refused.value.next_step) == (service == "ecf")


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("name", ["participants-ecf", "participants-ecf-csv"])
async def test_older_ecf_shows_people_twice(tmp_path: Path, version: str, name: str) -> None:
    """Older versions of ecf show people who are teacher and mentor twice, and both are exported."""
    service = load_service("ecf", version)
    async with serving(settings(service=service, records_by_endpoint={name: 275}, records=1)) as it:
        shown = [one.get("attributes", one) | {"id": one["id"]} for one in it.truth(name)]
        await export(options(it, tmp_path, name, service=service), tuning=QUICK)
    kinds: dict[str, set[str]] = {}
    for one in shown:
        kinds.setdefault(one["id"], set()).add(one["participant_type"])
    assert [len(some) for some in kinds.values()].count(2) == len(shown) - len(kinds) == 25
    trainings = {(one["id"], one["training_record_id"]) for one in shown}
    assert len(trainings) == 275
    taken = [(row["id"], row["training_record_id"]) for row in read_parquet(tmp_path / name)]
    assert sorted(taken) == sorted(trainings)
