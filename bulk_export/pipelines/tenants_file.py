"""The file of `--tenants`: whose data to fetch, each with a token of its own. Checked before anything is sent.

    [[tenant]]
    name = "ambition"
    token-file = "ambition.token"
    base-url = "https://register-national-professional-qualifications.education.gov.uk"

`name` becomes a directory. A relative `token-file` is looked for beside the file. `base-url` or `environment` may be
left out if an option gives it for all. `schema` and `table-prefix` are for `load`. The file holds no token.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_export.core.compat.owners import rights_of_others
from bulk_export.core.locations import local_path
from bulk_export.core.text import decode_text, toml_problem
from bulk_export.errors import UsageError
from bulk_export.output.file_names import MANIFEST
from bulk_export.pipelines.arguments import PathText

_LARGEST_FILE = 1 << 20
_MOST_TENANTS = 1000
_KEYS = ("name", "token-file", "base-url", "environment", "schema", "table-prefix")
# A directory of its own, a part of names of tables, and nothing that a shell or a file system treats in another way.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?", re.ASCII)
_EXAMPLE = 'Write a table [[tenant]] for each, with name = "…" and token-file = "…".'


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant of the file.

    Attributes:
        name: Its name, and that of its directory.
        token_file: The file with its token; None only for the bundled service.
        base_url: The address of its service; None if an option gives it, or `environment` does.
        environment: The environment of its service, in place of an address.
        schema: Where `load` makes its tables; None if an option says so.
        table_prefix: What the names of its tables begin with; None if an option says so.
    """

    name: str
    token_file: Path | None = None
    base_url: str | None = None
    environment: str | None = None
    schema: str | None = None
    table_prefix: str | None = None


def read_tenants(path: PathText) -> tuple[Tenant, ...]:
    """Read the file of tenants. Token files are not opened.

    Args:
        path: The file, in TOML.

    Returns:
        The tenants in the order of the file, at least one.

    Raises:
        UsageError: It cannot be read, has an unknown key or a value of the wrong kind, holds a token, or has names
            that are no names of directories, or would be the same directory.

    Warns:
        UserWarning: Other users may change the file.
    """
    file = local_path(path, "--tenants")
    document = _document(file)
    for key in document:
        if key != "tenant":
            raise _wrong(file, f"has an unknown key {key!r}", _suggestion(key, ["tenant"]) or _EXAMPLE)
    tables = document.get("tenant")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise _wrong(file, "names no tenants", _EXAMPLE)
    if len(tables) > _MOST_TENANTS:
        raise _wrong(file, f"names more than {_MOST_TENANTS:,} tenants", "Split it.")
    tenants = tuple(_tenant(file, number, table) for number, table in enumerate(tables, 1))
    seen: dict[str, str] = {}
    for tenant in tenants:
        other = seen.get(tenant.name.casefold())
        if other is not None:
            twice = f"the tenant {other} twice"
            alike = f"the tenants {other} and {tenant.name}, which may be one directory"
            reason = f"names {twice if other == tenant.name else alike}"
            raise _wrong(file, reason, "Give each tenant a name of its own.")
        seen[tenant.name.casefold()] = tenant.name
    return tenants


def _document(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            mode, content = os.fstat(opened.fileno()).st_mode, opened.read(_LARGEST_FILE + 1)
        if rights_of_others(mode, 0o022):
            warnings.warn(
                f"the file of tenants {file} can be changed by other users of this machine, who could have the tokens"
                f" sent elsewhere; chmod go-w {file}",
                UserWarning,
                stacklevel=4,
            )
        if len(content) <= _LARGEST_FILE:
            return tomllib.loads(decode_text(content))
        reason = f"is larger than {_LARGEST_FILE:,} bytes"
    except (OSError, ValueError, RecursionError) as error:
        reason = toml_problem(error)
    raise _wrong(file, reason, _EXAMPLE)


def _tenant(file: Path, number: int, table: Mapping[str, Any]) -> Tenant:
    given = table.get("name")
    if not isinstance(given, str) or not given:
        raise _wrong(file, f"gives tenant {number} no name", _EXAMPLE)
    if not _NAME.fullmatch(given) or given.casefold() == MANIFEST:
        raise _wrong(
            file,
            f"gives tenant {number} a name that cannot be used, {given[:80]!r}",
            "A name is up to 64 ASCII letters, digits, points, - and _, and begins with a letter or a digit.",
        )
    values: dict[str, str] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name == "token":
            raise _wrong(
                file,
                f"holds the token of the tenant {given}",
                "Take it out: put it in a file of its own and name that with token-file.",
            )
        if name not in _KEYS:
            advice = _suggestion(name, _KEYS) or f"The keys are: {', '.join(_KEYS)}."
            raise _wrong(file, f"has an unknown key {key!r} for the tenant {given}", advice)
        if name in values:
            raise _wrong(file, f"gives {name} of the tenant {given} twice", "Leave one of them out.")
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise _wrong(file, f"has no text for {name} of the tenant {given}", f'Write {name} = "…".')
        values[name] = value
    if "base-url" in values and "environment" in values:
        raise _wrong(file, f"gives the tenant {given} both a base-url and an environment", "Leave one of them out.")
    token_file = values.get("token-file")
    return Tenant(
        name=given,
        token_file=None if token_file is None else file.parent / Path(token_file).expanduser(),
        base_url=values.get("base-url"),
        environment=values.get("environment"),
        schema=values.get("schema"),
        table_prefix=values.get("table-prefix"),
    )


def _suggestion(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"Did you mean {close[0]}?" if close else ""


def _wrong(file: Path, reason: str, advice: str) -> UsageError:
    return UsageError(f"The file of tenants {file} {reason}.", next_step=advice)
