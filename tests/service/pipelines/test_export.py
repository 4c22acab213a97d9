"""A whole export over real HTTP: every record, typed, once, in page order, with a manifest that is true."""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulk_export.core.model import Service
from bulk_export.errors import Interrupted, ServiceFailing, ServiceRefused, UsageError
from bulk_export.pipelines.export import export
from bulk_export.pipelines.tuning import Tuning
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import COUNTS, NPQ, QUICK, TOKEN, options, settings
from tests.support.outputs import file_digests, files_under, read_ndjson, read_parquet
from tests.support.restore import canonical, restore


def least_requests(records: int, page_size: int) -> int:
    return records // page_size + 1


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


async def test_every_record_arrives_in_both_formats(output: Path) -> None:
    """Every record of every endpoint arrives in both formats."""
    async with serving(settings(gzip=True)) as service:
        summary = await export(options(service, output, format=("parquet", "ndjson"), page_size=100))
        truth = {name: list(service.truth(name)) for name in COUNTS}

    for name, expected in truth.items():
        lines = read_ndjson(output / name)
        rows = read_parquet(output / name)
        ordered = NPQ_TOTAL_ORDER[name]
        assert [line["id"] for line in lines] == [row["id"] for row in rows]
        if ordered:
            assert lines == expected
        else:
            assert sorted(lines, key=lambda line: line["id"]) == sorted(expected, key=lambda line: line["id"])
        assert [canonical(restore(row)) for row in rows] == [canonical(line) for line in lines]
    assert {endpoint.name: endpoint.records for endpoint in summary.endpoints} == COUNTS


NPQ_TOTAL_ORDER = {endpoint.name: endpoint.order_is_total for endpoint in NPQ.endpoints}


