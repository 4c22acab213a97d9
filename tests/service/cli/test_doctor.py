"""`bulk-export doctor`: what would keep an export from working, found before one is begun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import bulk_export
from bulk_export.services.local import serving
from bulk_export.services.local.server import LocalService
from tests.support.command import run
from tests.support.exporting import TOKEN, settings

SECRET = "another-token-9c1d"


def by_subject(findings: list[bulk_export.Finding]) -> dict[str, bulk_export.Finding]:
    return {finding.subject: finding for finding in findings}


async def test_all_is_well(tmp_path: Path) -> None:
    """Each endpoint is asked once, and nothing is wrong."""
    async with serving(settings()) as service:
        found = by_subject(
            await bulk_export.doctor(base_url=service.base_url, token=TOKEN, budget="memory://", output=tmp_path)
        )
        assert len(service.log) == 6
    assert {finding.state for finding in found.values()} == {"ok"}
    assert "lists nothing" in found["delivery-partners"].detail
    assert {"versions", "disk", "budget", "address", "proxy", "clock", "statements"} <= set(found)


@pytest.mark.parametrize(
    ("policy", "state"), [('"token";q=1000;w=300', "ok"), ('"token";q=30;w=60', "warning"), ("nonsense", None)]
)
async def test_limits_that_the_service_announces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, state: str | None
) -> None:
    """Announced limits are shown, and a warning says how to keep to them if they are lower than those kept to."""
    respond = LocalService._respond

    async def with_headers(self: LocalService, request: web.Request) -> web.StreamResponse:
        response = await respond(self, request)
        response.headers.update({"RateLimit-Policy": policy, "RateLimit": '"token";r=7;t=12'} if state else {})
        return response

    monkeypatch.setattr(LocalService, "_respond", with_headers)
    async with serving(settings()) as service:
        found = by_subject(
            await bulk_export.doctor(base_url=service.base_url, token=TOKEN, budget="memory://", output=tmp_path)
        )
    limits = found.get("limits")
    assert (limits and limits.state) == state
    assert limits is None or "7 left, more in 12 s" in limits.detail
    assert limits is None or limits.state == "ok" or "--service-limit 30/60s" in limits.next_step


async def test_token_that_is_refused(tmp_path: Path) -> None:
    """A token that the service does not know is a failure with the exit code of an export, and is not shown."""
    async with serving(settings()) as service:
        found = await bulk_export.doctor(base_url=service.base_url, token=SECRET, budget="memory://", output=tmp_path)
    assert by_subject(found)["statements"].exit_code == 3
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("more", "subject", "code"),
    [
        ({"base_url": "http://127.0.0.1:9", "token": TOKEN}, "npq-applications", 4),
        ({"base_url": "https://host.invalid", "token": TOKEN}, "address", 4),
        ({"base_url": "https://host.invalid"}, "options", 2),
        ({"environment": "local", "budget": "redis://127.0.0.1:9/0"}, "budget", 5),
        ({"environment": "local", "output": "/dev/null/nowhere"}, "disk", 5),
    ],
)
async def test_first_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], subject: str, code: int
) -> None:
    """What is wrong is named, with the exit code that an export would have."""
    monkeypatch.delenv("BULK_EXPORT_TOKEN", raising=False)
    found = await bulk_export.doctor(**{"budget": "memory://", "output": tmp_path} | more)
    failed = next(finding for finding in found if finding.state == "failure")
    assert (failed.subject, failed.exit_code) == (subject, code)


def test_command(tmp_path: Path) -> None:
    """The command shows the findings as they come, or as JSON."""
    shown = run("doctor", "--environment", "local", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("ok       versions")
    as_json = json.loads(run("doctor", "--environment", "local", "--json", cwd=tmp_path).stdout)
    assert [finding["subject"] for finding in as_json][-1] == "delivery-partners"
