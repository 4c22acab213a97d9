"""The commands with addresses in object stores, as users type them."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

import bulk_export
from tests.support.command import FAST, run
from tests.support.small_service import ENDPOINTS, SmallService
from tests.support.store_proxy import error
from tests.support.store_scene import Lake, export_once

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def command(lake: Lake, cwd: Path, *arguments: str) -> Any:
    """Run a command with the variables of the store."""
    variables = {"XDG_STATE_HOME": str(cwd / "state"), "HOME": str(cwd / "home"), **lake.environment}
    return run(*arguments, cwd=cwd, **variables)


def export_arguments(service: SmallService, output: str) -> list[str]:
    """An export of the small service."""
    return ["export", *ENDPOINTS, "--base-url", service.base_url, "--output", output, *FAST, "--budget", "memory://"]


def test_export_and_read(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """An export prints its address, which verify, plan and replay take; nothing stays on this machine."""
    address = lake.new_address()
    made = command(lake, tmp_path, *export_arguments(service, address), "--keep-pages", "--debug")
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"{address}\n"
    for secret in lake.environment.values():
        if len(secret) > 12 and "http" not in secret and secret != "devstoreaccount1":
            assert secret not in made.stderr
    assert not list((tmp_path / "state/bulk-export/exports").iterdir())

    for quick in ([], ["--quick"]):
        checked = command(lake, tmp_path, "verify", address, *quick)
        assert checked.returncode == 0, checked.stderr
        assert checked.stdout.startswith(f"{address}: ")
    planned = command(lake, tmp_path, "plan", *ENDPOINTS, "--like", address, "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["unknown"] == []
    second = lake.new_address()
    replayed = command(lake, tmp_path, "replay", address, "--output", second, "--format", "ndjson")
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout == f"{second}\n"
    assert "participants-npq/part-00000.ndjson" in lake.keys(second)
    refused = command(lake, tmp_path, "replay", address, "--output", address, "--overwrite")
    assert refused.returncode == 2
    assert "would go with what is replaced" in refused.stderr


def test_finished_export(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """A finished export is not replaced without being asked, and a refusal leaves nothing."""
    address = lake.new_address()
    assert command(lake, tmp_path, *export_arguments(service, address)).returncode == 0
    keys = lake.keys(address)
    again = command(lake, tmp_path, *export_arguments(service, address))
    assert again.returncode == 2
    assert "holds a finished export" in again.stderr
    assert lake.keys(address) == keys
    assert not list((tmp_path / "state/bulk-export/exports").iterdir())
    assert command(lake, tmp_path, *export_arguments(service, address), "--overwrite").returncode == 0
    assert all(key.startswith(("generation-2/", "manifest")) for key in lake.keys(address))
    assert command(lake, tmp_path, "verify", address).returncode == 0


def test_publish_keeps_both(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """With --publish, the directory and the address hold the same export."""
    address = lake.new_address()
    arguments = [*export_arguments(service, "here"), "--publish", address, "--keep-pages"]
    made = command(lake, tmp_path, *arguments)
    assert made.returncode == 0, made.stderr
    assert made.stdout == "here\n"
    assert bulk_export.verify(tmp_path / "here") == bulk_export.verify(address)
    local = {str(path.relative_to(tmp_path / "here")) for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert local - {"run.jsonl"} == set(lake.keys(address))
    manifest = json.loads((tmp_path / "here/manifest.json").read_bytes())
    stored = lake.store(address).read("manifest.json", most=1 << 20)
    assert stored is not None
    in_store = json.loads(stored[0])
    for endpoint in in_store["endpoints"].values():
        for file in endpoint["files"]:
            del file["etag"]
    assert in_store == manifest


def test_unfinished_publish_needs_its_address(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """An export that was begun with an address is not finished without it."""
    address, output = lake.new_address(), tmp_path / "here"
    lake.proxy.reset(lambda request: error(403, "AccessDenied") if "/part-" in request.path else None)
    with pytest.raises(bulk_export.StoreRefused):
        export_once(service.base_url, str(output), publish=address)
    lake.proxy.reset()
    with pytest.raises(bulk_export.UsageError, match="goes to") as raised:
        export_once(service.base_url, str(output))
    assert f"--publish {address}" in raised.value.next_step
    export_once(service.base_url, str(output), publish=address)
    assert bulk_export.verify(output) == bulk_export.verify(address)


def test_store_options(lake: Lake, service: SmallService) -> None:
    """Storage class and tags arrive with every object."""
    address = lake.new_address()
    storage_class = "STANDARD_IA" if lake.kind == "s3" else "Cool"
    lake.proxy.reset()
    export_once(service.base_url, address, store_option=[f"storage-class={storage_class}", "tag.team=npq"])
    assert bulk_export.verify(address).rows == 112


@pytest.mark.parametrize("option", ["acl=public-read", "sse"])
def test_unknown_store_options(lake: Lake, service: SmallService, tmp_path: Path, option: str) -> None:
    """A key that is not known is refused before anything is sent."""
    refused = command(lake, tmp_path, *export_arguments(service, lake.new_address()), "--store-option", option)
    assert refused.returncode == 2


def test_report(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """A report of an export at an address says of it what one of the same export in a directory says."""
    address = lake.new_address()
    arguments = [*export_arguments(service, "here"), "--publish", address, "--format", "parquet", "--overwrite"]
    for _ in range(2):  # the second one has a generation of its own
        assert command(lake, tmp_path, *arguments).returncode == 0
    (tmp_path / "here/run.jsonl").unlink()
    reports = {}
    for place, name in ((address, "store.html"), ("here", "local.html")):
        for extra in ([], ["--verify", "--values"]):
            made = command(lake, tmp_path, "report", place, "-o", name, *extra)
            assert (made.returncode, made.stdout) == (0, f"{name}\n"), made.stderr
        reports[name] = re.sub(r"Made on .*? alone\.", "", (tmp_path / name).read_text())
    assert reports["store.html"] == reports["local.html"]
    assert "from the object store alone." in (tmp_path / "store.html").read_text()
    refused = command(lake, tmp_path, "report", address)
    assert refused.returncode == 2
    assert "--output" in refused.stderr
    missing = command(lake, tmp_path, "report", lake.new_address(), "-o", "none.html")
    assert missing.returncode == 5
    assert "no finished export" in missing.stderr
    assert not (tmp_path / "none.html").exists()


def test_report_of_damage(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """Of an export that lacks a part and has one that is cut, the report says so; --verify ends with 6."""
    address = lake.new_address()
    assert command(lake, tmp_path, *export_arguments(service, address), "--format", "parquet").returncode == 0
    store = lake.store(address)
    first, second = (key for key in sorted(lake.keys(address)) if key.endswith("part-00000.parquet"))
    store.remove(first)
    store.upload(second, io.BytesIO(b"PAR1"), 4)
    made = command(lake, tmp_path, "report", address, "-o", "it.html", "--values")
    assert made.returncode == 0, made.stderr
    assert "Not whole" in made.stderr
    assert "2 files cannot be read" in (tmp_path / "it.html").read_text()
    checked = command(lake, tmp_path, "report", address, "-o", "it.html", "--verify")
    assert checked.returncode == 6
    assert f"{first}: missing" in checked.stderr
