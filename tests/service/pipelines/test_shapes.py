"""Services of every description and shape: what is exported is what was served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.model import Service
from bulk_export.errors import ServiceFailing
from bulk_export.pipelines.export import export
from bulk_export.services.catalogue import built_in_services, load_service, read_description, service_versions
from bulk_export.services.local import serving
from tests.support.any_shape import CELLS, FIELDS, OFFSET, ORDER, export_and_compare
from tests.support.exporting import QUICK, options, settings
from tests.support.outputs import read_ndjson, read_parquet

BUILT_IN = [(name, version) for name in built_in_services() for version in service_versions(name)]


def described(endpoint: dict[str, Any] | None = None, **top: Any) -> Service:
    boxes = {"path": "/v1/boxes", "filters": ["name"], "fields": FIELDS} | ORDER | (endpoint or {})
    document: dict[str, Any] = {"name": "things", "versions": {"v1": {"boxes": boxes}}}
    return read_description(document | top, None)


@pytest.mark.parametrize(("name", "version"), BUILT_IN)
async def test_built_in_services_are_exported_as_served(tmp_path: Path, name: str, version: str) -> None:
    """Every endpoint of every built-in service is exported as it was served."""
    service = load_service(name, version)
    # The bundled service gives everything without the filters that the real one insists on.
    service = replace(service, endpoints=tuple(replace(endpoint, requires=()) for endpoint in service))
    async with serving(settings(service=service, records_by_endpoint={}, records=23, gzip=True)) as served:
        await export_and_compare(served, tmp_path / "out", page_size=10)


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
            assert len(read_parquet(tmp_path / "out" / "boxes")) == 53
        else:
            await export_and_compare(served, tmp_path / "out", page_size=20)


@pytest.mark.parametrize("style", ["pages", "offset"])
@pytest.mark.parametrize(("records", "largest"), [(0, 7), (1, 7), (7, 7), (100, 7), (101, 50), (40, 1000)])
async def test_undescribed_clamp_loses_nothing(tmp_path: Path, style: str, records: int, largest: int) -> None:
    """A clamp of the page size that nobody described loses and repeats nothing."""
    service = described(pages=OFFSET if style == "offset" else {})
    made = settings(service=service, records_by_endpoint={"boxes": records}, largest_page=largest)
    async with serving(made) as served:
        manifest = await export_and_compare(served, tmp_path / "out", page_size=50)
    assert manifest["endpoints"]["boxes"]["duplicates"] == 0
    assert not manifest["endpoints"]["boxes"]["changed_during_export"]


@pytest.mark.parametrize("shape", ["a table", "all at once"])
async def test_unpaged_list_costs_one_request(tmp_path: Path, shape: str) -> None:
    """A list in one response costs one request."""
    async with serving(settings(service=SHAPES[shape], records_by_endpoint={"boxes": 1_000})) as served:
        manifest = await export_and_compare(served, tmp_path / "out", page_size=30)
        assert len(served.log) == 1
    assert manifest["endpoints"]["boxes"]["pages"] == 34


async def test_empty_table_is_no_failure(tmp_path: Path) -> None:
    """A table without records is an empty body, and no failure."""
    async with serving(settings(service=SHAPES["a table"], records_by_endpoint={"boxes": 0})) as served:
        manifest = await export_and_compare(served, tmp_path / "out", retries=0)
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
        assert read_ndjson(tmp_path / "out" / "boxes") == list(served.truth("boxes"))
        assert {record.query.partition("&")[0] for record in served.log} >= {"skip=0", "skip=40", "skip=240"}


async def test_cut_tables_are_fetched_again(tmp_path: Path) -> None:
    made = settings(service=SHAPES["a table"], records_by_endpoint={"boxes": 200}, truncate_rate=0.5, seed=3)
    async with serving(made) as served:
        await export_and_compare(served, tmp_path / "out", page_size=50)
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
        assert read_ndjson(tmp_path / "out" / "boxes") == list(served.truth("boxes"))
    assert runs > 1
