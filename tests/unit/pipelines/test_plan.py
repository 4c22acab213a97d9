"""From the options of a plan to estimates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.plan import PlanOptions, plan_costs
from bulk_export.services.local.settings import BUNDLED_RECORDS


def options(*endpoints: str, **given: Any) -> PlanOptions:
    return PlanOptions.of(endpoints, **given)


def test_records_of_all_and_of_one() -> None:
    """`N` is for all endpoints, `ENDPOINT=N` for one; later ones win."""
    made = options("statements", "npq-applications", records=["10", "statements=20"])
    assert made.records == {"npq-applications": 10, "statements": 20}
    assert made.unknown == []
    assert options("statements", "npq-applications", records=["statements=20"]).unknown == ["npq-applications"]


@pytest.mark.parametrize("text", ["many", "-1", "statements=x", "nothing=3", "1" * 13, ""])
def test_malformed_records(text: str) -> None:
    """A number of records that cannot be read is refused with an example."""
    with pytest.raises(UsageError) as refused:
        options(records=[text])
    assert "--records 50000" in refused.value.next_step


def test_records_of_an_earlier_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--like takes the numbers of a manifest; --records wins over them."""
    manifest = {"endpoints": {"statements": {"records": 7}, "npq-applications": {"records": 8}, "other": "x"}}
    monkeypatch.setattr("bulk_export.pipelines.plan.read_manifest", lambda _: json.loads(json.dumps(manifest)))
    made = options("statements", "npq-applications", like=tmp_path, records=["statements=9"])
    assert made.records == {"statements": 9, "npq-applications": 8}


def test_records_of_the_bundled_service() -> None:
    """The bundled service has a known number of records; any other address has none."""
    assert options("statements", environment="local").records == {"statements": BUNDLED_RECORDS}
    assert options("statements", environment="local", base_url="https://a.org").records == {}


def test_changes_need_sync() -> None:
    with pytest.raises(UsageError, match="--changed is for --sync"):
        options(changed=["60"])
    assert options("statements", changed=["60"], sync=True).changed == {"statements": 60}
    assert options("statements").changed is None


def test_page_size_of_polls() -> None:
    """Polls use the default page size of the service unless one is given."""
    assert options(sync=True).poll_page_size == 100
    assert options(sync=True, page_size=50).poll_page_size == 50
    assert options(sync=True, page_size=500).poll_page_size == 500


def test_costs_of_an_export_and_of_a_sync() -> None:
    """An export has one cost; a sync has those of a full sync and of a poll."""
    costs = plan_costs(options("statements", records=["900"]))
    assert {title: cost.requests for title, cost in costs.items()} == {"requests": {"statements": 4}}
    both = plan_costs(options("statements", records=["900"], sync=True))
    assert list(both) == ["full sync", "a poll"]


def test_too_many_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="300,000 requests"):
        plan_costs(options("statements", records=["1000000"], page_size=1))
