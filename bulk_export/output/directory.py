"""Where an export works: its output, held for this process alone, and where its journal and unfinished parts lie.

The working state lies in `.bulk-export` in the output, or on another disk below `--work-dir`. Then a file in
`.bulk-export` names the place, so that no run starts afresh because it was not told of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulk_export.core.directories import is_same, look_at, opened_directory, sync_descriptor
from bulk_export.core.files import (
    WORKING_DIRECTORY,
    check_owner,
    check_place,
    check_working_directory,
    inspect_output,
    local_failures,
    locked_directory,
    make_private_directory,
    open_regular,
    prepare_output,
    remove_tree,
    swapped,
    sync_directory,
    write_atomically,
)
from bulk_export.core.working_state import JOURNAL, remove_ours
from bulk_export.errors import DamagedState, UsageError
from bulk_export.extract.journal import JournalStore
from bulk_export.output.replaceable import check_replaceable

STAGING = "parts"

_POINTER = "elsewhere.json"
# A file without a format is of this one.
_POINTER_FORMAT = 1
_LARGEST_POINTER = 64 * 1024


@dataclass(frozen=True, slots=True)
class WorkDirectory:
    """The output and the directory of the working state, each with the descriptor that it is held by.

    `finished` says whether the output holds a finished export, which is being replaced.
    """

    output: Path
    root: int
    state: Path
    working: int
    finished: bool

    def open_journal(self, *, cap: int) -> JournalStore:
        """The journal, made where there is none. Raises as `JournalStore`, and LocalFailure for one of elsewhere."""
        store = JournalStore(self.state / JOURNAL, cap=cap)
        found = look_at(JOURNAL, within=self.working)
        if found is None or not is_same(found, store.path.stat()):
            store.close()
            raise swapped(self.state)
        return store

    @property
    def staging(self) -> Path:
        """The directory of finished parts, by way of the descriptor where the system can: it leads nowhere else."""
        by_descriptor = Path(f"/proc/self/fd/{self.working}")
        return (by_descriptor if by_descriptor.is_dir() else self.state) / STAGING

    def clear(self) -> list[Path]:
        """Remove the working state, the journal after everything that it can account for; what was not ours stays."""
        inside = self.output / WORKING_DIRECTORY
        with local_failures(f"Removing the working state in {self.state}"):
            left = remove_ours(self.working, self.state)
            if self.state != inside:
                if not left:
                    self.state.rmdir()
                with opened_directory(WORKING_DIRECTORY, within=self.root) as pointing:
                    left += remove_ours(pointing, inside)
            if not [path for path in left if path.is_relative_to(inside)]:
                os.rmdir(WORKING_DIRECTORY, dir_fd=self.root)
            sync_descriptor(self.root)
        return left


@contextlib.contextmanager
def workplace(
    output: Path, work_dir: Path | None, names: Sequence[str], *, overwrite: bool, keep_pages: bool
) -> Iterator[WorkDirectory]:
    """Prepare and hold the output and the working state for this process, to export the endpoints `names`.

    Raises UsageError for an output that cannot be used, that holds a finished export which is not to be replaced, or
    whose working state lies elsewhere; DamagedState for working state that is not ours alone, and LocalFailure.
    """
    finished = inspect_output(output)
    state = _state_of(output, work_dir)
    if finished and not overwrite and not os.path.lexists(state / JOURNAL):
        _clear_leftovers(output, state)
        raise already_finished(output)
    if not os.path.lexists(state / JOURNAL):
        check_replaceable(output, names, finished=finished, keep_pages=keep_pages)
    prepare_output(output)
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(locked_directory(output, needs_lock=work_dir is None))
        if work_dir is not None:
            _prepare_elsewhere(output, state, finished=finished)
            working = stack.enter_context(locked_directory(state))
        else:
            with local_failures(f"Opening the directory {state}"):
                working = stack.enter_context(opened_directory(WORKING_DIRECTORY, within=root))
                check_owner(working, root, state)
        check_place(state)
        yield WorkDirectory(output, root, state, working, finished)


def already_finished(output: Path) -> UsageError:
    """The refusal to write where a finished export is."""
    return UsageError(
        f"{output} holds a finished export.",
        kept="Nothing was changed.",
        next_step="Choose another --output, or replace it with --overwrite.",
    )


def not_ours(path: Path) -> str:
    """What to say of a file that was found in the working state and stays."""
    return f"{path} is not of an export, so it was left where it is"


def _state_of(output: Path, work_dir: Path | None) -> Path:
    """The directory of the working state. Raises UsageError where an earlier run has it in another place."""
    inside = output / WORKING_DIRECTORY
    earlier = _pointed_to(inside / _POINTER)
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


def _pointed_to(pointer: Path) -> Path | None:
    """Where an earlier run has its working state, None where that is in the output."""
    try:
        with os.fdopen(open_regular(pointer), "rb") as file:
            content = json.loads(file.read(_LARGEST_POINTER))
        if isinstance(content, dict) and content.get("format", _POINTER_FORMAT) != _POINTER_FORMAT:
            raise DamagedState(
                f"{pointer} was written by another version of this tool, in a format that is not known here.",
                kept="Nothing was changed.",
                next_step="Go on with the version that wrote it, or choose another --output.",
            )
        place = Path(content["work_dir"])
        is_place = place.is_absolute() and "\0" not in str(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        is_place = False
    if not is_place:
        raise DamagedState(
            f"{pointer} does not name the place of the working state.",
            kept="Nothing was changed.",
            next_step=f"Choose another --output, or remove {pointer.parent} to start afresh.",
        )
    return place


def _prepare_elsewhere(output: Path, state: Path, *, finished: bool) -> None:
    inside = output / WORKING_DIRECTORY
    pointer = inside / _POINTER
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
    """Remove what a crash after the journal's removal left of the working state of a finished export."""
    if (output / WORKING_DIRECTORY).exists():
        with (
            locked_directory(output, needs_lock=state.parent == output) as root,
            local_failures(f"Removing the working state in {output}"),
        ):
            for directory in dict.fromkeys([state, output / WORKING_DIRECTORY]):
                remove_tree(directory)
            sync_descriptor(root)
