"""The command as a user meets it: a real process, its exit code, and what it prints where."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bulk_export.core.kernel_library import decoder_name
from tests.support.command import FAST, TOKEN, environment, run, run_cold, service, start


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with service(
        tmp_path_factory.mktemp("service"), "--no-limits", "--gzip", "--records", "700", "--records", "statements=5"
    ) as url:
        yield url


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """Help starts quickly because it imports neither Arrow nor an HTTP client; the list of commands, no options."""
    program = (
        "import sys\nfrom bulk_export.cli import app\nfrom bulk_export.cli.runner import run\n"
        "assert run(app, ['--help']) == 0\n"
        "assert not {'anyio', 'tomllib', 'bulk_export.pipelines.arguments'} & set(sys.modules)\n"
        "assert run(app, ['export', '--help']) == 0\n"
        "print([name for name in ('pyarrow', 'aiohttp', 'rich') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert shown.stdout.splitlines()[-1] == "[]"
    assert "--updated-since" in shown.stdout


def test_lines_import_nothing_that_only_others_need(address: str, tmp_path: Path) -> None:
    """An export to NDJSON imports nothing that only tables, displays, other ledgers, monitoring or YAML need.

    Arrow is among that, if the service compresses its pages.
    """
    heavy = ("pyarrow", "duckdb", "redis", "rich", "yaml", "referencing", "numpy")
    heavy += ("openlineage", "opentelemetry", "requests", "bulk_export.pipelines.report")
    options = ["--base-url", address, "--format=ndjson", "--progress=none", "--budget=memory://", *FAST]
    program = (
        "import sys\nfrom bulk_export.cli import app\nfrom bulk_export.cli.runner import run\n"
        f"assert run(app, {['export', 'statements', *options]!r}) == 0\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_option_of_every_command_is_explained(tmp_path: Path) -> None:
    for command in ("export", "plan", "verify", "endpoints", "local-service"):
        shown = run(command, "--help", cwd=tmp_path)
        assert shown.returncode == 0
        for line in re.findall(r"^  (--[a-z-]+.*)$", shown.stdout, re.MULTILINE):
            assert len(line.split()) > 1


def test_export_prints_its_directory(tmp_path: Path) -> None:
    """An export from the bundled service ends with its directory on standard output."""
    done = run_cold(
        "export", "statements", "--environment", "local", "--min-interval", "0", cwd=tmp_path, BULK_EXPORT_TOKEN=""
    )
    assert done.returncode == 0, done.stderr
    directory = tmp_path / done.stdout.strip()
    assert directory.parent == tmp_path / "output"
    assert json.loads((directory / "manifest.json").read_bytes())["base_url"] == "local"
    assert re.search(r"^statements +2,000 +1 ", done.stderr, re.MULTILINE)
    verified = run_cold("verify", str(directory), cwd=tmp_path)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "2,000 rows" in verified.stdout


def test_options_come_from_line_environment_and_file(tmp_path: Path, address: str) -> None:
    (tmp_path / "bulk-export.toml").write_text(
        f'base-url = "{address}"\nprogress = "none"\n[export]\nformat = "ndjson"\npage-size = 10\nmin-interval = 0\n'
    )
    assert run("trust", cwd=tmp_path).returncode == 0
    done = run("export", "statements", "--output", "here", cwd=tmp_path, BULK_EXPORT_PAGE_SIZE="2")
    shown = f"settings from {tmp_path}/bulk-export.toml: base-url, format, min-interval, page-size, progress\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", shown)
    manifest = json.loads((tmp_path / "here/manifest.json").read_bytes())
    assert manifest["parameters"]["page_size"] == 2
    assert manifest["endpoints"]["statements"]["files"][0]["path"] == "statements/part-00000.ndjson"


def test_found_config_needs_confirmation(tmp_path: Path, address: str) -> None:
    """A configuration file that was found sends nothing anywhere until it is confirmed."""
    path = tmp_path / "bulk-export.toml"
    path.write_text(f'[export]\nbase-url = "{address}"\n')
    wanted = ["export", "statements", "--output", "here", *FAST]
    refused = run(*wanted, cwd=tmp_path)
    assert (refused.returncode, "bulk-export trust" in refused.stderr) == (2, True)
    assert not (tmp_path / "here").exists()
    named = run(*wanted, "--config", "bulk-export.toml", cwd=tmp_path)
    assert (named.returncode, named.stdout) == (0, "here\n")
    path.chmod(0o666)
    for command in (["trust"], [*wanted, "--overwrite"]):
        open_to_all = run(*command, cwd=tmp_path)
        assert (open_to_all.returncode, "can write to it" in open_to_all.stderr) == (2, True)


def test_verify_names_the_differences(tmp_path: Path, address: str) -> None:
    run("export", "statements", "--base-url", address, "--output", "here", *FAST, cwd=tmp_path)
    part = tmp_path / "here/statements/part-00000.parquet"
    content = bytearray(part.read_bytes())
    content[10] ^= 1
    part.write_bytes(content)
    failed = run("verify", "here", cwd=tmp_path)
    assert failed.returncode == 6
    assert "part-00000.parquet: other content (sha256)" in failed.stderr


def private_file(path: Path, content: str, mode: int = 0o600) -> str:
    path.write_text(content)
    path.chmod(mode)
    return str(path)


WRONG_USAGE: dict[str, tuple[list[str], str]] = {
    "unknown command": (["exprot"], "No such command"),
    "unknown option": (["export", "--fast"], "No such option"),
    "no address": (["export"], "both missing"),
    "two addresses": (["export", "--environment", "local", "--base-url", "https://a.org"], "both given"),
    "unknown endpoint": (["export", "npq-aplications", "--environment", "local"], "Did you mean npq-applications?"),
    "page size 0": (["export", "--environment", "local", "--page-size", "0"], "from 1 to 3000"),
    "page size -1": (["export", "--environment", "local", "--page-size", "-1"], "from 1 to 3000"),
    "page size 3001": (["export", "--environment", "local", "--page-size", "3001"], "from 1 to 3000"),
    "page size abc": (["export", "--environment", "local", "--page-size", "abc"], "from 1 to 3000"),
    "limit": (["export", "--environment", "local", "--ip-limit", "300"], "N/PERIOD"),
    "time": (["export", "statements", "--environment", "local", "--updated-since", "yesterday-ish"], "ISO 8601"),
    "missing token file": (["export", "--base-url", "https://a.org", "--token-file", "none"], "cannot be read"),
    "unknown service": (["export", "--service", "nqp", "--environment", "local"], "npq"),
    "unknown version": (["endpoints", "--api-version", "v9"], "v3"),
    "progress": (["export", "--environment", "local", "--progress", "loud"], "auto, rich, plain, none"),
    "log format": (["export", "--environment", "local", "--log-format", "xml"], "text, json"),
    "csv mark": (["export", "--environment", "local", "--csv-bom"], "Add --format csv"),
    "gone": (["export", "--environment", "local", "--gone", "drop"], "Add --consistent"),
    "drop": (["export", "--environment", "local", "--drop-column", "emial"], "_extra.NAME"),
    "drop the id": (["export", "--environment", "local", "--drop-column", "id"], "Pseudonymise id"),
    "no key": (["export", "--environment", "local", "--pseudonymise", "email"], "--pseudonym-key-file"),
    "verify nothing": (["verify", "nowhere"], "does not exist"),
    "plan with words": (["plan", "--records", "many"], "--records 50000"),
}


@pytest.mark.parametrize("case", WRONG_USAGE)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, case: str) -> None:
    """Wrong usage is exit code 2, with advice in two lines."""
    arguments, advice = WRONG_USAGE[case]
    failed = run(*arguments, cwd=tmp_path)
    assert failed.returncode == 2
    assert advice in failed.stderr
    assert failed.stdout == ""
    assert 1 <= len(failed.stderr.splitlines()) <= 2
    assert not (tmp_path / "output").exists()


def test_unusable_tokens_are_refused(tmp_path: Path, address: str) -> None:
    """A token that is missing, empty, or readable by others is refused."""
    wanted = ["export", "statements", "--base-url", address, "--output", "here", *FAST]
    missing = run(*wanted, cwd=tmp_path, BULK_EXPORT_TOKEN="")
    assert (missing.returncode, "no token" in missing.stderr) == (2, True)
    empty = run(*wanted, "--token-file", private_file(tmp_path / "empty", "\n"), cwd=tmp_path)
    assert (empty.returncode, "empty" in empty.stderr) == (2, True)
    shared = run(*wanted, "--token-file", private_file(tmp_path / "token", TOKEN, 0o644), cwd=tmp_path)
    assert shared.returncode == 0
    assert "warning: the token file" in shared.stderr
    assert TOKEN not in shared.stderr


def test_output_directories_that_cannot_be_used(tmp_path: Path, address: str) -> None:
    wanted = ["export", "statements", "--base-url", address, *FAST]
    (tmp_path / "file").write_text("")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/thesis.doc").write_text("mine")
    for name, said in [("file", "not a directory"), ("foreign", "not an export"), ("file/below", "cannot be")]:
        failed = run(*wanted, "--output", name, cwd=tmp_path)
        assert (failed.returncode, said in failed.stderr) == (2, True), failed.stderr
    assert run(*wanted, "--output", "done", cwd=tmp_path).returncode == 0
    again = run(*wanted, "--output", "done", cwd=tmp_path)
    assert (again.returncode, "--overwrite" in again.stderr) == (2, True)
    assert run(*wanted, "--output", "done", "--overwrite", cwd=tmp_path).returncode == 0


def test_refused_token_is_exit_code_3(tmp_path: Path, address: str) -> None:
    """A refused token is exit code 3, and everything goes on with another token."""
    wanted = ["export", "statements", "--base-url", address, "--output", "here", *FAST]
    refused = run(*wanted, cwd=tmp_path, BULK_EXPORT_TOKEN="wrong-canary")
    assert refused.returncode == 3
    assert "HTTP Token: Access denied" in refused.stderr
    assert "wrong-canary" not in refused.stderr
    assert run(*wanted, cwd=tmp_path).returncode == 0


def test_unreachable_is_exit_code_4_or_5(tmp_path: Path, address: str) -> None:
    """A service that cannot be reached is exit code 4; a port in use, for the bundled service, is exit code 5."""
    port = address.rpartition(":")[2]
    taken = run("local-service", "--port", port, cwd=tmp_path)
    assert (taken.returncode, "Choose another --port" in taken.stderr) == (5, True)
    with service(tmp_path) as gone:
        pass
    failed = run(
        "export", "statements", "--base-url", gone, *FAST, "--progress", "none", "--retries", "2", cwd=tmp_path
    )
    assert failed.returncode == 4
    assert "failed 3 times" in failed.stderr
    assert "No page was stored yet. Run the same command again when it can be reached." in failed.stderr


def test_token_is_never_shown(tmp_path: Path) -> None:
    """Nothing that is printed or left holds the token, even with --debug."""
    with service(tmp_path, "--error-rate", "0.2", "--records", "50", "--no-limits") as url:
        done = run("export", "--debug", "--base-url", url, "--page-size", "20", "--output", "here", *FAST, cwd=tmp_path)
    with service(tmp_path, "--error-rate", "1") as url:
        wanted = ["--debug", "--base-url", url, "--output", "there", "--retries", "1", *FAST]
        failed = run("export", *wanted, cwd=tmp_path)
    assert failed.returncode == 4
    assert "Traceback" in failed.stderr
    for text in (done.stderr, done.stdout, failed.stderr, failed.stdout):
        assert TOKEN not in text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_lines_for_machines_are_json(tmp_path: Path, address: str) -> None:
    wanted = ["--log-format", "json", "--output", "here", *FAST]
    done = run("export", "statements", "--base-url", address, *wanted, cwd=tmp_path)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[-1]["message"] == "finished"
    assert lines[-1]["records"] == {"statements": 5}
    failed = run("export", "statements", "--base-url", address, *wanted, cwd=tmp_path)
    (error,) = [json.loads(line) for line in failed.stderr.splitlines()]
    assert (error["level"], error["exit_code"]) == ("error", 2)


def wait_for_pages(segment: Path) -> None:
    """Until the export is surely fetching: pages of it are stored, more than there were."""
    before = segment.stat().st_size if segment.exists() else 0
    deadline = time.monotonic() + 30
    while not (segment.exists() and segment.stat().st_size > before + 100_000):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_signal_stops_and_command_resumes(tmp_path: Path, number: int, times: int) -> None:
    """A signal stops the export cleanly, and the same command goes on."""
    with service(tmp_path, "--no-limits", "--latency", "20ms", "--records", "1500") as url:
        wanted = ["npq-applications", "--base-url", url, "--page-size", "30", "--workers", "4", *FAST]
        stopped = start("export", *wanted, "--output", "here", cwd=tmp_path, stderr=subprocess.PIPE)
        wait_for_pages(tmp_path / "here/.bulk-export/journal.pages")
        for _ in range(times):
            stopped.send_signal(number)
        _, said = stopped.communicate(timeout=20)
        assert stopped.returncode == 130
        assert b"The same command with this --output goes on" in said
        assert b"bulk-export resume here is enough for that." in said
        assert b"Traceback" not in said
        assert not (tmp_path / "here/manifest.json").exists()
        assert run("export", *wanted, "--output", "here", cwd=tmp_path).returncode == 0
        assert run("export", *wanted, "--output", "undisturbed", cwd=tmp_path).returncode == 0
    left, right = (tmp_path / name / "npq-applications/part-00000.parquet" for name in ("here", "undisturbed"))
    assert left.read_bytes() == right.read_bytes()
    assert json.loads((tmp_path / "here/manifest.json").read_bytes())["run"]["resumed"] == 1


def test_an_export_killed_outright_goes_on(tmp_path: Path) -> None:
    with service(tmp_path, "--no-limits", "--latency", "10ms", "--records", "1800") as url:
        wanted = ["npq-applications", "--base-url", url, "--page-size", "30", "--workers", "4", *FAST]
        for _ in range(3):
            killed = start("export", *wanted, "--output", "here", cwd=tmp_path, stderr=subprocess.DEVNULL)
            wait_for_pages(tmp_path / "here/.bulk-export/journal.pages")
            killed.kill()
            killed.wait()
        assert run("export", *wanted, "--output", "here", cwd=tmp_path).returncode == 0
        assert run("export", *wanted, "--output", "undisturbed", cwd=tmp_path).returncode == 0
    left, right = (tmp_path / name / "npq-applications/part-00000.parquet" for name in ("here", "undisturbed"))
    assert left.read_bytes() == right.read_bytes()


def test_terminal_display_and_ctrl_c(tmp_path: Path) -> None:
    """A terminal gets a live display, and Ctrl-C ends it."""
    with service(tmp_path, "--no-limits", "--latency", "100ms", "--records", "3000") as url:
        leader, follower = pty.openpty()
        wanted = ["--base-url", url, "--page-size", "10", "--workers", "2", "--output", "here", *FAST]
        export = start(
            *("export", *wanted),
            cwd=tmp_path,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        shown = b""
        deadline = time.monotonic() + 30
        while not (b"npq-applications" in shown and b"next request" in shown and b"counting pages" in shown):
            assert time.monotonic() < deadline, shown
            if select.select([leader], [], [], 0.1)[0]:
                shown += os.read(leader, 65_536)
        export.send_signal(signal.SIGINT)
        while export.poll() is None:
            if select.select([leader], [], [], 0.1)[0]:
                with suppress(OSError):  # the last one on the other side has gone
                    shown += os.read(leader, 65_536)
        os.close(leader)
    assert export.returncode == 130
    assert b"\x1b[?25h" in shown


def test_plan_sends_nothing(tmp_path: Path) -> None:
    """A plan says what an export costs, and sends nothing."""
    shown = run("plan", "participant-declarations", "--records", "300000", "--json", cwd=tmp_path, BULK_EXPORT_TOKEN="")
    assert shown.returncode == 0, shown.stderr
    cost = json.loads(shown.stdout)
    assert cost["requests"] == {"participant-declarations": 1001}
    assert 900 < cost["seconds"] < 1000
    table = run("plan", "--records", "100", "--records", "npq-applications=90001", cwd=tmp_path).stdout
    assert re.search(r"npq-applications +90,001 +301", table)
    assert "used up after" in table


def test_plan_for_sync(tmp_path: Path) -> None:
    """A plan for sync has the cost of a full sync and that of a poll."""
    command = ["plan", "npq-applications", "delivery-partners", "--sync", "--records", "9000", "--changed", "60"]
    table = run(*command, cwd=tmp_path).stdout
    # 31 pages and two sweeps of 4; 120 changes on two pages of 100 and one sweep.
    assert re.search(r"npq-applications +9,000 +39 +3$", table, re.MULTILINE)
    assert re.search(r"delivery-partners +9,000 +39 +39$", table, re.MULTILINE)
    cost = json.loads(run(*command, "--json", cwd=tmp_path).stdout)
    assert (cost["full"]["total"], cost["poll"]["total"]) == (78, 42)
    refused = run("plan", "--changed", "60", cwd=tmp_path)
    assert (refused.returncode, "--changed is for --sync" in refused.stderr) == (2, True)


def test_plan_without_numbers(tmp_path: Path) -> None:
    """A plan without numbers of records says that they are not known."""
    shown = run("plan", "statements", "--base-url", "https://example.org", cwd=tmp_path, BULK_EXPORT_TOKEN="")
    assert shown.returncode == 0
    assert "statements: counted as empty" in shown.stdout
    bundled = json.loads(run("plan", "--environment", "local", "--json", cwd=tmp_path).stdout)
    assert (bundled["total"], bundled["unknown"]) == (6 * 7, [])


def test_a_plan_can_start_from_an_earlier_export(tmp_path: Path, address: str) -> None:
    run("export", "--base-url", address, "--output", "here", *FAST, cwd=tmp_path)
    cost = json.loads(run("plan", "--like", "here", "--json", cwd=tmp_path).stdout)
    assert cost["requests"]["npq-applications"] == 3
    assert cost["requests"]["statements"] == 1


def test_endpoints_are_listed(tmp_path: Path) -> None:
    """Endpoints are listed with their fields, types and filters."""
    listed = json.loads(run("endpoints", "--json", cwd=tmp_path).stdout)
    applications = listed["endpoints"][0]
    assert applications["fields"]["senco_start_date"] == "date"
    assert applications["filters"] == ["cohort", "participant_id", "updated_since"]
    table = run("endpoints", cwd=tmp_path).stdout
    assert re.search(r"cohort +list of integer", table)


def test_completion_is_offered(tmp_path: Path) -> None:
    shown = run_cold(
        "--show-completion", cwd=tmp_path, SHELL="/bin/bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert "--show-completion" in run_cold("--help", cwd=tmp_path).stdout
    assert "Traceback" not in shown.stderr


def test_replay_needs_no_service(tmp_path: Path) -> None:
    """Kept pages give another output without the service."""
    wanted = ["--records", "900", "--records", "statements=7", "--no-limits"]
    with service(tmp_path, *wanted) as url:
        exported = run(
            "export", "statements", "npq-applications", "--base-url", url, "--keep-pages", "--consistent",
            "--output", "kept", *FAST, cwd=tmp_path,
        )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    assert "re-reading to catch missed records" in exported.stderr
    key = private_file(tmp_path / "key", "0123456789abcdef")
    replayed = run(
        "replay", "kept/pages.sqlite", "--format", "ndjson", "--output", "lines", "--drop-column", "full_name",
        "--pseudonymise", "email", "--pseudonym-key-file", key, cwd=tmp_path,
    )  # fmt: skip
    assert (replayed.returncode, replayed.stdout) == (0, "lines\n"), replayed.stderr
    assert run("verify", "lines", cwd=tmp_path).returncode == 0
    content = (tmp_path / "lines/npq-applications/part-00000.ndjson").read_text()
    assert "full_name" not in content
    assert "@" not in content
    refused = run("replay", "kept/manifest.json", "--output", "none", cwd=tmp_path)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (5, 2)


def test_the_version(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout == f"bulk-export 0.2.0\ndecoder: {decoder_name()}\n"
