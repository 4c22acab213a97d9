"""Where the service is: the bundled one, started for this run, or an address that was given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bulk_export.core.credentials import Token
from bulk_export.pipelines.arguments import LOCAL
from bulk_export.pipelines.options import ExportOptions

LOCAL_TOKEN = "local-service-token"


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go, and the token that goes with them."""

    base_url: str
    token: Token


def service_name(options: ExportOptions) -> str:
    """What tells the service from others on every run: its address, `local` for the bundled one."""
    return options.base_url or LOCAL


@asynccontextmanager
async def service_address(options: ExportOptions) -> AsyncIterator[Address]:
    """The address to send to, with the bundled service running behind it where that was asked for."""
    if options.environment != LOCAL:
        if options.base_url is None or options.token is None:
            raise ValueError("options without an address or a token")
        yield Address(options.base_url, options.token)
        return
    from bulk_export.services.local import LocalServiceSettings, serving  # the server is needed by this choice only

    token = options.token or Token(LOCAL_TOKEN)
    settings = LocalServiceSettings(
        service=options.service,
        token=token.reveal(),
        service_limit=options.service.service_limit,
        ip_limit=options.service.ip_limit,
        windows="fixed",
        gzip=True,
    )
    async with serving(settings) as service:
        yield Address(service.base_url, token)
