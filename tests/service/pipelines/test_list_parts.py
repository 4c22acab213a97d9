"""Lists that are read in parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import SchemaDrift
from bulk_export.pipelines.list_parts import ListPart, cut, find_parts
from bulk_export.pipelines.stream import stream_batches
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import QUICK, options, settings

ENDPOINT = "npq-applications"


async def parts_of(service: LocalService, output: Path, **changes: Any) -> tuple[ListPart, ...]:
    return (await find_parts(options(service, output, ENDPOINT, **changes), pages=4, tuning=QUICK)).parts


async def ids_of(service: LocalService, output: Path, part: ListPart, **changes: Any) -> list[str]:
    stream = stream_batches(options(service, output, ENDPOINT, **changes), tuning=QUICK, part=part)
    return [identity for batch in [batch async for batch in stream] for identity in batch.column("id").to_pylist()]


@pytest.mark.parametrize("records", [0, 1, 49, 50, 51, 100, 399, 400, 401, 1_600, 2_345])
async def test_parts_are_list(records: int, tmp_path: Path) -> None:
    """All parts together are the list in its order, no page is requested twice, and few only to find the end."""
    async with serving(settings(records_by_endpoint={ENDPOINT: records})) as service:
        parts = await parts_of(service, tmp_path, page_size=50)
        searched = len(service.log)
        ids = [await ids_of(service, tmp_path, part, page_size=50) for part in parts]
        truth = [record["id"] for record in service.truth(ENDPOINT)]
    pages = -(-records // 50)
    assert [identity for part in ids for identity in part] == truth
    assert searched <= 2 * log2(max(pages, 1)) + 4
    requested = Counter(request.page for request in list(service.log)[searched:])
    assert [page for page, times in requested.items() if times > 1 and page is not None and page <= pages] == []
    assert sum(requested.values()) <= pages + 2


async def test_parts_of_cut_pages(tmp_path: Path) -> None:
    """A service that gives fewer records at once than were requested is read in its own pages."""
    async with serving(settings(records_by_endpoint={ENDPOINT: 1_000}, largest_page=40)) as service:
        parts = await parts_of(service, tmp_path, page_size=100)
        ids = [identity for part in parts for identity in await ids_of(service, tmp_path, part, page_size=100)]
        assert ids == [record["id"] for record in service.truth(ENDPOINT)]
    assert len(parts) == 7


async def test_failing_service(tmp_path: Path) -> None:
    """Failures are repeated in the search and in a part."""
    faults = settings(error_rate=0.2, truncate_rate=0.1, reset_rate=0.05, seed=3)
    async with serving(replace(faults, records_by_endpoint={ENDPOINT: 1_000})) as service:
        parts = await parts_of(service, tmp_path, page_size=50)
        ids = [identity for part in parts for identity in await ids_of(service, tmp_path, part, page_size=50)]
        assert ids == [record["id"] for record in service.truth(ENDPOINT)]


async def test_list_that_shrank(tmp_path: Path) -> None:
    """Parts of a list that has shrunk since end with the list."""
    async with serving(settings(records_by_endpoint={ENDPOINT: 210})) as service:
        ids = [await ids_of(service, tmp_path, part, page_size=50) for part in cut(12, 4)]
        assert [identity for part in ids for identity in part] == [record["id"] for record in service.truth(ENDPOINT)]


async def test_list_that_grew(tmp_path: Path) -> None:
    """The last part reads on to the new end."""
    async with serving(settings(records_by_endpoint={ENDPOINT: 520})) as service:
        ids = [await ids_of(service, tmp_path, part, page_size=50) for part in cut(6, 4)]
        assert [identity for part in ids for identity in part] == [record["id"] for record in service.truth(ENDPOINT)]


async def test_strict_part(tmp_path: Path) -> None:
    """In the strict mode, a part with a field that is not described is refused."""
    async with serving(settings()) as service:
        given = options(service, tmp_path, ENDPOINT, schema="strict")
        described = replace(given.endpoints[0], fields=given.endpoints[0].fields[:3])
        stream = stream_batches(replace(given, endpoints=(described,)), tuning=QUICK, part=ListPart(distinct=True))
        with pytest.raises(SchemaDrift, match=ENDPOINT):
            _ = [batch async for batch in stream]
