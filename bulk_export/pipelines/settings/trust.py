"""Whether a settings file that was found, not named, may decide where requests and the token go.

Somebody else may have put a file into the working directory. How far an option is taken from it is declared with the
option (`declarations.Trust`):

CONFIRMED  decides where requests go, which token is sent, how the service is described, or which object store gets the
           records (`output` too, if it is an address). The file must belong to the user, nobody else may be able to
           write to it, and the user has confirmed exactly these values in this file with `bulk-export trust`.
OWNER      decides where records are stored, or allows to replace or remove something. The file must belong to the
           user, and nobody else may be able to write to it.
ANY        is taken from every file.

A file that is named with `--config` is confirmed by being named.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bulk_export.core.compat.opening import open_file
from bulk_export.core.compat.owners import is_foreign, rights_of_others
from bulk_export.core.files import make_private_directory, write_atomically
from bulk_export.core.locations import scheme_of
from bulk_export.errors import LocalFailure, UsageError
from bulk_export.pipelines.declarations import Trust
from bulk_export.pipelines.settings.commands import settings_that_need
from bulk_export.pipelines.settings.sources import DEFAULT_FILE, SettingsFile, find_file

# Tables of settings for several services, which hold such options, are confirmed as a whole.
_DECISIVE = settings_that_need(Trust.CONFIRMED) | {"profile", "tenants"}
_TRUSTED_FILE = "trusted-settings.json"
_LARGEST_FILE = 1 << 20
_MOST_ENTRIES = 1_000


def decisive_settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that need to be confirmed, those in tables too, by their dotted names."""
    return dict(_decisive(document, ""))


def refuse_untrusted(file: SettingsFile, used: Collection[str], trusted: Callable[[], Collection[str]]) -> None:
    """Raise UsageError if a file that was found may not set what it sets.

    Args:
        file: The file as it was read.
        used: The names of the options that are taken from it.
        trusted: Returns the digests that the user trusts, see `trusted_digests`.
    """
    decisive_here = {name.rpartition(".")[2] for name in decisive_settings(file.document)}
    decisive = _as_keys((_DECISIVE | decisive_here).intersection(used))
    guarded = decisive or _as_keys(settings_that_need(Trust.OWNER).intersection(used))
    if guarded:
        refuse_foreign(file, f", which was found and not named, sets {', '.join(guarded)}")
    if decisive and digest(file) not in trusted():
        raise UsageError(
            f"The settings file {file.path} sets {', '.join(decisive)}, and you have not confirmed that yet.",
            kept="Nothing was sent.",
            next_step="Look at it, then run bulk-export trust in this directory, or name the file with --config.",
        )


def refuse_foreign(file: SettingsFile, what: str = " was found and not named") -> None:
    """Raise UsageError if a file belongs to another user, or if others can write to it."""
    if is_foreign(file.status):
        raise UsageError(
            f"The settings file {file.path}{what}, and belongs to another user.",
            kept="Nothing was sent.",
            next_step="Remove it, or name it with --config if you trust it.",
        )
    if rights_of_others(file.status.st_mode, 0o022):
        raise UsageError(
            f"The settings file {file.path}{what}, and other users can write to it.",
            kept="Nothing was sent.",
            next_step=f"Look at it, then chmod go-w {file.path} and run bulk-export trust in this directory.",
        )


def digest(file: SettingsFile) -> str:
    """Return a hash of a file's path and decisive settings."""
    text = json.dumps([os.fsdecode(file.path), decisive_settings(file.document)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def trusted_digests(directory: Path | None) -> frozenset[str]:
    """Return the digests that the user trusts; none if the list is missing, damaged, or could be another user's.

    Args:
        directory: The state directory, None for a user who has none.
    """
    return frozenset(_entries(directory)) if directory is not None else frozenset()


def trust_found_file(directory: Path, state: Path | None) -> tuple[SettingsFile, list[str]]:
    """Add the decisive settings of the file in a directory to those that the user trusts.

    Args:
        directory: The directory, as the process would have it that works there.
        state: The state directory, None for a user who has none.

    Returns:
        The file, and the names of these settings.

    Raises:
        UsageError: There is no such file, it cannot be read, or others can change it.
        LocalFailure: That it is trusted cannot be stored.
    """
    file = find_file(directory)
    if file is None and directory == Path():
        raise UsageError(f"There is no {DEFAULT_FILE} in this directory.", next_step="Run it where the file is.")
    if file is None:
        raise UsageError(f"There is no {DEFAULT_FILE} in {directory}.", next_step="Name the directory that holds it.")
    refuse_foreign(file)
    if state is None:
        raise LocalFailure(
            "This user has no home directory, so nothing can be stored.", next_step="Name the file with --config."
        )
    trust(file, state)
    return file, sorted(decisive_settings(file.document))


def trust(file: SettingsFile, directory: Path) -> None:
    """Add a file's decisive settings to those that the user trusts. Raises LocalFailure if that cannot be stored."""
    entries = [*_entries(directory), digest(file)]
    try:
        make_private_directory(directory)
        write_atomically(directory / _TRUSTED_FILE, json.dumps(entries[-_MOST_ENTRIES:]).encode())
    except OSError as error:
        raise LocalFailure(
            f"The list of trusted settings files in {directory} cannot be written: {error.strerror}.",
            next_step="Make room or repair access, or name the file with --config.",
        ) from None


def _as_keys(names: Collection[str]) -> list[str]:
    return sorted(name.replace("_", "-") for name in names)


def _entries(directory: Path) -> list[str]:
    try:
        descriptor = open_file(directory / _TRUSTED_FILE, os.O_RDONLY, waits=False)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or is_foreign(status) or rights_of_others(status.st_mode, 0o022):
                return []
            entries = json.loads(file.read(_LARGEST_FILE))
    except (OSError, ValueError, RecursionError):
        return []
    return [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def _decisive(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in _DECISIVE or (name == "output" and isinstance(value, str) and scheme_of(value) is not None):
            yield prefix + name, value
        elif isinstance(value, Mapping):
            yield from _decisive(value, f"{prefix}{name}.")
