"""The options of export, sync, replay and plan: type, default and help of each, declared once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, TypedDict

from bulk_export.core.model import INFER, LAX, SCHEMA_MODES, Limit, Service
from bulk_export.pipelines.choices import (
    Compression,
    CopyFormat,
    FileFormat,
    Gone,
    JournalCompression,
    Removed,
    SchemaMode,
)
from bulk_export.pipelines.declarations import Limits, Option, Privacy, Shown, Source, Trust, What, Where

PathText = str | os.PathLike[str]

LOCAL = "local"
DEFAULT_PAGE_SIZE = 300  # the service's advice
# The compressions of each format, the default first.
FORMATS = {"parquet": ("zstd", "snappy", "none"), "ndjson": ("none", "gzip", "zstd"), "csv": ("none", "gzip", "zstd")}
GONE = ("keep", "drop")
JOURNAL_COMPRESSIONS = ("lz4", "none")
COPY_FORMATS = ("delta", "parquet")
REMOVED = ("mark", "delete")

_SCHEMA_HELP = "Fields that are not described: kept in _extra, an error, or columns of their own."
_PAGE_SIZE_HELP = "Records per page, 1 to 3000."
# For `--page-size`: as many as the service answers well.
AUTO = "auto"


class ServiceArguments(TypedDict, total=False):
    """The description of the service."""

    service: Annotated[
        PathText | Service,
        What(
            "Service: built in, or described in TOML or OpenAPI.",
            metavar="npq|ecf|ect|FILE|URL",
            default="npq",
            trust=Trust.CONFIRMED,
        ),
    ]
    api_version: Annotated[str | None, What("Version of the API.", metavar="v3", default_text="v3")]


class AddressArguments(TypedDict, total=False):
    """The address of the service."""

    environment: Annotated[
        str | None,
        What("The bundled service, or DfE's test environment.", choices=(LOCAL, "sandbox"), trust=Trust.CONFIRMED),
    ]
    base_url: Annotated[str | None, What("Any other address of the service.", metavar="URL", trust=Trust.CONFIRMED)]


class TransportArguments(TypedDict, total=False):
    """The protection of requests on their way."""

    allow_plain_http: Annotated[bool, Option("Send the token unencrypted beyond this machine.", trust=Trust.CONFIRMED)]
    ca_file: Annotated[
        PathText | None,
        Option("Certificates of additional authorities to trust, in PEM.", metavar="FILE", trust=Trust.CONFIRMED),
    ]


class TokenArguments(TypedDict, total=False):
    """The token; on the command line only in a file, since other users can see a command line."""

    token: Annotated[str | None, Option("The token itself.", sources=Source.PYTHON)]
    token_file: Annotated[
        PathText | None,
        What("File with the token.", metavar="FILE", default_text="$BULK_EXPORT_TOKEN", trust=Trust.CONFIRMED),
    ]


class LimitArguments(TypedDict, total=False):
    """The limits of the service."""

    service_limit: Annotated[
        str | Limit | None,
        Limits("Requests to the service in total.", metavar="N/PERIOD", default_text="1000/5m"),
    ]
    ip_limit: Annotated[
        str | Limit | None, Limits("Requests from each address.", metavar="N/PERIOD", default_text="300/5m")
    ]


class SpeedArguments(TypedDict, total=False):
    """How fast requests are sent, and from where."""

    workers: Annotated[int | str, Limits("Maximum number of pages in flight.", metavar="N", default=8)]
    min_interval: Annotated[
        str | float | timedelta,
        Limits("Minimum time between two requests; 0 for none.", metavar="TIME", default="100ms"),
    ]
    source_address: Annotated[
        str | Sequence[str], Limits("Local address to send from; repeat for several.", metavar="IP")
    ]
    share: Annotated[str | float, Limits("Part of both limits to use.", metavar="PERCENT", default="100%")]


class PatienceArguments(TypedDict, total=False):
    """What to do while the service fails or asks to wait."""

    retries: Annotated[int | str, Limits("Additional attempts for a page that fails.", metavar="N", default=7)]
    max_wait: Annotated[
        str | float | timedelta,
        Limits("Longest wait to accept that the service announces (Retry-After).", metavar="TIME", default="15m"),
    ]


class BudgetArguments(TypedDict, total=False):
    """The store of sent requests."""

    budget: Annotated[
        str | None,
        Limits(
            "Where sent requests are recorded.", metavar="URL", default_text="a file of yours", trust=Trust.CONFIRMED
        ),
    ]


class FilterArguments(TypedDict, total=False):
    """Which records of the endpoints to ask for."""

    filter: Annotated[
        Sequence[str] | Mapping[str, str], What("Send filter[KEY]=VALUE; repeat for several.", metavar="KEY=VALUE")
    ]


class DailyWindowArguments(TypedDict, total=False):
    """At what time of day to send."""

    between: Annotated[str | None, Limits("Send only in this window each day, like 01:00-05:00.", metavar="FROM-TO")]
    timezone: Annotated[str | None, Limits("Time zone of --between, like Europe/London.", metavar="NAME")]


class PageSizeArguments(TypedDict, total=False):
    """The size of the pages of an export."""

    page_size: Annotated[
        int | str | None,
        Limits(f"{_PAGE_SIZE_HELP[:-1]}, or auto.", metavar="N|auto", default_text=str(DEFAULT_PAGE_SIZE)),
    ]


class ConsistencyArguments(TypedDict, total=False):
    """Whether to prove that nothing was missed."""

    consistent: Annotated[bool, What("Sweep again until two sweeps agree, so that no record that stayed is missed.")]


class FileArguments(TypedDict, total=False):
    """The directory or address of an export, and the files in it."""

    output: Annotated[
        PathText | None,
        Where(
            "Output directory, or an address in an object store: s3://, az://, abfss://, gs://.",
            metavar="DIR|URL",
            default_text="output/{service}-{version}-{UTC time}",
            trust=Trust.OWNER,
            short="-o",
        ),
    ]
    format: Annotated[
        FileFormat | Sequence[FileFormat],
        Where("Format of the files; repeat for several.", default="parquet", choices=tuple(FORMATS), short="-f"),
    ]
    compression: Annotated[
        Compression | None,
        Where(
            "parquet: zstd (default), snappy, none; ndjson and csv: none (default), gzip, zstd.",
            metavar="NAME",
            choices=("zstd", "snappy", "gzip", "none"),
        ),
    ]
    flatten: Annotated[bool, Where("Give NDJSON the same columns as Parquet.")]
    csv_bom: Annotated[bool, Where("Begin CSV files with a byte order mark, by which Excel knows UTF-8.")]
    csv_safe: Annotated[bool, Where("Put an apostrophe before text in CSV that spreadsheets take for a formula.")]
    overwrite: Annotated[bool, Where("Replace a finished export.", trust=Trust.OWNER)]
    work_dir: Annotated[
        PathText | None,
        Option(
            "Directory of the working state.",
            metavar="DIR",
            default_text=".bulk-export in the output; for a URL, your state directory",
            trust=Trust.OWNER,
        ),
    ]
    publish: Annotated[
        str | None,
        Where("Address in an object store that gets the export, too.", metavar="URL", trust=Trust.CONFIRMED),
    ]
    store_option: Annotated[
        str | Sequence[str],
        Option(
            "How objects are written: sse, sse-kms-key-id, sse-bucket-key, storage-class, tag.NAME; repeatable.",
            metavar="KEY=VALUE",
            trust=Trust.CONFIRMED,
        ),
    ]


class MonitoringArguments(TypedDict, total=False):
    """What other systems and people learn of a run."""

    metrics: Annotated[
        PathText | None,
        Shown("Numbers of the last run, as a text file for Prometheus.", metavar="FILE", trust=Trust.OWNER),
    ]
    lineage: Annotated[
        PathText | None,
        Shown(
            "OpenLineage events of the run, to a file or an HTTP backend.", metavar="FILE|URL", trust=Trust.CONFIRMED
        ),
    ]
    otel: Annotated[bool, Shown("Send spans of the run by OpenTelemetry, as OTEL_* variables say.")]
    with_report: Annotated[bool, Shown("Write report.html, for people to look at, into the output at the end.")]


class SchemaArguments(TypedDict, total=False):
    """The schema of an export."""

    schema: Annotated[SchemaMode, Option(_SCHEMA_HELP, default=LAX, choices=SCHEMA_MODES)]


class PrivacyArguments(TypedDict, total=False):
    """What to leave out or replace."""

    drop_column: Annotated[
        str | Sequence[str], Privacy("Leave out a field, like email or a.b; repeat for several.", metavar="NAME")
    ]
    pseudonymise: Annotated[
        str | Sequence[str], Privacy("Replace a field by a keyed hash; repeat for several.", metavar="NAME")
    ]
    pseudonym_key_file: Annotated[
        PathText | None, Privacy("File with the secret key of the pseudonyms.", metavar="FILE", trust=Trust.OWNER)
    ]


class ExportArguments(
    ServiceArguments,
    AddressArguments,
    TokenArguments,
    FileArguments,
    PageSizeArguments,
    SpeedArguments,
    LimitArguments,
    BudgetArguments,
    PatienceArguments,
    FilterArguments,
    DailyWindowArguments,
    SchemaArguments,
    PrivacyArguments,
    ConsistencyArguments,
    TransportArguments,
    MonitoringArguments,
    total=False,
):
    """The options of an export."""

    updated_since: Annotated[
        str | datetime | date | None,
        What("Only records changed since then: ISO 8601, with any offset.", metavar="TIME"),
    ]
    sort: Annotated[str | None, What("Another order than by creation; a leading - for descending.", metavar="KEY")]
    limit: Annotated[
        int | str | None, What("At most this many records of each endpoint: a sample.", metavar="N", short="-n")
    ]
    journal_compression: Annotated[
        JournalCompression,
        Option(
            "How pages that come uncompressed are kept meanwhile.",
            default=JOURNAL_COMPRESSIONS[0],
            choices=JOURNAL_COMPRESSIONS,
        ),
    ]
    keep_pages: Annotated[bool, Where("Keep the pages with the result, for `bulk-export replay`.")]
    gone: Annotated[
        Gone,
        What("Records that disappear during a consistent export.", default=GONE[0], choices=GONE, trust=Trust.OWNER),
    ]


class SyncArguments(
    ServiceArguments,
    AddressArguments,
    TokenArguments,
    SpeedArguments,
    LimitArguments,
    BudgetArguments,
    PatienceArguments,
    FilterArguments,
    DailyWindowArguments,
    PrivacyArguments,
    TransportArguments,
    MonitoringArguments,
    total=False,
):
    """The options of a copy that is kept current."""

    output: Annotated[
        PathText | None,
        Where(
            "Directory of the copy, or its address in an object store. Required.",
            metavar="DIR|URL",
            trust=Trust.OWNER,
            short="-o",
        ),
    ]
    format: Annotated[
        CopyFormat,
        Where(
            "Delta tables with their history, or one current file for each endpoint.",
            default="delta",
            choices=COPY_FORMATS,
            short="-f",
        ),
    ]
    page_size: Annotated[
        int | str | None,
        Limits(_PAGE_SIZE_HELP, metavar="N", default_text="300 for everything, 100 for changes"),
    ]
    schema: Annotated[SchemaMode, Option(_SCHEMA_HELP, default=INFER, choices=SCHEMA_MODES)]
    every: Annotated[str | float | timedelta | None, What("Keep polling, like 1h; once by default.", metavar="TIME")]
    full_every: Annotated[
        str | float | timedelta, What("Sweep everything again after this time.", metavar="TIME", default="7d")
    ]
    removed: Annotated[
        Removed,
        What(
            "Records that disappeared: _removed_at is set, or the row is deleted.",
            default="mark",
            choices=REMOVED,
            trust=Trust.OWNER,
        ),
    ]
    max_removed: Annotated[
        str | float,
        What(
            "Refuse more removals than this share of a table, and than 50.",
            metavar="PERCENT",
            default="10%",
            trust=Trust.OWNER,
        ),
    ]
    accept_removals: Annotated[bool, What("Accept, this once, removals that --max-removed refuses.", trust=Trust.OWNER)]
    compact: Annotated[bool, Where("Merge small files of the tables after each poll.")]
    vacuum: Annotated[
        str | float | timedelta | None,
        Where("Delete history older than this, at least 7d, after each poll.", metavar="TIME", trust=Trust.OWNER),
    ]
    accept_token: Annotated[bool, Option("Accept another token of the same provider.", trust=Trust.OWNER)]
    moved_to: Annotated[
        str | None, Option("New address of the service that was copied.", metavar="URL", trust=Trust.CONFIRMED)
    ]
    load: Annotated[
        str | None,
        Where(
            "Load the changes into this database after each poll, as load --to does.",
            metavar="URL",
            trust=Trust.CONFIRMED,
        ),
    ]


class ReplayArguments(FileArguments, SchemaArguments, PrivacyArguments, total=False):
    """The options of another output from kept pages."""

    service: Annotated[
        PathText | Service | None,
        What(
            "Description of the service that the pages came from.",
            metavar="npq|ecf|ect|FILE|URL",
            default_text="as in the archive",
            trust=Trust.CONFIRMED,
        ),
    ]
    api_version: Annotated[str | None, What("Version of the API.", metavar="v3", default_text="as in the archive")]
