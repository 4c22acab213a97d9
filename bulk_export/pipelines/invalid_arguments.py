"""What is said of a Python call with an argument that its function does not take."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from bulk_export.errors import InvalidArgument
from bulk_export.pipelines.option_words import WORDS
from bulk_export.pipelines.value_types import type_text, value_text

# By argument, what else a caller may write, before the words that the command line knows.
_ARGUMENT_WORDS: Mapping[str, str] = {
    "token": "api-key apikey api-token auth auth-token bearer bearer-token access-token",
    "endpoints": "names name endpoint table tables list lists resource resources",
    "endpoint": "names name endpoints table list resource",
    "directory": "path dir folder file export output location",
    "export": "path dir folder file directory output location",
    "archive": "path dir folder file directory export pages",
    "spec": "path file openapi openapi-file swagger url",
    "on_progress": "callback on-event on-events progress-callback callbacks hook",
    "observer": "listener observers",
    "every": "interval",
    "records": "rows count counts",
    "mode": "if-exists write-mode",
}
# By option that only the command line has, or what has no option at all, what to do instead.
_ADVICE: Mapping[str, str] = {
    "quiet": "A call shows warnings only, unless `progress` says more; messages go to the logger `bulk_export`.",
    "verbose": "Messages go to the logger `bulk_export`: configure it.",
    "debug": "Messages go to the logger `bulk_export`: configure it.",
    "log-format": "Messages go to the logger `bulk_export`: configure it.",
    "progress": "This call shows no progress.",
    "dry-run": "Call `bulk_export.plan`: it estimates requests and time, and sends nothing.",
    "json": "The result is the value that the call returns.",
    "csv": "The result is the value that the call returns.",
    "config": "Configuration files are for the command line: give their options as arguments.",
    "profile": "Configuration files are for the command line: give their options as arguments.",
    "tenants": "The functions whose names end with `_tenants` serve several.",
    "sql": "Call `bulk_export.check_sql`.",
    "check": "`bulk_export.check_endpoints` compares a description with what a service publishes.",
    "arrow-schema": "Call `bulk_export.arrow_schema`.",
    "resume": "The same call goes on with what is unfinished, and so does `bulk_export.resume`.",
    "columns": "All fields are exported; `drop_column` leaves one out.",
    "fields": "All fields are exported; `drop_column` leaves one out.",
    "proxy": "The variables HTTPS_PROXY and NO_PROXY name a proxy.",
    "every": "`bulk_export.sync` keeps a copy current, and takes `every`.",
    "stop": "Only the asynchronous functions take it, such as `bulk_export.export`.",
}
_SHORT_FORMS = {"q": "quiet", "v": "verbose"}
_MOST_SHOWN = 20


def unknown_argument(
    function: str, name: str, known: Collection[str], short_forms: Mapping[str, str]
) -> InvalidArgument:
    """Return the error for a keyword argument that a function does not have, with the one that is meant.

    Args:
        function: The name of the function.
        name: The argument that was given.
        known: Those that it has.
        short_forms: The letters of the command line for some of them.
    """
    listed = f"It takes: {', '.join(known)}."
    if len(known) > _MOST_SHOWN:
        listed = f"help(bulk_export.{function}) lists those that it takes."
    return InvalidArgument(
        f"{function} got an unexpected keyword argument {name!r}.", next_step=_meant(name, known, short_forms) or listed
    )


def _meant(name: str, known: Collection[str], short_forms: Mapping[str, str]) -> str | None:
    if name in short_forms:
        return _question(short_forms[name])
    word = f"-{name}" if len(name) == 1 else name.lower().replace("_", "-")
    for option, words in (*_ARGUMENT_WORDS.items(), *WORDS.items()):
        argument = option.removeprefix("--").replace("-", "_")
        if argument in known and word in words.split():
            return _question(argument)
    word = _SHORT_FORMS.get(name, word)
    for option, advice in _ADVICE.items():
        if word == option or word in WORDS.get(f"--{option}", "").split():
            return advice
    (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.7) or ("",)
    return _question(nearest) if nearest else None


def _question(argument: str) -> str:
    return f"Did you mean {argument!r}?"


def value_of_another_type(
    argument: str, declared: Any, value: object, next_step: str = "Nothing was sent: correct the call."
) -> InvalidArgument:
    """Return the error for a value of a type that an argument does not take. The value is not repeated."""
    return InvalidArgument(
        f"{argument} takes {type_text(declared)}, and was given {value_text(value)}.", next_step=next_step
    )
