"""Directories and files that only their owner may read, and that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from bulk_export.core.descriptors import is_shortage, too_few_descriptors
from bulk_export.core.directories import (
    kind_of,
    look_at,
    made_directory,
    sync_descriptor,
    why_not_ours,
)
from bulk_export.errors import LocalFailure

_CHUNK = 1 << 20


@contextlib.contextmanager
def local_failures(doing: str) -> Iterator[None]:
    """Turn an OSError into a LocalFailure that says what could not be done, and why."""
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


def make_private_directory(path: Path) -> list[Path]:
    """Make a directory, and the ones above it that are missing, each with mode 0700; which were made, topmost first."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
    return missing[::-1]


def make_directory_below(path: Path, *names: str) -> Path:
    """Make the directories `names`, one in the other, in the directory `path`, links to which are followed.

    Each is made with mode 0700.

    Raises LocalFailure where one of them is there already and is no directory of ours: a link, or somebody else's.
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
    """Put a file with mode 0600 in place of an earlier one, whole and durable when this returns.

    It is begun in the directory `scratch` of the same file system, or beside its place: a crash leaves it there.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_opened(path.parent))
        beside = directory if scratch is None else stack.enter_context(_opened(scratch))
        write_within(path.name, content, directory, scratch=beside)


def write_within(name: str, content: bytes, directory: int, *, scratch: int) -> None:
    """Put a file into an open directory as `write_atomically` does; it is begun in the open directory `scratch`."""
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
    """Give what libraries create the modes 0600 and 0700. The mask is the whole process's, so hold it briefly."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable, as far as its file system can: what was created or removed in it."""
    with _opened(path) as descriptor:
        sync_descriptor(descriptor)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The descriptor of a directory, links to it followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(path: Path | str, *, within: int | None = None, follows: bool = False) -> int:
    """The descriptor of a file to read from: one that is neither a pipe nor a device, and no link unless it `follows`.

    `within` is the directory that a relative path starts from. Raises OSError.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follows else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=within)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, kind_of(found))
    return descriptor


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with os.fdopen(open_regular(path, follows=True), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_within(name: str, directory: int) -> str:
    """The SHA-256 of a file in an open directory, in hexadecimal. Raises OSError."""
    with os.fdopen(open_regular(name, within=directory), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def move_file(name: str, source: int, target: int, scratch: int) -> bool:
    """Move a file from one open directory to another, in place of an earlier one.

    Between file systems it is copied by way of `scratch`, a directory on the file system of `target`: then True is
    returned, and the file is to be removed from `source` when `target` was synced. Raises OSError.
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
