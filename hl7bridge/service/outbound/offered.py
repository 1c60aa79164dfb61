"""What a FHIR server says that it offers: read when deliveries begin and on a schedule, told when it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.wire.capabilities import (
    READING,
    WRITING,
    Capabilities,
    not_offered,
    read_capabilities,
    written,
)
from hl7bridge.destinations.fhir.wire.client import FhirClient

HOUR = 3600.0
READ_AGAIN = 300.0  # seconds until a server that gave no CapabilityStatement is asked for one again
_LONGEST = 80  # characters of what a server calls itself


@dataclass(frozen=True, slots=True)
class Offer:
    """What a person wants to know of it at a glance.

    missing         interactions that the CapabilityStatement does not list, such as "update Practitioner"
    needed          those of them that the destination needs, as its modes stand
    token_endpoint  of .well-known/smart-configuration, "" where there is none
    """

    software: str
    fhir_version: str
    missing: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    token_endpoint: str = ""

    @classmethod
    def of(cls, read: Capabilities, smart: dict[str, Any] | None, rules: DestinationRules) -> Offer:
        """From what the server says of itself."""
        software = "".join(sign for sign in read.software if sign.isprintable())[:_LONGEST]
        endpoint = (smart or {}).get("token_endpoint")
        return cls(
            software or "a server without a name",
            read.fhir_version[:20] or "unknown",
            not_offered(read, rules, (*READING, *WRITING)),
            not_offered(read, rules, (*READING, *written(rules))),
            endpoint if isinstance(endpoint, str) else "",
        )

    def as_json(self) -> dict[str, Any]:
        """As a store keeps it, and `destination list --json` shows it."""
        return {**asdict(self), "missing": list(self.missing), "needed": list(self.needed)}

    def __str__(self) -> str:
        """One line for the log."""
        text = f"{self.software}, FHIR {self.fhir_version}"
        if not self.missing:
            return f"{text}, offers all that is needed"
        return f"{text}, does not offer: {', '.join(self.missing)}"


Tell = Callable[[Offer | None, bool], None]
"""Called with the first offer, and with each that differs (True: there was another before); with None when there is none."""


def _nobody(offer: Offer | None, changed: bool) -> None:
    """Nobody is told."""


class Offered:
    """What the server says that it offers. Thread-safe.

    interval  seconds between two looks
    tell      see `Tell`; on the thread that looked
    """

    def __init__(
        self,
        client: FhirClient,
        clock: Callable[[], float] = time.monotonic,
        *,
        interval: float = HOUR,
        tell: Tell = _nobody,
    ) -> None:
        self._client, self._clock, self._interval, self._tell = client, clock, interval, tell
        self._lock = threading.Lock()
        self._known: Capabilities | None = None
        self._due: float | None = None
        self._offer: Offer | None = None
        self._silent = False

    def current(self) -> Capabilities | None:
        """The latest statement; None where the server gave none so far: then everything is tried.

        The first caller reads, and the others wait for it; later, only the one who reads again waits.
        """
        if self._due is not None and self._clock() < self._due:
            return self._known
        if not self._lock.acquire(blocking=self._due is None):
            return self._known
        try:
            if self._due is None or self._clock() >= self._due:
                self._read()
            return self._known
        finally:
            self._lock.release()

    def watch(self, stopping: threading.Event, closed: Callable[[], float] = lambda: 0.0) -> None:
        """Look now and whenever it is due, until `stopping`; on a thread of its own, so that nothing waits for it. Not
        while `closed` (a maintenance window)."""
        while not stopping.is_set():
            if not closed():
                self.current()
            due = self._due
            stopping.wait(max(1.0, due - self._clock()) if due is not None else 1.0)

    def forget(self) -> None:
        """Read again with the next delivery."""
        with self._lock:
            self._known, self._due = None, None

    def _read(self) -> None:
        offer = None
        try:
            read = read_capabilities(self._client)
            if isinstance(read, Capabilities) and read.resources:
                offer = Offer.of(read, self._client.smart_configuration().resource, self._client.rules)
                self._known = read
        except Exception:  # nothing that a server says there may stop deliveries
            offer = None
        self._due = self._clock() + (self._interval if offer is not None else min(self._interval, READ_AGAIN))
        if offer is None and not self._silent and self._offer is None:
            self._tell(None, False)
        elif offer is not None and offer != self._offer:
            self._tell(offer, self._offer is not None)
        self._silent = offer is None
        self._offer = offer or self._offer
