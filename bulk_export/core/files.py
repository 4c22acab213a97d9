"""Files and directories that only their owner may read, and that appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from bulk_export.core.compat.directories import (
    close_directory,
    open_directory,
    open_entry,
    remove_file,
    replace_file,
)
from bulk_export.core.directories import (
    entry_status,
    kind_of,
    made_directory,
    ownership_problem,
    sync_descriptor,
)
from bulk_export.core.process import is_shortage, too_few_descriptors
from bulk_export.errors import LocalFailure

_CHUNK = 1 << 20


@contextlib.contextmanager
def local_failures(
    doing: str,
    *,
    kept: str = "",
    next_step: str = "",
) -> Iterator[None]:
    """Turn an OSError into a LocalFailure that says what failed, and why.

    Args:
        doing: The beginning of a sentence: `Writing the manifest in DIR`.
        kept: What is not lost; nothing is said of it if this is empty.
        next_step: What the user can do, if it is not to make room or repair access, and to try again.
    """
    try:
        yield
    except OSError as error:
        if is_shortage(error):
            raise too_few_descriptors() from None
        is_missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        advice = "Check that the directory exists" if is_missing else "Make room or repair access"
        raise LocalFailure(
            f"{doing} failed: {error.strerror or type(error).__name__}.",
            kept=kept,
            next_step=next_step or f"{advice}, then run the same command again.",
        ) from None


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
            status = entry_status(name, within=directory)
            reason = None
            if status is not None:
                is_directory = stat.S_ISDIR(status.st_mode)
                reason = ownership_problem(status, within=directory) if is_directory else f"is {kind_of(status)}"
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


def try_writing(path: Path) -> None:
    """Find out whether `write_atomically` could write a file, and leave nothing behind. Raises OSError."""
    with _opened(path.parent) as directory:
        found = entry_status(path.name or ".", within=directory)
        if found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            raise OSError(errno.EINVAL, f"it is {kind_of(found)}")
        temporary = f".{path.name}.{secrets.token_hex(8)}"
        os.close(open_entry(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, within=directory))
        remove_file(temporary, within=directory)


def write_within(name: str, content: bytes, directory: int, *, scratch: int) -> None:
    """Write a file as `write_atomically` does, with descriptors of open directories instead of paths.

    Args:
        name: The name of the file.
        content: Its content.
        directory: The descriptor of its directory.
        scratch: The descriptor of a directory on the same file system, in which the file is begun.

    Raises:
        OSError: It could not be written; then the earlier file stays.
    """
    temporary = f".{name}.{secrets.token_hex(8)}"
    descriptor = open_entry(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, within=scratch)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_file(temporary, name, source=scratch, target=directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            remove_file(temporary, within=scratch)
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
    directory = open_directory(path, follows=True)
    try:
        yield directory
    finally:
        close_directory(directory)


def open_regular(path: Path | str, *, within: int | None = None, follows: bool = False) -> int:
    """Open a regular file for reading, never a pipe or a device, which could block.

    A relative path starts from the open directory `within`. A link is refused unless it `follows`.

    Returns its descriptor, which the caller closes. Raises OSError if it cannot be opened or is not a regular file.
    """
    descriptor = open_entry(path, os.O_RDONLY, within=within, follows=follows)
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

    Args:
        name: The name of the file in both directories.
        source: The descriptor of the directory that has it.
        target: The descriptor of the directory that gets it.
        scratch: The descriptor of a directory on the file system of `target`, in which a copy is begun.

    Returns:
        Whether it was copied, because the directories are on different file systems. If so, the caller removes it from
        `source` once `target` is synced.

    Raises:
        OSError: It could not be moved.
    """
    try:
        replace_file(name, name, source=source, target=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return False
    copy = f"copy.{secrets.token_hex(8)}"
    with os.fdopen(open_regular(name, within=source), "rb") as original:
        descriptor = open_entry(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, within=scratch)
        try:
            with os.fdopen(descriptor, "wb") as file:
                while chunk := original.read(_CHUNK):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            replace_file(copy, name, source=scratch, target=target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                remove_file(copy, within=scratch)
            raise
    return True
