"""A clock that nobody can set: seconds since the machine started, and which start that was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OWN = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class BootClock:
    """`now` gives seconds since a start of the machine that `boot` names; "" where starts have no names.

    `wall` gives seconds since the epoch. It is only used between machines, which have no other clock in common.
    """

    boot: str
    now: Callable[[], float]
    wall: Callable[[], float] = time.time


def boot_clock(own: Path = _OWN) -> BootClock:
    """The clock of this machine. On Linux it runs on while the machine is suspended.

    In a time namespace the clock of the machine is told all the same; where that cannot be found out, it counts as
    that of another machine. `own` is the directory of this process under /proc.
    """
    try:
        boot = _BOOT_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        boot = ""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return BootClock(boot, time.monotonic)
    offset = _offset(own)
    if offset is None:
        return BootClock(f"{boot} {_namespace(own)}", lambda: time.clock_gettime(clock))
    return BootClock(boot, lambda: time.clock_gettime(clock) - offset)


def _offset(own: Path) -> float | None:
    """By how many seconds our clock is ahead of the machine's; None where nobody tells."""
    space = _namespace(own)
    if not space:
        return 0.0
    try:
        # The offsets are those of the namespace that children will be in.
        if str((own / "ns/time_for_children").readlink()) != space:
            return None
        for line in (own / "timens_offsets").read_text("ascii").splitlines():
            name, seconds, nanoseconds = line.split()
            if name in ("boottime", "7"):
                return int(seconds) + int(nanoseconds) / 1e9
    except (OSError, ValueError):
        pass
    return None


def _namespace(own: Path) -> str:
    try:
        return str((own / "ns/time").readlink())
    except OSError:
        return ""
