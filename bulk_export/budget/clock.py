"""A clock that nobody can set: seconds since the machine started, and which start that was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class BootClock:
    """`now` gives seconds since a start of the machine that `boot` names; "" where starts have no names."""

    boot: str
    now: Callable[[], float]


def boot_clock() -> BootClock:
    """The clock of this machine. On Linux it runs on while the machine is suspended."""
    try:
        boot = _BOOT_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        boot = ""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return BootClock(boot, time.monotonic if clock is None else lambda: time.clock_gettime(clock))
