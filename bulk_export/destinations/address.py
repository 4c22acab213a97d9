"""Where a load goes: the value of `load --to` or of `sync --load`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlsplit

from bulk_export.core.masking import without_password
from bulk_export.errors import UsageError

# The beginning of an address that stands in an environment variable.
VARIABLE = "env:"
# `load` has this option, and others beside it. `sync` has only one of its own.
_OF_LOAD = "--to"
_ALIASES = {"postgres": "postgresql", "sqlserver": "mssql"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
# Parameters that hold a secret in the addresses of some database.
_SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
# Parameters of libpq that are called so, and name files.
_FILES = frozenset({"passfile", "sslkey"})

# Names of files that are databases, by which they are known without a scheme.
_SCHEMES_BY_ENDING = {".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite", ".duckdb": "duckdb"}


@dataclass(frozen=True, slots=True)
class Address:
    """A destination's address, with the password, if any, apart from what can be printed.

    Attributes:
        scheme: The kind of destination.
        host: The host, project or account; empty if there is none.
        port: The port, if it is given.
        user: The user, if one is given.
        path: What follows the host, without the first slash: a database, or the path of a file.
        parameters: The parameters of the query.
        schema: The schema for the tables; None for the destination's default.
        password: The password; never printed.
    """

    scheme: str
    host: str = ""
    port: int | None = None
    user: str | None = None
    path: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    schema: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """The address as it may be printed and logged: without user, password and parameters."""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}/{self.path}"

    def file(self) -> Path:
        """The path of a destination that is a file; `~` is the home directory.

        Raises:
            UsageError: The address has a host, or no path.
        """
        path = self.path.lstrip("/")
        if self.host or not path:
            raise UsageError(
                f"{self} names no file.",
                next_step=f"Write the whole path behind three slashes: {self.scheme}:///path/of/file.",
            )
        return Path(path).expanduser() if path.startswith("~") else Path("/", path)


def parse_address(
    text: str,
    variables: Mapping[str, str],
    *,
    schema: str | None = None,
    password: str | None = None,
    option: str = _OF_LOAD,
) -> Address:
    """Parse the address of a destination.

    Args:
        text: A URL, or `env:NAME` for the URL in the environment variable NAME, which may then hold a password.
        variables: The environment variables.
        schema: The schema for the tables; otherwise the parameter `schema` of the URL names it.
        password: The password from a file.
        option: The option that holds the address, for messages.

    Returns:
        The address.

    Raises:
        UsageError: It is no URL, the variable is not set, or a password stands where other users can see it.
    """
    named = text.startswith(VARIABLE)
    if named:
        variable = text.removeprefix(VARIABLE)
        text = variables.get(variable, "").strip()
        if not text:
            raise UsageError(
                f"The environment variable {variable!r} of {option} is not set.", next_step="Set it to a URL."
            )
    shown = without_password(text)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"{option} {shown} is no URL.", next_step=_EXAMPLE) from None
    scheme = _ALIASES.get(parts.scheme, parts.scheme)
    if not _SCHEME.fullmatch(scheme) or "://" not in text:
        raise UsageError(f"{option} {shown} is no URL of a database.", next_step=_example_for(text))
    if parts.fragment or not text.isprintable():
        raise UsageError(f"{option} holds a fragment or a character that no URL has.", next_step=_EXAMPLE)
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    given_schema = parameters.pop("schema", None)
    secrets = [name for name in parameters if _SECRET.search(name) and name not in _FILES]
    if (parts.password is not None or secrets) and not named:
        raise UsageError(
            f"{option} holds a password, which other users of this machine can see.",
            next_step=f"Name a variable that holds the URL, as in {option} env:WAREHOUSE_URL"
            + (", or use --password-file." if option == _OF_LOAD else "."),
        )
    return Address(
        scheme,
        host,
        port,
        unquote(parts.username) if parts.username else None,
        unquote(parts.path.removeprefix("/")),
        MappingProxyType(parameters),
        schema or given_schema,
        password if password is not None else (unquote(parts.password) if parts.password else None),
    )


_EXAMPLE = "Write it like postgresql://user@host/database or duckdb:///path/of/file.duckdb."


def _example_for(text: str) -> str:
    """An example of what was meant: the file itself where only the form of a URL is missing, else a server."""
    scheme, colon, name = text.partition(":")
    if not colon:
        scheme, name = _SCHEMES_BY_ENDING.get(PurePath(text).suffix, ""), text
    if scheme not in _SCHEMES_BY_ENDING.values() or not name.isprintable():
        return _EXAMPLE
    return f"Write the whole path behind three slashes: {scheme}://{Path(name).expanduser().absolute()}."
