"""Lineage of a run as OpenLineage events (`--lineage`): START, and then COMPLETE, FAIL or ABORT.

The lists of the service are the inputs, and the files or tables of each endpoint an output, with its columns, rows and
bytes. Events go to a file, one JSON object a line, or to an HTTP backend. An event that cannot be delivered is a
warning: no export fails for it.
"""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from bulk_export.core.files import local_failures
from bulk_export.core.version import __version__
from bulk_export.errors import BulkExportError, Interrupted, UsageError
from bulk_export.pipelines.connection import service_name
from bulk_export.pipelines.options import ExportOptions
from bulk_export.progress.observer import ExportSummary
from bulk_export.progress.summary import sample_text
from bulk_export.transform.decode import Decoder

_NAMESPACE = "bulk-export"
_PRODUCER = f"urn:bulk-export:{__version__}"
# Seconds for an HTTP backend to take an event, and how often it is sent once more.
_TIMEOUT = 5.0
_RETRIES = 1


@dataclass(frozen=True, slots=True)
class Dataset:
    """A list of the service, or what became of it.

    Attributes:
        namespace: Where it is: the address of the service, `file`, or the address of a bucket.
        name: Its name there.
        columns: Names and types, if they are known.
        rows: How many rows were written; None for an input.
        size: How many bytes were written; None if that is not known.
        files: How many files were written; None if that is not known.
        description: What is worth knowing of it, in a sentence; empty for none.
    """

    namespace: str
    name: str
    columns: Sequence[tuple[str, str]] = ()
    rows: int | None = None
    size: int | None = None
    files: int | None = None
    description: str = ""


Outputs = Callable[[Sequence[Dataset]], None]


@asynccontextmanager
async def recorded(
    target: Path | str | None, job: str, inputs: Sequence[Dataset], warned: Callable[[str], None]
) -> AsyncIterator[Outputs]:
    """Report what runs inside: that it starts, and how it ends.

    Args:
        target: The file, or the address of the backend; None for no events.
        job: The name of the job: `export.npq`.
        inputs: What is read.
        warned: Is told that an event could not be delivered.

    Yields:
        What takes the outputs of a success.

    Raises:
        UsageError: The package for it is not installed.
        LocalFailure: The file cannot be written. Nothing has run.
    """
    outputs: list[Dataset] = []
    if target is None:
        yield outputs.extend
        return
    events = await anyio.to_thread.run_sync(functools.partial(_Events, target, job, inputs))

    async def send(state: str, error: BulkExportError | None = None) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(events.send, state, tuple(outputs), error)
            except _NotDelivered as failure:
                warned(f"The lineage event {state} was not delivered: {failure}.")

    await send("START")
    try:
        yield outputs.extend
    except (Interrupted, anyio.get_cancelled_exc_class()):
        await send("ABORT")
        raise
    except BulkExportError as error:
        await send("FAIL", error)
        raise
    except BaseException:
        await send("FAIL")
        raise
    await send("COMPLETE")


def export_inputs(options: ExportOptions) -> list[Dataset]:
    """The lists that an export reads."""
    return [Dataset(service_name(options), endpoint.name) for endpoint in options.endpoints]


def export_outputs(options: ExportOptions, summary: ExportSummary) -> list[Dataset]:
    """What an export wrote: for each endpoint the files that begin with its name."""
    namespace, folder = place_of(summary.output)
    columns = {} if options.schema == "infer" else {each.name: _columns(options, each) for each in options.endpoints}
    return [
        Dataset(
            namespace,
            f"{folder}/{endpoint.name}",
            columns.get(endpoint.name, ()),
            rows=endpoint.records,
            size=endpoint.bytes,
            files=endpoint.files,
            description="" if summary.sample is None else sample_text(summary.sample),
        )
        for endpoint in summary.endpoints
    ]


def place_of(output: Path | str) -> tuple[str, str]:
    """The namespace and the name of a directory, as OpenLineage names them."""
    if isinstance(output, Path):
        return "file", str(output.absolute())
    parts = urlsplit(output)
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")


