"""The time of a budget file: it goes on across processes, machines and restarts, independently of wall clocks.

Each start of a machine has a clock that nobody can set, and the file has a timeline of its own. For each start the file
records by how much its timeline is ahead of that clock, so what a machine recorded is compared exactly by that machine.
Machines that share the file, or containers with clocks of their own, have only the wall clock in common. It places a
new start on the timeline, and what another machine recorded counts `TOLERANCE` longer. A wall clock that is wrong by
more can let one machine overlook what another spent; it never holds anybody up for longer than a period.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.extract.rate_limit.sqlite.stored_values import decode_throttle_state, encode_throttle_state

# Seconds by which wall clocks of machines that share a file may differ, plus `_SLACK`.
TOLERANCE = 5.0
# Seconds by which a clock may be behind the timeline before it is set forward.
_SLACK = 0.5
# The clock of a start that was not used for so many seconds is forgotten.
_FORGOTTEN_AFTER = 86_400.0


class Timeline:
    """Tells one process the time on the timeline of one file.

    Attributes:
        clock: Number of the start of the machine that the process runs in, in the table `clocks`.
        alone: True while the file knows no other start, so that nothing in it needs the tolerance.
    """

    def __init__(self, connection: sqlite3.Connection, clock: BootClock) -> None:
        self._connection = connection
        self._boot_clock = clock
        self.clock = 0
        self.alone = True

    def advance(self) -> float:
        """Return the time within a transaction, after making all recorded times comparable to it.

        1. The first step since this start of the machine enters its clock, see `_enter_clock`.
        2. Any other reads its clock, and corrects it if it went back or fell behind, see `_read_clock`.
        """
        here, wall = self._boot_clock.now(), self._boot_clock.wall()
        clocks = self._rows("SELECT number, boot, ahead, last FROM clocks")
        epoch = self._epoch()
        if not clocks or epoch is None:
            epoch = wall - here
            self._execute("UPDATE state SET epoch = ?", epoch)
        latest = max((ahead + last for *_, ahead, last in clocks), default=here)
        own = next((row for row in clocks if row[1] == self._boot_clock.boot), None)
        self.alone = len(clocks) <= 1 if own else not clocks
        if own is None:
            now = self._enter_clock(here, wall - epoch, latest, is_first=not clocks)
        else:
            self.clock = own[0]
            now = self._read_clock(here, wall - epoch, latest, ahead=own[2], last=own[3])
        if self.alone and abs(wall - epoch - now) > _SLACK:
            # Nobody else depends on where our wall clock places the timeline.
            self._execute("UPDATE state SET epoch = ?", wall - now)
        return now

    def mark_at_work(self, mark: int) -> None:
        """Record that a process is at work: after a power cut its latest requests may be missing."""
        self._execute("INSERT INTO marks VALUES (?, ?)", mark, self.clock)

    def remove_mark(self, mark: int) -> None:
        """Record that a process is not at work any more."""
        self._execute("DELETE FROM marks WHERE mark = ?", mark)

    def _enter_clock(self, here: float, wall: float, latest: float, *, is_first: bool) -> float:
        """Place this start of the machine on the timeline, and return the time on it.

        Everything on record was over before this start if it is of an earlier start of this machine, so at least the
        time since this start has passed. If it is of another machine, the wall clock tells how much has passed, less
        the tolerance. Only the lesser of both is certain.
        """
        now = here if is_first else max(wall, latest)
        passed = min(here, max(0.0, now - latest - TOLERANCE))
        if not is_first:
            self._forget_old_clocks(latest)
        row = self._connection.execute(
            "INSERT INTO clocks (boot, ahead, last) VALUES (?, ?, ?)", (self._boot_clock.boot, now - here, here)
        )
        self.clock = int(row.lastrowid or 0)
        if not is_first:
            self._shift(now - latest - passed)
            self._execute("UPDATE spent SET clock = ?", self.clock)
            self._count_lost_requests(now - here)
        self.alone = len(self._rows("SELECT number FROM clocks")) == 1
        return now

    def _read_clock(self, here: float, wall: float, latest: float, *, ahead: float, last: float) -> float:
        """Return the time on the timeline by the clock of this start.

        1. The clock went back: the time that passed is unknown, so each wait has as long to go as before.
        2. It is behind the other machines, or this machine stood still as a whole: it is set forward.
        3. Otherwise it is right.
        """
        now = here + ahead
        if here < last:
            behind = (last if self.alone else max(wall - ahead, latest - ahead)) - here
        else:
            behind = 0.0 if self.alone else max(wall, latest) - now
            behind = behind if behind > _SLACK else 0.0
        if behind > 0.0:
            # Our own requests are as old as they were by our own clock.
            older = here - last if here < last else 0.0
            self._shift(behind + older, clock=self.clock)
            now += behind
        self._execute("UPDATE clocks SET last = ?, ahead = ? WHERE number = ?", here, now - here, self.clock)
        return now

    def _shift(self, seconds: float, *, clock: int | None = None) -> None:
        """Make what is on record younger by some seconds; of the requests, those of one clock or of all."""
        if seconds <= 0.0:
            return
        if clock is None:
            self._execute("UPDATE spent SET over_at = over_at + ?", seconds)
        else:
            self._execute("UPDATE spent SET over_at = over_at + ? WHERE clock = ?", seconds, clock)
        self._execute("UPDATE accounts SET full_until = full_until + ?", seconds)
        self._execute("DELETE FROM waiting")
        for number, text in self._rows("SELECT number, restraint FROM accounts WHERE restraint IS NOT NULL"):
            shifted = encode_throttle_state(decode_throttle_state(text).shifted(seconds))
            self._execute("UPDATE accounts SET restraint = ? WHERE number = ?", shifted, number)

    def _count_lost_requests(self, start: float) -> None:
        """After a power cut, count every window as full until none of the lost requests can matter any more.

        Commits are synced when a process opens and closes the file, not in between. So if a process was at work when
        the power failed, its latest requests may be missing. They were sent before `start`, when this machine started.
        """
        if self._rows("SELECT 1 FROM marks WHERE clock <> ? LIMIT 1", self.clock):
            self._execute("UPDATE accounts SET full_until = max(full_until, ? + reach + longest)", start)
            self._execute("DELETE FROM marks WHERE clock <> ?", self.clock)

    def _forget_old_clocks(self, latest: float) -> None:
        self._execute(
            "DELETE FROM clocks WHERE ahead + last < ? AND NOT EXISTS (SELECT 1 FROM marks WHERE clock = number)",
            latest - _FORGOTTEN_AFTER,
        )

    def _epoch(self) -> float | None:
        ((epoch,),) = self._rows("SELECT epoch FROM state")
        return None if epoch is None else float(epoch)

    def _rows(self, query: str, *values: float | int | str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _execute(self, statement: str, *values: float | int | str | None) -> None:
        self._connection.execute(statement, values)
