"""Where spent requests are remembered: what `--budget URL` may say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bulk_export.core.masking import without_password
from bulk_export.core.process import state_directory
from bulk_export.errors import UsageError

_NO_HOME = "Name a file with --budget sqlite:////PATH/FILE, set XDG_STATE_HOME, or choose --budget memory://."
_ADVICE = "Write memory://, sqlite:///FILE or redis://HOST:PORT/DB."
_IN_A_PASSWORD = "In a password, write # as %23, ? as %3F, / as %2F and @ as %40."
# Others are not shown: what stands before a colon may be anything.
_SCHEMES = ("memory", "sqlite", "http", "https", "file")


@dataclass(frozen=True, slots=True)
class Memory:
    """This run only."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """All processes of this machine that name the same file."""

    path: Path


@dataclass(frozen=True, slots=True)
class RedisServer:
    """All machines that use the same database of the same server. The address may hold a password."""

    address: str

    def __repr__(self) -> str:
        return f"RedisServer({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address without user and password."""
        return without_password(self.address)


Place = Memory | SqliteFile | RedisServer


def parse_place(url: str) -> Place:
    """The place that a URL names; `sqlite://` without a file is the one file that each user has.

    What follows `sqlite:///` is the file, relative, absolute (a fourth slash) or from `~`. One slash too few is
    forgiven where only the absolute reading leads to a directory. Raises UsageError.
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
            return SqliteFile(_file_of_the_user())
        if not parts.path.endswith("/"):
            return SqliteFile(_file(unquote(parts.path[1:])))
    if parts.scheme in ("redis", "rediss"):
        if parts.hostname and _is_database(parts.path) and not parts.query and not parts.fragment:
            return RedisServer(url.strip())
        raise UsageError(f"--budget cannot be a {parts.scheme} URL like this.", next_step=f"{_ADVICE} {_IN_A_PASSWORD}")
    shown = parts.scheme if parts.scheme in _SCHEMES else "nameless"
    raise UsageError(f"--budget cannot be a {shown} URL like this.", next_step=_ADVICE)


def _file_of_the_user() -> Path:
    directory = state_directory()
    if directory is None:
        raise UsageError("This user has no home directory to remember spent requests in.", next_step=_NO_HOME)
    return directory / "budget.sqlite"


def _file(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise UsageError("--budget names a home directory that is not known.", next_step=_NO_HOME) from None
    from_root = Path("/") / path
    if not path.is_absolute() and not path.parent.is_dir() and from_root.parent.is_dir():
        return from_root
    return path.absolute()


def _is_database(path: str) -> bool:
    return path in ("", "/") or path[1:].isdecimal()
