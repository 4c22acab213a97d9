"""What a user of other programs means by an option or a command that does not exist here.

The spelling is compared by Typer. Here, and in `option_words`, are words that mean the same.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from bulk_export.pipelines.option_words import WORDS

_GENERAL_ADVICE = "bulk-export --help lists commands and options."

# What has no option here, by what others call it.
_ADVICE: Mapping[str, str] = {
    "resume continue restart continue-at -C": "The same command goes on with what is unfinished, and so does"
    " bulk-export resume DIR.",
    "proxy preproxy -x": "The variables HTTPS_PROXY and NO_PROXY name a proxy.",
    "table tables endpoint endpoints resource resources -t": "Endpoints are written without an option:"
    " bulk-export export statements.",
    "columns fields select-columns column": "All fields are exported; --drop-column leaves one out.",
    "schema-only describe": "bulk-export endpoints --arrow-schema lists the columns.",
    "version -V": "bulk-export --version shows it.",
    "all everything recursive mirror -r -a": "Everything is exported if no endpoint is named.",
}
# By command, what others call it.
_COMMANDS: Mapping[str, str] = {
    "export": "download dump get fetch extract copy pull run start backup unload",
    "sync": "mirror update watch replicate poll refresh incremental",
    "resume": "continue restart retry recover unfinished",
    "replay": "convert transform reformat rewrite reprocess",
    "plan": "estimate cost dry-run dryrun simulate explain price",
    "head": "preview show sample peek cat look first tail",
    "doctor": "diagnose test ping check-connection health info diagnostics",
    "verify": "validate checksum compare md5sum sha256sum checksums hash audit",
    "report": "html dashboard summary overview statistics stats profile",
    "load": "import ingest insert upload restore copy-to push",
    "check": "query ask questions",
    "budget": "limits quota usage rate-limit rate limit ratelimit spent",
    "endpoints": "list ls tables resources schema schemas fields lists lsd services",
    "describe": "openapi spec swagger",
    "init": "config configure settings setup configuration",
    "trust": "allow confirm approve",
    "local-service": "serve server mock stub fake stand-in local sandbox",
    "completion": "completions complete autocomplete autocompletion shell-completion",
    "man": "manpage manual man-page docs",
}
# What has no command here, by what others call it.
_COMMAND_ADVICE: Mapping[str, str] = {
    "tenants tenant accounts providers": "Several tenants are served by --tenants FILE, an option of export, sync, plan"
    " and load.",
    "diff difference changes log history": "bulk-export sync prints what changed since the last poll; bulk-export"
    " verify DIR compares an export with its manifest.",
    "status progress jobs ps state": "bulk-export resume lists unfinished exports, and bulk-export report DIR describes"
    " what is finished; bulk-export budget shows what is spent of each limit.",
}
_SPREADSHEETS = ("csv", "excel", "xlsx", "xls", "spreadsheet")
_HELP_WORDS = {"help": "--help", "usage": "--help", "version": "--version"}


def explained(error: Any) -> tuple[str, str]:
    """Return what is wrong with a command line, and what to do about it.

    Args:
        error: The error of Typer.
    """
    from bulk_export.pipelines.settings.commands import COMMANDS

    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    if context is None:
        return error.format_message(), _GENERAL_ADVICE
    name = context.command.name
    advice = f"bulk-export {name} --help lists its options." if name in COMMANDS else _GENERAL_ADVICE
    if option is None or not hasattr(error, "possibilities"):
        return error.format_message(), advice
    if name not in COMMANDS and any(option in options_of(command) for command in COMMANDS):
        return f"{error.message}.", "Options stand behind the command, as in bulk-export export --help."
    known = options_of(name) if name in COMMANDS else ()
    meant = option_meant(option, known) or _misspelt(option, known) or _option_elsewhere(option)
    return (error.format_message() if meant is None else f"{error.message}. {meant}"), advice


def options_of(command: str) -> Collection[str]:
    """Return the options of a command, in all their forms."""
    from bulk_export.pipelines.declarations import Source, declarations
    from bulk_export.pipelines.settings.commands import COMMANDS

    declared = declarations(COMMANDS[command]).values()
    return [flag for entry in declared if Source.LINE in entry.option.sources for flag in entry.flags]


def option_meant(option: str, known: Collection[str]) -> str | None:
    """Say which of the known options is meant by another word for it; None if no such word is known.

    Args:
        option: What was written, like `--silent`.
        known: The options of the command, like `--quiet`.
    """
    word = _word(option)
    for ours, words in WORDS.items():
        if ours in known and word in words.split():
            return _as_question(option, ours)
    for words, advice in _ADVICE.items():
        if word in words.split():
            return advice
    return None


def _misspelt(option: str, known: Collection[str]) -> str | None:
    (nearest,) = difflib.get_close_matches(option, known, n=1, cutoff=0.8) or ("",)
    return f"Did you mean {nearest}?" if nearest else None


def _option_elsewhere(option: str) -> str | None:
    """Say which other commands have an option, or what is meant by it."""
    from bulk_export.pipelines.settings.commands import COMMANDS

    word = _word(option)
    for ours in (option, *(ours for ours, words in WORDS.items() if word in words.split())):
        commands = [command for command in COMMANDS if ours in options_of(command)]
        if commands:
            *others, last = commands
            named = f"{', '.join(others)} and {last}" if others else last
            return f"{ours} is an option of {named}."
    return None


def command_meant(name: str) -> str | None:
    """Return the command that is meant by another word for it, None if none is known."""
    word = name.lower().replace("_", "-")
    if word in _HELP_WORDS:
        return _HELP_WORDS[word]
    return next((ours for ours, words in _COMMANDS.items() if word in words.split()), None)


def command_advice(name: str) -> str | None:
    """Say what does the work of a command that others have and this program does not; None if that is not known."""
    word = name.lower().replace("_", "-")
    return next((advice for words, advice in _COMMAND_ADVICE.items() if word in words.split()), None)


def _word(option: str) -> str:
    """An option as the tables have it: long ones without hyphens in front, short ones as they are."""
    if re.match(r"-[^-]", option):
        return option[:2]
    return option.removeprefix("--").partition("=")[0].lower().replace("_", "-")


def _as_question(option: str, ours: str) -> str:
    reasons = {
        "--token-file": " Everybody on a machine can read its command lines, so a token is in a file"
        " or in BULK_EXPORT_TOKEN.",
        "--service-limit": " It bounds requests: --service-limit 100/1m; --share 50% leaves half to others.",
        "--progress": " It takes auto, rich, plain or none." if "no" in option else "",
        "--environment": " It takes local or sandbox.",
        "--format": " Excel reads --format csv --csv-bom." if _word(option) in _SPREADSHEETS else "",
        "--ca-file": " Certificates are always checked; this trusts further authorities.",
    }
    return f"Did you mean {ours}?{reasons.get(ours, '')}"
