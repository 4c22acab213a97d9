"""The exceptions that users see, with the exit codes of the command line.

    BulkExportError                 exit code
    ├── UsageError                  2    an invalid option, configuration or output directory
    │   ├── DirectoryInUse          2    another process works in the directory
    │   ├── BegunOtherwise          2    an unfinished export is there that other options began
    │   └── InvalidArgument         2    a Python call names an unknown option, or gives one a value of another type
    ├── ServiceRefused              3    the service rejects the request: status 400, 401, 403, 404, 422
    │   ├── SchemaDrift             3    `--schema strict`, and the schema does not cover a field or value
    │   └── StoreRefused            3    an object store rejects the request: credentials, region, no such bucket
    │       └── StoreAccessDenied   3    its credentials do not allow this operation
    ├── ServiceFailing              4    the service kept failing after all retries
    │   ├── RemovalRefused          4    `sync` would remove more records than --max-removed allows
    │   └── StoreFailing            4    an object store kept failing after all retries
    ├── LocalFailure                5    this machine failed: disk full, no access, damaged state
    │   ├── DamagedState            5    a journal, manifest or archive that cannot be trusted
    │   └── BudgetUnavailable       5    the record of spent requests cannot be used
    ├── VerificationFailed          6    an export differs from its manifest
    │   └── DescriptionOutdated     6    a service publishes another description than the given one
    └── Interrupted                 130  stopped by a signal; can be resumed

This module imports nothing of the project. Messages contain neither tokens nor the contents of records.
"""

from __future__ import annotations

from typing import ClassVar


class BulkExportError(Exception):
    """The base of all exceptions of this package. Its text says what happened, what is not lost, and what to do.

    Attributes:
        what: A sentence that says what happened.
        kept: A sentence that says what is not lost, or an empty text.
        next_step: A sentence that says what the user can do, or an empty text.
        exit_code: The exit code of the command.
        may_pass: Whether the same run may succeed later, once the service or this machine is well again.
        can_resume: Whether a run that had begun ended by it, and `bulk-export resume` goes on with it.
    """

    exit_code: ClassVar[int] = 1
    may_pass: bool = False
    can_resume: bool = False

    def __init__(self, what: str, *, kept: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.kept = kept
        self.next_step = next_step

    def __str__(self) -> str:
        return " ".join(self.lines())

    def lines(self) -> list[str]:
        """The message in one or two lines: what happened, and then what was kept and what to do."""
        advice = " ".join(part for part in (self.kept, self.next_step) if part)
        return [self.what, advice] if advice else [self.what]


class UsageError(BulkExportError):
    """An option, a setting or an output directory cannot be used as given."""

    exit_code = 2


class DirectoryInUse(UsageError):
    """Another process works in the directory."""


class BegunOtherwise(UsageError):
    """The directory holds an unfinished export that was begun with other options, and goes on with those."""


class InvalidArgument(UsageError, TypeError):
    """A Python call names an option that the function does not have, or gives one a value of a type it does not take.

    It is a `TypeError` as well, which Python raises for such calls.
    """


class ServiceRefused(BulkExportError):
    """The service rejects a request. The same request would be rejected again."""

    exit_code = 3


class SchemaDrift(ServiceRefused):
    """With `--schema strict`, a record has a field or value that the schema does not cover."""


class StoreRefused(ServiceRefused):
    """An object store rejects a request. The same request would be rejected again."""


class StoreAccessDenied(StoreRefused):
    """The credentials for an object store do not allow an operation that others may be allowed without."""


class ServiceFailing(BulkExportError):
    """The service or the network kept failing until all retries were used.

    Attributes:
        large_page: The endpoint and the size of a page that may have been too large, if the run can go on with smaller
            ones.
    """

    exit_code = 4
    may_pass = True
    large_page: tuple[str, int] | None = None


class RemovalRefused(ServiceFailing):
    """The service shows far fewer records than before. The copy keeps them until a person accepts their removal."""


class StoreFailing(ServiceFailing):
    """An object store, or the network to it, kept failing until all retries were used."""


class LocalFailure(BulkExportError):
    """This machine could not read or write something."""

    exit_code = 5
    may_pass = True


class DamagedState(LocalFailure):
    """Stored state is damaged, was edited, or was written by another version."""

    may_pass = False


class BudgetUnavailable(LocalFailure):
    """Spent requests cannot be counted, so no request is sent."""


class VerificationFailed(BulkExportError):
    """A finished export differs from its manifest."""

    exit_code = 6


class DescriptionOutdated(VerificationFailed):
    """A service publishes another description of its API than the given one."""


class Interrupted(BulkExportError):
    """The run was stopped by a signal. The same command resumes it."""

    exit_code = 130
    may_pass = True
