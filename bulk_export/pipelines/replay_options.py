"""The options of a replay, checked against the archive before anything is converted."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from bulk_export.core.directories import kind_of
from bulk_export.core.model import SCHEMA_MODES, Endpoint, Service
from bulk_export.core.units import parse_word
from bulk_export.errors import DamagedState, UsageError
from bulk_export.extract.journal import ORIGIN, open_archive
from bulk_export.output.file_names import ARCHIVE
from bulk_export.output.manifest import check_manifest
from bulk_export.output.object_store.url import parse_location
from bulk_export.pipelines.arguments import ReplayArguments
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.option_parsing import formats_of, redaction_of, texts_of
from bulk_export.pipelines.output_location import RemoteOutput, output_location
from bulk_export.services.catalogue import built_in_services, choose_endpoints, load_service
from bulk_export.transform.redaction import Redaction

_LARGEST_PAGE = 10_000_000  # more records than a page of any service holds


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """A resolved request for another output from kept pages.

    Args:
        archive: The file of kept pages.
        origin: The manifest of the export that kept them.
    """

    archive: Path
    origin: Mapping[str, Any]
    service: Service
    endpoints: tuple[Endpoint, ...]
    output: Path
    formats: Mapping[str, str]
    flatten: bool
    schema: str
    redaction: Redaction
    drop_columns: tuple[str, ...]
    pseudonymised: tuple[str, ...]
    overwrite: bool
    work_dir: Path | None = None
    csv_bom: bool = False
    csv_safe: bool = False
    remote: RemoteOutput | None = None

    @classmethod
    def of(
        cls,
        archive: str | os.PathLike[str],
        endpoints: str | Sequence[str] = (),
        **options: Unpack[ReplayArguments],
    ) -> ReplayOptions:
        """Check options against the archive and complete them by the declared defaults.

        Fields that were dropped or pseudonymised when the pages were kept stay so.

        Args:
            archive: A file of kept pages, or the directory of the export that kept them.
            endpoints: Names of endpoints; all that the archive holds if there are none.
            **options: See `ReplayArguments`.

        Raises:
            UsageError: An option cannot be used as given.
            DamagedState: The archive cannot be trusted, or lacks an endpoint.
            InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        """
        arguments = with_defaults(ReplayArguments, options)
        pages = _pages_of(Path(archive))
        origin = _origin(pages)
        described = _service_of(origin, archive, arguments["service"], arguments["api_version"])
        kept = [endpoint.name for endpoint in described.endpoints if endpoint.name in origin["endpoints"]]
        selected = choose_endpoints(described, ([endpoints] if isinstance(endpoints, str) else endpoints) or kept)
        missing = [endpoint.name for endpoint in selected if endpoint.name not in origin["endpoints"]]
        if missing or not selected:
            raise DamagedState(
                f"{archive} holds no pages of {', '.join(missing) or 'this service'}.",
                next_step=f"It holds: {', '.join(origin['endpoints'])}.",
            )
        dropped_before = origin["parameters"]["drop_columns"]
        pseudonymised_before = origin["parameters"]["pseudonymise"]
        drop = tuple(name for name in texts_of(arguments["drop_column"]) if name not in dropped_before)
        pseudonymised = texts_of(arguments["pseudonymise"])
        if repeated := sorted({*pseudonymised} & {*pseudonymised_before}):
            raise UsageError(
                f"The archive holds pseudonyms in place of {', '.join(repeated)} already.",
                next_step="Leave these out of --pseudonymise.",
            )
        location = output_location(arguments, described)
        directory = location.output
        if directory.resolve() == pages.parent.resolve():
            raise UsageError(
                f"{directory} is where the kept pages are, which would go with what is replaced there.",
                next_step="Choose another --output.",
            )
        redaction = redaction_of(drop, pseudonymised, arguments["pseudonym_key_file"], selected)
        before = Redaction.already_applied(dropped_before, pseudonymised_before)
        return cls(
            archive=pages,
            origin=origin,
            service=described,
            endpoints=tuple(before.redacted(endpoint) for endpoint in selected),
            output=directory,
            formats=formats_of(
                arguments["format"],
                arguments["compression"],
                flatten=arguments["flatten"],
                csv_bom=arguments["csv_bom"],
                csv_safe=arguments["csv_safe"],
            ),
            flatten=arguments["flatten"],
            csv_bom=arguments["csv_bom"],
            csv_safe=arguments["csv_safe"],
            schema=parse_word("--schema", arguments["schema"], SCHEMA_MODES),
            redaction=redaction,
            drop_columns=drop,
            pseudonymised=pseudonymised,
            overwrite=arguments["overwrite"],
            work_dir=location.work_dir,
            remote=location.remote,
        )


def refuse_own_output(archive: str | os.PathLike[str], options: ReplayOptions) -> None:
    """Raise UsageError if the pages of an export in an object store are to be replaced by what is made of them."""
    location = parse_location(archive)
    if options.remote is not None and location == options.remote.url:
        raise UsageError(
            f"{location} is where the kept pages are, which would go with what is replaced there.",
            next_step="Choose another address.",
        )


def _service_of(
    origin: Mapping[str, Any],
    archive: str | os.PathLike[str],
    service: str | os.PathLike[str] | Service | None,
    version: str | None,
) -> Service:
    """The service that was named, by default the one that the pages came from."""
    if isinstance(service, Service):
        return service
    if service is not None:
        return load_service(service, version)
    if origin["service"] not in built_in_services():
        raise UsageError(
            f"{archive} holds pages of a service whose description is not built in.",
            next_step="Name its description with --service FILE.",
        )
    return load_service(origin["service"], version or origin["api_version"])


def _pages_of(archive: Path) -> Path:
    """The file of kept pages: the one that was named, or the one in a directory, which must not be a link."""
    is_export = archive.is_dir()
    pages = archive / ARCHIVE if is_export else archive
    try:
        status = pages.stat(follow_symlinks=not is_export)
    except OSError:
        raise UsageError(
            f"{archive} holds no kept pages." if is_export else f"{archive} is not there.",
            next_step=f"Name an export that was made with --keep-pages, or its {ARCHIVE}.",
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{pages} is {kind_of(status)}.", next_step="Name a file of kept pages.")
    return pages


def _origin(archive: Path) -> dict[str, Any]:
    pages = open_archive(archive, cap=1)
    try:
        return pages.parsed_fact(ORIGIN, _checked_origin) or {}
    finally:
        pages.close()


def _checked_origin(text: str) -> dict[str, Any]:
    """The manifest that was kept with the pages, if the parts that a replay uses have the right types."""
    origin = json.loads(text)
    check_manifest(origin)
    parameters = origin["parameters"]
    texts = [origin[name] for name in ("service", "api_version", "base_url", "started_at", "finished_at")]
    names = [*parameters["drop_columns"], *parameters["pseudonymise"]]
    key = parameters["pseudonym_key"]
    if not all(isinstance(text, str) for text in (*texts, *names, *([] if key is None else [key]))):
        raise TypeError("not texts")
    if type(parameters["page_size"]) is not int or not 1 <= parameters["page_size"] <= _LARGEST_PAGE:
        raise ValueError("not a page size")
    if not isinstance(parameters["consistent"], bool):
        raise TypeError("not a boolean")
    return dict(origin)
