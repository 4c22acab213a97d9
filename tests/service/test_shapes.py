"""Services of every description and shape: what is exported is what was served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bulk_export.core.model import Endpoint, Service
from bulk_export.errors import ServiceFailing
from bulk_export.pipelines.export import export
from bulk_export.services.catalogue import built_in_services, load_service, read_description, service_versions
from bulk_export.services.local import LocalService, serving
from bulk_export.services.local.rendering import Renderer
from tests.support.exporting import QUICK, options, settings
from tests.support.restore import canonical, restore

BUILT_IN = [(name, version) for name in built_in_services() for version in service_versions(name)]
FIELDS = {
    "name": "string",
    "paid": "boolean",
    "size": "integer",
    "weight": "number",
    "day": "date",
    "created_at": "timestamp",
    "updated_at": "timestamp",
    "owner": {"email": "string", "left": {"at": "timestamp"}},
    "tags": ["string"],
    "parts": [{"made": "date", "number": "integer"}],
}
CELLS = {name: declared for name, declared in FIELDS.items() if isinstance(declared, str)}
OFFSET = {"style": "offset", "number": "offset", "size": "limit", "filter": "{name}", "sort": "order_by"}
ORDER = {"order": ["created_at", "id"], "order_is_total": True}


def described(endpoint: dict[str, Any] | None = None, **top: Any) -> Service:
    boxes = {"path": "/v1/boxes", "filters": ["name"], "fields": FIELDS} | ORDER | (endpoint or {})
    document: dict[str, Any] = {"name": "things", "versions": {"v1": {"boxes": boxes}}}
    return read_description(document | top, None)


def rows(output: Path, name: str) -> list[dict[str, Any]]:
    return [row for file in sorted((output / name).glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def lines(output: Path, name: str) -> list[dict[str, Any]]:
    files = sorted((output / name).glob("*.ndjson"))
    return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n") if line]


def as_sent(endpoint: Endpoint, row: Mapping[str, Any]) -> Any:
    """The record behind a row of columns, in the shape of the service."""
    record = canonical(restore(row)) if endpoint.format == "csv" else restore(row)
    record.setdefault("attributes", {})
    return Renderer(endpoint).render(record)


def cell(value: Any) -> Any:
    """A cell with one form for equal instants, as `canonical` has it."""
    shown = canonical(value)
    return json.dumps(shown) if isinstance(shown, tuple) else shown


async def exported_exactly(service: LocalService, output: Path, **changes: Any) -> dict[str, Any]:
    described = service.settings.service
    await export(
        options(service, output, service=described, format=["parquet", "ndjson"], **changes),
        tuning=QUICK,
    )
    manifest: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    for endpoint in described:
        served = list(service.truth(endpoint.name))
        shown, taken = lines(output, endpoint.name), [as_sent(endpoint, row) for row in rows(output, endpoint.name)]
        assert shown == served or not endpoint.order_is_total
        if endpoint.format == "csv":
            served, taken = ([{k: cell(v) for k, v in row.items()} for row in table] for table in (served, taken))
        served, taken, shown = ([canonical(record) for record in table] for table in (served, taken, shown))
        if not endpoint.order_is_total:
            served, taken, shown = (sorted(table, key=repr) for table in (served, taken, shown))
            assert shown == served or endpoint.format == "csv"
        assert taken == served
        drift = manifest["endpoints"][endpoint.name]["drift"]
        assert not drift["unknown"]
    return manifest


@pytest.mark.parametrize(("name", "version"), BUILT_IN)
async def test_every_endpoint_of_every_built_in_service_is_exported_as_served(
    tmp_path: Path, name: str, version: str
) -> None:
    service = load_service(name, version)
    # The bundled service gives everything without the filters that the real one insists on.
    service = replace(service, endpoints=tuple(replace(endpoint, requires=()) for endpoint in service))
    async with serving(settings(service=service, records_by_endpoint={}, records=23, gzip=True)) as served:
        await exported_exactly(served, tmp_path / "out", page_size=10)


SHAPES: dict[str, Service] = {
    "flat": described(records={"at": [], "attributes": []}, pages=OFFSET),
    "items with numbers": described(
        records={"at": ["items"], "id": ["number"], "attributes": [], "id_type": "integer"}, pages={"first": 0}
    ),
    "far down": described(
        records={"at": ["a", "b"], "id": ["meta", "id"], "type": ["meta", "kind"], "attributes": ["body", "fields"]},
    ),
    "attributes of another name": described(records={"id": ["uuid"], "type": ["kind"], "attributes": ["fields"]}),
    "all at once": described(pages={"style": "none"}),
    "a key without a scheme": described(auth={"header": "X-Api-Key", "scheme": ""}),
    "a table": described({"format": "csv", "fields": CELLS}),
    "a table with numbers": described({"format": "csv", "fields": CELLS, "records": {"id_type": "integer"}}),
    "pages whose size the service chooses": described(pages={"size": "", "default": 7}),
    "positions without a size": described(pages=OFFSET | {"size": "", "default": 7}),
    "no fields at all": described({"fields": {}}, records={"attributes": []}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gzip", [False, True])
async def test_every_shape_is_exported_as_served(tmp_path: Path, shape: str, gzip: bool) -> None:
    service = SHAPES[shape]
    async with serving(settings(service=service, records_by_endpoint={"boxes": 53}, gzip=gzip)) as served:
        if shape == "no fields at all":
            await export(options(served, tmp_path / "out", service=service, page_size=20), tuning=QUICK)
            assert len(rows(tmp_path / "out", "boxes")) == 53
        else:
            await exported_exactly(served, tmp_path / "out", page_size=20)


@pytest.mark.parametrize("style", ["pages", "offset"])
@pytest.mark.parametrize(("records", "largest"), [(0, 7), (1, 7), (7, 7), (100, 7), (101, 50), (40, 1000)])
async def test_a_clamp_that_nobody_described_loses_and_repeats_nothing(
    tmp_path: Path, style: str, records: int, largest: int
) -> None:
    service = described(pages=OFFSET if style == "offset" else {})
    made = settings(service=service, records_by_endpoint={"boxes": records}, largest_page=largest)
    async with serving(made) as served:
        manifest = await exported_exactly(served, tmp_path / "out", page_size=50)
    assert manifest["endpoints"]["boxes"]["duplicates"] == 0
    assert not manifest["endpoints"]["boxes"]["changed_during_export"]


@pytest.mark.parametrize("shape", ["a table", "all at once"])
async def test_what_comes_with_one_answer_costs_one_request(tmp_path: Path, shape: str) -> None:
    async with serving(settings(service=SHAPES[shape], records_by_endpoint={"boxes": 1_000})) as served:
        manifest = await exported_exactly(served, tmp_path / "out", page_size=30)
        assert len(served.log) == 1
    assert manifest["endpoints"]["boxes"]["pages"] == 34


async def test_a_table_without_records_comes_as_an_empty_body_and_is_no_failure(tmp_path: Path) -> None:
    async with serving(settings(service=SHAPES["a table"], records_by_endpoint={"boxes": 0})) as served:
        manifest = await exported_exactly(served, tmp_path / "out", retries=0)
        assert len(served.log) == 1
    assert manifest["endpoints"]["boxes"]["records"] == 0


async def test_a_service_is_described_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "things.toml"
    file.write_text(
        """
        name = "things"
        [pages]
        style = "offset"
        number = "skip"
        size = "take"
        [records]
        at = []
        attributes = []
        [auth]
        header = "X-Api-Key"
        scheme = ""
        [versions.v1.boxes]
        path = "/boxes"
        order = ["id"]
        order_is_total = true
        fields = { name = "string", created_at = "timestamp" }
        """
    )
    service = load_service(str(file))
    async with serving(settings(service=service, records_by_endpoint={"boxes": 250}, largest_page=40)) as served:
        await export(options(served, tmp_path / "out", service=str(file), format=["parquet", "ndjson"]), tuning=QUICK)
        assert lines(tmp_path / "out", "boxes") == list(served.truth("boxes"))
        assert {record.query.partition("&")[0] for record in served.log} >= {"skip=0", "skip=40", "skip=240"}


async def test_cut_tables_are_fetched_again(tmp_path: Path) -> None:
    made = settings(service=SHAPES["a table"], records_by_endpoint={"boxes": 200}, truncate_rate=0.5, seed=3)
    async with serving(made) as served:
        await exported_exactly(served, tmp_path / "out", page_size=50)
        assert len(served.log) > 1


async def test_an_interrupted_search_for_the_end_goes_on(tmp_path: Path) -> None:
    service = described(pages=OFFSET)
    made = settings(service=service, records_by_endpoint={"boxes": 300}, largest_page=10, error_rate=0.5, seed=1)
    async with serving(made) as served:
        runs = 0
        while True:
            runs += 1
            assert runs < 100
            try:
                await export(
                    options(served, tmp_path / "out", service=service, format=["parquet", "ndjson"], retries=0),
                    tuning=QUICK,
                )
                break
            except ServiceFailing:
                continue
        assert lines(tmp_path / "out", "boxes") == list(served.truth("boxes"))
    assert runs > 1
