"""Which connections a listener takes."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.hl7.mllp import frame
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.service.inbound.admission import LONG_SILENT, TELL_EVERY, Admission
from hl7bridge.service.inbound.listener import MllpListener
from hl7bridge.service.inbound.listening import Limits
from tests.journey import KEY_SYSTEM, mfn, person
from tests.service.test_listener import Commits, Transport


@pytest.mark.parametrize(
    ("networks", "host", "allowed"),
    [
        ((), "203.0.113.9", True),
        (("10.20.0.0/16",), "10.20.255.1", True),
        (("10.20.0.0/16",), "10.21.0.1", False),
        (("10.20.0.0/16", "192.0.2.7/32"), "192.0.2.7", True),
        (("10.20.0.0/16",), "::ffff:10.20.0.1", True),
        (("2001:db8::/32",), "2001:db8::5%eth0", True),
        (("2001:db8::/32",), "10.20.0.1", False),
        (("10.20.0.0/16",), "no address", False),
    ],
)
def test_a_network_is_allowed_or_not(networks: tuple[str, ...], host: str, allowed: bool) -> None:
    assert Admission(networks, structlog.get_logger(), lambda: 0.0).allows(host) is allowed


class Port:
    """A listener with a clock, whose connections come from addresses of the test's choice."""

    def __init__(self, **limits: object) -> None:
        self.clock = Clock()
        destination = FhirDestination(DestinationRules(name="fhir", base_url="http://127.0.0.1/fhir", mode="write"))
        intake = Intake(FeedPolicy("staff", FeedRules(KEY_SYSTEM), {"fhir": destination}), b"x" * 32)
        bounds = Limits(**limits)  # type: ignore[arg-type]
        log = structlog.get_logger()
        self.listener = MllpListener(intake, Commits(), bounds, self.clock, log, clock=self.clock)

    def connect(self, host: str = "10.20.0.1") -> Transport:
        transport = Transport()
        connection = self.listener.buildProtocol(IPv4Address("TCP", host, 40000))
        connection.makeConnection(transport)
        transport.connection = connection  # type: ignore[attr-defined]
        return transport


def send(transport: Transport, data: bytes) -> None:
    transport.connection.dataReceived(data)  # type: ignore[attr-defined]


def test_a_foreign_address_is_closed_before_it_says_anything() -> None:
    port = Port(allow=("10.20.0.0/16",))
    foreign, own = port.connect("203.0.113.9"), port.connect()
    assert (foreign.aborted, own.aborted) == (True, False)
    send(foreign, frame(mfn("a", person("MAD", "K1", "Tamsworth^Ilse"))))
    assert not foreign.value()


def test_for_one_more_the_longest_silent_gives_way() -> None:
    port = Port(max_connections=2)
    first, second = port.connect(), port.connect()
    port.clock.advance(LONG_SILENT - 1)
    send(first, frame(mfn("a", person("MAD", "K1", "Tamsworth^Ilse"))))
    port.clock.advance(1)
    third = port.connect()
    assert (first.aborted, second.aborted, third.aborted) == (False, True, False)
    fourth = port.connect()
    assert fourth.aborted, "the others spoke within the last minute"


def test_whoever_has_ended_its_side_gives_way_first() -> None:
    """Senders that come once with each message, and go, wait for late answers in places that others need."""
    port = Port(max_connections=2)
    first, second = port.connect(), port.connect()
    send(second, frame(mfn("a", person("MAD", "K1", "Tamsworth^Ilse"))))
    second.connection.readConnectionLost()  # type: ignore[attr-defined]
    third = port.connect()
    assert (first.aborted, second.aborted, third.aborted) == (False, True, False)


def test_a_connection_inside_a_message_keeps_its_place() -> None:
    port = Port(max_connections=1, frame_timeout=0.0)
    first = port.connect()
    send(first, b"\x0bMSH|^~")
    port.clock.advance(10 * LONG_SILENT)
    assert port.connect().aborted
    assert not first.aborted


def test_a_thousand_refusals_are_few_lines() -> None:
    port = Port(allow=("10.20.0.0/16",))
    with capture_logs() as lines:
        for _ in range(1000):
            port.connect("203.0.113.9")
        port.clock.advance(TELL_EVERY)
        port.connect("203.0.113.9")
    assert [line["refused"] for line in lines] == [1, 1000]
