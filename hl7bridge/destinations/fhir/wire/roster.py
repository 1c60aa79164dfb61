"""The whole roster of a server: every Practitioner or PractitionerRole, page after page, in bounded memory.

The `next` link is the pointer, byte for byte as the server wrote it; the last page is the one without such a link,
however short the others are (servers filter after they have counted). A search whose session expired on the way (Epic
4113) starts over, and what was handed out already is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

from hl7bridge.destinations.fhir.wire.client import FhirClient, next_link
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind, is_sound
from hl7bridge.errors import Unreachable
from hl7bridge.model import JsonObject

A_PAGE = 50  # what is asked for; servers give what they like
MAX_PAGES = 20_000  # of one search: a million people
RESTARTS = 3
TRIES = 4  # of one page, where the server fails in passing
LONGEST_WAIT = 60.0  # seconds

_EXPIRED = frozenset({ReplyKind.PERMANENT, ReplyKind.NOT_FOUND, ReplyKind.GONE})
_OURS = frozenset({"foreign-link", "endless-pages", "not-sendable", "not-allowed"})


class Roster:
    """Iterate it: each resource once. `pages` counts what was read, `total` is what the server says (-1 = nothing).

    before  called before each request (to go slowly, to stop by an exception)
    sleep   waiting between two tries, for tests
    Iterating raises Unreachable when the server ends it early; what was handed out until then stands.
    """

    def __init__(
        self,
        client: FhirClient,
        resource_type: str,
        *,
        before: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        max_pages: int = MAX_PAGES,
    ) -> None:
        self._client, self.resource_type = client, resource_type
        self._before, self._sleep, self._max_pages = before, sleep, max_pages
        self._given: set[str] = set()
        self.pages = 0
        self.total = -1
        self.restarts = 0

    def __iter__(self) -> Iterator[JsonObject]:
        while True:
            expired = yield from self._search()
            if not expired:
                return
            self.restarts += 1
            if self.restarts > RESTARTS:
                raise _ended(self.resource_type, expired, "its search expired again and again")

    def _search(self) -> Generator[JsonObject, None, Reply | None]:
        """One search; returns the reply that shows that it expired on the way, None at its end."""
        followed: set[str] = set()
        link = ""
        while True:
            reply = self._page(link)
            page = reply.resource
            if not reply.done or page is None:
                if link and reply.kind in _EXPIRED and reply.detail not in _OURS:
                    return reply
                raise _ended(self.resource_type, reply)
            self.pages += 1
            if not link and isinstance(page.get("total"), int):
                self.total = page["total"]
            for resource in reply.resources:
                if not is_sound(resource):
                    raise _ended(self.resource_type, reply, "it sent a resource without an id, or that is none")
                if resource["id"] not in self._given:
                    self._given.add(resource["id"])
                    yield resource
            link = next_link(page)
            if not link:
                return None
            if link in followed or len(followed) + 1 >= self._max_pages:
                raise _ended(self.resource_type, reply, "its pages have no end")
            followed.add(link)

    def _page(self, link: str) -> Reply:
        for attempt in range(1, TRIES + 1):
            self._before()
            if link:
                reply = self._client.page(self.resource_type, link=link)
            else:
                reply = self._client.page(self.resource_type, [("_count", str(A_PAGE))])
            if reply.kind not in (ReplyKind.TRANSIENT, ReplyKind.UNREACHABLE) or attempt == TRIES:
                break
            self._sleep(min(max(reply.retry_after, 2.0 ** (attempt - 1)), LONGEST_WAIT))
        return reply


def _ended(resource_type: str, reply: Reply, why: str = "") -> Unreachable:
    """What to tell of a search that did not come to its end: no server's words, no address."""
    answer = f"{reply.kind.value}, status {reply.status}" if reply.status else reply.kind.value
    detail = f", {reply.detail}" if reply.detail else ""
    return Unreachable(f"the server did not give all {resource_type} resources: {why or answer + detail}")
