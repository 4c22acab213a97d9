"""One answer is no proof: whatever arrives once, nothing is lost, dropped or called consistent because of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulk_export.extract.consistency import MOST_SWEEPS
from tests.support.list_service import LARGEST, NAME, ListService, Records, described, exported, person, serving_list
from tests.support.outputs import read_ndjson

BENT: dict[str, Callable[[Records], Records]] = {
    "empty": lambda _: [],
    "one record": lambda records: records[:1],
    "half": lambda records: records[: len(records) // 2],
    "one fewer": lambda records: records[:-1],
    "the end of it": lambda records: records[-2:],
}


async def run(records: int, output: Path, bend: Callable[[int, Records], Records], **changes: Any) -> dict[str, Any]:
    async with serving_list([person(number) for number in range(records)], bend=bend) as service:
        return await exported(service, output, described(), consistent=True, **changes)


@settings(max_examples=8, deadline=None)
@given(
    records=st.integers(0, 24),
    page_size=st.integers(1, LARGEST),
    number=st.integers(1, 12),
    how=st.sampled_from(sorted(BENT)),
    gone=st.sampled_from(["keep", "drop"]),
)
@example(records=3, page_size=5, number=1, how="empty", gone="drop")
@example(records=3, page_size=5, number=2, how="empty", gone="drop")
@example(records=20, page_size=5, number=6, how="empty", gone="drop")
@example(records=20, page_size=5, number=9, how="one record", gone="drop")
def test_any_single_response_may_be_wrong(records: int, page_size: int, number: int, how: str, gone: str) -> None:
    """Any one response may be empty or short, and everything is exported."""

    def bend(asked: int, shown: Records) -> Records:
        return BENT[how](shown) if asked == number else shown

    with TemporaryDirectory() as directory:
        output = Path(directory) / "out"
        stated = anyio.run(lambda: run(records, output, bend, page_size=page_size, gone=gone))
        written = read_ndjson(output / NAME)
    assert sorted(record["id"] for record in written) == [person(place)["id"] for place in range(records)]
    assert (stated["consistent"], stated["gone"]) == (True, 0)


@pytest.mark.parametrize("since", range(5, 14))
async def test_cap_falls_after_first_sweep(tmp_path: Path, since: int) -> None:
    """A cap that falls after the first sweep loses nothing.

    20 records are read with 4 requests of 5 and one that finds the end, then with 3 of 7.
    """

    def bend(asked: int, shown: Records) -> Records:
        service.cap = LARGEST if asked < since else 3
        return shown

    async with serving_list([person(number) for number in range(20)], bend=bend) as service:
        stated = await exported(service, tmp_path / "out", described(), consistent=True, gone="drop", workers=1)
    assert len(read_ndjson(tmp_path / "out" / NAME)) == 20
    assert (stated["consistent"], stated["gone"]) == (True, 0)


async def test_empty_responses_never_outweigh_records(tmp_path: Path) -> None:
    """Nothing but empty responses never outweighs records that were seen."""
    stated = await run(6, tmp_path / "out", lambda asked, shown: shown if asked == 1 else [], gone="drop", page_size=7)
    assert len(read_ndjson(tmp_path / "out" / NAME)) == stated["records"] == 6
    assert (stated["consistent"], stated["swept_again"], stated["gone"]) == (False, MOST_SWEEPS, 0)


async def test_gone_needs_a_proven_end(tmp_path: Path) -> None:
    """Records that two sweeps lack are gone only if the end of the list is proven.

    The second of two sweeps that lack records asks for the page behind the last one.
    """

    def bend(asked: int, shown: Records) -> Records:
        if asked == 1:
            service.records = service.records[:4]
        return shown

    async with serving_list([person(number) for number in range(6)], bend=bend) as service:
        stated = await exported(service, tmp_path / "out", described(), consistent=True, gone="drop", page_size=7)
        assert service.queries[-1]["page[page]"] == "2"
    assert (stated["records"], stated["consistent"], stated["gone"]) == (4, True, 2)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_unpaged_table_needs_two_equal_responses(tmp_path: Path, number: int) -> None:
    """A table in one response is requested until two responses agree."""
    described_as = described(format="csv")

    async def export(service: ListService) -> dict[str, Any]:
        return await exported(service, tmp_path / "out", described_as, consistent=True, gone="drop")

    people = [person(place) for place in range(12)]
    async with serving_list(
        people, as_table=True, bend=lambda asked, rows: rows[:3] if asked == number else rows
    ) as it:
        stated = await export(it)
        assert len(it.queries) == {1: 3, 2: 4, 3: 2}[number]
    assert (stated["records"], stated["consistent"], stated["gone"]) == (12, True, 0)


async def test_quiet_unpaged_data_cost_one_sweep(tmp_path: Path) -> None:
    """Quiet data that one response holds cost one more sweep."""
    stated = await run(4, tmp_path / "out", lambda _, shown: shown)
    assert (stated["swept_again"], stated["consistent"], stated["changed_during_export"]) == (1, True, False)
