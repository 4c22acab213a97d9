"""Query parameters of an operation: which give pages, which filter, which sorts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from bulk_export.services.openapi.types import Schemas

_WORD = re.compile(r"[\[\]._$ -]+")


def _without_spaces(*names: str) -> frozenset[str]:
    return frozenset(name.replace(" ", "") for name in names)


# Names as `Parameter.words` gives them.
_NUMBERS = _without_spaces(
    *("page", "page page", "page number", "page no", "page nr", "page num", "page index", "page idx", "p", "pg"),
    *("filter page", "current page", "start page"),
)
_OFFSETS = _without_spaces(
    *("offset", "page offset", "skip", "start", "start index", "start at", "from", "first", "display start"),
)
# They may as well name the beginning of a span of time, or a page.
_OFFSETS_THAT_COUNT = {"start", "from", "first"}
_SIZES = _without_spaces(
    *("per page", "page per page", "page size", "size", "page limit", "limit", "take", "count", "max results", "top"),
    *("results per page", "items per page", "records per page", "hits per page", "page page size", "rows", "max", "ps"),
    *("page count", "page length", "batch size", "max items", "max page size", "max size", "display length"),
)
_CURSORS = _without_spaces(
    *("cursor", "page cursor", "page after", "page before", "after", "before", "next token", "page token", "token"),
    *("starting after", "ending before", "continuation token", "next", "marker", "next cursor", "scroll id"),
)
_SORTS = _without_spaces("sort", "sort by", "order", "order by", "ordering")
_LIKE_PAGING = re.compile(
    r"(?:page|paging)(?!s$)|pg(?:no|nr|num|size)?$"
    r"|.*(?:(?<!utc)(?<!tz)(?<!zone)offset|cursor|skip|perpage|pagesize|pageno|pagenumber|displaystart|displaylength)"
)
# How services of the lead-provider family ask; their pages count from 1.
FAMILY = ("page[page]", "page[per_page]")
_BRACKETED = re.compile(r"([\w-]+)\[([^\[\]]+)\]")
_YEAR = re.compile(r"(?:19|20)\d\d(?:\s*,\s*(?:19|20)\d\d)*", re.ASCII)
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UUIDS = re.compile(rf"{_UUID}(?:\s*,\s*{_UUID})*")
_DEFAULT = re.compile(r"\bdefaults?\s+(?:\w+\s+){0,3}?(\d{1,6})\b", re.IGNORECASE)
_LARGEST = re.compile(r"\b(?:max(?:imum)?|at most|up to)\W+(?:\w+\s+){0,4}?(\d{1,6})\b", re.IGNORECASE)
_BOUND = re.compile(r"-?\d{1,6}")
_SAYS_FIRST = r"""
    \b(?:{n}|{word})[\s-](?:based|indexed)\b | \bfrom\s+(?:page\s+)?{n}\b | \bgreater\s+than\s+{below}\b
    | \b(?:start|begin|count|number|index)\w*\s+(?:\w+\s+){{0,2}}?(?:at|with|from|is)\s+(?:page\s+)?{n}\b
    | \bfirst\s+page\s+(?:\w+\s+){{0,2}}?(?:is|has|being|=)\s+(?:\w+\s+){{0,2}}?{n}\b
    | \bpage\s+{n}\s+(?:is|being)\s+the\s+first\b | \({n}\s*\.\.\s*[nN]\)
    | \bdefaults?\W+(?:\w+\W+){{0,2}}?{n}\b
"""
_FIRST = {
    0: re.compile(_SAYS_FIRST.format(n="(?:0|zero)", word="zero", below="-1"), re.IGNORECASE | re.VERBOSE),
    1: re.compile(_SAYS_FIRST.format(n="1", word="one", below="(?:0|zero)"), re.IGNORECASE | re.VERBOSE),
}
# Words of an operation may speak of other things, too.
_OF_PAGES = r"""
    \b(?:{n}|{word})[\s-](?:based|indexed)\b | \bfirst\s+page\s+(?:is|=|has\s+(?:the\s+)?(?:number|index))\s+{n}\b
    | \bpages?\s+(?:\w+\s+){{0,2}}?(?:start|begin|count)\w*\s+(?:at|with|from)\s+{n}\b
