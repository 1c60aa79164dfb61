"""Who decides, by which way and why; and how a long decision shows where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum

from hl7bridge.errors import ConfigError
from hl7bridge.model.listing import Listed, Row

COMMAND_LINE = "command line"

EVERY = 1_000_000_000
"""As the limit of a list: all of it."""

Clock = Callable[[], float]
"""Unix seconds."""


class Role(StrEnum):
    """What somebody may do, the least first; each may do what those before it may."""

    VIEW = "view"  # look at everything
    OPERATE = "operate"  # pause and resume, send again, close tasks
    APPROVE = "approve"  # let out what is held, say who is who, go live
    ADMIN = "admin"  # change what the bridge goes by

    def includes(self, other: Role) -> bool:
        """Whether this one may do what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decides.

    account  as the system or the sign-in knows it; `root (sudo: ana)` behind sudo
    way      by which they do: the command line, the console, ...
    role     what they may do; who may read the configuration and the store by the command line may do all of it
    """

    account: str
    way: str = COMMAND_LINE
    role: Role = Role.ADMIN

    def __str__(self) -> str:
        """For the history: the account, and the way where it is not the command line."""
        return self.account if self.way == COMMAND_LINE else f"{self.account} (by {self.way})"

    def must_have(self, role: Role) -> None:
        """Raises ConfigError where this takes a role that the actor does not have. Each decision begins with it."""
        if not self.role.includes(role):
            advice = f"Ask somebody with the role {role}."
            raise ConfigError(f"your role {self.role} does not allow this", advice=advice)

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


def listed(ask: Callable[[], Listed[Row]]) -> Listed[Row]:
    """A page of a list. Raises ConfigError where it was asked for from a place that the list does not have."""
    try:
        return ask()
    except ValueError as error:
        raise ConfigError(str(error), advice="Begin at the start of the list.") from None


Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""What is done, and how often -> a block, within which it is called once for each that is done."""


@contextmanager
def unseen(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Progress that nobody watches."""
    yield lambda: None
