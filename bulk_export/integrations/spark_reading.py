"""What planning and reading have in common for tables and streams: the driver cuts lists, executors read the parts.

Nothing here refers to Spark but the class of partitions. What is pickled holds no secret: driver and executors find the
tokens where the options say.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
from anyio.from_thread import start_blocking_portal
from pyspark.sql.datasource import InputPartition

from bulk_export.errors import BulkExportError, UsageError
from bulk_export.extract.rate_limit.run_totals import RunTotals, add_to_totals
from bulk_export.integrations.spark_options import SourceOptions, is_shared_by_machines
from bulk_export.pipelines.list_parts import FoundParts, ListPart, find_parts
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.stream import stream_batches
from bulk_export.pipelines.tenants_file import Tenant
from bulk_export.progress.observer import Observer
from bulk_export.transform import schema

logger = logging.getLogger("bulk_export.integrations.spark")

# The column in front that says whose record it is; only with tenants.
TENANT = "tenant"
_INSTANT = pa.timestamp("us", "UTC")
# How many tenants' lists are searched for their ends at the same time.
_SEARCHED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class ListRead:
    """What to read of one list.

    Attributes:
        tenant: Whose list it is, if there are tenants.
        pushed: Options that follow from the filters of the query.
        is_poll: Whether a stream reads it.
        since: The instant from which a stream requests changes; None for everything.
        synced_at: The start of the poll, by the service's clock; None if this is no stream.
    """

    tenant: Tenant | None = None
    pushed: Mapping[str, Any] = field(default_factory=dict)
    is_poll: bool = False
    since: datetime | None = None
    synced_at: datetime | None = None

    def resolved(self, options: SourceOptions) -> ExportOptions:
        """Return the options of the export with the secrets of this process. Raises UsageError."""
        if self.is_poll:
            return options.changes_since(self.since, self.tenant)
        return options.resolved(self.pushed, self.tenant)

    def completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch with the columns that say whose record it is, and when a poll read it."""
        if self.tenant is not None:
            batch = batch.add_column(0, pa.field(TENANT, pa.string()), _repeated(self.tenant.name, batch, pa.string()))
        if self.synced_at is not None:
            instants = _repeated(self.synced_at, batch, _INSTANT)
            batch = batch.append_column(pa.field(schema.SYNCED_AT, _INSTANT), instants)
        return batch


class PageRangePartition(InputPartition):
    """The pages of one task, and the process that planned it."""

    def __init__(self, part: ListPart, list_: ListRead, planner: str | None) -> None:
        owner = "" if list_.tenant is None else f" of {list_.tenant.name}"
        super().__init__(f"pages {part.first} to {part.last or 'the end'}{owner}")
        self.part = part
        self.list = list_
        self.planner = planner


def columns_of(options: SourceOptions, described: pa.Schema) -> pa.Schema:
    """Return the columns of the data source, of those of a Parquet file.

    Raises:
        UsageError: There are tenants, and a column has the name of that of the tenants.
    """
    columns = list(described)
    if options.tenants:
        if any(column.name.casefold() == TENANT for column in columns):
            raise UsageError(
                f"The endpoint has a column {TENANT} of its own, so the tenants cannot stand in one.",
                next_step="Leave it out with dropColumn, or read each tenant by itself.",
            )
        columns.insert(0, pa.field(TENANT, pa.string()))
    if options.every is not None:
        columns.append(pa.field(schema.SYNCED_AT, _INSTANT))
    return pa.schema(columns)


