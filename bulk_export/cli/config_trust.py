"""Whether a settings file that was found, not named, may decide where requests and the token go.

A file in the working directory may have been put there by somebody else. What decides where requests go, which token
is sent, or how the service is described, is taken from it only if

1. the file belongs to the user, and nobody else can write to it; and
2. the user has confirmed exactly these values in this file, once, with `bulk-export trust`.

What decides where records lie, or lets something be replaced or removed, is taken from it only if 1. holds. Other
settings are taken without that. A file that is named with `--config` is confirmed by being named.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bulk_export.cli.config import SettingsFile
from bulk_export.core.files import make_private_directory, write_atomically
from bulk_export.errors import LocalFailure, UsageError

# By their names with underscores.
DECISIVE = frozenset(
    {
        "allow_plain_http",
        "base_url",
        "budget",
        "ca_file",
        "environment",
        "moved_to",
        "profile",
        "service",
        "tenants",
        "token_file",
    }
)
# What nobody else may decide, though it needs no word of the user in a file of his own.
_OWN = frozenset(
    {
        "accept_removals",
        "accept_token",
        "gone",
        "max_removed",
        "output",
        "overwrite",
        "pseudonym_key_file",
        "removed",
        "vacuum",
        "work_dir",
    }
)
_FILE = "trusted-settings.json"
_LARGEST = 1 << 20
_MOST = 1_000


def decisive_settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a document, in tables too, that decide where requests go, by their dotted names."""
    return dict(_decisive(document, ""))


def refuse_untrusted(file: SettingsFile, used: Collection[str], trusted: Callable[[], Collection[str]]) -> None:
    """Raise UsageError if a file that was found may not decide what it does.

    Args:
        file: The file as it was read.
        used: The names of the options that are taken from it.
        trusted: Gives the digests that the user trusts, see `trusted_digests`.
    """
    decisive = sorted(name.replace("_", "-") for name in DECISIVE.intersection(used))
    guarded = decisive or sorted(name.replace("_", "-") for name in _OWN.intersection(used))
    if guarded:
        refuse_foreign(file, f", which was found and not named, sets {', '.join(guarded)}")
    if decisive and digest(file) not in trusted():
        raise UsageError(
            f"The settings file {file.path} sets {', '.join(decisive)}, and you have not confirmed that yet.",
            kept="Nothing was sent.",
            next_step="Look at it, then run bulk-export trust in this directory, or name the file with --config.",
        )


def refuse_foreign(file: SettingsFile, what: str = " was found and not named") -> None:
    """Raise UsageError for a file that belongs to somebody else, or that somebody else can write to."""
    if file.opened.st_uid != os.geteuid():
        raise UsageError(
            f"The settings file {file.path}{what}, and belongs to another user.",
            kept="Nothing was sent.",
            next_step="Remove it, or name it with --config if you trust it.",
        )
    if stat.S_IMODE(file.opened.st_mode) & 0o022:
        raise UsageError(
            f"The settings file {file.path}{what}, and other users can write to it.",
            kept="Nothing was sent.",
            next_step=f"Look at it, then chmod go-w {file.path} and run bulk-export trust in this directory.",
        )


def digest(file: SettingsFile) -> str:
    """What stands for the decisive settings of one file in the list of those that are trusted."""
    text = json.dumps([os.fsdecode(file.path), decisive_settings(file.document)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def trusted_digests(directory: Path | None) -> frozenset[str]:
    """The digests that the user trusts, from a file in the state directory; none where it is missing or another's."""
    return frozenset(_entries(directory)) if directory is not None else frozenset()


def trust(file: SettingsFile, directory: Path) -> None:
    """Add a file's decisive settings to those that the user trusts. Raises LocalFailure where that cannot be stored."""
    entries = [*_entries(directory), digest(file)]
    try:
        make_private_directory(directory)
        write_atomically(directory / _FILE, json.dumps(entries[-_MOST:]).encode())
    except OSError as error:
        raise LocalFailure(
            f"The list of trusted settings files in {directory} cannot be written: {error.strerror}.",
            next_step="Make room or repair access, or name the file with --config.",
        ) from None


def _entries(directory: Path) -> list[str]:
    try:
        descriptor = os.open(directory / _FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o022:
                return []
            entries = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return []
    return [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def _decisive(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in DECISIVE:
            yield prefix + name, value
        elif isinstance(value, Mapping):
            yield from _decisive(value, f"{prefix}{name}.")
