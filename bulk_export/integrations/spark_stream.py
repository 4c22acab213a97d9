"""The reader of Structured Streaming: each batch is a poll for what changed, as `sync` polls. Needs Spark 4.2.

    latestOffset   on the driver: if a poll is due, searches the ends of the lists, which also shows the service's clock
    partitions     what the poll requests, as it follows from the offsets before and after it
    read           as for a table, with the start of the poll in `_synced_at`

Nothing is kept but in the offsets, which Spark stores in the checkpoint. A batch that was not finished is requested
again from the same instant after a crash, so records arrive at least once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadLimit, SupportsTriggerAvailableNow

from bulk_export.errors import UsageError
from bulk_export.integrations.spark_offset import ListOffset, lists_of, offset_of
from bulk_export.integrations.spark_options import SourceOptions
from bulk_export.integrations.spark_reading import (
    ListRead,
    PageRangePartition,
    explained,
    nearest_jvm,
    read_partition,
    search_lists,
)
from bulk_export.pipelines.connection import service_name
from bulk_export.pipelines.list_parts import ListPart
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.tenants_file import Tenant


@dataclass(frozen=True, slots=True)
class _PlannedPoll:
    """The parts of a list that was searched for changes `since` an instant, or for everything if that is None."""

    since: datetime | None
    parts: tuple[ListPart, ...]
    clock_readings: tuple[float, ...]

    def read_as(self, poll: ListRead) -> ListRead:
        """Return how to read the parts.

        The answers of the search may have moved the start of the poll by seconds. The earlier instant counts, with
        which the list is at least as long as the one that was cut.
        """
        if self.since is None or poll.since is None:
            return replace(poll, since=None)
        return replace(poll, since=min(self.since, poll.since))


class BulkExportStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Polls the lists of an endpoint, in one process on the driver. It is pickled for executors without any secret."""

    def __init__(self, options: SourceOptions) -> None:
        if options.every is None:
            raise UsageError(
                "A stream needs the option every: the time between two polls.",
                next_step='Add .option("every", "1h"), as the service advises.',
            )
        endpoint = options.chosen
        if not endpoint.shape.id:
            raise UsageError(
                f"Nothing identifies the records of {endpoint.name}, so that a stream cannot follow them.",
                next_step="Read it as a table each time.",
            )
        if options.has_since(endpoint):
            raise UsageError(
                f"A stream decides itself since when to request changes, so filter.{endpoint.since} cannot be given.",
                next_step="Leave it out.",
            )
        self._options = options
        self._every = options.every
        self._has_changes = endpoint.since is not None
        self._tenants: dict[str, Tenant | None] = {one.name: one for one in options.tenants} or {"": None}
        self._sources: dict[str, str] = {}
        self._target: datetime | None = None
        # The polls that were planned last, with the offsets around them.
        self._planned: tuple[str, Mapping[str, _PlannedPoll]] | None = None

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802  # Spark's name
        """Return the offset before the first poll."""
        return offset_of({})

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802  # Spark's name
        """Make this run end after one poll of each list."""
        self._target = datetime.now(UTC)

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:  # noqa: N802  # Spark's name
        """Return the offset after a poll that begins now, or `start` if none is due.

        The ends of the lists are searched here, since the answers tell the service's clock.
        """
        with explained():
            before = lists_of(start, self._known_sources())
            now = datetime.now(UTC)
            due = [name for name, one in before.items() if self._is_due(one, now)]
            if not due:
                return start
            polls = self._search(before, {name: self._after(before[name], now, ()) for name in due})
            after = {name: self._after(before[name], now, polls[name].clock_readings) for name in due}
            end = offset_of(before | after)
            self._planned = (_between(start, end), polls)
            return end

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        """Return the partitions of the polls between two offsets; after a restart the ends are searched anew."""
        with explained():
            sources = self._known_sources()
            before, after = lists_of(start, sources), lists_of(end, sources)
            polled = {name: one for name, one in after.items() if one != before[name]}
            if self._planned is not None and self._planned[0] == _between(start, end):
                polls = self._planned[1]
            else:
                polls = self._search(before, polled)
            planner = nearest_jvm()
            return [
                PageRangePartition(part, polls[name].read_as(self._poll(name, before[name], one)), planner)
                for name, one in polled.items()
                for part in polls[name].parts
            ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the records of a range of pages in page order."""
        assert isinstance(partition, PageRangePartition)
        return read_partition(self._options, partition)

    def _is_due(self, one: ListOffset, now: datetime) -> bool:
        return one.is_due(now, self._every) if self._target is None else one.is_before(self._target)

    def _after(self, one: ListOffset, now: datetime, readings: Sequence[float]) -> ListOffset:
        full_every = self._options.full_every
        return one.after_poll(now, readings, every=self._every, full_every=full_every, has_changes=self._has_changes)

    def _poll(self, name: str, before: ListOffset, after: ListOffset) -> ListRead:
        return ListRead(self._tenants[name], is_poll=True, since=before.since(after), synced_at=after.started_at)

    def _search(self, before: Mapping[str, ListOffset], after: Mapping[str, ListOffset]) -> dict[str, _PlannedPoll]:
        """Cut the lists of polls into parts; with `dedupe` each is one."""
        lists = {name: self._poll(name, before[name], one) for name, one in after.items()}
        found = search_lists(self._options, list(lists.values()))
        whole = (ListPart(distinct=True),) if self._options.dedupe else None
        return {
            name: _PlannedPoll(one.since, whole or parts.parts, parts.clock_readings)
            for (name, one), parts in zip(lists.items(), found, strict=True)
        }

    def _known_sources(self) -> Mapping[str, str]:
        """What distinguishes each list from others, by tenant, apart from tokens. Raises UsageError without a token."""
        if not self._sources:
            for name, tenant in self._tenants.items():
                with explained(tenant):
                    self._sources[name] = _source_of(self._options.resolved({}, tenant))
        return self._sources


def _source_of(options: ExportOptions) -> str:
    """Return what distinguishes a list, and the columns that are made of it, from others."""
    (endpoint,) = options.endpoints
    service, redaction = options.service, options.redaction
    place = [service.name, service.version, service_name(options), endpoint.name]
    columns = [sorted(options.drop_columns), sorted(options.pseudonymised), redaction.key_id]
    text = json.dumps([*place, sorted(options.filters), *columns])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _between(start: Mapping[str, Any], end: Mapping[str, Any]) -> str:
    return json.dumps([start, end], sort_keys=True)