"""
_FIRST_OF_PAGES = {
    0: re.compile(_OF_PAGES.format(n="(?:0|zero)", word="zero"), re.IGNORECASE | re.VERBOSE),
    1: re.compile(_OF_PAGES.format(n="(?:1|one)", word="one"), re.IGNORECASE | re.VERBOSE),
}
_SAYS_POSITION = re.compile(
    r"\b(?:records|items|rows|results|entries|elements)\s+to\s+(?:skip|pass)|\bto\s+skip\b"
    r"|\b(?:index|position|offset)\s+of\s+the\s+first\s+(?:record|item|row|result|entry|element)",
    re.IGNORECASE,
)
_SAYS_PAGE = re.compile(r"\bpage\s+(?:number|index|no)\b|\b(?:number|index)\s+of\s+the\s+page\b", re.IGNORECASE)
_DATES = re.compile(r"\d{4}-\d\d-\d\d")
_CHANGED = re.compile(r"(?:updated|modified|changed|created)_?(?:since|after|from|gte?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter under the name it has on the wire."""

    name: str
    schema: Any
    required: bool
    text: str
    example: Any

    @property
    def words(self) -> str:
        """The letters and digits of the name, so that `page[per_page]`, `perPage` and `per-page` can be told alike."""
        return "".join(word.lower() for word in _WORD.split(self.name))


@dataclass(frozen=True, slots=True)
class PagingParameters:
    """How pages are asked for; `style` is "pages", "offset", "unknown" (one of both), "none", or "cursor" for no way.

    `first` is None where it is not known. With "cursor", `number` names the parameter that cannot be used.
    """

    style: str
    number: str = ""
    size: str = ""
    first: int | None = 1
    default: int | None = None
    largest: int | None = None


@dataclass(frozen=True, slots=True)
class OperationQuery:
    """What an operation takes. `filters` is by the name that a user gives, `template` how one is written.

    `values` are the words that some filters take. What is `unused` cannot be given, even where it is `demanded`.
    """

    paging: PagingParameters
    template: str
    filters: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    sort: str = "sort"
    sorts: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    demanded: tuple[str, ...] = ()


def first_page_said(text: str) -> set[int]:
    """The numbers that the description of an operation gives to the first page."""
    return {number for number, words in _FIRST_OF_PAGES.items() if words.search(text)}


def read_query(
    schemas: Schemas, listed: list[Any], where: str, *, counts_from: Set[int] = frozenset()
) -> OperationQuery:
    """The query of an operation from its parameters, those of its path first.

    `counts_from` has the numbers of the first page that other parts of the operation hint at.
    """
    parameters: dict[str, Parameter] = {}
    for entry in listed:
        for parameter in _flat(schemas, entry, where):
            parameters[parameter.name] = parameter
    paging, used = _paging(schemas, list(parameters.values()), where, counts_from)
    sort = next((one for one in parameters.values() if one.words in _SORTS and one.name not in used), None)
    sorts: tuple[str, ...] = ()
    if sort is not None:
        used.add(sort.name)
        within = [sort.schema, *schemas.items(sort.schema, where)]
        sorts = tuple(dict.fromkeys(word for schema in within for word in schemas.words(schema, where) if word))
    rest = [one for one in parameters.values() if one.name not in used]
    bracketed = {one.name: found for one in rest if (found := _BRACKETED.fullmatch(one.name))}
    stem = next((found[1] for found in bracketed.values()), None)
    template = "{name}" if stem is None else f"{stem}[{{name}}]"
    named = {
        one.name if stem is None else bracketed[one.name][2]: one
        for one in rest
        if stem is None or (one.name in bracketed and bracketed[one.name][1] == stem)
    }
    unused = [one for one in rest if one not in named.values()]
    return OperationQuery(
        paging=paging,
        template=template,
        filters={name: _filter_type(schemas, name, one, where) for name, one in named.items()},
        required=tuple(name for name, one in named.items() if one.required),
        sort=sort.name if sort is not None else "sort",
        sorts=sorts,
        unused=tuple(one.name for one in unused),
        values={name: words for name, one in named.items() if (words := _values(schemas, one, where))},
        demanded=tuple(one.name for one in unused if one.required),
    )


def looks_like_paging(name: str) -> bool:
    """Whether a parameter may ask for pages in a way that is not known here."""
    return _LIKE_PAGING.match(Parameter(name, None, required=False, text="", example=None).words) is not None


