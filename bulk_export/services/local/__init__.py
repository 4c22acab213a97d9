"""The local service: a stand-in for a real one, for first runs and for tests."""

from bulk_export.services.local.server import LocalService, RequestRecord, serving
from bulk_export.services.local.settings import LocalServiceSettings

__all__ = ["LocalService", "LocalServiceSettings", "RequestRecord", "serving"]
