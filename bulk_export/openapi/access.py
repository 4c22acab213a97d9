"""Where a service is, and how it is told who asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from bulk_export.openapi.names import free, slug
from bulk_export.openapi.schemas import Schemas

_PREFIXED = re.compile(r"prefix(?:ed with)?\W+(\w+)", re.ASCII | re.IGNORECASE)
_HEADER = re.compile(r"[A-Za-z0-9-]+")


def read_auth(schemas: Schemas, spec: Mapping[str, Any], remarks: dict[str, None]) -> dict[str, str]:
    """The header that carries the token, by the first security scheme that names one."""
    declared = schemas.resolved(schemas.resolved(spec.get("components")).get("securitySchemes"))
    for entry in declared.values():
        scheme = schemas.resolved(entry)
        kind, text = scheme.get("type"), str(scheme.get("description") or "")
        if kind == "http" and str(scheme.get("scheme")).lower() == "bearer":
            return {"header": "Authorization", "scheme": "Bearer"}
        if kind in ("oauth2", "openIdConnect"):
            return {"header": "Authorization", "scheme": "Bearer"}
        header = scheme.get("name")
        if kind == "apiKey" and scheme.get("in") == "header" and isinstance(header, str) and _HEADER.fullmatch(header):
            prefixed = _PREFIXED.search(text)
            word = "Bearer" if "bearer" in text.lower() else prefixed[1] if prefixed is not None else ""
            return {"header": header, "scheme": word}
    if declared:
        remarks["no security scheme puts a token into a header: Authorization: Bearer is assumed"] = None
    return {"header": "Authorization", "scheme": "Bearer"}


def read_servers(spec: Mapping[str, Any], address: str | None) -> tuple[str, dict[str, str]]:
    """A prefix of all paths, and the addresses of the service by name."""
    environments: dict[str, str] = {}
    prefix = ""
    listed = spec.get("servers")
    for server in listed if isinstance(listed, list) else []:
        url = server.get("url") if isinstance(server, Mapping) else None
        if not isinstance(url, str) or "{" in url:
            continue
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
            environments[free(slug(label) or "service", environments)] = full.rstrip("/")
    return ("" if environments else prefix), environments
