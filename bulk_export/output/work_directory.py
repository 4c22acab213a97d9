"""The directories of a running export: the output, held for this process alone, and the one of its working state.

The working state (journal and staged parts) is kept in `.bulk-export` in the output, or on another disk below
`--work-dir`. In that case a file in `.bulk-export` names its directory, so that a run without `--work-dir` does not
start from the beginning.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulk_export.core.compat.directories import remove_directory
from bulk_export.core.directories import entry_status, is_same, opened_directory, sync_descriptor
from bulk_export.core.files import (
    local_failures,
    make_private_directory,
    open_regular,
    sync_directory,
    write_atomically,
)
from bulk_export.errors import DamagedState, UsageError
from bulk_export.extract.journal import Compression, JournalStore
from bulk_export.output.directory import (
    already_finished,
    check_file_system,
    check_owner,
    check_replaceable,
    check_working_directory,
    inspect_output,
    locked_directory,
    prepare_output,
    replaced_in_use,
)
from bulk_export.output.file_names import JOURNAL, POINTER, STAGING, WORKING_DIRECTORY
from bulk_export.output.working_state import remove_ours, remove_tree

# A file without a format is of this one.
_POINTER_FORMAT = 1
_LARGEST_POINTER = 64 * 1024


@dataclass(frozen=True, slots=True)
class WorkDirectory:
    """The output and the directory of the working state, both open and locked.

    Attributes:
        output: The path of the output directory.
        output_fd: The descriptor of the output directory.
        state: The path of the directory of the working state.
        state_fd: The descriptor of that directory.
        finished: Whether the output holds a finished export, which is being replaced.
    """

    output: Path
    output_fd: int
    state: Path
    state_fd: int
    finished: bool

    def open_journal(self, *, cap: int, compression: Compression = "lz4") -> JournalStore:
        """Open the journal, or make it.

        Args:
            cap: The largest size of an inflated body, in bytes.
            compression: How pages are stored that came uncompressed.

        Raises:
            LocalFailure: The journal is in another directory than the one that is held, or cannot be used.
            DamagedState: It is damaged.
        """
        store = JournalStore(self.state / JOURNAL, cap=cap, compression=compression)
        status = entry_status(JOURNAL, within=self.state_fd)
        if status is None or not is_same(status, store.path.stat()):
            store.close()
            raise replaced_in_use(self.state)
        return store

    @property
    def staging(self) -> Path:
        """The directory of staged parts, through the descriptor if the system can: that path always leads there."""
        by_descriptor = Path(f"/proc/self/fd/{self.state_fd}")
        return (by_descriptor if by_descriptor.is_dir() else self.state) / STAGING

    def clear(self) -> list[Path]:
        """Remove the working state, the journal last, since it accounts for the rest.

        Returns:
            The paths of what is not ours, and stays.
        """
        inside = self.output / WORKING_DIRECTORY
        with local_failures(f"Removing the working state in {self.state}"):
            kept = remove_ours(self.state_fd, self.state)
            if self.state != inside:
                if not kept:
                    self.state.rmdir()
                with opened_directory(WORKING_DIRECTORY, within=self.output_fd) as pointing:
                    kept += remove_ours(pointing, inside)
            if not [path for path in kept if path.is_relative_to(inside)]:
                remove_directory(WORKING_DIRECTORY, within=self.output_fd)
            sync_descriptor(self.output_fd)
        return kept

    def clear_all(self) -> list[Path]:
        """Remove the working state as `clear` does, and the output directory with it if nothing else is in there."""
        kept = self.clear()
        with contextlib.suppress(OSError):
            self.output.rmdir()
        return kept


@contextlib.contextmanager
def open_work_directory(
    output: Path, work_dir: Path | None, names: Sequence[str], *, overwrite: bool, keep_pages: bool
) -> Iterator[WorkDirectory]:
    """Prepare the output and the directory of the working state, and hold them for this process.

    Args:
        output: The output directory.
        work_dir: The directory below which the working state is kept; None for the output.
        names: The endpoints to export.
        overwrite: Whether a finished export may be replaced.
        keep_pages: Whether the export will have an archive.

    Raises:
        UsageError: The output cannot be used or holds a finished export, or its working state is in another place.
        DamagedState: The working state, or what is to be replaced, cannot be trusted.
        LocalFailure: The disk or its file system fails.
    """
    finished = inspect_output(output)
    state = _state_directory(output, work_dir)
    # A journal means that an export is under way: it goes on, whatever the output holds.
    if finished and not overwrite and not os.path.lexists(state / JOURNAL):
        _clear_leftovers(output, state)
        raise already_finished(output)
    if not os.path.lexists(state / JOURNAL):
        check_replaceable(output, names, finished=finished, keep_pages=keep_pages)
    prepare_output(output)
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(locked_directory(output, needs_lock=work_dir is None))
        if work_dir is not None:
            _prepare_other_directory(output, state, finished=finished)
            working = stack.enter_context(locked_directory(state))
        else:
            with local_failures(f"Opening the directory {state}"):
                working = stack.enter_context(opened_directory(WORKING_DIRECTORY, within=root))
                check_owner(working, root, state)
        check_file_system(state)
        yield WorkDirectory(output, root, state, working, finished)


def left_in_place_text(path: Path) -> str:
    """The warning about a file in the working state that is not of an export."""
    return f"{path} is not of an export, so it was left where it is"


def _state_directory(output: Path, work_dir: Path | None) -> Path:
    """The directory of the working state. Raises UsageError if an earlier run keeps it in another one."""
    inside = output / WORKING_DIRECTORY
    earlier = _read_pointer(inside / POINTER)
    if work_dir is None:
        if earlier is not None:
            raise UsageError(
                f"The working state of the export in {output} lies in {earlier}.",
                kept="Nothing was changed.",
                next_step=f"Add --work-dir {earlier.parent} to go on with it; if it is lost, remove {inside}.",
            )
        return inside
    name = hashlib.sha256(os.fsencode(os.path.realpath(output))).hexdigest()[:24]
    state = Path(os.path.realpath(work_dir)) / f"bulk-export-{name}"
    if earlier is not None and earlier != state:
        raise UsageError(
            f"The working state of the export in {output} lies in {earlier}, not in {state}.",
            kept="Nothing was changed.",
            next_step=f"Use --work-dir {earlier.parent}; if it is lost, remove {inside}.",
        )
    if earlier is None and os.path.lexists(inside / JOURNAL):
        raise UsageError(
            f"The working state of the export in {output} lies in {inside}.",
            kept="Nothing was changed.",
            next_step="Leave out --work-dir to go on with it.",
        )
    return state


def _read_pointer(pointer: Path) -> Path | None:
    """The directory in which an earlier run keeps its working state; None if that is the output."""
    try:
        with os.fdopen(open_regular(pointer), "rb") as file:
            content = json.loads(file.read(_LARGEST_POINTER))
        if isinstance(content, dict) and content.get("format", _POINTER_FORMAT) != _POINTER_FORMAT:
            raise DamagedState(
                f"{pointer} was written by another version of this tool, in a format that is not known here.",
                kept="Nothing was changed.",
                next_step="Go on with the version that wrote it, or choose another --output.",
            )
        directory = Path(content["work_dir"])
        is_valid = directory.is_absolute() and "\0" not in str(directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        is_valid = False
    if not is_valid:
        raise DamagedState(
            f"{pointer} does not name the directory of the working state.",
            kept="Nothing was changed.",
            next_step=f"Choose another --output, or remove {pointer.parent} to start afresh.",
        )
    return directory


def _prepare_other_directory(output: Path, state: Path, *, finished: bool) -> None:
    inside = output / WORKING_DIRECTORY
    pointer = inside / POINTER
    if not state.is_dir() and not finished and os.path.lexists(pointer):
        raise DamagedState(
            f"The working state of the export in {output} is not in {state} any more.",
            kept="Nothing was changed.",
            next_step=f"Put it back, or remove {inside} to start afresh.",
        )
    with local_failures(f"Preparing {state}"):
        made = make_private_directory(state)
        for directory in made:
            sync_directory(directory.parent)
        check_working_directory(state)
        if not os.path.lexists(pointer):
            write_atomically(pointer, json.dumps({"work_dir": str(state)}).encode())


def _clear_leftovers(output: Path, state: Path) -> None:
    """Remove what a crash after the removal of the journal left of the working state of a finished export."""
    if (output / WORKING_DIRECTORY).exists():
        with (
            locked_directory(output, needs_lock=state.parent == output) as root,
            local_failures(f"Removing the working state in {output}"),
        ):
            for directory in dict.fromkeys([state, output / WORKING_DIRECTORY]):
                remove_tree(directory)
            sync_descriptor(root)
