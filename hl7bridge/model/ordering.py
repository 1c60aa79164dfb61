"""The order of changes by their senders' clocks: evidence, and no proof (the stale rule).

A change that is older than what was applied last of its person is stale only where it is older by more than clocks may
differ. By less it is compared with the server: where it would change something, a person decides.
"""

from __future__ import annotations

from datetime import datetime

CLOCK_TOLERANCE = 3600.0
"""Seconds by which the times of messages may be wrong, where a destination says nothing else."""

OUT_OF_ORDER = "out-of-order"
"""Why a late change that would change something is held."""


def seconds_behind(order_time: str, applied: str) -> float:
    """How much older a change is than what was applied last, by the times that order them (ISO 8601, UTC; "" = none); 0 =
    not at all. What is no time is not believed to be close to the other."""
    if not order_time or not applied or applied <= order_time:
        return 0.0
    try:
        return (datetime.fromisoformat(applied) - datetime.fromisoformat(order_time)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")
