"""Checks of single options that export, replay and sync share: text in, value out, or UsageError with advice."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from bulk_export.core.credentials import read_pseudonym_key
from bulk_export.core.locations import local_path, scheme_of
from bulk_export.core.masking import without_password
from bulk_export.core.model import NO_LIMIT, Endpoint, Limit, Service
from bulk_export.core.units import in_utc, parse_duration, parse_instant, parse_limit, parse_share
from bulk_export.core.urls import check_base_url
from bulk_export.errors import UsageError
from bulk_export.pipelines.arguments import DEFAULT_PAGE_SIZE, FORMATS, LOCAL, PathText
from bulk_export.services.base_url import normalize_base_url
from bulk_export.transform.redaction import Redaction

# A sample of more is hardly one.
_MOST_SAMPLED = 10_000_000
LARGEST_PAGE = 3000
_FORMATS_OF_FLAGS = {"flatten": "ndjson", "csv_bom": "csv", "csv_safe": "csv"}


def base_url_of(
    service: Service, environment: str | None, base_url: str | None, *, allow_plain_http: bool
) -> str | None:
    """Return the address that an environment or a base URL names, None for the bundled service.

    Args:
        service: The service, whose description has the addresses of its environments.
        environment: The value of `--environment`.
        base_url: The value of `--base-url`.
        allow_plain_http: Whether http may be used beyond this machine.

    Raises:
        UsageError: Neither or both are given, the environment is unknown, or the address cannot be used.
    """
    if (environment is None) == (base_url is None):
        both = "are both given" if environment is not None else "are both missing"
        raise UsageError(
            f"--environment and --base-url {both}.",
            next_step="Give one: --environment local (bundled), --environment sandbox, or --base-url with an address.",
        )
    if base_url is not None:
        return normalize_base_url(service, check_base_url(base_url, allow_plain_http=allow_plain_http))
    known = dict(service.environments)
    if environment != LOCAL and environment not in known:
        raise UsageError(
            f"There is no environment {without_password(str(environment))!r} for {service.name}.",
            next_step=f"Choose from: {', '.join([LOCAL, *known])}.",
        )
    if environment == LOCAL:
        return None
    return check_base_url(known[str(environment)], allow_plain_http=allow_plain_http)


def texts_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the values of an option that may be given several times, each once."""
    return tuple(dict.fromkeys([given] if isinstance(given, str) else given))


def formats_of(given: str | Sequence[str], compression: str | None, **flags: bool) -> dict[str, str]:
    """Return the compression of each format.

    Args:
        given: The names of the formats.
        compression: The compression of all of them; by default each has its own.
        **flags: The options of one format, whether each is given: `flatten`, `csv_bom`, `csv_safe`.

    Raises:
        UsageError: A format or compression is unknown, or they do not go together.
    """
    names = texts_of(given)
    for name in names:
        if name not in FORMATS:
            raise UsageError(f"There is no format {name!r}.", next_step=f"Choose from: {', '.join(FORMATS)}.")
        if compression is not None and compression not in FORMATS[name]:
            raise UsageError(
                f"{name} cannot be compressed with {compression!r}.",
                next_step=f"For {name} choose --compression from: {', '.join(FORMATS[name])}.",
            )
    if not names:
        raise UsageError("There is no format to write.", next_step=f"Choose from: {', '.join(FORMATS)}.")
    for flag in (flag for flag, is_given in flags.items() if is_given):
        option, form = "--" + flag.replace("_", "-"), _FORMATS_OF_FLAGS[flag]
        if form not in names:
            raise UsageError(
                f"{option} is for {form.upper()}.", next_step=f"Add --format {form}, or leave {option} out."
            )
    return {name: compression or FORMATS[name][0] for name in names}


def lineage_of(value: str | os.PathLike[str] | None) -> Path | str | None:
    """The file, or the address of the HTTP backend, that gets the lineage of a run.

    Raises:
        UsageError: It is neither, or the address holds a password.
    """
    if value is None:
        return None
    if scheme_of(value) not in ("http", "https"):
        return local_path(value, "--lineage")
    address = os.fspath(value)
    if "@" in urlsplit(address).netloc:
        raise UsageError(
            "The address for --lineage holds a password.", next_step="Put the key into OPENLINEAGE_API_KEY instead."
        )
    return address


def redaction_of(
    drop: Sequence[str], pseudonymise: Sequence[str], key_file: PathText | None, endpoints: Sequence[Endpoint]
) -> Redaction:
    """Return the redaction rules for dotted paths of fields.

    Args:
        drop: The paths of fields to leave out.
        pseudonymise: The paths of fields to replace by pseudonyms.
        key_file: The file with the key for pseudonyms.
        endpoints: The endpoints, at least one of which must have each path.

    Raises:
        UsageError: No description of `endpoints` has one of the paths. A typo would otherwise leave the data
            unredacted.
    """
    key = None if key_file is None else read_pseudonym_key(key_file)
    redaction = Redaction.from_paths(drop, pseudonymise, key)
    unmatched = set(redaction.paths).intersection(*(redaction.unmatched_paths(endpoint) for endpoint in endpoints))
    if unmatched:
        raise UsageError(
            f"No endpoint here has {', '.join(sorted(unmatched))}.",
            next_step="bulk-export endpoints lists the fields; write _extra.NAME for one that is not described.",
        )
    return redaction


