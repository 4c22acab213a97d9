"""Errors about the values of options name the settings file or variable that a value is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulk_export.errors import BulkExportError, UsageError

if TYPE_CHECKING:
    from bulk_export.pipelines.settings.origins import Origins


class _Command:
    """The state of this process; a command line runs once in a process."""

    origins: Origins | None = None


def begin_to_check(origins: Origins | None) -> None:
    """From now on, errors are about values of these origins; None before there are any."""
    _Command.origins = origins


def end_of_checks() -> None:
    """From now on, options in errors are those of an earlier run as well, and stay as they are."""
    _Command.origins = None


def name_origins(error: BulkExportError) -> None:
    """Complete an error about the value of an option by where the value was written."""
    if _Command.origins is not None and isinstance(error, UsageError):
        _Command.origins.name_in(error)
