"""Endpoints whose ties come in no particular order lose no record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_export.local_service import serving
from bulk_export.pipeline import export
from tests.exporting import options, settings
from tests.restore import canonical, restore
from tests.service.test_export import read_ndjson, read_parquet


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("page_size", [10, 97])
async def test_records_that_stood_on_no_page_are_found_by_sweeping_again(
    tmp_path: Path, seed: int, page_size: int
) -> None:
    async with serving(settings(seed=seed, records_by_endpoint={"statements": 1_000})) as service:
        summary = await export(
            options(service, tmp_path / "out", "statements", page_size=page_size, format=("parquet", "ndjson"))
        )
        expected = {record["id"]: record for record in service.truth("statements")}
    (endpoint,) = summary.endpoints
    lines = read_ndjson(tmp_path / "out/statements")
    assert len(lines) == endpoint.records == 1_000
    assert {line["id"]: line for line in lines} == expected
    rows = read_parquet(tmp_path / "out/statements")
    assert [canonical(restore(row)) for row in rows] == [canonical(line) for line in lines]
    assert endpoint.duplicates > 0
    stated = json.loads((tmp_path / "out/manifest.json").read_bytes())["endpoints"]["statements"]
    assert (stated["swept_again"], stated["recovered"]) == (1, endpoint.duplicates)
    assert stated["changed_during_export"] is False


async def test_nothing_is_swept_again_where_nothing_repeats(tmp_path: Path) -> None:
    async with serving(settings(records_by_endpoint={"statements": 299})) as service:
        await export(options(service, tmp_path / "out", "statements"))
        # The page, and the one behind it, since the service is not known.
        assert [record.page for record in service.log] == [1, 2]


async def test_a_record_met_twice_is_written_once_in_its_newest_version_and_counted(tmp_path: Path) -> None:
    """A vanished record pulls later ones forward; one that is created and sorted in front pushes them back."""
    async with serving(settings(records_by_endpoint={"participant-declarations": 200})) as service:
        seen: list[int] = []

        def repeat(it: object, record: object) -> None:
            seen.append(len(seen))
            if len(seen) == 6:
                service.remove("participant-declarations", 0)

        service.before_request = repeat
        summary = await export(
            options(service, tmp_path / "out", "participant-declarations", page_size=20, workers=1, format="ndjson")
        )
    lines = read_ndjson(tmp_path / "out/participant-declarations")
    assert len({line["id"] for line in lines}) == len(lines) == summary.endpoints[0].records