def changed_since(filters: Mapping[str, str]) -> str | None:
    """The filter that selects by time of change, by its name."""
    found = [name for name in filters if _CHANGED.fullmatch(name)]
    return min(found, key=lambda name: "created" in name, default=None)


def _flat(schemas: Schemas, entry: Any, where: str) -> Iterator[Parameter]:
    """A parameter as it is sent: an object in brackets, or member by member, as its style says."""
    parameter = schemas.resolved(entry)
    name = parameter.get("name")
    if parameter.get("in") != "query" or not isinstance(name, str) or not name:
        return
    schema = parameter.get("schema")
    if schema is None:
        content = parameter.get("content")
        media = next(iter(content.values()), None) if isinstance(content, Mapping) else None
        schema = media.get("schema") if isinstance(media, Mapping) else None
    required = parameter.get("required") is True
    text, example = _text(parameter), parameter.get("example")
    declared = schemas.type_of(schema, f"{where}, parameter {name}")
    bracket = _BRACKETED.fullmatch(name)
    if bracket is not None and isinstance(declared, dict):
        # Seen in use: each bracketed name declared with the schema of the whole object.
        inner = schemas.resolved(next(schemas.member(schema, bracket[2], where), {}))
        yield Parameter(name, inner, required, text + _text(inner), _example(inner))
    elif isinstance(declared, dict) and declared:
        deep = parameter.get("style") == "deepObject" or name in ("filter", "page")
        listed = {word for part in schemas.parts(schema, where) for word in _texts(part.get("required"))}
        for member in declared:
            inner = schemas.resolved(next(schemas.member(schema, member, where), {}))
            full = f"{name}[{member}]" if deep else member
            yield Parameter(full, inner, member in listed, _text(inner), _example(inner))
    else:
        inner = schemas.resolved(schema)
        shown = example if example is not None else _example(inner)
        yield Parameter(name, schema, required, text + _text(inner), shown)


def _paging(
    schemas: Schemas, parameters: list[Parameter], where: str, counts_from: Set[int]
) -> tuple[PagingParameters, set[str]]:
    counting = [one for one in parameters if _may_count(schemas, one, where)]
    size = next((one for one in counting if one.words in _SIZES), None)
    number = next((one for one in counting if one.words in _NUMBERS), None)
    cursor = next((one for one in parameters if one.words in _CURSORS and not _is_time(schemas, one, where)), None)
    start = number or next((one for one in counting if one.words in _OFFSETS), None)
    if size is None and cursor is None and start is not None and start.words not in _OFFSETS_THAT_COUNT:
        size = Parameter("", {}, required=False, text="", example=None)  # the service says how much a page holds
    if start is None or size is None:
        lone = cursor or start or size
        return (
            (PagingParameters("none"), set()) if lone is None else (PagingParameters("cursor", lone.name), {lone.name})
        )
    style = _style(start)
    paging = PagingParameters(
        style=style,
        number=start.name,
        size=size.name,
        first=_first(schemas, start, where, counts_from, by_position=style == "offset"),
        default=_positive(_whole(schemas, size, "default", where), _DEFAULT.search(size.text)),
        largest=_positive(_whole(schemas, size, "maximum", where), _LARGEST.search(size.text)),
    )
    if (paging.number, paging.size) == FAMILY and paging.first is None:
        return replace(paging, first=1), {start.name, size.name}
    return paging, {start.name, size.name} - {""}


def _style(start: Parameter) -> str:
    """What a number counts by its name and by what is said of it: "pages", "offset", or "unknown" in doubt."""
    said = {style for style, words in (("offset", _SAYS_POSITION), ("pages", _SAYS_PAGE)) if words.search(start.text)}
    if start.words not in _OFFSETS_THAT_COUNT:
        said.add("pages" if start.words in _NUMBERS else "offset")
    return said.pop() if len(said) == 1 else "unknown"


def _may_count(schemas: Schemas, parameter: Parameter, where: str) -> bool:
    """Whether a parameter can be a number of pages or records: no date, and no word that only looks like one."""
    declared = schemas.type_of(parameter.schema, where)
    if _is_time(schemas, parameter, where) or declared == "boolean" or not isinstance(declared, str | None):
        return False
    if parameter.words in _OFFSETS_THAT_COUNT and declared not in ("integer", "number"):
        # The beginning of a span of time, unless numbers are spoken of.
        return any(_whole(schemas, parameter, word, where) is not None for word in ("default", "minimum"))
    return True


