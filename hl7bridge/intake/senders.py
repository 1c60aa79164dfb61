"""Who may send as whom: the sending application and facility (MSH-3, MSH-4) that a connection's certificate stands for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hl7bridge.errors import UnsupportedMessage
from hl7bridge.hl7.header import Header
from hl7bridge.model import Location

NOT_ALLOWED = "sender-not-allowed"


@dataclass(frozen=True, slots=True)
class Senders:
    """Pairs of MSH-3 and MSH-4 as they may stand in a message, each its first component; facility "" = any."""

    pairs: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def written(cls, texts: Iterable[str]) -> Senders:
        """From "HR" or "HR|NORTH": an application, or that and its facility."""
        parted = (text.partition("|") for text in texts)
        return cls(frozenset((application.strip(), facility.strip()) for application, _, facility in parted))

    @classmethod
    def of_all(cls, several: Iterable[Senders]) -> Senders:
        """What any of them may send; nothing, where there is none."""
        return cls(frozenset().union(*(one.pairs for one in several)))

    def refusal(self, header: Header) -> UnsupportedMessage | None:
        """Why a message is refused that says it comes from somebody else; its text names no value. None: it may come."""
        application, facility = (_of_message(header, number) for number in (3, 4))
        if (application, "") in self.pairs or (application, facility) in self.pairs:
            return None
        text = (
            "MSH-3 and MSH-4 (sending application, facility) are not those that this connection's certificate may send"
        )
        return UnsupportedMessage("207", NOT_ALLOWED, text, Location("MSH", field=3))


def _of_message(header: Header, number: int) -> str:
    """The first component, as text; what is no UTF-8 is compared as latin-1, as the header shows it."""
    shown = header.component(number, 1)
    try:
        return shown.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return shown
