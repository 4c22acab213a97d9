"""The options of export, sync, replay and plan: type, default and help of each, declared once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, TypedDict

from bulk_export.core.model import INFER, LAX, SCHEMA_MODES, Limit, Service
from bulk_export.pipelines.declarations import Option, Source, Trust

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


class ServiceArguments(TypedDict, total=False):
    """The description of the service."""

    service: Annotated[
        str | Service,
        Option(
            "Service: built in, or described in TOML or OpenAPI.",
            metavar="npq|ecf|ect|FILE|URL",
            default="npq",
            trust=Trust.CONFIRMED,
        ),
    ]
    api_version: Annotated[str | None, Option("Version of the API.", metavar="v3", default_text="v3")]


class AddressArguments(TypedDict, total=False):
    """The address of the service."""

    environment: Annotated[
        str | None,
        Option("The bundled service, or DfE's test environment.", choices=(LOCAL, "sandbox"), trust=Trust.CONFIRMED),
    ]
    base_url: Annotated[str | None, Option("Any other address of the service.", metavar="URL", trust=Trust.CONFIRMED)]


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
        Option("File with the token.", metavar="FILE", default_text="$BULK_EXPORT_TOKEN", trust=Trust.CONFIRMED),
    ]


class LimitArguments(TypedDict, total=False):
    """The limits of the service."""

    service_limit: Annotated[
        str | Limit | None,
        Option("Requests to the service in total.", metavar="N/PERIOD", default_text="1000/5m"),
    ]
    ip_limit: Annotated[
        str | Limit | None, Option("Requests from each address.", metavar="N/PERIOD", default_text="300/5m")
    ]


class SpeedArguments(TypedDict, total=False):
    """How fast requests are sent, and from where."""

    workers: Annotated[int | str, Option("Maximum number of pages in flight.", metavar="N", default=8)]
    min_interval: Annotated[
        str | float, Option("Minimum time between two requests; 0 for none.", metavar="TIME", default="100ms")
    ]
    source_address: Annotated[
        str | Sequence[str], Option("Local address to send from; repeat for several.", metavar="IP")
    ]
    share: Annotated[str | float, Option("Part of both limits to use.", metavar="PERCENT", default="100%")]


class PatienceArguments(TypedDict, total=False):
    """What to do while the service fails or asks to wait."""

    retries: Annotated[int | str, Option("Additional attempts for a page that fails.", metavar="N", default=7)]
    max_wait: Annotated[
        str | float,
        Option("Longest wait to accept that the service announces (Retry-After).", metavar="TIME", default="15m"),
    ]


class BudgetArguments(TypedDict, total=False):
    """The store of sent requests."""

    budget: Annotated[
        str | None,
        Option(
            "Where sent requests are recorded.", metavar="URL", default_text="a file of yours", trust=Trust.CONFIRMED
        ),
    ]


class FilterArguments(TypedDict, total=False):
    """Which records of the endpoints to ask for."""

    filter: Annotated[
        Sequence[str] | Mapping[str, str], Option("Send filter[KEY]=VALUE; repeat for several.", metavar="KEY=VALUE")
    ]


class DailyWindowArguments(TypedDict, total=False):
    """At what time of day to send."""

    between: Annotated[str | None, Option("Send only in this window each day, like 01:00-05:00.", metavar="FROM-TO")]
    timezone: Annotated[str | None, Option("Time zone of --between, like Europe/London.", metavar="NAME")]


class PageSizeArguments(TypedDict, total=False):
    """The size of the pages of an export."""

    page_size: Annotated[int | str | None, Option(_PAGE_SIZE_HELP, metavar="N", default_text=str(DEFAULT_PAGE_SIZE))]


class ConsistencyArguments(TypedDict, total=False):
    """Whether to prove that nothing was missed."""

    consistent: Annotated[bool, Option("Sweep again until two sweeps agree, so that no record that stayed is missed.")]


class FileArguments(TypedDict, total=False):
    """The directory or address of an export, and the files in it."""

    output: Annotated[
        PathText | None,
        Option(
            "Output directory, or an address in an object store: s3://, az://, abfss://, gs://.",
            metavar="DIR|URL",
            default_text="output/{service}-{version}-{UTC time}",
            trust=Trust.OWNER,
            short="-o",
        ),
    ]
    format: Annotated[
        str | Sequence[str],
        Option("Format of the files; repeat for several.", default="parquet", choices=tuple(FORMATS), short="-f"),
    ]
    compression: Annotated[
        str | None,
        Option(
            "parquet: zstd (default), snappy, none; ndjson and csv: none (default), gzip, zstd.",
            metavar="NAME",
            choices=("zstd", "snappy", "gzip", "none"),
        ),
    ]
    flatten: Annotated[bool, Option("Give NDJSON the same columns as Parquet.")]
    csv_bom: Annotated[bool, Option("Begin CSV files with a byte order mark, by which Excel knows UTF-8.")]
    csv_safe: Annotated[bool, Option("Put an apostrophe before text in CSV that spreadsheets take for a formula.")]
    overwrite: Annotated[bool, Option("Replace a finished export.", trust=Trust.OWNER)]
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
        Option("Address in an object store that gets the export, too.", metavar="URL", trust=Trust.CONFIRMED),
    ]
    store_option: Annotated[
        str | Sequence[str],
        Option(
            "How objects are written: sse, sse-kms-key-id, sse-bucket-key, storage-class, tag.NAME; repeatable.",
            metavar="KEY=VALUE",
            trust=Trust.CONFIRMED,
        ),
    ]


class MetricsArguments(TypedDict, total=False):
    """Numbers for monitoring."""

    metrics: Annotated[
        PathText | None,
        Option("Numbers of the last run, as a text file for Prometheus.", metavar="FILE", trust=Trust.OWNER),
    ]


class SchemaArguments(TypedDict, total=False):
    """The schema of an export."""

    schema: Annotated[str, Option(_SCHEMA_HELP, default=LAX, choices=SCHEMA_MODES)]


class PrivacyArguments(TypedDict, total=False):
    """What to leave out or replace."""

    drop_column: Annotated[
        str | Sequence[str], Option("Leave out a field, like email or a.b; repeat for several.", metavar="NAME")
    ]
    pseudonymise: Annotated[
        str | Sequence[str], Option("Replace a field by a keyed hash; repeat for several.", metavar="NAME")
    ]
    pseudonym_key_file: Annotated[
        PathText | None, Option("File with the secret key of the pseudonyms.", metavar="FILE", trust=Trust.OWNER)
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
    MetricsArguments,
    total=False,
):
    """The options of an export."""

    updated_since: Annotated[
        str | datetime | date | None,
        Option("Only records changed since then: ISO 8601, with any offset.", metavar="TIME"),
    ]
    sort: Annotated[str | None, Option("Another order than by creation; a leading - for descending.", metavar="KEY")]
    limit: Annotated[
        int | str | None, Option("At most this many records of each endpoint: a sample.", metavar="N", short="-n")
    ]
    journal_compression: Annotated[
        str,
        Option(
            "How pages that come uncompressed are kept meanwhile.",
            default=JOURNAL_COMPRESSIONS[0],
            choices=JOURNAL_COMPRESSIONS,
        ),
    ]
    keep_pages: Annotated[bool, Option("Keep the pages with the result, for `bulk-export replay`.")]
    gone: Annotated[
        str,
        Option("Records that disappear during a consistent export.", default=GONE[0], choices=GONE, trust=Trust.OWNER),
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
    MetricsArguments,
    total=False,
):
    """The options of a copy that is kept current."""

    output: Annotated[
        PathText | None,
        Option(
            "Directory of the copy, or its address in an object store. Required.",
            metavar="DIR|URL",
            trust=Trust.OWNER,
            short="-o",
        ),
    ]
    format: Annotated[
        str,
        Option(
            "Delta tables with their history, or one current file for each endpoint.",
            default="delta",
            choices=COPY_FORMATS,
            short="-f",
        ),
    ]
    page_size: Annotated[
        int | str | None,
        Option(_PAGE_SIZE_HELP, metavar="N", default_text="300 for everything, 100 for changes"),
    ]
    schema: Annotated[str, Option(_SCHEMA_HELP, default=INFER, choices=SCHEMA_MODES)]
    every: Annotated[str | float | timedelta | None, Option("Keep polling, like 1h; once by default.", metavar="TIME")]
    full_every: Annotated[
        str | float | timedelta, Option("Sweep everything again after this time.", metavar="TIME", default="7d")
    ]
    removed: Annotated[
        str,
        Option(
            "Records that disappeared: _removed_at is set, or the row is deleted.",
            default="mark",
            choices=REMOVED,
            trust=Trust.OWNER,
        ),
    ]
    max_removed: Annotated[
        str | float,
        Option(
            "Refuse more removals than this share of a table, and than 50.",
            metavar="PERCENT",
            default="10%",
            trust=Trust.OWNER,
        ),
    ]
    accept_removals: Annotated[
        bool, Option("Accept, this once, removals that --max-removed refuses.", trust=Trust.OWNER)
    ]
    compact: Annotated[bool, Option("Merge small files of the tables after each poll.")]
    vacuum: Annotated[
        str | float | timedelta | None,
        Option("Delete history older than this, at least 7d, after each poll.", metavar="TIME", trust=Trust.OWNER),
    ]
    accept_token: Annotated[bool, Option("Accept another token of the same provider.", trust=Trust.OWNER)]
    moved_to: Annotated[
        str | None, Option("New address of the service that was copied.", metavar="URL", trust=Trust.CONFIRMED)
    ]
    load: Annotated[
        str | None,
        Option(
            "Load the changes into this database after each poll, as load --to does.",
            metavar="URL",
            trust=Trust.CONFIRMED,
        ),
    ]


class ReplayArguments(FileArguments, SchemaArguments, PrivacyArguments, total=False):
    """The options of another output from kept pages."""

    service: Annotated[
        str | Service | None,
        Option(
            "Description of the service that the pages came from.",
            metavar="npq|ecf|ect|FILE|URL",
            default_text="as in the archive",
            trust=Trust.CONFIRMED,
        ),
    ]
    api_version: Annotated[str | None, Option("Version of the API.", metavar="v3", default_text="as in the archive")]


class PlanArguments(
    ServiceArguments,
    AddressArguments,
    PageSizeArguments,
    SpeedArguments,
    LimitArguments,
    ConsistencyArguments,
    total=False,
):
    """The options of an estimate."""

    records: Annotated[
        Sequence[str],
        Option("Number of records, for all endpoints; repeat for each.", metavar="[ENDPOINT=]N"),
    ]
    like: Annotated[PathText | None, Option("Take the numbers of records from an earlier export.", metavar="DIR|URL")]
    sync: Annotated[bool, Option("Estimate `sync` instead: a full sync, and a poll for changes.")]
    changed: Annotated[
        Sequence[str],
        Option("With --sync: number of records that change between two polls.", metavar="[ENDPOINT=]N"),
    ]
    latency: Annotated[str, Option("Time from a request to its response.", metavar="TIME", default="500ms")]
