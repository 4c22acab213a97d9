"""Whether an unfinished export is the one that goes on, and what to say where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LONGEST_SHOWN = 100


def changes(before: Mapping[str, Any], now: Mapping[str, Any], differing: Iterable[str]) -> str:
    """What differs between two identities, in words."""
    said = []
    for name in differing:
        if name == "description":
            said.append("the service is described in another way")
        elif name not in before or name not in now:
            said.append(f"{name} is known to one of the two versions of this tool only")
        else:
            said.append(f"{name} was {short(before[name])}, now {short(now[name])}")
    return "; ".join(said)


def way_on(before: Mapping[str, Any], now: Mapping[str, Any], differing: Sequence[str]) -> str:
    """What to do about them."""
    version = str(before.get("version"))[:_LONGEST_SHOWN]
    if "version" in differing or "description" in differing or before.keys() != now.keys():
        return (
            f"Go on with the parameters and the version it was started with ({version}; this is {now.get('version')}),"
            " or choose another --output."
        )
    return "Go on with the parameters it was started with, or choose another --output."


def short(value: Any) -> str:
    """A value from a file, as far as it fits into a message."""
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"
