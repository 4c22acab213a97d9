"""The options that each command takes.

Those that Python programs take too are declared in `pipelines.arguments`, all others here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypedDict

from bulk_export.pipelines.arguments import (
    AddressArguments,
    BudgetArguments,
    ExportArguments,
    LimitArguments,
    ReplayArguments,
    ServiceArguments,
    SyncArguments,
    TokenArguments,
    TransportArguments,
)
from bulk_export.pipelines.declarations import Arity, Option, Shown, Source, Trust, What, declarations
from bulk_export.pipelines.inspection_arguments import DoctorArguments, HeadArguments
from bulk_export.pipelines.load_arguments import LoadArguments
from bulk_export.pipelines.plan_arguments import PlanArguments
from bulk_export.pipelines.report_arguments import ReportArguments
from bulk_export.progress import DISPLAYS

_PROGRESS_HELP = "Progress on standard error."


class EndpointNames(TypedDict, total=False):
    """Which endpoints to work on."""

    endpoints: Annotated[
        Sequence[str], Option("Names of endpoints; all by default.", metavar="ENDPOINT", positional=True)
    ]


class TenantsOptions(TypedDict, total=False):
    """For whom to run a command."""

    tenants: Annotated[
        str | None,
        What(
            "File with several tenants, each with a token: all are served side by side, each in DIR/{tenant}.",
            metavar="FILE",
            sources=Source.LINE | Source.SETTINGS,
            trust=Trust.CONFIRMED,
        ),
    ]


class DryRunOptions(TypedDict, total=False):
    """Whether to run a command at all."""

    dry_run: Annotated[bool, What("Show what it would cost, as `plan` does, and send nothing.", sources=Source.LINE)]


class DisplayOptions(TypedDict, total=False):
    """What to show while a command runs."""

    progress: Annotated[str, Shown(_PROGRESS_HELP, default="auto", choices=DISPLAYS)]


class VerbosityOptions(DisplayOptions, total=False):
    """How much a command says while it works, and in which form its result is."""

    quiet: Annotated[
        bool,
        Shown(
            "Only errors, and warnings that a record may be missing.", sources=Source.LINE | Source.SETTINGS, short="-q"
        ),
    ]
    verbose: Annotated[bool, Shown("Decisions as log messages.", sources=Source.LINE | Source.SETTINGS, short="-v")]
    json: Annotated[bool, Shown("The summary as one JSON object on standard output.", sources=Source.LINE)]


class IgnoredDisplayOptions(TypedDict, total=False):
    """`progress` of a command that shows none: settings that are written for all commands may still name it."""

    progress: Annotated[str, Shown(_PROGRESS_HELP, default="auto", choices=DISPLAYS, sources=Source.SETTINGS)]


class DebugOptions(TypedDict, total=False):
    """Whether to show log messages."""

    debug: Annotated[bool, Shown("Show log messages and tracebacks; never the token.")]


class ReportOptions(DebugOptions, total=False):
    """How a command reports, and where it finds its settings."""

    log_format: Annotated[str, Shown("Format of standard error.", default="text", choices=("text", "json"))]
    config: Annotated[
        Path | None,
        Option(
            "TOML file with options.",
            metavar="FILE",
            default_text="bulk-export.toml, if there is one",
            sources=Source.LINE,
        ),
    ]
    profile: Annotated[str | None, Option("Table [profile.NAME] of that file.", metavar="NAME", sources=Source.LINE)]


class JsonOptions(TypedDict, total=False):
    """The form of the result."""

    json: Annotated[bool, Shown("JSON instead of a table.")]


class ExportCommand(
    EndpointNames, ExportArguments, TenantsOptions, DryRunOptions, VerbosityOptions, ReportOptions, total=False
):
    """`bulk-export export`."""


class SyncCommand(
    EndpointNames, SyncArguments, TenantsOptions, DryRunOptions, VerbosityOptions, ReportOptions, total=False
):
    """`bulk-export sync`."""


class ReplayCommand(EndpointNames, ReplayArguments, VerbosityOptions, ReportOptions, total=False):
    """`bulk-export replay`."""


class PlanCommand(
    EndpointNames, PlanArguments, TenantsOptions, JsonOptions, IgnoredDisplayOptions, ReportOptions, total=False
):
    """`bulk-export plan`."""


class RecordFormatOptions(TypedDict, total=False):
    """The form of records on standard output."""

    json: Annotated[bool, Shown("One JSON object a line.", sources=Source.LINE)]
    csv: Annotated[bool, Shown("CSV with a header.", sources=Source.LINE)]


class HeadCommand(HeadArguments, RecordFormatOptions, IgnoredDisplayOptions, ReportOptions, total=False):
    """`bulk-export head`."""


class DoctorCommand(DoctorArguments, JsonOptions, IgnoredDisplayOptions, ReportOptions, total=False):
    """`bulk-export doctor`."""


class VerifyOptions(TypedDict, total=False):
    """How thoroughly to verify."""

    quick: Annotated[bool, What("Compare sizes only, and the ETags of an object store; read no file.")]


class VerifyCommand(VerifyOptions, IgnoredDisplayOptions, ReportOptions, total=False):
    """`bulk-export verify`."""


class ReportCommand(ReportArguments, IgnoredDisplayOptions, ReportOptions, total=False):
    """`bulk-export report`."""

    json: Annotated[bool, Option("What was written as one JSON object.", sources=Source.LINE)]


class LoadCommand(EndpointNames, LoadArguments, TenantsOptions, VerbosityOptions, ReportOptions, total=False):
    """`bulk-export load`."""


class SqlOptions(TypedDict, total=False):
    """The SQL of a check."""

    sql: Annotated[
        str | None,
        What(
            "Print the SQL of a question: undecided, changed or unlinked.",
            metavar="NAME",
            choices=("undecided", "changed", "unlinked"),
            sources=Source.LINE,
        ),
    ]


class CheckCommand(SqlOptions, JsonOptions, ReportOptions, total=False):
    """`bulk-export check`."""


class BudgetCommand(BudgetArguments, JsonOptions, IgnoredDisplayOptions, ReportOptions, total=False):
    """`bulk-export budget`."""


class ListingOptions(TypedDict, total=False):
    """What to list of a service."""

    check: Annotated[bool, What("Compare with what the service at an address publishes; no token is sent.")]
    arrow_schema: Annotated[bool, Shown("List the Parquet columns with their Arrow types.")]


class EndpointsCommand(
    EndpointNames,
    ServiceArguments,
    AddressArguments,
    ListingOptions,
    JsonOptions,
    TransportArguments,
    IgnoredDisplayOptions,
    ReportOptions,
    total=False,
):
    """`bulk-export endpoints`."""


class DescriptionOptions(TypedDict, total=False):
    """What a description says that an OpenAPI file does not."""

    name: Annotated[str | None, What("Name of the service.", metavar="NAME", default_text="from its title")]


class DescribeCommand(DescriptionOptions, TransportArguments, IgnoredDisplayOptions, ReportOptions, total=False):
    """`bulk-export describe`."""


class ResumeCommand(TokenArguments, VerbosityOptions, ReportOptions, total=False):
    """`bulk-export resume`."""


class InitCommand(TypedDict):
    """`bulk-export init`."""


class TrustCommand(TypedDict):
    """`bulk-export trust`."""


class CompletionCommand(TypedDict):
    """`bulk-export completion`."""


class ManCommand(TypedDict):
    """`bulk-export man`."""


class LocalServiceCommand(ServiceArguments, LimitArguments, DebugOptions, total=False):
    """`bulk-export local-service`, without the options that only it has and that no setting gives."""


COMMANDS: Mapping[str, type] = {
    "export": ExportCommand,
    "sync": SyncCommand,
    "resume": ResumeCommand,
    "replay": ReplayCommand,
    "plan": PlanCommand,
    "head": HeadCommand,
    "doctor": DoctorCommand,
    "verify": VerifyCommand,
    "report": ReportCommand,
    "load": LoadCommand,
    "check": CheckCommand,
    "budget": BudgetCommand,
    "endpoints": EndpointsCommand,
    "describe": DescribeCommand,
    "init": InitCommand,
    "trust": TrustCommand,
    "local-service": LocalServiceCommand,
    "completion": CompletionCommand,
    "man": ManCommand,
}


def settings_of(command: str) -> dict[str, Arity]:
    """Return the options of a command that environment variables and a TOML file may give."""
    declared = declarations(COMMANDS[command])
    return {name: entry.arity for name, entry in declared.items() if Source.SETTINGS in entry.option.sources}


def all_settings() -> tuple[str, ...]:
    """Return the options of any command that environment variables and a TOML file may give."""
    return tuple(dict.fromkeys(itertools.chain.from_iterable(map(settings_of, COMMANDS))))


def settings_that_need(trust: Trust) -> frozenset[str]:
    """Return the options that need this kind of trust in a settings file that was found."""
    return frozenset(
        name
        for arguments in COMMANDS.values()
        for name, declared in declarations(arguments).items()
        if declared.option.trust is trust
    )
