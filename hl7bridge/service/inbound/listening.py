"""What a connection has of the listener that took it: the bounds, the writer behind it, and where it is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import DeferredSemaphore

from hl7bridge.intake.intake import Intake
from hl7bridge.service.inbound.frame_memory import FrameMemory
from hl7bridge.service.inbound.tls import ListenerTls
from hl7bridge.service.log import Log
from hl7bridge.store.store import Accepted, AcknowledgmentState, NewMessage


class Committing(Protocol):
    """What a connection needs of the writer and the acknowledger (service.startup joins them)."""

    @property
    def backlog(self) -> int: ...

    def put(self, message: NewMessage, answer: Callable[[Accepted | None], None]) -> bool: ...

    def note(self, message_id: int, kind: str, state: AcknowledgmentState) -> None: ...

    def await_outcome(self, message_id: int, kind: str, send: Callable[[bytes | None], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listener: bytes, connections, seconds, bytes a second (0 = no limit); `allow`: networks (CIDR), () =
    every one."""

    max_frame: int = 10 * 1024 * 1024
    max_connections: int = 64
    max_connections_per_host: int = 0
    frame_timeout: float = 30.0
    frame_rate: float = 0.0
    idle_timeout: float = 0.0
    end_of_block_timeout: float = 2.0
    answer_timeout: float = 30.0
    allow: tuple[str, ...] = ()


class Listening(Protocol):
    """The listener of a feed, as its connections see it."""

    intake: Intake
    commits: Committing
    limits: Limits
    reactor: Any
    log: Log
    clock: Any
    memory: FrameMemory
    aside: DeferredSemaphore
    tls: ListenerTls | None
    send_elsewhere: Callable[[int, bytes], None]
    stopping: bool

    def admit(self, connection: Any) -> bool: ...

    def release(self, connection: Any) -> None: ...

    def counted(self, what: str) -> None: ...