def search_lists(options: SourceOptions, lists: Sequence[ListRead]) -> list[FoundParts]:
    """Find how many pages each list has, and cut it into parts.

    Raises:
        BulkExportError: As for an export; with tenants, it names the one whose list it was.
    """
    found: dict[int, FoundParts] = {}
    failures: list[BulkExportError] = []
    observer = CountingObserver()

    async def search(number: int, list_: ListRead, limiter: anyio.CapacityLimiter, scope: anyio.CancelScope) -> None:
        async with limiter:
            try:
                with explained(list_.tenant):
                    resolved = list_.resolved(options)
                    found[number] = await find_parts(resolved, pages=options.pages_per_partition, observer=observer)
            except BulkExportError as error:
                failures.append(error)
                scope.cancel()

    async def search_all() -> None:
        limiter = anyio.CapacityLimiter(_SEARCHED_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for number, list_ in enumerate(lists):
                tasks.start_soon(search, number, list_, limiter, tasks.cancel_scope)

    with explained():
        options.refuse_twins()
    try:
        anyio.run(search_all)
    finally:
        _count(options, observer.totals(tasks=0))
    if failures:
        raise failures[0]
    logger.info("%d lists planned with %d requests", len(lists), observer.requests)
    return [found[number] for number in range(len(lists))]


def read_partition(options: SourceOptions, partition: PageRangePartition) -> Iterator[pa.RecordBatch]:
    """Yield the records of a range of pages in page order.

    Raises:
        BulkExportError: As for an export; with tenants, it names the one whose list it was.
    """
    with explained(partition.list.tenant):
        resolved = partition.list.resolved(options)
        _refuse_unshared(resolved.budget, partition.planner)
        observer = CountingObserver()
        try:
            for batch in _batches(stream_batches(resolved, observer, part=partition.part)):
                yield partition.list.completed(batch)
        finally:
            _count(options, observer.totals(tasks=1))
        logger.info("%s: %d requests, %d throttled", partition.value, observer.requests, observer.throttlings)


class CountingObserver(Observer):
    """Logs warnings, and counts requests."""

    def __init__(self) -> None:
        self.requests = self.throttlings = 0

    def request_sent(self, endpoint: str) -> None:  # as in the base
        self.requests += 1

    def throttled(self, pause: float) -> None:  # as in the base
        self.throttlings += 1

    def warned(self, message: str) -> None:
        logger.warning("%s", message)

    def totals(self, *, tasks: int) -> RunTotals:
        """Return what was counted, as that of some tasks."""
        return RunTotals(self.requests, self.throttlings, tasks)


@contextmanager
def explained(tenant: Tenant | None = None) -> Iterator[None]:
    """Add the advice of an error of ours to it, and whose list it was: Spark shows what the traceback ends with."""
    try:
        yield
    except BulkExportError as error:
        if tenant is not None:
            error.what = f"Tenant {tenant.name}: {error.what}"
            error.args = (error.what,)
        for line in error.lines()[1:]:
            if line not in getattr(error, "__notes__", ()):
                error.add_note(line)
        raise


def nearest_jvm() -> str | None:
    """Return what identifies the virtual machine that started this process; None if that cannot be told.

    With `local[N]` the driver is the only executor, so planning and reading have the same one.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        process = "self"
        for _ in range(8):
            name, _, rest = Path(f"/proc/{process}/stat").read_text().partition("(")[2].rpartition(")")
            fields = rest.split()
            if name == "java":
                return f"{boot}/{process}/{fields[19]}"
            process = fields[1]
    except (OSError, IndexError):
        return None
    return None


def _count(options: SourceOptions, more: RunTotals) -> None:
    """Add to the totals of the run, if it has a name."""
    if options.run is not None and more.requests:
        anyio.run(add_to_totals, options.budget, options.run, more)


def _refuse_unshared(budget: str, planner: str | None) -> None:
    """Refuse a budget on this machine's disk in a process that does not belong to the one that planned the query.

    Raises:
        UsageError: The budget is not on a server, and this is another executor than the driver itself.
    """
    here = nearest_jvm()
    if not is_shared_by_machines(budget) and (here is None or here != planner):
        raise UsageError(
            "Executors other than the driver need a budget that all of them share: each would count for itself, and"
            " together they would exceed the limits.",
            next_step="Name a Redis server with the option budget, or run Spark with local[N].",
        )


def _batches(stream: AsyncGenerator[pa.RecordBatch, None]) -> Iterator[pa.RecordBatch]:
    """Iterate over a stream, which runs in a thread of its own."""

    async def following() -> pa.RecordBatch | None:
        return await anext(stream, None)

    with start_blocking_portal() as portal:
        try:
            while (batch := portal.call(following)) is not None:
                yield batch
        finally:
            portal.call(stream.aclose)


def _repeated(value: object, batch: pa.RecordBatch, type_: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, type_), batch.num_rows)
