"""The usage of limits, for people to look at."""

from __future__ import annotations

from pathlib import Path

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RequestOutcome, read_usage
from bulk_export.extract.rate_limit.boot_clock import boot_clock
from bulk_export.extract.rate_limit.retry_after import read_429
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.planned_requests import (
    SERVICE,
    TOKEN,
    make_limits,
)


def test_memory_has_no_usage() -> None:
    """A ledger in memory has nothing on record."""
    assert read_usage("memory://") == []


def test_usage_of_file(tmp_path: Path) -> None:
    """The usage in a file is shown for the service and each address, and how long a 429 holds."""
    path = tmp_path / "budget.sqlite"
    assert read_usage(f"sqlite:///{path}") == []
    assert not path.exists()
    ledger = SqliteLedger(path, SERVICE, TOKEN, make_limits(Limit(5, 60), Limit(3, 30), sources=2), boot_clock())
    for number in range(3):
        ledger.claim(number)
        ledger.release(number, RequestOutcome.ANSWERED)
    common, first, second = read_usage(f"sqlite:///{path}")
    assert (common.service, common.address, common.limit, common.used) == (SERVICE, None, Limit(5, 60), 3)
    assert (first.address, first.limit, first.used) == ("127.0.0.1", Limit(3, 30), 2)
    assert (second.address, second.used) == ("127.0.0.2", 1)
    assert all(55 < moment <= 60 for moment in common.free_in)
    assert all(25 < moment <= 30 for moment in first.free_in)
    assert common.held_for == 0
    assert common.token == first.token != TOKEN.reveal()
    ledger.claim(10)
    assert ledger.report_throttled(10, read_429(retry_after="20", date=None, wall=0.0, period=60.0, uniform=0.0)) == 20
    assert 15 < read_usage(f"sqlite:///{path}")[0].held_for <= 20
    ledger.close()
