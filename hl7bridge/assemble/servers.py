"""The FHIR servers of a configuration, asked when a command needs them: reads alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.choosing import fhir_server_named
from hl7bridge.errors import ConfigError, Unreachable
from hl7bridge.model import JsonObject

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.destinations.fhir.wire.client import FhirClient


class Servers:
    """The FHIR servers, asked when needed. A context manager: it closes its clients."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients: dict[str, FhirClient] = {}

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def read(self, destination: str, person_id: str) -> JsonObject:
        """The Practitioner. Raises ConfigError where there is none, Unreachable where the server does not say."""
        from hl7bridge.destinations.fhir.outcomes import of_reply
        from hl7bridge.destinations.fhir.wire.replies import ReplyKind

        reply = self._client(destination).read("Practitioner", person_id)
        if reply.kind in (ReplyKind.NOT_FOUND, ReplyKind.GONE, ReplyKind.PERMANENT):
            raise ConfigError(f"there is no Practitioner/{person_id} at {destination}")
        if not reply.done or reply.resource is None:
            raise Unreachable(of_reply(reply, "read").text)
        return reply.resource

    def refresh(self, row: dict[str, Any]) -> None:
        """The candidates of a quarantined record as they stand now; those that are gone are left out."""
        from hl7bridge.destinations.fhir.identity.resolve import summary

        ids = [str(candidate["id"]) for candidate in row["candidates"]] or [row["linked"]]
        found = []
        for person_id in filter(None, ids):
            try:
                found.append(summary(self.read(row["destination"], person_id)))
            except ConfigError:
                continue
        row["candidates"] = found

    def everybody(self, destination: str, count: Callable[[int], object] = bool) -> Iterator[JsonObject]:
        """Every Practitioner, page by page; `count` is told how many each page has. `_elements` is not asked for: servers
        refuse what they do not know."""
        from hl7bridge.destinations.fhir.outcomes import of_reply
        from hl7bridge.destinations.fhir.wire.client import next_link

        client, link, seen = self._client(destination), "", set()
        asked = [("_count", "100")]
        while True:
            page = client.page("Practitioner", asked, link=link)
            if not page.done or page.resource is None:
                raise Unreachable(of_reply(page, "search").text)
            yield from page.resources
            count(len(page.resources))
            link = next_link(page.resource)
            if not link:
                return
            if link in seen:
                raise Unreachable("The FHIR server gave search pages without an end")
            seen.add(link)

    def _client(self, name: str) -> FhirClient:
        from hl7bridge.assemble.destinations import client_for, destination_rules

        if name not in self._clients:
            destination = fhir_server_named(self._settings, name)
            self._clients[name] = client_for(destination, destination_rules(destination))
        return self._clients[name]
