"""The checks, and the tables and columns that each one needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from bulk_export.errors import UsageError

# The endpoints of the tables that the SQL names.
TABLES = {
    "declarations": "participant-declarations",
    "applications": "npq-applications",
    "participants": "participants-npq",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: Its name on the command line.
        title: What its rows are.
        needs: The columns that it needs of each table.
        needs_history: Whether it needs earlier versions of the applications.
    """

    name: str
    title: str
    needs: Mapping[str, tuple[str, ...]]
    needs_history: bool = False

    @property
    def sql(self) -> str:
        """One SELECT over the tables of TABLES, and over `applications_changes` if the history is needed."""
        text = files("bulk_export.pipelines.checks").joinpath("sql", f"{self.name}.sql").read_text("utf-8")
        return text.rstrip()


_DECLARATION = ("id", "declaration_type", "state", "created_at", "application_id")

CHECKS = (
    Check(
        "undecided",
        "declarations whose application has no funded-place decision",
        {"declarations": _DECLARATION, "applications": ("id", "funded_place", "updated_at")},
    ),
    Check(
        "changed",
        "applications whose funded place changed after a declaration was submitted",
        {"declarations": _DECLARATION, "applications": ("id", "funded_place", "updated_at")},
        needs_history=True,
    ),
    Check(
        "unlinked",
        "declarations whose application or participant is not in the copy",
        {"declarations": (*_DECLARATION, "participant_id"), "applications": ("id",), "participants": ("id",)},
    ),
)


# Not run by itself, since most of these changes were made in time. The result of `changed` mentions their number.
UNCLEAR_CHANGES = Check(
    "unclear",
    "changes of a funded place of which it cannot be told whether they came after a declaration",
    {"declarations": _DECLARATION, "applications": ("id", "funded_place", "updated_at")},
    needs_history=True,
)


def find_check(name: str) -> Check:
    """Return the check of that name, `unclear` included.

    Raises:
        UsageError: There is none.
    """
    for check in (*CHECKS, UNCLEAR_CHANGES):
        if check.name == name:
            return check
    raise UsageError(
        f"There is no check {name!r}.", next_step=f"Choose from: {', '.join(check.name for check in CHECKS)}."
    )
