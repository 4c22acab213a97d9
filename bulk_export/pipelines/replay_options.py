"""The options of a replay, checked against the archive before anything is converted."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_export.core.directories import kind_of
from bulk_export.core.model import LAX, SCHEMA_MODES, Endpoint, Service
from bulk_export.core.units import parse_word
from bulk_export.errors import DamagedState, UsageError
from bulk_export.extract.journal import ORIGIN, open_archive
from bulk_export.output.manifest import check_outcome
from bulk_export.output.publish import ARCHIVE
from bulk_export.pipelines.options import content_names, directory_of, formats_of, output_of, redaction_of
from bulk_export.services.catalogue import built_in_services, choose_endpoints, load_service
from bulk_export.transform.redaction import Redaction

# More than any page of any service holds.
_MOST_RECORDS = 10_000_000


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """A resolved request for another output. `origin` is the manifest of the export that kept the pages."""

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

    @classmethod
    def of(
        cls,
        archive: str | os.PathLike[str],
        endpoints: str | Sequence[str] = (),
        *,
        service: str | Service | None = None,
        api_version: str | None = None,
        output: str | os.PathLike[str] | None = None,
        format: str | Sequence[str] = "parquet",  # noqa: A002  # the name of the option
        compression: str | None = None,
        flatten: bool = False,
        schema: str = LAX,
        overwrite: bool = False,
        drop_column: str | Sequence[str] = (),
        pseudonymise: str | Sequence[str] = (),
        pseudonym_key_file: str | os.PathLike[str] | None = None,
        work_dir: str | os.PathLike[str] | None = None,
    ) -> ReplayOptions:
        """Check the options of the command line, under the same names. Raises UsageError and DamagedState.

        `archive` is a file of kept pages, or the directory of the export that kept them. Without a `service`, the one
        that the pages came from. What was dropped or pseudonymised when they were kept stays so.
        """
        pages = _pages_of(Path(archive))
        origin = _origin(pages)
        if service is None:
            api_version = api_version or origin["api_version"]
            if origin["service"] not in built_in_services():
                raise UsageError(
                    f"{archive} holds pages of a service whose description is not built in.",
                    next_step="Name its description with --service FILE.",
                )
        described = service if isinstance(service, Service) else load_service(service or origin["service"], api_version)
        kept = [endpoint.name for endpoint in described.endpoints if endpoint.name in origin["endpoints"]]
        chosen = choose_endpoints(described, ([endpoints] if isinstance(endpoints, str) else endpoints) or kept)
        missing = [endpoint.name for endpoint in chosen if endpoint.name not in origin["endpoints"]]
        if missing or not chosen:
            raise DamagedState(
                f"{archive} holds no pages of {', '.join(missing) or 'this service'}.",
                next_step=f"It holds: {', '.join(origin['endpoints'])}.",
            )
        dropped, replaced = origin["parameters"]["drop_columns"], origin["parameters"]["pseudonymise"]
        drop = tuple(name for name in content_names(drop_column) if name not in dropped)
        pseudonymised = content_names(pseudonymise)
        if again := sorted({*pseudonymised} & {*replaced}):
            raise UsageError(
                f"The archive holds pseudonyms in place of {', '.join(again)} already.",
                next_step="Leave these out of --pseudonymise.",
            )
        directory = output_of(output, described)
        if directory.resolve() == pages.parent.resolve():
            raise UsageError(
                f"The kept pages are in {directory} themselves, and would go with what is replaced there.",
                next_step="Choose another --output.",
            )
        redaction = redaction_of(drop, pseudonymised, pseudonym_key_file, chosen)
        before = Redaction.applied(dropped, replaced)
        return cls(
            archive=pages,
            origin=origin,
            service=described,
            endpoints=tuple(before.endpoint(endpoint) for endpoint in chosen),
            output=directory,
            formats=formats_of(format, compression, flatten=flatten),
            flatten=flatten,
            schema=parse_word("--schema", schema, SCHEMA_MODES),
            redaction=redaction,
            drop_columns=drop,
            pseudonymised=pseudonymised,
            overwrite=overwrite,
            work_dir=None if work_dir is None else directory_of(work_dir, "--work-dir"),
        )


def _pages_of(archive: Path) -> Path:
    """The file of kept pages: one that was named, or the one in a directory, which must not lead elsewhere."""
    is_export = archive.is_dir()
    pages = archive / ARCHIVE if is_export else archive
    try:
        found = pages.stat(follow_symlinks=not is_export)
    except OSError:
        raise UsageError(
            f"{archive} holds no kept pages." if is_export else f"{archive} is not there.",
            next_step=f"Name an export that was made with --keep-pages, or its {ARCHIVE}.",
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{pages} is {kind_of(found)}.", next_step="Name a file of kept pages.")
    return pages


def _origin(archive: Path) -> dict[str, Any]:
    pages = open_archive(archive, cap=1)
    try:
        return pages.parsed_fact(ORIGIN, _checked_origin) or {}
    finally:
        pages.close()


def _checked_origin(text: str) -> dict[str, Any]:
    """The manifest that came with kept pages, if what a replay takes from it has the right shape."""
    origin = json.loads(text)
    check_outcome(origin)
    parameters = origin["parameters"]
    texts = [origin[name] for name in ("service", "api_version", "base_url", "started_at", "finished_at")]
    names = [*parameters["drop_columns"], *parameters["pseudonymise"]]
    key = parameters["pseudonym_key"]
    if not all(isinstance(one, str) for one in (*texts, *names, *([] if key is None else [key]))):
        raise TypeError("no texts")
    if type(parameters["page_size"]) is not int or not 1 <= parameters["page_size"] <= _MOST_RECORDS:
        raise ValueError("no size of a page")
    if not isinstance(parameters["consistent"], bool):
        raise TypeError("neither consistent nor not")
    return dict(origin)
