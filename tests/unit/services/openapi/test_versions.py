"""The lists of each version of a service, and their names."""

from __future__ import annotations

from tests.support.specs import RECORD, answering, described, listing, query, read

PAGED = [query("page", minimum=1), query("size")]


def test_names_and_versions_come_from_paths() -> None:
    paths = {f"/api/v{number}/the/Boxes": listing() for number in (1, 2, 10)} | {"/api/v1/boxes.csv": listing()}
    document = described(paths).document
    assert document["default_version"] == "v10"
    assert list(document["versions"]) == ["v1", "v2", "v10"]
    assert list(document["versions"]["v1"]) == ["the-boxes", "boxes-csv"]


def test_newest_version_has_every_list() -> None:
    """A version also has the paths without a version, and the lists that only an older version has."""
    paths = {f"/things/{number}": listing(*PAGED) for number in range(36)}
    paths |= {"/v1/boxes": listing(*PAGED), "/v1/lids": listing(*PAGED), "/v2/boxes": listing(*PAGED)}
    service = read(paths)
    assert (service.version, len(service.endpoints), service.left_out) == ("v2", 38, ())
    found = {endpoint.name: endpoint.path for endpoint in service}
    assert (found["boxes"], found["lids"], found["things-7"]) == ("/v2/boxes", "/v1/lids", "/things/7")
    older = {endpoint.path for endpoint in read(paths, "v1")}
    assert older == set(paths) - {"/v2/boxes"}


def test_lists_of_one_name_below_different_paths() -> None:
    """Lists with one name below different paths are all described, under different names."""
    paths = {f"/{area}/v{number}/objects": listing(*PAGED) for number, area in ((3, "crm"), (4, "cms"))}
    service = read(paths)
    assert {endpoint.path for endpoint in service} == set(paths)
    assert len({endpoint.name for endpoint in service}) == 2


def test_csv_name_differs_only_beside_json() -> None:
    """A CSV list is named with `-csv` only if there is a JSON list of the same name."""
    rows = {"properties": {"example": {"type": "array", "items": RECORD}}}
    paths = {
        "/api/v1/boxes": listing(),
        "/api/v1/boxes.csv": answering({"text/csv": {"schema": rows}}),
        "/api/v1/lids.csv": answering({"text/csv; charset=utf-8": {"schema": rows}}),
    }
    service = read(paths)
    assert [(endpoint.name, endpoint.format) for endpoint in service] == [
        ("boxes", "json"),
        ("boxes-csv", "csv"),
        ("lids", "csv"),
    ]


def test_newer_list_replaces_an_excluded_one() -> None:
    """A list that cannot be described is not in `left_out` if a newer version of it can."""
    cursor = listing(query("cursor"), query("limit"))
    paths = {"/v1/boxes": cursor, "/v1/lids": listing(*PAGED), "/v2/boxes": listing(*PAGED)}
    assert read(paths).left_out == ()
    assert [path for path, _ in read(paths, "v1").left_out] == ["/v1/boxes"]
    # Of a version that has nothing else, it is named wherever it is.
    del paths["/v1/lids"]
    assert [path for path, _ in read(paths).left_out] == ["/v1/boxes"]
