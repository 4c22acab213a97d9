"""A first look at an endpoint: the first records that it lists, by one request."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import pyarrow as pa

from bulk_export.core.kernel_library import check_decoder
from bulk_export.extract.dispatcher import Dispatcher
from bulk_export.extract.page_fetcher import FetchedPage, PageReceiver
from bulk_export.extract.rate_limit.published_limits import PublishedLimit, published_limits
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.inspection_arguments import HeadArguments
from bulk_export.pipelines.option_parsing import LARGEST_PAGE, count_of
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.session import open_session
from bulk_export.pipelines.tuning import Tuning, body_cap
from bulk_export.progress.observer import Observer
from bulk_export.transform.decode import Decoder


def head_options(
    endpoint: str, *, environ: Mapping[str, str] | None = None, **options: Unpack[HeadArguments]
) -> ExportOptions:
    """Check the options of a first look, and complete them to those of an export with one page.

    Args:
        endpoint: The endpoint.
        environ: Environment variables to read the token from; by default those of the process.
        **options: The options of `bulk-export head` with underscores.

    Returns:
        The options, with the number of records as `page_size`.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
    """
    given: dict[str, Any] = dict(with_defaults(HeadArguments, options))
    records = count_of(given.pop("limit"), "--limit", largest=LARGEST_PAGE)
    return ExportOptions.of([endpoint], environ=environ, page_size=records, **given)


@dataclass(frozen=True, slots=True)
class FirstPage:
    """The first records of an endpoint, the Date header of the response, unparsed, and the limits that it announces."""

    records: pa.RecordBatch
    date: str | None
    limits: tuple[PublishedLimit, ...] = ()


class _FirstPage(PageReceiver):
    """Keeps the first page that arrives, and lets no other be requested."""

    dispatcher: Dispatcher

    def __init__(self) -> None:
        self.body = b""
        self.date: str | None = None
        self.limits: tuple[PublishedLimit, ...] = ()

    def response_dated(self, date: str | None) -> None:
        """Keep the clock of the service."""
        self.date = date

    def headers_arrived(self, headers: Mapping[str, str]) -> None:
        """Keep the limits that the service announces."""
        self.limits = published_limits(headers, time.time())

    async def receive(self, pages: Iterable[FetchedPage]) -> None:
        for page in pages:
            self.body = page.body.text
            break
        self.dispatcher.stop_dispatching()


async def first_records(
    options: ExportOptions, observer: Observer | None = None, tuning: Tuning | None = None
) -> pa.RecordBatch:
    """Return the first records of the one endpoint in `options`, as many as its page size says.

    It takes one request under the rate limits, and more only if that fails.

    Args:
        options: The endpoint, and how many records as `page_size`.
        observer: Is notified of warnings.
        tuning: Timeouts, backoff and clocks.

    Returns:
        The records, with the columns of Parquet.

    Raises:
        BulkExportError: Anything that can go wrong with a request; see `bulk_export.errors`.
    """
    return (await first_page(options, observer, tuning)).records


async def first_page(
    options: ExportOptions, observer: Observer | None = None, tuning: Tuning | None = None
) -> FirstPage:
    """Return what `first_records` does, and the clock of the service."""
    observer, tuning = observer or Observer(), tuning or Tuning()
    check_decoder(observer.warned)
    (endpoint,) = options.endpoints
    receiver = _FirstPage()
    async with open_session(options, observer, tuning, body_cap=body_cap(options.page_size)) as session:
        sweep = session.first_sweep(endpoint)
        sweep.horizon = 1
        receiver.dispatcher = session.dispatcher([sweep], receiver)
        receiver.dispatcher.close()
        await receiver.dispatcher.run()
    decoder = Decoder(endpoint, columns=True, lines=None, redaction=options.redaction)
    batch = decoder.decode([receiver.body]).batch
    if batch is None:
        raise AssertionError("a decoder of columns makes a batch")
    return FirstPage(batch.slice(0, options.page_size), receiver.date, receiver.limits)