def _is_time(schemas: Schemas, parameter: Parameter, where: str) -> bool:
    """Whether a parameter is a time or a day, by its type, its example or what is said of it."""
    shown = parameter.example
    is_shown = isinstance(shown, str) and _DATES.match(shown) is not None
    return is_shown or "ISO 8601" in parameter.text or schemas.type_of(parameter.schema, where) in ("date", "timestamp")


def _first(schemas: Schemas, start: Parameter, where: str, counts_from: Set[int], *, by_position: bool) -> int | None:
    """The number of the first page, None where nothing says it or not everything says the same.

    The position of the first record is 0 in doubt: a service that counts records from 1 then shows one of them twice.
    """
    shown = start.example
    if isinstance(shown, str):
        shown = shown.rpartition("=")[2] if "&" not in shown else ""
    example = int(shown) if isinstance(shown, int | str) and _BOUND.fullmatch(str(shown)) else None
    said = {
        _whole(schemas, start, "default", where),
        _least(schemas, start, where),
        example,
        *(() if by_position else counts_from),
        *(number for number, words in _FIRST.items() if words.search(start.text)),
    } & {0, 1}
    if by_position:
        return 1 if said == {1} else 0
    return next(iter(said)) if len(said) == 1 else None


def _positive(declared: int | None, said: re.Match[str] | None) -> int | None:
    number = declared if declared is not None else int(said[1]) if said is not None else None
    return number if number is not None and number > 0 else None


def _whole(schemas: Schemas, parameter: Parameter, keyword: str, where: str) -> int | None:
    for part in schemas.parts(parameter.schema, where):
        value = part.get(keyword)
        if isinstance(value, str) and _BOUND.fullmatch(value):
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _least(schemas: Schemas, parameter: Parameter, where: str) -> int | None:
    """The least number that a parameter may be."""
    least, above = (_whole(schemas, parameter, word, where) for word in ("minimum", "exclusiveMinimum"))
    if above is not None:
        return above + 1
    # So OpenAPI 3.0 writes it.
    excluded = any(part.get("exclusiveMinimum") is True for part in schemas.parts(parameter.schema, where))
    return least + 1 if least is not None and excluded else least


def _filter_type(schemas: Schemas, name: str, parameter: Parameter, where: str) -> str:
    """What its values are checked as, one of the kinds of `catalogue.reading`."""
    declared = [parameter.schema, *schemas.items(parameter.schema, where)]
    formats = [part.get("format") for schema in declared for part in schemas.parts(schema, where)]
    kind = schemas.type_of(parameter.schema, where)
    example = str(parameter.example) if isinstance(parameter.example, str | int) else ""
    # An example may be written as it is sent: filter[cohort]=2021.
    example = example.rpartition("=")[2] if "&" not in example else ""
    if kind == "date":
        return "date"
    if "date-time" in formats or _CHANGED.fullmatch(name) or "ISO 8601" in parameter.text:
        return "timestamp"
    if "uuid" in formats or _UUIDS.fullmatch(example):
        return "uuids"
    if name in ("cohort", "cohorts") and (not example or _YEAR.fullmatch(example)):
        return "years"
    if kind in ("integer", "boolean"):
        return str(kind)
    return "strings" if isinstance(kind, list) else "string"


def _values(schemas: Schemas, parameter: Parameter, where: str) -> tuple[str, ...]:
    """The words that a filter takes, none where it takes others, too."""
    if schemas.type_of(parameter.schema, where) not in ("string", ["string"]):
        return ()
    if any("anyOf" in part or "oneOf" in part for part in schemas.parts(parameter.schema, where)):
        return ()  # one of several schemas may allow more
    within = [parameter.schema, *schemas.items(parameter.schema, where)]
    return tuple(dict.fromkeys(word for schema in within for word in schemas.words(schema, where) if word))


def _text(node: Any) -> str:
    text = node.get("description") if isinstance(node, Mapping) else None
    return f"{text}\n" if isinstance(text, str) else ""


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _example(node: Any) -> Any:
    return node.get("example") if isinstance(node, Mapping) else None
