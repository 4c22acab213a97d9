"""A poll that dies in any of its disk calls, or after any time: the next one goes on, and the copy is right."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import polars
import pyarrow.parquet as pq
import pytest

from bulk_export.output.delta_files import unused_files
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.tables.delta_table import DeltaCopyTable
from bulk_export.services.local import LocalService, serving
from tests.support import exporting
from tests.support.disk_calls import counted, kill_at
from tests.support.exporting import FREE, TOKEN

NAMES = ("participants-npq", "statements")
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.support.warm"])


def options(base_url: str, output: Path, format_: str) -> SyncOptions:
    return SyncOptions.of(
        NAMES,
        base_url=base_url,
        token=TOKEN,
        output=output,
        format=format_,
        page_size=10,
        **FREE,
    )


def poll_here(base_url: str, output: Path, format_: str, number: int, seconds: float) -> None:
    if seconds:
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    with counted(kill_at(number, torn=number % 2 == 1)):
        anyio.run(sync_once, options(base_url, output, format_))


async def dies(service: LocalService, output: Path, format_: str, number: int = 0, seconds: float = 0.0) -> bool:
    """A poll in a process of its own that is killed at a disk call or after a time; whether it was."""

    def run() -> int | None:
        process = _PROCESSES.Process(target=poll_here, args=(service.base_url, output, format_, number, seconds))
        process.start()
        process.join()
        code = process.exitcode
        process.close()
        return code

    code = await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
    assert code in (0, -9), code
    return code == -9


def rows(output: Path, name: str) -> list[dict[str, Any]]:
    if (output / name / "_delta_log").exists():
        return polars.read_delta(str(output / name)).to_arrow().to_pylist()
    return pq.read_table(output / name).to_pylist()


async def assert_recovers(service: LocalService, output: Path, format_: str) -> None:
    """The next poll makes the copy right, and the log tells of every poll once."""
    await sync_once(options(service.base_url, output, format_))
    for name in NAMES:
        shown = rows(output, name)
        assert sorted(row["id"] for row in shown) == sorted(record["id"] for record in service.truth(name))
        moments = {record["id"]: record["attributes"]["updated_at"] for record in service.truth(name)}
        if format_ == "delta":
            # What a merge wrote that was killed is in no version, and may hold a person who is deleted later.
            assert unused_files(output / name, set(DeltaCopyTable(output / name).files)) == []
        for row in shown:
            assert f"{row['updated_at']:%Y-%m-%dT%H:%M:%S}" == moments[row["id"]][:19]
    log = [json.loads(line) for line in (output / "sync-log.jsonl").read_text().splitlines()]
    numbers = [entry["poll"] for entry in log]
    assert numbers == sorted(set(numbers))
    # What a poll that died did to a table is in the record of the one that went on.
    assert sum(entry["endpoints"][NAMES[0]]["inserted"] for entry in log) == len(rows(output, NAMES[0]))
    assert not (output / ".bulk-export").exists()


async def kill_each(room: Path, format_: str, first: int, step: int) -> int:
    """Kill first polls, and polls for changes, at disk call `first`, `first + step`, …; how many died."""
    output, kept = room / "copy", room / "kept"
    chosen = exporting.settings(records_by_endpoint={NAMES[0]: 25, NAMES[1]: 5})
    async with serving(chosen) as service:
        deaths = 0
        for place in itertools.count():
            if not await dies(service, output, format_, first + step * place):
                break
            deaths += 1
            await assert_recovers(service, output, format_)
            shutil.rmtree(output)
        shutil.copytree(output, kept)
        service.touch(NAMES[0], 3)
        service.append(NAMES[0], 1)
        for place in itertools.count():
            shutil.rmtree(output, ignore_errors=True)
            shutil.copytree(kept, output)
            if not await dies(service, output, format_, first + step * place):
                break
            deaths += 1
            await assert_recovers(service, output, format_)
        return deaths


@pytest.mark.slow
@pytest.mark.timeout(180)  # a busy machine takes ten times as long as an idle one
@pytest.mark.parametrize(("format_", "first"), [("delta", 5), pytest.param("parquet", 69, marks=pytest.mark.torture)])
async def test_killed_at_any_disk_call(room: Path, format_: str, first: int) -> None:
    """A poll that is killed at some of its disk calls goes on."""
    assert await kill_each(room, format_, first, 299) > 2


@pytest.mark.torture
@pytest.mark.parametrize("format_", ["delta", "parquet"])
@pytest.mark.parametrize("first", range(1, 9))
async def test_killed_at_every_disk_call(room: Path, format_: str, first: int) -> None:
    """A poll that is killed at each of its disk calls goes on."""
    assert await kill_each(room, format_, first, 8) > 20


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", pytest.param("parquet", marks=pytest.mark.torture)])
async def test_killed_after_any_time_a_poll_goes_on(room: Path, format_: str) -> None:
    """Within the libraries that write tables, too, whose disk calls nobody counts."""
    chosen = exporting.settings(records_by_endpoint={NAMES[0]: 25, NAMES[1]: 5})
    async with serving(chosen) as service:
        for seconds in (0.3, 0.6, 0.8):
            output = room / str(seconds)
            await dies(service, output, format_, seconds=seconds)
            await assert_recovers(service, output, format_)
