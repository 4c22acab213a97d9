"""Loads a finished export or a copy into a database: once, in one transaction, typed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulk_export.destinations.destination import connect
from bulk_export.destinations.source import COPY, Source, open_export
from bulk_export.destinations.stored_source import open_export_at
from bulk_export.destinations.tables import (
    LoadSettings,
    Mode,
)
from bulk_export.errors import ServiceFailing, UsageError
from bulk_export.output.file_names import SYNC_STATE
from bulk_export.output.object_store.url import StoreUrl
from bulk_export.pipelines.copy_source import open_copy_source
from bulk_export.pipelines.load_options import LoadOptions
from bulk_export.pipelines.load_transaction import LoadProgress, LoadTransaction, TableLoad

# Seconds before each further attempt, when the connection is lost.
_PAUSES = (1.0, 10.0)


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """What a load did.

    Attributes:
        destination: The address, without anything secret.
        load_id: The id under which it is recorded; empty if there was nothing to do.
        tables: Its tables.
        seconds: How long it took.
        remarks: What the user should know beyond the numbers.
    """

    destination: str
    load_id: str
    tables: tuple[TableLoad, ...]
    seconds: float
    remarks: tuple[str, ...] = ()

    def line(self) -> str:
        """The load as one line for people."""
        counts = ", ".join(
            f"{sum(getattr(table, name) for table in self.tables):,} {name}"
            for name in ("inserted", "updated", "deleted")
        )
        return f"load into {self.destination}: {counts}" if self.load_id else f"{self.destination} is current"


def load(
    options: LoadOptions, progress: LoadProgress | None = None, *, pause: Callable[[float], None] = time.sleep
) -> LoadSummary:
    """Load the tables of an export or a copy into a database, in one transaction.

    Args:
        options: The checked options.
        progress: Is notified of what happens.
        pause: Waits for some seconds.

    Returns:
        What was done.

    Raises:
        UsageError: There is no such destination, or a table cannot be changed as it would have to be.
        DamagedState: The export is not as its manifest says. Nothing was changed.
        ServiceRefused: The destination or the object store refuses the credentials, or a right is missing.
        ServiceFailing: The destination or the object store failed, and the load was repeated in vain.
    """
    source = open_source(options.source)
    settings = _settings(options, source)
    tables = [source.tables[name] for name in _chosen(options.endpoints, source)]
    watching = progress or LoadProgress()
    begun = time.monotonic()
    for seconds in (*_PAUSES, None):
        try:
            with connect(options.address) as destination:
                done = LoadTransaction(source, tables, settings, destination, watching).run()
        except ServiceFailing as error:
            if seconds is None:
                raise
            watching.retrying(error.what)
            pause(seconds)
        else:
            seconds_taken = time.monotonic() - begun
            return LoadSummary(str(options.address), done.load_id, done.tables, seconds_taken, done.remarks)
    raise AssertionError("the last attempt returns or raises")


def open_source(location: Path | StoreUrl) -> Source:
    """Open a finished export or a copy for reading.

    Raises what `open_export`, `open_copy_source` and `open_export_at` raise.
    """
    if isinstance(location, StoreUrl):
        return open_export_at(location)
    return open_copy_source(location) if (location / SYNC_STATE).exists() else open_export(location)


def _settings(options: LoadOptions, source: Source) -> LoadSettings:
    mode = options.mode
    if mode is None:
        if source.partial:
            raise UsageError(
                f"{options.source} {source.partial}, so replacing tables would remove the other records.",
                next_step="Say what to do with them: --mode upsert keeps them, --mode replace removes them.",
            )
        mode = Mode.UPSERT if source.kind == COPY else Mode.REPLACE
    return LoadSettings(
        mode,
        table_prefix=options.table_prefix,
        child_tables=options.child_tables,
        replace_nul=options.replace_nul,
        adopt=options.adopt,
    )


def _chosen(endpoints: Sequence[str], source: Source) -> Iterable[str]:
    for name in endpoints:
        if name not in source.tables:
            raise UsageError(
                f"There is no {name} in what is to be loaded.", next_step=f"There are: {', '.join(source.tables)}."
            )
    return endpoints or source.tables
