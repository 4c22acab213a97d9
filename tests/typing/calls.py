"""Calls that type checkers accept, and calls in which they find the mistake: it is ignored here, and only there.

mypy and pyright report an ignored mistake that is none, so each `ignore` is a test. Nothing here is run.
"""

# pyright: basic, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import assert_type

import bulk_export
from bulk_export import ExportSummary, Finding, LoadSummary, Plan, ProgressEvent, Service, SyncSummary


def told(event: ProgressEvent) -> None:
    """Take an event apart."""
    match event:
        case bulk_export.RunProgress(endpoints=endpoints, seconds_left=left):
            assert_type(endpoints, tuple[bulk_export.EndpointProgress, ...])
            assert_type(left, float | None)
        case bulk_export.Throttled(pause=pause):
            assert_type(pause, float)
        case _:
            pass


async def right() -> None:
    """Use everything as it is meant."""
    summary = await bulk_export.export(
        "statements", output=Path("out"), environment="local", page_size=3000, on_progress=told, progress="plain"
    )
    assert_type(summary, ExportSummary)
    bulk_export.run_export(format=["parquet", "csv"], filter={"cohort": "2021"}, service=Path("mine.toml"), workers="4")
    bulk_export.run_export(service_limit=bulk_export.Limit(1000, 300.0), compression=None, gone="drop", consistent=True)
    assert_type(bulk_export.run_sync(output="copy", every=timedelta(hours=1), format="delta"), SyncSummary)
    assert_type(await bulk_export.resume(Path("out"), token="t"), ExportSummary)
    assert_type(bulk_export.plan(records={"statements": 100}).cost.seconds, float)
    bulk_export.run_export(min_interval=timedelta(milliseconds=200), max_wait=timedelta(hours=1))
    assert_type(bulk_export.plan(records=100, latency=timedelta(milliseconds=500)), Plan)
    assert_type(bulk_export.plan(records=100, latency=0.5, like=Path("out")), Plan)
    assert_type(await bulk_export.doctor(base_url="https://service.example"), list[Finding])
    assert_type(bulk_export.load("out", to="duckdb:///x.duckdb", mode="upsert"), LoadSummary)
    assert_type(bulk_export.endpoints(service="ecf"), Service)
    assert_type(bulk_export.budget(budget="sqlite://")[0].used, int)
    assert_type(bulk_export.check(Path("out"))[0].found, int)
    assert_type(bulk_export.init(Path("bulk-export.toml")), Path)
    assert_type(bulk_export.trust(Path("work")), list[str])
    assert_type((await bulk_export.describe(Path("openapi.yaml"))).toml, str)


async def wrong() -> None:
    """Make one mistake a line."""
    await bulk_export.export(ouput="out")  # type: ignore[call-arg]
    await bulk_export.export(output=3)  # type: ignore[arg-type]
    await bulk_export.export(["statements"])  # type: ignore[arg-type]
    bulk_export.run_export(["statements"])  # type: ignore[arg-type]
    bulk_export.run_export(n=3)  # type: ignore[call-arg]
    bulk_export.run_export(quiet=True)  # type: ignore[call-arg]
    bulk_export.run_export(on_progress=5)  # type: ignore[arg-type]
    bulk_export.run_export(observer=print)  # type: ignore[arg-type]
    bulk_export.run_sync(["statements"], output="copy")  # type: ignore[arg-type]
    bulk_export.run_head(["statements"])  # type: ignore[arg-type]
    bulk_export.plan(5)  # type: ignore[arg-type]
    bulk_export.report(5)  # type: ignore[arg-type]
    bulk_export.run_resume(b"out")  # type: ignore[arg-type]
    bulk_export.run_replay(5)  # type: ignore[arg-type]
    bulk_export.load(["out"], to="duckdb:///x.duckdb")  # type: ignore[arg-type]
    bulk_export.check_sql("out", 5)  # type: ignore[arg-type]
    bulk_export.init(b"bulk-export.toml")  # type: ignore[arg-type]
    bulk_export.trust(path="work")  # type: ignore[call-arg]
    await bulk_export.describe(5)  # type: ignore[arg-type]
    bulk_export.run_export(page_size=[1])  # type: ignore[arg-type]
    bulk_export.run_export(overwrite="yes")  # type: ignore[arg-type]
    bulk_export.run_export(compression="lzma")  # type: ignore[arg-type]
    bulk_export.run_export(format=["parquet", "xml"])  # type: ignore[list-item]
    bulk_export.run_export(gone="perhaps")  # type: ignore[arg-type]
    bulk_export.run_export(filter={"cohort": 2021})  # type: ignore[dict-item]
    bulk_export.run_export(progress="loud")  # type: ignore[arg-type]
    bulk_export.run_export(on_progress=lambda: None)  # type: ignore[arg-type,misc]
    bulk_export.run_export(to="duckdb:///x.duckdb")  # type: ignore[call-arg]
    bulk_export.stream("statements", pagesize=3)  # type: ignore[call-arg]
    bulk_export.stream(["statements"])  # type: ignore[arg-type]
    bulk_export.run_resume("out", page_size=3)  # type: ignore[call-arg]
    bulk_export.run_replay("out", schema="loose")  # type: ignore[arg-type]
    bulk_export.run_sync(output="copy", removed="forget")  # type: ignore[arg-type]
    bulk_export.run_sync(output="copy", format="csv")  # type: ignore[arg-type]
    bulk_export.load("out", to="duckdb:///x.duckdb", mode="merge")  # type: ignore[arg-type]
    bulk_export.load("out", to="duckdb:///x.duckdb", nested="rows")  # type: ignore[arg-type]
    bulk_export.load_tenants("tenants.toml", "out", two="duckdb:///x.duckdb")  # type: ignore[call-arg]
    bulk_export.run_export_tenants("tenants.toml", limit=[1])  # type: ignore[arg-type]
    bulk_export.run_head("statements", limit=None)  # type: ignore[arg-type]
    bulk_export.run_doctor(page_size=3)  # type: ignore[call-arg]
    bulk_export.plan(records={"statements": "many"})  # type: ignore[dict-item]
    bulk_export.budget(budget=3)  # type: ignore[arg-type]
    bulk_export.endpoints(version="v3")  # type: ignore[call-arg]
    bulk_export.verify(3)  # type: ignore[arg-type]
    bulk_export.check(None)  # type: ignore[arg-type]
    bulk_export.run_describe("openapi.yaml", names="x")  # type: ignore[call-arg]
