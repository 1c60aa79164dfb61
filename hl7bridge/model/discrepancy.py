"""Where the source and a server disagree: one person as the source has them, and each difference found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hl7bridge.model.change import StaffChange
from hl7bridge.model.delivery import Difference, Known


@dataclass(frozen=True, slots=True)
class SourcePerson:
    """One person of one feed, as a destination should have them.

    known     the crosswalk, and what the feed wrote
    latest    the newest change that describes them, else the newest of all; None when none is kept
    waiting   changes that are not applied (reported, held, queued), in order
    why       the state of the newest of those ("held: brake"), "" when all is applied
    says      what the feed says of them: active, inactive, or nothing; `away`: they are for a time
    received  when the newest message about them came, Unix seconds
    """

    feed: str
    source_key: str
    known: Known
    latest: StaffChange | None = None
    waiting: tuple[StaffChange, ...] = ()
    why: str = ""
    says: bool | None = None
    away: bool = False
    received: float = 0.0


ACTIVE_AT_SERVER = "active-at-server"
"""The discrepancy that is a matter of security: the source says that the person is gone, the server lets them act."""


class Found(StrEnum):
    """What a discrepancy is."""

    ACTIVE = ACTIVE_AT_SERVER  # inactive at the source
    ROLE_ACTIVE = "role-active-at-server"  # it ended at the source
    MISSING = "missing"  # nobody at the server carries the identifiers
    GONE = "gone"  # the crosswalk's resource was deleted, and nobody else carries them
    MOVED = "moved"  # the crosswalk's resource is gone, somebody else carries them
    UNCLEAR = "unclear"  # several carry them, or something speaks against whoever does
    INACTIVE = "inactive-at-server"  # active at the source
    ROLE_INACTIVE = "role-inactive-at-server"
    ROLE_MISSING = "role-missing"
    CHANGED = "changed"  # values of ours are not there any more
    BEHIND = "behind"  # the source's newest word is not there
    EXTRA = "extra"  # active at the server with a key of ours that the source does not know
    UNVERIFIED = "unverified"  # the server did not let us read it


SEVEREST = tuple(Found)
"""The order in which people read them."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that is not at the server as the source has it. `kind`: a word of `Found`.

    verified     when the server was read, Unix seconds
    differences  what differs: `before` is the server's, `after` what should be there
    note         why, in our own words: no value of a message or resource
    """

    kind: str
    feed: str = ""
    source_key: str = ""
    resource_type: str = ""
    resource_id: str = ""
    verified: float = 0.0
    differences: tuple[Difference, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """What comparing one person gave. `active` None: nobody is there, or it is not clear who."""

    found: tuple[Discrepancy, ...]
    resource_id: str = ""
    active: bool | None = None
    verified: float = 0.0
