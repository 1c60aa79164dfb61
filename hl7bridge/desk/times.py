"""Times as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def local_time(seconds: float) -> str:
    """Unix seconds as this machine's time, `2026-03-01 12:00:00`; "" for 0."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def utc_time(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC, for JSON; "" for 0."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else ""


_TIMES = frozenset({"received", "due", "changed", "not_before", "next_attempt", "ended", "at", "opened", "closed"})
_AS_SENT = frozenset({"header", "echo", "change", "findings", "interactions"})


def with_times(message: dict[str, Any]) -> dict[str, Any]:
    """A message as `Store.message` gives it, for JSON: its times as ISO 8601 in UTC, like those of `msg list`."""
    return {name: value if name in _AS_SENT else _with_times(name, value) for name, value in message.items()}


def _with_times(name: str, value: Any) -> Any:
    if name in _TIMES and isinstance(value, int | float) and not isinstance(value, bool):
        return utc_time(value)
    if isinstance(value, list):
        return [with_times(item) if isinstance(item, dict) else item for item in value]
    return with_times(value) if isinstance(value, dict) else value
