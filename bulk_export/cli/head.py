"""`bulk-export head`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_export.cli.reporting import hide_in_logs
from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show
from bulk_export.errors import UsageError
from bulk_export.progress.console import one_line

if TYPE_CHECKING:
    import pyarrow as pa

_GAP = "  "
_WIDEST = 40
_NARROWEST = 40
_MORE = "…"


def _names(ctx: typer.Context, incomplete: str) -> list[str]:
    from bulk_export.cli.parameters import complete_endpoints

    return complete_endpoints(ctx, incomplete)


Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of an endpoint.", autocompletion=_names)]


def head(endpoint: Endpoint, **line: Any) -> None:
    """Show the first records of an endpoint: one request, no file. For people, or as --json or --csv."""
    prepared = prepare("head", line)
    options = prepared.options
    as_json, as_csv = options.pop("json"), options.pop("csv")
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other.", next_step="Leave one of them out.")

    import anyio

    from bulk_export.pipelines.head import first_records, head_options
    from bulk_export.progress.line_display import SilentProgress

    resolved = head_options(endpoint, **options)
    if resolved.token is not None:
        hide_in_logs(resolved.token.mask)
    batch = anyio.run(first_records, resolved, SilentProgress(prepared.console))
    if as_json:
        from bulk_export.transform.decode.flat_lines import FlatLines

        show(FlatLines(batch.schema).text(batch).removesuffix(b"\n"))
    elif as_csv:
        from bulk_export.transform.decode.csv_rows import CsvRows

        rows = CsvRows(batch.schema)
        show((rows.header + b"".join(map(bytes, rows.pieces(batch)))).removesuffix(b"\r\n"))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
        for text in record_lines(batch, width):
            show(text)


def record_lines(batch: pa.RecordBatch, width: int) -> Iterator[str]:
    """Records for people: a table if it fits, or else record by record with a line for each field.

    Args:
        batch: The records.
        width: How many characters a line may have.

    Yields:
        Lines of at most that many characters, but at least 40; columns without a value are left out of a table.
    """
    names = batch.schema.names
    rows = list(zip(*(_texts(batch.column(name)) for name in names), strict=True))
    used = [index for index in range(len(names)) if any(row[index] for row in rows)]
    widths = {
        index: min(_WIDEST, max(len(text) for text in (names[index], *(row[index] for row in rows)))) for index in used
    }
    if rows and sum(widths.values()) + len(_GAP) * (len(used) - 1) <= width:
        for row in (names, *rows):
            yield _GAP.join(_cut(row[index], widths[index]).ljust(widths[index]) for index in used).rstrip()
        return
    label = max(map(len, names))
    room = max(width, _NARROWEST) - label - len(_GAP)
    for number, row in enumerate(rows, 1):
        yield f"record {number}"
        for name, text in zip(names, row, strict=True):
            if text:
                yield f"{name.ljust(label)}{_GAP}{_cut(text, room)}"
    if not rows:
        yield "no records"


def _texts(column: pa.Array) -> Sequence[str]:
    import pyarrow as pa

    from bulk_export.transform.decode.json_texts import JsonTexts

    if pa.types.is_string(column.type):
        values = column.to_pylist()
    else:
        values = [text if text is None else text.strip('"') for text in JsonTexts(column.type).of(column).to_pylist()]
    return ["" if value is None else one_line(str(value)) for value in values]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(1, width - 1)] + _MORE
