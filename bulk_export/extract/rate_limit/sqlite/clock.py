"""The time of the budget file: it runs on across processes, machines, restarts, and clocks being set.

Each start of a machine has a clock that nobody can set, and the file has a timeline of its own. For each start the
file knows by how much its timeline is ahead of that clock, so what one machine recorded is compared exactly by that
machine. Machines that share the file, or containers of several hosts, have only the wall clock in common: it says
where on the timeline a new start begins, and what another one recorded counts for `TOLERANCE` longer. A wall clock that
is wrong by more can let one machine overlook what another spent; it never holds anybody up for longer than a period.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from bulk_export.extract.rate_limit.clock import BootClock
from bulk_export.extract.rate_limit.throttle_state import ThrottleState

# Wall clocks of machines that share a file may differ by this much less `_SLACK`, in seconds.
TOLERANCE = 5.0
# A clock may be behind the timeline by so much before it is set forward.
_SLACK = 0.5
# The clock of a start that was not heard of for so long is forgotten.
_FORGOTTEN_AFTER = 86_400.0


class Timeline:
    """Tells the time on the timeline of one file, for one process.

    `clock` numbers the start of the machine that the process runs in. `alone` is True while the file knows no
    other, so that nothing in it needs the tolerance.
    """

    def __init__(self, connection: sqlite3.Connection, clock: BootClock) -> None:
        self._connection = connection
        self._boot_clock = clock
        self.clock = 0
        self.alone = True

    def tell(self) -> float:
        """The time within a transaction, after whatever it takes to make the record's times comparable to it."""
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
            now = self._begin(here, wall - epoch, latest, is_first=not clocks)
        else:
            self.clock = own[0]
            now = self._go_on(here, wall - epoch, latest, ahead=own[2], last=own[3])
        if self.alone and abs(wall - epoch - now) > _SLACK:
            # Nobody else depends on where our wall clock places the timeline.
            self._execute("UPDATE state SET epoch = ?", wall - now)
        return now

    def enter(self, mark: int) -> None:
        """Leave a mark that a process is at work."""
        self._execute("INSERT INTO marks VALUES (?, ?)", mark, self.clock)

    def leave(self, mark: int) -> None:
        """Take the mark of a process away."""
        self._execute("DELETE FROM marks WHERE mark = ?", mark)

    def _begin(self, here: float, wall: float, latest: float, *, is_first: bool) -> float:
        """The first step since this start of the machine.

        What is on record was over before it, if it is of an earlier start of this machine; so time since then has
        gone on at least by what the machine has been up. If it is of another machine, by what the wall clock says,
        less the tolerance. The less of both is sure.
        """
        now = here if is_first else max(wall, latest)
        passed = min(here, max(0.0, now - latest - TOLERANCE))
        if not is_first:
            self._forget_old(latest)
        row = self._connection.execute(
            "INSERT INTO clocks (boot, ahead, last) VALUES (?, ?, ?)", (self._boot_clock.boot, now - here, here)
        )
        self.clock = int(row.lastrowid or 0)
        if not is_first:
            self._shift(now - latest - passed)
            self._execute("UPDATE spent SET clock = ?", self.clock)
            self._make_up_for_losses(now - here)
        self.alone = len(self._rows("SELECT number FROM clocks")) == 1
        return now

    def _go_on(self, here: float, wall: float, latest: float, *, ahead: float, last: float) -> float:
        now = here + ahead
        if here < last:
            # Nobody knows how much time went by: what was left then is left now.
            behind = (last if self.alone else max(wall - ahead, latest - ahead)) - here
        else:
            # Behind the others, or our machine stood still as a whole.
            behind = 0.0 if self.alone else max(wall, latest) - now
            behind = behind if behind > _SLACK else 0.0
        if behind > 0.0:
            # Our own requests are as old as they were by our own clock.
            older = here - last if here < last else 0.0
            self._shift(behind + older, of=self.clock)
            now += behind
        self._execute("UPDATE clocks SET last = ?, ahead = ? WHERE number = ?", here, now - here, self.clock)
        return now

    def _shift(self, by: float, *, of: int | None = None) -> None:
        """Make what is on record, of one clock or of all, younger by so much."""
        if by <= 0.0:
            return
        if of is None:
            self._execute("UPDATE spent SET over_at = over_at + ?", by)
        else:
            self._execute("UPDATE spent SET over_at = over_at + ? WHERE clock = ?", by, of)
        self._execute("UPDATE accounts SET full_until = full_until + ?", by)
        self._execute("DELETE FROM waiting")
        for number, restraint in self._rows("SELECT number, restraint FROM accounts WHERE restraint IS NOT NULL"):
            moved = msgspec.json.decode(restraint, type=ThrottleState).moved(by)
            self._execute(
                "UPDATE accounts SET restraint = ? WHERE number = ?", msgspec.json.encode(moved).decode(), number
            )

    def _make_up_for_losses(self, start: float) -> None:
        """Commits are synced when a process opens and closes the file, not between.

        So if one was at work when the power went, its latest requests may be missing; then every window counts as
        full until none of them can matter any more. They were sent before `start`, when this machine started.
        """
        if self._rows("SELECT 1 FROM marks WHERE clock <> ? LIMIT 1", self.clock):
            self._execute("UPDATE accounts SET full_until = max(full_until, ? + reach + longest)", start)
            self._execute("DELETE FROM marks WHERE clock <> ?", self.clock)

    def _forget_old(self, latest: float) -> None:
        self._execute(
            "DELETE FROM clocks WHERE ahead + last < ? AND NOT EXISTS (SELECT 1 FROM marks WHERE clock = number)",
            latest - _FORGOTTEN_AFTER,
        )

    def _epoch(self) -> float | None:
        ((epoch,),) = self._rows("SELECT epoch FROM state")
        return None if epoch is None else float(epoch)

    def _rows(self, query: str, *values: float | int | str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _execute(self, statement: str, *values: float | int | str) -> None:
        self._connection.execute(statement, values)
