"""OpenAPI files: read into descriptions of services, written from them, and compared with them."""

from bulk_export.openapi.comparison import Change, compare
from bulk_export.openapi.describing import Described, describe
from bulk_export.openapi.deviations import DEVIATIONS, Deviation, unexpected
from bulk_export.openapi.parsing import LARGEST_SPEC, parse_spec
from bulk_export.openapi.writing import spec_of, spec_text

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
