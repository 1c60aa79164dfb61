"""A FHIR server as someone else sees it: plain HTTP reads and edits, with no code of the bridge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

JsonObject = dict[str, Any]
NPI = "http://hl7.org/fhir/sid/us-npi"
FHIR_JSON = "application/fhir+json"
CHUNK = 40  # identifiers in one search


class Observer:
    """Reads, and edits as a person at the server does. Raises AssertionError for an answer that is no success."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.http = httpx.Client(headers={"Accept": FHIR_JSON, "X-Request-Id": "observer"}, timeout=60, trust_env=False)

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, method: str, path: str, resource: JsonObject | None = None, **headers: str) -> httpx.Response:
        """The answer, whatever it is. `path`: below the base URL; header names with _ for -."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if resource is None:
            return self.http.request(method, f"{self.base_url}{path}", headers=sent)
        sent |= {"Content-Type": FHIR_JSON}
        return self.http.request(method, f"{self.base_url}{path}", headers=sent, content=json.dumps(resource).encode())

    def _done(self, method: str, path: str, resource: JsonObject | None = None, **headers: str) -> JsonObject:
        response = self.send(method, path, resource, **headers)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text[:500]}"
        read: JsonObject = response.json() if response.content else {}
        return read

    # --- reads -------------------------------------------------------------------------------------------------------

    def get(self, resource_type: str, resource_id: str) -> JsonObject:
        return self._done("GET", f"/{resource_type}/{resource_id}")

    def bundle(self, path: str) -> Iterator[JsonObject]:
        """The resources of a search or history, page by page."""
        page = self._done("GET", path)
        while True:
            yield from (entry["resource"] for entry in page.get("entry", []) if "resource" in entry)
            links = {link["relation"]: link["url"] for link in page.get("link", [])}
            if "next" not in links:
                return
            url = urlsplit(links["next"])
            page = self._done("GET", f"{url.path}?{url.query}".removeprefix(urlsplit(self.base_url).path))

    def search(self, resource_type: str, **parameters: str) -> list[JsonObject]:
        query = httpx.QueryParams({"_count": "50", **parameters})
        return list(self.bundle(f"/{resource_type}?{query}"))

    def of_system(self, system: str) -> list[JsonObject]:
        """Every Practitioner with an identifier of that system."""
        return self.search("Practitioner", identifier=f"{system}|")

    def with_npi(self, numbers: Iterable[str]) -> list[JsonObject]:
        """Every Practitioner with one of these NPIs, each once."""
        asked = [f"{NPI}|{number}" for number in numbers]
        found = {}
        for place in range(0, len(asked), CHUNK):
            for resource in self.search("Practitioner", identifier=",".join(asked[place : place + CHUNK])):
                found[resource["id"]] = resource
        return list(found.values())

    def roles_of(self, practitioners: Iterable[JsonObject]) -> list[JsonObject]:
        """Every PractitionerRole of these people."""
        ids = list(dict.fromkeys(person["id"] for person in practitioners))
        found = []
        for place in range(0, len(ids), CHUNK):
            found += self.search("PractitionerRole", practitioner=",".join(ids[place : place + CHUNK]))
        return found

    def history(self, resource_type: str, resource_id: str) -> list[JsonObject]:
        """All versions of one resource, the oldest first."""
        found = list(self.bundle(f"/{resource_type}/{resource_id}/_history?_count=50"))
        return sorted(found, key=version)

    def versions(self, system: str) -> list[JsonObject]:
        """All versions of every Practitioner with an identifier of that system, and of all their roles."""
        people = self.of_system(system)
        roles = self.roles_of(people)
        return [stored for r in [*people, *roles] for stored in self.history(r["resourceType"], r["id"])]

    def validate(self, resource: JsonObject) -> list[str]:
        """What the server's own $validate calls an error."""
        response = self.send("POST", f"/{resource['resourceType']}/$validate", resource)
        outcome = response.json()
        assert outcome["resourceType"] == "OperationOutcome", response.text[:500]
        wrong = [issue for issue in outcome["issue"] if issue["severity"] in ("error", "fatal")]
        return [f"{', '.join(i.get('location', ['?']))}: {i.get('diagnostics', '')}" for i in wrong]

    # --- someone else's edits ----------------------------------------------------------------------------------------

    def post(self, resource: JsonObject) -> JsonObject:
        return self._done("POST", f"/{resource['resourceType']}", resource)

    def put(self, resource: JsonObject) -> JsonObject:
        return self._done("PUT", f"/{resource['resourceType']}/{resource['id']}", resource)

    def forget(self, system: str) -> None:
        """Delete the Practitioners with an identifier of that system, and their roles: what an earlier test brought."""
        people = self.of_system(system)
        for resource in [*self.roles_of(people), *people]:
            self._done("DELETE", f"/{resource['resourceType']}/{resource['id']}")


def version(resource: JsonObject) -> int:
    return int(resource["meta"]["versionId"])


def content(resource: JsonObject) -> JsonObject:
    """The resource without meta."""
    return {name: value for name, value in resource.items() if name != "meta"}


def values(resource: JsonObject, element: str) -> set[str]:
    """The `value` of each item of an element."""
    return {item["value"] for item in resource.get(element, []) if "value" in item}
