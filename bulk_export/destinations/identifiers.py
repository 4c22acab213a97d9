"""Names of tables and columns, by one rule for all destinations.

1. The table of an endpoint has the endpoint's name, with `_` for `-`, behind the prefix: `npq_applications`.
2. A column has the name of the exported column.
3. Where names without quotes are taken to be in upper case, all are in upper case, so that nobody has to quote them.
4. A name that is longer than the destination takes, or that differs from an earlier one in case only or not at all, is
   cut and gets `_` and eight hexadecimal digits of the SHA-256 of what tells it apart: the whole name of a column, the
   endpoint of a table, or `ENDPOINT/COLUMN`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from bulk_export.errors import UsageError

_DIGITS = 8


def table_name(endpoint: str, prefix: str = "") -> str:
    """The name of an endpoint's table, before it is fitted to a destination.

    >>> table_name("npq-applications", "dfe_")
    'dfe_npq_applications'
    """
    return prefix + endpoint.replace("-", "_")


def child_table_name(parent: str, column: str) -> str:
    """The name of the table with the elements of a column of lists.

    >>> child_table_name("participants_npq", "npq_enrolments")
    'participants_npq_npq_enrolments'
    """
    return f"{parent}_{column}"


def fitted_names(names: Mapping[str, str], longest: int, fold: Callable[[str], str] = str) -> dict[str, str]:
    """Fit names to a destination, so that no two of them can be confused.

    Args:
        names: What each thing is to be called, by what distinguishes it from all others.
        longest: How many bytes of UTF-8 an identifier may have, at least 16.
        fold: How the destination spells names.

    Returns:
        Their identifiers, in the same order.

    Raises:
        UsageError: A name is empty or holds NUL, which no destination takes.
    """
    fitted: dict[str, str] = {}
    taken: set[str] = set()
    for key, name in names.items():
        if not name or "\0" in name:
            raise UsageError(f"{name!r} cannot be the name of a table or column.", next_step="Choose another name.")
        identifier = fold(name)
        if len(identifier.encode()) > longest or identifier.casefold() in taken:
            identifier = fold(_shortened(name, key, longest))
        fitted[key] = identifier
        taken.add(identifier.casefold())
    return fitted


def _shortened(name: str, key: str, longest: int) -> str:
    digits = hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]
    kept = name.encode()[: longest - _DIGITS - 1].decode(errors="ignore")
    return f"{kept}_{digits}"
