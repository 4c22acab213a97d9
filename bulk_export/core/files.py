"""Files and directories that only their owner may read, and that appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from bulk_export.core.directories import (
    is_same,
    kind_of,
    look_at,
    made_directory,
    opened_directory,
    sync_descriptor,
    why_not_ours,
    why_unsafe,
)
from bulk_export.core.process import is_shortage, too_few_descriptors
from bulk_export.core.working_state import ARCHIVE, check_working_state, remove_ours
from bulk_export.errors import DirectoryInUse, LocalFailure, UsageError

WORKING_DIRECTORY = ".bulk-export"
MANIFEST = "manifest.json"
SYNC_STATE = "sync.json"

_SAFE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,126}[a-z0-9])?", re.ASCII)
_CHUNK = 1 << 20
_OTHER_OUTPUT = "Choose another --output: a new directory, or one that holds an export."
_WORK_ELSEWHERE = (
    "Choose another --output; `export` can keep its working state on a local disk instead, with --work-dir DIR."
)
# A file system that has no locks answers with one of these.
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.EBADF}


@contextlib.contextmanager
def local_failures(doing: str) -> Iterator[None]:
    """Turn an OSError into a LocalFailure that says what failed, and why.

    `doing` is the beginning of a sentence: `Writing the manifest in DIR`.
    """
    try:
        yield
    except OSError as error:
        if is_shortage(error):
            raise too_few_descriptors() from None
        raise LocalFailure(
            f"{doing} failed: {error.strerror or type(error).__name__}.",
            kept="Every page stored so far is kept.",
            next_step="Make room or repair access, then run the same command again.",
        ) from None


def safe_name(name: str) -> str:
    """`name`, if it can be part of a path without leading anywhere else; UsageError otherwise."""
    if not _SAFE_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a directory.",
            next_step="Endpoint names are lower-case letters, digits, - and _.",
        )
    return name


def make_private_directory(path: Path) -> list[Path]:
    """Make a directory and the missing ones above it, mode 0700; return those made, topmost first. Raises OSError."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
    return missing[::-1]


def make_directory_below(path: Path, *names: str) -> Path:
    """Make nested directories, each with mode 0700, without following links below `path`.

    `path` is an existing directory, links to which are followed. Returns the path of the innermost new one.

    Raises LocalFailure if one of them exists and is not a directory of ours: it is a link or belongs to somebody else.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_opened(path))
        for name in names:
            path = path / name
            found = look_at(name, within=directory)
            reason = None
            if found is not None:
                is_directory = stat.S_ISDIR(found.st_mode)
                reason = why_not_ours(found, within=directory) if is_directory else f"is {kind_of(found)}"
            if reason is not None:
                raise LocalFailure(
                    f"{path} {reason}.",
                    kept="Nothing was changed.",
                    next_step="Remove it, then run the same command again.",
                )
            directory = stack.enter_context(made_directory(name, within=directory))
    return path


def write_atomically(path: Path, content: bytes, *, scratch: Path | None = None) -> None:
    """Write a file with mode 0600 in place of an earlier one; it is complete and durable when this returns.

    It is begun in `scratch`, a directory on the same file system, by default its own; a crash leaves a temporary file
    there. Raises OSError; then the earlier file stays.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_opened(path.parent))
        beside = directory if scratch is None else stack.enter_context(_opened(scratch))
        write_within(path.name, content, directory, scratch=beside)


