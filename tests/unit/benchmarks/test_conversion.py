"""Conversion alone, as it is measured."""

from __future__ import annotations

import pytest

from benchmarks import conversion
from bulk_export.transform.decode import Block

WAYS = conversion.ways()


@pytest.mark.parametrize("way", [name for name in WAYS if name != "orjson.loads"])
def test_every_way_converts_all_records_of_the_pages_it_is_counted_for(way: str) -> None:
    call, pages = WAYS[way]
    block = call()
    assert isinstance(block, Block)
    assert list(block.rows_per_page) == [conversion.PAGE] * pages
    assert any(block.drift.to_json().values()) == ("drift" in way)


def test_times_are_given_for_each_page_beside_those_of_a_parser() -> None:
    rows = {row["way"]: row for row in conversion.rows(rounds=1)}
    assert rows.keys() == WAYS.keys()
    assert rows["orjson.loads"]["of_orjson"] == 1
    assert all(isinstance(row["ms_a_page"], float) and row["ms_a_page"] > 0 for row in rows.values())
