"""Several tenants against running services: what fails for one stops no other, and all go on where they were."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulk_export.core.model import Limit
from bulk_export.errors import BulkExportError, DamagedState, Interrupted, ServiceRefused, UsageError
from bulk_export.output.file_names import MANIFEST
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.tenant_options import TenantRuns, export_options, load_options, sync_options
from bulk_export.pipelines.tenants import export_tenants, load_tenants, sync_tenants
from bulk_export.pipelines.tenants_file import Tenant
from bulk_export.progress.observer import Observer
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import FREE, QUICK, options, settings
from tests.support.outputs import file_digests

TOKENS = {"a": "token-of-a", "b": "token-of-b", "c": "token-of-c"}
SERVED = {"token": TOKENS["a"], "other_tokens": (TOKENS["b"], TOKENS["c"])}


def tenants_of(room: Path, *names: str, **more: Any) -> list[Tenant]:
    """Tenants with token files; those that `TOKENS` does not know have a revoked one."""
    found = []
    for name in names:
        path = room / f"{name}.token"
        path.write_text(TOKENS.get(name, f"revoked-{name}"))
        path.chmod(0o600)
        found.append(Tenant(name, path, **more))
    return found


def runs_of(
    service: LocalService, room: Path, *names: str, endpoints: tuple[str, ...] = ("npq-applications",), **changes: Any
) -> TenantRuns[ExportOptions]:
    """Exports of tenants of one service, into `room/out`."""
    common = {"base_url": service.base_url, "output": room / "out", "retries": 2, **FREE, **changes}
    return export_options(tenants_of(room, *names), endpoints, common)


async def test_each_result_is_that_of_a_single_export(tmp_path: Path) -> None:
    """Every tenant's files are those that an export of its own would write."""
    async with serving(settings(**SERVED)) as service:
        summary = await export_tenants(runs_of(service, tmp_path, "a", "b", "c"), tuning=QUICK)
        await export(options(service, tmp_path / "single", "npq-applications", token=TOKENS["b"]), tuning=QUICK)
    assert summary.exit_code == 0
    for name, result in summary.tenants.items():
        assert result.output == tmp_path / "out" / name
        assert file_digests(result.output) == file_digests(tmp_path / "single")
        assert verify(result.output).rows == 2345
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


async def test_revoked_token_and_damaged_directory_stop_no_other(tmp_path: Path) -> None:
    """Both are reported, the highest exit code counts, and the others are whole."""
    async with serving(settings(**SERVED)) as service:
        runs = runs_of(service, tmp_path, "revoked", "a", "b")
        damaged = tmp_path / "out/b/.bulk-export/journal.sqlite"
        damaged.parent.mkdir(parents=True, mode=0o700)
        damaged.write_text("no journal")
        damaged.chmod(0o600)
        failed: list[str] = []
        summary = await export_tenants(runs, tuning=QUICK, failed=lambda name, _: failed.append(name))
    assert isinstance(summary.errors["revoked"], ServiceRefused)
    assert isinstance(summary.errors["b"], DamagedState)
    assert sorted(failed) == ["b", "revoked"]
    assert summary.exit_code == 5
    assert (tmp_path / "out/a" / MANIFEST).exists()


async def test_full_disk_of_one_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the system while one tenant is written is that tenant's."""

    class Full(Observer):
        def started(self, *_: object) -> None:
            raise OSError(28, "No space left on device")

    async with serving(settings(**SERVED)) as service:
        summary = await export_tenants(
            runs_of(service, tmp_path, "a", "b"), lambda name: Full() if name == "a" else Observer(), tuning=QUICK
        )
    assert (summary.exit_code, list(summary.errors)) == (5, ["a"])
    assert "No space left" in str(summary.errors["a"])


