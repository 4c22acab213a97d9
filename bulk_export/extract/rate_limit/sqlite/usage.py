"""Reads what a budget file has on record."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.extract.rate_limit.interface import KeyRecord, RecordedRequest
from bulk_export.extract.rate_limit.sqlite.file import file_failures, open_file
from bulk_export.extract.rate_limit.sqlite.stored_values import decode_limits, decode_throttle_state
from bulk_export.extract.rate_limit.sqlite.timeline import TOLERANCE, Timeline


def read_file(path: Path, clock: BootClock) -> list[KeyRecord]:
    """Read the record of every key in the file; none if there is no file.

    Raises:
        DamagedState: It is no budget file, damaged, or of a newer version.
        BudgetUnavailable: It cannot be read now.
    """
    if not os.path.lexists(path):
        return []
    with contextlib.closing(open_file(path, clock)) as connection, file_failures(path):
        # Rolled back: the times are read as they would be after the clock was entered, but the file stays as it is.
        connection.execute("BEGIN IMMEDIATE")
        try:
            timeline = Timeline(connection, clock)
            now = timeline.advance()
            keys = connection.execute(
                "SELECT number, service_number, service, token, terms, reach, longest, full_until, restraint"
                " FROM accounts ORDER BY service, token"
            ).fetchall()
            requests = {
                number: connection.execute(
                    "SELECT source, over_at + (clock <> ?) * ?, account = ? FROM spent WHERE service = ?"
                    " ORDER BY over_at",
                    (timeline.clock, TOLERANCE, number, service_number),
                ).fetchall()
                for number, service_number, *_ in keys
            }
        finally:
            connection.execute("ROLLBACK")
        records = []
        for number, service_number, service, token, limits_text, reach, longest, _, throttle_text in keys:
            full_until = max(row[7] for row in keys if row[1] == service_number)
            limits = decode_limits(limits_text)
            throttle = decode_throttle_state(throttle_text).clamped(now, limits.longest_request)
            full_for = min(max(0.0, full_until - now), reach + longest)
            records.append(
                KeyRecord(
                    service=service,
                    token=token,
                    service_limit=limits.service_limit,
                    address_limit=limits.address_limit,
                    requests=tuple(
                        RecordedRequest(route, now - counted_by, bool(own))
                        for route, counted_by, own in requests[number]
                    ),
                    held_for=max(full_for, throttle.blocked_for(now)),
                )
            )
    return records