async def test_manifest_states_the_files(output: Path) -> None:
    """The manifest states the files, records and columns that are there."""
    async with serving(settings()) as service:
        await export(options(service, output, format=("parquet", "ndjson")))
        sent = Counter(record.endpoint for record in service.log)
    manifest = json.loads((output / "manifest.json").read_bytes())

    assert set(manifest) >= {"tool", "service", "api_version", "base_url", "parameters", "started_at", "finished_at"}
    assert (manifest["service"], manifest["api_version"], manifest["base_url"]) == ("npq", "v3", service.base_url)
    ahead = manifest["run"].pop("server_clock_ahead")
    assert -60 < ahead <= 0  # the same clock, read later and in whole seconds
    assert manifest["run"] == {"requests": sum(sent.values()), "retries": 0, "throttled": 0, "resumed": 0}
    assert TOKEN not in json.dumps(manifest)
    for name, endpoint in manifest["endpoints"].items():
        assert endpoint["records"] == COUNTS[name]
        assert endpoint["pages"] == math.ceil(COUNTS[name] / 300)
        assert endpoint["requests"] == sent[name]
        assert endpoint["duplicates"] == 0
        assert [column["name"] for column in endpoint["schema"]][:2] == ["id", "type"]
        assert endpoint["schema"][-1]["name"] == "_extra"
        assert {file["path"] for file in endpoint["files"]} == {
            f"{name}/part-00000.parquet",
            f"{name}/part-00000.ndjson",
        }
        for file in endpoint["files"]:
            content = (output / file["path"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
            assert file["rows"] == COUNTS[name]


async def test_only_the_result_is_left(output: Path) -> None:
    """Nothing but the result is left, and it is private."""
    async with serving(settings()) as service:
        await export(options(service, output, "statements"))
    assert [str(path.relative_to(output)) for path in sorted(output.rglob("*"))] == [
        "manifest.json",
        "run.jsonl",
        "statements",
        "statements/part-00000.parquet",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_under(output)} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (output, output / "statements")} == {0o700}


@pytest.mark.parametrize("workers", [1, 3, 20])
async def test_finding_the_end_is_cheap(output: Path, workers: int) -> None:
    """The end of each endpoint costs hardly a request."""
    async with serving(settings()) as service:
        await export(options(service, output, page_size=50, workers=workers))
        sent = Counter(record.endpoint for record in service.log)
        asked = Counter((record.endpoint, record.page) for record in service.log)
    for name, records in COUNTS.items():
        pages = math.ceil(records / 50)
        waste = sent[name] - least_requests(records, 50)
        # One more, since the service is not known.
        assert 0 <= waste <= 2 + math.log2(max(1, pages))
        # Only the empty page behind the last one may be asked for twice, and is where the last one is full.
        assert all(asked[name, page] == 1 for page in range(1, pages + 1))
        assert asked[name, pages + 1] == 2 or records % 50
        assert max(asked.values()) <= 2


async def test_the_bytes_do_not_depend_on_workers_or_timing(tmp_path: Path) -> None:
    contents = []
    for run, (workers, latency) in enumerate([(1, 0.0), (16, 0.004)]):
        async with serving(settings(latency=latency, latency_spread=0.9)) as service:
            names = [name for name, total in NPQ_TOTAL_ORDER.items() if total]
            directory = tmp_path / str(run)
            tuning = Tuning(part_rows=700)
            await export(
                options(service, directory, *names, workers=workers, page_size=60, format=("parquet", "ndjson")),
                tuning=tuning,
            )
            contents.append(file_digests(directory))
    assert contents[0] == contents[1]
    assert "npq-applications/part-00003.parquet" in contents[0]


async def test_troubled_service_costs_no_record(output: Path) -> None:
    """A service full of trouble costs retries and no record."""
    trouble = settings(error_rate=0.1, reset_rate=0.05, truncate_rate=0.1, garbage_rate=0.1, gzip=True)
    async with serving(trouble) as service:
        summary = await export(
            options(service, output, "npq-applications", format="ndjson", page_size=50), tuning=QUICK
        )
        expected = list(service.truth("npq-applications"))
        assert summary.requests == len(service.log)
    assert read_ndjson(output / "npq-applications") == expected
    assert summary.retries > 0


def without_filter_types() -> Service:
    """A description that does not say what filters take, so that only the service can refuse a value."""
    return replace(NPQ, endpoints=tuple(replace(endpoint, filter_types=()) for endpoint in NPQ))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"token": "wrong"}, 401),
        ({"filter": {"cohort": "not-a-year"}, "service": without_filter_types()}, 4),
    ],
    ids=["401", "4xx"],
)
async def test_rejection_is_passed_on(output: Path, changes: dict[str, Any], status: int) -> None:
    """A rejection is passed on at once, in the service's words."""
    async with serving(settings()) as service:
        with pytest.raises(ServiceRefused, match=f"status {status}"):
            await export(options(service, output, "npq-applications", **changes), tuning=QUICK)
        assert len(service.log) == 1


async def test_finished_export_needs_overwrite(output: Path) -> None:
    """A finished export is replaced with --overwrite only."""
    async with serving(settings()) as service:
        await export(options(service, output, "statements", format="ndjson"))
        before = file_digests(output)
        requests = len(service.log)
        with pytest.raises(UsageError, match="finished export"):
            await export(options(service, output, "statements", format="ndjson"))
        assert (file_digests(output), len(service.log)) == (before, requests)
        await export(options(service, output, "participants-npq-outcomes", overwrite=True))
    assert list(file_digests(output)) == ["participants-npq-outcomes/part-00000.parquet"]


async def test_failed_replacement_keeps_earlier_export(output: Path) -> None:
    """A failed replacement leaves the earlier export complete."""
    async with serving(settings()) as service:
        await export(options(service, output, "statements"))
        before = file_digests(output)
    async with serving(settings(error_rate=1.0)) as service:
        with pytest.raises(ServiceFailing, match="Page 1 of statements failed 12 times"):
            await export(options(service, output, "statements", overwrite=True), tuning=QUICK)
    after = {path: digest for path, digest in file_digests(output).items() if not path.startswith(".bulk-export")}
    assert after == before
    assert json.loads((output / "manifest.json").read_bytes())["endpoints"]["statements"]["records"] == 37


