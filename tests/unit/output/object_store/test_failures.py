"""What obstore raises, as errors of ours."""

from __future__ import annotations

import pytest

from bulk_export.errors import BulkExportError
from bulk_export.output.object_store.failures import ObjectChanged, ObjectExists, ObjectMissing, store_failures
from bulk_export.output.object_store.url import parse_store_url

exceptions = pytest.importorskip("obstore.exceptions")

URL = parse_store_url("s3://bucket/x")
SIGNED = " https://host/bucket/x?X-Amz-Signature=canary status code: "


def answer(status: int, code: str) -> str:
    """What the message of an exception looks like: a signed address, and the store's answer."""
    return f"Error performing PUT{SIGNED}{status}: <Error><Code>{code}</Code><Message>canary</Message></Error>"


@pytest.mark.parametrize(
    ("error", "exit_code", "says"),
    [
        (FileNotFoundError(answer(404, "NoSuchBucket")), 3, "no bucket or container bucket"),
        (FileNotFoundError(answer(404, "ContainerNotFound")), 3, "no bucket or container"),
        (exceptions.GenericError(answer(301, "PermanentRedirect")), 3, "another region"),
        (exceptions.GenericError("Received redirect, an incorrectly configured region"), 3, "another region"),
        (exceptions.GenericError(answer(400, "ExpiredToken")), 3, "have expired"),
        (exceptions.PermissionDeniedError(answer(403, "RequestTimeTooSkewed")), 3, "clock"),
        (exceptions.PermissionDeniedError(answer(403, "SignatureDoesNotMatch")), 3, "does not accept"),
        (exceptions.PermissionDeniedError(answer(403, "AccessDenied")), 3, "not allowed"),
        (exceptions.UnauthenticatedError(answer(401, "Other")), 3, "does not accept"),
        (exceptions.GenericError(answer(400, "EntityTooLarge")), 3, "status 400"),
        (exceptions.NotSupportedError("no"), 3, "lacks"),
        (exceptions.GenericError(answer(501, "NotImplemented")), 3, "lacks"),
        (exceptions.GenericError(answer(503, "SlowDown")), 4, "fewer requests"),
        (exceptions.GenericError(answer(500, "InternalError")), 4, "status 500"),
        (exceptions.GenericError(f"error sending request{SIGNED}"), 4, "connection failed"),
        (exceptions.GenericError("operation timed out"), 4, "in time"),
        (exceptions.GenericError("canary"), 4, "did not name"),
        (exceptions.GenericError("Error performing PUT http://169.254.169.254/latest/api/token"), 2, "no credentials"),
        (exceptions.GenericError("No space left on device (os error 28)"), 5, "disk"),
        (ConnectionResetError(104, "Connection reset by peer"), 4, "reset by peer"),
    ],
)
def test_errors(error: Exception, exit_code: int, says: str) -> None:
    """Each has an exit code and says what is wrong; nothing of the answer or the address is repeated."""
    with pytest.raises(BulkExportError) as raised, store_failures("Writing an object", URL, "All is kept."):
        raise error
    assert raised.value.exit_code == exit_code
    assert says in raised.value.what
    assert raised.value.kept == "All is kept."
    assert "canary" not in " ".join(raised.value.lines())
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (FileNotFoundError(answer(404, "NoSuchKey")), ObjectMissing),
        (exceptions.NotFoundError("no"), ObjectMissing),
        (exceptions.AlreadyExistsError("no"), ObjectExists),
        (exceptions.PreconditionError("no"), ObjectChanged),
    ],
)
def test_answers_that_are_expected(error: Exception, meaning: type[Exception]) -> None:
    """What an operation asks about is told apart from failures."""
    with pytest.raises(meaning), store_failures("Reading", URL, ""):
        raise error
