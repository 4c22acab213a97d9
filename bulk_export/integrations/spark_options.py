"""The options of the Spark data source: their names, and which of them may stand in the plan of a query.

Spark keeps the options of a reader with the plan of the query, in its logs and in its web interface. So no secret may
be an option: the token, and a budget with a password, are read where requests are sent, by driver and executors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio

from bulk_export.core.model import Endpoint
from bulk_export.errors import UsageError
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.remote_descriptions import with_fetched_service

BUDGET_VARIABLE = "BULK_EXPORT_BUDGET"
SOURCE_VARIABLE = "BULK_EXPORT_SOURCE_ADDRESS"
SECRETS_VARIABLE = "BULK_EXPORT_SECRETS"

_LISTS = {"dropColumn": "drop_column", "pseudonymise": "pseudonymise", "sourceAddress": "source_address"}
_SWITCHES = {"allowPlainHttp": "allow_plain_http"}
_TEXTS = {
    "service": "service",
    "apiVersion": "api_version",
    "environment": "environment",
    "baseUrl": "base_url",
    "caFile": "ca_file",
    "tokenFile": "token_file",
    "budget": "budget",
    "serviceLimit": "service_limit",
    "ipLimit": "ip_limit",
    "minInterval": "min_interval",
    "share": "share",
    "workers": "workers",
    "retries": "retries",
    "maxWait": "max_wait",
    "pageSize": "page_size",
    "schemaMode": "schema",
    "pseudonymKeyFile": "pseudonym_key_file",
    "updatedSince": "updated_since",
    "sort": "sort",
    "between": "between",
    "timezone": "timezone",
}
_OWN = ("endpoint", "tokenSecret", "pagesPerPartition", "dedupe", "pushFilters", "filter.KEY")
_NAMES = {name.lower(): name for name in (*_TEXTS, *_LISTS, *_SWITCHES, *_OWN)}
_FILTER = "filter."
_PAGES = 50
_REDIS = ("redis", "rediss")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The checked options of a reader. They hold no secret, and can be pickled.

    Attributes:
        endpoint: The name of the endpoint.
        arguments: The options of an export, by their names in Python.
        token_secret: The name of the secret that holds the token, `scope/key`.
        pages_per_partition: The most pages that a task reads.
        dedupe: Whether one task reads everything, and gives each id once.
        push_filters: Whether filters of the query are sent to the service; only if Spark is configured to push them.
    """

    endpoint: str
    arguments: Mapping[str, Any]
    token_secret: str | None
    pages_per_partition: int
    dedupe: bool
    push_filters: bool

    @classmethod
    def of(cls, given: Mapping[str, str]) -> SourceOptions:
        """Check what was given with `option`. The names count without regard to case.

        Raises:
            UsageError: An option is unknown, is a secret, or cannot be used as given.
        """
        options = {name.lower(): value for name, value in given.items()}
        filters = {name[len(_FILTER) :]: value for name, value in options.items() if name.startswith(_FILTER)}
        plain = {name: value for name, value in options.items() if not name.startswith(_FILTER)}
        _refuse_unusable(plain)
        arguments: dict[str, Any] = {
            python: plain[name.lower()] for name, python in _TEXTS.items() if name.lower() in plain
        }
        for name, python in _LISTS.items():
            if name.lower() in plain:
                arguments[python] = [part.strip() for part in plain[name.lower()].split(",") if part.strip()]
        for name, python in _SWITCHES.items():
            arguments[python] = _switch(plain, name)
        if filters:
            arguments["filter"] = filters
        return cls(
            endpoint=plain["endpoint"],
            arguments=anyio.run(with_fetched_service, arguments),
            token_secret=plain.get("tokensecret"),
            pages_per_partition=_count(plain, "pagesPerPartition", _PAGES),
            dedupe=_switch(plain, "dedupe"),
            push_filters=_switch(plain, "pushFilters"),
        )

    def described(self, pushed: Mapping[str, Any] | None = None) -> ExportOptions:
        """Return the options of the export without a token, for what the description alone tells.

        Raises:
            UsageError: An option cannot be used as given.
        """
        return self._resolved({"token": "unused", "token_file": None}, pushed or {})

    def resolved(self, pushed: Mapping[str, Any]) -> ExportOptions:
        """Return the options of the export, with the secrets as this process finds them.

        Args:
            pushed: Options that follow from the filters of the query.

        Raises:
            UsageError: There is no token here, or an option cannot be used as given.
        """
        secrets = {} if self.token_secret is None else {"token_file": _secret_file(self.token_secret)}
        return self._resolved(secrets, pushed)

    def _resolved(self, secrets: Mapping[str, Any], pushed: Mapping[str, Any]) -> ExportOptions:
        arguments: dict[str, Any] = {**pushed, **self.arguments, **secrets}
        arguments["filter"] = {**pushed.get("filter", {}), **self.arguments.get("filter", {})}
        if "budget" not in arguments and (budget := os.environ.get(BUDGET_VARIABLE)):
            arguments["budget"] = budget
        if "source_address" not in arguments and (addresses := os.environ.get(SOURCE_VARIABLE)):
            arguments["source_address"] = addresses.split(",")
        options = ExportOptions.of(self.endpoint, **arguments)
        if options.budget.startswith("memory:"):
            raise UsageError(
                "A budget in memory cannot be shared: every task of Spark is a process of its own.",
                next_step="Name a Redis server with the option budget; with one machine a sqlite:// file does as well.",
            )
        return options

    def has_since(self, endpoint: Endpoint) -> bool:
        """Whether the time of change is among the options already."""
        return "updated_since" in self.arguments or endpoint.since in self.arguments.get("filter", {})

    @property
    def chosen(self) -> Endpoint:
        """The endpoint as the service describes it."""
        (endpoint,) = self.described().endpoints
        return endpoint


