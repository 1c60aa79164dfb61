"""The health of a destination: what its last answers taught everybody who delivers to it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Health:
    """One for all instances, kept in the store. Nothing learned = all is well. Moments in Unix seconds.

    at_once       deliveries at one time, of everybody together, while it fails; 0 = as many as it may be sent
    failures      in passing, since the last success
    rests         in a row
    rest_until    nothing is to be sent before; 0 = no rest
    pauses        in a row, because of its authorization
    paused_until  0 = not paused, or until a person resumes it
    told          why people were told that it is paused, "" = they were not
    version       how often it was changed, for the store
    """

    at_once: float = 0.0
    failures: int = 0
    rests: int = 0
    rest_until: float = 0.0
    pauses: int = 0
    paused_until: float = 0.0
    told: str = ""
    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Learned:
    """What settling some outcomes teaches: written in the transaction that records them.

    before, after   the health that was gone by, and the one that follows
    off_hours       changes written outside of office hours
    """

    before: Health
    after: Health
    off_hours: int = 0
