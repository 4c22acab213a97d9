"""When the records of the local service were created and changed, and what the examples of the documents find in it."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from bulk_export.cli import app
from bulk_export.cli.runner import run
from bulk_export.pipelines.options import ExportOptions
from bulk_export.services.catalogue import load_service
from bulk_export.services.local import LocalServiceSettings
from bulk_export.services.local.query import parse_query
from bulk_export.services.local.server import LocalService
from bulk_export.services.local.settings import start_of_month
from bulk_export.services.local.timeline import TIE_SIZE, Timeline

ROOT = Path(__file__).parents[4]
NEWEST = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
COMMANDS: Any = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
TEXTS = [(ROOT / name).read_text() for name in ("README.md", "docs/guide.md", "bulk_export/cli/examples.py")]
LINES = sorted(
    {
        line
        for text in TEXTS
        for line in re.findall(r"bulk-export ((?:export|head) [^\n\"]*)", re.sub(r'"\s+" ', " ", text))
        if "--filter" in line or "--updated-since" in line
    }
)


def service(name: str = "npq", records: int = 500, newest: float | None = NEWEST) -> LocalService:
    described = load_service(name)
    return LocalService(LocalServiceSettings(service=described, token="t", records=records, newest=newest))


def found(local: LocalService, name: str, parameters: list[tuple[str, str]]) -> list[str]:
    """The ids that a query finds, in their order."""
    (endpoint,) = [one for one in local.settings.service if one.name == name]
    query = parse_query(local.settings.service, endpoint, [("page[per_page]", "3000"), *parameters], 3000)
    return [record["id"] for record in json.loads(local._datasets[name].page(query))["data"]]


@pytest.mark.parametrize("count", [0, 1, 8, 2_000, 300_000])
def test_times_reach_from_2021_to_the_newest(count: int) -> None:
    """Records are created in the order of their numbers, ties included, and none is changed after the newest."""
    timeline = Timeline.until(NEWEST, count)
    created = [timeline.created_at(number) for number in range(0, count, max(1, count // 999))]
    assert created == sorted(created)
    for number in range(0, count, max(1, count // 999)):
        assert timeline.created_at(number) <= timeline.updated_at(number) <= NEWEST
    if count > 1_000:
        assert datetime.fromtimestamp(created[0], UTC).year == 2021
        assert NEWEST - timeline.created_at(count - 1) < 30 * 86_400
        assert len({timeline.created_at(number) for number in range(TIE_SIZE)}) == 1
    assert timeline.last_cohort == 2026


def test_records_of_one_hour() -> None:
    """Without a newest time nothing depends on the number of records."""
    assert Timeline.until(None, 5) == Timeline.until(None, 5_000) == Timeline()
    assert (Timeline().last_cohort, Timeline().created_at(7) - Timeline().created_at(0)) == (None, 11)


@pytest.mark.parametrize("day", ["soon", "2021-12-31", "2026-13-01"])
def test_newest_day_that_cannot_be(day: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no day, or is before there were records, is refused with an example."""
    assert run(app, ["local-service", "--newest", day]) == 2
    assert "--newest 2026-09-01" in capsys.readouterr().err


def test_cohorts() -> None:
    """Cohorts are years from 2021 to the one that has begun."""
    for name, path in (("npq", "npq-applications"), ("ecf", "participants-ecf")):
        cohorts = set(re.findall(r'"cohort": "([^"]+)"', json.dumps(list(service(name).truth(path)))))
        assert cohorts == {str(year) for year in range(2021, 2027)}
    assert Timeline.until(datetime(2026, 5, 1, tzinfo=UTC).timestamp(), 9).last_cohort == 2025


def test_start_of_month() -> None:
    """Data are the same all month."""
    assert start_of_month(NEWEST) == start_of_month(NEWEST + 29 * 86_400) == NEWEST


@pytest.mark.parametrize("line", LINES)
def test_examples_of_the_documents_find_something(line: str) -> None:
    """Each filter in README, guide and help finds a record, and not all."""
    command, *arguments = shlex.split(line.partition("\\")[0])
    given = COMMANDS[command].make_context(command, arguments).params
    names = list(given.get("endpoints") or [given["endpoint"]])
    chosen = {name: given[name] for name in ("filter", "updated_since") if given.get(name)}
    options = ExportOptions.of(names, environment="local", **chosen)
    local = service()
    for endpoint in options.endpoints:
        filters = [(f"filter[{key}]", value) for key, value in options.filters_for(endpoint)]
        assert filters
        assert 0 < len(found(local, endpoint.name, filters)) < 500


def test_there_are_examples() -> None:
    """The search for examples finds them."""
    assert len(LINES) >= 4


@pytest.mark.parametrize("name", ["npq", "ecf", "ect"])
def test_published_sorts(name: str) -> None:
    """With `id` as the last key, every published sort has one order; without, tied records have none."""
    local = service(name, records=60)
    for endpoint in local.settings.service:
        for sort in endpoint.sorts:
            orders = {tuple(found(local, endpoint.name, [("sort", f"{sort},id")])) for _ in range(3)}
            assert len(orders) == 1
            (order,) = orders
            assert len(set(order)) == 60
            assert sorted(found(local, endpoint.name, [("sort", sort)])) == sorted(order)


def test_tied_records_settle() -> None:
    """After as many requests as are set, tied records come in one order, over pages of any size."""
    local = LocalService(LocalServiceSettings(service=load_service("npq"), token="t", records=100, settles_after=3))
    early = {tuple(found(local, "statements", [])) for _ in range(3)}
    (late,) = {tuple(found(local, "statements", [])) for _ in range(3)}
    assert len(early) == 3
    paged = [found(local, "statements", [("page[per_page]", "9"), ("page[page]", str(page))]) for page in range(1, 13)]
    assert tuple(identity for page in paged for identity in page) == late
    assert len(set(late)) == 100
