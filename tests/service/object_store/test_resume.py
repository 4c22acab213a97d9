"""`resume` with the directory of an unfinished export to an object store."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulk_export
from tests.support.command import run
from tests.support.small_service import SmallService
from tests.support.store_proxy import error
from tests.support.store_scene import Lake, export_once

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_resume_goes_to_the_address(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """The directory knows the address and the other options, so the token and the credentials suffice."""
    address = lake.new_address()
    lake.proxy.reset(lambda request: error(403, "AccessDenied") if "/part-" in request.path else None)
    with pytest.raises(bulk_export.StoreRefused):
        export_once(service.base_url, address, work_dir=tmp_path / "work", service="npq")
    lake.proxy.reset()
    (directory,) = (tmp_path / "work").iterdir()
    ended = run("resume", str(directory), cwd=tmp_path, **lake.environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{address}\n"
    assert bulk_export.verify(address).rows == 112
    assert list((tmp_path / "work").iterdir()) == []
