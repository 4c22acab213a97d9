"""`bulk-export sync`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from bulk_export.cli.reporting import hide_in_logs
from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show_result
from bulk_export.core.process import configure_allocator, importing

if TYPE_CHECKING:
    import anyio

    from bulk_export.pipelines.load import LoadSummary
    from bulk_export.pipelines.sync.summary import SyncSummary


def sync(**line: Any) -> None:
    """Keep a copy current: everything at first and once a week, changes in between. --between is for full syncs."""
    prepared = prepare("sync", line)
    options, console = prepared.options, prepared.console
    tenants, is_dry = options.pop("tenants"), options.pop("dry_run")
    if is_dry:
        from bulk_export.cli.plan import show_dry_run
        from bulk_export.pipelines.dry_run import plan_of_sync

        show_dry_run(plan_of_sync, tenants, prepared, options)
        return
    if tenants is not None:
        from bulk_export.cli.tenants import sync_all

        sync_all(tenants, prepared)
        return

    configure_allocator()
    with importing():
        from bulk_export.cli.signals import until_signalled
        from bulk_export.pipelines.sync.fetch import interrupted_poll
        from bulk_export.pipelines.sync.load_after_poll import sync_and_load
        from bulk_export.pipelines.sync.loop import sync_forever
        from bulk_export.pipelines.sync.options import SyncOptions
        from bulk_export.progress import choose
        from bulk_export.progress.run_words import SYNC

    observer = choose(prepared.progress, console, SYNC)
    resolved = SyncOptions.of(options.pop("endpoints"), **options)
    if resolved.full.token is not None:
        hide_in_logs(resolved.full.token.mask)

    def report(summary: SyncSummary) -> None:
        for remark in summary.remarks:
            console.line(remark, level="warning")
        for poll in summary.polls:
            show_result(json.dumps(poll.to_json()) if prepared.as_json else poll.line(), console)

    def loaded(summary: LoadSummary) -> None:
        for remark in summary.remarks:
            console.line(remark, level="warning")
        show_result(json.dumps(dataclasses.asdict(summary)) if prepared.as_json else summary.line(), console)

    async def work(stop: anyio.Event) -> None:
        if resolved.every is None:
            await sync_and_load(resolved, observer, stop=stop, report=report, loaded=loaded)
            return
        await sync_forever(
            resolved,
            resolved.every,
            observer,
            stop=stop,
            report=report,
            notice=lambda text: console.line(text, level="warning"),
            loaded=loaded,
        )

    until_signalled(work, lambda: interrupted_poll(resolved.output), observer, console)
