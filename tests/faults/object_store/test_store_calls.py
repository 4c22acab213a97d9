"""Every call to the store fails, before it arrives or after, and calls are the last ones of killed processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import BulkExportError
from tests.support.small_service import SmallService
from tests.support.store_proxy import CUT, Answer, Request, error
from tests.support.store_scene import Lake, export_once

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

_FORKED = multiprocessing.get_context("spawn")


def calls_of(lake: Lake, base_url: str, address: str, **changes: Any) -> int:
    """Export without disturbance, and return the number of calls."""
    lake.proxy.reset()
    export_once(base_url, address, **changes)
    return len(lake.proxy.requests)


def exit_code_of(base_url: str, address: str, **changes: Any) -> int:
    """Export, and return the exit code that a user would see."""
    try:
        export_once(base_url, address, **changes)
    except BulkExportError as raised:
        return raised.exit_code
    return 0


def expired(lake: Lake) -> Answer:
    """What a store answers once the credentials have expired."""
    return error(400, "ExpiredToken") if lake.kind == "s3" else error(401, "InvalidAuthenticationInfo")


@pytest.mark.parametrize("arrives", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("overwrite", [False, True], ids=["first", "overwrite"])
def test_credentials_expire_at_each_call(
    lake: Lake, service: SmallService, tmp_path: Path, *, arrives: bool, overwrite: bool
) -> None:
    """From some call on, all are refused; with new credentials the next run leaves what an undisturbed one does."""
    changes: dict[str, Any] = {"work_dir": tmp_path / "work", "overwrite": overwrite}

    def prepared() -> str:
        address = lake.new_address()
        lake.proxy.reset()
        if overwrite:
            export_once(service.base_url, address, work_dir=tmp_path / "work")
        return address

    whole = prepared()
    calls = calls_of(lake, service.base_url, whole, **changes)
    expected = lake.content(whole, tmp_path / "whole")
    assert calls > 20
    for number in range(1, calls + 1, 4 if overwrite else 1):
        address = prepared()

        def refuse(request: Request, number: int = number) -> Answer | None:
            is_late = request.number > number if arrives else request.number >= number
            return expired(lake) if is_late else None

        def hide(request: Request, number: int = number) -> Answer | None:
            return expired(lake) if request.number == number else None

        lake.proxy.reset(refuse, hide) if arrives else lake.proxy.reset(refuse)
        code = exit_code_of(service.base_url, address, **changes)
        assert code in (0, 3), number
        lake.proxy.reset()
        if code:
            export_once(service.base_url, address, **changes)
        assert lake.content(address, tmp_path / f"at-{number}") == expected, number
        assert not list((tmp_path / "work").iterdir()), number


@pytest.mark.parametrize("arrives", [False, True], ids=["before", "after"])
def test_killed_at_calls(lake: Lake, service: SmallService, tmp_path: Path, *, arrives: bool) -> None:
    """A process that is killed at a call to the store leaves what the next one finishes."""
    whole = lake.new_address()
    calls = calls_of(lake, service.base_url, whole, work_dir=tmp_path / "work")
    expected = lake.content(whole, tmp_path / "whole")
    for number in range(1, calls + 1, 5):
        address = lake.new_address()
        process = _FORKED.Process(
            target=export_once, args=(service.base_url, address), kwargs={"work_dir": tmp_path / "work"}
        )

        def kill(request: Request, number: int = number, process: Any = process) -> Answer | None:
            if request.number == number:
                os.kill(process.pid, signal.SIGKILL)
            # What it still sends while it dies goes nowhere.
            return CUT if request.number >= number else None

        lake.proxy.reset(after=kill) if arrives else lake.proxy.reset(before=kill)
        process.start()
        process.join()
        lake.proxy.reset()
        # How many calls there are depends on time: parts that a second conversion replaces may have been uploaded.
        if process.exitcode == -signal.SIGKILL:
            export_once(service.base_url, address, work_dir=tmp_path / "work")
        else:
            assert process.exitcode == 0, number
            assert number > calls // 2
        assert lake.content(address, tmp_path / f"at-{number}") == expected, number
        assert not list((tmp_path / "work").iterdir()), number
