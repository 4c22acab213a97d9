"""Stores and networks that fail: what the export does, which exit code it ends with, and that it goes on."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest

import bulk_export
from bulk_export.errors import BulkExportError
from bulk_export.output.object_store.connection import StorePatience
from tests.support import small_service
from tests.support.disk_calls import counted, fail_at
from tests.support.small_service import SmallService
from tests.support.store_proxy import CUT, Answer, Request, error
from tests.support.store_scene import Heard, Lake, export_once

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def is_part(request: Request) -> bool:
    """Whether a request writes a part."""
    return request.method == "PUT" and "/part-" in request.path


def is_listing(request: Request) -> bool:
    """Whether a request lists objects."""
    return request.method == "GET" and ("list-type=2" in request.path or "comp=list" in request.path)


def is_removal(request: Request) -> bool:
    """Whether a request removes objects."""
    return request.method in ("DELETE", "POST")


def failed(base_url: str, address: str, **changes: Any) -> BulkExportError:
    """Export, and return the error that it ends with."""
    with pytest.raises(BulkExportError) as raised:
        export_once(base_url, address, **changes)
    assert len(raised.value.lines()) == 2
    return raised.value


def test_slow_down(lake: Lake, service: SmallService) -> None:
    """A store that asks for fewer requests gets them again, later."""
    slow = error(503, "SlowDown" if lake.kind == "s3" else "ServerBusy")
    lake.proxy.reset(lambda request: slow if request.number % 3 == 0 else None)
    address = lake.new_address()
    export_once(service.base_url, address)
    lake.proxy.reset()
    assert bulk_export.verify(address).rows == 112


def test_store_that_only_slows_down(lake: Lake, service: SmallService) -> None:
    """After all retries the run ends with 4; what was uploaded stays so, and no page is requested again."""
    address = lake.new_address()
    lake.proxy.reset(lambda request: error(503, "SlowDown") if is_part(request) and "ndjson" in request.path else None)
    raised = failed(service.base_url, address)
    assert raised.exit_code == 4
    assert "kept failing" in raised.what
    uploaded = {(request.path, request.body) for request in lake.proxy.requests if ".parquet" in request.path}
    assert uploaded
    lake.proxy.reset()
    export_once(service.base_url, address)
    assert uploaded.isdisjoint((request.path, request.body) for request in lake.proxy.requests if is_part(request))
    assert bulk_export.verify(address).rows == 112


def test_connections_that_are_reset(lake: Lake, service: SmallService) -> None:
    """A request whose connection is cut is sent again, before or after it arrived."""
    address = lake.new_address()
    lake.proxy.reset(
        lambda request: CUT if request.number % 4 == 0 else None,
        lambda request: CUT if request.number % 4 == 1 else None,
    )
    export_once(service.base_url, address)
    lake.proxy.reset()
    assert bulk_export.verify(address).rows == 112


def test_answer_that_never_comes(lake: Lake, service: SmallService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has a time limit, and is sent again."""
    patience = StorePatience(request=1, retries=2, shortest_backoff=0.01)
    monkeypatch.setattr("bulk_export.output.object_store.connection.StorePatience", lambda: patience)
    end = threading.Event()
    seen: list[int] = []

    def hang(request: Request) -> Answer | None:
        if is_part(request) and not seen:
            seen.append(request.number)
            end.wait(60)
            return CUT
        return None

    address = lake.new_address()
    lake.proxy.reset(hang)
    try:
        export_once(service.base_url, address)
    finally:
        end.set()
    assert seen
    lake.proxy.reset()
    assert bulk_export.verify(address).rows == 112


@pytest.mark.parametrize("times", [1, 99])
def test_content_that_changes_on_the_way(lake: Lake, service: SmallService, times: int) -> None:
    """A part that arrives with another content is uploaded again, and never published."""
    address = lake.new_address()
    spoiled: list[str] = []

    def spoil(request: Request) -> Answer | None:
        if is_part(request) and len(spoiled) < times:
            spoiled.append(request.path)
            request.body = request.body.replace(b"Person", b"person").replace(b"PAR1", b"PAR2")
        return None

    lake.proxy.reset(spoil)
    if times == 1:
        export_once(service.base_url, address)
        assert spoiled
    else:
        raised = failed(service.base_url, address)
        assert raised.exit_code in (3, 4)
        assert "manifest.json" not in lake.keys(address)
        lake.proxy.reset()
        export_once(service.base_url, address)
    lake.proxy.reset()
    assert bulk_export.verify(address).rows == 112


