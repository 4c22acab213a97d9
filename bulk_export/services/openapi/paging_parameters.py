"""Which query parameters of an operation select a page, and how pages are numbered."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from bulk_export.services.openapi.parameters import Parameter, normalized
from bulk_export.services.openapi.types import Schemas


def _without_spaces(*names: str) -> frozenset[str]:
    return frozenset(name.replace(" ", "") for name in names)


# Normalized names of parameters.
_NUMBERS = _without_spaces(
    *("page", "page page", "page number", "page no", "page nr", "page num", "page index", "page idx", "p", "pg"),
    *("filter page", "current page", "start page"),
)
_OFFSETS = _without_spaces(
    *("offset", "page offset", "skip", "start", "start index", "start at", "from", "first", "display start"),
)
# They may also name the start of a time range, or a page.
_AMBIGUOUS_OFFSETS = {"start", "from", "first"}
_SIZES = _without_spaces(
    *("per page", "page per page", "page size", "size", "page limit", "limit", "take", "count", "max results", "top"),
    *("results per page", "items per page", "records per page", "hits per page", "page page size", "rows", "max", "ps"),
    *("page count", "page length", "batch size", "max items", "max page size", "max size", "display length"),
)
_CURSORS = _without_spaces(
    *("cursor", "page cursor", "page after", "page before", "after", "before", "next token", "page token", "token"),
    *("starting after", "ending before", "continuation token", "next", "marker", "next cursor", "scroll id"),
)
_PAGING_WORDS = re.compile(
    r"(?:page|paging)(?!s$)|pg(?:no|nr|num|size)?$"
    r"|.*(?:(?<!utc)(?<!tz)(?<!zone)offset|cursor|skip|perpage|pagesize|pageno|pagenumber|displaystart|displaylength)"
)
# The parameters of the lead-provider services, whose pages are numbered from 1.
LEAD_PROVIDER_PARAMETERS = ("page[page]", "page[per_page]")
_DEFAULT_SIZE = re.compile(r"\bdefaults?\s+(?:\w+\s+){0,3}?(\d{1,6})\b", re.IGNORECASE)
_LARGEST_SIZE = re.compile(r"\b(?:max(?:imum)?|at most|up to)\W+(?:\w+\s+){0,4}?(\d{1,6})\b", re.IGNORECASE)
_INTEGER = re.compile(r"-?\d{1,6}")
_FIRST_PAGE_TEXT = r"""
    \b(?:{n}|{word})[\s-](?:based|indexed)\b | \bfrom\s+(?:page\s+)?{n}\b | \bgreater\s+than\s+{below}\b
    | \b(?:start|begin|count|number|index)\w*\s+(?:\w+\s+){{0,2}}?(?:at|with|from|is)\s+(?:page\s+)?{n}\b
    | \bfirst\s+page\s+(?:\w+\s+){{0,2}}?(?:is|has|being|=)\s+(?:\w+\s+){{0,2}}?{n}\b
    | \bpage\s+{n}\s+(?:is|being)\s+the\s+first\b | \({n}\s*\.\.\s*[nN]\)
    | \bdefaults?\W+(?:\w+\W+){{0,2}}?{n}\b
"""
_FIRST_PAGE_PATTERNS = {
    0: re.compile(_FIRST_PAGE_TEXT.format(n="(?:0|zero)", word="zero", below="-1"), re.IGNORECASE | re.VERBOSE),
    1: re.compile(_FIRST_PAGE_TEXT.format(n="1", word="one", below="(?:0|zero)"), re.IGNORECASE | re.VERBOSE),
}
# The description of an operation may mention other numbers, so fewer phrases count.
_OPERATION_TEXT = r"""
    \b(?:{n}|{word})[\s-](?:based|indexed)\b | \bfirst\s+page\s+(?:is|=|has\s+(?:the\s+)?(?:number|index))\s+{n}\b
    | \bpages?\s+(?:\w+\s+){{0,2}}?(?:start|begin|count)\w*\s+(?:at|with|from)\s+{n}\b
