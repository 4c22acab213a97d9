"""The options of a load, checked before anything is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from bulk_export.core.compat.owners import rights_of_others
from bulk_export.destinations.address import Address, parse_address
from bulk_export.destinations.tables import Mode
from bulk_export.errors import UsageError
from bulk_export.output.object_store.url import StoreUrl, parse_location
from bulk_export.pipelines.arguments import PathText
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.load_arguments import NESTED, NUL, LoadArguments

_LONGEST_PASSWORD = 4096


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """A resolved request for a load.

    Attributes:
        source: The finished export, in a directory or in an object store, or the copy.
        endpoints: Which endpoints to load; empty for all.
        address: Where to.
        mode: What to do with existing rows; None for the default of what is loaded.
        table_prefix: What the name of each table begins with.
        child_tables: Whether lists of objects become tables of their own.
        replace_nul: Whether NUL in strings is replaced where the destination cannot hold it.
        adopt: Whether a table of another origin may be taken over.
    """

    source: Path | StoreUrl
    endpoints: tuple[str, ...]
    address: Address
    mode: Mode | None
    table_prefix: str
    child_tables: bool
    replace_nul: bool
    adopt: bool

    @classmethod
    def of(
        cls,
        source: PathText,
        endpoints: str | Sequence[str] = (),
        *,
        environ: Mapping[str, str] | None = None,
        option: str = "--to",
        **options: Unpack[LoadArguments],
    ) -> LoadOptions:
        """Check options and complete them by the declared defaults.

        Args:
            source: The finished export or the copy: a directory, or the address of an export in an object store.
            endpoints: Which endpoints to load; all if there are none.
            environ: Environment variables; by default those of this process.
            option: The option of the command that holds the address, for messages.
            **options: The options of `bulk-export load` with underscores.

        Raises:
            UsageError: An option cannot be used as given.
            InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        """
        given = with_defaults(LoadArguments, options)
        to = given["to"]
        if not to:
            what = "load needs --to." if option == "--to" else f"{option} names no database."
            raise UsageError(what, next_step=f"Write it like {option} postgresql://user@host/database.")
        mode = _choice("mode", given["mode"], tuple(Mode))
        password_file = given["password_file"]
        return cls(
            source=parse_location(source),
            endpoints=(endpoints,) if isinstance(endpoints, str) else tuple(endpoints),
            address=parse_address(
                to,
                os.environ if environ is None else environ,
                schema=given["schema"],
                password=None if password_file is None else _password(Path(password_file)),
                option=option,
            ),
            mode=None if mode is None else Mode(mode),
            table_prefix=given["table_prefix"] or "",
            child_tables=_choice("nested", given["nested"], NESTED) == NESTED[1],
            replace_nul=_choice("nul", given["nul"], NUL) == NUL[1],
            adopt=given["adopt"],
        )


def _choice(name: str, value: str | None, choices: Sequence[str]) -> str | None:
    if value is not None and value not in choices:
        raise UsageError(f"--{name} cannot be {value!r}.", next_step=f"Choose from: {', '.join(choices)}.")
    return value


def _password(path: Path) -> str:
    """The first line of a file that only its owner can read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_LONGEST_PASSWORD + 1)
    except OSError as error:
        raise UsageError(
            f"The password file {path} cannot be read: {error.strerror}.", next_step="Name a file that you may read."
        ) from None
    if rights_of_others(status.st_mode, stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"Other users may read the password file {path}.", next_step=f"Protect it first: chmod 600 {path}"
        )
    try:
        password = content.decode().strip("\r\n")
    except UnicodeDecodeError:
        password = ""
    if not password or len(content) > _LONGEST_PASSWORD or "\n" in password or "\0" in password:
        raise UsageError(f"The password file {path} does not hold one password.", next_step="Write it on one line.")
    return password