async def test_limits_of_each_and_of_the_addresses_are_kept(tmp_path: Path) -> None:
    """The service counts by token and by address, and finds nothing to throttle; both addresses are used."""
    service_limit, ip_limit = Limit(8, 0.5), Limit(6, 0.5)
    async with serving(settings(**SERVED, service_limit=service_limit, ip_limit=ip_limit)) as service:
        limits = {"service_limit": service_limit, "ip_limit": ip_limit, "source_address": ["127.0.0.1", "127.0.0.2"]}
        summary = await export_tenants(runs_of(service, tmp_path, "a", "b", "c", **limits), tuning=QUICK)
    assert summary.exit_code == 0
    assert [one.summary.throttled for one in summary.tenants.values() if one.summary] == [0, 0, 0]
    assert set(service.statuses) == {200}
    assert {request.peer for request in service.log} == {"127.0.0.1", "127.0.0.2"}


async def test_ledger_on_disk_is_common(tmp_path: Path) -> None:
    """With a file as the ledger, tokens have limits of their own there, and the address one for all."""
    ip_limit = Limit(10, 0.5)
    async with serving(settings(**SERVED, ip_limit=ip_limit)) as service:
        limits = {"ip_limit": ip_limit, "budget": f"sqlite:///{tmp_path / 'budget.sqlite'}"}
        summary = await export_tenants(runs_of(service, tmp_path, "a", "b", **limits), tuning=QUICK)
    assert [one.summary.throttled for one in summary.tenants.values() if one.summary] == [0, 0]


async def test_services_of_their_own(tmp_path: Path) -> None:
    """Tenants of several services are served at the same time, each with its token; a dead service stops no other."""
    async with AsyncExitStack() as stack:
        found = []
        for name in ("a", "b"):
            running = await stack.enter_async_context(serving(settings(token=TOKENS[name])))
            found += tenants_of(tmp_path, name, base_url=running.base_url)
        found += tenants_of(tmp_path, "gone", base_url="http://127.0.0.1:1")
        runs = export_options(
            found, ["statements"], {"output": tmp_path / "out", "retries": 0, "max_wait": "1s", **FREE}
        )
        summary = await export_tenants(runs, tuning=QUICK)
    assert list(summary.errors) == ["gone"]
    assert summary.exit_code == 4


class StopAt(Observer):
    """Stops everything after so many pages of all tenants together."""

    def __init__(self, stop: anyio.Event, pages: int) -> None:
        self.stop, self.left = stop, pages

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        self.left -= 1
        if self.left == 0:
            self.stop.set()


@pytest.mark.parametrize("pages", [1, 9, 14])
async def test_interrupted_run_goes_on_with_all(tmp_path: Path, pages: int) -> None:
    """Interrupted in the first, or while others wait; the same options end with the same bytes, finished ones kept."""
    async with serving(settings(**SERVED)) as service:
        stop = anyio.Event()
        observer = StopAt(stop, pages)
        runs = runs_of(service, tmp_path, "a", "b", "c")
        summary = await export_tenants(runs, lambda _: observer, stop=stop, tuning=QUICK)
        assert summary.exit_code == 130
        assert all(isinstance(error, Interrupted) for error in summary.errors.values())
        finished = {name for name, one in summary.tenants.items() if one.summary}
        again = await export_tenants(runs_of(service, tmp_path, "a", "b", "c"), tuning=QUICK)
        assert again.exit_code == 0
        assert {name for name, one in again.tenants.items() if one.was_finished} == finished
        await export(options(service, tmp_path / "single", "npq-applications", token=TOKENS["a"]), tuning=QUICK)
    for one in again.tenants.values():
        assert file_digests(one.output) == file_digests(tmp_path / "single")


async def test_finished_tenants(tmp_path: Path) -> None:
    """All finished: refused, like a single export. Other parameters: that tenant is refused. --overwrite: all anew."""
    async with serving(settings(**SERVED)) as service:
        await export_tenants(runs_of(service, tmp_path, "a"), tuning=QUICK)
        with pytest.raises(UsageError, match="holds a finished export"):
            await export_tenants(runs_of(service, tmp_path, "a"), tuning=QUICK)
        other = await export_tenants(runs_of(service, tmp_path, "a", "b", page_size=100), tuning=QUICK)
        assert (list(other.errors), other.exit_code) == (["a"], 2)
        anew = await export_tenants(runs_of(service, tmp_path, "a", "b", overwrite=True), tuning=QUICK)
        assert not any(one.was_finished for one in anew.tenants.values())
        assert anew.exit_code == 0


