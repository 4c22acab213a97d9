"""The address of the service and the token for it; the bundled service is started if it was chosen."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bulk_export.core.credentials import Token
from bulk_export.pipelines.arguments import LOCAL
from bulk_export.pipelines.options import ExportOptions

LOCAL_TOKEN = "local-service-token"


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests are sent, and the token that goes with them."""

    base_url: str
    token: Token


def service_name(options: ExportOptions) -> str:
    """Return what identifies the service in every run: its address, or `local` for the bundled one."""
    return options.base_url or LOCAL


@asynccontextmanager
async def service_address(options: ExportOptions) -> AsyncIterator[Address]:
    """Yield the address to send requests to. If `options` choose the bundled service, it runs inside the block."""
    if options.environment != LOCAL:
        if options.base_url is None or options.token is None:
            raise ValueError("options without an address or a token")
        yield Address(options.base_url, options.token)
        return
    # The server is needed by this choice only.
    from bulk_export.services.local import LocalServiceSettings, serving
    from bulk_export.services.local.settings import BUNDLED_SETTLES_AFTER, start_of_month

    token = options.token or Token(LOCAL_TOKEN)
    settings = LocalServiceSettings(
        service=options.service,
        token=token.reveal(),
        service_limit=options.service.service_limit,
        ip_limit=options.service.ip_limit,
        windows="fixed",
        gzip=True,
        newest=start_of_month(time.time()),
        settles_after=BUNDLED_SETTLES_AFTER,
    )
    async with serving(settings) as service:
        yield Address(service.base_url, token)