def test_no_such_bucket(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """An address that cannot be used is found out before anything is requested, and leaves nothing behind."""
    service.requests.clear()
    raised = failed(service.base_url, f"{lake.kind}://no-such-bucket/x", work_dir=tmp_path / "work")
    assert raised.exit_code == 3
    assert "no bucket or container no-such-bucket" in raised.what
    assert service.requests == []
    assert list((tmp_path / "work").iterdir()) == []


def test_bucket_in_another_region(lake: Lake, service: SmallService) -> None:
    """The store's redirect is not followed; the message names the variable of the region."""
    if lake.kind != "s3":
        pytest.skip("Azure has no such redirect")
    lake.proxy.reset(lambda _: error(301, "PermanentRedirect"))
    raised = failed(service.base_url, lake.new_address())
    assert raised.exit_code == 3
    assert "another region" in raised.what
    assert "AWS_REGION" in raised.next_step


def test_clock_that_differs(lake: Lake, service: SmallService) -> None:
    """The store refuses signatures of another time."""
    lake.proxy.reset(lambda _: error(403, "RequestTimeTooSkewed"))
    raised = failed(service.base_url, lake.new_address())
    assert (raised.exit_code, "clock" in raised.what) == (3, True)


def test_permission_to_write_only(lake: Lake, service: SmallService) -> None:
    """Without the rights to list and remove, the export is made; what could not be cleaned is said."""
    address = lake.new_address()

    def deny(request: Request) -> Answer | None:
        return error(403, "AccessDenied") if is_listing(request) or is_removal(request) else None

    heard = Heard()
    lake.proxy.reset(deny)
    export_once(service.base_url, address, heard)
    lake.proxy.reset()
    assert bulk_export.verify(address).rows == 112
    text = "\n".join(heard.warnings)
    assert "may not list objects" in text
    assert "may not remove objects" in text
    assert ".bulk-export/generation-1.json" in lake.keys(address)


def test_no_permission_at_all(lake: Lake, service: SmallService) -> None:
    """Nothing is fetched if nothing can be written."""
    service.requests.clear()
    lake.proxy.reset(lambda _: error(403, "AccessDenied"))
    raised = failed(service.base_url, lake.new_address())
    assert raised.exit_code == 3
    assert "not allowed" in raised.what
    assert service.requests == []


@pytest.mark.parametrize("number", [40, 90, 140])
def test_full_disk(lake: Lake, service: SmallService, tmp_path: Path, number: int) -> None:
    """With no room for the working state, the run ends with 5 and goes on once there is."""
    address = lake.new_address()
    with counted(fail_at(number, errno.ENOSPC, lasting=True)) as counter:
        raised = failed(service.base_url, address, work_dir=tmp_path / "work")
    assert raised.exit_code == 5, (raised.what, len(counter.calls))
    export_once(service.base_url, address, work_dir=tmp_path / "work")
    assert bulk_export.verify(address).rows == 112
    assert list((tmp_path / "work").iterdir()) == []


def test_parts_are_uploaded_while_pages_are_fetched(
    lake: Lake, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished part does not wait for the end: here the end waits for it."""
    uploaded = threading.Event()
    page = small_service.page

    def waiting(endpoint: str, number: int) -> bytes:
        if (endpoint, number) == ("delivery-partners", 3):
            assert uploaded.wait(20)
        return page(endpoint, number)

    def seen(request: Request) -> Answer | None:
        if is_part(request):
            uploaded.set()
        return None

    monkeypatch.setattr(small_service, "page", waiting)
    lake.proxy.reset(after=seen)
    address = lake.new_address()
    export_once(service.base_url, address)
    assert bulk_export.verify(address).rows == 112


def test_loser_is_told_before_it_fetches(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """A run that goes on after another one has finished asks the service for nothing more."""
    address = lake.new_address()
    lake.proxy.reset(lambda request: error(403, "AccessDenied") if is_part(request) else None)
    assert failed(service.base_url, address, work_dir=tmp_path / "slow").exit_code == 3
    lake.proxy.reset()
    export_once(service.base_url, address, work_dir=tmp_path / "quick")
    service.requests.clear()
    raised = failed(service.base_url, address, work_dir=tmp_path / "slow")
    assert (raised.exit_code, "Another run finished" in raised.what) == (2, True)
    assert service.requests == []
    export_once(service.base_url, address, work_dir=tmp_path / "slow", overwrite=True)
    assert bulk_export.verify(address).rows == 112
    assert all(key.startswith(("generation-3/", "manifest")) for key in lake.keys(address))


def test_two_machines(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """Only one of two finishes; the other one says so, and can replace it from its own pages."""
    address = lake.new_address()
    slow = {"work_dir": tmp_path / "slow"}
    lake.proxy.reset(lambda request: CUT if request.method == "PUT" and "manifest" in request.path else None)
    assert failed(service.base_url, address, **slow).exit_code == 4
    lake.proxy.reset()
    heard = Heard()
    export_once(service.base_url, address, heard, work_dir=tmp_path / "quick", format="ndjson", keep_pages=False)
    assert any("another export" in warning for warning in heard.warnings)
    before = lake.keys(address)
    raised = failed(service.base_url, address, **slow)
    assert raised.exit_code == 2
    assert "Another run finished its export" in raised.what
    assert lake.keys(address) == before
    assert bulk_export.verify(address).rows == 56
    service.requests.clear()
    export_once(service.base_url, address, overwrite=True, **slow)
    assert service.requests == []
    assert bulk_export.verify(address).rows == 112
    assert all(key.startswith(("generation-3/", "manifest")) for key in lake.keys(address))
