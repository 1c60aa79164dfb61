"""What somebody who sets a destination up asks of it: whether all is well there, whom it holds, what its owner has to know.

Every kind answers with these values; a terminal, a page and a JSON answer can all show them. No token and no private key
is in them. Nothing here writes anything at a destination.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject


class State(StrEnum):
    """How a step of an examination ended. SKIPPED: something that it needs failed, or there is nothing to look at."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One step of an examination, in plain words.

    step, code    what was looked at ("tls"), and what was found ("expired"), for programs
    text          what was found, in one line
    cause, fixes  for what is not well: why, and what to do about it, most likely first
    said          the server's own words, for the eyes of who asked: in no file, no log, no document
    unreachable   the destination can't be spoken to at all
    of_people     `text` may name people, by the ids that the destination gave them; `of_hosts`: other hosts than its own
    """

    step: str
    state: State
    code: str
    text: str
    cause: str = ""
    fixes: tuple[str, ...] = ()
    said: str = field(default="", repr=False)
    unreachable: bool = False
    of_people: bool = False
    of_hosts: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether nobody has to look into it."""
        return self.state in (State.OK, State.SKIPPED)

    def data(self) -> dict[str, Any]:
        """For JSON, as in `doctor/1`."""
        return {
            "check": self.step,
            "state": self.state.value,
            "code": self.code,
            "text": self.text,
            "cause": self.cause,
            "fixes": list(self.fixes),
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """Something that a destination's settings come to, told without asking anybody.

    state    OK: all is well; WARNING: it may run so; PROBLEM: it will not
    problem  of what is not well: where, what, and what to do
    """

    state: State
    text: str
    problem: ConfigError | None = None

    @classmethod
    def of(cls, problem: ConfigError, state: State = State.PROBLEM) -> Checked:
        """What is not well."""
        return cls(state, str(problem), problem)


@dataclass(frozen=True, slots=True)
class Carrier:
    """Somebody whom a destination holds under the identifier that was looked up. `active`: None = not said."""

    id: str
    active: bool | None
    roles: int
    active_roles: int


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What came of asking for an access token. The token itself was thrown away.

    token_url  the endpoint that was asked, "" where it is not known
    seconds    for which the token would have been good; the scopes: granted, needed and not granted, granted beyond need
    error      why there is none, "" = there is one; `likely_causes`: the most likely first
    said       the server's own words, for the eyes of who asked: in no file, no log, no document
    """

    destination: str
    client_id: str
    token_url: str
    seconds: int = 0
    granted_scopes: tuple[str, ...] = ()
    missing_scopes: tuple[str, ...] = ()
    too_wide_scopes: tuple[str, ...] = ()
    error: str = ""
    likely_causes: tuple[str, ...] = ()
    said: str = field(default="", repr=False)

    def data(self) -> dict[str, Any]:
        """For JSON, as in `token-test/1`."""
        found = asdict(self)
        del found["said"]
        return found


@dataclass(frozen=True, slots=True)
class Registration:
    """What a destination's owner has to know of this bridge, to let it in. Nothing in it is secret.

    facts        for programs; `rows`: the same for people, as (what is asked for, the answer), "" = the one above goes on
    key_set      the public half of the key (JWKS), None = there is none yet; `key_problem`: why
    checklist    what is left to do until it goes live
    """

    destination: str
    mode: str
    facts: JsonObject
    rows: tuple[tuple[str, str], ...]
    key_set: JsonObject | None
    key_problem: str
    checklist: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """For JSON, as in `register-help/1`."""
        key = {"jwks": self.key_set, "key_problem": self.key_problem}
        head = {"destination": self.destination, "mode": self.mode}
        return {**head, **self.facts, **key, "checklist": list(self.checklist)}


COLUMNS = ("id", "active", "family", "given", "npi", "identifiers", "telecom", "gender", "updated", "version", "roles")
"""What a line of `ListedPerson.row` holds, in order."""


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """Somebody whom a destination holds: as it gave them, with their roles, and as a line of a table (see COLUMNS).

    active  also who is not said to be inactive
    """

    resource: JsonObject
    roles: tuple[JsonObject, ...]
    active: bool
    row: tuple[str, ...]


class Listing(Protocol):
    """Everybody, one after the other. Iterating raises Unreachable when the destination ends it early."""

    @property
    def total(self) -> int:
        """How many there are, known with the first of them; -1: the destination does not say."""

    @property
    def pages(self) -> int:
        """Read until now."""

    def __iter__(self) -> Iterator[ListedPerson]:
        """Each once."""


class Examining(Protocol):
    """The part of a destination that a person who sets it up speaks to."""

    def check(self, now: float) -> Iterator[Checked]:
        """What can be told of its settings, and of what they name on this machine, before anybody is asked. `now`: Unix
        seconds. A PROBLEM: `open` would raise it."""

    def public_keys(self) -> tuple[JsonObject, ...]:
        """The public halves, as JSON Web Keys, of those with which it signs: what its owner has to know. Asks no server.
        Raises ConfigError for a key that can't be used."""

    def examine(self, person: str = "", *, clock: Callable[[], float] = time.time) -> Iterator[Diagnosis]:
        """Look at it as deliveries would use it, step by step, in the order of what depends on what.

        person  an identifier of somebody who is known to be there (of a FHIR server: an NPI), "" = nobody is tried
        clock   Unix seconds
        """

    def look_up(self, person: str) -> tuple[Carrier, ...]:
        """Whom it holds under an identifier (of a FHIR server: an NPI). Raises Unreachable; ConfigError as `open` does."""

    def try_token(self) -> TokenAnswer | None:
        """Ask for an access token as deliveries do; None: it asks for none. Raises ConfigError as `open` does."""

    def registration(self) -> Registration | None:
        """What its owner has to know to let this bridge in; None: nobody has to. Asks no server."""

    def people(self, *, with_roles: bool = False) -> Listing:
        """Everybody whom it holds. Raises ConfigError as `open` does."""
