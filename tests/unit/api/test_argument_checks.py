"""Calls with arguments that a public function does not take."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bulk_export
from bulk_export.pipelines.value_types import is_of_type

FUNCTIONS = sorted(name for name in bulk_export.__all__ if inspect.isfunction(getattr(bulk_export, name)))
VARIABLE = inspect.Parameter.VAR_POSITIONAL
POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


class Other:
    """What no argument is."""


def refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> bulk_export.InvalidArgument:
    """The error of a call. Any other error than InvalidArgument, which is a UsageError, fails the test."""
    with pytest.raises(bulk_export.UsageError) as refused:
        asyncio.run(function(*args, **kwargs)) if inspect.iscoroutinefunction(function) else function(*args, **kwargs)
    assert isinstance(refused.value, bulk_export.InvalidArgument), refused.value
    return refused.value


@contextmanager
def never_asked() -> Iterator[str]:
    """The address of a service that is never connected to."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        service.setblocking(False)
        yield f"http://127.0.0.1:{service.getsockname()[1]}"
        with pytest.raises(BlockingIOError):
            service.accept()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_checked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of another type is refused by name, for each parameter; nothing is sent, and no file is made."""
    monkeypatch.chdir(tmp_path)
    function = getattr(bulk_export, name)
    parameters = inspect.signature(function).parameters
    needed = [one.name for one in parameters.values() if one.kind is POSITIONAL and one.default is one.empty]
    with never_asked() as address:
        asked = {one: text for one, text in (("base_url", address), ("token", "t")) if one in parameters}
        for tried, parameter in parameters.items():
            for wrong in (Other(), b"x", {1: 2}):
                given = {**dict.fromkeys(needed, "x"), **asked, tried: wrong}
                positional = [given.pop(one) for one in needed]
                if parameter.kind is VARIABLE:
                    positional.append(given.pop(tried))
                error = refusal(function, *positional, **given)
                assert error.what.startswith((f"{tried} takes ", f"*{tried} takes ")), error
                assert error.next_step
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_names_and_numbers_are_checked(name: str) -> None:
    """Unknown names, and missing or further arguments, are refused in the same way."""
    function = getattr(bulk_export, name)
    parameters = inspect.signature(function).parameters.values()
    needed = sum(1 for one in parameters if one.kind is POSITIONAL and one.default is one.empty)
    assert f"{name} got an unexpected" in refusal(function, *["x"] * needed, no_such_argument=1).what
    if needed:
        assert f"It is called as {name}(" in refusal(function).next_step
    if VARIABLE not in {one.kind for one in parameters}:
        assert f"It is called as {name}(" in refusal(function, *["x"] * 5).next_step


@pytest.mark.parametrize(
    ("name", "args", "options", "answer"),
    [
        ("run_export", [["statements"]], {}, 'Write run_export("statements", …).'),
        ("export", [["statements"]], {}, 'Write export("statements", …).'),
        ("run_sync", [("a", "b", "c", "d")], {"output": "x"}, 'Write run_sync("a", "b", "c", …).'),
        ("plan", [5], {}, "*names takes text, and was given a value of type int."),
        ("plan", [{"statements": 3}], {}, 'Write plan("statements", …).'),
        ("run_export", [[]], {}, "correct the call"),
        ("run_head", [["statements"]], {}, 'Write run_head("statements", …).'),
        ("stream", [["statements"]], {}, 'Write stream("statements", …).'),
        ("run_replay", ["kept", ["statements"]], {}, 'Write run_replay(…, "statements", …).'),
        ("load", [[Path("out")]], {"to": "sqlite:///x"}, 'Write load("out", …).'),
        ("check_sql", ["out", ["undecided"]], {}, 'Write check_sql(…, "undecided", …).'),
        ("run_export", [], {"endpoints": "statements"}, 'Write endpoints=["statements"].'),
        ("run_export", [], {"output": ["x"]}, 'Write output="x".'),
        ("run_export", [], {"between": ["01:00", "05:00"]}, "of type list. Nothing was sent: correct the call."),
        ("run_export", [], {"filter": {"cohort": 2021}}, 'Write filter={"cohort": "…"}.'),
        ("run_export", [], {"filter": {2021: "cohort"}}, "of type dict. Nothing was sent: correct the call."),
        ("verify", [5], {}, "export takes text or a path, and was given a value of type int."),
        ("run_export", [], {"on_progress": 5}, "on_progress takes a function of 1 argument or None"),
        ("run_export", [], {"on_progress": lambda: None}, "was given a function with the parameters ()."),
        ("run_export", [], {"on_progress": asyncio.sleep}, "was given an asynchronous function."),
        ("run_export_tenants", ["x"], {"on_progress": lambda event: event}, "a function of 2 arguments or None"),
        (
            "export",
            [],
            {"stop": asyncio.Event()},
            "stop takes anyio.Event or None, and was given a value of type asyncio",
        ),
        ("resume", [], {}, "resume: missing a required argument: 'directory'. It is called as resume(directory, …)."),
    ],
)
def test_answer(name: str, args: list[Any], options: dict[str, Any], answer: str) -> None:
    """The error says what the argument takes and, where a list was given, how the call is written."""
    assert answer in str(refusal(getattr(bulk_export, name), *args, **options))


@pytest.mark.parametrize(
    ("name", "args", "option", "answer"),
    [
        ("run_head", ["statements"], "n", "Did you mean 'limit'?"),
        ("run_export", [], "o", "Did you mean 'output'?"),
        ("run_export", [], "f", "Did you mean 'format'?"),
        ("run_export", [], "j", "Did you mean 'workers'?"),
        ("run_export", [], "q", "`progress`"),
        ("run_export", [], "quiet", "`progress`"),
        ("run_export", [], "silent", "`progress`"),
        ("run_doctor", [], "verbose", "the logger `bulk_export`"),
        ("run_export", [], "dry_run", "`bulk_export.plan`"),
        ("run_export", [], "dryRun", "`bulk_export.plan`"),
        ("run_export", [], "tokenfile", "Did you mean 'token_file'?"),
        ("run_export", [], "api_key", "Did you mean 'token'?"),
        ("run_export", [], "password", "Did you mean 'token_file'?"),
        ("run_export", [], "names", "Did you mean 'endpoints'?"),
        ("run_export", [], "tables", "Did you mean 'endpoints'?"),
        ("run_head", [], "table", "Did you mean 'endpoint'?"),
        ("run_export", [], "callback", "Did you mean 'on_progress'?"),
        ("run_export", [], "since", "Did you mean 'updated_since'?"),
        ("run_export", [], "profile", "Configuration files are for the command line"),
        ("run_export", [], "tenants", "`_tenants`"),
        ("run_export", [], "resume", "`bulk_export.resume`"),
        ("run_export", [], "columns", "`drop_column`"),
        ("run_export", [], "asynchronously", "help(bulk_export.run_export) lists those that it takes."),
        ("run_sync", [], "interval", "Did you mean 'every'?"),
        ("plan", [], "rows", "Did you mean 'records'?"),
        ("load", ["x"], "if_exists", "Did you mean 'mode'?"),
        ("run_export", [], "stop", "Only the asynchronous functions"),
        ("run_export", [], "every", "`bulk_export.sync`"),
        ("endpoints", [], "check", "`bulk_export.check_endpoints`"),
        ("check", ["x"], "sql", "`bulk_export.check_sql`"),
        ("verify", [], "path", "Did you mean 'export'?"),
        ("load", ["x"], "database", "Did you mean 'to'?"),
        ("unfinished", [], "json", "the value that the call returns"),
    ],
)
def test_near_misses(name: str, args: list[Any], option: str, answer: str) -> None:
    """Short forms, options of the command line and other programs' words lead to what Python has."""
    assert answer in refusal(getattr(bulk_export, name), *args, **{option: 1}).next_step


def test_mistakes_are_found_first() -> None:
    """Where an event loop runs, a wrong argument is told, and not only that the call has to be another one."""

    async def called() -> None:
        bulk_export.run_export(5)  # type: ignore[arg-type]

    with pytest.raises(bulk_export.InvalidArgument):
        asyncio.run(called())


def test_what_is_taken() -> None:
    """Subclasses, functions in C, and paths of any kind are."""
    assert is_of_type([].append, Callable[[int], object])
    assert is_of_type(print, Callable[[int], object])
    assert is_of_type(dict, Callable[[int], object])
    assert not is_of_type(lambda a, b: a, Callable[[int], object])
