"""The running service asked to read the configuration again, and what it answered, now and before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hl7bridge.desk.deciding import Actor, Clock, Role, listed
from hl7bridge.desk.times import utc_time
from hl7bridge.model.listing import Listed
from hl7bridge.store.reloads import ReloadRequest as ReloadRequest

if TYPE_CHECKING:
    from hl7bridge.store.store import Store

NOBODY = "no service answers. `hl7bridge run` reads the configuration when it starts."
_LOOK_AGAIN = 0.05  # seconds between two looks for the answer


def as_data(request: ReloadRequest) -> dict[str, Any]:
    """For JSON."""
    return {
        "id": request.id,
        "asked": utc_time(request.asked),
        "who": request.who,
        "answered": utc_time(request.answered),
        "accepted": request.accepted,
        "report": request.report,
    }


def history(store: Store, *, limit: int = 20, after: str = "") -> Listed[ReloadRequest]:
    """The last requests, the latest first, from behind `after`: the `next` of an earlier list. Raises ConfigError for
    another text."""
    return listed(lambda: store.reloads.reloads(limit=limit, after=after))


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
    (found,) = store.reloads.reloads(request=request)
    return found
