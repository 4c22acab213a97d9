"""The base URLs of a service, from the servers of a document."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from bulk_export.services.openapi.naming import slug, unused_name

_VARIABLE = re.compile(r"\{([^{}]*)\}")
_MOST_URLS = 20


def read_servers(
    document: Mapping[str, Any], address: str | None, remarks: dict[str, None]
) -> tuple[str, dict[str, str]]:
    """Return the prefix of all paths, and the `environments` table of a description.

    The prefix is the path of a relative server, which is resolved if the `address` of the document is known.
    """
    environments: dict[str, str] = {}
    prefix = ""
    for url, server in _server_urls(document, remarks):
        try:
            base_url = urljoin(address or "", url)
            parts = urlsplit(base_url)
            host = parts.hostname
        except ValueError:
            continue
        if parts.scheme not in ("http", "https") or not host:
            prefix = prefix or parts.path.rstrip("/")
        elif host not in ("0.0.0.0", "::"):  # noqa: S104  # a server listens there, but no request can be sent there
            label = str(server.get("description") or "") or host
            if slug(label) in environments:
                label = f"{label} {host}"
            environments[unused_name(slug(label) or "service", environments)] = base_url.rstrip("/")
    return ("" if environments else prefix), environments


def _server_urls(document: Mapping[str, Any], remarks: dict[str, None]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the URLs of each server: one for each combination of its variables' values."""
    for server in _list(document.get("servers")):
        url = server.get("url") if isinstance(server, Mapping) else None
        if not isinstance(url, str):
            continue
        variables = server.get("variables")
        names = list(dict.fromkeys(_VARIABLE.findall(url)))
        choices = [_values(variables.get(name) if isinstance(variables, Mapping) else None) for name in names]
        if not all(choices):
            unknown = [name for name, values in zip(names, choices, strict=True) if not values]
            remarks[f"the server {url} is left out: the values of {', '.join(unknown)} are not known"] = None
            continue
        for values in itertools.islice(itertools.product(*choices), _MOST_URLS):
            filled = url
            for name, value in zip(names, values, strict=True):
                filled = filled.replace(f"{{{name}}}", value)
            yield filled, server


def _values(variable: Any) -> list[str]:
    """Return the values of a variable, its default first."""
    if not isinstance(variable, Mapping):
        return []
    values = [variable.get("default"), *_list(variable.get("enum"))]
    return list(dict.fromkeys(str(value) for value in values if isinstance(value, str | int)))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
