"""What a process gets from its system: memory, open files, and a directory for state that outlives it."""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from bulk_export.errors import LocalFailure

# mallopt(3): M_ARENA_MAX.
_ARENA_MAX = -8
# M_MMAP_THRESHOLD: by default it rises as large blocks are freed, and then large bodies are copied as they grow.
_MMAP_THRESHOLD = -3
_MAPPED_BYTES = 4 * 1024 * 1024
# M_TRIM_THRESHOLD: with the threshold above it stays at 128 kB, and then each page that is freed at the end of the heap
# is given back to the system, which has to clear it again for the next one. `trim_heap` gives back what adds up.
_TRIM_THRESHOLD = -1
_KEPT_BYTES = 8 * 1024 * 1024
# Pages are lists of thousands of strings without cycles. A collection for every 700 of them takes 3 % of the time.
_GARBAGE = 50_000
# An export of one endpoint over one connection needs this many.
_FEWEST = 24
# Enough for any number of endpoints, in addition to two for each connection.
_COMFORTABLE = 64


def configure_allocator() -> None:
    """Let Arrow use the system's allocator, with one arena. Call this before Arrow is imported.

    Arrow's own allocators keep freed memory, and glibc makes an arena for each thread, whose free pieces add up over
    a long export (measured: a third more memory at 900,000 records, and growing).
    """
    gc.set_threshold(_GARBAGE, 10, 10)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = _libc_function("mallopt")
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Collect no garbage meanwhile: modules that are being imported leave none, and are many objects to look at."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def trim_heap() -> None:
    """Return freed memory to the system if its allocator supports that.

    Called every few row groups, it lowers the peak of an export of 3,000,000 records by a tenth.
    """
    trim = _libc_function("malloc_trim")
    if trim is not None:
        trim(0)


def _libc_function(name: str) -> Callable[..., object] | None:
    """A function of the C library that this process uses, None if it has none of that name."""
    import ctypes  # help needs none of it

    try:
        library = ctypes.CDLL(None)
    except (TypeError, OSError):  # Windows finds no library without a name
        return None
    found: Callable[..., object] | None = getattr(library, name, None)
    return found


def require_descriptors(connections: int) -> None:
    """Raise this process's own limit on open files if it is low and may be raised.

    Args:
        connections: The most connections that the run may have open.

    Raises:
        LocalFailure: The limit is too low for any export.
    """
    limits = _limits()
    if limits is None:
        return
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    wanted = _COMFORTABLE + 2 * connections
    if soft != limits.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == limits.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            limits.setrlimit(limits.RLIMIT_NOFILE, (raised, hard))
            soft = raised
        if soft < _FEWEST:
            raise too_few_descriptors(f" ({soft} at most)")


def forbid_core_dumps() -> None:
    """Prevent a crash from writing the memory, which holds the token and records, to the disk.

    Windows does so only for programs that the administrator has registered for it.
    """
    limits = _limits()
    if limits is not None:
        _, hard = limits.getrlimit(limits.RLIMIT_CORE)
        limits.setrlimit(limits.RLIMIT_CORE, (0, hard))


def _limits() -> ModuleType | None:
    """The module of a process's limits, which Windows does not have."""
    try:
        return importlib.import_module("resource")
    except ImportError:
        return None


def is_shortage(error: OSError) -> bool:
    """Whether an error says that this process, or the machine, has reached its limit on open files."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def cannot_open_files() -> bool:
    """Whether the limit on open files is reached now: some errors of libraries do not say so."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return is_shortage(error)
    return False


def too_few_descriptors(number: str = "") -> LocalFailure:
    """The failure to raise when the limit on open files is reached; `number` says the limit in parentheses."""
    return LocalFailure(
        f"This process may not open enough files and connections{number}.",
        kept="Every page stored so far is kept.",
        next_step="Raise the limit on open files, as with `ulimit -n 1024`; the same command goes on from here.",
    )


def state_directory() -> Path | None:
    """The directory of this user for state that outlives a run, such as spent requests.

    Returns:
        None if the user has no known home directory: in a container a process may run without HOME and without an
        entry in the list of users.
    """
    import platformdirs  # imported here because few commands need it, and it takes time

    try:
        directory = Path(platformdirs.user_state_dir("bulk-export"))
    except RuntimeError:
        return None
    return directory if directory.is_absolute() else None
