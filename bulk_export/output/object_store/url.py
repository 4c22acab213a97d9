"""Addresses of exports in object stores: `s3://BUCKET/PREFIX` and its like.

s3://BUCKET/PREFIX                                       Amazon S3, and stores with its interface
az://CONTAINER/PREFIX                                    Azure Storage; the account comes from the environment
abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX    Azure Storage
abfss://WORKSPACE@onelake.dfs.fabric.microsoft.com/LAKEHOUSE.Lakehouse/Files/PREFIX
gs://BUCKET/PREFIX                                       Google Cloud Storage
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from bulk_export.core.locations import scheme_of, with_home
from bulk_export.errors import UsageError

SCHEMES = ("s3", "az", "abfss", "gs")
# What a store would not keep as it is written, and what a shell, a URL or a reader's wildcard gives a meaning.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\\{}^%`\"<>\[\]|#?*~]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{1,253}[A-Za-z0-9]|\$[a-z]+", re.ASCII)
_AZURE_HOST = re.compile(
    r"([a-z0-9-]+)\.(?:dfs|blob)\.(core\.windows\.net|fabric\.microsoft\.com)", re.ASCII | re.IGNORECASE
)
_EXAMPLES = "Write it like s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or gs://BUCKET/PREFIX."


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """The place of an export in an object store.

    Attributes:
        scheme: One of SCHEMES.
        bucket: The bucket, container or workspace.
        prefix: What the keys of the export begin with, without slashes at its ends; may be empty.
        host: The host of an `abfss://` address; empty for others.
    """

    scheme: str
    bucket: str
    prefix: str
    host: str = ""

    def __str__(self) -> str:
        authority = f"{self.bucket}@{self.host}" if self.host else self.bucket
        return f"{self.scheme}://{authority}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def account(self) -> str:
        """The account that the host names; empty without a host."""
        return self.host.partition(".")[0]

    @property
    def is_fabric(self) -> bool:
        """Whether it is in OneLake."""
        return self.host.endswith(".fabric.microsoft.com")


def parse_store_url(text: str) -> StoreUrl:
    """Parse an address in an object store.

    The text is not repeated in a message, since it may hold a key or a signature.

    Raises:
        UsageError: It is not one of the forms above.
    """
    scheme, found, rest = text.partition("://")
    scheme = scheme.lower()
    if not found and scheme_of(text) in SCHEMES:
        raise UsageError(
            f"An address begins with {scheme_of(text)}:// and two slashes.",
            next_step="In Python give it as a text, since a Path keeps only one of them.",
        )
    if not found or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise UsageError(
            f"An export cannot be kept at an address that begins with {(scheme_of(text) or scheme)[:20]}:.",
            next_step=f"Use {known} or a path; ./ before the name is for a directory that looks like a URL.",
        )
    authority, _, path = rest.partition("/")
    bucket, at, host = authority.partition("@")
    if "?" in rest or "#" in rest or ":" in authority or (at and scheme != "abfss"):
        raise UsageError(
            f"An address of {scheme}:// holds no key, signature, port or question mark.",
            next_step="Credentials come from the environment or the profile of the store; see docs/lake.md.",
        )
    if scheme == "abfss" and _AZURE_HOST.fullmatch(host) is None:
        raise UsageError(
            "An address of abfss:// names a container and an account.",
            next_step="Write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX.",
        )
    if _BUCKET.fullmatch(bucket) is None:
        which = "a bucket or container that cannot exist" if bucket else "no bucket or container"
        raise UsageError(f"The address of {scheme}:// names {which}.", next_step=_EXAMPLES)
    prefix = path.removesuffix("/")
    if _UNUSABLE.search(prefix) or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise UsageError(
            f"The prefix of the address of {scheme}:// holds an empty part, a dot alone, or a character with a meaning"
            " of its own.",
            next_step="Use letters, digits, - and _ between slashes.",
        )
    return StoreUrl(scheme, bucket, prefix, host.lower())


def parse_location(text: str | os.PathLike[str]) -> Path | StoreUrl:
    """Tell an address in an object store from a path. Raises UsageError for an address that cannot be used."""
    if isinstance(text, StoreUrl):
        return text
    name = os.fspath(text)
    # A path object has lost one slash of `s3://`, so it cannot be read as an address any more.
    return with_home(text) if scheme_of(name) is None else parse_store_url(name)
