"""Where a service is, and how it is told who asks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from bulk_export.services.openapi.naming import free, slug
from bulk_export.services.openapi.types import Schemas

_PREFIXED = re.compile(r"prefix(?:ed with)?\W+(\w+)", re.ASCII | re.IGNORECASE)
# As Ruby on Rails takes tokens: Token token="…".
_TOKEN_EQUALS = re.compile(r"\bToken\s+token\s*=\s*(\\?[\"']?)", re.IGNORECASE)
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_WORD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}")
_BEARER = {"header": "Authorization", "scheme": "Bearer"}
# Schemes of HTTP that take more than a token.
_OTHER = ("basic", "digest", "negotiate", "hoba", "mutual", "scram-sha-1", "scram-sha-256", "vapid")
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_MOST_SERVERS = 20


def read_auth(schemas: Schemas, spec: Mapping[str, Any], remarks: dict[str, None]) -> dict[str, str]:
    """The header that carries the token, by the first security scheme that names one, those in use before others."""
    declared = schemas.resolved(schemas.resolved(spec.get("components")).get("securitySchemes"))
    used = {name for entry in _listed(spec.get("security")) if isinstance(entry, Mapping) for name in entry}
    for name in sorted(declared, key=lambda one: one not in used):
        found = _header(schemas.resolved(declared[name]))
        if found is not None:
            return found
    if declared:
        remarks["no security scheme puts a token into a header: Authorization: Bearer is assumed"] = None
    return _BEARER


def _header(scheme: Mapping[str, Any]) -> dict[str, str] | None:
    kind, text = scheme.get("type"), str(scheme.get("description") or "")
    if kind in ("oauth2", "openIdConnect"):
        return _BEARER
    if kind == "http":
        word = str(scheme.get("scheme") or "")
        if word.lower() == "bearer":
            return _BEARER
        if word.lower() in _OTHER or not _WORD.fullmatch(word):
            return None
        return {"header": "Authorization", "scheme": _with_token_equals(text) or word}
    header = scheme.get("name")
    if kind == "apiKey" and scheme.get("in") == "header" and isinstance(header, str) and _HEADER.fullmatch(header):
        prefixed = _PREFIXED.search(text)
        word = "Bearer" if "bearer" in text.lower() else prefixed[1] if prefixed is not None else ""
        return {"header": header, "scheme": _with_token_equals(text) or word}
    return None


def _with_token_equals(text: str) -> str | None:
    """How the token is written after `token=`, with quotes or without, where a text speaks of that."""
    found = _TOKEN_EQUALS.search(text)
    if found is None:
        return None
    quote = '"' if found[1] else ""
    return f"Token token={quote}{{token}}{quote}"


def read_servers(spec: Mapping[str, Any], address: str | None, remarks: dict[str, None]) -> tuple[str, dict[str, str]]:
    """A prefix of all paths, and the addresses of the service by name."""
    environments: dict[str, str] = {}
    prefix = ""
    for url, server in _addresses(spec, remarks):
        try:
            full = urljoin(address or "", url)
            parts = urlsplit(full)
            host = parts.hostname
        except ValueError:
            continue
        if parts.scheme not in ("http", "https") or not host:
            prefix = prefix or parts.path.rstrip("/")
        elif host not in ("0.0.0.0", "::"):  # noqa: S104  # where a server listens is nowhere to send to
            label = str(server.get("description") or "") or host
            if free(slug(label), environments) != slug(label):
                label = f"{label} {host}"
            environments[free(slug(label) or "service", environments)] = full.rstrip("/")
    return ("" if environments else prefix), environments


def _addresses(spec: Mapping[str, Any], remarks: dict[str, None]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each server with its variables filled in: with every value that is listed, else with the default."""
    for server in _listed(spec.get("servers")):
        url = server.get("url") if isinstance(server, Mapping) else None
        if not isinstance(url, str):
            continue
        declared = server.get("variables")
        variables = declared if isinstance(declared, Mapping) else {}
        names = list(dict.fromkeys(_VARIABLE.findall(url)))
        choices = [_choices(variables.get(name)) for name in names]
        if not all(choices):
            lacking = [name for name, values in zip(names, choices, strict=True) if not values]
            remarks[f"the server {url} is left out: nothing says what {', '.join(lacking)} may be"] = None
            continue
        for values in itertools.islice(itertools.product(*choices), _MOST_SERVERS):
            filled = url
            for name, value in zip(names, values, strict=True):
                filled = filled.replace(f"{{{name}}}", value)
            yield filled, server


def _choices(variable: Any) -> list[str]:
    """The values of a variable, the default first."""
    if not isinstance(variable, Mapping):
        return []
    values = [variable.get("default"), *_listed(variable.get("enum"))]
    return list(dict.fromkeys(str(value) for value in values if isinstance(value, str | int)))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
