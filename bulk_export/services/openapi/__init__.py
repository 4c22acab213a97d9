"""OpenAPI documents: read into descriptions of services, written from them, and compared with them."""

from bulk_export.services.openapi.diff import KNOWN_DIFFERENCES, Change, KnownDifference, compare, unexpected_changes
from bulk_export.services.openapi.from_description import openapi_document, openapi_yaml
from bulk_export.services.openapi.loader import LARGEST_SPEC, parse_spec
from bulk_export.services.openapi.to_description import GeneratedDescription, describe

__all__ = [
    "KNOWN_DIFFERENCES",
    "LARGEST_SPEC",
    "Change",
    "GeneratedDescription",
    "KnownDifference",
    "compare",
    "describe",
    "openapi_document",
    "openapi_yaml",
    "parse_spec",
    "unexpected_changes",
]
