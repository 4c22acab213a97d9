"""What a database does for a load, and which databases there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import pyarrow as pa

from bulk_export.destinations.address import Address
from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.tables import Column, ExistingTable, RecordedLoad, Statement, Table
from bulk_export.errors import UsageError

# Makes the last statements of a transaction of the row counts of the others. It may be called again: the last call has
# the true ones.
Conclusion = Callable[[Sequence[int]], Sequence[Statement]]


class Destination(Protocol):
    """A connection to a database. All methods block; a load calls them from one thread, in the order below.

    Every method raises exceptions of this package: UsageError for what the user can change (no such database, another
    process loads), ServiceRefused for credentials and rights, ServiceFailing for a lost connection, LocalFailure for
    this machine. None of them quotes a value or a password.
    """

    dialect: Dialect

    def begin(self) -> None:
        """Exclude other loads into the same schema until the connection closes, waiting a bounded time, and begin."""

    def recorded_loads(self) -> Sequence[RecordedLoad]:
        """The rows of `_bulk_export_loads`, oldest first; none if there is no such table."""

    def existing_table(self, name: str) -> ExistingTable | None:
        """A table or view of this name as it is, with types as `dialect.column_type` would write them."""

    def stage(self, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        """Create a staging table that only this load sees, fill it, and return the number of its rows."""

    def count(self, query: str) -> int:
        """The only value of a query that counts."""

    def publish(self, statements: Sequence[Statement], conclude: Conclusion) -> None:
        """Run the statements, and those that follow from their row counts, in one transaction, and commit it.

        Args:
            statements: The statements in order.
            conclude: Is given the number of rows that each statement changed, -1 where the database does not say, and
                returns the last statements.
        """


@runtime_checkable
class FillsNewTables(Protocol):
    """A destination whose new tables nobody else sees until the commit, so that they need no staging."""

    def fill(self, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """Create a table, without its primary key, fill it, and return the number of its rows."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where a kind of destination is implemented, and the extra with its driver; the text is empty for none."""

    module: str
    extra: str


# The schemes of addresses. Each module has a function `connect(address)` that returns a context manager.
KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "duckdb": _Kind("bulk_export.destinations.duckdb_file", "duckdb"),
        "sqlite": _Kind("bulk_export.destinations.sqlite_file", ""),
        "postgresql": _Kind("bulk_export.destinations.postgres", "postgres"),
        "mssql": _Kind("bulk_export.destinations.sqlserver", "mssql"),
        "snowflake": _Kind("bulk_export.destinations.snowflake", "snowflake"),
        "bigquery": _Kind("bulk_export.destinations.bigquery", "bigquery"),
    }
)


def connect(address: Address) -> AbstractContextManager[Destination]:
    """Connect to a destination; leaving the context rolls back what was not published, and closes the connection.

    Args:
        address: Where it is.

    Returns:
        A context manager for the connection.

    Raises:
        UsageError: There is no such kind, or its driver is not installed.
    """
    kind = KINDS.get(address.scheme)
    if kind is None:
        raise UsageError(f"There is no destination {address.scheme}://.", next_step=f"Choose from: {', '.join(KINDS)}.")
    module = importlib.import_module(kind.module)
    opened: AbstractContextManager[Destination] = module.connect(address)
    return opened


@contextmanager
def driver_of(scheme: str) -> Iterator[None]:
    """Raise UsageError with the command that installs a driver, if importing it fails."""
    try:
        yield
    except ImportError:
        extra = KINDS[scheme].extra
        raise UsageError(
            f"Loading into {scheme}:// needs a driver that is not installed.",
            next_step=f"Install it: pip install 'bulk-export[{extra}]'.",
        ) from None
