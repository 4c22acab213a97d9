"""Commands with `--tenants FILE`: the same work for several tokens, one summary, and the highest exit code."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bulk_export.cli.reporting import hide_in_logs, report
from bulk_export.cli.runner import Prepared
from bulk_export.cli.streams import show, show_lines, show_result
from bulk_export.core.masking import Masker
from bulk_export.core.process import configure_allocator, importing
from bulk_export.core.text import counted
from bulk_export.errors import BulkExportError, Interrupted

if TYPE_CHECKING:
    from bulk_export.pipelines.load import LoadSummary
    from bulk_export.pipelines.options import ExportOptions
    from bulk_export.pipelines.sync.summary import SyncSummary
    from bulk_export.pipelines.tenants import TenantResult, TenantsSummary
    from bulk_export.progress.observer import ExportSummary


def export_all(file: str, prepared: Prepared, options: dict[str, Any]) -> None:
    """Export all tenants of a file. Raises typer.Exit with the highest exit code if not all are finished."""
    console = prepared.console
    configure_allocator()
    with importing():
        from bulk_export.cli.signals import until_signalled
        from bulk_export.pipelines.tenant_options import export_options
        from bulk_export.pipelines.tenants import export_tenants
        from bulk_export.pipelines.tenants_file import read_tenants
        from bulk_export.progress.summary import summary_object
        from bulk_export.progress.tenants import choose_for_tenants

    display = choose_for_tenants(prepared.progress, console)
    runs = export_options(read_tenants(file), options.pop("endpoints"), options)
    _hide_tokens(runs.options.values())
    summary = until_signalled(
        lambda stop: export_tenants(runs, display.observer_of, stop=stop, failed=_report),
        lambda: _interrupted(runs.output),
        display,
        console,
    )
    display.closed()
    for result in summary.tenants.values():
        if result.was_finished:
            console.line(f"{result.name}: an earlier run had finished it; it was left as it is", tenant=result.name)
    if prepared.progress != "none":
        for line in _export_table(summary):
            console.line(line)
    if prepared.as_json:
        _show_json(summary, summary_object)
    else:
        for result in summary.tenants.values():
            if result.summary is not None:
                show_result(os.fsencode(result.output), console)
    _exit(summary)


def sync_all(file: str, prepared: Prepared) -> None:
    """Bring the copies of all tenants of a file up to date. Raises typer.Exit as `export_all` does."""
    options, console = prepared.options, prepared.console
    configure_allocator()
    with importing():
        from bulk_export.cli.signals import until_signalled
        from bulk_export.pipelines.tenant_options import sync_options
        from bulk_export.pipelines.tenants import sync_tenants
        from bulk_export.pipelines.tenants_file import read_tenants
        from bulk_export.progress.run_words import SYNC
        from bulk_export.progress.tenants import choose_for_tenants

    display = choose_for_tenants(prepared.progress, console, SYNC)
    runs = sync_options(read_tenants(file), options.pop("endpoints"), options)
    _hide_tokens(one.full for one in runs.options.values())

    def polled(name: str, summary: SyncSummary) -> None:
        for remark in summary.remarks:
            console.line(f"{name}: {remark}", level="warning", tenant=name)
        for poll in summary.polls:
            line = json.dumps({"tenant": name, **poll.to_json()}) if prepared.as_json else f"{name}: {poll.line()}"
            show_result(line, console)

    def loaded(name: str, summary: LoadSummary) -> None:
        for remark in summary.remarks:
            console.line(f"{name}: {remark}", level="warning", tenant=name)
        numbers = {"tenant": name, **dataclasses.asdict(summary)}
        show_result(json.dumps(numbers) if prepared.as_json else f"{name}: {summary.line()}", console)

    summary = until_signalled(
        lambda stop: sync_tenants(
            runs,
            display.observer_of,
            stop=stop,
            report=polled,
            loaded=loaded,
            notice=lambda name, text: console.line(f"{name}: {text}", level="warning", tenant=name),
            failed=_report,
        ),
        lambda: _interrupted(runs.output),
        display,
        console,
    )
    display.closed()
    _exit(summary)


def load_all(file: str, directory: str, prepared: Prepared) -> None:
    """Load what all tenants of a file have into a database. Raises typer.Exit as `export_all` does."""
    options, console = prepared.options, prepared.console
    from bulk_export.cli.load_lines import LoadLines
    from bulk_export.pipelines.load_transaction import LoadProgress
    from bulk_export.pipelines.tenant_options import load_options
    from bulk_export.pipelines.tenants import load_tenants
    from bulk_export.pipelines.tenants_file import read_tenants
    from bulk_export.progress.tenants import TenantConsole

    configure_allocator()
    runs = load_options(read_tenants(file), directory, options.pop("endpoints"), options)
    for password in {one.address.password for one in runs.options.values()} - {None}:
        hide_in_logs(Masker(str(password)).mask)

    def progress_of(name: str) -> LoadProgress:
        return LoadProgress() if prepared.progress == "none" else LoadLines(TenantConsole(console, name))

    summary = load_tenants(runs, progress_of, failed=_report)
    for result in summary.tenants.values():
        if result.summary is not None:
            for remark in result.summary.remarks:
                console.line(f"{result.name}: {remark}", level="warning", tenant=result.name)
            if not prepared.as_json:
                show(f"{result.name}: {result.summary.line()}")
    if prepared.as_json:
        _show_json(summary, dataclasses.asdict)
    _exit(summary)


def plan_all(file: str, prepared: Prepared) -> None:
    """Print the cost for all tenants of a file. Sends nothing, and reads no token."""
    options = prepared.options
    wants_json = options.pop("json")
    from bulk_export.pipelines.tenants_file import read_tenants
    from bulk_export.pipelines.tenants_plan import plan_tenants
    from bulk_export.progress.tally import clock_text

    costs = plan_tenants(read_tenants(file), options.pop("endpoints"), options)
    if wants_json:
        numbers = {
            title: {"total": cost.requests, "seconds": cost.seconds, **dataclasses.asdict(cost)}
            for title, cost in costs.items()
        }
        show(json.dumps(numbers, indent=2))
        return
    for title, cost in costs.items():
        width = max(len(name) for name in [*cost.tenants, "tenant", "total"])
        show_lines(f"{'tenant':<{width}}  {title:>9}  done after about")
        for name, one in cost.tenants.items():
            show_lines(f"{name:<{width}}  {one.requests:>9,}  {clock_text(one.seconds)}")
        show_lines(f"{'total':<{width}}  {cost.requests:>9,}  {clock_text(cost.seconds)}")
        search = sum(one.search for one in cost.tenants.values())
        show_lines(f"finding the ends may add up to {counted(search, 'request')}")
    unknown = next(iter(costs.values())).unknown
    if unknown:
        show_lines(
            f"{', '.join(unknown)}: endpoints without a number of records are counted as empty;"
            " say --records ENDPOINT=N for all tenants, or --like DIR with earlier exports of the tenants"
        )


def _hide_tokens(options: Iterable[ExportOptions]) -> None:
    for one in options:
        if one.token is not None:
            hide_in_logs(one.token.mask)


def _report(name: str, error: BulkExportError) -> None:
    """Report the error of a tenant at once. That all were interrupted is said once, at the end."""
    if not isinstance(error, Interrupted):
        named = type(error)(f"Tenant {name}: {error.what}", kept=error.kept, next_step=error.next_step)
        named.__traceback__ = error.__traceback__
        report(named)


def _show_json(summary: TenantsSummary[Any], numbers: Callable[[Any], dict[str, Any]]) -> None:
    tenants = {
        name: {"error": one.error.what, "exit_code": one.error.exit_code} if one.error else numbers(one.summary)
        for name, one in summary.tenants.items()
    }
    result = {"output": str(summary.output), "seconds": round(summary.seconds, 3), "exit_code": summary.exit_code}
    show(json.dumps({**result, "tenants": tenants}))


def _export_table(summary: TenantsSummary[ExportSummary]) -> list[str]:
    from bulk_export.progress.tally import clock_text

    def row(result: TenantResult[ExportSummary]) -> tuple[str, str, str, str]:
        if result.summary is None:
            is_stopped = isinstance(result.error, Interrupted)
            return result.name, "", "", "interrupted" if is_stopped else "failed"
        records = sum(endpoint.records for endpoint in result.summary.endpoints)
        state = "finished before" if result.was_finished else "finished"
        return result.name, f"{records:,}", f"{result.summary.requests:,}", state

    rows = [("tenant", "records", "requests", ""), *map(row, summary.tenants.values())]
    widths = [max(len(cells[column]) for cells in rows) for column in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {records:>{widths[1]}}  {requests:>{widths[2]}}  {state}".rstrip()
        for name, records, requests, state in rows
    ]
    # Their errors were reported when they came, which may be hours ago.
    failures = {name: error for name, error in summary.errors.items() if not isinstance(error, Interrupted)}
    lines += [f"why {name} failed: {error.what}" for name, error in failures.items()]
    done = len(summary.tenants) - len(summary.errors)
    end = f"{done} of {len(summary.tenants)} tenants finished, {clock_text(summary.seconds)}"
    if failures and len(failures) == len(summary.errors):  # of an interruption, the error after this says what goes on
        output = shlex.quote(str(summary.output))
        end += f"; once what failed is mended, the same command with --output {output} goes on with the others"
    return [*lines, end]


def _interrupted(output: Path) -> Interrupted:
    return Interrupted(
        "Interrupted.",
        kept=f"Every page that had arrived is kept in {output}.",
        next_step="The same command with this --output goes on with all tenants.",
    )


def _exit(summary: TenantsSummary[Any]) -> None:
    """End with the highest exit code of any tenant."""
    if any(isinstance(error, Interrupted) for error in summary.errors.values()):
        report(_interrupted(summary.output))
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)
