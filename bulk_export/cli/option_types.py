"""The options of the commands, each in one place. None means: not given on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bulk_export.cli.config import Arity
from bulk_export.errors import UsageError


def _one_of(*words: str) -> Callable[[str], list[str]]:
    """Completion in a shell from fixed words."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def _endpoints(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completion of endpoints, of the service and version that the line names so far."""
    from bulk_export.services.catalogue import built_in_services, load_service

    service, version = ctx.params.get("service") or "npq", ctx.params.get("api_version")
    try:
        described = load_service(service, version) if service in built_in_services() else ()
    except UsageError:
        return []
    return [endpoint.name for endpoint in described if endpoint.name.startswith(incomplete)]


def _services(incomplete: str) -> list[str]:
    from bulk_export.services.catalogue import built_in_services

    return [name for name in built_in_services() if name.startswith(incomplete)]


Endpoints = Annotated[
    list[str] | None,
    typer.Argument(metavar="ENDPOINT", help="Which endpoints; all by default.", autocompletion=_endpoints),
]
Service = Annotated[
    str | None,
    typer.Option(
        "--service",
        metavar="npq|ecf|ect|FILE|URL",
        help="Which service: built in, or described in TOML or OpenAPI. (npq)",
        autocompletion=_services,
    ),
]
ApiVersion = Annotated[str | None, typer.Option("--api-version", metavar="v3", help="Which version. (v3)")]
Environment = Annotated[
    str | None,
    typer.Option(
        "--environment",
        metavar="local|sandbox",
        autocompletion=_one_of("local", "sandbox"),
        help="The bundled service, or DfE's test environment.",
    ),
]
BaseUrl = Annotated[str | None, typer.Option("--base-url", metavar="URL", help="Any other address of the service.")]
TokenFile = Annotated[
    str | None, typer.Option("--token-file", metavar="FILE", help="Holds the token; else BULK_EXPORT_TOKEN does.")
]
Output = Annotated[
    str | None, typer.Option("--output", metavar="DIR", help="Where to. (output/{service}-{version}-{UTC time})")
]
Format = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="parquet|ndjson",
        autocompletion=_one_of("parquet", "ndjson"),
        help="May be given twice. (parquet)",
    ),
]
Compression = Annotated[
    str | None,
    typer.Option(
        "--compression",
        metavar="NAME",
        autocompletion=_one_of("zstd", "snappy", "gzip", "none"),
        help="parquet: zstd (default), snappy, none; ndjson: none (default), gzip, zstd.",
    ),
]
Flatten = Annotated[bool, typer.Option("--flatten", help="NDJSON with the same columns as Parquet.")]
PageSize = Annotated[str | None, typer.Option("--page-size", metavar="N", help="Records a page, 1 to 3000. (300)")]
Workers = Annotated[str | None, typer.Option("--workers", metavar="N", help="Pages in flight at most. (8)")]
Retries = Annotated[
    str | None, typer.Option("--retries", metavar="N", help="Further attempts for a page that fails. (7)")
]
ServiceLimit = Annotated[
    str | None, typer.Option("--service-limit", metavar="N/PERIOD", help="Requests in all. (1000/5m)")
]
IpLimit = Annotated[
    str | None, typer.Option("--ip-limit", metavar="N/PERIOD", help="Requests from each address. (300/5m)")
]
MinInterval = Annotated[
    str | None, typer.Option("--min-interval", metavar="TIME", help="Between two requests; 0 for none. (100ms)")
]
SourceAddress = Annotated[
    list[str] | None,
    typer.Option("--source-address", metavar="IP", help="Local address to send from; repeat for several."),
]
Budget = Annotated[
    str | None, typer.Option("--budget", metavar="URL", help="Where spent requests are remembered. (a file of yours)")
]
Share = Annotated[str | None, typer.Option("--share", metavar="PERCENT", help="Part of both limits to use. (100%)")]
UpdatedSince = Annotated[
    str | None, typer.Option("--updated-since", metavar="TIME", help="ISO 8601, any offset: changes only.")
]
Filter = Annotated[
    list[str] | None, typer.Option("--filter", metavar="KEY=VALUE", help="Sent as filter[KEY]=VALUE; repeat.")
]
Sort = Annotated[
    str | None, typer.Option("--sort", metavar="KEY", help="Another order than by creation; - for descending.")
]
Between = Annotated[
    str | None,
    typer.Option("--between", metavar="FROM-TO", help="Send only in this window each day, like 01:00-05:00."),
]
Timezone = Annotated[str | None, typer.Option("--timezone", metavar="NAME", help="Of --between, like Europe/London.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a finished export.")]
KeepPages = Annotated[
    bool, typer.Option("--keep-pages", help="Keep the pages beside the result, for `bulk-export replay`.")
]
Consistent = Annotated[
    bool, typer.Option("--consistent", help="Sweep again until two sweeps agree: nothing that stayed is missed.")
]
Schema = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="lax|strict|infer",
        help="What is not described: kept in _extra, an error, or columns of its own. (lax)",
    ),
]
Gone = Annotated[
    str | None,
    typer.Option(
        "--gone",
        metavar="keep|drop",
        autocompletion=_one_of("keep", "drop"),
        help="What vanished during a consistent export. (keep)",
    ),
]
DropColumn = Annotated[
    list[str] | None,
    typer.Option("--drop-column", metavar="NAME", help="Leave out a field, like email or a.b; repeat."),
]
Pseudonymise = Annotated[
    list[str] | None,
    typer.Option("--pseudonymise", metavar="NAME", help="Replace a field by a keyed hash; repeat."),
]
PseudonymKeyFile = Annotated[
    str | None, typer.Option("--pseudonym-key-file", metavar="FILE", help="Holds the secret key of the pseudonyms.")
]
WorkDir = Annotated[
    str | None,
    typer.Option("--work-dir", metavar="DIR", help="Where the working state lies. (.bulk-export in the output)"),
]
CopyOutput = Annotated[str | None, typer.Option("--output", metavar="DIR", help="Where the copy is. Required.")]
CopyPageSize = Annotated[
    str | None, typer.Option("--page-size", metavar="N", help="Records a page. (300 for everything, 100 for changes)")
]
CopySchema = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="lax|strict|infer",
        help="What is not described: kept in _extra, an error, or columns of its own. (infer)",
    ),
]
CopyFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="delta|parquet",
        autocompletion=_one_of("delta", "parquet"),
        help="Delta tables with their history, or one current file for each endpoint. (delta)",
    ),
]
FullEvery = Annotated[
    str | None, typer.Option("--full-every", metavar="TIME", help="Sweep everything again after so long. (7d)")
]
Removed = Annotated[
    str | None,
    typer.Option(
        "--removed",
        metavar="mark|delete",
        autocompletion=_one_of("mark", "delete"),
        help="What becomes of records that went away: _removed_at is set, or the row goes. (mark)",
    ),
]
Compact = Annotated[bool, typer.Option("--compact", help="Put small files of the tables together after each poll.")]
Vacuum = Annotated[
    str | None,
    typer.Option("--vacuum", metavar="TIME", help="Give up history older than this, 7d at least, after each poll."),
]
AcceptToken = Annotated[bool, typer.Option("--accept-token", help="Go on with another token of the same provider.")]
MaxRemoved = Annotated[
    str | None,
    typer.Option(
        "--max-removed",
        metavar="PERCENT",
        help="More removals than this share of a table, and than 50, are refused. (10%)",
    ),
]
AcceptRemovals = Annotated[
    bool, typer.Option("--accept-removals", help="Take in, this once, removals that --max-removed refuses.")
]
MovedTo = Annotated[
    str | None, typer.Option("--moved-to", metavar="URL", help="The new address of the service that was copied.")
]
RepeatEvery = Annotated[
    str | None, typer.Option("--every", metavar="TIME", help="Keep polling, like 1h; once by default.")
]
AllowPlainHttp = Annotated[
    bool, typer.Option("--allow-plain-http", help="Send the token unencrypted beyond this machine.")
]
Progress = Annotated[
    str | None,
    typer.Option(
        "--progress",
        metavar="auto|rich|plain|none",
        autocompletion=_one_of("auto", "rich", "plain", "none"),
        help="On standard error. (auto)",
    ),
]
LogFormat = Annotated[
    str | None,
    typer.Option(
        "--log-format", metavar="text|json", autocompletion=_one_of("text", "json"), help="Of standard error. (text)"
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks; never the token.")]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Options in TOML. (bulk-export.toml, if there is one)")
]
MaxWait = Annotated[
    str | None,
    typer.Option(
        "--max-wait", metavar="TIME", help="Longest wait announced by the service (Retry-After) to sit out. (15m)"
    ),
]
CaFile = Annotated[
    str | None,
    typer.Option("--ca-file", metavar="FILE", help="Certificates of further authorities to trust, in PEM."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]

CONNECTION = {
    "service": Arity.ONE,
    "api_version": Arity.ONE,
}
COST = {
    "page_size": Arity.ONE,
    "workers": Arity.ONE,
    "service_limit": Arity.ONE,
    "ip_limit": Arity.ONE,
    "min_interval": Arity.ONE,
    "source_address": Arity.MANY,
    "share": Arity.ONE,
}
CONTENT = {
    "output": Arity.ONE,
    "format": Arity.MANY,
    "compression": Arity.ONE,
    "flatten": Arity.NOTHING,
    "overwrite": Arity.NOTHING,
    "drop_column": Arity.MANY,
    "pseudonymise": Arity.MANY,
    "pseudonym_key_file": Arity.ONE,
    "work_dir": Arity.ONE,
}
OUTPUT = {"progress": Arity.ONE, "log_format": Arity.ONE, "debug": Arity.NOTHING}
EXPORT = {
    **CONNECTION,
    **COST,
    **CONTENT,
    **OUTPUT,
    "endpoints": Arity.MANY,
    "environment": Arity.ONE,
    "base_url": Arity.ONE,
    "retries": Arity.ONE,
    "token_file": Arity.ONE,
    "budget": Arity.ONE,
    "updated_since": Arity.ONE,
    "filter": Arity.MANY,
    "sort": Arity.ONE,
    "keep_pages": Arity.NOTHING,
    "consistent": Arity.NOTHING,
    "gone": Arity.ONE,
    "schema": Arity.ONE,
    "between": Arity.ONE,
    "timezone": Arity.ONE,
    "allow_plain_http": Arity.NOTHING,
    "max_wait": Arity.ONE,
    "ca_file": Arity.ONE,
}
PLAN = {
    **CONNECTION,
    "environment": Arity.ONE,
    "base_url": Arity.ONE,
    **COST,
    **OUTPUT,
    "endpoints": Arity.MANY,
    "records": Arity.MANY,
    "like": Arity.ONE,
    "sync": Arity.NOTHING,
    "changed": Arity.MANY,
    "consistent": Arity.NOTHING,
    "latency": Arity.ONE,
    "json": Arity.NOTHING,
}
# A copy says itself from when on it wants what changed, and in which form it is kept.
_ONLY_EXPORTED = (
    "updated_since",
    "sort",
    "keep_pages",
    "consistent",
    "gone",
    "compression",
    "flatten",
    "overwrite",
    "work_dir",
)
SYNC = {
    **{name: takes for name, takes in EXPORT.items() if name not in _ONLY_EXPORTED},
    "format": Arity.ONE,
    "full_every": Arity.ONE,
    "removed": Arity.ONE,
    "compact": Arity.NOTHING,
    "vacuum": Arity.ONE,
    "accept_token": Arity.NOTHING,
    "every": Arity.ONE,
    "max_removed": Arity.ONE,
    "accept_removals": Arity.NOTHING,
    "moved_to": Arity.ONE,
}
REPLAY = {**CONNECTION, **CONTENT, **OUTPUT, "endpoints": Arity.MANY, "schema": Arity.ONE}
BUDGET = {**OUTPUT, "budget": Arity.ONE, "json": Arity.NOTHING}
ENDPOINTS = {
    **CONNECTION,
    **OUTPUT,
    "endpoints": Arity.MANY,
    "environment": Arity.ONE,
    "base_url": Arity.ONE,
    "check": Arity.NOTHING,
    "json": Arity.NOTHING,
    "arrow_schema": Arity.NOTHING,
    "allow_plain_http": Arity.NOTHING,
    "ca_file": Arity.ONE,
}
DESCRIBE = {**OUTPUT, "name": Arity.ONE, "allow_plain_http": Arity.NOTHING, "ca_file": Arity.ONE}
CHECK = {"log_format": Arity.ONE, "debug": Arity.NOTHING, "json": Arity.NOTHING}
EVERY = tuple({**EXPORT, **SYNC, **PLAN, **BUDGET, **ENDPOINTS, **DESCRIBE})
COMMANDS = (
    "export",
    "sync",
    "replay",
    "plan",
    "verify",
    "check",
    "budget",
    "endpoints",
    "describe",
    "trust",
    "local-service",
)
