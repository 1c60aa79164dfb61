"""Log lines: structured, to standard error or a file, and never with message content.

Callers pass names and numbers (feed, peer, message id, local code), not values of messages. `SAFE_KEYS` is the allow-list
that a processor enforces: any other key is dropped, so that a careless line cannot leak.
"""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import structlog

from hl7bridge.service.log_sink import LogSink

Log = Any
"""A structlog logger bound to a role, and to a feed or a destination."""

# fmt: off
SAFE_KEYS = frozenset({
    "event", "level", "timestamp", "role", "feed", "destination", "peer", "host", "port", "pid", "error", "text",
    "what", "mode", "code", "local", "status", "reason", "state", "bytes", "count", "records", "message_id", "delivery_id",
    "attempts", "seconds", "path", "lost", "exit_code", "percent", "refused", "people", "changes", "task", "kind",
    "escalation", "problems", "restart", "delivery", "mappings", "certificate", "limit", "days_left", "waits",
})
# fmt: on


def _drop_unlisted(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in [key for key in event if key not in SAFE_KEYS]:
        del event[key]
    return event


class _Lines:
    """What structlog hands finished lines to."""

    def __init__(self, sink: LogSink) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = sink.put


_current: list[LogSink] = []


def configure(level: str = "info", style: str = "console", file: Path | None = None) -> None:
    """Set up logging for this process. `style`: "console" (readable) or "json" (a line an event).

    From then on no log call raises, or waits (`log_sink`). Raises ConfigError where there can be no such file."""
    render = _never_failing(_renderer(style, colors=file is None and bool(sys.stderr) and sys.stderr.isatty()))
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)

    def lost(count: int) -> str:
        event = {"event": "log lines lost, for they could not be written", "level": "warning", "count": count}
        return str(render(None, "warning", stamp(None, "warning", event)))

    sink = LogSink(file, lost)
    structlog.configure(
        processors=[structlog.processors.add_log_level, _drop_unlisted, stamp, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _Lines(sink),
        cache_logger_on_first_use=False,
    )
    if not _current:
        atexit.register(flush)
    _current[:] = [sink]


def _renderer(style: str, *, colors: bool) -> Any:
    return structlog.dev.ConsoleRenderer(colors=colors) if style == "console" else structlog.processors.JSONRenderer()


def _never_failing(render: Any) -> Callable[[Any, str, MutableMapping[str, Any]], str]:
    def rendered(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        try:
            return str(render(logger, name, event))
        except Exception as error:  # no line is worth a thread
            return (
                f'{{"event": "a log line that cannot be written", "level": "error", "error": "{type(error).__name__}"}}'
            )

    return rendered


def reopen() -> None:
    """Write to a new file where the one before was renamed."""
    for sink in _current:
        sink.reopen()


def flush(timeout: float = 1.0) -> None:
    """Have all lines written, for so many seconds at most."""
    for sink in _current:
        sink.flush(timeout)


def get_logger(role: str, **names: str) -> Log:
    """A logger whose lines carry the role, and the feed or destination."""
    return structlog.get_logger().bind(role=role, **names)
