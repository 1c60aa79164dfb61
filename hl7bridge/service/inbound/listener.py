"""The MLLP listener of one feed: its port, whom it admits, what it counts, and the bounds that each connection keeps."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from twisted.internet import protocol
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.service.inbound.admission import Admission
from hl7bridge.service.inbound.connection import MllpConnection
from hl7bridge.service.inbound.frame_memory import FrameMemory
from hl7bridge.service.inbound.listening import Committing, Limits
from hl7bridge.service.inbound.tls import ListenerTls
from hl7bridge.service.log import Log

AT_ONE_TIME = 2  # large frames of one feed that are translated at one time: more would only take memory


class MllpListener(protocol.Factory):
    """One feed's port: admits connections, counts, and knows whether the service is stopping."""

    noisy = False

    def __init__(
        self,
        intake: Intake,
        commits: Committing,
        limits: Limits,
        reactor: Any,
        log: Log,
        *,
        clock: IReactorTime | None = None,
        memory: FrameMemory | None = None,
        tls: ListenerTls | None = None,
        send_elsewhere: Callable[[int, bytes], None] = lambda message_id, body: None,
    ) -> None:
        self.intake, self.commits, self.limits, self.reactor, self.log = intake, commits, limits, reactor, log
        self.clock: Any = clock or reactor
        self.memory = memory or FrameMemory()  # shared by the listeners of all feeds
        self.tls = tls  # None: MLLP in the clear
        self.aside = DeferredSemaphore(AT_ONE_TIME)
        self.send_elsewhere = send_elsewhere
        self.admission = Admission(limits.allow, log, lambda: float(self.clock.seconds()))
        self.connections: set[MllpConnection] = set()
        self.counts: dict[str, int] = {}
        self.stopping = False

    def buildProtocol(self, addr: Any) -> Any:
        connection = MllpConnection(getattr(addr, "host", "?"), getattr(addr, "port", 0))
        connection.factory = self
        return connection

    def admit(self, connection: MllpConnection) -> bool:
        """False when the address is not allowed, all places are taken or the service stops: it is then closed at once."""
        why = ""
        if self.stopping:
            why = "stopping"
        elif not self.admission.allows(connection.host):
            why = "address not in listener.allow"
        else:
            most, of_host = self.limits.max_connections, self.limits.max_connections_per_host
            other, why = self.admission.no_place(connection.host, self.connections, most, of_host)
            if other is not None:
                self.connections.discard(other)
                other.give_way()
        if why:
            self.admission.refused(connection.peer, why)
            return False
        self.connections.add(connection)
        return True

    def release(self, connection: MllpConnection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)

    def follow(self, policy: FeedPolicy, limits: Limits) -> None:
        """Go by these from the next frame, and the next connection, on (a reload)."""
        self.intake = copy(self.intake)  # a large frame under way keeps the rules that it began with
        self.intake.policy = policy
        self.intake.known.recheck = policy.recheck
        self.limits = limits
        self.admission.follow(limits.allow)

    def counted(self, what: str) -> None:
        """One more of these (accepted, refused, ignored, duplicate, acknowledgment, empty-frame, bytes-discarded)."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def finish(self) -> None:
        """Take nothing more; close each connection as soon as nothing is owed to it."""
        self.stopping = True
        for connection in list(self.connections):
            connection.finish()

    @property
    def owes(self) -> int:
        """Answers that are not written yet, over all connections."""
        return sum(connection.owes for connection in self.connections)
