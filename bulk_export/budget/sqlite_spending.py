"""Reading what a budget file has on record."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from bulk_export.budget.clock import BootClock
from bulk_export.budget.interface import Terms
from bulk_export.budget.restraint import Restraint
from bulk_export.budget.spending import AccountRecord
from bulk_export.budget.sqlite_file import file_failures, open_file
from bulk_export.budget.sqlite_time import tell_time


def read_file(path: Path, clock: BootClock) -> list[AccountRecord]:
    """Every account in the file; none where there is no file."""
    if not os.path.lexists(path):
        return []
    with contextlib.closing(open_file(path)) as connection, file_failures(path):
        # Rolled back: it is read as it would be after whatever the clock demands, but left as it is.
        connection.execute("BEGIN IMMEDIATE")
        try:
            now = tell_time(connection, clock)
            accounts = connection.execute(
                "SELECT number, service, token, terms, full_until, restraint FROM accounts ORDER BY service, token"
            ).fetchall()
            requests = {
                number: connection.execute(
                    "SELECT source, over_at FROM spent WHERE account = ? ORDER BY over_at", (number,)
                ).fetchall()
                for number, *_ in accounts
            }
        finally:
            connection.execute("ROLLBACK")
    records = []
    for number, service, token, terms_text, full_until, restraint_text in accounts:
        terms = msgspec.json.decode(terms_text, type=Terms)
        restraint = Restraint() if restraint_text is None else msgspec.json.decode(restraint_text, type=Restraint)
        records.append(
            AccountRecord(
                service=service,
                token=token,
                service_limit=terms.service_limit,
                address_limit=terms.address_limit,
                over_ago=tuple((source or None, now - over_at) for source, over_at in requests[number]),
                held_for=max(0.0, full_until - now, restraint.shut_for(now)),
            )
        )
    return records