def _columns(options: ExportOptions, endpoint: Any) -> list[tuple[str, str]]:
    schema = Decoder(endpoint, columns=True, lines=None, redaction=options.redaction).schema
    return [(column.name, str(column.type)) for column in schema]


class _NotDelivered(Exception):
    """An event did not reach its backend."""


class _Events:
    """Makes the events of one run, and delivers them. Blocking."""

    def __init__(self, target: Path | str, job: str, inputs: Sequence[Dataset]) -> None:
        try:
            from openlineage.client import event_v2, facet_v2
            from openlineage.client.transport import file, http
        except ImportError:
            raise UsageError(
                "--lineage needs the package of OpenLineage.", next_step="Run: pip install 'bulk-export[lineage]'"
            ) from None
        self._events, self._facets = event_v2, facet_v2
        self._inputs = [event_v2.InputDataset(dataset.namespace, dataset.name) for dataset in inputs]
        environ = os.environ
        self._job = event_v2.Job(environ.get("OPENLINEAGE_NAMESPACE") or _NAMESPACE, job)
        self._run_id = str(uuid.uuid4())
        self._parent = _parent_of(environ)
        if isinstance(target, Path):
            with local_failures(
                f"Writing the lineage to {target}",
                kept="Nothing was requested.",
                next_step="Make its directory or repair access to it, or name another file with --lineage.",
            ):
                target.touch(mode=0o600)
            self._transport: Any = file.FileTransport(file.FileConfig(str(target), append=True))
        else:
            key = environ.get("OPENLINEAGE_API_KEY")
            auth = http.ApiKeyTokenProvider({"api_key": key}) if key else http.TokenProvider({})
            retry = {
                "total": _RETRIES,
                "backoff_factor": 0.3,
                "status_forcelist": [502, 503, 504],
                "allowed_methods": ["POST"],
            }
            config = http.HttpConfig(target, timeout=_TIMEOUT, auth=auth, retry=retry)
            self._transport = http.HttpTransport(config)

    def send(self, state: str, outputs: Sequence[Dataset], error: BulkExportError | None) -> None:
        """Deliver one event. Raises _NotDelivered."""
        facets: dict[str, Any] = {}
        if self._parent is not None:
            namespace, name, run = self._parent
            parent = self._facets.parent_run
            facets["parent"] = parent.ParentRunFacet(parent.Run(run), parent.Job(namespace, name))
        if error is not None:
            failed = self._facets.error_message_run
            facets["errorMessage"] = failed.ErrorMessageRunFacet(error.what, "python")
        event = self._events.RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            producer=_PRODUCER,
            run=self._events.Run(self._run_id, facets),
            job=self._job,
            inputs=self._inputs,
            outputs=[self._output(dataset) for dataset in outputs],
            eventType=self._events.RunState[state],
        )
        try:
            self._transport.emit(event)
        except Exception as failure:  # noqa: BLE001 - whatever the library raises, the run goes on
            raise _NotDelivered(_reason(failure)) from None

    def _output(self, dataset: Dataset) -> Any:
        statistics = self._facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
        facets: dict[str, Any] = {}
        if dataset.columns:
            schema = self._facets.schema_dataset
            fields = [schema.SchemaDatasetFacetFields(name, type=kind) for name, kind in dataset.columns]
            facets["schema"] = schema.SchemaDatasetFacet(fields=fields)
        if dataset.description:
            facets["documentation"] = self._facets.documentation_dataset.DocumentationDatasetFacet(dataset.description)
        written: dict[str, Any] = {"outputStatistics": statistics(dataset.rows, dataset.size, dataset.files)}
        return self._events.OutputDataset(dataset.namespace, dataset.name, facets=facets, outputFacets=written)


def _parent_of(environ: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Namespace, name and run of the job that started this one, as schedulers name it in OPENLINEAGE_PARENT_ID."""
    parts = environ.get("OPENLINEAGE_PARENT_ID", "").split("/")
    return (parts[0], "/".join(parts[1:-1]), parts[-1]) if len(parts) >= 3 else None


def _reason(failure: Exception) -> str:
    """One line that says what went wrong, without the body of a response."""
    status = getattr(getattr(failure, "response", None), "status_code", None)
    return f"status {status}" if status is not None else type(failure).__name__
