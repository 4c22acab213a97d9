"""`bulk-export export`."""

from __future__ import annotations

import os

from bulk_export.cli import option_types as p
from bulk_export.cli.runner import begin
from bulk_export.cli.streams import show_result
from bulk_export.core.process import configure_allocator


def export(
    endpoints: p.Endpoints = None,
    service: p.Service = None,
    api_version: p.ApiVersion = None,
    environment: p.Environment = None,
    base_url: p.BaseUrl = None,
    token_file: p.TokenFile = None,
    output: p.Output = None,
    format: p.Format = None,  # noqa: A002  # the name of the option
    compression: p.Compression = None,
    flatten: p.Flatten = False,
    page_size: p.PageSize = None,
    workers: p.Workers = None,
    retries: p.Retries = None,
    service_limit: p.ServiceLimit = None,
    ip_limit: p.IpLimit = None,
    min_interval: p.MinInterval = None,
    source_address: p.SourceAddress = None,
    budget: p.Budget = None,
    share: p.Share = None,
    updated_since: p.UpdatedSince = None,
    filter: p.Filter = None,  # noqa: A002  # the name of the option
    sort: p.Sort = None,
    between: p.Between = None,
    timezone: p.Timezone = None,
    overwrite: p.Overwrite = False,
    keep_pages: p.KeepPages = False,
    consistent: p.Consistent = False,
    gone: p.Gone = None,
    schema: p.Schema = None,
    drop_column: p.DropColumn = None,
    pseudonymise: p.Pseudonymise = None,
    pseudonym_key_file: p.PseudonymKeyFile = None,
    work_dir: p.WorkDir = None,
    allow_plain_http: p.AllowPlainHttp = False,
    max_wait: p.MaxWait = None,
    ca_file: p.CaFile = None,
    progress: p.Progress = None,
    log_format: p.LogFormat = None,
    debug: p.Debug = False,
    config: p.Config = None,
) -> None:
    """Extract endpoints into one directory, whole or filtered. Interrupted, the same command goes on."""
    line = {name: value for name, value in locals().items() if name != "config"}
    options, console, kind = begin("export", line, p.EXPORT, config)

    from bulk_export.pipelines.options import ExportOptions
    from bulk_export.progress import choose

    configure_allocator()
    observer = choose(kind, console)
    resolved = ExportOptions.of(options.pop("endpoints", ()), **options)

    from bulk_export.cli.signals import until_signalled
    from bulk_export.pipelines import export as pipeline

    summary = until_signalled(
        lambda stop: pipeline.export(resolved, observer, stop=stop), resolved.output, observer, console
    )
    show_result(os.fsencode(summary.output), console)
