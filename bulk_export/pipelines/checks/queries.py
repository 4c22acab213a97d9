"""The questions, and the columns that they are answered from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from bulk_export.errors import UsageError

# The endpoints behind the names that the SQL uses.
TABLES = {
    "declarations": "participant-declarations",
    "applications": "npq-applications",
    "participants": "participants-npq",
}


@dataclass(frozen=True, slots=True)
class Question:
    """`needs` names the columns of each table that must be there; `history` whether earlier versions must be, too."""

    name: str
    title: str
    needs: Mapping[str, tuple[str, ...]]
    history: bool = False

    @property
    def sql(self) -> str:
        """One SELECT over the tables of TABLES, and `applications_changes` where it needs the history."""
        text = files("bulk_export.pipelines.checks").joinpath("questions", f"{self.name}.sql").read_text("utf-8")
        return text.rstrip()


_DECLARATION = ("id", "declaration_type", "state", "created_at", "application_id")

QUESTIONS = (
    Question(
        "undecided",
        "declarations whose application has no funded-place decision",
        {"declarations": _DECLARATION, "applications": ("id", "funded_place", "updated_at")},
    ),
    Question(
        "changed",
        "applications whose funded place changed after a declaration was submitted",
        {"declarations": _DECLARATION, "applications": ("id", "funded_place", "updated_at")},
        history=True,
    ),
    Question(
        "unlinked",
        "declarations whose application or participant is not in the copy",
        {"declarations": (*_DECLARATION, "participant_id"), "applications": ("id",), "participants": ("id",)},
    ),
)


# Not a question of its own, since most of these changes were made in time: what the answer to `changed` mentions.
UNCLEAR_CHANGES = Question(
    "unclear",
    "changes of a funded place of which it cannot be told whether they came after a declaration",
    {"declarations": _DECLARATION, "applications": ("id", "funded_place", "updated_at")},
    history=True,
)


def question(name: str) -> Question:
    """The question of that name. Raises UsageError."""
    for one in (*QUESTIONS, UNCLEAR_CHANGES):
        if one.name == name:
            return one
    raise UsageError(
        f"There is no question {name!r}.", next_step=f"Choose from: {', '.join(one.name for one in QUESTIONS)}."
    )
