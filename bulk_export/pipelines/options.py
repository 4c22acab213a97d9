"""What a user asked for, checked and resolved before anything is opened or sent.

Used alike by the command line and from Python; nothing here imports an HTTP client or Arrow.
"""

from __future__ import annotations

import ipaddress
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from bulk_export.core.credentials import Token, find_token, read_pseudonym_key
from bulk_export.core.daily_window import Window, window_of
from bulk_export.core.masking import without_password
from bulk_export.core.model import LAX, NO_LIMIT, SCHEMA_MODES, Endpoint, Limit, Service
from bulk_export.core.units import (
    in_utc,
    parse_instant,
    parse_interval,
    parse_limit,
    parse_share,
    parse_wait,
    parse_word,
)
from bulk_export.core.urls import check_base_url
from bulk_export.errors import UsageError
from bulk_export.extract.certificates import ca_file_of
from bulk_export.services.base_url import normalize_base_url
from bulk_export.services.catalogue import choose_endpoints, load_service
from bulk_export.services.filters import lacking_filters, read_filters, since_value, with_required_filters, with_sort
from bulk_export.transform.redaction import Redaction

LOCAL = "local"
LARGEST_PAGE = 3000
GONE = ("keep", "drop")
# What the service advises.
_PAGE_SIZE = 300
_COMPRESSIONS = {"parquet": ("zstd", "snappy", "none"), "ndjson": ("none", "gzip", "zstd")}
_MOST_WORKERS = 256
_MOST_RETRIES = 100


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """A resolved request for an export.

    `base_url` and `token` are None only for the bundled service. `formats` maps each format to its
    compression. `sources` are local addresses to send from; None stands for the system's choice. `gone` says
    what becomes of records that vanish during a consistent export: they are kept or dropped. Requests are
    sent while `window` is open, always where it is None. Waits that the service announces are sat out for up to
    `max_wait` seconds. The authorities in `ca_file` are trusted beside those of the system. `left_out` names the lists
    that an export of everything lacks, with the reason. `work_dir` holds the working state if the output does not.
    """

    service: Service
    endpoints: tuple[Endpoint, ...]
    environment: str | None
    base_url: str | None
    token: Token | None
    output: Path
    formats: Mapping[str, str]
    flatten: bool
    page_size: int
    workers: int
    retries: int
    service_limit: Limit
    ip_limit: Limit
    min_interval: float
    sources: tuple[str | None, ...]
    budget: str = field(repr=False)  # may hold the password of a Redis server
    share: float
    updated_since: datetime | None
    filters: tuple[tuple[str, str], ...]
    sort: str | None
    overwrite: bool
    keep_pages: bool
    consistent: bool
    gone: str
    schema: str
    redaction: Redaction
    drop_columns: tuple[str, ...]
    pseudonymised: tuple[str, ...]
    window: Window | None
    max_wait: float
    ca_file: Path | None
    # Whether a consistent export asks again where one answer showed everything; a poll leaves that to the next one.
    asks_twice: bool = True
    left_out: tuple[tuple[str, str], ...] = ()
    work_dir: Path | None = None

    @classmethod
    def of(
        cls,
        endpoints: Sequence[str] = (),
        *,
        service: str | Service = "npq",
        api_version: str | None = None,
        environment: str | None = None,
        base_url: str | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        output: str | os.PathLike[str] | None = None,
        format: str | Sequence[str] = "parquet",  # noqa: A002  # the name of the option
        compression: str | None = None,
        flatten: bool = False,
        page_size: int | str | None = None,
        workers: int | str = 8,
        retries: int | str = 7,
        service_limit: str | Limit | None = None,
        ip_limit: str | Limit | None = None,
        min_interval: str | float = "100ms",
        source_address: str | Sequence[str] = (),
        budget: str | None = None,
        share: str | float = "100%",
        updated_since: str | datetime | date | None = None,
        filter: Sequence[str] | Mapping[str, str] = (),  # noqa: A002  # the name of the option
        sort: str | None = None,
        overwrite: bool = False,
        keep_pages: bool = False,
        consistent: bool = False,
        gone: str = "keep",
        schema: str = LAX,
        drop_column: str | Sequence[str] = (),
        pseudonymise: str | Sequence[str] = (),
        pseudonym_key_file: str | os.PathLike[str] | None = None,
        between: str | None = None,
        timezone: str | None = None,
        allow_plain_http: bool = False,
        max_wait: str | float = "15m",
        ca_file: str | os.PathLike[str] | None = None,
        work_dir: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> ExportOptions:
        """Check the options of the command line, under the same names. Raises UsageError.

        Numbers, times and durations (seconds) may be given as such or as text. `share` as a number is a
        fraction. Warns where something is allowed but surely not meant.
        """
        described = service if isinstance(service, Service) else load_service(service, api_version)
        chosen = choose_endpoints(described, [endpoints] if isinstance(endpoints, str) else endpoints)
        url = base_url_of(described, environment, base_url, allow_plain_http=allow_plain_http)
        filters = read_filters(filter, chosen)
        since = _since(updated_since)
        asked = with_required_filters(chosen, filters, named=bool(endpoints), by_time=since is not None)
        left_out = () if endpoints else (*lacking_filters(chosen, asked), *described.left_out)
        chosen = with_sort(asked, sort)
        if since is not None:
            _warn_of_endpoints_without_since(chosen)
            if any(key in {endpoint.since for endpoint in chosen} for key, _ in filters):
                raise UsageError(
                    "The time to export from is given twice.", next_step="Use --updated-since or --filter, not both."
                )
        found: Token | None = None
        if token is not None:
            found = Token(token)
        elif environment != LOCAL or token_file is not None:
            found = find_token(token_file, os.environ if environ is None else environ)
        drop, pseudonymised = content_names(drop_column), content_names(pseudonymise)
        return cls(
            service=described,
            endpoints=chosen,
            environment=environment,
            base_url=url,
            token=found,
            output=output_of(output, described),
            formats=formats_of(format, compression, flatten=flatten),
            flatten=flatten,
            page_size=_page_size(page_size, described.largest_page_size or LARGEST_PAGE),
            workers=_whole(workers, "--workers", largest=_MOST_WORKERS),
            retries=_whole(retries, "--retries", smallest=0, largest=_MOST_RETRIES),
            service_limit=_limit(service_limit, described.service_limit),
            ip_limit=_limit(ip_limit, described.ip_limit),
            min_interval=parse_interval(min_interval),
            sources=_sources(source_address),
            budget=_budget(budget, environment),
            share=parse_share(share) if isinstance(share, str) else parse_share(f"{share * 100:g}%"),
            updated_since=since,
            filters=filters,
            sort=sort,
            overwrite=overwrite,
            keep_pages=keep_pages,
            consistent=consistent,
            gone=_gone(gone, consistent=consistent),
            schema=parse_word("--schema", schema, SCHEMA_MODES),
            redaction=redaction_of(drop, pseudonymised, pseudonym_key_file, chosen),
            drop_columns=drop,
            pseudonymised=pseudonymised,
            window=window_of(between, timezone),
            max_wait=parse_wait(max_wait),
            ca_file=ca_file_of(ca_file),
            left_out=left_out,
            work_dir=None if work_dir is None else directory_of(work_dir, "--work-dir"),
        )

    def filters_for(self, endpoint: Endpoint) -> list[tuple[str, str]]:
        """The filters to send to one endpoint; times in UTC with `Z` (service facts, "Filters")."""
        filters = list(self.filters)
        if self.updated_since is not None and endpoint.since is not None:
            filters.append((endpoint.since, since_value(endpoint, self.updated_since)))
        return filters


def base_url_of(
    service: Service, environment: str | None, base_url: str | None, *, allow_plain_http: bool
) -> str | None:
    """The address of a service that an environment or an address names, None for the bundled one. Raises UsageError."""
    if (environment is None) == (base_url is None):
        both = "are both given" if environment is not None else "are both missing"
        raise UsageError(
            f"--environment and --base-url {both}.",
            next_step="Give one: --environment local (bundled), --environment sandbox, or --base-url with an address.",
        )
    if base_url is None:
        known = dict(service.environments)
        if environment != LOCAL and environment not in known:
            raise UsageError(
                f"There is no environment {without_password(str(environment))!r} for {service.name}.",
                next_step=f"Choose from: {', '.join([LOCAL, *known])}.",
            )
        if environment == LOCAL:
            return None
        return check_base_url(known[str(environment)], allow_plain_http=allow_plain_http)
    return normalize_base_url(service, check_base_url(base_url, allow_plain_http=allow_plain_http))


def _warn_of_endpoints_without_since(endpoints: Iterable[Endpoint]) -> None:
    whole = [endpoint.name for endpoint in endpoints if endpoint.since is None]
    if whole:
        warnings.warn(
            f"{', '.join(whole)} cannot be asked for changes only and will be exported whole", UserWarning, stacklevel=4
        )


def formats_of(given: str | Sequence[str], compression: str | None, *, flatten: bool) -> dict[str, str]:
    """The compression of each format. Raises UsageError for what does not go together."""
    names = list(dict.fromkeys([given] if isinstance(given, str) else given))
    for name in names:
        if name not in _COMPRESSIONS:
            raise UsageError(f"There is no format {name!r}.", next_step=f"Choose from: {', '.join(_COMPRESSIONS)}.")
        if compression is not None and compression not in _COMPRESSIONS[name]:
            raise UsageError(
                f"{name} cannot be compressed with {compression!r}.",
                next_step=f"For {name} choose --compression from: {', '.join(_COMPRESSIONS[name])}.",
            )
    if not names:
        raise UsageError("There is no format to write.", next_step=f"Choose from: {', '.join(_COMPRESSIONS)}.")
    if flatten and "ndjson" not in names:
        raise UsageError("--flatten is for NDJSON.", next_step="Add --format ndjson, or leave --flatten out.")
    return {name: compression or _COMPRESSIONS[name][0] for name in names}


def redaction_of(
    drop: Sequence[str],
    pseudonymise: Sequence[str],
    key_file: str | os.PathLike[str] | None,
    endpoints: Sequence[Endpoint],
) -> Redaction:
    """The rules for dotted paths. Raises UsageError for one that no description of `endpoints` knows: a slip of
    the pen would leave what was meant where it is."""
    key = None if key_file is None else read_pseudonym_key(key_file)
    redaction = Redaction.from_paths(drop, pseudonymise, key)
    unmatched = set(redaction.paths).intersection(*(redaction.unmatched_paths(endpoint) for endpoint in endpoints))
    if unmatched:
        raise UsageError(
            f"No endpoint here has {', '.join(sorted(unmatched))}.",
            next_step="bulk-export endpoints lists the fields; write _extra.NAME for one that is not described.",
        )
    return redaction


def content_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Paths of fields as they were given, each once."""
    return tuple(dict.fromkeys([given] if isinstance(given, str) else given))


def _gone(given: str, *, consistent: bool) -> str:
    if parse_word("--gone", given, GONE) != GONE[0] and not consistent:
        raise UsageError("Without --consistent nobody knows what is gone.", next_step="Add --consistent.")
    return given


def _whole(given: int | str, option: str, *, smallest: int = 1, largest: int) -> int:
    try:
        number = int(given)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not smallest <= number <= largest or isinstance(given, float):
        raise UsageError(
            f"{option} cannot be {given!r}.", next_step=f"Give a whole number from {smallest} to {largest}."
        )
    return number


def _page_size(given: int | str | None, largest: int) -> int:
    return min(_PAGE_SIZE, largest) if given is None else _whole(given, "--page-size", largest=largest)


def _limit(given: str | Limit | None, default: Limit | None) -> Limit:
    if isinstance(given, Limit):
        if given.requests < 1 or not 0 < given.period < math.inf:
            raise UsageError(f"{given} allows no request at all.", next_step="Both parts must be above zero.")
        return given
    return default or NO_LIMIT if given is None else parse_limit(given)


def _sources(given: str | Sequence[str]) -> tuple[str | None, ...]:
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


def _budget(given: str | None, environment: str | None) -> str:
    """By default the file of each user; the bundled service is new for each run, so nothing is remembered of it."""
    if given is None:
        return "memory://" if environment == LOCAL else "sqlite://"
    place = given.strip().partition("://")[0]
    if place not in ("memory", "sqlite", "redis", "rediss"):
        raise UsageError(
            "That --budget is not a place to remember spent requests in.",  # not shown: it may hold a password
            next_step="Write --budget memory://, sqlite:///FILE or redis://HOST:PORT/DB.",
        )
    return given.strip()


def _since(given: str | datetime | date | None) -> datetime | None:
    return parse_instant(given) if isinstance(given, str) else None if given is None else in_utc(given)


def output_of(given: str | os.PathLike[str] | None, service: Service) -> Path:
    """The directory to write to, one named by service and time where none is given. Raises UsageError."""
    if given is None:
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        return Path("output") / f"{service.name}-{service.version}-{moment}"
    return directory_of(given, "--output")


def directory_of(given: str | os.PathLike[str], option: str) -> Path:
    """A directory that an option names. Raises UsageError."""
    name = os.fspath(given)
    if not name.strip() or "\0" in name:
        raise UsageError(f"{name!r} is not a directory.", next_step=f"Name one with {option}, or leave it out.")
    return Path(name)
