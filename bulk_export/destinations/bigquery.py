"""BigQuery: `bigquery://project/dataset`, through its client. We have not run it against the service.

1. Rows go as Parquet, one load job for each file, into staging tables whose names no other load has. They are removed
   when the load ends, and by BigQuery after a day.
2. Each job has an id of this attempt. A job that was sent without an answer is sent again, and is the same job if the
   first one arrived.
3. Statements that define tables are in no transaction. They come first, and a table that such a load leaves empty is
   taken by the next one, which knows it by its description.
4. One script changes the rows, in a transaction. BigQuery cancels one of two that publish at once; it starts again.
5. Credentials are the application default credentials.

This module imports without the driver, so that it is tested where there is none.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bulk_export.destinations.address import Address
from bulk_export.destinations.bigquery_dialect import (
    UNFINISHED,
    BigQueryDialect,
    existing_type,
    is_description,
    load_configuration,
    query_configuration,
)
from bulk_export.destinations.bigquery_script import LOCK, OVERTAKEN, publishing_script
from bulk_export.destinations.destination import Conclusion, driver_of
from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.loads_table import NAME, query, recorded_load
from bulk_export.destinations.staged_files import staged_files, temporary_directory
from bulk_export.destinations.staged_rows import staged_schema
from bulk_export.destinations.tables import Column, ExistingColumn, ExistingTable, RecordedLoad, Statement
from bulk_export.errors import BulkExportError, ServiceFailing, ServiceRefused, UsageError

_UNCHANGED = "The rows at the destination are unchanged."
# How long a request waits, in seconds.
_PATIENCE = 60
_PROJECT = re.compile(r"[a-z0-9-]+", re.ASCII)
_DATASET = re.compile(r"\w+", re.ASCII)
# What the name of a table may hold. The client puts it into a path, so that no other character may get there.
_TABLE = re.compile(r"[\w -]+")
_BUSY = frozenset({"rateLimitExceeded", "jobRateLimitExceeded", "backendError", "internalError"})
_CONFLICT = re.compile(r"concurrent update|transaction.* (aborted|cancell?ed)|" + OVERTAKEN, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Driver:
    """What of the client's library a load uses.

    Attributes:
        client: The client.
        query_configuration, load_configuration: Make the client's configurations of those of the API.
        not_found: What the client raises where there is nothing.
        conflict: What it raises for a job whose id is taken.
        unanswered: What it raises when nobody knows whether a request arrived.
    """

    client: Any
    query_configuration: Callable[[Mapping[str, Any]], Any]
    load_configuration: Callable[[Mapping[str, Any]], Any]
    not_found: type[Exception]
    conflict: type[Exception]
    unanswered: tuple[type[Exception], ...]


class BigQueryDestination:
    """A dataset of BigQuery."""

    def __init__(self, driver: Driver, project: str, dataset: str, location: str | None) -> None:
        self._driver = driver
        self._client = driver.client
        self._attempt = secrets.token_hex(8)
        self._bigquery = BigQueryDialect(project, dataset, self._attempt)
        self.dialect: Dialect = self._bigquery
        self._location = location
        self._staged: list[str] = []
        self._jobs = 0
        self._loads = 0

    def begin(self) -> None:
        """Look for the dataset, whose location jobs need, and make the row that publishing loads update."""
        dataset = self._client.get_dataset(f"{self._bigquery.project}.{self._bigquery.dataset}", timeout=_PATIENCE)
        self._location = self._location or dataset.location
        lock = self.dialect.table(LOCK)
        if self._found(LOCK) is None:
            self._run(f"CREATE TABLE IF NOT EXISTS {lock} (loads INT64 NOT NULL)")
        # Two loads may both insert one; each updates both.
        if not self.count(f"SELECT COUNT(*) FROM {lock}"):
            self._run(f"INSERT INTO {lock} (loads) VALUES (0)")

    def recorded_loads(self) -> Sequence[RecordedLoad]:
        """The rows of `_bulk_export_loads`, oldest first."""
        if self.existing_table(NAME) is None:
            return []
        loads = [recorded_load(row) for row in self._rows(query(self.dialect))]
        self._loads = len(loads)
        return loads

    def existing_table(self, name: str) -> ExistingTable | None:
        """A table or view as it is."""
        if not _TABLE.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be the name of a table in BigQuery.", next_step="Choose another --table-prefix."
            )
        table = self._found(name)
        if table is None:
            return None
        columns = tuple(
            ExistingColumn(
                field.name,
                f"ARRAY<{existing_type(field.field_type)}>"
                if field.mode == "REPEATED"
                else existing_type(field.field_type),
                field.mode != "REQUIRED",
            )
            for field in table.schema
        )
        key = getattr(table.table_constraints, "primary_key", None)
        unfinished = table.table_type == "TABLE" and table.description == UNFINISHED and not table.num_rows
        return ExistingTable(name, columns, tuple(key.columns) if key is not None else (), unfinished)

    def stage(self, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        """Send rows as private files, which are removed one by one, to a staging table of this attempt.

        Jobs append: the table is new, and one that truncated it might also undo that it expires.
        """
        target = self._path(self._bigquery.staging_name(name))
        self._staged.append(target)
        self._run(self._bigquery.create_staging(name, columns))
        configuration = load_configuration(columns, self._bigquery)
        sent = 0
        with temporary_directory() as directory:
            for number, (path, rows) in enumerate(staged_files(directory, staged_schema(columns), batches)):
                self._load(f"{name}_{number:05d}", path, target, configuration)
                path.unlink()
                sent += rows
        arrived = self.count(f"SELECT COUNT(*) FROM {self.dialect.staging_table(name)}")
        if arrived != sent:
            raise ServiceFailing(
                f"Of {sent:,} rows the destination has {arrived:,}.", kept=_UNCHANGED, next_step="Load again."
            )
        return arrived

    def count(self, query: str) -> int:
        """The value of a query that counts."""
        return int(self._rows(query)[0][0])

    def publish(self, statements: Sequence[Statement], conclude: Conclusion) -> None:
        """Define tables, change rows in one transaction, and describe tables, in this order."""
        changed = [-1] * len(statements)
        described = [statement.sql for statement in statements if is_description(statement.sql)]
        for statement in statements:
            if statement.counted is None and statement.sql not in described:
                self._run(statement.sql)
        counted = [position for position, statement in enumerate(statements) if statement.counted is not None]
        script = publishing_script(
            [statements[position] for position in counted], conclude(changed), self._loads, self.dialect
        )
        (row,) = self._rows(script.sql, script.parameters)
        for position, rows in zip(counted, row, strict=False):
            changed[position] = int(rows)
        conclude(changed)
        for sql in described:
            self._run(sql)

    def close(self, errors: tuple[type[Exception], ...]) -> None:
        """Remove the staging tables, as far as the connection allows."""
        for table in self._staged:
            with suppress(*errors):
                self._client.delete_table(table, not_found_ok=True, timeout=_PATIENCE)
        with suppress(*errors):
            self._client.close()

    def _load(self, name: str, path: Path, target: str, configuration: Mapping[str, Any]) -> None:
        with path.open("rb") as file:

            def send(job_id: str) -> Any:
                return self._client.load_table_from_file(
                    file,
                    target,
                    rewind=True,
                    job_id=job_id,
                    location=self._location,
                    job_config=self._driver.load_configuration(configuration),
                    timeout=_PATIENCE,
                )

            self._finish(name, send)

    def _path(self, name: str) -> str:
        return f"{self._bigquery.project}.{self._bigquery.dataset}.{name}"

    def _found(self, name: str) -> Any:
        try:
            return self._client.get_table(self._path(name), timeout=_PATIENCE)
        except self._driver.not_found:
            return None

    def _run(self, sql: str) -> None:
        self._rows(sql)

    def _rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        configuration = query_configuration(parameters or {})
        self._jobs += 1
        found = self._finish(
            f"query_{self._jobs:05d}",
            lambda job_id: self._client.query(
                sql,
                job_id=job_id,
                location=self._location,
                job_config=self._driver.query_configuration(configuration),
                timeout=_PATIENCE,
                # The client sends no failed job again under an id of ours.
                job_retry=None,
            ),
        )
        return [tuple(row.values()) for row in found]

    def _finish(self, name: str, send: Callable[[str], Any]) -> Any:
        """Send a job, a second time if there is no answer, and wait for it."""
        job_id = f"bulk_export_{self._attempt}_{name}"
        try:
            job = send(job_id)
        except self._driver.unanswered:
            try:
                job = send(job_id)
            except self._driver.conflict:
                job = self._client.get_job(job_id, location=self._location, timeout=_PATIENCE)
        except self._driver.conflict:
            # The client itself had sent it again.
            job = self._client.get_job(job_id, location=self._location, timeout=_PATIENCE)
        # With a timeout here a request could hang as long; without, each has its own, and BigQuery ends long jobs.
        return job.result()


@contextmanager
def connect(address: Address) -> Iterator[BigQueryDestination]:
    """Use the application default credentials.

    Raises:
        ServiceRefused: There are no credentials, or a right is missing.
        ServiceFailing: BigQuery cannot be reached, or another load was faster.
        UsageError: The driver is not installed, the address cannot be used, there is no such dataset, or a person's
            object forbids the load.
        LocalFailure: The rows could not be written to the temporary directory.
    """
    project, dataset, location = place(address)
    with driver_of("bigquery"):
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.cloud import bigquery
        from requests.exceptions import RequestException
    errors = (api.GoogleAPIError, auth.GoogleAuthError, RequestException, TimeoutError)
    try:
        client = bigquery.Client(project=project, location=location)
    except errors as error:
        raise _failure(address, error) from None
    driver = Driver(
        client,
        bigquery.QueryJobConfig.from_api_repr,
        bigquery.LoadJobConfig.from_api_repr,
        api.NotFound,
        api.Conflict,
        (api.ServerError, RequestException),
    )
    destination = BigQueryDestination(driver, project, dataset, location)
    try:
        yield destination
    except errors as error:
        raise _failure(address, error) from None
    finally:
        destination.close(errors)


def place(address: Address) -> tuple[str, str, str | None]:
    """The project, the dataset and the location, if it is given, that an address names.

    Raises:
        UsageError: It names none, names two, or has a user or an unknown parameter.
    """
    dataset = address.path or address.schema or ""
    if not _PROJECT.fullmatch(address.host) or not _DATASET.fullmatch(dataset) or address.port is not None:
        raise UsageError(f"{address} names no project and dataset.", next_step="Write bigquery://project/dataset.")
    if address.schema not in (None, dataset):
        raise UsageError(
            f"{address} and the schema name two datasets.", next_step="Leave out --schema, or write bigquery://project."
        )
    if address.user is not None or address.password is not None:
        raise UsageError(
            "bigquery:// takes no user and no password.",
            next_step="It uses the application default credentials: gcloud auth application-default login.",
        )
    unknown = [name for name in address.parameters if name != "location"]
    if unknown:
        raise UsageError(f"bigquery:// has no parameter {unknown[0]!r}.", next_step="There is: location.")
    return address.host, dataset, address.parameters.get("location")


def _failure(address: Address, error: Any) -> BulkExportError:
    """What an error means, by its code and reason; its text is not repeated, since it may quote a value."""
    code = getattr(error, "code", None)
    reasons = {entry.get("reason") for entry in getattr(error, "errors", None) or () if isinstance(entry, dict)}
    said = f"{type(error).__name__} {int(code)}" if isinstance(code, int) else type(error).__name__
    if _CONFLICT.search(str(error)):
        return ServiceFailing("Another load was faster.", kept=_UNCHANGED, next_step="Load again.")
    if type(error).__name__ in ("DefaultCredentialsError", "RefreshError") or code == 401:
        return ServiceRefused(
            f"{address} cannot be used without valid application default credentials ({said}).",
            kept=_UNCHANGED,
            next_step="Run: gcloud auth application-default login. Or name a key in GOOGLE_APPLICATION_CREDENTIALS.",
        )
    if code == 403 and not reasons & _BUSY:
        return ServiceRefused(
            f"{address} does not allow it ({said}).",
            kept=_UNCHANGED,
            next_step="Let an owner grant BigQuery Job User on the project and BigQuery Data Editor on the dataset,"
            " and check its quota.",
        )
    if code == 404:
        return UsageError(
            f"There is no {address}, or not at that location ({said}).",
            kept=_UNCHANGED,
            next_step="Make the dataset (bq mk --dataset), or check project, dataset and ?location=.",
        )
    if code == 400:
        return UsageError(
            f"{address} refuses the rows or the change of a table ({said}).",
            kept=_UNCHANGED,
            next_step="Look for a name of a column that BigQuery does not take, or a policy of yours that forbids it.",
        )
    return ServiceFailing(
        f"There is no connection to {address}, or it was lost ({said}).",
        kept=_UNCHANGED,
        next_step="Check the network; then load again.",
    )