def write_within(name: str, content: bytes, directory: int, *, scratch: int) -> None:
    """Write a file as `write_atomically` does, with open directories instead of paths."""
    temporary = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600, dir_fd=scratch)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, name, src_dir_fd=scratch, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=scratch)
        raise
    sync_descriptor(directory)


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Let libraries create files with mode 0600 and directories with 0700. It affects all threads: hold it briefly."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def sync_directory(path: Path) -> None:
    """Make created and removed entries of a directory durable, as far as its file system can. Raises OSError."""
    with _opened(path) as descriptor:
        sync_descriptor(descriptor)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a directory, following links."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(path: Path | str, *, within: int | None = None, follows: bool = False) -> int:
    """Open a regular file for reading, never a pipe or a device, which could block.

    A relative path starts from the open directory `within`. A link is refused unless it `follows`.

    Returns its descriptor, which the caller closes. Raises OSError if it cannot be opened or is not a regular file.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follows else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=within)
    entry = os.fstat(descriptor)
    if not stat.S_ISREG(entry.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, kind_of(entry))
    return descriptor


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal. Raises OSError."""
    with os.fdopen(open_regular(path, follows=True), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_within(name: str, directory: int) -> str:
    """The SHA-256 of a file in an open directory, in hexadecimal. Raises OSError."""
    with os.fdopen(open_regular(name, within=directory), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def move_file(name: str, source: int, target: int, scratch: int) -> bool:
    """Move a file from one open directory to another, in place of an earlier one.

    `scratch` is a directory on the file system of `target`, in which a copy is begun.

    Returns whether it was copied, because the directories are on different file systems. Then the caller removes it
    from `source` once `target` is synced. Raises OSError.
    """
    try:
        os.replace(name, name, src_dir_fd=source, dst_dir_fd=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return False
    copy = f"copy.{secrets.token_hex(8)}"
    with os.fdopen(open_regular(name, within=source), "rb") as original:
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=scratch)
        try:
            with os.fdopen(descriptor, "wb") as file:
                while chunk := original.read(_CHUNK):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(copy, name, src_dir_fd=scratch, dst_dir_fd=target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy, dir_fd=scratch)
            raise
    return True


@contextlib.contextmanager
def locked_directory(path: Path, *, needs_lock: bool = True) -> Iterator[int]:
    """Hold the directory for this process alone, and give its descriptor; UsageError where another holds it.

    The lock is the kernel's, on the directory itself, so that a crash leaves none behind. A file system without locks
    is refused, unless it `needs_lock` no more than others do.
    """
    with local_failures(f"Opening the directory {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise DirectoryInUse(
                    f"Another process is exporting into {path}.",
                    next_step="Wait for it to end, or choose another --output.",
                ) from None
            if needs_lock or error.errno not in _NO_LOCKS:
                raise LocalFailure(
                    f"The directory {path} cannot be locked: {error.strerror}.",
                    kept="Nothing was changed.",
                    next_step=_WORK_ELSEWHERE,
                ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def refuse_swapped(path: Path, held: int) -> None:
    """Raise LocalFailure where another directory took the place of the one that is `held` open."""
    with local_failures(f"Looking at {path}"):
        same = is_same(path.stat(follow_symlinks=False), os.fstat(held))
    if not same:
        raise swapped(path)


def swapped(path: Path) -> LocalFailure:
    """That another directory took the place of one that is in use."""
    return LocalFailure(
        f"{path} was replaced by another directory while it was in use.",
        kept="Neither of the two was changed any further.",
        next_step="Put the first one back in its place, then run the same command again.",
    )


def named_by_user(output: Path) -> Path:
    """The directory that a user knows of: an export within the working directory of another is part of that one."""
    return next((above.parent for above in output.parents if above.name == WORKING_DIRECTORY), output)


def inspect_output(path: Path) -> bool:
    """Whether `path` holds a finished export; it must be new, empty, unfinished or finished.

    Changes nothing. Raises UsageError for anything else: a file, a symbolic link, a directory that holds
    files of others, and one where a link, a pipe or a device has the name of a file of ours.
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
        found = entries.get(name)
        is_right = stat.S_ISDIR if name == WORKING_DIRECTORY else stat.S_ISREG
        if found is not None and not is_right(found.st_mode):
            raise UsageError(
                f"{path / name} is {kind_of(found)}.", kept="Nothing was changed.", next_step=_OTHER_OUTPUT
            )
    return MANIFEST in entries


def prepare_output(path: Path) -> None:
    """Make the output directory and its working directory, and see that they can be used.

    Raises UsageError where they cannot be written to, DamagedState for working state that is not ours alone, and
    LocalFailure where the disk fails.
    """
    working = path / WORKING_DIRECTORY
    if os.path.lexists(path):
        with local_failures(f"Looking at {path}"), opened_directory(path) as opened:
            reason = why_unsafe(opened)
        if reason is not None:
            raise UsageError(
                f"{path} {reason}.", kept="Nothing was changed.", next_step=f"{_OTHER_OUTPUT[:-1]}; or chmod 700 yours."
            )
    if os.path.lexists(working):
        check_working_directory(working)
    try:
        made = make_private_directory(working)
        probe = working / f"probe.{secrets.token_hex(8)}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        probe.unlink()
    except OSError as error:
        raise UsageError(f"{path} cannot be written to: {error.strerror}.", next_step=_OTHER_OUTPUT) from None
    with local_failures(f"Preparing {path}"):
        for directory in {path: None, **dict.fromkeys(directory.parent for directory in made)}:
            sync_directory(directory)


def check_place(working: Path) -> None:
    """Raise LocalFailure where the file system of a directory cannot do what a journal needs.

    That is to lock a file, and to put one file in the place of another.
    """
    names = [f"probe.{secrets.token_hex(8)}" for _ in range(2)]
    doing = "making a file"
    try:
        with opened_directory(working) as directory:
            try:
                for name in names:
                    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                    descriptor = os.open(name, flags, 0o600, dir_fd=directory)
                    try:
                        doing = "locking a file"
                        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    finally:
                        os.close(descriptor)
                doing = "putting one file in the place of another"
                os.replace(names[0], names[1], src_dir_fd=directory, dst_dir_fd=directory)
            finally:
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=directory)
    except OSError as error:
        raise LocalFailure(
            f"{working} cannot hold the working state of an export: {doing} failed ({error.strerror}).",
            kept="Nothing was sent.",
            next_step=_WORK_ELSEWHERE,
        ) from None


def check_working_directory(working: Path) -> None:
    """Raise UsageError for a working directory that is a link or another user's, DamagedState for such things in it."""
    with local_failures(f"Looking at {working}"), opened_directory(working.parent) as above:
        found = look_at(working.name, within=above)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            raise UsageError(f"{working} is {kind_of(found)}.", kept="Nothing was changed.", next_step=_OTHER_OUTPUT)
        with contextlib.suppress(FileNotFoundError), opened_directory(working.name, within=above) as state:
            check_owner(state, above, working)
            check_working_state(state, working)


def check_owner(directory: int, above: int, path: Path) -> None:
    """Raise UsageError where an open directory, which lies in the open one `above`, is not ours alone."""
    if reason := why_not_ours(os.fstat(directory), within=above):
        raise UsageError(f"{path} {reason}.", kept="Nothing was changed.", next_step=_OTHER_OUTPUT)


def remove_tree(path: Path) -> list[Path]:
    """Remove what is ours of a directory, following no links, and itself if nothing is left; what is left.

    Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        try:
            above = stack.enter_context(opened_directory(path.parent))
            directory = stack.enter_context(opened_directory(path.name, within=above))
        except FileNotFoundError:
            return []
        left = remove_ours(directory, path)
        if not left:
            os.rmdir(path.name, dir_fd=above)
        return left
