"""The migration of budget files of an earlier format."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RequestOutcome, read_usage
from bulk_export.extract.rate_limit.interface import Granted
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.planned_requests import (
    SERVICE,
    TOKEN,
    ManualClock,
    claim_all,
    identities,
    ledger_on_disk,
    make_limits,
)

FIVE = make_limits(Limit(5, 60), Limit(5, 60))


V1 = Path(__file__).parents[4] / "stored" / "budget-v1.sqlite"


def test_migrates_file_of_format_1(tmp_path: Path) -> None:
    """A file of format 1 is migrated with everything that was spent.

    Three requests with one token, one with another, and two to a service under another of its names.
    """
    path = tmp_path / "budget.sqlite"
    shutil.copy(V1, path)
    clock, generous = ManualClock("this boot", now=1059.0), make_limits(Limit(5, 60), Limit(9, 60))

    def free(base_url: str, token: str) -> int:
        with closing(SqliteLedger(path, base_url, Token(token), generous, clock.boot_clock())) as ledger:
            granted = []
            while isinstance(ledger.claim(identity := next(identities)), Granted):
                granted.append(identity)
            for identity in granted:
                ledger.release(identity, RequestOutcome.UNSENT)
        return len(granted)

    assert free(SERVICE, TOKEN.reveal()) == 2
    assert free(SERVICE, "another-token") == 4
    assert free(SERVICE, "a-third-token") == 5
    assert free("http://[::1]:8080", TOKEN.reveal()) == 3
    assert {use.service for use in read_usage(f"sqlite:///{path}")} == {SERVICE, "http://127.0.0.1:8080"}
    clock.time = 1060.0
    assert free(SERVICE, TOKEN.reveal()) == 5


def test_migrated_file_counts_after_restart(tmp_path: Path) -> None:
    """What a file of format 1 holds counts after a restart of the machine."""
    path = tmp_path / "budget.sqlite"
    shutil.copy(V1, path)
    os.utime(path, (1.8e9, 1.8e9))
    with closing(
        ledger_on_disk(path, FIVE, ManualClock("the next boot", now=20.0, started=1.8e9 + 30.0).boot_clock())
    ) as ledger:
        # Three with this token, and one from the same address.
        assert claim_all(ledger) == 1
