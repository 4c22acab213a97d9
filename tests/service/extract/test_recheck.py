"""Endpoints whose ties come in no particular order lose no record."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.model import Service
from bulk_export.pipelines.export import export
from bulk_export.services.local import serving
from tests.support.exporting import options, settings
from tests.support.list_service import NAME, Records, described, exported, person, serving_list
from tests.support.outputs import read_ndjson, read_parquet
from tests.support.restore import canonical, restore


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("page_size", [10, 97])
async def test_missed_records_are_found_by_sweeping(tmp_path: Path, seed: int, page_size: int) -> None:
    """Records that were on no page are found by sweeping again."""
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


async def test_no_sweep_without_repetition(tmp_path: Path) -> None:
    """Nothing is swept again if no record repeats."""
    async with serving(settings(records_by_endpoint={"statements": 299})) as service:
        await export(options(service, tmp_path / "out", "statements"))
        # The page, and the one behind it, since the service is not known.
        assert [record.page for record in service.log] == [1, 2]


async def test_repeated_record_is_written_once(tmp_path: Path) -> None:
    """A record on two pages is written once, in its newest version, and counted.

    A vanished record pulls later ones forward; one that is created and sorted in front pushes them back.
    """
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


def with_open_ties(records: Records, number: int, sort: str, *, heeds_id: bool = True) -> Records:
    """By time of update; ties of four come in another order with each request, unless the id is the second key."""
    rng = random.Random(number)
    named = heeds_id and sort.endswith(",id")
    return sorted(records, key=lambda one: (one["attributes"]["updated_at"], one["id"] if named else rng.random()))


TIED = [person(number, updated_at=f"2025-01-01T00:00:{number // 4:02}Z") for number in range(60)]
SORTED: dict[str, Any] = {"sorts": ["updated_at"], "order_is_total": True}


async def test_tie_break_makes_one_sweep_enough(tmp_path: Path) -> None:
    """A tie-break is sent with a chosen sort, so that one sweep is enough."""
    async with serving_list(TIED, ordered=with_open_ties) as service:
        stated = await exported(
            service, tmp_path / "out", described(sort="created_at,id", **SORTED), sort="updated_at", workers=1
        )
        assert {query["sort"] for query in service.queries} == {"updated_at,id"}
    assert read_ndjson(tmp_path / "out" / NAME) == TIED
    assert (stated["duplicates"], "swept_again" in stated) == (0, False)


@pytest.mark.parametrize(
    "described_as",
    [
        described(sort="created_at,id", **SORTED),
        described(sort="id", **SORTED),
        described(sort="updated_at", order_is_total=True),
        described(sort="updated_at"),
    ],
    ids=["ignores the tie-break", "one key at a time", "wrongly said to be total", "open"],
)
async def test_open_ties_are_stated(tmp_path: Path, described_as: Service) -> None:
    """Where ties stay open, an export is complete or says that it may not be."""
    shuffled = functools.partial(with_open_ties, heeds_id=False)
    wholes = 0
    for seed in range(3):
        ordered = functools.partial(
            lambda seed, records, number, sort: shuffled(records, number + seed, sort), 100 * seed
        )
        async with serving_list(TIED, ordered=ordered) as it:
            sort = "updated_at" if described_as.endpoints[0].sorts else None
            stated = await exported(it, tmp_path / str(seed), described_as, sort=sort, workers=1)
        found = {record["id"] for record in read_ndjson(tmp_path / str(seed) / NAME)}
        is_whole = len(found) == stated["records"] == len(TIED)
        assert is_whole or stated["changed_during_export"]
        assert stated["duplicates"] > 0
        wholes += is_whole and not stated["changed_during_export"]
    assert wholes >= 2
