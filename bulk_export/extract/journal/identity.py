"""Whether an unfinished export may go on with the parameters at hand, and the message if it may not.

The identity of an export is a mapping of everything that its pages and parts depend on, the program's version included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bulk_export.errors import UsageError

_LONGEST_SHOWN = 100


def check_identity(stored: Mapping[str, Any], current: Mapping[str, Any], output: Path) -> bool:
    """Check that an unfinished export was started with the same parameters.

    Args:
        stored: Identity of the export in the journal.
        current: Identity of the export that is to go on.
        output: Its output directory, for the message.

    Returns:
        Whether another version of the program started it, with the same parameters.

    Raises:
        UsageError: The parameters differ; the message names them.
    """
    differing = [name for name in sorted({*stored, *current}) if stored.get(name) != current.get(name)]
    if differing and differing != ["version"]:
        raise UsageError(
            f"The unfinished export in {output} was started with other parameters:"
            f" {_changes(stored, current, differing)}.",
            kept="Nothing was changed.",
            next_step=_advice(stored, current, differing),
        )
    return bool(differing)


def shortened(value: Any) -> str:
    """Return the repr of a value from a file, cut to a length that fits into a message."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _changes(stored: Mapping[str, Any], current: Mapping[str, Any], differing: Iterable[str]) -> str:
    changes = []
    for name in differing:
        if name == "description":
            changes.append("the service is described in another way")
        elif name not in stored or name not in current:
            changes.append(f"{name} is known to one of the two versions of this tool only")
        else:
            changes.append(f"{name} was {shortened(stored[name])}, now {shortened(current[name])}")
    return "; ".join(changes)


def _advice(stored: Mapping[str, Any], current: Mapping[str, Any], differing: Sequence[str]) -> str:
    version = str(stored.get("version"))[:_LONGEST_SHOWN]
    if "version" in differing or "description" in differing or stored.keys() != current.keys():
        return (
            f"Go on with the parameters and the version it was started with ({version}; this is"
            f" {current.get('version')}), or choose another --output."
        )
    return "Go on with the parameters it was started with, or choose another --output."
