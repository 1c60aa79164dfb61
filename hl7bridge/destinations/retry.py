"""What happens to a delivery next: a pure function of its outcome and how often it was tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hl7bridge.model import Outcome, Result

CONFLICT = "version-conflict"
UNREACHABLE = "unreachable"  # no connection came about: nothing was sent
FOUND_STRAYED = "found-strayed"  # a search found somebody of whom a read says otherwise

OF_ONE_PERSON = frozenset({CONFLICT, FOUND_STRAYED})
"""Causes of a retry that say nothing of whether the server is well."""

LEAVERS_WAIT = 30.0  # seconds that a leaver waits at most because a server asks for it: their access goes on meanwhile

WITHOUT = "token-"  # so begin the causes that say: the authorization server gave no token
TOKEN_FIRST, TOKEN_LONGEST = 2.0, 15.0  # seconds between two requests for one


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """All times in seconds.

    first, longest   back-off: the n-th wait is drawn from 0 to min(longest, first * 2^(n-1)) (full jitter)
    attempts         after so many a change that fails in passing is held; 0 = never
    conflicts        the same for version conflicts, which no waiting cures when another writer never rests; 0 = never
    look, looks      a write whose answer was lost is looked for at first after `look` seconds, then after longer waits,
                     which grow `looks` times
    asked            the longest wait that a server may ask for (Retry-After); a leaver waits `LEAVERS_WAIT` at most
    pause            first wait of a destination that refuses our token; doubles up to `longest`; where its authorization
                     server gives none, 2 s and 15 s at most
    """

    first: float = 1.0
    longest: float = 300.0
    attempts: int = 0
    conflicts: int = 20
    look: float = 2.0
    looks: int = 3
    asked: float = 300.0
    pause: float = 15.0


@dataclass(frozen=True, slots=True)
class Step:
    """What to do: "end", "retry" and "unknown" (both after `delay` seconds, the lane waits), "hold", or "pause" (the
    whole destination waits for `delay`, the change stays queued)."""

    kind: Literal["end", "retry", "unknown", "hold", "pause"]
    delay: float = 0.0


def next_step(
    outcome: Outcome, attempts: int, policy: RetryPolicy, random: Callable[[], float], *, leaver: bool = False
) -> Step:
    """`attempts` counts those before this one; `random` draws from [0, 1); `leaver`: the change ends somebody."""
    asked = min(outcome.retry_after, policy.asked, LEAVERS_WAIT if leaver else policy.asked)
    if outcome.result is Result.RETRY:
        limit = policy.conflicts if outcome.local == CONFLICT else policy.attempts
        if limit and attempts + 1 >= limit:
            return Step("hold")
        jitter = random() * _doubled(policy.first, attempts, policy.longest)
        return Step("retry", asked + jitter)
    if outcome.result is Result.UNKNOWN:
        wait = policy.look * policy.looks / max(1, policy.looks - attempts)
        return Step("unknown", max(wait, outcome.retry_after))
    if outcome.result is Result.PAUSED:
        # Equal jitter: a destination that is paused must rest for a while in any case. Whether a token is given again is
        # asked soon and often: that is one request, and everybody's changes wait for it.
        first, longest = policy.pause, policy.longest
        if outcome.local.startswith(WITHOUT):
            first, longest = min(TOKEN_FIRST, first), min(TOKEN_LONGEST, longest)
        wait = _doubled(first, attempts, longest)
        return Step("pause", max(asked, wait / 2 + random() * wait / 2))
    if outcome.result is Result.HELD:
        return Step("hold")
    return Step("end")


def _doubled(first: float, times: int, longest: float) -> float:
    return float(min(longest, first * 2.0 ** min(times, 30)))
