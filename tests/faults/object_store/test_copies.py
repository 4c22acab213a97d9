"""Processes that are killed while they write a copy to a store."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import polars
import pytest

import bulk_export
from bulk_export.output.object_store.reading import download
from tests.support.exporting import FREE
from tests.support.small_service import ENDPOINTS, SmallService
from tests.support.store_proxy import CUT, Answer, Request
from tests.support.store_scene import Lake

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

_SPAWNED = multiprocessing.get_context("spawn")
_BETWEEN_KILLS = 4


def sync_once(base_url: str, address: str, state: Path) -> None:
    """Poll once, with this directory for state."""
    os.environ["XDG_STATE_HOME"] = str(state)
    bulk_export.run_sync(*ENDPOINTS, service="npq", base_url=base_url, token="t", output=address, **FREE)


def rows(lake: Lake, address: str, directory: Path) -> dict[str, int]:
    """The number of rows of each table in the store, as a program reads them that knows Delta tables."""
    store = lake.store(address)
    for found in list(store.list()):
        (directory / found.key).parent.mkdir(parents=True, exist_ok=True)
        download(store, found.key, directory / found.key)
    logs = directory.glob("*/_delta_log/00000000000000000000.json")
    return {log.parts[-3]: polars.read_delta(str(log.parents[1])).height for log in logs}


@pytest.mark.parametrize("arrives", [False, True], ids=["before", "after"])
def test_killed_at_calls(
    lake: Lake, service: SmallService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, arrives: bool
) -> None:
    """A process that is killed at a call to the store leaves whole tables, and the next one finishes the copy."""
    monkeypatch.setenv("XDG_STATE_HOME", "")
    whole = lake.new_address()
    sync_once(service.base_url, whole, tmp_path / "whole")
    expected = rows(lake, whole, tmp_path / "expected")
    assert set(expected) == set(ENDPOINTS)
    for number in itertools.count(1, _BETWEEN_KILLS):
        address, state = lake.new_address(), tmp_path / f"state-{number}"
        process = _SPAWNED.Process(target=sync_once, args=(service.base_url, address, state))

        def kill(request: Request, number: int = number, process: Any = process) -> Answer | None:
            if request.number == number:
                os.kill(process.pid, signal.SIGKILL)
            # What it still sends while it dies goes nowhere.
            return CUT if request.number >= number else None

        lake.proxy.reset(after=kill) if arrives else lake.proxy.reset(before=kill)
        process.start()
        process.join()
        lake.proxy.reset()
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0, number
            assert number > 2 * _BETWEEN_KILLS
            return
        assert rows(lake, address, tmp_path / f"torn-{number}").items() <= expected.items(), number
        sync_once(service.base_url, address, state)
        assert rows(lake, address, tmp_path / f"at-{number}") == expected, number
