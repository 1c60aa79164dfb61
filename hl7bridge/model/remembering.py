"""A memory of results that no sender can fill: bounded in bytes, for what it keeps is keyed by what messages say."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

LONGEST = 256  # characters of a text that is worth remembering


def remembered(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep the last `most` results of a pure function of texts, but for those of texts longer than `LONGEST`: a thousand
    names of megabytes each would be kept for as long as nobody asks for others."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        kept = cast("Callable[P, R]", lru_cache(maxsize=most)(function))

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for one in args:
                if isinstance(one, str) and len(one) > LONGEST:
                    return function(*args, **kwargs)
            return kept(*args, **kwargs)

        return call

    return decorate
