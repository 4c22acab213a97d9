"""Opens a store with the ordinary credentials of its kind: from the environment, a profile, or the machine.

No credential is an option, and none is kept. Endpoints come from the environment, too, so a private one or a stand-in
needs no option either. Plain http is used on this machine only, unless the variables of the store allow more.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bulk_export.errors import UsageError
from bulk_export.output.object_store.aws_profile import profile_session, read_profile
from bulk_export.output.object_store.store_options import StoreOptions
from bulk_export.output.object_store.url import StoreUrl

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

    Connected = S3Store | AzureStore | GCSStore

_YES = ("1", "true", "yes", "on")
_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_AZURE_ENDPOINTS = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
_AZURE_ACCOUNTS = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
_CONNECTION_STRING = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_key",
    "blobendpoint": "endpoint",
}


@dataclass(frozen=True, slots=True)
class StorePatience:
    """How long to try, in seconds. A request moves up to 8 MiB, so `request` is for a line of some 70 kB a second."""

    connect: float = 10
    request: float = 120
    retries: int = 6
    shortest_backoff: float = 0.2
    longest_backoff: float = 15
    all_retries: float = 180


def require_obstore() -> None:
    """Raise UsageError unless the package for object stores is installed."""
    if importlib.util.find_spec("obstore") is None:
        raise UsageError(
            "Exports in object stores need the extra cloud.", next_step="pip install 'bulk-export[cloud]' adds it."
        )


def open_store(
    url: StoreUrl,
    options: StoreOptions | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    patience: StorePatience | None = None,
    anonymous: bool = False,
) -> Connected:
    """Open the store of an address; keys are below its prefix. Nothing is sent.

    Args:
        url: The address.
        options: How objects are written.
        environ: Environment variables; by default those of the process.
        patience: Timeouts and retries.
        anonymous: Whether requests carry no credentials.

    Raises:
        UsageError: The package is missing, or the settings of the store cannot be used.
    """
    require_obstore()
    from obstore import exceptions
    from obstore.store import AzureStore, GCSStore, S3Store

    variables = os.environ if environ is None else environ
    patience = patience or StorePatience()
    config: dict[str, Any] = dict((options or StoreOptions()).config)
    client: dict[str, Any] = {
        "timeout": timedelta(seconds=patience.request),
        "connect_timeout": timedelta(seconds=patience.connect),
    }
    if anonymous:
        config["skip_signature"] = True
    common: dict[str, Any] = {
        "config": config,
        "client_options": client,
        "prefix": url.prefix or None,
        "retry_config": {
            "max_retries": patience.retries,
            "retry_timeout": timedelta(seconds=patience.all_retries),
            "backoff": {
                "init_backoff": timedelta(seconds=patience.shortest_backoff),
                "max_backoff": timedelta(seconds=patience.longest_backoff),
                "base": 2,
            },
        },
    }
    try:
        if url.scheme == "s3":
            # The store compares what arrives with a checksum that is sent along.
            config["checksum_algorithm"] = "SHA256"
            if not anonymous:
                profile = read_profile(variables)
                config.update(profile.config)
                common["credential_provider"] = profile_session(profile) if profile.needs_boto3 else None
            endpoint = _first(variables, _S3_ENDPOINTS)
            config.update({"endpoint": endpoint} if endpoint else {})
            client.update(_allowed_http(endpoint, variables, "AWS_ALLOW_HTTP"))
            return S3Store(url.bucket, **common)
        if url.scheme == "gs":
            return GCSStore(url.bucket, **common)
        config.update(_azure_config(url, variables, anonymous=anonymous))
        client.update(_allowed_http(config.get("endpoint", ""), variables, "AZURE_ALLOW_HTTP"))
        return AzureStore(url.bucket, **common)
    except (exceptions.BaseError, ValueError):
        # Not shown: the message may hold a key.
        raise UsageError(
            f"The settings of the store of {url} in the environment cannot be used.",
            next_step="Check the variables of its region, endpoint and credentials; see docs/lake.md.",
        ) from None


def _azure_config(url: StoreUrl, environ: Mapping[str, str], *, anonymous: bool) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for pair in environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";"):
        name, _, value = pair.partition("=")
        if known := _CONNECTION_STRING.get(name.strip().lower()):
            config[known] = value.strip()
    if anonymous:
        config = {name: config[name] for name in ("account_name", "endpoint") if name in config}
    account = url.account or _first(environ, _AZURE_ACCOUNTS) or config.get("account_name", "")
    if not account:
        raise UsageError(
            f"{url} does not say which account it is in.",
            next_step="Set AZURE_STORAGE_ACCOUNT_NAME, or write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX.",
        )
    if endpoint := _first(environ, _AZURE_ENDPOINTS):
        config["endpoint"] = endpoint
    if url.is_fabric:
        config["use_fabric_endpoint"] = True
    return config | {"account_name": account}


def _allowed_http(endpoint: str, environ: Mapping[str, str], variable: str) -> dict[str, bool]:
    """The setting for an endpoint on this machine, or for one that the user allowed to be plain http."""
    if not endpoint.lower().startswith("http://"):
        return {}
    if _is_loopback(urlsplit(endpoint).hostname or "") or environ.get(variable, "").lower() in _YES:
        return {"allow_http": True}
    raise UsageError(
        "The endpoint of the store is plain http, so everybody on the way could read the records.",
        next_step=f"Use https, or allow it with {variable}=true.",
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name].strip() for name in names if environ.get(name, "").strip()), "")
