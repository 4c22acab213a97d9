"""A settings file to begin with: every setting, explained and commented out."""

from __future__ import annotations

import os
from pathlib import Path

from bulk_export.core.compat.opening import open_file
from bulk_export.errors import LocalFailure, UsageError
from bulk_export.pipelines.declarations import Source, declarations
from bulk_export.pipelines.settings.commands import COMMANDS

_HEADER = """\
# Settings of bulk-export: each is an option of that name. The command line wins, then variables BULK_EXPORT_{OPTION},
# then this file. Take away the # in front of what you set. `bulk-export trust` lets the file, where it is found and not
# named with --config, decide where requests, the token and rows go.
"""
_PROFILES = """
# A table per command, which wins over what stands above it.
# [sync]
# every = "1h"

# Profiles: bulk-export export --profile sandbox
# [profile.sandbox]
# environment = "sandbox"
# token-file = "~/.npq-sandbox-token"
"""


def write_template(file: Path) -> None:
    """Write a settings file with all settings, each commented out.

    Raises:
        UsageError: The file is there already.
        LocalFailure: It cannot be written.
    """
    try:
        descriptor = open_file(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, follows=True)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(settings_text())
        except OSError:  # a piece of it would be in the way of the next attempt
            file.unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise UsageError(f"{file} is there already.", next_step="Name another file, or remove it.") from None
    except OSError as error:
        raise LocalFailure(f"{file} cannot be written: {error.strerror}.", next_step="Name another file.") from None


def settings_text() -> str:
    """All settings of `export` and further ones of other commands, commented out, with their help and default."""
    lines = [_HEADER]
    seen: set[str] = set()
    for command in ("export", "sync", "load"):
        declared = [entry for entry in declarations(COMMANDS[command]).values() if entry.name not in seen]
        declared = [
            entry for entry in declared if Source.SETTINGS in entry.option.sources and not entry.option.positional
        ]
        lines.append(f"# --- {command} ---")
        for entry in declared:
            seen.add(entry.name)
            lines.append(f"# {entry.help}")
            lines.append(f"# {entry.name.replace('_', '-')} = {entry.example}\n")
    return "\n".join(lines) + _PROFILES