def output_of(given: PathText | None, service: Service) -> Path:
    """Return the output directory, by default one named after the service and the time."""
    if given is None:
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        return Path("output") / f"{service.name}-{service.version}-{moment}"
    return directory_of(given, "--output")


def directory_of(given: PathText, option: str) -> Path:
    """Return the directory that an option names. Raises UsageError if the name is blank or holds a NUL."""
    name = os.fspath(given)
    if not name.strip() or "\0" in name:
        raise UsageError(f"{name!r} is not a directory.", next_step=f"Name one with {option}, or leave it out.")
    return local_path(given, option)


def count_of(given: int | str, option: str, *, smallest: int = 1, largest: int) -> int:
    """Return the value of an option that takes a whole number.

    Args:
        given: The value.
        option: The option, as messages name it.
        smallest: The smallest number that is accepted.
        largest: The largest number that is accepted.

    Raises:
        UsageError: It is not a whole number between the bounds.
    """
    try:
        number = int(given)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not smallest <= number <= largest or isinstance(given, float):
        raise UsageError(
            f"{option} cannot be {given!r}.", next_step=f"Give a whole number from {smallest} to {largest}."
        )
    return number


def page_size_of(given: int | str | None, largest: int) -> int:
    """Return the number of records per page. Raises UsageError if it is not from 1 to `largest`."""
    return min(DEFAULT_PAGE_SIZE, largest) if given is None else count_of(given, "--page-size", largest=largest)


@dataclass(frozen=True, slots=True)
class Sample:
    """How many records a page has; and for a sample, the most records, and on how many pages they are."""

    page_size: int
    limit: int | None = None
    pages: int | None = None


def sample_of(limit: int | str | None, page_size: int | str | None, largest: int, *, consistent: bool) -> Sample:
    """Return the pages to request, for all records or for at most `limit` of them.

    A sample has equal pages, as few as possible, so that no page is fetched to be cut: for at most 10,000 records, four
    of 2,500.

    Args:
        limit: The most records of an endpoint; None for all.
        page_size: The records of a page, as given.
        largest: The most records of a page.
        consistent: Whether it is to be proven that nothing was missed, which a sample cannot be.

    Raises:
        UsageError: A number is out of bounds, or both are asked for.
    """
    if limit is None:
        return Sample(page_size_of(page_size, largest))
    records = count_of(limit, "--limit", largest=_MOST_SAMPLED)
    if consistent:
        raise UsageError("--limit gives a sample, which cannot be --consistent.", next_step="Leave one of them out.")
    most = largest if page_size is None else page_size_of(page_size, largest)
    pages = -(-records // most)
    return Sample(records // pages, records, pages)


def limit_of(given: str | Limit | None, default: Limit | None) -> Limit:
    """Return a limit, by default that of the service. Raises UsageError for one that allows no request."""
    if given is None:
        return default or NO_LIMIT
    if isinstance(given, str):
        return parse_limit(given)
    if given.requests < 1 or not 0 < given.period < math.inf:
        raise UsageError(f"{given} allows no request at all.", next_step="Both parts must be above zero.")
    return given


def share_of(given: str | float) -> float:
    """Return the part of the limits to use as a fraction, from a percentage as text or from a fraction."""
    return parse_share(given) if isinstance(given, str) else parse_share(f"{given * 100:g}%")


def sources_of(given: str | Sequence[str]) -> tuple[str | None, ...]:
    """Return the local addresses to send from; a single None leaves the choice to the system.

    Raises:
        UsageError: One is no address of a machine, or is given twice.
    """
    addresses = []
    for text in [given] if isinstance(given, str) else given:
        try:
            address = ipaddress.ip_address(text.strip())
        except ValueError:
            address = None
        if address is None or address.is_unspecified or address.is_multicast:
            raise UsageError(
                f"{text!r} is not an IP address to send from.",
                next_step="--source-address takes an address of this machine.",
            )
        addresses.append(str(address))
    if len(set(addresses)) < len(addresses):
        raise UsageError("A --source-address is given twice.", next_step="Name each address once.")
    return tuple(addresses) or (None,)


def budget_of(given: str | None, environment: str | None) -> str:
    """Return the URL of the store of sent requests.

    By default, it is a file of the user, or the memory for the bundled service, which starts anew with each run.
    Raises UsageError for another scheme.
    """
    if given is None:
        return "memory://" if environment == LOCAL else "sqlite://"
    if given.strip().partition("://")[0] not in ("memory", "sqlite", "redis", "rediss"):
        raise UsageError(
            "That --budget does not name a store of sent requests.",  # not shown: it may hold a password
            next_step="Write --budget memory://, sqlite:///FILE or redis://HOST:PORT/DB.",
        )
    return given.strip()


def instant_of(given: str | datetime | date | None) -> datetime | None:
    """Return a time in UTC. Raises UsageError for a text that is not ISO 8601."""
    return parse_instant(given) if isinstance(given, str) else None if given is None else in_utc(given)


def duration_of(given: str | float | timedelta, option: str) -> timedelta:
    """Return a duration from a text like `7d`, or from seconds. Raises UsageError."""
    if isinstance(given, timedelta):
        return given
    try:
        return timedelta(seconds=parse_duration(given, f"a time for {option}") if isinstance(given, str) else given)
    except OverflowError:
        raise UsageError(f"{option} is far too long.", next_step="Write it like 7d or 12h.") from None
