"""The manual page has all commands, options and exit codes of today, and roff takes it without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from bulk_export.cli import app
from bulk_export.cli.command_group import HELP, NAMES
from bulk_export.cli.man_page import EXIT_CODES, man_page
from bulk_export.errors import BulkExportError

KEPT = Path(__file__).parents[3] / "share/man/man1/bulk-export.1"
GROUP: Any = typer.main.get_command(app)
PAGE = man_page(GROUP, GROUP.context_class(GROUP, info_name="bulk-export", **HELP))


def test_page_is_of_today() -> None:
    """What a wheel installs has today's commands and options; if not, run `make man`."""
    assert KEPT.read_text() == PAGE


def test_has_everything() -> None:
    """Every command has a heading, and every option stands there in bold."""
    for name in NAMES:
        assert f'.SS "{name}'.replace("-", "\\-") + " [OPTIONS]" in PAGE
        for parameter in GROUP.commands[name].params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"\\fB{option}\\fR".replace("-", "\\-") in PAGE


def test_exit_codes_are_those_of_the_errors() -> None:
    def codes(kind: type[BulkExportError]) -> set[int]:
        return {kind.exit_code}.union(*map(codes, kind.__subclasses__()))

    assert {int(code) for code, _ in EXIT_CODES} == codes(BulkExportError) - {BulkExportError.exit_code} | {0}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed.")
def test_roff_has_nothing_to_say() -> None:
    """Every request and character is known, and no line begins with what roff would take for a request."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8"], input=PAGE, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    shown = re.sub("\x1b\\[[0-9;]*m|.\x08", "", done.stdout)
    assert "--page-size" in shown
    assert "$BULK_EXPORT_TOKEN" in shown
