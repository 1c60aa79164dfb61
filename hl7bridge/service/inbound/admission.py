"""Which connections a listener takes: from the networks that it allows, and as many as it may have at one time.

No host shuts another one out: where all places are taken, those give way that are used least, and first those of the host
that holds most.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from hl7bridge.service.log import Log

TELL_EVERY = 10.0  # seconds between two lines about refused connections: a port scan must not fill the log
LONG_SILENT = 60.0  # seconds of silence after which a connection may give its place to a new one
SAID_NOTHING = 5.0  # the same for one that has not sent a message since it was opened
SLOW = (
    2.0  # seconds after which a message under way may be cut off, where its host holds more places than the new one's
)


class Connection(Protocol):
    """What is asked of a connection that might give way."""

    host: str
    silent_since: float
    spoke: bool

    @property
    def idle(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    @property
    def frame_since(self) -> float | None: ...


C = TypeVar("C", bound=Connection)


class Admission:
    """The rules of one listener. `networks`: CIDR texts, none = everybody. `seconds()`: a monotonic clock."""

    def __init__(self, networks: Sequence[str], log: Log, seconds: Callable[[], float]) -> None:
        self.follow(networks)
        self._log, self._seconds = log, seconds
        self._untold, self._told = 0, -TELL_EVERY

    def follow(self, networks: Sequence[str]) -> None:
        """Take connections from these networks alone from now on; those that are there stay."""
        self._networks = [ipaddress.ip_network(text) for text in networks]

    def allows(self, host: str) -> bool:
        """Whether the address is of an allowed network. An IPv4 address that came over IPv6 counts as what it is."""
        if not self._networks:
            return True
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def no_place(self, host: str, connections: Iterable[C], most: int, most_of_host: int = 0) -> tuple[C | None, str]:
        """Whether one more connection from `host` has a place: (None, "") if one is free, or the connection that gives way,
        or (None, the limit that is reached). `most_of_host` 0: a host may hold all of them."""
        found = list(connections)
        own = [one for one in found if host_of(one.host) == host_of(host)]
        if most_of_host and len(own) >= most_of_host:
            other = self._least_used(own)
            return other, "" if other else "max_connections_per_host reached"
        if len(found) < most:
            return None, ""
        other = self._gives_way(host, found)
        return other, "" if other else "max_connections reached"

    def _gives_way(self, host: str, connections: Sequence[C]) -> C | None:
        """The connection that gives way when all places are taken: half-open peers must not shut the sender out, nor must
        those who come once with each message, nor those who hold places by fillers or by messages that never end.

        A host that holds more places than the new one's gives one up even if it is in use, unless it is owed an answer.
        """
        held = Counter(host_of(one.host) for one in connections)
        mine = held[host_of(host)]
        theirs = [one for one in connections if host_of(one.host) == host_of(host) or held[host_of(one.host)] > mine]
        if (other := self._least_used(theirs)) is not None:
            return other
        largest = max(held.values(), default=0)
        if largest <= mine + 1:
            return None
        now = self._seconds()
        greedy = [one for one in connections if held[host_of(one.host)] == largest]
        slow = [one for one in greedy if one.frame_since is not None and now - one.frame_since >= SLOW]
        silent = [one for one in greedy if one.idle]
        return min(silent or slow, key=lambda one: one.silent_since, default=None)

    def _least_used(self, connections: Sequence[C]) -> C | None:
        """First one whose sender has ended its side: it stays for answers that are owed, which are kept as "not sent" then.
        Else one that never sent a message, or the longest silent one; but none that is owed an answer, is inside a message,
        or spoke within the last minute."""
        now = self._seconds()
        ended = [one for one in connections if one.ended]
        idle = [(one, now - one.silent_since) for one in connections if one.idle]
        new = [one for one, silent in idle if silent >= SAID_NOTHING and not one.spoke]
        silent = [one for one, silent in idle if silent >= LONG_SILENT]
        return min(ended or new or silent, key=lambda one: one.silent_since, default=None)

    def refused(self, peer: str, why: str) -> None:
        """Say so, at most once in a while, with how many there were."""
        self._untold += 1
        now = self._seconds()
        if now - self._told >= TELL_EVERY:
            self._log.warning("connection refused", peer=peer, reason=why, refused=self._untold)
            self._untold, self._told = 0, now


def _address(host: str) -> Any:
    """The address, an IPv4 one that came over IPv6 as what it is; None where it is none."""
    try:
        address: Any = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=1024)
def host_of(host: str) -> str:
    """What counts as one host: an IPv4 address, or an IPv6 network of 64 bits, of which one machine has all addresses."""
    address = _address(host)
    if address is None or address.version == 4:
        return str(address or host)
    return str(ipaddress.ip_network((address, 64), strict=False))
