"""How many files and connections this process may have open (`ulimit -n`), and what is said where they are too few."""

from __future__ import annotations

import contextlib
import errno
import os

from bulk_export.errors import LocalFailure

# The fewest with which an export of one endpoint over one connection gets through.
_FEWEST = 24
# Enough for any number of endpoints, beside the connections.
_COMFORTABLE = 64


def require_descriptors(connections: int) -> None:
    """Raise this process's own limit on open files where it is low and may be raised.

    `connections` is how many the run may have open. Raises LocalFailure where nothing could be exported.
    """
    try:
        import resource
    except ImportError:  # there is no such limit on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _COMFORTABLE + 2 * connections
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
        if soft < _FEWEST:
            raise too_few_descriptors(f" ({soft} at most)")


def is_shortage(error: OSError) -> bool:
    """Whether an error says that this process, or the machine, has as many files open as it may."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def cannot_open_files() -> bool:
    """Whether no file can be opened now for that reason: some errors hide it."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return is_shortage(error)
    return False


def too_few_descriptors(number: str = "") -> LocalFailure:
    """The failure of a process that may not open as many files and connections as it needs."""
    return LocalFailure(
        f"This process may not open enough files and connections{number}.",
        kept="Every page stored so far is kept.",
        next_step="Raise the limit on open files, as with `ulimit -n 1024`; the same command goes on from here.",
    )
