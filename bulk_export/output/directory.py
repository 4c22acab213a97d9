"""The rules of an output directory: what it may hold, how it is prepared and locked, and what may be replaced in it.

Only what an earlier export wrote is ever replaced or removed; anything else makes the run stop before it changes
something.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bulk_export.core.compat.directories import (
    close_directory,
    lock_directory,
    open_directory,
    open_entry,
    remove_file,
    replace_file,
    status_of,
)
from bulk_export.core.compat.locks import lock_for_sqlite
from bulk_export.core.compat.opening import open_file
from bulk_export.core.directories import (
    entry_status,
    is_same,
    kind_of,
    names_in,
    opened_directory,
    ownership_problem,
    safety_problem,
)
from bulk_export.core.files import local_failures, make_private_directory, sync_directory
from bulk_export.errors import DamagedState, DirectoryInUse, LocalFailure, UsageError
from bulk_export.output.file_names import ARCHIVE, MANIFEST, SYNC_STATE, WORKING_DIRECTORY, is_part
from bulk_export.output.manifest import InvalidManifest, files_of, read_manifest
from bulk_export.output.working_state import check_working_state

_NEW_FILE = os.O_CREAT | os.O_EXCL
_OTHER_OUTPUT = "Choose another --output: a new directory, or one that holds an export."
_WORK_ELSEWHERE = (
    "Choose another --output; `export` can keep its working state on a local disk instead, with --work-dir DIR."
)
# A file system without locks answers with one of these.
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.EBADF}


def inspect_output(path: Path) -> bool:
    """Return whether `path` holds a finished export. Changes nothing.

    Raises:
        UsageError: It is neither new nor empty, nor an unfinished or finished export: a file, a symbolic link, a
            synced copy, a directory of other files, or one where something else has the name of a file of ours.
    """
    try:
        if path.is_symlink():
            raise UsageError(f"{path} is a symbolic link.", next_step=_OTHER_OUTPUT)
        if not path.exists():
            return False
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory.", next_step=_OTHER_OUTPUT)
        entries = {entry.name: entry.stat(follow_symlinks=False) for entry in os.scandir(path)}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", next_step=_OTHER_OUTPUT) from None
    if SYNC_STATE in entries:
        raise UsageError(f"{path} holds a copy that sync keeps.", next_step=_OTHER_OUTPUT)
    if entries and not entries.keys() & {WORKING_DIRECTORY, MANIFEST}:
        raise UsageError(f"{path} holds files that are not an export.", next_step=_OTHER_OUTPUT)
    for name in (MANIFEST, ARCHIVE, WORKING_DIRECTORY):
        status = entries.get(name)
        is_expected = stat.S_ISDIR if name == WORKING_DIRECTORY else stat.S_ISREG
        if status is not None and not is_expected(status.st_mode):
            raise UsageError(
                f"{path / name} is {kind_of(status)}.", kept="Nothing was changed.", next_step=_OTHER_OUTPUT
            )
    return MANIFEST in entries


def holds_own_export(path: Path) -> bool:
    """Whether a directory for several outputs has files of an export or a copy of its own."""
    return any(os.path.lexists(path / name) for name in (MANIFEST, WORKING_DIRECTORY, SYNC_STATE))


def prepare_output(path: Path) -> None:
    """Make the output directory and its working directory, and check that they can be used.

    Raises:
        UsageError: They cannot be written to, or another user could replace what is kept there.
        DamagedState: The working directory holds state that is not ours alone.
        LocalFailure: The disk fails.
    """
    working = path / WORKING_DIRECTORY
    if os.path.lexists(path):
        with local_failures(f"Looking at {path}"), opened_directory(path) as opened:
            reason = safety_problem(opened)
        if reason is not None:
            raise UsageError(
                f"{path} {reason}.", kept="Nothing was changed.", next_step=f"{_OTHER_OUTPUT[:-1]}; or chmod 700 yours."
            )
    if os.path.lexists(working):
        check_working_directory(working)
    try:
        made = make_private_directory(working)
        probe = working / _probe_name()
        os.close(open_file(probe, os.O_WRONLY | _NEW_FILE))
        probe.unlink()
    except OSError as error:
        raise UsageError(f"{path} cannot be written to: {error.strerror}.", next_step=_OTHER_OUTPUT) from None
    with local_failures(f"Preparing {path}"):
        for directory in {path: None, **dict.fromkeys(directory.parent for directory in made)}:
            sync_directory(directory)


def check_working_directory(working: Path) -> None:
    """Check a working directory and everything in it that has a name of ours.

    Raises:
        UsageError: It is no directory, or another user's.
        DamagedState: An entry in it cannot be trusted.
        LocalFailure: It cannot be read.
    """
    with local_failures(f"Looking at {working}"), opened_directory(working.parent) as above:
        status = entry_status(working.name, within=above)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{working} is {kind_of(status)}.", kept="Nothing was changed.", next_step=_OTHER_OUTPUT)
        with contextlib.suppress(FileNotFoundError), opened_directory(working.name, within=above) as state:
            check_owner(state, above, working)
            check_working_state(state, working)


def check_owner(directory: int, above: int, path: Path) -> None:
    """Raise UsageError unless an open directory, which is in the open directory `above`, is ours alone."""
    if reason := ownership_problem(status_of(directory), within=above):
        raise UsageError(f"{path} {reason}.", kept="Nothing was changed.", next_step=_OTHER_OUTPUT)


def check_file_system(working: Path) -> None:
    """Check that the file system of a directory can lock a file and replace one file by another, as the journal does.

    Raises:
        LocalFailure: It cannot.
    """
    names = [_probe_name() for _ in range(2)]
    doing = "making a file"
    try:
        with opened_directory(working) as directory:
            try:
                for name in names:
                    descriptor = open_entry(name, os.O_RDWR | _NEW_FILE, within=directory)
                    try:
                        doing = "locking a file"
                        lock_for_sqlite(descriptor)
                    finally:
                        os.close(descriptor)
                doing = "putting one file in the place of another"
                replace_file(names[0], names[1], source=directory, target=directory)
            finally:
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        remove_file(name, within=directory)
    except OSError as error:
        raise LocalFailure(
            f"{working} cannot hold the working state of an export: {doing} failed ({error.strerror}).",
            kept="Nothing was sent.",
            next_step=_WORK_ELSEWHERE,
        ) from None


def in_use(path: Path, place: str) -> DirectoryInUse:
    """The error for a directory that another process holds, which the user knows as `place`."""
    doing = "syncing" if os.path.lexists(path / SYNC_STATE) else "exporting"
    return DirectoryInUse(
        f"Another process is {doing} into {place}.", next_step="Wait for it to end, or choose another --output."
    )


@contextlib.contextmanager
def locked_directory(path: Path, *, needs_lock: bool = True) -> Iterator[int]:
    """Hold a directory for this process alone, and give its descriptor.

    The lock is the kernel's, on the directory itself: it ends with the process, and leaves no file behind. For Windows,
    see `lock_directory`.

    Args:
        path: The directory; no symbolic link is followed.
        needs_lock: Whether a file system without locks is refused.

    Raises:
        DirectoryInUse: Another process holds it.
        LocalFailure: It cannot be opened or locked.
    """
    with local_failures(f"Opening the directory {path}"):
        directory = open_directory(path)
    try:
        try:
            lock_directory(directory)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise in_use(path, str(path)) from None
            if needs_lock or error.errno not in _NO_LOCKS:
                raise LocalFailure(
                    f"The directory {path} cannot be locked: {error.strerror}.",
                    kept="Nothing was changed.",
                    next_step=_WORK_ELSEWHERE,
                ) from None
        yield directory
    finally:
        close_directory(directory)


def check_not_replaced(path: Path, held: int) -> None:
    """Raise LocalFailure if another directory took the place of the one that is `held` open."""
    with local_failures(f"Looking at {path}"):
        same = is_same(path.stat(follow_symlinks=False), status_of(held))
    if not same:
        raise replaced_in_use(path)


def replaced_in_use(path: Path) -> LocalFailure:
    """The failure of a run whose directory was exchanged for another one."""
    return LocalFailure(
        f"{path} was replaced by another directory while it was in use.",
        kept="Neither of the two was changed any further.",
        next_step="Put the first one back in its place, then run the same command again.",
    )


def check_replaceable(output: Path, names: Sequence[str], *, finished: bool, keep_pages: bool) -> None:
    """Check that an export would remove nothing but the export which it replaces.

    Args:
        output: The output directory; it need not exist.
        names: The endpoints to export.
        finished: Whether the output holds a finished export.
        keep_pages: Whether the new export has an archive.

    Raises:
        DamagedState: The manifest there is not ours, or something has the name of a part or of the archive without
            being in the manifest.
    """
    if not output.exists():
        return
    earlier = read_manifest(output) if finished else None
    listed = set() if earlier is None else set(files_to_replace(output, earlier))
    with local_failures(f"Looking at {output}"), opened_directory(output) as root:
        for name in dict.fromkeys([*names, *(path.partition("/")[0] for path in listed)]):
            _check_folder(root, name, output, listed, is_exported=name in names)
        has_archive = earlier is not None and earlier.get("archive") == ARCHIVE
        if keep_pages and not has_archive and entry_status(ARCHIVE, within=root) is not None:
            raise in_the_way(output / ARCHIVE)


def files_to_replace(output: Path, earlier: Mapping[str, Any]) -> list[str]:
    """The paths of the parts of an earlier export. Raises DamagedState for a manifest that no export wrote."""
    try:
        return [path for path, _ in files_of(earlier)]
    except InvalidManifest as error:
        raise DamagedState(
            f"The manifest {output / MANIFEST} cannot be used: {error}.",
            kept="Nothing was removed.",
            next_step="Choose another --output, or move this manifest away if it is not of an export.",
        ) from None


def in_the_way(path: Path) -> DamagedState:
    """The refusal to remove what is not of an export."""
    return DamagedState(
        f"{path} is in the way, and is not of an export that may be replaced.",
        kept="Nothing was removed or changed there.",
        next_step="Move it away, or choose another --output.",
    )


def already_finished(output: Path) -> UsageError:
    """The refusal to write over a finished export."""
    return UsageError(
        f"{output} holds a finished export.",
        kept="Nothing was changed.",
        next_step="Choose another --output, or replace it with --overwrite.",
    )


def _check_folder(root: int, name: str, output: Path, listed: set[str], *, is_exported: bool) -> None:
    status = entry_status(name, within=root)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        raise in_the_way(output / name)
    with opened_directory(name, within=root) as folder:
        for entry in names_in(folder):
            is_listed = f"{name}/{entry}" in listed
            existing = entry_status(entry, within=folder)
            if existing is None or not (is_listed or (is_exported and is_part(entry))):
                continue
            if not (is_listed and stat.S_ISREG(existing.st_mode)):
                raise in_the_way(output / name / entry)


def _probe_name() -> str:
    return f"probe.{secrets.token_hex(8)}"
