"""The tables of a budget file, and the migration of a file of format 1."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.extract.rate_limit.key import RateLimitKey, service_origin
from bulk_export.extract.rate_limit.sqlite.stored_values import decode_throttle_state, encode_throttle_state
from bulk_export.extract.rate_limit.sqlite.timeline import TOLERANCE

APPLICATION_ID = 0x62784247
# The format of the file, a number of its own that only changes when the tables do.
VERSION = 2
MIGRATED_VERSION = 1
# Times are on the timeline of the file, which `epoch` ties to the wall clock; see timeline.py.
# clocks    a start of a machine: the timeline is `ahead` of its clock, and `last` is the latest time seen on that.
# marks     a process at work: after a power cut its latest requests may be missing.
# accounts  a rate limit key, with the limits of the latest process (`terms`) and the throttle state (`restraint`).
# spent     a request: `over_at` is the latest moment at which the service counted it, by the clock numbered `clock`.
# waiting   a process in the queue, with its limits.
# SQLite stores any value in any column unless it is checked; damaged values show as broken checks.
SCHEMA = """
CREATE TABLE state (
    key BLOB CHECK (length(key) = 32), epoch REAL CHECK (typeof(epoch) IN ('real', 'null'))
);
CREATE TABLE clocks (
    number INTEGER PRIMARY KEY, boot TEXT UNIQUE CHECK (typeof(boot) = 'text'),
    ahead REAL CHECK (typeof(ahead) = 'real'), last REAL CHECK (typeof(last) = 'real')
);
CREATE TABLE marks (mark INTEGER PRIMARY KEY, clock INTEGER CHECK (typeof(clock) = 'integer'));
CREATE TABLE accounts (
    number INTEGER PRIMARY KEY, service_number INTEGER CHECK (typeof(service_number) = 'integer'),
    service TEXT CHECK (typeof(service) = 'text'),
    token TEXT CHECK (typeof(token) = 'text'), terms TEXT CHECK (typeof(terms) = 'text'),
    reach REAL CHECK (typeof(reach) = 'real'), longest REAL CHECK (typeof(longest) = 'real'),
    full_until REAL CHECK (typeof(full_until) = 'real'), restraint TEXT
);
CREATE TABLE spent (
    identity INTEGER PRIMARY KEY, account INTEGER CHECK (typeof(account) = 'integer'),
    service INTEGER CHECK (typeof(service) = 'integer'),
    source TEXT CHECK (typeof(source) = 'text'), over_at REAL CHECK (typeof(over_at) = 'real'),
    state INTEGER CHECK (state IN (0, 1, 2)), clock INTEGER CHECK (typeof(clock) = 'integer')
);
CREATE INDEX spent_by_source ON spent (service, source, over_at, account, clock);
CREATE INDEX spent_by_account ON spent (account, over_at, clock);
CREATE TABLE waiting (
    ticket INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER CHECK (typeof(account) = 'integer'),
    until REAL CHECK (typeof(until) = 'real'), terms TEXT CHECK (typeof(terms) = 'text')
);
"""


def migrate(connection: sqlite3.Connection, clock: BootClock, last_written: float) -> None:
    """Turn a file of format 1 into one of this format; everything that was spent still counts.

    The caller has begun a transaction.

    Args:
        connection: Connection to the file.
        clock: Clock of this machine.
        last_written: When the file was changed last, in seconds since the epoch.
    """
    secret, boot, last, opened, closed = connection.execute("SELECT * FROM state").fetchone()
    keys = connection.execute(
        "SELECT number, service, token, terms, reach, longest, full_until, restraint FROM accounts ORDER BY number"
    ).fetchall()
    requests = connection.execute("SELECT identity, account, source, over_at, state FROM spent").fetchall()
    for table in ("state", "accounts", "spent", "waiting"):
        connection.execute(f"DROP TABLE {table}")
    for statement in SCHEMA.split(";")[:-1]:
        connection.execute(statement)
    here, wall = clock.now(), clock.wall()
    connection.execute("INSERT INTO state VALUES (?, ?)", (secret, wall - here))
    connection.execute("INSERT INTO clocks VALUES (1, ?, 0.0, ?)", (clock.boot, here))
    was_at_work = opened > closed
    restarted = bool(boot) and boot != clock.boot
    if restarted:
        # As in `Timeline._enter_clock`: at most the time since this start has passed.
        shift = here - min(here, max(0.0, wall - last_written - TOLERANCE)) - last
    else:
        shift = min(0.0, here - last)
        if was_at_work:
            connection.execute("INSERT INTO marks VALUES (0, 1)")
    numbers = {row[0]: _insert_key(connection, secret, row, shift, is_full=restarted and was_at_work) for row in keys}
    connection.executemany(
        "INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?, 1)",
        [
            (identity, *numbers[number], route, counted_by + shift, state)
            for identity, number, route, counted_by, state in requests
            if number in numbers
        ],
    )
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _insert_key(
    connection: sqlite3.Connection, secret: bytes, row: Sequence[Any], shift: float, *, is_full: bool
) -> tuple[int, int]:
    """Insert a rate limit key of format 1, in which one service could have several.

    Args:
        connection: Connection to the file.
        secret: Secret of the file.
        row: The row of the key in format 1.
        shift: Seconds by which the times of the file change.
        is_full: Whether requests may be missing, so that every window counts as full.

    Returns:
        The numbers of the key and of its service in this format.
    """
    _, service, token, limits, longest_period, longest_request, full_until, throttle_text = row
    key = RateLimitKey.of_hashed(secret, service_origin(service), token)
    full_until = full_until + shift
    if is_full:
        full_until = max(full_until, longest_period + longest_request)
    throttle = None
    if throttle_text is not None:
        # Format 1 did not record for how long a hold was meant.
        state = replace(decode_throttle_state(throttle_text), hold_length=longest_period)
        throttle = encode_throttle_state(state.shifted(shift))
    connection.execute(
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET"
        " reach = max(reach, excluded.reach), longest = max(longest, excluded.longest),"
        " full_until = max(full_until, excluded.full_until),"
        " restraint = coalesce(excluded.restraint, restraint)",
        (
            *(key.number, key.service_number, key.service, token, limits),
            *(longest_period, longest_request, full_until, throttle),
        ),
    )
    return key.number, key.service_number
