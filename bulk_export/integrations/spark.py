"""A data source for Apache Spark 4: an endpoint as a DataFrame, read by the tasks of a cluster under one budget.

    driver      schema()         the columns of Parquet
                pushFilters()    with the option pushFilters, sends the filters that the service has to it
                partitions()     finds the end of each list with few requests, and cuts its pages into ranges
    executors   read(partition)  fetches a range with the ordinary client, rate limiter and decoder, in page order

A task that is repeated requests its pages again and no others. No page is passed from one process to another.
Programs import this as `bulk_export.spark`; `spark_stream` has the reader for streams.

Example:
    import bulk_export
    spark.dataSource.register(bulk_export.spark.BulkExportDataSource)
    df = spark.read.format("bulk_export").option("endpoint", "npq-applications").option("baseUrl", url).load()
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pyarrow as pa
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

from bulk_export.errors import UsageError
from bulk_export.extract.rate_limit.run_totals import RunTotals, read_totals
from bulk_export.integrations.spark_options import BUDGET_VARIABLE, SourceOptions
from bulk_export.integrations.spark_reading import (
    TENANT,
    ListRead,
    PageRangePartition,
    columns_of,
    explained,
    nearest_jvm,
    read_partition,
    search_lists,
)
from bulk_export.pipelines.list_parts import ListPart
from bulk_export.transform.decode import Decoder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.datasource import DataSourceStreamReader

_ID, _UPDATED_AT, _SINCE = "id", "updated_at", "updated_since"
# Columns that a filter of the service compares for equality, by the name of both.
_EQUAL = ("cohort", "participant_id")


class BulkExportDataSource(DataSource):
    """The data source `bulk_export`; docs/distributed.md has its options."""

    def __init__(self, options: MutableMapping[str, str]) -> None:
        super().__init__(options)
        with explained():
            self._options = SourceOptions.of(options)

    @classmethod
    def name(cls) -> str:
        """Return the name for `spark.read.format`."""
        return "bulk_export"

    def schema(self) -> StructType:
        """Return the columns that a Parquet file of the endpoint would have."""
        with explained():
            options = self._options.described()
            if options.schema == "infer":
                raise UsageError(
                    "schemaMode cannot be infer: Spark asks for the columns before there are records.",
                    next_step="Use lax, which keeps other fields in _extra, or describe them.",
                )
            decoder = Decoder(options.endpoints[0], columns=True, lines=None, redaction=options.redaction)
            return from_arrow_schema(columns_of(self._options, decoder.schema))

    def reader(self, schema: StructType) -> BulkExportReader:
        """Return the reader of a table. A schema given by the user is refused unless it is that of the endpoint."""
        with explained():
            self._refuse_other(schema)
            if self._options.every is not None:
                raise UsageError(
                    "The option every is for streams.", next_step="Leave it out, or use readStream in place of read."
                )
        return (FilteringReader if self._options.push_filters else BulkExportReader)(self._options)

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802  # Spark's name
        """Return the reader of a stream. A schema given by the user is refused unless it is that of the endpoint."""
        with explained():
            try:
                from bulk_export.integrations.spark_stream import BulkExportStreamReader
            except ImportError as error:
                raise UsageError(
                    "Streams need Spark 4.2 or newer.", next_step="Use read, or bulk-export sync, with this one."
                ) from error
            self._refuse_other(schema)
            return BulkExportStreamReader(self._options)

    def _refuse_other(self, schema: StructType | pa.Schema) -> None:
        # Sail passes the columns as Arrow has them.
        given = from_arrow_schema(schema) if isinstance(schema, pa.Schema) else schema
        own = [(field.name, field.dataType) for field in self.schema()]
        if [(field.name, field.dataType) for field in given] != own:
            raise UsageError(
                "The schema of the query is not that of the endpoint.",
                next_step="Leave .schema() out, and select or cast columns afterwards.",
            )


class BulkExportReader(DataSourceReader):
    """Plans the partitions on the driver, and reads them on executors. It is pickled without any secret."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options
        self._pushed: dict[str, Any] = {}
        self._tenants: Sequence[Any] = options.tenants

    def partitions(self) -> Sequence[InputPartition]:
        """Find how many pages there are, and cut them into ranges."""
        planner = nearest_jvm()
        lists = [ListRead(tenant, self._pushed) for tenant in self._tenants or (None,)]
        if self._options.dedupe:
            with explained():
                self._options.refuse_twins()
            return [PageRangePartition(ListPart(distinct=True), one, planner) for one in lists]
        found = search_lists(self._options, lists)
        return [
            PageRangePartition(part, one, planner)
            for one, parts in zip(lists, found, strict=True)
            for part in parts.parts
        ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the records of a range of pages in page order."""
        assert isinstance(partition, PageRangePartition)
        return read_partition(self._options, partition)


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
                    self._leave_out(column, (value,))
                case In((column,), values) if values and all(isinstance(value, str) for value in values):
                    equal.setdefault(column, ",".join(values))
                    self._leave_out(column, values)
        self._push({_SINCE: max(since)} if since and not self._options.has_since(endpoint) else {})
        for name in _EQUAL:
            if name in equal and name in columns and name in endpoint.filters:
                self._push({"filter": {**self._pushed.get("filter", {}), name: equal[name]}})
        return filters

    def _leave_out(self, column: str, names: Sequence[str]) -> None:
        """Leave out the tenants that a query does not name, unless it names none that there is."""
        if column == TENANT and self._options.tenants:
            self._tenants = [tenant for tenant in self._tenants if tenant.name in names] or self._tenants

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
        frame: What the data source gave, with the column `id`. If its first column is `tenant`, ids count for each.

    Returns:
        The rows without repetitions, after one shuffle by id.
    """
    from pyspark.sql import Window, functions

    keys = [TENANT, _ID] if frame.columns[0] == TENANT else [_ID]
    newest = functions.col(_UPDATED_AT).desc_nulls_last() if _UPDATED_AT in frame.columns else functions.lit(1)
    number = functions.row_number().over(Window.partitionBy(*keys).orderBy(newest))
    is_kept = functions.col(_ID).isNull() | (functions.col("_version") == 1)
    return frame.withColumn("_version", number).where(is_kept).drop("_version")


def run_totals(run: str, budget: str | None = None) -> RunTotals:
    """Return what all tasks of a run requested together, so far.

    Args:
        run: The name that the option `run` gave it.
        budget: The Redis server of the option `budget`; by default that of the variable BULK_EXPORT_BUDGET.

    Returns:
        The requests, how many were answered with 429, and the tasks. What a killed executor requested in the task
        that it could not end is not in them.

    Raises:
        UsageError: The budget is not on a Redis server.
        BudgetUnavailable: The server cannot be reached or used.
    """
    with explained():
        return anyio.run(read_totals, budget or os.environ.get(BUDGET_VARIABLE, ""), run)


__all__ = ["BulkExportDataSource", "newest_versions", "run_totals"]
