"""A data source for Apache Spark 4: an endpoint as a DataFrame, read by the tasks of a cluster under one budget.

    driver      schema()         the columns of Parquet
                pushFilters()    with the option pushFilters, sends the filters that the service has to it
                partitions()     finds the end of the list with few requests, and cuts its pages into ranges
    executors   read(partition)  fetches a range with the ordinary client, rate limiter and decoder, in page order

A task that is repeated requests its pages again and no others. No page is passed from one process to another.

Example:
    import bulk_export
    spark.dataSource.register(bulk_export.spark.BulkExportDataSource)
    df = spark.read.format("bulk_export").option("endpoint", "npq-applications").option("baseUrl", url).load()
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pyarrow as pa
from anyio.from_thread import start_blocking_portal

from bulk_export.errors import BulkExportError, UsageError
from bulk_export.integrations.spark_options import SourceOptions, is_shared_by_machines
from bulk_export.pipelines.list_parts import ListPart, find_parts
from bulk_export.pipelines.stream import stream_batches
from bulk_export.progress.observer import Observer
from bulk_export.transform.decode import Decoder

try:
    from pyspark.sql.datasource import (
        DataSource,
        DataSourceReader,
        EqualTo,
        Filter,
        GreaterThan,
        GreaterThanOrEqual,
        In,
        InputPartition,
    )
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import StructType
except ImportError as error:
    raise ImportError("bulk_export.spark needs PySpark 4.1 or newer: pip install 'bulk-export[spark]'.") from error

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

logger = logging.getLogger(__name__)

_ID, _UPDATED_AT, _SINCE = "id", "updated_at", "updated_since"
# Columns that a filter of the service compares for equality, by the name of both.
_EQUAL = ("cohort", "participant_id")


class BulkExportDataSource(DataSource):
    """The data source `bulk_export`; docs/distributed.md has its options."""

    def __init__(self, options: MutableMapping[str, str]) -> None:
        super().__init__(options)
        with _explained():
            self._options = SourceOptions.of(options)

    @classmethod
    def name(cls) -> str:
        """Return the name for `spark.read.format`."""
        return "bulk_export"

    def schema(self) -> StructType:
        """Return the columns that a Parquet file of the endpoint would have."""
        with _explained():
            options = self._options.described()
            if options.schema == "infer":
                raise UsageError(
                    "schemaMode cannot be infer: Spark asks for the columns before there are records.",
                    next_step="Use lax, which keeps other fields in _extra, or describe them.",
                )
            decoder = Decoder(options.endpoints[0], columns=True, lines=None, redaction=options.redaction)
            return from_arrow_schema(decoder.schema)

    def reader(self, schema: StructType) -> BulkExportReader:
        """Return the reader. A schema given by the user is refused unless it is that of the endpoint."""
        with _explained():
            if [(field.name, field.dataType) for field in schema] != [
                (field.name, field.dataType) for field in self.schema()
            ]:
                raise UsageError(
                    "The schema of the query is not that of the endpoint.",
                    next_step="Leave .schema() out, and select or cast columns afterwards.",
                )
        return (FilteringReader if self._options.push_filters else BulkExportReader)(self._options)


class PageRangePartition(InputPartition):
    """The pages of one task, and the process that planned it."""

    def __init__(self, part: ListPart, planner: str | None) -> None:
        super().__init__(f"pages {part.first} to {part.last or 'the end'}")
        self.part = part
        self.planner = planner


class BulkExportReader(DataSourceReader):
    """Plans the partitions on the driver, and reads them on executors. It is pickled without any secret."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._pushed: dict[str, Any] = {}

    def partitions(self) -> Sequence[InputPartition]:
        """Find how many pages there are, and cut them into ranges."""
        with _explained():
            if self._options.dedupe:
                return [PageRangePartition(ListPart(distinct=True), _nearest_jvm())]
            options = self._options.resolved(self._pushed)
            observer = _Warnings()

            async def find() -> list[ListPart]:
                return await find_parts(options, pages=self._options.pages_per_partition, observer=observer)

            parts = anyio.run(find)
            logger.info("%d partitions, planned with %d requests", len(parts), observer.requests)
            return [PageRangePartition(part, _nearest_jvm()) for part in parts]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the records of a range of pages in page order."""
        assert isinstance(partition, PageRangePartition)
        with _explained():
            options = self._options.resolved(self._pushed)
            _refuse_unshared(options.budget, partition.planner)
            observer = _Warnings()
            yield from _batches(stream_batches(options, observer, part=partition.part))
            logger.info("%s: %d requests, %d throttled", partition.value, observer.requests, observer.throttlings)


class FilteringReader(BulkExportReader):
    """Takes the filters of the query as well. Spark refuses such a reader unless its configuration allows pushing."""

    def pushFilters(self, filters: list[Filter]) -> Iterable[Filter]:  # noqa: N802  # Spark's name
        """Send the filters that the service has, too. Spark applies all of them again, so none is trusted to it."""
        endpoint = self._options.chosen
        # A pseudonym in the query is no value of the service.
        columns = {field.name for field in endpoint.fields} - set(self._options.arguments.get("pseudonymise", ()))
        since, equal = [], {}
        for one in filters:
            match one:
                case GreaterThan((column,), datetime() as value) | GreaterThanOrEqual((column,), datetime() as value):
                    if column == _UPDATED_AT and endpoint.since == _SINCE and column in columns:
                        since.append(value.astimezone(UTC).replace(microsecond=0))
                case EqualTo((column,), str() as value):
                    equal[column] = value
                case In((column,), values) if values and all(isinstance(value, str) for value in values):
                    equal.setdefault(column, ",".join(values))
        self._push({_SINCE: max(since)} if since and not self._options.has_since(endpoint) else {})
        for name in _EQUAL:
            if name in equal and name in columns and name in endpoint.filters:
                self._push({"filter": {**self._pushed.get("filter", {}), name: equal[name]}})
        return filters

    def _push(self, more: Mapping[str, Any]) -> None:
        """Add options that follow from the query, unless the service does not take such a value."""
        pushed = {**self._pushed, **more}
        try:
            self._options.described(pushed)
        except UsageError:
            return
        self._pushed = pushed


def newest_versions(frame: DataFrame) -> DataFrame:
    """Keep one row for each id: the newest by `updated_at`, as an export does. Rows without an id are all kept.

    Args:
        frame: What the data source gave, with the column `id`.

    Returns:
        The rows without repetitions, after one shuffle by id.
    """
    from pyspark.sql import Window, functions

    newest = functions.col(_UPDATED_AT).desc_nulls_last() if _UPDATED_AT in frame.columns else functions.lit(1)
    number = functions.row_number().over(Window.partitionBy(_ID).orderBy(newest))
    is_kept = functions.col(_ID).isNull() | (functions.col("_version") == 1)
    return frame.withColumn("_version", number).where(is_kept).drop("_version")


class _Warnings(Observer):
    """Logs warnings, and counts requests."""

    def __init__(self) -> None:
        self.requests = self.throttlings = 0

    def request_sent(self, endpoint: str) -> None:  # as in the base
        self.requests += 1

    def throttled(self, pause: float) -> None:  # as in the base
        self.throttlings += 1

    def warned(self, message: str) -> None:
        logger.warning("%s", message)


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


@contextmanager
def _explained() -> Iterator[None]:
    """Add the advice of an error of ours to it: Spark shows what the traceback ends with."""
    try:
        yield
    except BulkExportError as error:
        for line in error.lines()[1:]:
            error.add_note(line)
        raise


def _refuse_unshared(budget: str, planner: str | None) -> None:
    """Refuse a budget on this machine's disk in a process that does not belong to the one that planned the query.

    Raises:
        UsageError: The budget is not on a server, and this is another executor than the driver itself.
    """
    here = _nearest_jvm()
    if not is_shared_by_machines(budget) and (here is None or here != planner):
        raise UsageError(
            "Executors other than the driver need a budget that all of them share: each would count for itself, and"
            " together they would exceed the limits.",
            next_step="Name a Redis server with the option budget, or run Spark with local[N].",
        )


def _nearest_jvm() -> str | None:
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


__all__ = ["BulkExportDataSource", "newest_versions"]
