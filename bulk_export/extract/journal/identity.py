"""Whether an unfinished export may go on with the parameters at hand, and the message if it may not.

The identity of an export is a mapping of everything that its pages and parts depend on, the program's version included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bulk_export.errors import BegunOtherwise, UsageError
from bulk_export.extract.journal.option_texts import change_text, differing_parameters, is_known

_LONGEST_VERSION = 100


def check_identity(stored: Mapping[str, Any], current: Mapping[str, Any], output: Path) -> bool:
    """Check that an unfinished export was started with the same parameters.

    Args:
        stored: Identity of the export in the journal.
        current: Identity of the export that is to go on.
        output: Its output directory, for the message.

    Returns:
        Whether another version of the program started it, with the same parameters.

    Raises:
        BegunOtherwise: Options differ; the message names them, with both values.
        UsageError: The same, if only another version of the program can go on with it.
    """
    differing = differing_parameters(stored, current)
    if differing and differing != ["version"]:
        known = [name for name in differing if name != "version"]
        changes = [_change(name, stored, current) for name in known]
        kind = UsageError if _needs_that_version(stored, current, differing) else BegunOtherwise
        raise kind(
            f"The unfinished export in {output} was begun in another way: {'; '.join(changes)}.",
            kept="Nothing was changed.",
            next_step=_advice(stored, current, differing),
        )
    return bool(differing)


def _change(name: str, stored: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    if is_known(name) or (name in stored and name in current):
        return change_text(name, stored.get(name), current.get(name))
    return f"{name} is known to one of the two versions of this tool only"


def _needs_that_version(stored: Mapping[str, Any], current: Mapping[str, Any], differing: Sequence[str]) -> bool:
    is_renewed = any(name not in stored or name not in current for name in differing if not is_known(name))
    return "version" in differing or "description" in differing or is_renewed


def _advice(stored: Mapping[str, Any], current: Mapping[str, Any], differing: Sequence[str]) -> str:
    if _needs_that_version(stored, current, differing):
        return (
            "For another export, choose another --output. This one goes on as it was begun, with the version that began"
            f" it ({str(stored.get('version'))[:_LONGEST_VERSION]}; this is {current.get('version')})."
        )
    return "For another export, choose another --output. This one goes on as it was begun."
