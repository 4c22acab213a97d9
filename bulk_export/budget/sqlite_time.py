"""The time of the budget file: it runs on across processes, restarts of the machine, and clocks being set.

The wall clock plays no part. Times are those of the clock that started with the machine; when it has started
anew, what is on record is moved over to the new one.
"""

from __future__ import annotations

import sqlite3

import msgspec

from bulk_export.budget.clock import BootClock
from bulk_export.budget.restraint import Restraint


def tell_time(connection: sqlite3.Connection, clock: BootClock) -> float:
    """The time within a transaction, after whatever it takes to make the record's times comparable to it."""
    now = clock.now()
    boot, last = connection.execute("SELECT boot, last FROM state").fetchone()
    if boot != clock.boot and boot:
        # All that is on record happened before this start of the machine, so before 0 of its clock.
        _move(connection, -last)
        _make_up_for_losses(connection)
        connection.execute("UPDATE state SET opened = 0, closed = 0")
    elif now < last:
        # Nobody knows how much time went by: what was left then is left now.
        _move(connection, now - last)
    connection.execute("UPDATE state SET boot = ?, last = ?", (clock.boot, now))
    return now


def _move(connection: sqlite3.Connection, by: float) -> None:
    connection.execute("UPDATE spent SET over_at = over_at + ?", (by,))
    connection.execute("UPDATE accounts SET full_until = full_until + ?", (by,))
    connection.execute("DELETE FROM waiting")
    for number, restraint in connection.execute(
        "SELECT number, restraint FROM accounts WHERE restraint IS NOT NULL"
    ).fetchall():
        moved = msgspec.json.decode(restraint, type=Restraint).moved(by)
        connection.execute(
            "UPDATE accounts SET restraint = ? WHERE number = ?", (msgspec.json.encode(moved).decode(), number)
        )


def _make_up_for_losses(connection: sqlite3.Connection) -> None:
    """Commits are synced when a process opens and closes the file, not between.

    So if one was at work when the power went, its latest requests may be missing; then every window counts as
    full until none of them can matter any more.
    """
    connection.execute(
        "UPDATE accounts SET full_until = max(full_until, reach + longest) WHERE (SELECT opened > closed FROM state)"
    )
