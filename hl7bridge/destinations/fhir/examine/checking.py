"""What a FHIR server's settings come to before anybody is asked: certificates, key, and what is odd in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hl7bridge.destinations.examining import Checked, State
from hl7bridge.destinations.fhir.examine.credentials import Credentials
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.errors import ConfigError

DAY = 86400
REPLACE_KEY = "Make a new one, register it beside the old one, then switch: hl7bridge keys generate."


def check(
    rules: DestinationRules, credentials: Credentials, odd: Sequence[ConfigError], now: float
) -> Iterator[Checked]:
    """All lines. `odd`: what is odd in the settings as they are written; `now`: Unix seconds."""
    yield from _key(rules, credentials, now)
    yield from (Checked.of(one, State.WARNING) for one in odd)


def _key(rules: DestinationRules, credentials: Credentials, now: float) -> Iterator[Checked]:
    try:
        credentials.trust()
        key = credentials.key()
    except ConfigError as error:
        yield Checked.of(error)
        return
    kept = credentials.kept
    if key is None or kept is None:
        yield Checked(State.OK, f"{rules.name}: asks for no token, mode {rules.mode}")
        return
    kid = credentials.key_id or key.kid
    yield Checked(State.OK, f"{rules.name}: {key.algorithm} key {kid}, mode {rules.mode}")
    if exposure := kept.exposure():
        advice = "Take the rights away: chmod 600."
        yield Checked.of(ConfigError(exposure, file=kept.file, key=kept.key, advice=advice), State.WARNING)
    if credentials.key_is_old(now):
        problem = f"is older than {credentials.key_max_age / DAY:g} days"
        old = ConfigError(problem, file=credentials.file, key="auth.key", advice=REPLACE_KEY)
        yield Checked.of(old, State.WARNING)
