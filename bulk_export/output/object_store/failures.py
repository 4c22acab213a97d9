"""What obstore raises becomes an error of ours, by the code that the store sent.

Messages of obstore hold addresses, which may be signed, and whole answers. None of that is shown: only codes that are
listed here, and only in words of ours.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from bulk_export.errors import BulkExportError, LocalFailure, StoreAccessDenied, StoreFailing, StoreRefused, UsageError
from bulk_export.output.object_store.url import StoreUrl

_CODE = re.compile(r"<Code>([A-Za-z.]{3,80})</Code>|\"code\":\s*\"([A-Za-z.]{3,80})\"")
_STATUS = re.compile(r"status code: ([1-5][0-9]{2})")
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "FilesystemNotFound", "ContainerBeingDeleted", "InvalidBucketName"}
_OTHER_REGION = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidAuthenticationInfo"}
_INVALID = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "UnrecognizedClientException",
    "invalid_client",
    "InvalidClientTokenId",
}
_SKEWED = {"RequestTimeTooSkewed"}
_METADATA_ADDRESSES = ("169.254.169.254", "169.254.170.2", "metadata.google.internal", "localhost:50342")
_AGAIN = "Run the same command again; it goes on from here."


class ObjectMissing(Exception):
    """There is no object of that key."""


class ObjectExists(Exception):
    """An object that was to be created is there already."""


class ObjectChanged(Exception):
    """An object is not the one that was read before."""


@contextlib.contextmanager
def store_failures(doing: str, url: StoreUrl, kept: str) -> Iterator[None]:
    """Map exceptions of obstore.

    Args:
        doing: The beginning of a sentence about what is being done: `Writing an object`.
        url: The address of the export.
        kept: A sentence about what is not lost.

    Raises:
        ObjectMissing: There is no such object.
        ObjectExists: It is there, and was to be created.
        ObjectChanged: It is not the expected one.
        StoreRefused: The store rejects the request for good.
        StoreFailing: The store, or the way to it, kept failing.
        UsageError: There are no credentials, or they do not suffice to sign a request.
    """
    from obstore import exceptions

    try:
        yield
    except exceptions.AlreadyExistsError:
        raise ObjectExists from None
    except exceptions.PreconditionError:
        raise ObjectChanged from None
    except (exceptions.BaseError, FileNotFoundError, PermissionError, ValueError) as error:
        raise _mapped(error, doing, url, kept) from None
    except OSError as error:
        raise _failing(doing, url, kept, error.strerror or "the connection failed") from None


def _mapped(error: Exception, doing: str, url: StoreUrl, kept: str) -> Exception:
    from obstore import exceptions

    text = str(error)
    codes = {name for match in _CODE.findall(text) for name in match if name}
    status = _STATUS.search(text)
    is_unknown = isinstance(error, exceptions.UnauthenticatedError) or (status is not None and status[1] == "401")
    known = _by_code(codes | ({"InvalidToken"} if is_unknown else set()), text, url, kept)
    if known is not None:
        return known
    if isinstance(error, FileNotFoundError | exceptions.NotFoundError):
        return ObjectMissing()
    if isinstance(error, exceptions.NotSupportedError) or "NotImplemented" in codes:
        return StoreRefused(
            f"The store at {url} lacks what an export needs: objects that are written only if they are not there yet.",
            kept=kept,
            next_step="Choose another store, or export to a directory and copy it.",
        )
    denied = exceptions.PermissionDeniedError | PermissionError
    if isinstance(error, denied) or (status is not None and status[1] == "403"):
        return StoreAccessDenied(
            f"{doing} in {url} is not allowed with these credentials.",
            kept=kept,
            next_step="Allow reading and writing objects below it, then run the same command again.",
        )
    if status is not None and status[1].startswith("4") and status[1] not in ("408", "429"):
        return StoreRefused(
            f"{doing} in {url} was rejected with status {status[1]}.", kept=kept, next_step=f"Check it, then: {_AGAIN}"
        )
    return _failing(doing, url, kept, _reason(codes, text, status))


def _by_code(codes: set[str], text: str, url: StoreUrl, kept: str) -> BulkExportError | None:
    """The error for codes and texts that say what is wrong."""
    if codes & _NO_BUCKET:
        return StoreRefused(
            f"There is no bucket or container {url.bucket}.",
            kept=kept,
            next_step="Make it, or correct the address; nothing here makes buckets.",
        )
    if codes & _OTHER_REGION or "incorrectly configured region" in text:
        return StoreRefused(
            f"The bucket {url.bucket} is in another region than the one of the settings.",
            kept=kept,
            next_step="Set AWS_REGION to the region of the bucket, then run the same command again.",
        )
    if codes & _EXPIRED:
        return StoreRefused(
            f"The credentials for {url} have expired.",
            kept=kept,
            next_step="Renew them, then run the same command again; it goes on from here.",
        )
    if codes & _SKEWED:
        return StoreRefused(
            f"The clock of this machine differs too much from that of the store of {url}.",
            kept=kept,
            next_step="Set the clock, then run the same command again.",
        )
    if codes & _INVALID:
        return StoreRefused(
            f"The store does not accept the credentials for {url}.",
            kept=kept,
            next_step="Correct them in the environment or the profile, then run the same command again.",
        )
    if any(address in text for address in _METADATA_ADDRESSES) or "MissingCredentials" in text:
        return UsageError(
            f"There are no credentials for {url}.",
            kept=kept,
            next_step="Give them by the environment, a profile or the identity of this machine; see docs/lake.md.",
        )
    if "No space left on device" in text:
        return LocalFailure("The disk of this machine is full.", kept=kept, next_step=f"Make room. {_AGAIN}")
    return None


def _reason(codes: set[str], text: str, status: re.Match[str] | None) -> str:
    if "SlowDown" in codes or "ServerBusy" in codes:
        return "it asked for fewer requests again and again"
    if "timed out" in text or "Timeout" in text:
        return "it did not answer in time"
    if status is not None:
        return f"status {status[1]}"
    if "error sending request" in text or "HTTP error" in text:
        return "the connection failed"
    return "for a reason that it did not name"


def _failing(doing: str, url: StoreUrl, kept: str, reason: str) -> StoreFailing:
    return StoreFailing(f"{doing} in {url} kept failing: {reason}.", kept=kept, next_step=_AGAIN)
