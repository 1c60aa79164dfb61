"""Who fails at a destination: some people, or the server.

A server may fail about one person for ever and be good to all others: a record that it cannot serve, a rule that it cannot
apply. So a failure says something of the server only where it is of somebody who was not known to fail while others
succeeded, and only several such people together say that the server is down.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hl7bridge.store.store import Claimed

KNOWN = 10_000  # people who are remembered; beyond, the first is forgotten, and may count once more

Person = tuple[str, str]
"""Feed and staff key."""


def person_of(claimed: Claimed) -> Person:
    """Whom a delivery is about."""
    return claimed.feed, claimed.change.source_key


@dataclass(slots=True)
class Failing:
    """At one destination, as one process has seen it. For the loop's thread.

    lately  who failed since the last success of anybody
    alone   who failed while others succeeded
    """

    lately: dict[Person, None] = field(default_factory=dict)
    alone: dict[Person, None] = field(default_factory=dict)

    def copy(self) -> Failing:
        """One to go on with, where what is learned may have to be forgotten."""
        return Failing(self.lately.copy(), self.alone.copy())

    def failed(self, person: Person) -> bool:
        """Note it. True where it says something of the server."""
        if person in self.alone:
            return False
        self.lately[person] = None
        return True

    def succeeded(self, person: Person) -> None:
        """The server is up: whoever failed meanwhile fails alone."""
        self.alone.update(self.lately)
        self.lately.clear()
        self.alone.pop(person, None)
        while len(self.alone) > KNOWN:
            del self.alone[next(iter(self.alone))]
