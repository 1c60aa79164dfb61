"""How work grows with size: lines of Python run and functions called, counted, so that no clock is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

MOST = 12.0
"""Times the work for ten times the size."""


def work(function: Callable[[], object]) -> int:
    """Lines run and functions called (those written in C, too) while the function runs."""
    count = 0

    def traced(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return traced

    def profiled(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(traced)
    sys.setprofile(profiled)
    try:
        function()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


def growth(function: Callable[[int], Callable[[], object]], size: int = 30) -> float:
    """Times the work for ten times `size`. `function(n)` gives what is to be measured; either is run once before,
    unmeasured: what is remembered from message to message helps both."""
    function(size)()
    function(10 * size)()
    small, large = work(function(size)), work(function(10 * size))
    return large / small