def is_shared_by_machines(budget: str) -> bool:
    """Whether several machines can record their requests there."""
    return urlsplit(budget).scheme in _REDIS


def _refuse_unusable(options: Mapping[str, str]) -> None:
    if "token" in options:
        raise UsageError(
            "The token cannot be an option: Spark shows options in plans and logs.",
            next_step="Set BULK_EXPORT_TOKEN for driver and executors, or name a file with tokenFile or tokenSecret.",
        )
    if unknown := sorted(options.keys() - _NAMES.keys()):
        known = ", ".join(sorted(_NAMES.values(), key=str.lower))
        raise UsageError(f"The data source has no option {unknown[0]!r}.", next_step=f"It has: {known}.")
    if "endpoint" not in options:
        raise UsageError("The option endpoint is missing.", next_step='Add .option("endpoint", NAME).')
    if options.get("environment") == "local" or not options.keys() & {"baseurl", "environment"}:
        raise UsageError(
            "The data source needs the address of a running service.", next_step='Add .option("baseUrl", URL).'
        )
    if "tokenfile" in options and "tokensecret" in options:
        raise UsageError("The token is named twice.", next_step="Use tokenFile or tokenSecret, not both.")
    if "@" in options.get("budget", ""):
        raise UsageError(
            "A budget with a password cannot be an option: Spark shows options in plans and logs.",
            next_step=f"Set {BUDGET_VARIABLE} for driver and executors in place of the option.",
        )


def _switch(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name.lower(), "false").strip().lower()
    if value not in ("true", "false"):
        raise UsageError(f"The option {name} is neither true nor false.", next_step="Write true or false.")
    return value == "true"


def _count(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name.lower(), str(default)).strip()
    if not text.isdecimal() or not 0 < int(text) < 1_000_000:
        raise UsageError(f"The option {name} is not a number from 1.", next_step=f"Write one like {default}.")
    return int(text)


def _secret_file(name: str) -> Path:
    """Return the file of a secret that is mounted as `scope/key`."""
    directory, parts = os.environ.get(SECRETS_VARIABLE), name.split("/")
    if not directory:
        raise UsageError(
            "tokenSecret names a secret, and this process does not know where secrets are mounted.",
            next_step=f"Set {SECRETS_VARIABLE} to that directory, or BULK_EXPORT_TOKEN to the secret itself.",
        )
    if len(parts) != 2 or any(part in ("", ".", "..") for part in parts):
        raise UsageError("tokenSecret is not of the form scope/key.", next_step="Write the name of a mounted secret.")
    return Path(directory, *parts)
