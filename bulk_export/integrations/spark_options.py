"""The options of the Spark data source: their names, and which of them may stand in the plan of a query.

Spark keeps the options of a reader with the plan of the query, in its logs and in its web interface. So no secret may
be an option: the token, and a budget with a password, are read where requests are sent, by driver and executors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio

from bulk_export.core.model import Endpoint
from bulk_export.errors import UsageError
from bulk_export.extract.rate_limit.run_totals import check_run
from bulk_export.pipelines.arguments import LOCAL
from bulk_export.pipelines.option_parsing import duration_of
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.remote_descriptions import with_fetched_service
from bulk_export.pipelines.tenant_options import refuse_twins
from bulk_export.pipelines.tenants_file import Tenant, read_tenants

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
_OF_A_STREAM = ("every", "fullEvery")
_OWN = (
    "endpoint",
    "tokenSecret",
    "tenants",
    "run",
    "pagesPerPartition",
    "dedupe",
    "pushFilters",
    "filter.KEY",
    *_OF_A_STREAM,
)
_NAMES = {name.lower(): name for name in (*_TEXTS, *_LISTS, *_SWITCHES, *_OWN)}
_FILTER = "filter."
_PAGES = 50
# As for `sync`.
_FULL_EVERY = "7d"
_SINCE = "updated_since"
_LEAST_INTERVAL = timedelta(seconds=1)
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
        tenants: Those whose lists are read, one after the other; empty if there is one token only.
        every: The time between two polls of a stream; None if this is no stream.
        full_every: The time after which a stream reads everything again.
        run: The name under which requests of all tasks are counted, on the server of the budget.
    """

    endpoint: str
    arguments: Mapping[str, Any]
    token_secret: str | None
    pages_per_partition: int
    dedupe: bool
    push_filters: bool
    tenants: tuple[Tenant, ...] = ()
    every: timedelta | None = None
    full_every: timedelta = timedelta(days=7)
    run: str | None = None

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
            # Executors have other working directories.
            tenants=read_tenants(Path(plain["tenants"]).expanduser().absolute()) if "tenants" in plain else (),
            every=_every(plain),
            full_every=duration_of(plain.get("fullevery", _FULL_EVERY), "fullEvery"),
            run=plain.get("run"),
        )

    def described(self, pushed: Mapping[str, Any] | None = None) -> ExportOptions:
        """Return the options of the export without a token, for what the description alone tells.

        Raises:
            UsageError: An option cannot be used as given.
        """
        address = _address(self.tenants[0]) if self.tenants else {}
        return self._resolved({**address, "token": "unused", "token_file": None}, pushed or {})

    def resolved(self, pushed: Mapping[str, Any], tenant: Tenant | None = None) -> ExportOptions:
        """Return the options of the export, with the secrets as this process finds them.

        Args:
            pushed: Options that follow from the filters of the query.
            tenant: The tenant whose list it is, if there are any.

        Raises:
            UsageError: There is no token here, or an option cannot be used as given.
        """
        own: dict[str, Any] = {} if self.token_secret is None else {"token_file": _secret_file(self.token_secret)}
        if tenant is not None:
            own = {**_address(tenant), "token_file": _token_file(tenant)}
        return self._resolved(own, pushed)

    def changes_since(self, since: datetime | None, tenant: Tenant | None) -> ExportOptions:
        """Return the options of a poll for what changed since an instant, or for everything.

        Changes are requested in pages of the service's default size, as by `sync`.
        """
        options = self.resolved({} if since is None else {_SINCE: since}, tenant)
        if since is None or "page_size" in self.arguments:
            return options
        return replace(options, page_size=min(options.page_size, options.service.default_page_size))

    def refuse_twins(self) -> None:
        """Raise UsageError if two tenants have the same token at one service. Reads all tokens."""
        refuse_twins({tenant.name: self.resolved({}, tenant) for tenant in self.tenants})

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
        if self.run is not None:
            check_run(self.run, options.budget)
        return options

    def has_since(self, endpoint: Endpoint) -> bool:
        """Whether the time of change is among the options already."""
        return _SINCE in self.arguments or endpoint.since in self.arguments.get("filter", {})

    @property
    def budget(self) -> str:
        """Where this process records its requests."""
        return self.described().budget

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
    if "tenants" in options and options.keys() & {"tokenfile", "tokensecret"}:
        raise UsageError(
            "A token is named for all tenants.",
            next_step="Leave tokenFile and tokenSecret out: the file of tenants names one for each.",
        )
    if options.get("environment") == "local" or not options.keys() & {"baseurl", "environment", "tenants"}:
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


def _address(tenant: Tenant) -> dict[str, Any]:
    """Return the options that say where a tenant's service is; none if those for all do."""
    if tenant.base_url is None and tenant.environment is None:
        return {}
    if tenant.environment == LOCAL:
        raise UsageError("The data source needs the address of a running service.", next_step="Write a base-url.")
    return {"base_url": tenant.base_url, "environment": tenant.environment}


def _token_file(tenant: Tenant) -> Path:
    if tenant.token_file is None:
        raise UsageError(
            "There is no token.",
            next_step="Put it in a file of mode 600 on driver and executors, and name that with token-file.",
        )
    return tenant.token_file


def _every(options: Mapping[str, str]) -> timedelta | None:
    """Return the time between two polls, and refuse what a stream cannot have; None if it is no stream."""
    if "every" not in options:
        if "fullevery" in options:
            raise UsageError("fullEvery is for streams.", next_step="Leave it out, or add every for readStream.")
        return None
    every = duration_of(options["every"], "every")
    if every < _LEAST_INTERVAL:
        raise UsageError("every must be a second at least.", next_step="Write it like 1h or 15m.")
    for name in ("updatedSince", "sort", "pushFilters"):
        if name.lower() in options:
            raise UsageError(
                f"A stream cannot have {name}: it decides itself what to request.", next_step=f"Leave {name} out."
            )
    return every


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
