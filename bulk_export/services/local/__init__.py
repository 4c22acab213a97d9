"""A stand-in for the service, for first runs and for tests."""

from bulk_export.services.local.server import LocalService, RequestRecord, serving
from bulk_export.services.local.settings import LocalServiceSettings

__all__ = ["LocalService", "LocalServiceSettings", "RequestRecord", "serving"]
