"""Opens a copy for a poll: refuses what no poll made, and what is a copy of something else."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bulk_export.core.directories import entry_status, kind_of, names_in, opened_directory, ownership_problem
from bulk_export.core.files import local_failures
from bulk_export.errors import BulkExportError, DamagedState, UsageError
from bulk_export.extract.journal import JournalStore
from bulk_export.extract.journal.option_texts import change_text, differing_parameters
from bulk_export.output.delta_files import LOG as DELTA_LOG
from bulk_export.output.file_names import JOURNAL, MANIFEST, REPORT, SYNC_STATE, WORKING_DIRECTORY
from bulk_export.pipelines.sync.log import LOG, append_entry
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.state import CopyState
from bulk_export.pipelines.sync.state_file import read_state, write_state
from bulk_export.pipelines.tuning import body_cap

# How many directories deep a table is checked: a Delta table has a log directory, which may have one more.
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class OpenCopy:
    """A copy that is open for a poll.

    Attributes:
        state: Its state.
        source: Distinguishes the token and address of this run from others; an open poll of another source is not
            resumed.
        new_identity: A new token or address, which becomes part of the copy's identity once a full sync has shown that
            it belongs to the same provider.
    """

    state: CopyState
    source: str
    new_identity: Mapping[str, str]


def holds_copy(output: Path) -> bool:
    """Whether a directory has the state of a copy, or anything else under its name."""
    return os.path.lexists(output / SYNC_STATE)


def open_copy(options: SyncOptions) -> OpenCopy:
    """Read the state of the copy, or create that of a new one, and write the log entry that a killed run left out.

    Raises:
        DamagedState: Something in the copy was not made by polls, or its state cannot be used.
        LocalFailure: The state or the log cannot be read or written.
        UsageError: The directory holds an export, or a copy of something else.
    """
    _refuse_foreign_files(options.output, [endpoint.name for endpoint in options.full.endpoints])
    if (options.output / WORKING_DIRECTORY / JOURNAL).exists():
        raise UsageError(
            f"{options.output} holds an unfinished export.", next_step="Choose another --output for the copy."
        )
    state = read_state(options.output)
    if state is None or (_is_of_another(options, state) and _holds_nothing(options, state)):
        key = secrets.token_bytes(16)
        state = CopyState({**options.identity(), "key": key.hex(), "token": options.token_mark(key)})
        write_state(options.output, state)
        return OpenCopy(state, _source_of(state.identity), {})
    identity = _wanted_identity(options, state)
    new_identity = _check_identity(options, state.identity, identity)
    if new_identity:
        state = _with_all_full_due(options, state)
    if state.last_entry is not None:
        append_entry(options.output, state.last_entry)
    return OpenCopy(state, _source_of(identity), new_identity)


def _wanted_identity(options: SyncOptions, state: CopyState) -> dict[str, Any]:
    """The identity of the copy that this run asks for, its token marked with the key of the one that is there."""
    token = options.token_mark(bytes.fromhex(str(state.identity.get("key", ""))))
    return {**options.identity(), "key": state.identity.get("key"), "token": token}


def _is_of_another(options: SyncOptions, state: CopyState) -> bool:
    return bool(differing_parameters(state.identity, _wanted_identity(options, state)))


def _holds_nothing(options: SyncOptions, state: CopyState) -> bool:
    """Whether the copy has no table, no poll and no page yet, so that other options lose nothing.

    So it is after a first run with a mistyped token, address or filter, which the service refused: the next one has to
    differ. One in an object store may have its pages on another machine, and is never taken for empty.
    """
    if options.remote is not None or state.watermarks or state.table_marks or state.last_entry is not None:
        return False
    with local_failures(f"Looking at {options.output}"):
        if {entry.name for entry in options.output.iterdir()} - {SYNC_STATE, WORKING_DIRECTORY, REPORT}:
            return False
        found = {
            Path(directory, name)
            for directory, _, names in os.walk(options.output / WORKING_DIRECTORY)
            for name in names
            if name in (JOURNAL, MANIFEST)
        }
    return all(path.name == JOURNAL and _is_empty(path, options) for path in found)


def _is_empty(journal: Path, options: SyncOptions) -> bool:
    try:
        store = JournalStore(journal, cap=body_cap(options.full.page_size))
    except BulkExportError:
        return False  # what it holds cannot be told
    try:
        return next(store.pages(), None) is None
    except BulkExportError:
        return False
    finally:
        store.close()


def refuse_another(copied: Mapping[str, Any], wanted: Mapping[str, Any], directory: Path) -> None:
    """Raise UsageError, naming what differs, unless the copy in a directory has the identity that is wanted."""
    differing = differing_parameters(copied, wanted)
    if differing:
        shown = "; ".join(change_text(name, copied.get(name), wanted.get(name)) for name in differing)
        raise UsageError(
            f"{directory} holds a copy made with other options: {shown}.",
            kept="Nothing was changed.",
            next_step="Use the options it was made with, or choose another --output for another copy.",
        )


def _check_identity(options: SyncOptions, copied: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return what --accept-token and --moved-to change of the copy's identity. Raise UsageError for other changes."""
    new: dict[str, str] = {}
    if options.accepts_token and copied.get("token") != wanted["token"]:
        new["token"] = wanted["token"]
    if options.moved_from is not None and copied.get("base_url") == options.moved_from != wanted["base_url"]:
        new["base_url"] = wanted["base_url"]
    expected = {**copied, **new}
    if expected.get("token") != wanted["token"]:
        raise UsageError(
            f"{options.output} holds a copy made with another token.",
            kept="Nothing was changed.",
            next_step="If both are of the same provider, add --accept-token once; the copy of another provider"
            " needs another --output.",
        )
    refuse_another(expected, wanted, options.output)
    return new


