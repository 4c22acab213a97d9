"""Directories and files that only their owner may read, and that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from bulk_export.errors import DirectoryInUse, LocalFailure, UsageError

WORKING_DIRECTORY = ".bulk-export"
MANIFEST = "manifest.json"
SYNC_STATE = "sync.json"

_SAFE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,126}[a-z0-9])?", re.ASCII)
_HASH_CHUNK = 1 << 20
_OTHER_OUTPUT = "Choose another --output: a new directory, or one that holds an export."


@contextlib.contextmanager
def local_failures(doing: str) -> Iterator[None]:
    """Turn an OSError into a LocalFailure that says what could not be done, and why."""
    try:
        yield
    except OSError as error:
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


def make_private_directory(path: Path) -> None:
    """Make a directory, and the ones above it that are missing, each with mode 0700."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)


def write_atomically(path: Path, content: bytes, *, scratch: Path | None = None) -> None:
    """Put a file with mode 0600 in place of an earlier one, whole and durable when this returns.

    It is begun in the directory `scratch` of the same file system, or beside its place: a crash leaves it there.
    """
    temporary = (scratch or path.parent) / f".{path.name}.{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Give what libraries create the modes 0600 and 0700. The mask is the whole process's, so hold it briefly."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable: what was created, renamed or removed in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Hold the directory for this process alone; UsageError where another holds it.

    The lock is the kernel's, on the directory itself, so that a crash leaves none behind.
    """
    with local_failures(f"Opening the directory {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise LocalFailure(f"The directory {path} cannot be locked: {error.strerror}.") from None
            raise DirectoryInUse(
                f"Another process is exporting into {path}.",
                next_step="Wait for it to end, or choose another --output.",
            ) from None
        yield
    finally:
        os.close(descriptor)


def named_by_user(output: Path) -> Path:
    """The directory that a user knows of: an export within the working directory of another is part of that one."""
    return next((above.parent for above in output.parents if above.name == WORKING_DIRECTORY), output)


def inspect_output(path: Path) -> bool:
    """Whether `path` holds a finished export; it must be new, empty, unfinished or finished.

    Changes nothing. Raises UsageError for anything else: a file, a symbolic link, a directory that holds
    files of others.
    """
    try:
        if path.is_symlink():
            raise UsageError(f"{path} is a symbolic link.", next_step=_OTHER_OUTPUT)
        if not path.exists():
            return False
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory.", next_step=_OTHER_OUTPUT)
        entries = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", next_step=_OTHER_OUTPUT) from None
    if SYNC_STATE in entries:
        raise UsageError(f"{path} holds a copy that sync keeps.", next_step=_OTHER_OUTPUT)
    if entries and not entries & {WORKING_DIRECTORY, MANIFEST}:
        raise UsageError(f"{path} holds files that are not an export.", next_step=_OTHER_OUTPUT)
    if (path / WORKING_DIRECTORY).is_symlink():
        raise UsageError(f"{path / WORKING_DIRECTORY} is a symbolic link.", next_step=_OTHER_OUTPUT)
    return MANIFEST in entries


def prepare_output(path: Path) -> None:
    """Make the output directory and its working directory, and see that they can be written; UsageError if not."""
    working = path / WORKING_DIRECTORY
    try:
        make_private_directory(working)
        probe = working / f"probe.{secrets.token_hex(8)}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except OSError as error:
        raise UsageError(f"{path} cannot be written to: {error.strerror}.", next_step=_OTHER_OUTPUT) from None


def remove_tree(path: Path) -> None:
    """Remove a directory of ours and everything in it, following no links."""
    if path.exists():
        shutil.rmtree(path)