async def test_more_tenants_than_are_open_at_once(tmp_path: Path) -> None:
    """Twenty tenants end in the order of the file, whoever had to wait for a place."""
    names = [f"t{number:02}" for number in range(20)]
    served = {"token": "none", "other_tokens": tuple(f"revoked-{name}" for name in names)}
    counts = {"npq-applications": 700}
    async with serving(settings(**served, records_by_endpoint=counts)) as service:
        summary = await export_tenants(runs_of(service, tmp_path, *names, workers=2), tuning=QUICK)
    assert summary.exit_code == 0
    assert list(summary.tenants) == names


async def test_copies_and_loads(tmp_path: Path) -> None:
    """Copies are kept side by side and loaded into tables of their own; a revoked token stops neither."""
    async with serving(settings(**SERVED)) as service:
        common = {"base_url": service.base_url, "output": tmp_path / "copies", "format": "parquet", **FREE}
        runs = sync_options(tenants_of(tmp_path, "a", "revoked", "b"), ["statements"], common)
        polled: list[str] = []
        summary = await sync_tenants(runs, report=lambda name, _: polled.append(name))
    assert (list(summary.errors), summary.exit_code, sorted(polled)) == (["revoked"], 3, ["a", "b"])
    to = {"to": f"sqlite:///{tmp_path}/all.sqlite", "table_prefix": "{tenant}_"}
    loaded = load_tenants(load_options([Tenant("a"), Tenant("revoked"), Tenant("b")], tmp_path / "copies", [], to))
    assert list(loaded.errors) == ["revoked"]
    tables = [table.table for one in loaded.tenants.values() if one.summary for table in one.summary.tables]
    assert tables == ["a_statements", "b_statements"]


async def test_interrupted_copies(tmp_path: Path) -> None:
    """Stopped before it begins, every tenant is interrupted; with `every`, all loops end."""
    async with serving(settings(**SERVED)) as service:
        common = {"base_url": service.base_url, "output": tmp_path / "copies", "format": "parquet", **FREE}
        stop = anyio.Event()
        stop.set()
        runs = sync_options(tenants_of(tmp_path, "a", "b"), ["statements"], common)
        assert (await sync_tenants(runs, stop=stop)).exit_code == 130
        stop, polled = anyio.Event(), []

        def report(name: str, _: object) -> None:
            polled.append(name)
            if len(polled) == 2:
                stop.set()

        runs = sync_options(tenants_of(tmp_path, "a", "b"), ["statements"], {**common, "every": "1h"})
        with anyio.fail_after(30):
            summary = await sync_tenants(runs, stop=stop, report=report)
    assert sorted(polled) == ["a", "b"]
    assert all(isinstance(error, Interrupted) for error in summary.errors.values())


async def test_two_at_once_in_one_directory(tmp_path: Path) -> None:
    """A second run is refused tenant by tenant, and the first one is not disturbed."""
    async with serving(settings(**SERVED)) as service:
        runs = runs_of(service, tmp_path, "a")
        second: list[BulkExportError] = []

        class Second(Observer):
            async def run(self) -> None:
                summary = await export_tenants(replace(runs), tuning=QUICK)
                second.extend(summary.errors.values())

        observer = Second()
        async with anyio.create_task_group() as tasks:
            started = anyio.Event()

            class First(Observer):
                def started(self, *_: object) -> None:
                    started.set()

            async def first() -> None:
                summary = await export_tenants(runs, lambda _: First(), tuning=QUICK)
                assert summary.exit_code == 0

            tasks.start_soon(first)
            await started.wait()
            await observer.run()
    assert [error.exit_code for error in second] == [2]
