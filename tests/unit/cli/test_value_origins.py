"""What is wrong with a value is said of the place where it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulk_export.cli import app
from bulk_export.cli.reporting import configure_reporting
from bulk_export.cli.runner import run


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, and no logging left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BULK_EXPORT_TOKEN", "canary")
    yield
    configure_reporting("text", debug=False)


def refusal(capsys: pytest.CaptureFixture[str], line: str) -> str:
    """The first line of the error with which a command is refused."""
    assert run(app, line.split()) == 2
    return next(text for text in capsys.readouterr().err.splitlines() if text.startswith("bulk-export: "))


EXPORT = "export statements --base-url http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("page-size = 0", "page-size in ./bulk-export.toml cannot be '0'."),
        ("[export]\npage_size = 0", "page-size in ./bulk-export.toml cannot be '0'."),
        ("format = ['prquet']", "There is no format 'prquet' (format in ./bulk-export.toml)."),
        ("service-limit = 'x'", "'x' is not a limit (service-limit in ./bulk-export.toml)."),
        ("filter = ['color=1']", "statements does not take the filter 'color' (filter in ./bulk-export.toml)."),
        ("flatten = true", "flatten in ./bulk-export.toml is for NDJSON."),
        (
            "page-size = 'auto'\nlimit = 5",
            "auto (page-size in ./bulk-export.toml) and limit in ./bulk-export.toml do not go together.",
        ),
        ("log-format = 'xml'", "There is no log format 'xml' (log-format in ./bulk-export.toml)."),
    ],
)
def test_file_that_was_found(capsys: pytest.CaptureFixture[str], setting: str, said: str) -> None:
    """The file takes the place of the option's name on the command line, or stands behind the quoted value."""
    Path("bulk-export.toml").write_text(setting)
    assert refusal(capsys, EXPORT) == f"bulk-export: {said}"


def test_strongest_source_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The option on the command line, else the variable, else the file as it was named."""
    Path("mine.toml").write_text("page-size = 'x'\n[profile.big]\npage-size = 'y'")
    line = f"{EXPORT} --config mine.toml"
    assert refusal(capsys, line) == "bulk-export: page-size in mine.toml cannot be 'x'."
    assert refusal(capsys, f"{line} --profile big") == "bulk-export: page-size in mine.toml cannot be 'y'."
    monkeypatch.setenv("BULK_EXPORT_PAGE_SIZE", "x")
    assert refusal(capsys, line) == "bulk-export: BULK_EXPORT_PAGE_SIZE cannot be 'x'."
    assert refusal(capsys, f"{line} --page-size x") == "bulk-export: --page-size cannot be 'x'."
    monkeypatch.setenv("BULK_EXPORT_CONFIG", "s3://bucket/x")
    assert refusal(capsys, EXPORT).startswith("bulk-export: BULK_EXPORT_CONFIG takes a path")


def test_other_options_keep_their_names(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is named only for an option that it gave, and for a value that nothing else has."""
    Path("mine.toml").write_text("page-size = 7\nlineage = 'x'")
    monkeypatch.setenv("BULK_EXPORT_CONFIG", "mine.toml")
    assert refusal(capsys, f"{EXPORT} --workers 0") == "bulk-export: --workers cannot be '0'."
    assert refusal(capsys, f"{EXPORT} --format x") == "bulk-export: There is no format 'x'."
    monkeypatch.setenv("BULK_EXPORT_BASE_URL", "ftp://service.example")
    tenant = '[[tenant]]\nname = "a"\nbase-url = "x"\ntoken-file = "token"\n'
    Path("tenants.toml").write_text(tenant)
    Path("token").write_text("secret")
    Path("token").chmod(0o600)
    assert "BULK_EXPORT_BASE_URL" not in refusal(capsys, "export --tenants tenants.toml")
