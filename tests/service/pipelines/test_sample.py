"""`--limit N`: a sample of each endpoint, by no more requests than it takes, and the manifest says so."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pyarrow.parquet as pq
import pytest

from bulk_export import load
from bulk_export.errors import Interrupted, UsageError
from bulk_export.output.run_log import RunLog
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.option_parsing import sample_of
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.progress.summary import summary_lines, summary_object
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import QUICK, options, settings

ENDPOINT = "npq-applications"


def ids(directory: Path, endpoint: str = ENDPOINT) -> list[str]:
    return pq.read_table(directory / endpoint).column("id").to_pylist()


@pytest.mark.parametrize(
    ("limit", "page_size", "pages", "records"),
    [(10, None, 1, 10), (20, 7, 3, 18), (2_345, 700, 4, 2_344), (300, 300, 1, 300)],
)
async def test_as_many_records_and_requests(
    tmp_path: Path, limit: int, page_size: int | None, pages: int, records: int
) -> None:
    """The first records of the list are exported, by one request for each page and none behind."""
    async with serving(settings()) as service:
        everything = options(service, tmp_path / "all", ENDPOINT)
        await export(everything, tuning=QUICK)
        before = len(service.log)
        sample = options(service, tmp_path / "some", ENDPOINT, limit=limit, page_size=page_size)
        summary = await export(sample, tuning=QUICK)
        assert len(service.log) - before == pages
    assert ids(tmp_path / "some") == ids(tmp_path / "all")[:records]
    assert summary.endpoints[0].records == records
    manifest = json.loads((tmp_path / "some/manifest.json").read_text())
    assert manifest["parameters"]["sample"] == limit
    assert verify(tmp_path / "some").rows == records


async def test_lists_that_are_shorter(tmp_path: Path) -> None:
    """A list with fewer records is exported whole, and an empty one is empty."""
    async with serving(settings()) as service:
        names = ("participants-npq-outcomes", "delivery-partners")
        await export(options(service, tmp_path / "some", *names, limit=1_000, page_size=10), tuning=QUICK)
    assert len(ids(tmp_path / "some", "participants-npq-outcomes")) == 300
    assert ids(tmp_path / "some", "delivery-partners") == []


async def test_nothing_is_learned_from_a_sample(tmp_path: Path) -> None:
    """A whole export after a sample reads the whole list."""
    budget = {"budget": f"sqlite:///{tmp_path}/budget"}
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "some", ENDPOINT, limit=10, **budget), tuning=QUICK)
        await export(options(service, tmp_path / "all", ENDPOINT, **budget), tuning=QUICK)
    assert len(ids(tmp_path / "all")) == 2_345


async def test_stopped_sample_goes_on(tmp_path: Path) -> None:
    """A sample that was stopped, even behind its last page, is finished by the next run."""
    async with serving(settings()) as service:
        chosen = options(service, tmp_path / "some", ENDPOINT, limit=60, page_size=10, workers=1)
        for pages in (2, 6):
            stop = anyio.Event()

            def stop_after(
                service: LocalService, request: Any, *, limit: int = pages, stop: anyio.Event = stop
            ) -> None:
                if len(service.log) >= limit:
                    stop.set()

            service.before_request = stop_after
            with suppress(Interrupted):
                await export(chosen, stop=stop, tuning=QUICK)
        service.before_request = None
        if not (tmp_path / "some/manifest.json").exists():
            await export(chosen, tuning=QUICK)
        assert len(service.log) == 6
        whole = options(service, tmp_path / "whole", ENDPOINT, limit=60, page_size=10)
        await export(whole, tuning=QUICK)
    assert ids(tmp_path / "some") == ids(tmp_path / "whole")


async def test_sample_from_kept_pages(tmp_path: Path) -> None:
    """A replay of a sample is the sample."""
    async with serving(settings()) as service:
        chosen = options(service, tmp_path / "some", ENDPOINT, limit=20, page_size=7, keep_pages=True)
        await export(chosen, tuning=QUICK)
    await replay(ReplayOptions.of(tmp_path / "some", output=tmp_path / "again"))
    assert ids(tmp_path / "again") == ids(tmp_path / "some")


async def test_sample_replaces_no_table(tmp_path: Path) -> None:
    """Loading a sample needs a mode, since replacing would remove all other rows."""
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "some", ENDPOINT, limit=5), tuning=QUICK)
    with pytest.raises(UsageError, match="sample"):
        load(tmp_path / "some", to=f"sqlite://{tmp_path}/db")


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": "many"}, {"limit": 5, "consistent": True}])
def test_impossible_samples(given: dict[str, Any]) -> None:
    """A sample has a record at least, and proves nothing."""
    with pytest.raises(UsageError):
        ExportOptions.of(("statements",), environment="local", **given)


@pytest.mark.parametrize(("limit", "size", "largest"), [(1, None, 3_000), (3_001, None, 3_000), (10_000, 7, 3_000)])
def test_pages_of_a_sample(limit: int, size: int | None, largest: int) -> None:
    """Pages are equal, not too large, and hold together at most what was asked for, and nearly that."""
    sample = sample_of(limit, size, largest, consistent=False)
    assert sample.pages is not None
    assert sample.page_size <= (size or largest)
    assert limit - sample.pages < sample.page_size * sample.pages <= limit


async def test_it_is_called_a_sample_wherever_it_is_told(tmp_path: Path) -> None:
    """Summary, metrics, log and lineage say so, and the summary of a replay; those of a whole export do not."""
    found: dict[int | None, tuple[Any, ...]] = {}
    for limit in (5, None):
        folder = tmp_path / str(limit)
        folder.mkdir()
        async with serving(settings()) as service:
            chosen = options(
                service,
                folder / "out",
                ENDPOINT,
                limit=limit,
                keep_pages=True,
                metrics=folder / "run.prom",
                lineage=folder / "lineage.jsonl",
            )
            summary = await export(chosen, tuning=QUICK)
        replayed = await replay(ReplayOptions.of(folder / "out", output=folder / "again"))
        head = json.loads((folder / "out" / "run.jsonl").read_text().partition("\n")[0])
        event = json.loads((folder / "lineage.jsonl").read_text().splitlines()[-1])
        assert RunLog.parse((folder / "out" / "run.jsonl").read_text()).sample == limit
        found[limit] = (
            summary_object(summary)["sample"],
            summary_object(replayed)["sample"],
            [line for line in summary_lines(summary) if line.startswith("a sample")],
            re.findall(r"\nbulk_export_last_sample_limit\S+ (\d+)", (folder / "run.prom").read_text()),
            head.get("sample"),
            event["outputs"][0]["facets"].get("documentation", {}).get("description"),
        )
    text = "a sample: at most 5 records of each endpoint, as --limit asks"
    assert found[5] == (5, 5, [text], ["5"], 5, text)
    assert found[None] == (None, None, [], ["0"], None, None)
