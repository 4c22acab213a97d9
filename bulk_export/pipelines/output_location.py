"""Where an export goes: a directory, an address in an object store, or both.

Without a directory of the user's, the working state of an export in an object store is kept in one that is named after
the address, below `--work-dir` or in the user's directory for state.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from bulk_export.core.model import Service
from bulk_export.core.process import state_directory
from bulk_export.errors import UsageError
from bulk_export.output.object_store.store_options import StoreOptions
from bulk_export.output.object_store.url import StoreUrl, parse_location, parse_store_url
from bulk_export.pipelines.arguments import FileArguments
from bulk_export.pipelines.option_parsing import directory_of, output_of, texts_of


@dataclass(frozen=True, slots=True)
class RemoteOutput:
    """An address that gets an export, and whether a directory keeps it as well."""

    url: StoreUrl
    store_options: StoreOptions = field(default_factory=StoreOptions)
    keeps_local: bool = False


@dataclass(frozen=True, slots=True)
class OutputLocation:
    """The directory of an export and of its working state.

    Attributes:
        output: The directory of the export; that of its working state if it goes to an object store alone.
        work_dir: The directory below which the working state is kept; None for the output.
        remote: The address in an object store, if one gets the export.
    """

    output: Path
    work_dir: Path | None
    remote: RemoteOutput | None


def output_location(arguments: FileArguments, service: Service) -> OutputLocation:
    """Resolve `--output`, `--publish`, `--work-dir` and `--store-option`.

    Raises:
        UsageError: One of them cannot be used, or they do not go together.
    """
    given = arguments["output"]
    options = texts_of(arguments["store_option"])
    work_dir = None if arguments["work_dir"] is None else directory_of(arguments["work_dir"], "--work-dir")
    location = None if given is None or not os.fspath(given).strip() else parse_location(given)
    if isinstance(location, StoreUrl):
        if arguments["publish"] is not None:
            raise UsageError(
                "--output and --publish are both addresses.", next_step="Leave --publish out, or name a directory."
            )
        remote = RemoteOutput(location, StoreOptions.of(options, location.scheme))
        return OutputLocation(working_directory(location, work_dir), None, remote)
    output = output_of(given, service)
    if arguments["publish"] is None:
        if options:
            raise UsageError("--store-option is for exports in object stores.", next_step="Leave it out.")
        return OutputLocation(output, work_dir, None)
    url = parse_store_url(os.fspath(arguments["publish"]))
    return OutputLocation(output, work_dir, RemoteOutput(url, StoreOptions.of(options, url.scheme), keeps_local=True))


def working_directory(url: StoreUrl, work_dir: Path | None, folder: str = "exports") -> Path:
    """The directory for the working state of an address.

    Args:
        url: The address.
        work_dir: The directory above it; by default one in the user's directory for state.
        folder: The name of that one.

    Raises:
        UsageError: The user has no home directory.
    """
    above = work_dir
    if above is None:
        state = state_directory()
        if state is None:
            raise UsageError(
                "This user has no home directory for the working state of the export.",
                next_step="Name a directory on a local disk with --work-dir.",
            )
        above = state / folder
    name = hashlib.sha256(str(url).encode()).hexdigest()[:24]
    return Path(os.path.realpath(above)) / f"bulk-export-{name}"


def shown_place(output: Path, remote: RemoteOutput | None) -> Path | str:
    """Where a user finds the export: the directory, or the address if there is no directory."""
    return output if remote is None or remote.keeps_local else str(remote.url)