"""
_OPERATION_PATTERNS = {
    0: re.compile(_OPERATION_TEXT.format(n="(?:0|zero)", word="zero"), re.IGNORECASE | re.VERBOSE),
    1: re.compile(_OPERATION_TEXT.format(n="(?:1|one)", word="one"), re.IGNORECASE | re.VERBOSE),
}
_OFFSET_TEXT = re.compile(
    r"\b(?:records|items|rows|results|entries|elements)\s+to\s+(?:skip|pass)|\bto\s+skip\b"
    r"|\b(?:index|position|offset)\s+of\s+the\s+first\s+(?:record|item|row|result|entry|element)",
    re.IGNORECASE,
)
_PAGE_TEXT = re.compile(r"\bpage\s+(?:number|index|no)\b|\b(?:number|index)\s+of\s+the\s+page\b", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class PagingParameters:
    """How an operation pages.

    Attributes:
        style: `pages` (by number), `offset`, `unknown` (one of these), `none` (no paging parameters), or `unsupported`.
        number: The parameter for the page number or offset; the parameter that is not supported with `unsupported`.
        size: The parameter for the number of records on a page; empty if there is none.
        first: The number of the first page, or the offset of the first record; None if not known.
        default: The usual number of records on a page; None if not known.
        largest: The largest number of records on a page; None if not known.
    """

    style: str
    number: str = ""
    size: str = ""
    first: int | None = 1
    default: int | None = None
    largest: int | None = None

    @property
    def is_lead_provider_style(self) -> bool:
        """Whether pages are selected as in the lead-provider services."""
        return (self.number, self.size) == LEAD_PROVIDER_PARAMETERS

    @property
    def parameter_names(self) -> frozenset[str]:
        """The parameters that serve the paging, and so are no filters."""
        return frozenset({self.number, self.size} - {""})


def read_paging(schemas: Schemas, parameters: Sequence[Parameter], first_page_hints: Set[int]) -> PagingParameters:
    """Find the paging parameters among the query parameters of an operation.

    `first_page_hints` are the numbers of the first page that other parts of the operation suggest.
    """
    candidates = [parameter for parameter in parameters if _may_count(schemas, parameter)]
    size = next((entry for entry in candidates if entry.normalized_name in _SIZES), None)
    number = next((entry for entry in candidates if entry.normalized_name in _NUMBERS), None)
    cursor = next(
        (entry for entry in parameters if entry.normalized_name in _CURSORS and not _is_time(schemas, entry)), None
    )
    start = number or next((entry for entry in candidates if entry.normalized_name in _OFFSETS), None)
    if size is None and cursor is None and start is not None and start.normalized_name not in _AMBIGUOUS_OFFSETS:
        size = Parameter("", {}, required=False, text="", example=None)  # the service alone decides the page size
    if start is None or size is None:
        incomplete = cursor or start or size
        return PagingParameters("none") if incomplete is None else PagingParameters("unsupported", incomplete.name)
    style = _style(start)
    paging = PagingParameters(
        style=style,
        number=start.name,
        size=size.name,
        first=(_first_offset(schemas, start) if style == "offset" else _first_page(schemas, start, first_page_hints)),
        default=_positive(_keyword_value(schemas, size, "default"), _DEFAULT_SIZE.search(size.text)),
        largest=_positive(_keyword_value(schemas, size, "maximum"), _LARGEST_SIZE.search(size.text)),
    )
    return replace(paging, first=1) if paging.is_lead_provider_style and paging.first is None else paging


def looks_like_paging(name: str) -> bool:
    """Whether a parameter may select a page in a way that `read_paging` does not know."""
    return _PAGING_WORDS.match(normalized(name)) is not None


def first_page_in(text: str) -> set[int]:
    """Return the numbers of the first page, 0 or 1, that the description of an operation mentions."""
    return {number for number, pattern in _OPERATION_PATTERNS.items() if pattern.search(text)}


def _style(start: Parameter) -> str:
    """Return what a parameter counts by its name and its text: `pages`, `offset`, or `unknown` in doubt."""
    styles = {style for style, text in (("offset", _OFFSET_TEXT), ("pages", _PAGE_TEXT)) if text.search(start.text)}
    if start.normalized_name not in _AMBIGUOUS_OFFSETS:
        styles.add("pages" if start.normalized_name in _NUMBERS else "offset")
    return styles.pop() if len(styles) == 1 else "unknown"


def _may_count(schemas: Schemas, parameter: Parameter) -> bool:
    """Whether the value can be a number of pages or records, by its type."""
    declared = schemas.type_of(parameter.schema)
    if _is_time(schemas, parameter) or declared == "boolean" or not isinstance(declared, str | None):
        return False
    if parameter.normalized_name in _AMBIGUOUS_OFFSETS and declared not in ("integer", "number"):
        # The start of a time range, unless a keyword with a number shows otherwise.
        return any(_keyword_value(schemas, parameter, word) is not None for word in ("default", "minimum"))
    return True


def _is_time(schemas: Schemas, parameter: Parameter) -> bool:
    """Whether the value is a time or a date, by its type, example or text."""
    example = parameter.example
    is_date = isinstance(example, str) and _DATE.match(example) is not None
    return is_date or "ISO 8601" in parameter.text or schemas.type_of(parameter.schema) in ("date", "timestamp")


def _first_page(schemas: Schemas, start: Parameter, hints: Set[int]) -> int | None:
    """Return the number of the first page, or None if nothing tells it or the signs differ."""
    signs = _first_signs(schemas, start) | (hints & {0, 1})
    return next(iter(signs)) if len(signs) == 1 else None


def _first_offset(schemas: Schemas, start: Parameter) -> int:
    """Return the offset of the first record: 0 in doubt. Then a service that counts from 1 sends one record twice."""
    return 1 if _first_signs(schemas, start) == {1} else 0


def _first_signs(schemas: Schemas, start: Parameter) -> set[int]:
    """Return those of 0 and 1 that the keywords, the example or the text of a parameter suggest as its first value."""
    example = start.example
    if isinstance(example, str):
        # An example may show the parameter as it is sent: page=1.
        example = example.rpartition("=")[2] if "&" not in example else ""
    shown = int(example) if isinstance(example, int | str) and _INTEGER.fullmatch(str(example)) else None
    signs = {
        _keyword_value(schemas, start, "default"),
        _minimum(schemas, start),
        shown,
        *(number for number, pattern in _FIRST_PAGE_PATTERNS.items() if pattern.search(start.text)),
    }
    return {number for number in (0, 1) if number in signs}


def _positive(keyword: int | None, in_text: re.Match[str] | None) -> int | None:
    number = keyword if keyword is not None else int(in_text[1]) if in_text is not None else None
    return number if number is not None and number > 0 else None


def _keyword_value(schemas: Schemas, parameter: Parameter, keyword: str) -> int | None:
    for part in schemas.with_subschemas(parameter.schema):
        value = part.get(keyword)
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _minimum(schemas: Schemas, parameter: Parameter) -> int | None:
    minimum = _keyword_value(schemas, parameter, "minimum")
    exclusive = _keyword_value(schemas, parameter, "exclusiveMinimum")
    if exclusive is not None:
        return exclusive + 1
    # OpenAPI 3.0 has a boolean beside `minimum`, OpenAPI 3.1 a number.
    is_exclusive = any(part.get("exclusiveMinimum") is True for part in schemas.with_subschemas(parameter.schema))
    return minimum + 1 if minimum is not None and is_exclusive else minimum
