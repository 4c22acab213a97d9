"""Log lines of a run: every request, retries and throttling; never the token nor the value of a filter."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from bulk_export.core.model import Limit
from bulk_export.pipelines.export import export
from bulk_export.services.local import serving
from tests.support.exporting import QUICK, TOKEN, options, settings

CANARY = "1f3c77aa-0b6e-4c5d-9a56-0a11ca4a0001"
REQUEST = re.compile(
    r"GET npq-applications /api/v\d/npq-applications\?(?P<query>\S+) page=\d+ size=\d+ sweep=\d+ attempt=\d+: "
    r"status \d+, \d+ bytes in \d+ ms"
)


async def run(tmp_path: Path, *endpoints: str, filters: tuple[str, ...] = (), **service: object) -> None:
    async with serving(settings(**service)) as local:
        await export(options(local, tmp_path / "out", *endpoints, filter=filters, page_size=100), tuning=QUICK)


async def test_each_request_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="bulk_export.extract")
    await run(tmp_path, "npq-applications")
    requests = [match for line in caplog.messages if (match := REQUEST.fullmatch(line))]
    assert len(requests) >= 24
    assert "page[page]=1&page[per_page]=100" in requests[0]["query"]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


async def test_filters_are_logged_by_name_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor the value of a filter is in any line, although the request has both."""
    caplog.set_level(logging.DEBUG)
    await run(tmp_path, "participant-declarations", filters=(f"participant_id={CANARY}",))
    lines = "\n".join(caplog.messages)
    assert "filter[participant_id]=..." in lines
    assert CANARY not in lines
    assert TOKEN not in lines


async def test_retries_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="bulk_export.extract")
    await run(tmp_path, "npq-applications", error_rate=0.4, seed=3)
    retries = [record for record in caplog.records if record.msg.startswith("Retrying page")]
    assert {record.levelno for record in retries} == {logging.INFO}
    assert "status 50" in retries[0].getMessage()
    assert any("attempt=2" in line for line in caplog.messages)


async def test_throttling_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="bulk_export.extract")
    await run(tmp_path, "statements", service_limit=Limit(1, 1.0))
    holds = [line for line in caplog.messages if line.startswith("Throttled (429)")]
    assert holds
    assert re.fullmatch(r"Throttled \(429\): nothing is sent for \d+\.\d s, until \d\d:\d\d:\d\dZ", holds[0])


async def test_a_run_without_logging_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a handler Python prints warnings, so that nothing here is logged above INFO."""
    await run(tmp_path, "npq-applications", error_rate=0.4, seed=3)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
