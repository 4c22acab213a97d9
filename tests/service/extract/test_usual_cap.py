"""A list whose records all stand on one page of a length that services often cut to: it may go on, so that is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bulk_export.pipelines import export as pipeline
from tests.support.disturbed_list import NAME, DisturbedList, export_list, list_options
from tests.support.exporting import QUICK
from tests.support.heard_warnings import HeardWarnings
from tests.support.web_server import web_server


@pytest.mark.parametrize("changes", [{}, {"consistent": True}, {"filter": {"cohort": "2024"}}], ids=str)
async def test_single_page_of_usual_length_is_stated(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A single page of a usual length is reported, with a warning."""
    found, stated, warnings = await export_list(DisturbedList(100), tmp_path / "out", page_size=300, **changes)
    assert found == list(range(100))
    assert (stated["signs_of_change"], stated["changed_during_export"]) == ({"suspicious_end": 1}, False)
    assert len(warnings) == 1
    assert "all 100 records came on one page where 300 were asked for" in warnings[0]


async def test_known_service_is_not_reported(tmp_path: Path) -> None:
    """A single page of a usual length is not reported for a service that is known."""
    heard = []
    async with web_server(DisturbedList(100).answer) as url:
        for number in range(2):
            hearing, output = HeardWarnings(), tmp_path / f"{number}"
            options = list_options(url, output, page_size=300, budget=f"sqlite:///{tmp_path / 'budget.sqlite'}")
            await pipeline.export(options, hearing, tuning=QUICK)
            stated = json.loads((output / "manifest.json").read_text())["endpoints"][NAME]
            heard.append((len(hearing.warnings), stated["signs_of_change"]))
    assert heard == [(1, {"suspicious_end": 1}), (0, {})]


@pytest.mark.parametrize(("total", "size"), [(0, 300), (37, 300), (300, 300), (101, 300), (600, 300), (350, 300)])
async def test_other_lengths_are_not_reported(tmp_path: Path, total: int, size: int) -> None:
    """A single page of another length is not reported."""
    found, stated, warnings = await export_list(DisturbedList(total), tmp_path / "out", page_size=size)
    assert (len(found), stated["signs_of_change"], warnings) == (total, {}, [])


async def test_interrupted_export_says_the_same(tmp_path: Path) -> None:
    """An interrupted export reports the same in the end."""
    failing = True
    lists = DisturbedList(100, fault=lambda _count, page, answer: 500 if page > 1 and failing else answer)
    output = tmp_path / "out"
    async with web_server(lists.answer) as url:
        with pytest.raises(Exception, match="failed"):
            await pipeline.export(list_options(url, output, page_size=300, retries=1), tuning=QUICK)
        failing = False
        hearing = HeardWarnings()
        await pipeline.export(list_options(url, output, page_size=300), hearing, tuning=QUICK)
    stated = json.loads((output / "manifest.json").read_text())["endpoints"][NAME]
    assert (len(hearing.warnings), stated["signs_of_change"]) == (1, {"suspicious_end": 1})
