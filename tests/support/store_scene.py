"""Object stores of two kinds behind a proxy, a small service, and exports from the one to the other."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulk_export.output.object_store.connection import StorePatience
from bulk_export.output.object_store.reading import download
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.url import parse_store_url
from bulk_export.pipelines.export import export
from bulk_export.progress.observer import ExportSummary, Observer
from tests.support import azure_server, s3_server
from tests.support.disturbed_run import TUNING, small_options
from tests.support.small_service import content_of
from tests.support.store_proxy import StoreProxy, store_proxy

BUCKET = "lake-of-tests"
NO_WAITS = StorePatience(shortest_backoff=0.01, longest_backoff=0.05, retries=3, request=5)
KINDS = [
    pytest.param("s3", marks=pytest.mark.skipif(not s3_server.HAS_MOTO, reason=s3_server.SKIP_REASON)),
    pytest.param("az", marks=pytest.mark.skipif(not azure_server.HAS_AZURITE, reason=azure_server.SKIP_REASON)),
]
_NUMBERS = itertools.count()


class Heard(Observer):
    """Keeps the warnings of a run."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        """Keep a warning."""
        self.warnings.append(message)


@dataclass
class Lake:
    """A store of one kind behind a proxy, which counts and disturbs the requests to it."""

    kind: str
    proxy: StoreProxy
    environment: dict[str, str] = field(repr=False)

    def new_address(self) -> str:
        """An address that nothing is at."""
        return f"{self.kind}://{BUCKET}/test/{next(_NUMBERS)}"

    def store(self, address: str) -> ObjectStore:
        """The objects at an address."""
        return ObjectStore(parse_store_url(address), patience=NO_WAITS)

    def keys(self, address: str) -> list[str]:
        """The keys at an address."""
        return sorted(stored.key for stored in self.store(address).list())

    def content(self, address: str, directory: Path) -> dict[str, Any]:
        """What an export left at an address, but for times, counters and ETags, by way of a new directory."""
        store = self.store(address)
        for stored in list(store.list()):
            # A second object of the same name, in another generation, could not be written.
            path = directory / re.sub(r"^generation-\d+/", "", stored.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            download(store, stored.key, path)
        content = content_of(directory)
        for endpoint in content.get("manifest.json", {"endpoints": {}})["endpoints"].values():
            for file in endpoint["files"]:
                assert file.pop("etag")
        return content


@contextmanager
def lake_of_kind(kind: str, directory: Path) -> Iterator[Lake]:
    """Run the stand-in for a kind of store, with its variables in this process, and a bucket in it."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        server: Any
        if kind == "s3":
            server = stack.enter_context(s3_server.s3_server())
            server.make_bucket(BUCKET)
        else:
            server = stack.enter_context(azure_server.azure_server(directory))
            server.make_container(BUCKET)
        proxy = stack.enter_context(store_proxy(server.port))
        for name in list(os.environ):
            if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
                patch.delenv(name)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(directory / "no-credentials"))
        patch.setenv("AWS_CONFIG_FILE", str(directory / "no-config"))
        environment = server.environment(proxy.port)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr("bulk_export.output.object_store.connection.StorePatience", lambda: NO_WAITS)
        yield Lake(kind, proxy, environment)


def export_once(base_url: str, address: str, observer: Observer | None = None, **changes: Any) -> ExportSummary:
    """Export the small service to an address, in this process."""
    options = small_options(base_url, address, **changes)
    return anyio.run(lambda: export(options, observer, tuning=TUNING))