def _with_all_full_due(options: SyncOptions, state: CopyState) -> CopyState:
    """The state with a full sync due for all endpoints, because only the whole copy shows whose records come now.

    Raises UsageError if this run leaves out an endpoint: some lists are the same for every provider.
    """
    polled = {endpoint.name for endpoint in options.full.endpoints}
    if rest := sorted(set(state.watermarks) - polled):
        raise UsageError(
            "Whether another token or address shows the same provider's records has to be seen from the whole copy,"
            f" and this run leaves out {', '.join(rest)}.",
            kept="Nothing was changed.",
            next_step="Name these endpoints, too, in the first run with it.",
        )
    return replace(state, watermarks={name: mark.with_full_due() for name, mark in state.watermarks.items()})


def _source_of(identity: Mapping[str, Any]) -> str:
    return f"{identity['token']} {identity['base_url']}"


def _refuse_foreign_files(output: Path, names: Sequence[str]) -> None:
    """Raise DamagedState for the first link, pipe, device, or file of another user or writable by others, in a copy.

    The libraries that read and write tables go by names and follow links, so the state, the log and everything in the
    tables of `names` is checked before a poll uses it. Other private files in a table's directory are the user's own.
    """
    with local_failures(f"Looking at {output}"), opened_directory(output) as root:
        for name in (SYNC_STATE, LOG):
            if (status := entry_status(name, within=root)) is not None:
                _check_file(status, root, output / name, is_directory=False)
        for name in names:
            if (status := entry_status(name, within=root)) is not None:
                _check_file(status, root, output / name, is_directory=True)
                with opened_directory(name, within=root) as table:
                    _check_directory(table, output / name, 0)


def _check_directory(directory: int, path: Path, depth: int) -> None:
    for name in names_in(directory):
        status = entry_status(name, within=directory)
        if status is None:
            continue
        is_directory = stat.S_ISDIR(status.st_mode) or name == DELTA_LOG
        _check_file(status, directory, path / name, is_directory=is_directory)
        if is_directory and depth < _DEEPEST:
            with opened_directory(name, within=directory) as below:
                _check_directory(below, path / name, depth + 1)


def _check_file(status: os.stat_result, within: int, path: Path, *, is_directory: bool) -> None:
    if (stat.S_ISDIR if is_directory else stat.S_ISREG)(status.st_mode):
        reason = ownership_problem(status, within=within, may_be_read=True)
    else:
        reason = f"is {kind_of(status)}"
    if reason:
        raise DamagedState(
            f"{path} cannot be used: it {reason}.",
            kept="Nothing was changed.",
            next_step="Remove it if it is not yours, and restore what belongs there from a backup; of your own files,"
            " take away the right of others to write (chmod -R go-w on the directory).",
        )
