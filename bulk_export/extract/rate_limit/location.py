"""Where the ledger of spent requests is kept: the URLs that `--budget` accepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bulk_export.core.masking import without_password
from bulk_export.core.process import state_directory
from bulk_export.errors import UsageError

_NO_HOME_ADVICE = "Name a file with --budget sqlite:////PATH/FILE, set XDG_STATE_HOME, or choose --budget memory://."
_ADVICE = "Write memory://, sqlite:///FILE or redis://HOST:PORT/DB."
_ESCAPES = "In a password, write # as %23, ? as %3F, / as %2F and @ as %40."
# Only these are quoted in messages: what stands before a colon may be a password.
_SCHEMES = ("memory", "sqlite", "http", "https", "file")


@dataclass(frozen=True, slots=True)
class Memory:
    """A ledger of this run only."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A ledger shared by all processes that name the same file."""

    path: Path


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A ledger shared by all machines that use the same database of a server. `address` may hold a password."""

    address: str

    def __repr__(self) -> str:
        return f"RedisServer({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address without user and password, for messages."""
        return without_password(self.address)


StoreLocation = Memory | SqliteFile | RedisServer


def parse_location(url: str) -> StoreLocation:
    """Parse the URL of a ledger.

    1. `memory://` is a ledger of this run.
    2. `sqlite://` is the one file that each user has; `sqlite:///FILE` is a file, relative, absolute (with a fourth
       slash) or from `~`. One slash too few is forgiven if only the absolute path has an existing directory.
    3. `redis://` or `rediss://` is a database of a server.

    Raises:
        UsageError: The URL is none of these. It is not quoted, since it may hold a password.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        raise UsageError("--budget is not a URL.", next_step=_ADVICE) from None
    if parts.scheme == "memory" and not parts.netloc and parts.path in ("", "/"):
        return Memory()
    if parts.scheme == "sqlite" and not parts.netloc and not parts.query and not parts.fragment:
        if parts.path in ("", "/"):
            return SqliteFile(_default_file())
        if not parts.path.endswith("/"):
            return SqliteFile(_resolve_file(unquote(parts.path[1:])))
    if parts.scheme in ("redis", "rediss"):
        if parts.hostname and _is_database(parts.path) and not parts.query and not parts.fragment:
            return RedisServer(url.strip())
        raise UsageError(f"--budget cannot be a {parts.scheme} URL like this.", next_step=f"{_ADVICE} {_ESCAPES}")
    shown = parts.scheme if parts.scheme in _SCHEMES else "nameless"
    raise UsageError(f"--budget cannot be a {shown} URL like this.", next_step=_ADVICE)


def _default_file() -> Path:
    directory = state_directory()
    if directory is None:
        raise UsageError("This user has no home directory to keep the budget file in.", next_step=_NO_HOME_ADVICE)
    return directory / "budget.sqlite"


def _resolve_file(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise UsageError("--budget names a home directory that is not known.", next_step=_NO_HOME_ADVICE) from None
    from_root = Path("/") / path
    if not path.is_absolute() and not path.parent.is_dir() and from_root.parent.is_dir():
        return from_root
    return path.absolute()


def _is_database(path: str) -> bool:
    return path in ("", "/") or path[1:].isdecimal()
