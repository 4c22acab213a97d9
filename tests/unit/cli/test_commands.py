"""Each declared option reaches the command line, the environment, TOML files and the Python functions."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest
import typer

import bulk_export
from bulk_export.cli import app
from bulk_export.pipelines.arguments import ExportArguments, ReplayArguments, SyncArguments
from bulk_export.pipelines.declarations import Arity, Declaration, Source, declarations
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.settings.commands import COMMANDS, all_settings, settings_of
from bulk_export.pipelines.settings.sources import options_for, read_file, resolve, unknown_variables

PARSED: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
EVERY = [
    (command, declared) for command, arguments in COMMANDS.items() for declared in declarations(arguments).values()
]
FUNCTIONS = {"export": ExportArguments, "sync": SyncArguments, "replay": ReplayArguments}
# Names of the options in the interface, as far as they exist.
SHARED = (
    "service api_version environment base_url token_file output format page_size workers service_limit ip_limit "
    "min_interval source_address budget share filter max_wait progress log_format debug config endpoints"
)
INTERFACE = {
    "export": f"{SHARED} compression flatten updated_since overwrite work_dir",
    "sync": f"{SHARED} max_removed accept_removals every",
    "replay": "endpoints output format compression flatten overwrite work_dir progress log_format debug config",
    "plan": "endpoints service page_size workers service_limit ip_limit share records json",
    "budget": "budget json",
    "endpoints": "service api_version check json",
    "check": "json sql",
    "verify": "log_format debug",
    "describe": "name",
    "local-service": "service records seed port",
}


def test_declaration_reaches_command_line() -> None:
    """The command has the option with the declared metavar and help, which holds the default."""
    assert len(EVERY) > 100
    for command, declared in EVERY:
        assert_on_command_line(command, declared)


def assert_on_command_line(command: str, declared: Declaration) -> None:
    found = {parameter.name: parameter for parameter in PARSED[command].params}.get(declared.name)
    assert (found is not None) == (Source.LINE in declared.option.sources)
    if found is None:
        return
    if not declared.option.positional:
        assert found.opts == list(declared.flags)
    assert found.help == declared.help
    assert found.metavar == declared.metavar
    assert (
        found.is_flag
        if declared.arity is Arity.FLAG
        else (found.multiple or found.nargs == -1) == (declared.arity is Arity.MULTIPLE)
    )
    if declared.option.default is not None:
        assert f"({declared.option.default_text or declared.option.default})" in found.help


def test_declaration_reaches_environment() -> None:
    """Every declared setting is read from its variable, which is not reported as unknown."""
    for command, declared in EVERY:
        assert_in_environment(command, declared)


def assert_in_environment(command: str, declared: Declaration) -> None:
    variable = f"BULK_EXPORT_{declared.name.upper()}"
    text, value = ("yes", True) if declared.arity is Arity.FLAG else ("a", ["a"])
    expected = {declared.name: "a" if declared.arity is Arity.SINGLE else value}
    is_read = Source.SETTINGS in declared.option.sources
    assert resolve({}, settings_of(command), {variable: text}, {}) == (expected if is_read else {})
    if is_read:
        assert unknown_variables({variable: text}) == []


def test_declaration_reaches_toml(tmp_path: Path) -> None:
    """The option is a key of the command's table and of the top level, and is ignored there for other commands."""
    for command, declared in EVERY:
        assert_in_toml(tmp_path / "settings.toml", command, declared)


def assert_in_toml(path: Path, command: str, declared: Declaration) -> None:
    if Source.SETTINGS not in declared.option.sources:
        assert declared.name not in settings_of(command)
        return
    key = declared.name.replace("_", "-")
    value, given = {Arity.FLAG: ("true", True), Arity.SINGLE: ("'a'", "a"), Arity.MULTIPLE: ("['a']", ["a"])}[
        declared.arity
    ]
    for text in (f"{key} = {value}", f"[{command}]\n{key} = {value}"):
        path.write_text(text)
        assert options_for(command, read_file(path)) == {declared.name: given}
    path.write_text(f"{key} = {value}")
    assert options_for("trust", read_file(path)) == {}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_declaration_reaches_python(name: str) -> None:
    """The functions take what their commands take, but for reporting, as keywords that a type checker knows."""
    for function in (getattr(bulk_export, name), getattr(bulk_export, f"run_{name}")):
        (arguments,) = typing.get_args(typing.get_type_hints(function)["options"])
        assert arguments is FUNCTIONS[name]
    of_command = {
        declared.name
        for declared in declarations(COMMANDS[name]).values()
        if Source.PYTHON in declared.option.sources and declared.name not in ("debug", "log_format")
    }
    parameters = typing.get_type_hints(getattr(bulk_export, name)).keys()
    assert of_command - declarations(FUNCTIONS[name]).keys() <= parameters


def test_stream_takes_the_options_of_an_export() -> None:
    """`stream` is typed with the declarations of an export."""
    assert typing.get_args(typing.get_type_hints(bulk_export.stream)["options"]) == (ExportArguments,)


def test_declared_defaults_are_used() -> None:
    given = {name: declared.default for name, declared in declarations(ExportArguments).items()}
    chosen = {"environment": "local", "output": "out"}
    assert ExportOptions.of(**given | chosen) == ExportOptions.of(**chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", INTERFACE)
def test_options_of_the_interface_exist(command: str) -> None:
    """Each command takes the options of the agreed interface."""
    assert set(INTERFACE[command].split()) <= {parameter.name for parameter in PARSED[command].params}


def test_order_of_commands() -> None:
    """The help lists commands in the order of `COMMANDS`."""
    assert list(PARSED) == list(COMMANDS)


def test_options_that_only_the_command_line_or_python_takes() -> None:
    """The token is no setting, and settings name no other settings file."""
    assert {"token", "config", "sql"}.isdisjoint(all_settings())
    assert "token" not in {parameter.name for command in PARSED.values() for parameter in command.params}
