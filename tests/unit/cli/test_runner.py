"""What every command shares: merged options, and errors as lines with an exit code."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_export.cli import app
from bulk_export.cli.reporting import configure_reporting
from bulk_export.cli.runner import prepare, run
from bulk_export.errors import UsageError
from bulk_export.output.verify import Verification
from bulk_export.pipelines.declarations import declarations
from bulk_export.pipelines.settings.commands import COMMANDS


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, and no logging left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BULK_EXPORT_TOKEN", raising=False)
    yield
    configure_reporting("text", debug=False)


def test_prepare_merges_and_takes_out_reporting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line, variables, file and defaults are merged; options on reporting are applied and not returned."""
    monkeypatch.setenv("BULK_EXPORT_WORKERS", "3")
    monkeypatch.setenv("BULK_EXPORT_PROGRESS", "none")
    Path("named.toml").write_text("page-size = 7\nworkers = 2\nlog-format = 'json'\n")
    line = {"page_size": None, "debug": False, "config": Path("named.toml"), "flatten": True}
    prepared = prepare("export", line)
    given = {"page_size": "7", "workers": "3", "flatten": True}
    defaults = {name: declared.default for name, declared in declarations(COMMANDS["export"]).items()}
    for reporting in ("debug", "log_format", "progress", "config", "profile", "quiet", "verbose", "json"):
        del defaults[reporting]
    assert prepared.options == defaults | given
    assert (prepared.console.form, prepared.progress) == ("json", "none")


def test_settings_file_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that BULK_EXPORT_CONFIG names is confirmed by being named."""
    Path("named.toml").write_text("base-url = 'https://a.org'\n")
    monkeypatch.setenv("BULK_EXPORT_CONFIG", "named.toml")
    assert prepare("export", {}).options["base_url"] == "https://a.org"


def test_found_settings_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Its harmless settings are taken and named; those that decide where requests go need `bulk-export trust`."""
    found = Path("bulk-export.toml")
    found.write_text("page-size = 7\n")
    assert prepare("export", {}).options["page_size"] == "7"
    assert capsys.readouterr().err == f"settings from {found.absolute()}: page-size\n"
    found.write_text("base-url = 'https://a.org'\n")
    with pytest.raises(UsageError, match="not confirmed"):
        prepare("export", {})


def test_unknown_variable_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_EXPORT_WORKRES", "3")
    with pytest.warns(UserWarning, match="ignoring the unknown variable BULK_EXPORT_WORKRES"):
        prepare("export", {})


def test_unknown_log_format() -> None:
    """An unknown log format is a usage error that names it."""
    with pytest.raises(UsageError, match="xml"):
        prepare("export", {"log_format": "xml"})


@pytest.mark.parametrize("form", ["text", "json"])
def test_debug_shows_log_messages(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--debug shows what the modules log, in the format of --log-format; without it nothing is shown."""

    def logging_verify(directory: Path, *, quick: bool) -> Verification:
        logging.getLogger("bulk_export.output.verify").debug("reading %s", directory)
        return Verification(files=1, rows=2, bytes=3)

    monkeypatch.setattr("bulk_export.output.verify.verify", logging_verify)
    assert run(app, ["verify", ".", "--log-format", form]) == 0
    assert capsys.readouterr().err == ""
    assert run(app, ["verify", ".", "--log-format", form, "--debug"]) == 0
    shown = capsys.readouterr().err
    started, reading = shown.splitlines()
    if form == "text":
        assert started.startswith("debug: bulk_export.cli.runner: verify of bulk-export ")
        assert reading == "debug: bulk_export.output.verify: reading ."
    else:
        line: dict[str, Any] = json.loads(reading)
        assert (line["level"], line["message"]) == ("debug", "reading .")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--version"], 0, ""),
        (["nothing"], 2, "No such command"),
        (["export", "--gone"], 2, "requires an argument"),
        (["export"], 2, "both missing"),
        (["verify", "none"], 2, "none does not exist"),
    ],
)
def test_exit_codes(arguments: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each wrong command line ends with its exit code and a reason."""
    assert run(app, arguments) == code
    assert text in capsys.readouterr().err
