"""Paths as users write them: `~` is the home directory, and what looks like a URL is never a directory of that name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bulk_export.errors import UsageError

# Two letters or more, since one is a drive of Windows. `s3:/x` is what a shell or a program may make of `s3://x`.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def scheme_of(text: str | os.PathLike[str]) -> str | None:
    """The scheme of what looks like a URL, in lower case; None for a path."""
    match = _URL.match(os.fspath(text))
    return None if match is None else match[1].lower()


def with_home(text: str | os.PathLike[str]) -> Path:
    """A path whose first part is replaced by a home directory, if it is `~` or `~NAME`.

    Raises:
        UsageError: There is no such home directory, or no file can have this name.
    """
    if "\0" in os.fspath(text):
        raise UsageError(
            f"{os.fspath(text)!r} cannot be read or written: the name holds U+0000.", next_step="Take it out."
        )
    path = os.path.expanduser(os.fspath(text))  # noqa: PTH111 - Path.expanduser takes ./~ for ~
    if path.startswith("~"):
        raise UsageError(
            f"There is no home directory for {Path(path).parts[0]}.",
            next_step=f"Write the path in full, or ./{path} for a file of that name.",
        )
    return Path(path)


def local_path(text: str | os.PathLike[str], what: str) -> Path:
    """The path of a file or directory on this machine.

    Args:
        text: What the user wrote.
        what: What takes it, for the message: `--token-file`.

    Raises:
        UsageError: It looks like a URL, or names the home directory of nobody.
    """
    scheme = scheme_of(text)
    if scheme is not None:
        raise UsageError(
            f"{what} takes a path on this machine, not one that begins with {scheme}:.",
            next_step="Name a local file or directory; ./ before the name is for one that looks like a URL.",
        )
    return with_home(text)
