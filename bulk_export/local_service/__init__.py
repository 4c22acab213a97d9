"""A stand-in for the service, for first runs and for tests."""

from bulk_export.local_service.server import LocalService, RequestRecord, serving
from bulk_export.local_service.settings import LocalServiceSettings

__all__ = ["LocalService", "LocalServiceSettings", "RequestRecord", "serving"]
