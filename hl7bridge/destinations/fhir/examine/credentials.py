"""How a destination shows who it is, as its settings say: for whoever looks whether that works, and whoever registers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hl7bridge.destinations.fhir.rules import SmartRules

if TYPE_CHECKING:
    from hl7bridge.destinations.keys import SigningKey


class KeptKey(Protocol):
    """Where a private key is kept. `file`, `key`: the setting that says so, as people are told."""

    @property
    def file(self) -> str: ...

    @property
    def key(self) -> str: ...

    def age(self, now: float) -> float | None:
        """Seconds since it was written (`now`: Unix seconds); None where that can't be told."""

    def exposure(self) -> str:
        """Who else can read it, in words; "" when nobody can, or when that can't be told."""


def nothing_to_read() -> None:
    """There is no key, and no certificate."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the settings say of a destination's authorization.

    file         where they are, as people are told
    smart        None: no token is asked for
    trust, key   read the certificates and the key as deliveries do; both raise ConfigError; no key: there is none to read
    kept         where the key is kept; `key_max_age`: seconds after which it is too old, 0 = never
    client_id, algorithm, key_id, scopes  as they are written there, "" or () = left open
    """

    file: str
    smart: SmartRules | None = None
    trust: Callable[[], None] = nothing_to_read
    key: Callable[[], SigningKey | None] = nothing_to_read
    kept: KeptKey | None = None
    key_max_age: float = 0.0
    client_id: str = ""
    algorithm: str = ""
    key_id: str = ""
    scopes: tuple[str, ...] = ()

    def key_is_old(self, now: float) -> bool:
        """Whether the key is older than it may be; False where its age can't be told. `now`: Unix seconds."""
        age = self.kept.age(now) if self.kept is not None else None
        return bool(self.key_max_age) and age is not None and age > self.key_max_age
