"""`bulk-export sync`."""

from __future__ import annotations

from bulk_export.cli import option_types as p
from bulk_export.cli.runner import begin
from bulk_export.cli.streams import show_result
from bulk_export.core.process import configure_allocator


def sync(
    endpoints: p.Endpoints = None,
    service: p.Service = None,
    api_version: p.ApiVersion = None,
    environment: p.Environment = None,
    base_url: p.BaseUrl = None,
    token_file: p.TokenFile = None,
    output: p.CopyOutput = None,
    format: p.CopyFormat = None,  # noqa: A002  # the name of the option
    full_every: p.FullEvery = None,
    removed: p.Removed = None,
    every: p.RepeatEvery = None,
    between: p.Between = None,
    timezone: p.Timezone = None,
    compact: p.Compact = False,
    vacuum: p.Vacuum = None,
    accept_token: p.AcceptToken = False,
    max_removed: p.MaxRemoved = None,
    accept_removals: p.AcceptRemovals = False,
    moved_to: p.MovedTo = None,
    page_size: p.CopyPageSize = None,
    workers: p.Workers = None,
    retries: p.Retries = None,
    service_limit: p.ServiceLimit = None,
    ip_limit: p.IpLimit = None,
    min_interval: p.MinInterval = None,
    source_address: p.SourceAddress = None,
    budget: p.Budget = None,
    share: p.Share = None,
    filter: p.Filter = None,  # noqa: A002  # the name of the option
    schema: p.CopySchema = None,
    drop_column: p.DropColumn = None,
    pseudonymise: p.Pseudonymise = None,
    pseudonym_key_file: p.PseudonymKeyFile = None,
    allow_plain_http: p.AllowPlainHttp = False,
    max_wait: p.MaxWait = None,
    ca_file: p.CaFile = None,
    progress: p.Progress = None,
    log_format: p.LogFormat = None,
    debug: p.Debug = False,
    config: p.Config = None,
) -> None:
    """Keep a copy current: everything at first and once a week, changes in between. --between is for full syncs."""
    line = {name: value for name, value in locals().items() if name != "config"}
    options, console, kind = begin("sync", line, p.SYNC, config)

    from bulk_export.cli.signals import until_signalled
    from bulk_export.pipelines.sync.forever import keep_current
    from bulk_export.pipelines.sync.options import SyncOptions, split_every
    from bulk_export.pipelines.sync.poll import SyncSummary, sync_once
    from bulk_export.progress import choose

    configure_allocator()
    observer = choose(kind, console)
    options, seconds = split_every(options)
    resolved = SyncOptions.of(options.pop("endpoints", ()), **options)

    def report(summary: SyncSummary) -> None:
        for remark in summary.remarks:
            console.line(remark, level="warning")
        for poll in summary.polls:
            show_result(poll.line(), console)

    if seconds is None:
        until_signalled(
            lambda stop: sync_once(resolved, observer, stop=stop, report=report), resolved.output, observer, console
        )
        return
    until_signalled(
        lambda stop: keep_current(
            resolved,
            seconds,
            observer,
            stop=stop,
            report=report,
            notice=lambda text: console.line(text, level="warning"),
        ),
        resolved.output,
        observer,
        console,
    )
