"""How objects are written: `--store-option KEY=VALUE` for encryption, storage class and tags.

sse=AES256|aws:kms|aws:kms:dsse   encryption by the store (S3)
sse-kms-key-id=KEY                the key for it (S3)
sse-bucket-key=true|false         one data key for the bucket (S3)
storage-class=NAME                STANDARD_IA (S3), Cool (Azure), NEARLINE (Google)
tag.NAME=VALUE                    a tag of each object (S3, Azure)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from bulk_export.errors import UsageError

# The name of each option in the configuration of obstore.
_ENCRYPTION = {
    "sse": "server_side_encryption",
    "sse-kms-key-id": "sse_kms_key_id",
    "sse-bucket-key": "sse_bucket_key_enabled",
}
_STORAGE_CLASS = "storage-class"
_TAG = "tag."
_KNOWN = (*_ENCRYPTION, _STORAGE_CLASS, f"{_TAG}NAME")
_VALUES = {"sse": ("AES256", "aws:kms", "aws:kms:dsse"), "sse-bucket-key": ("true", "false")}
_TEXT = re.compile(r"[A-Za-z0-9 +\-=._:/@]{1,256}", re.ASCII)
_MOST_TAGS = 10


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Options of written objects: settings of the connection, the storage class, and tags."""

    config: dict[str, str] = field(default_factory=dict)
    storage_class: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Iterable[str], scheme: str) -> StoreOptions:
        """Parse options as they are given.

        Args:
            given: Texts of the form KEY=VALUE.
            scheme: The scheme of the store, which must know them.

        Raises:
            UsageError: One is not known, is given twice, or has a value that cannot be used.
        """
        config: dict[str, str] = {}
        tags: dict[str, str] = {}
        storage_class = ""
        seen = set()
        for text in given:
            key, equals, value = text.partition("=")
            if not equals or _TEXT.fullmatch(value) is None or value not in _VALUES.get(key, (value,)):
                raise UsageError(
                    f"--store-option cannot be {text[:80]!r}.", next_step=f"Write KEY=VALUE; keys: {', '.join(_KNOWN)}."
                )
            if key in seen:
                raise UsageError(f"--store-option {key} is given twice.", next_step="Give each key once.")
            seen.add(key)
            if key in _ENCRYPTION and scheme == "s3":
                config[_ENCRYPTION[key]] = value
            elif key == _STORAGE_CLASS:
                storage_class = value
            elif key.startswith(_TAG) and _TEXT.fullmatch(key.removeprefix(_TAG)) and scheme != "gs":
                tags[key.removeprefix(_TAG)] = value
            else:
                raise _unknown(key, scheme)
        if len(tags) > _MOST_TAGS:
            raise UsageError(f"An object has {_MOST_TAGS} tags at most.", next_step="Leave some tags out.")
        return cls(config, storage_class, tags)


def _unknown(key: str, scheme: str) -> UsageError:
    close = difflib.get_close_matches(key, _KNOWN, n=1)
    known = [name for name in _KNOWN if name == _STORAGE_CLASS or scheme == "s3" or (scheme != "gs" and _TAG in name)]
    hint = f"Did you mean {close[0]}? " if close and close[0] in known and close[0] != key else ""
    return UsageError(
        f"{scheme}:// has no --store-option {key[:40]!r}.", next_step=f"{hint}Choose from: {', '.join(known)}."
    )
