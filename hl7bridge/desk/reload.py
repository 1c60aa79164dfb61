"""The running service asked to read the configuration again, and what it answered, now and before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hl7bridge.desk.deciding import Actor, Clock, Role, listed
from hl7bridge.desk.times import utc_time
from hl7bridge.model.listing import Listed

if TYPE_CHECKING:
    from hl7bridge.store.store import Store

NOBODY = "no service answers. `hl7bridge run` reads the configuration when it starts."
_LOOK_AGAIN = 0.05  # seconds between two looks for the answer


@dataclass(frozen=True, slots=True)
class ReloadRequest:
    """One request to read conf/ again.

    asked, answered  Unix seconds; answered 0 = not (yet)
    accepted         the service goes by what is on disk since; else `report["problems"]` says why it goes on as before
    report           mappings (feed -> version before and after), changed keys, whether the delivery process starts anew, and
                     keys that wait for a restart
    """

    id: int
    who: str
    asked: float
    answered: float
    accepted: bool
    report: dict[str, Any]

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.id,
            "asked": utc_time(self.asked),
            "who": self.who,
            "answered": utc_time(self.answered),
            "accepted": self.accepted,
            "report": self.report,
        }


def history(store: Store, *, limit: int = 20, after: str = "") -> Listed[ReloadRequest]:
    """The last requests, the latest first, from behind `after`: the `next` of an earlier list. Raises ConfigError for
    another text."""
    found = listed(lambda: store.reloads.reloads(limit=limit, after=after))
    return Listed(tuple(ReloadRequest(**row) for row in found), found.next)


def ask(
    store: Store,
    actor: Actor,
    wait: float,
    *,
    clock: Clock = time.time,
    elapsed: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ReloadRequest | None:
    """Ask the running service to read conf/ again, and wait so many seconds; None, and the request is withdrawn, where no
    service answers."""
    actor.must_have(Role.ADMIN)
    request, until = store.reloads.ask_reload(str(actor), clock()), elapsed() + wait
    answer = _one(store, request)
    while not answer.answered and elapsed() < until:
        sleep(_LOOK_AGAIN)
        answer = _one(store, request)
    if not answer.answered and store.reloads.withdraw_reload(request):
        return None
    return _one(store, request)


def _one(store: Store, request: int) -> ReloadRequest:
    (row,) = store.reloads.reloads(request=request)
    return ReloadRequest(**row)
