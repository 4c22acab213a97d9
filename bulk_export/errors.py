"""Everything that can go wrong, as a user sees it.

    BulkExportError                 exit code
    ├── UsageError                  2    wrong option, configuration or output directory
    │   └── DirectoryInUse          2    another process holds it
    ├── ServiceRefused              3    401, 403, 404, 400, 422
    │   └── SchemaDrift             3    `--schema strict` met a field or value the schema has no place for
    ├── ServiceFailing              4    kept failing after all retries
    │   └── RemovalRefused          4    `sync` would have to remove more records than --max-removed allows
    ├── LocalFailure                5    disk full, unwritable, damaged state
    │   ├── DamagedState            5    a journal, manifest or archive that cannot be trusted
    │   └── BudgetUnavailable       5    the store of spent requests cannot be used
    ├── VerificationFailed          6    an export differs from its manifest
    │   └── DescriptionOutdated     6    a service publishes another description of itself than the one at hand
    └── Interrupted                 130  stopped by a signal, resumable

This module imports nothing of the project. Messages hold neither tokens nor record contents.
"""

from __future__ import annotations

from typing import ClassVar


class BulkExportError(Exception):
    """What happened, what was kept, and what to do next, each one sentence or empty."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, kept: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.kept = kept
        self.next_step = next_step

    def lines(self) -> list[str]:
        """One line that says what happened, and one that says what was kept and what to do."""
        advice = " ".join(part for part in (self.kept, self.next_step) if part)
        return [self.what, advice] if advice else [self.what]


class UsageError(BulkExportError):
    """An option, a setting or an output directory that cannot be used as given."""

    exit_code = 2


class DirectoryInUse(UsageError):
    """Another process works in the directory."""


class ServiceRefused(BulkExportError):
    """The service answered that it will not serve this request; asking again changes nothing."""

    exit_code = 3


class SchemaDrift(ServiceRefused):
    """A record held something the schema has no place for, and the caller asked to stop at that."""


class ServiceFailing(BulkExportError):
    """The service, or the way to it, kept failing until all retries were used."""

    exit_code = 4


class RemovalRefused(ServiceFailing):
    """The service shows far fewer records than before; they stay in the copy until a person says that they are gone."""


class LocalFailure(BulkExportError):
    """This machine could not store or read what was needed."""

    exit_code = 5


class DamagedState(LocalFailure):
    """Stored state is torn, edited, or written by another version."""


class BudgetUnavailable(LocalFailure):
    """Spent requests cannot be counted, so none may be sent."""


class VerificationFailed(BulkExportError):
    """A finished export differs from its manifest."""

    exit_code = 6


class DescriptionOutdated(VerificationFailed):
    """A service publishes another description of itself than the one at hand."""


class Interrupted(BulkExportError):
    """Stopped by a signal; the same command goes on from here."""

    exit_code = 130
