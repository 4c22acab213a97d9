"""The options of report: type, default and help of each, declared once."""

from __future__ import annotations

from typing import Annotated, TypedDict

from bulk_export.pipelines.arguments import PathText
from bulk_export.pipelines.declarations import Option, Source, Where


class ReportArguments(TypedDict, total=False):
    """The options of a report."""

    # Not in settings, where the name is that of an export's option.
    output: Annotated[
        PathText | None,
        Where(
            "File of the report.",
            metavar="FILE",
            default_text="report.html in DIR; needed for a URL",
            sources=Source.LINE | Source.PYTHON,
            short="-o",
        ),
    ]
    verify: Annotated[bool, Option("Read every file of an export, as verify does, not only names and sizes.")]
    # Whether values are shown to people is decided each time.
    values: Annotated[
        bool,
        Option(
            "Count the values of enumerations, too, if 10 records or more have them.",
            sources=Source.LINE | Source.PYTHON,
        ),
    ]
