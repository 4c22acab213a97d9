"""Where requests go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulk_export.core.credentials import Token
from bulk_export.pipelines.connection import service_address, service_name
from bulk_export.pipelines.options import ExportOptions


async def test_a_given_address_is_used() -> None:
    options = ExportOptions.of(["statements"], base_url="https://example.org", token="t", budget="memory://")
    async with service_address(options) as address:
        assert (address.base_url, address.token.reveal()) == ("https://example.org", "t")
    assert service_name(options) == "https://example.org"


async def test_the_bundled_service_runs_meanwhile() -> None:
    """The bundled service is started on loopback with the token that is given, and is called `local` in every run."""
    options = replace(ExportOptions.of(["statements"], environment="local", environ={}), token=Token("mine"))
    async with service_address(options) as address:
        assert address.base_url.startswith("http://127.0.0.1:")
        assert address.token.reveal() == "mine"
    assert service_name(options) == "local"


async def test_options_without_an_address_are_an_error() -> None:
    options = ExportOptions.of(["statements"], base_url="https://example.org", token="t", budget="memory://")
    with pytest.raises(ValueError, match="without an address"):
        async with service_address(replace(options, token=None)):
            pass
