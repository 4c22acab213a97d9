"""The names of the texts that a journal keeps beside its pages, where several modules have to agree on them."""

from __future__ import annotations

# The decision to publish, the files that it replaces, and the digest of their manifest.
DECISION, REPLACED, REPLACED_MANIFEST = "manifest", "replaced", "replaced_manifest"
# The run at the object store, and each file that is there, by its path in the manifest: `endpoint/part`.
OBJECT_STORE = "upload"
UPLOADED = "upload/"
# What the conversion made of the pages of an endpoint.
_CORRECTIONS, _FIELDS = "revision/", "fields/"
RESULTS = (_CORRECTIONS, _FIELDS)
_PAGING = "paging/"


def sweep_state_name(endpoint: str, sweep: int) -> str:
    """Return the name of the `state` of a sweep."""
    return f"{_PAGING}{endpoint}/{sweep}"


def corrections_name(endpoint: str) -> str:
    """Return the name of the corrections of an endpoint."""
    return _CORRECTIONS + endpoint


def fields_name(endpoint: str) -> str:
    """Return the name of the inferred fields of an endpoint."""
    return _FIELDS + endpoint


def names_of(endpoint: str) -> tuple[str, ...]:
    """Return the names of all texts about an endpoint, except those that `starts_of` matches."""
    return corrections_name(endpoint), fields_name(endpoint)


def starts_of(endpoint: str) -> tuple[str, ...]:
    """Return how the names of all other texts about an endpoint begin."""
    return f"{_PAGING}{endpoint}/", f"{UPLOADED}{endpoint}/"
