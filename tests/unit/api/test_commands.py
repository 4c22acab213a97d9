"""What the command line does can be done from Python."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer

import bulk_export
from bulk_export.cli import app
from bulk_export.cli.command_group import NAMES

# About this machine's shells and manuals; a program starts the service as a process of its own.
_FOR_PEOPLE = {"local-service", "completion", "man"}
# How the command line shows what Python returns or logs, and where it reads options.
_FORM = {"quiet", "verbose", "debug", "log_format", "json", "csv", "config", "profile", "help"}
# By command, what other functions do, or do by another name.
_OTHERWISE = {
    "export": {"dry_run": "plan", "tenants": "export_tenants"},
    "sync": {"dry_run": "plan", "tenants": "sync_tenants"},
    "plan": {"tenants": "plan_tenants"},
    "load": {"tenants": "load_tenants"},
    "verify": {"directory": "verify"},
    "check": {"sql": "check_sql"},
    "endpoints": {
        "endpoints": "endpoints",
        "check": "check_endpoints",
        "environment": "check_endpoints",
        "base_url": "check_endpoints",
        "arrow_schema": "arrow_schema",
    },
}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in _FOR_PEOPLE])
def test_every_option_has_its_argument(name: str) -> None:
    """A command has a function of its name, and each option an argument of its name, or a function instead."""
    group: Any = typer.main.get_command(app)
    function = getattr(bulk_export, name)
    options = {option.name for option in group.commands[name].params} - _FORM
    instead = _OTHERWISE.get(name, {})
    assert options - set(inspect.signature(function).parameters) == set(instead)
    assert all(hasattr(bulk_export, other) for other in instead.values())
    assert not inspect.iscoroutinefunction(function) or hasattr(bulk_export, f"run_{name}")
