"""The header that carries the token, from the security schemes of a document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bulk_export.services.openapi.types import Schemas

_PREFIX = re.compile(r"prefix(?:ed with)?\W+(\w+)", re.ASCII | re.IGNORECASE)
# Ruby on Rails expects: Token token="…".
_TOKEN_EQUALS = re.compile(r"\bToken\s+token\s*=\s*(\\?[\"']?)", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_SCHEME_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}")
_BEARER = {"header": "Authorization", "scheme": "Bearer"}
# HTTP schemes that need more than a token.
_UNSUPPORTED = ("basic", "digest", "negotiate", "hoba", "mutual", "scram-sha-1", "scram-sha-256", "vapid")


def read_auth(schemas: Schemas, document: Mapping[str, Any], remarks: dict[str, None]) -> dict[str, str]:
    """Return the `auth` table of a description.

    It is that of the first security scheme with a token in a header; schemes in the document's `security` come first.
    """
    declared = schemas.resolve(schemas.resolve(document.get("components")).get("securitySchemes"))
    security = document.get("security")
    in_use = {
        name
        for requirement in (security if isinstance(security, list) else ())
        if isinstance(requirement, Mapping)
        for name in requirement
    }
    for name in sorted(declared, key=lambda scheme_name: scheme_name not in in_use):
        auth = _auth(schemas.resolve(declared[name]))
        if auth is not None:
            return auth
    if declared:
        remarks["no security scheme has a token in a header: Authorization: Bearer is assumed"] = None
    return _BEARER


def _auth(scheme: Mapping[str, Any]) -> dict[str, str] | None:
    kind, text = scheme.get("type"), str(scheme.get("description") or "")
    if kind in ("oauth2", "openIdConnect"):
        return _BEARER
    if kind == "http":
        word = str(scheme.get("scheme") or "")
        if word.lower() == "bearer":
            return _BEARER
        if word.lower() in _UNSUPPORTED or not _SCHEME_NAME.fullmatch(word):
            return None
        return {"header": "Authorization", "scheme": _token_equals(text) or word}
    header = scheme.get("name")
    if kind == "apiKey" and scheme.get("in") == "header" and isinstance(header, str) and _HEADER_NAME.fullmatch(header):
        prefix = _PREFIX.search(text)
        word = "Bearer" if "bearer" in text.lower() else prefix[1] if prefix is not None else ""
        return {"header": header, "scheme": _token_equals(text) or word}
    return None


def _token_equals(text: str) -> str | None:
    """Return the template `Token token="{token}"`, with quotes or without, if a text describes it."""
    match = _TOKEN_EQUALS.search(text)
    if match is None:
        return None
    quote = '"' if match[1] else ""
    return f"Token token={quote}{{token}}{quote}"
