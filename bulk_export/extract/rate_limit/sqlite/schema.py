"""What a budget file looks like, and how one of the version before is taken over."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import msgspec

from bulk_export.extract.rate_limit.clock import BootClock
from bulk_export.extract.rate_limit.key import account_of, service_origin
from bulk_export.extract.rate_limit.sqlite.clock import TOLERANCE
from bulk_export.extract.rate_limit.throttle_state import ThrottleState

APPLICATION_ID = 0x62784247
VERSION = 2
TAKEN_OVER = 1
# Times are on the timeline of the file, which `epoch` ties to the wall clock. `clocks` has a row for each start of a
# machine: the timeline is `ahead` of its clock, and `last` is the latest time that was seen on it. `marks` has a row
# for each process at work: after a power cut its latest requests may be missing.
# `over_at` is the latest moment at which the service may have counted a request, by the clock numbered `clock`.
# SQLite stores anything in any column, but for what is checked; a damaged value shows as a broken check.
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


def take_over(connection: sqlite3.Connection, clock: BootClock, last_written: float) -> None:
    """Make a file of version 1 one of this version; all that was spent still counts.

    `last_written` is when the file was changed last, in seconds since the epoch. Within a transaction of the
    caller's.
    """
    key, boot, last, opened, closed = connection.execute("SELECT * FROM state").fetchone()
    accounts = connection.execute(
        "SELECT number, service, token, terms, reach, longest, full_until, restraint FROM accounts ORDER BY number"
    ).fetchall()
    requests = connection.execute("SELECT identity, account, source, over_at, state FROM spent").fetchall()
    for table in ("state", "accounts", "spent", "waiting"):
        connection.execute(f"DROP TABLE {table}")
    for statement in SCHEMA.split(";")[:-1]:
        connection.execute(statement)
    here, wall = clock.now(), clock.wall()
    restarted = bool(boot) and boot != clock.boot
    if restarted:
        # As for a new start of a machine in `sqlite_time`.
        passed = min(here, max(0.0, wall - last_written - TOLERANCE))
        later = here - passed - last
    else:
        later = min(0.0, here - last)
    connection.execute("INSERT INTO state VALUES (?, ?)", (key, wall - here))
    connection.execute("INSERT INTO clocks VALUES (1, ?, 0.0, ?)", (clock.boot, here))
    numbers: dict[int, tuple[int, int]] = {}
    for number, service, token, terms, reach, longest, full_until, text in accounts:
        now = account_of(key, service_origin(service), token)
        numbers[number] = now.number, now.service_number
        full = full_until + later
        if restarted and opened > closed:
            full = max(full, reach + longest)
        kept = None
        if text is not None:
            restraint = replace(msgspec.json.decode(text, type=ThrottleState), held=reach)
            kept = msgspec.json.encode(restraint.moved(later)).decode()
        connection.execute(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET"
            " reach = max(reach, excluded.reach), longest = max(longest, excluded.longest),"
            " full_until = max(full_until, excluded.full_until),"
            " restraint = coalesce(excluded.restraint, restraint)",
            (now.number, now.service_number, now.service, token, terms, reach, longest, full, kept),
        )
    connection.executemany(
        "INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?, 1)",
        [
            (identity, *numbers[number], source, over_at + later, state)
            for identity, number, source, over_at, state in requests
            if number in numbers
        ],
    )
    if not restarted and opened > closed:
        connection.execute("INSERT INTO marks VALUES (0, 1)")
    connection.execute(f"PRAGMA user_version = {VERSION}")
