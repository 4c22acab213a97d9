"""What `budget` shows of each limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_export.cli import app
from bulk_export.cli.runner import run
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RequestOutcome
from bulk_export.extract.rate_limit.boot_clock import boot_clock
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.planned_requests import TOKEN, make_limits

ELSEWHERE = ("http://127.0.0.1:1001", "http://127.0.0.1:1002")


def record(path: Path, service: str, period: float) -> None:
    """Record a request of a process that kept to limits of this period."""
    ledger = SqliteLedger(path, service, TOKEN, make_limits(Limit(5, period), Limit(3, period)), boot_clock())
    ledger.claim(1)
    ledger.release(1, RequestOutcome.ANSWERED)
    ledger.close()


def shown(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert run(app, ["budget", "--budget", f"sqlite:///{path}", *more]) == 0
    return capsys.readouterr().out


def test_limits_with_nothing_spent_share_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each port of the bundled service leaves limits on record. Only `--json` lists those that nothing counts for."""
    path = tmp_path / "budget.sqlite"
    for service in ELSEWHERE:
        record(path, service, 1e-9)
    unspent = len(json.loads(shown(path, capsys, "--json")))
    assert unspent >= len(ELSEWHERE)
    assert shown(path, capsys) == f"nothing is spent of {unspent} limits on record\n"
    record(path, "https://service.example", 3600.0)
    *lines, last = shown(path, capsys).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("https://service.example  token ") and "1 of " in line for line in lines)
    total = len(json.loads(shown(path, capsys, "--json")))
    assert total > len(lines)
    assert last == f"and {total - len(lines)} more with nothing spent"
