"""The options of each tenant: those of the command, with what the file of tenants says in their place.

All are checked, and all tokens read, before anything is sent. An error names the tenant, and never a token.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from bulk_export.errors import UsageError
from bulk_export.extract.rate_limit.key import service_origin
from bulk_export.extract.rate_limit.precedence import Precedence, Rank
from bulk_export.output.directory import holds_own_export
from bulk_export.pipelines.arguments import LOCAL, PathText
from bulk_export.pipelines.load_options import LoadOptions
from bulk_export.pipelines.option_parsing import output_of
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.tenants_file import Tenant
from bulk_export.services.catalogue import load_service

T = TypeVar("T")
R = TypeVar("R")

# Stands for the name of the tenant in values of options.
PLACEHOLDER = "{tenant}"
_OF_THE_FILE = ("token", "token_file")
# All tenants would write to one place.
_OF_ONE_RUN = ("publish", "metrics")


@dataclass(frozen=True, slots=True)
class TenantRuns(Generic[R]):
    """What to run for each tenant, by name and in order.

    Attributes:
        output: The directory that holds those of the tenants.
        options: The checked options of each.
    """

    output: Path
    options: Mapping[str, R]


def export_options(
    tenants: Sequence[Tenant], endpoints: Sequence[str], options: Mapping[str, Any]
) -> TenantRuns[ExportOptions]:
    """Check the options of an export for all tenants.

    Args:
        tenants: The tenants.
        endpoints: Names of endpoints.
        options: The options of `bulk-export export`, for all tenants.

    Raises:
        UsageError: An option cannot be used as given, or two tenants have the same token.
    """
    output = _output(options)
    with _each_warning_once():
        resolved = {
            tenant.name: _for(tenant, lambda own: ExportOptions.of(endpoints, **own), _own(tenant, options, output))
            for tenant in tenants
        }
    refuse_twins(resolved)
    numbered = enumerate(resolved.items())
    precedence = Precedence(max(one.workers for one in resolved.values()))
    return TenantRuns(output, {name: replace(one, rank=Rank(precedence, number)) for number, (name, one) in numbered})


def sync_options(
    tenants: Sequence[Tenant], endpoints: Sequence[str], options: Mapping[str, Any]
) -> TenantRuns[SyncOptions]:
    """Check the options of a copy for all tenants.

    Args:
        tenants: The tenants.
        endpoints: Names of endpoints.
        options: The options of `bulk-export sync`, for all tenants. In `load`, `{tenant}` stands for the name.

    Raises:
        UsageError: An option cannot be used as given, two tenants have the same token, or their copies would be
            loaded into the same tables.
    """
    if options.get("output") is None:
        raise UsageError("There is no directory for the copies.", next_step="Name it with --output.")
    output = _output(options)
    to = options.get("load")
    common = {name: value for name, value in options.items() if name != "load"}
    with _each_warning_once():
        resolved = {
            tenant.name: _for(tenant, lambda own: SyncOptions.of(endpoints, **own), _own(tenant, common, output))
            for tenant in tenants
        }
    refuse_twins({name: one.full for name, one in resolved.items()})
    loads = {} if to is None else load_options(tenants, output, (), {"to": to}, option="--load").options
    precedence = Precedence(max(one.full.workers for one in resolved.values()))
    runs = {}
    for number, (name, one) in enumerate(resolved.items()):
        rank = Rank(precedence, number)
        full, changes = replace(one.full, rank=rank), replace(one.changes, rank=rank)
        runs[name] = replace(one, full=full, changes=changes, load=loads.get(name))
    return TenantRuns(output, runs)


def load_options(
    tenants: Sequence[Tenant],
    directory: PathText,
    endpoints: Sequence[str],
    options: Mapping[str, Any],
    *,
    option: str = "--to",
) -> TenantRuns[LoadOptions]:
    """Check the options of a load for all tenants, each from its directory into tables of its own.

    Args:
        tenants: The tenants. Their `schema` and `table_prefix` win over the options.
        directory: The directory that holds those of the tenants.
        endpoints: Names of endpoints.
        options: The options of `bulk-export load`. In `to`, `schema` and `table_prefix`, `{tenant}` stands for the
            name.
        option: The option of the command that holds `to`, for messages.

    Raises:
        UsageError: An option cannot be used as given, or two tenants would have the same tables.
    """
    output, resolved = Path(directory), {}
    for tenant in tenants:
        own = dict(options)
        for key, of_file in (("to", None), ("schema", tenant.schema), ("table_prefix", tenant.table_prefix)):
            value = own.get(key) if of_file is None else of_file
            own[key] = value.replace(PLACEHOLDER, tenant.name) if isinstance(value, str) else value
        resolved[tenant.name] = _for(
            tenant, functools.partial(_load_options, output / tenant.name, endpoints, option), own
        )
    seen: dict[object, str] = {}
    for name, one in resolved.items():
        address = one.address
        place = (str(address), (address.schema or "").casefold(), one.table_prefix.casefold())
        if (other := seen.setdefault(place, name)) != name:
            raise UsageError(
                f"The tables of the tenants {other} and {name} would be the same.",
                next_step=("Write --schema {tenant}, --table-prefix {tenant}_ or a" if option == "--to" else "Write a")
                + f" database for each as in {option} duckdb:///data/{PLACEHOLDER}.duckdb;"
                " or give each a schema or table-prefix in the file.",
            )
    return TenantRuns(output, resolved)


def _load_options(directory: Path, endpoints: Sequence[str], option: str, options: Mapping[str, Any]) -> LoadOptions:
    return LoadOptions.of(directory, endpoints, option=option, **options)


def _output(options: Mapping[str, Any]) -> Path:
    """Return the directory of all tenants."""
    for name in _OF_THE_FILE:
        if options.get(name) is not None:
            raise UsageError(
                "A token is given for all tenants.",
                next_step="Leave --token-file out: the file of tenants names one for each.",
            )
    if "://" in os.fspath(options.get("output") or ""):
        raise UsageError(
            "Tenants are fetched into a directory.", next_step="Name a directory with --output, and copy it from there."
        )
    for name in _OF_ONE_RUN:
        if options.get(name) is not None:
            raise UsageError(f"--{name} is for a run of one tenant.", next_step=f"Leave --{name} out.")
    service = options.get("service") or "npq"
    described = load_service(service, options.get("api_version"))
    output = output_of(options.get("output"), described)
    if holds_own_export(output):
        raise UsageError(
            f"{output} holds an export or a copy of its own.", next_step="Choose another --output for the tenants."
        )
    return output


def _own(tenant: Tenant, options: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Return the options of a command as they are for one tenant."""
    own = {name: value for name, value in options.items() if name not in _OF_THE_FILE}
    own["output"] = output / tenant.name
    if own.get("work_dir") is not None:
        own["work_dir"] = Path(own["work_dir"]) / tenant.name
    if tenant.base_url is not None or tenant.environment is not None:
        own["base_url"], own["environment"] = tenant.base_url, tenant.environment
    if tenant.token_file is not None:
        own["token_file"] = tenant.token_file
    elif own.get("environment") != LOCAL:
        raise UsageError(
            f"Tenant {tenant.name}: there is no token.",
            next_step="Put it in a file only you can read, and name that with token-file.",
        )
    return own


def _for(tenant: Tenant, resolve: Callable[[dict[str, Any]], T], options: dict[str, Any]) -> T:
    """Check options of one tenant, whose name errors get."""
    try:
        return resolve(options)
    except UsageError as error:
        raise UsageError(f"Tenant {tenant.name}: {error.what}", kept=error.kept, next_step=error.next_step) from None


def refuse_twins(options: Mapping[str, ExportOptions]) -> None:
    """Raise UsageError for a token that two tenants have at one service: one would get the records of the other."""
    seen: dict[tuple[str, str], str] = {}
    for name, one in options.items():
        if one.token is None or one.base_url is None:
            continue
        other = seen.setdefault((service_origin(one.base_url), one.token.reveal()), name)
        if other != name:
            raise UsageError(
                f"The tenants {other} and {name} have the same token, so both would get the same records.",
                next_step="Give each tenant the token that was issued to it.",
            )


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Pass on warnings about options once, and not once for each tenant."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    _warn_once((warning.category, str(warning.message)) for warning in caught)


def _warn_once(found: Iterable[tuple[type[Warning], str]]) -> None:
    for category, text in dict.fromkeys(found):
        warnings.warn(text, category, stacklevel=4)
