"""The time since this machine started: a clock that cannot be set, and that goes on while the machine sleeps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OWN_PROCESS = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class BootClock:
    """The clock of one start of a machine.

    Attributes:
        boot: Names the start of the machine; "" if the system gives its starts no names.
        now: Returns seconds since that start.
        wall: Returns seconds since the epoch. Used between machines only, which have no other clock in common.
    """

    boot: str
    now: Callable[[], float]
    wall: Callable[[], float] = time.time


def boot_clock(own_process: Path = _OWN_PROCESS) -> BootClock:
    """Return the clock of this machine.

    1. Without CLOCK_BOOTTIME (not on Linux), the monotonic clock is used, which may stop during suspension.
    2. In a time namespace, the offset of the namespace is subtracted, so that all processes of the machine agree.
    3. If that offset cannot be found out, the namespace counts as a machine of its own.

    Args:
        own_process: Directory of this process under /proc.
    """
    try:
        boot = _BOOT_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        boot = ""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if sys.platform == "win32" or clock is None:
        return BootClock(boot, time.monotonic)
    offset = _namespace_offset(own_process)
    if offset is None:
        return BootClock(f"{boot} {_namespace(own_process)}", lambda: time.clock_gettime(clock))
    return BootClock(boot, lambda: time.clock_gettime(clock) - offset)


def _namespace_offset(own_process: Path) -> float | None:
    """Return by how many seconds our clock is ahead of the machine's, None if the system does not say."""
    namespace = _namespace(own_process)
    if not namespace:
        return 0.0
    try:
        # `timens_offsets` describes the namespace of future children, which may differ from ours.
        if str((own_process / "ns/time_for_children").readlink()) != namespace:
            return None
        for line in (own_process / "timens_offsets").read_text("ascii").splitlines():
            name, seconds, nanoseconds = line.split()
            if name in ("boottime", "7"):
                return int(seconds) + int(nanoseconds) / 1e9
    except (OSError, ValueError):
        pass
    return None


def _namespace(own_process: Path) -> str:
    try:
        return str((own_process / "ns/time").readlink())
    except OSError:
        return ""
