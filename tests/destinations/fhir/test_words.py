"""What an examination's observations mean in words: every code has them, and what they may tell to whom."""

from __future__ import annotations

import ast
import inspect
import string
from typing import Any

import pytest

from hl7bridge.destinations.examining import State
from hl7bridge.destinations.fhir.examine import authorizing, examination, probe, reach
from hl7bridge.destinations.fhir.examine.granting import likely_causes
from hl7bridge.destinations.fhir.examine.reach import Observed
from hl7bridge.destinations.fhir.examine.words import WORDS, diagnosis
from hl7bridge.errors import TokenError


def codes_in_source() -> set[str]:
    """Every code that the checks of the FHIR room can end with."""
    strings: set[str] = set()
    for module in (probe, authorizing, reach, examination):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.add(node.value)
    return strings


def test_every_word_belongs_to_a_code() -> None:
    source = codes_in_source()
    made = {f"token-perhaps-{cause}" for cause in authorizing.likely("clock", True)}
    whys = ("unauthorized", "forbidden", "unreachable", "redirected", "later", "not-there", "refused", "not-fhir")
    made |= {f"{what}-{why}" for what in ("metadata", "search") for why in whys}
    assert set(WORDS) <= source | made
    assert made <= set(WORDS)


@pytest.mark.parametrize("code", sorted(WORDS))
def test_what_is_not_well_has_a_cause_and_a_fix(code: str) -> None:
    said = WORDS[code]
    assert bool(said.cause) == bool(said.fixes)
    assert said.line


def test_a_certificate_for_another_name() -> None:
    check = Observed(
        "tls", State.PROBLEM, "other-name", {"host": "a", "names": "fhir.example.org", "begins": "", "ends": ""}
    )
    said = diagnosis(check, "ehr", "conf/destinations/ehr.toml")
    assert "fhir.example.org" in said.text
    assert "conf/destinations/ehr.toml" in said.fixes[0]


def facts_of(code: str) -> dict[str, Any]:
    """A value for each fact that the code's words name."""
    said = WORDS[code]
    text = " ".join((said.line, said.cause, *said.fixes))
    return {name: 7 for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", sorted(WORDS))
def test_a_servers_own_words_are_in_no_document(code: str) -> None:
    seen = Observed("token", State.PROBLEM, code, facts_of(code) | {"explanation": "CANARY of the server"})
    said = diagnosis(seen, "ehr", "ehr.toml")
    assert said.said == "CANARY of the server"
    assert "CANARY" not in f"{said!r} {said.data()}"


@pytest.mark.parametrize(
    ("step", "code", "unreachable"),
    [
        ("address", "no-address", True),
        ("connection", "refused", True),
        ("tls", "expired", True),
        ("metadata", "metadata-unreachable", True),
        ("token", "token-unreachable", True),
        ("search Practitioner?identifier", "search-unreachable", True),
        ("metadata", "metadata-later", False),
        ("token", "token-perhaps-key", False),
        ("search Practitioner?identifier", "search-forbidden", False),
    ],
)
def test_out_of_reach_is_what_cannot_be_spoken_to_at_all(step: str, code: str, unreachable: bool) -> None:
    for state in State:
        said = diagnosis(Observed(step, state, code, facts_of(code)), "ehr", "ehr.toml")
        assert said.unreachable is (unreachable and state is State.PROBLEM)
        assert said.is_sound is (state in (State.OK, State.SKIPPED))


@pytest.mark.parametrize(
    ("step", "code", "people", "hosts"),
    [("NPI", "npi-several", True, False), ("tls", "other-name", False, True), ("token", "token", False, False)],
)
def test_what_names_people_or_other_hosts_is_marked(step: str, code: str, people: bool, hosts: bool) -> None:
    said = diagnosis(Observed(step, State.PROBLEM, code, facts_of(code)), "ehr", "ehr.toml")
    assert (said.of_people, said.of_hosts) == (people, hosts)


@pytest.mark.parametrize(
    ("text", "permanent", "status", "cause"),
    [
        ("the token endpoint answered HTTP 401, invalid_client", True, 401, "client id"),
        ("the token endpoint answered HTTP 400, invalid_scope", True, 400, "scopes"),
        ("the token endpoint answered HTTP 404", True, 404, "token_url"),
        ("the token endpoint answered HTTP 503", False, 503, "later"),
        ("the token endpoint cannot be reached", False, 0, "firewall"),
        ("the SMART configuration cannot be reached", False, 0, "down"),
        ("the SMART configuration names no token endpoint", True, 0, "base_url"),
    ],
)
def test_causes_fit_the_answer(text: str, permanent: bool, status: int, cause: str) -> None:
    assert cause in " ".join(likely_causes(TokenError(text, permanent=permanent, status=status)))
