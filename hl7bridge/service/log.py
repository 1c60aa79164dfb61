"""Log lines: structured, to standard error or a file, and never with message content.

Callers pass names and numbers (feed, peer, message id, local code), not values of messages. `SAFE_KEYS` is the allow-list
that a processor enforces: any other key is dropped, so that a careless line cannot leak.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

Log = Any
"""A structlog logger bound to a role, and to a feed or a destination."""

# fmt: off
SAFE_KEYS = frozenset({
    "event", "level", "timestamp", "role", "feed", "destination", "peer", "host", "port", "pid", "error", "text",
    "what", "mode", "code", "local", "status", "reason", "state", "bytes", "count", "records", "message_id", "delivery_id",
    "attempts", "seconds", "path", "lost", "exit_code", "percent", "refused", "people", "changes", "task", "kind",
    "escalation", "problems", "restart", "delivery", "mappings",
})
# fmt: on


def _drop_unlisted(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in [key for key in event if key not in SAFE_KEYS]:
        del event[key]
    return event


def configure(level: str = "info", style: str = "console", file: Path | None = None) -> None:
    """Set up logging for this process. `style`: "console" (readable) or "json" (a line an event)."""
    stream: TextIO = file.open("a", encoding="utf-8") if file else sys.stderr
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _drop_unlisted,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


def get_logger(role: str, **names: str) -> Log:
    """A logger whose lines carry the role, and the feed or destination."""
    return structlog.get_logger().bind(role=role, **names)
