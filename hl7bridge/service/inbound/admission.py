"""Which connections a listener takes: from the networks that it allows, and as many as it may have at one time."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from hl7bridge.service.log import Log

TELL_EVERY = 10.0  # seconds between two lines about refused connections: a port scan must not fill the log
LONG_SILENT = 60.0  # seconds of silence after which a connection may give its place to a new one


class Connection(Protocol):
    """What is asked of a connection that might give way."""

    silent_since: float

    @property
    def idle(self) -> bool: ...

    @property
    def ended(self) -> bool: ...


C = TypeVar("C", bound=Connection)


class Admission:
    """The rules of one listener. `networks`: CIDR texts, none = everybody. `seconds()`: a monotonic clock."""

    def __init__(self, networks: Sequence[str], log: Log, seconds: Callable[[], float]) -> None:
        self._networks = [ipaddress.ip_network(text) for text in networks]
        self._log, self._seconds = log, seconds
        self._untold, self._told = 0, -TELL_EVERY

    def allows(self, host: str) -> bool:
        """Whether the address is of an allowed network. An IPv4 address that came over IPv6 counts as what it is."""
        if not self._networks:
            return True
        try:
            address: Any = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    def gives_way(self, connections: Iterable[C]) -> C | None:
        """The connection that gives way when all places are taken: half-open peers must not shut the sender out, nor must
        those who come once with each message.

        First one whose sender has ended its side: it stays for answers that are owed, which are kept as "not sent" then.
        Else the longest silent one; but none that is owed an answer, is inside a message, or spoke within the last minute.
        """
        now = self._seconds()
        found = list(connections)
        ended = [one for one in found if one.ended]
        silent = [one for one in found if one.idle and now - one.silent_since >= LONG_SILENT]
        return min(ended or silent, key=lambda one: one.silent_since, default=None)

    def refused(self, peer: str, why: str) -> None:
        """Say so, at most once in a while, with how many there were."""
        self._untold += 1
        now = self._seconds()
        if now - self._told >= TELL_EVERY:
            self._log.warning("connection refused", peer=peer, reason=why, refused=self._untold)
            self._untold, self._told = 0, now