async def test_stopped_export_asks_for_no_page_twice(tmp_path: Path) -> None:
    """An export that was stopped goes on without asking for a page twice."""
    chosen = {"page_size": 50, "format": ("parquet", "ndjson", "csv"), "workers": 4}
    tuning = Tuning(part_rows=400)
    async with serving(settings()) as service:
        undisturbed = tmp_path / "undisturbed"
        await export(options(service, undisturbed, "npq-applications", **chosen), tuning=tuning)

        service.log.clear()
        interrupted = tmp_path / "interrupted"
        for pages in (3, 9, 20, 40, 1_000):
            stop = anyio.Event()

            def stop_after(
                service: LocalService, request: Any, *, limit: int = pages, stop: anyio.Event = stop
            ) -> None:
                if len(service.log) >= limit:
                    stop.set()

            service.before_request = stop_after
            try:
                summary = await export(
                    options(service, interrupted, "npq-applications", **chosen), stop=stop, tuning=tuning
                )
            except Interrupted:
                assert not (interrupted / "manifest.json").exists()
        asked = Counter(record.page for record in service.log)
    assert max(asked.values()) == 1
    assert summary.resumed == 4
    assert file_digests(interrupted) == file_digests(undisturbed)


async def test_other_parameters_are_refused(output: Path) -> None:
    """Going on with other parameters is refused, and the message says what differs."""
    stop = anyio.Event()
    stop.set()
    async with serving(settings()) as service:
        with pytest.raises(Interrupted):
            await export(options(service, output, "statements"), stop=stop)
        with pytest.raises(UsageError, match="--page-size 300, now 100"):
            await export(options(service, output, "statements", page_size=100))


async def test_killed_publishing_is_finished(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that was killed while it was published is finished by the same command, and no other."""

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    async with serving(settings()) as service:
        undisturbed = output.with_name("undisturbed")
        await export(options(service, undisturbed, "participants-npq-outcomes", "participants-npq"))
        for step in ("made_directory", "sync_descriptor", "write_within", "WorkDirectory.clear"):
            directory = output.with_name(step)
            with monkeypatch.context() as patch:
                patch.setattr(f"bulk_export.output.publish.{step}", kill)
                with pytest.raises(Killed):
                    await export(options(service, directory, "participants-npq-outcomes", "participants-npq"))
            with pytest.raises(UsageError, match="the endpoints participants-npq, participants-npq-outcomes, now"):
                await export(options(service, directory, "delivery-partners", overwrite=True))
            requests = len(service.log)
            summary = await export(options(service, directory, "participants-npq-outcomes", "participants-npq"))
            assert len(service.log) == requests
            assert file_digests(directory) == file_digests(undisturbed)
            assert [one.records for one in summary.endpoints] == [300, 900]


async def test_records_updated_since_are_asked_for_in_utc(output: Path) -> None:
    async with serving(settings()) as service:
        chosen = options(
            service, output, "npq-applications", "participants-npq-outcomes", updated_since="2022-05-31T01:00:00+01:00"
        )
        await export(chosen)
        queries = {(record.endpoint, record.query) for record in service.log if record.page == 1}
    wanted = dict(queries)
    assert "filter[updated_since]=2022-05-31T00:00:00Z" in wanted["npq-applications"]
    assert "filter[created_since]=2022-05-31T00:00:00Z" in wanted["participants-npq-outcomes"]


async def test_two_exports_exclude_each_other(output: Path) -> None:
    """Two exports into one directory exclude each other."""
    async with serving(settings(latency=0.05)) as service, anyio.create_task_group() as tasks:
        tasks.start_soon(export, options(service, output, "npq-applications"))
        await anyio.sleep(0.05)
        with pytest.raises(UsageError, match="Another process"):
            await export(options(service, output, "npq-applications"))
