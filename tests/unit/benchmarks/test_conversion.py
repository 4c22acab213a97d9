"""Conversion alone, as it is measured."""

from __future__ import annotations

import pytest

from benchmarks import conversion
from bulk_export.transform.decode import Block

WAYS = conversion.ways()


@pytest.mark.parametrize("way", [name for name in WAYS if name != "orjson.loads"])
def test_every_way_converts_all_records(way: str) -> None:
    """Every way of conversion converts all records of the pages that it is measured by."""
    call, pages = WAYS[way]
    block = call()
    assert isinstance(block, Block)
    assert list(block.rows_per_page) == [conversion.PAGE] * pages
    assert any(block.drift.to_json().values()) == ("drift" in way)


def test_times_are_given_beside_a_parser() -> None:
    """Times are given for each page, beside those of a parser."""
    rows = {row["way"]: row for row in conversion.rows(rounds=1)}
    assert rows.keys() == WAYS.keys()
    assert rows["orjson.loads"]["of_orjson"] == 1
    assert all(isinstance(row["ms_a_page"], float) and row["ms_a_page"] > 0 for row in rows.values())
