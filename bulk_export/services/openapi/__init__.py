"""OpenAPI files: read into descriptions of services, written from them, and compared with them."""

from bulk_export.services.openapi.deviations import DEVIATIONS, Deviation, unexpected
from bulk_export.services.openapi.diff import Change, compare
from bulk_export.services.openapi.from_description import spec_of, spec_text
from bulk_export.services.openapi.loader import LARGEST_SPEC, parse_spec
from bulk_export.services.openapi.to_description import Described, describe

__all__ = [
    "DEVIATIONS",
    "LARGEST_SPEC",
    "Change",
    "Described",
    "Deviation",
    "compare",
    "describe",
    "parse_spec",
    "spec_of",
    "spec_text",
    "unexpected",
]
