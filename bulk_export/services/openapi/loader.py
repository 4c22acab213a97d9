"""From bytes to an OpenAPI document: JSON or YAML, with bounds on size, depth and repetition.

YAML has the types of JSON here: keys are text, and only null, booleans and numbers are not text. So a date or a `no` in
an example stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from bulk_export.core.text import decode_text
from bulk_export.errors import UsageError

LARGEST_SPEC = 16 * 1024 * 1024
_DEEPEST = 200
_MOST_ALIASES = 10_000
_MOST_MERGED = 100_000
_MERGE = "tag:yaml.org,2002:merge"
_ADVICE = "Give an OpenAPI 3.0 or 3.1 file, as YAML or JSON."


def parse_spec(content: bytes, source: str) -> Mapping[str, Any]:
    """Parse the content of an OpenAPI file.

    Args:
        content: The file, in UTF-8 or UTF-16.
        source: What messages call it.

    Raises:
        UsageError: If it is not an OpenAPI 3.0 or 3.1 document, or too large.
    """
    if len(content) > LARGEST_SPEC:
        raise UsageError(f"{source} is larger than {LARGEST_SPEC:,} bytes.", next_step=_ADVICE)
    try:
        text = decode_text(content)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{source} is neither UTF-8 nor UTF-16 text (byte {error.start}).", next_step=_ADVICE
        ) from None
    document = _from_json(text) if text.lstrip()[:1] == "{" else None
    if document is None:
        document = _from_yaml(text, source)
    version = document.get("openapi") if isinstance(document, dict) else None
    if not isinstance(document, dict) or version is None:
        raise UsageError(f"{source} is not an OpenAPI file: it has no `openapi` at the top.", next_step=_ADVICE)
    if not re.match(r"3\.[01](\.|$)", str(version)):
        raise UsageError(f"{source} is written in a version of OpenAPI that is not supported.", next_step=_ADVICE)
    return document


def _from_json(text: str) -> Any:
    """Return the document, or None if it is not JSON: YAML may begin like JSON."""
    try:
        document = json.loads(text)
        json.dumps(document, ensure_ascii=False).encode()  # fails for half a surrogate pair, which cannot be encoded
    except (ValueError, RecursionError):
        return None
    return document


def _from_yaml(text: str, source: str) -> Any:
    try:
        _check_events(text, source)
        return yaml.load(text, _Loader)  # noqa: S506  # a safe loader, further restricted
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{source} is neither JSON nor YAML{where}.", next_step=_ADVICE) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        raise UsageError(f"{source} is neither JSON nor YAML.", next_step=_ADVICE) from None
    except RecursionError:
        raise UsageError(f"{source} is nested too deeply.", next_step=_ADVICE) from None


def _check_events(text: str, source: str) -> None:
    """Raise UsageError if loading would exhaust the stack or the memory. Nothing is built to find that out."""
    depth = aliases = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > _DEEPEST or aliases > _MOST_ALIASES:
            reason = "is nested too deeply" if depth > _DEEPEST else "has too many aliases"
            where = f" at line {event.start_mark.line + 1}" if event.start_mark is not None else ""
            raise UsageError(f"{source} {reason}{where}.", next_step=_ADVICE)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the fast one is not built everywhere
    """A safe loader for the types of JSON, with a bound on merging."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # filled below
    _merged = 0

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002  # the signature of the base class
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        own, merged = [], []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key that is not text", key.start_mark)
            if key.tag != _MERGE:
                own.append((key, value))
                continue
            for origin in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(origin, yaml.MappingNode):
                    raise yaml.constructor.ConstructorError(None, None, "nothing to merge", origin.start_mark)
                self.flatten_mapping(origin)
                self._merged += len(origin.value)
                if self._merged > _MOST_MERGED:
                    raise yaml.constructor.ConstructorError(None, None, "too much to merge", origin.start_mark)
                merged.extend(origin.value)
        if merged:
            # The first of several merged mappings wins, and the mapping's own keys win over all of them.
            node.value = list({key.value: (key, value) for key, value in [*reversed(merged), *own]}.values())


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"(?:-?(?:0|[1-9][0-9]*))$"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"(?:-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?)$"),
    list("-0123456789"),
)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"(?:<<)$"), ["<"])
