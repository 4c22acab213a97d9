"""Options of written objects."""

from __future__ import annotations

import pytest

from bulk_export.errors import UsageError
from bulk_export.output.object_store.store_options import StoreOptions


def test_known_options() -> None:
    """Each goes where obstore takes it."""
    given = ["sse=aws:kms", "sse-kms-key-id=arn:aws:kms:eu-west-2:1:key/2", "storage-class=STANDARD_IA", "tag.team=npq"]
    assert StoreOptions.of(given, "s3") == StoreOptions(
        {"server_side_encryption": "aws:kms", "sse_kms_key_id": "arn:aws:kms:eu-west-2:1:key/2"},
        "STANDARD_IA",
        {"team": "npq"},
    )
    assert StoreOptions.of([], "gs") == StoreOptions()


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("sse", "s3"),
        ("sse=", "s3"),
        ("sse=ROT13", "s3"),
        ("sse=AES256", "az"),
        ("tag.a=b", "gs"),
        ("tag.=b", "s3"),
        ("acl=public-read", "s3"),
        ("endpoint=http://example.com", "s3"),
        ("aws_secret_access_key=x", "s3"),
        ("storage-class=a\nb", "s3"),
    ],
)
def test_other_options_are_refused(text: str, scheme: str) -> None:
    """A key that is not known could be a typing error, so nothing is written without it."""
    with pytest.raises(UsageError):
        StoreOptions.of([text], scheme)


def test_options_are_given_once() -> None:
    """The second of two values would win silently."""
    with pytest.raises(UsageError, match="given twice"):
        StoreOptions.of(["sse=AES256", "sse=aws:kms"], "s3")


def test_typing_error_gets_a_hint() -> None:
    """The most similar key is named."""
    with pytest.raises(UsageError) as raised:
        StoreOptions.of(["storage-clas=Cool"], "az")
    assert "storage-class" in raised.value.next_step
