"""Reading what a budget file has on record."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from bulk_export.extract.rate_limit.clock import BootClock
from bulk_export.extract.rate_limit.interface import KeyRecord, Limits, Request
from bulk_export.extract.rate_limit.sqlite.clock import TOLERANCE, Timeline
from bulk_export.extract.rate_limit.sqlite.file import file_failures, open_file
from bulk_export.extract.rate_limit.throttle_state import ThrottleState


def read_file(path: Path, clock: BootClock) -> list[KeyRecord]:
    """Every account in the file; none where there is no file."""
    if not os.path.lexists(path):
        return []
    with contextlib.closing(open_file(path, clock)) as connection, file_failures(path):
        # Rolled back: it is read as it would be after whatever the clock demands, but left as it is.
        connection.execute("BEGIN IMMEDIATE")
        try:
            timeline = Timeline(connection, clock)
            now = timeline.tell()
            accounts = connection.execute(
                "SELECT number, service_number, service, token, terms, reach, longest, full_until, restraint"
                " FROM accounts ORDER BY service, token"
            ).fetchall()
            requests = {
                number: connection.execute(
                    "SELECT source, over_at + (clock <> ?) * ?, account = ? FROM spent WHERE service = ?"
                    " ORDER BY over_at",
                    (timeline.clock, TOLERANCE, number, service_number),
                ).fetchall()
                for number, service_number, *_ in accounts
            }
        finally:
            connection.execute("ROLLBACK")
    records = []
    for number, service_number, service, token, terms_text, reach, longest, _, restraint_text in accounts:
        full_until = max(row[7] for row in accounts if row[1] == service_number)
        terms = msgspec.json.decode(terms_text, type=Limits)
        restraint = (
            ThrottleState() if restraint_text is None else msgspec.json.decode(restraint_text, type=ThrottleState)
        )
        records.append(
            KeyRecord(
                service=service,
                token=token,
                service_limit=terms.service_limit,
                address_limit=terms.address_limit,
                requests=tuple(Request(source, now - over_at, bool(own)) for source, over_at, own in requests[number]),
                held_for=max(
                    min(max(0.0, full_until - now), reach + longest),
                    restraint.possible(now, terms.longest_request).shut_for(now),
                ),
            )
        )
    return records
