"""Who decides, by which way and why; and how a long decision shows where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from hl7bridge.errors import ConfigError

COMMAND_LINE = "command line"

EVERY = 1_000_000_000
"""As the limit of a list: all of it."""

Clock = Callable[[], float]
"""Unix seconds."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decides.

    account  as the system or the sign-in knows it; `root (sudo: ana)` behind sudo
    way      by which they do: the command line, the console, ...
    """

    account: str
    way: str = COMMAND_LINE

    def __str__(self) -> str:
        """For the history: the account, and the way where it is not the command line."""
        return self.account if self.way == COMMAND_LINE else f"{self.account} (by {self.way})"

    def is_who_asked(self, requested_by: str) -> bool:
        """Whether a person would decide on what they asked for themselves; what a feed asked for ("") nobody did."""
        from hl7bridge.store.store import same_person

        return same_person(str(self), requested_by)


def why(text: str, option: str = "--reason") -> str:
    """The text in one line. Raises ConfigError when it says nothing."""
    said = " ".join(text.split())
    if not said:
        raise ConfigError("say why", key=option, advice=f'Write {option} "...": it stays in the history.')
    return said[:500]


Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""What is done, and how often -> a block, within which it is called once for each that is done."""


@contextmanager
def unseen(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Progress that nobody watches."""
    yield lambda: None
