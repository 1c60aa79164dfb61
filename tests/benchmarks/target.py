"""A FHIR-like target as fast as plain Python gets, so that a delivery benchmark measures the client.

Run: python -m tests.benchmarks.target [--echo]     prints its port; ends when its standard input closes
It keeps Practitioner and PractitionerRole in memory, answers search by identifier (any of several values) and by
practitioner, read, create (If-None-Exist), update (If-Match), /metadata, and counts requests (GET /count).
`--echo`: answers every search with one person, as ../shared/bench/http_target.cjs does, for the reference program.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ECHO = {
    "resourceType": "Practitioner",
    "id": "p1",
    "meta": {"versionId": "3"},
    "active": True,
    "name": [{"family": "Quillfeather", "given": ["Odile"]}],
    "text": {"status": "generated", "div": "x" * 1200},
}


class Target:
    """The resources, and the answers to requests."""

    def __init__(self, echo: bool) -> None:
        self.echo = echo
        self.resources: dict[str, dict[str, Any]] = {}
        self.by_identifier: dict[str, str] = {}
        self.roles_of: dict[str, list[str]] = {}
        self.counts: dict[str, int] = {}

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        url = urlsplit(target)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts[0] == "count":
            return 200, self.counts
        self.counts[method] = self.counts.get(method, 0) + 1
        if parts[0] == "metadata":
            return 200, capability_statement()
        if self.echo:
            return 200, bundle([ECHO]) if "?" in target and method == "GET" else ECHO
        if method == "POST" and parts[-1] != "_search":
            exists = self.search(headers.get("if-none-exist", ""))
            return (
                (200, exists[0])
                if exists
                else (201, self.store(json.loads(body), f"{parts[0][:1]}{len(self.resources)}"))
            )
        if len(parts) == 2 and parts[1] != "_search":
            place = "/".join(parts)
            held = self.resources.get(place)
            if method == "GET" or held is None:
                return (200, held) if held else (404, {"resourceType": "OperationOutcome", "issue": []})
            if headers.get("if-match", f'W/"{held["meta"]["versionId"]}"') != f'W/"{held["meta"]["versionId"]}"':
                return 412, {"resourceType": "OperationOutcome", "issue": []}
            return 200, self.store(json.loads(body), parts[1])
        query = body.decode() if method == "POST" else url.query
        found = self.search(query) if parts[0] == "Practitioner" else self.roles(query)
        return 200, bundle(found)

    def search(self, query: str) -> list[dict[str, Any]]:
        wanted = [token for name, value in parse_qsl(query) if name == "identifier" for token in value.split(",")]
        places = {self.by_identifier[token] for token in wanted if token in self.by_identifier}
        return [self.resources[place] for place in places]

    def roles(self, query: str) -> list[dict[str, Any]]:
        people = [value for name, value in parse_qsl(query) if name == "practitioner"]
        return [
            self.resources[place]
            for person in people
            for place in self.roles_of.get(person.removeprefix("Practitioner/"), [])
        ]

    def store(self, resource: dict[str, Any], id_: str) -> dict[str, Any]:
        place = f"{resource['resourceType']}/{id_}"
        held = self.resources.get(place)
        version = int(held["meta"]["versionId"]) + 1 if held else 1
        resource |= {"id": id_, "meta": {"versionId": str(version), "lastUpdated": "2026-03-02T08:00:00Z"}}
        self.resources[place] = resource
        if resource["resourceType"] == "Practitioner":
            for item in resource.get("identifier", []):
                self.by_identifier[f"{item.get('system', '')}|{item.get('value', '')}"] = place
        elif held is None:
            person = resource.get("practitioner", {}).get("reference", "").removeprefix("Practitioner/")
            self.roles_of.setdefault(person, []).append(place)
        return resource


def bundle(resources: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [{"resource": resource, "search": {"mode": "match"}} for resource in resources]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


def capability_statement() -> dict[str, Any]:
    offered = [{"code": code} for code in ("read", "create", "update", "search-type")]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-03-02",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "resource": [
                    {
                        "type": name,
                        "interaction": offered,
                        "versioning": "versioned-update",
                        "conditionalCreate": True,
                        "searchParam": [
                            {"name": "identifier", "type": "token"},
                            {"name": "practitioner", "type": "reference"},
                        ],
                    }
                    for name in ("Practitioner", "PractitionerRole")
                ],
            }
        ],
    }


class Http(asyncio.Protocol):
    """HTTP/1.1 with kept connections and bodies of known length: no more than the clients here need."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.read += data
        while True:
            head, found, rest = self.read.partition(b"\r\n\r\n")
            if not found:
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = int(headers.get("content-length", 0))
            if len(rest) < size:
                return
            self.read = rest[size:]
            method, target, _ = first.split(" ")
            status, content = self.target.answer(method, target, headers, rest[:size])
            body = json.dumps(content).encode()
            lines_out = [
                f"HTTP/1.1 {status} X",
                "content-type: application/fhir+json",
                f"content-length: {len(body)}",
            ]
            if "meta" in content:
                lines_out.append(f'etag: W/"{content["meta"]["versionId"]}"')
            if status == 201:
                lines_out.append(f"location: /{content['resourceType']}/{content['id']}/_history/1")
            self.transport.write("\r\n".join(lines_out).encode() + b"\r\n\r\n" + body)


async def serve(echo: bool) -> None:
    target = Target(echo)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http(target), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve("--echo" in sys.argv))
