"""Threads that last as long as their role: what ends one by an exception is said, and its work begins anew.

A thread that died in silence left every sender without an answer, or every change undelivered, while the process lived on
and looked well.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from hl7bridge.errors import Hl7BridgeError
from hl7bridge.service.log import Log

REST = 1.0  # seconds before the work begins anew


def lasting(
    work: Callable[[], None],
    said: Callable[[str], None],
    stopping: Callable[[], bool],
    rest: Callable[[float], object] = time.sleep,
) -> None:
    """Do the work until it returns; where it raises, say so and begin anew, unless the role is `stopping`.

    `said(text)` gets what an error of ours says, and of any other exception the name: its text may hold content.
    """
    while True:
        try:
            work()
            return
        except Exception as error:
            try:
                said(str(error) if isinstance(error, Hl7BridgeError) else f"a defect ({type(error).__name__})")
            except Exception:  # noqa: S110 - who is told may fail as well; the work goes on
                pass
            if stopping():
                return
            rest(REST)


def tell_defects(log: Log) -> None:
    """Log by its name what ends a thread, or is raised where nobody catches it. Python would write it to standard error,
    with its text, and wait for whoever reads there."""

    def ended(args: threading.ExceptHookArgs) -> None:
        log.error(
            "a thread ended by a defect", what=args.thread.name if args.thread else "", error=_name(args.exc_type)
        )

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        log.error("a defect while something was cleared away", error=_name(args.exc_type))

    threading.excepthook, sys.unraisablehook = ended, unraisable


def tell_reactor_defects(log: Log) -> None:
    """The same of what Twisted catches in a protocol or a Deferred."""
    from twisted.logger import LogLevel, globalLogBeginner

    def observe(event: dict[str, object]) -> None:
        if event.get("log_level") is LogLevel.critical:
            failure = event.get("log_failure")
            log.error("a defect on the reactor", error=_name(getattr(failure, "type", None)))

    observers: Any = [observe]
    globalLogBeginner.beginLoggingTo(observers, discardBuffer=True, redirectStandardIO=False)


def _name(kind: type[BaseException] | None) -> str:
    return kind.__name__ if kind else ""
