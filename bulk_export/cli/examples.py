"""The examples at the end of every `--help`, in the man page, and nowhere else. Tests parse each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Example(NamedTuple):
    """A command line, and what it is for."""

    purpose: str
    line: str


START = (
    Example("Try it, without a token", "bulk-export export --environment local"),
    Example("See what would keep an export from working", "bulk-export doctor --environment sandbox"),
    Example("Read about a command", "bulk-export export --help"),
)

EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "export": (
        Example("Everything of the bundled service", "bulk-export export --environment local"),
        Example(
            "Everything of a service, into one directory",
            "bulk-export export --base-url https://ADDRESS --token-file ~/.npq-token --output /data/npq",
        ),
        Example(
            "Some applications, as compressed lines",
            "bulk-export export npq-applications --environment sandbox --filter cohort=2023,2024"
            " --format ndjson --compression zstd",
        ),
        Example("What that would cost; nothing is sent", "bulk-export export --environment local --dry-run"),
    ),
    "sync": (
        Example("Bring a copy up to date once", "bulk-export sync --environment sandbox --output /data/npq-copy"),
        Example(
            "Keep it current, and a database with it",
            "bulk-export sync --environment sandbox --output /data/npq-copy --every 1h --load env:WAREHOUSE_URL",
        ),
    ),
    "resume": (
        Example("List unfinished exports below output/", "bulk-export resume"),
        Example("Go on with one", "bulk-export resume /data/npq"),
    ),
    "replay": (
        Example(
            "CSV for a spreadsheet, from kept pages",
            "bulk-export replay /data/npq --format csv --csv-bom --csv-safe --output /data/npq-csv",
        ),
        Example(
            "The same without names",
            "bulk-export replay /data/npq npq-applications --drop-column full_name --output /data/npq-shared",
        ),
    ),
    "plan": (
        Example("An endpoint of known size", "bulk-export plan participant-declarations --records 300000"),
        Example("As large as an earlier export", "bulk-export plan --like /data/npq --page-size 3000"),
        Example("A copy that is polled", "bulk-export plan --sync --like /data/npq --changed 500"),
    ),
    "head": (
        Example("Three records", "bulk-export head statements --environment local -n 3"),
        Example(
            "Only some, for another program",
            "bulk-export head npq-applications --environment sandbox --filter cohort=2024 --json",
        ),
    ),
    "doctor": (
        Example("The bundled service", "bulk-export doctor --environment local"),
        Example(
            "A service and its token", "bulk-export doctor --base-url https://ADDRESS --token-file ~/.npq-token --json"
        ),
    ),
    "verify": (
        Example("Read every file", "bulk-export verify /data/npq"),
        Example("Sizes only, in an object store", "bulk-export verify s3://bucket/npq --quick"),
    ),
    "report": (
        Example("Look at an export in a browser", "bulk-export report /data/npq"),
        Example("Read every file first, and write elsewhere", "bulk-export report /data/npq --verify -o npq.html"),
    ),
    "load": (
        Example("Into a DuckDB file", "bulk-export load /data/npq --to duckdb:///data/npq.duckdb"),
        Example(
            "Two endpoints into PostgreSQL",
            "bulk-export load /data/npq statements npq-applications --to postgresql://user@host/database"
            " --schema dfe --password-file ~/.pgpass-dfe",
        ),
    ),
    "check": (
        Example("Ask all questions", "bulk-export check /data/npq"),
        Example("See how one is asked", "bulk-export check /data/npq --sql undecided"),
    ),
    "budget": (
        Example("This user's requests", "bulk-export budget"),
        Example("Those of several machines", "bulk-export budget --budget redis://HOST:6379/0 --json"),
    ),
    "endpoints": (
        Example("Everything that a service offers", "bulk-export endpoints --service ecf"),
        Example("The columns of one endpoint", "bulk-export endpoints npq-applications --arrow-schema"),
        Example("What has changed at the service", "bulk-export endpoints --check --base-url https://ADDRESS"),
    ),
    "describe": (
        Example("A description from a file", "bulk-export describe openapi.yaml --name mine"),
        Example("From an address", "bulk-export describe https://ADDRESS/openapi.json"),
    ),
    "init": (
        Example("In this directory", "bulk-export init"),
        Example("Elsewhere, to name with --config", "bulk-export init ~/npq.toml"),
    ),
    "trust": (Example("In the directory of the file", "bulk-export trust"),),
    "completion": (
        Example("For bash and zsh, whose eval takes it in ~/.bashrc or ~/.zshrc", "bulk-export completion bash"),
        Example("For fish, to keep in ~/.config/fish/completions/bulk-export.fish", "bulk-export completion fish"),
    ),
    "man": (Example("To pipe into man -l -, or to keep below share/man/man1", "bulk-export man"),),
    "local-service": (
        Example("Much to export, without limits", "bulk-export local-service --records 100000 --no-limits"),
        Example(
            "A service in trouble",
            "bulk-export local-service --port 8800 --error-rate 0.05 --truncate-rate 0.02 --latency 300ms",
        ),
    ),
}
