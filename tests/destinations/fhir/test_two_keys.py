"""For any two records of one key system with different keys, whatever else they share, nothing that one asks changes the
other's Practitioner without a person."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from hl7bridge.model import Action, ElementValue, JsonObject, Provenance, StaffChange, StaffIdentifier
from tests.destinations.fhir.people import GOOD_NPI, KEYS, Bridge, name, rules, unit, value
from tests.destinations.fhir.server import FakeFhir
from tests.examples import examples

KEYS_OF = ("S100", "S101")
NUMBERS = (
    StaffIdentifier(GOOD_NPI, "http://hl7.org/fhir/sid/us-npi", type_code="NPI", provenance=Provenance.read("STF-2")),
    StaffIdentifier(
        "AB1234563", "urn:oid:2.16.840.1.113883.4.814", type_code="DEA", provenance=Provenance.read("STF-2")
    ),
    StaffIdentifier("L-7", "urn:oid:2.999.3", type_code="MD", provenance=Provenance.read("PRA-6")),
    StaffIdentifier(
        "S100", KEYS, type_code="EI", provenance=Provenance.read("STF-2")
    ),  # the key of the one, named by the other
    StaffIdentifier("S101", KEYS, type_code="EI", provenance=Provenance.read("STF-2")),
)
WORDS: tuple[ElementValue, ...] = (
    name("Okonkwo", "Adaeze"),
    name("Okonkwo", "Ugo"),
    name("Brandt", "Ugo"),
    value("gender", "female", "STF-5"),
    value("gender", "male", "STF-5"),
    value("birthDate", "1980-02-01", "STF-6"),
    value("birthDate", "1975-03-01", "STF-6"),
)
ACTIONS = (Action.ADD, Action.UPDATE, Action.DEACTIVATE, Action.REACTIVATE, Action.REMOVE)


@dataclass(frozen=True)
class Step:
    """A record that comes: of which of the two, on which feed, and what it says."""

    who: int
    feed: str
    action: Action
    numbers: tuple[int, ...]
    words: tuple[int, ...]
    unit: str

    def change(self) -> StaffChange:
        key = StaffIdentifier(KEYS_OF[self.who], KEYS, provenance=Provenance.read("MFE-4"))
        identifiers = (key, *(NUMBERS[number] for number in self.numbers if NUMBERS[number].value != key.value))
        words = tuple(WORDS[number] for number in self.words)
        ends = self.action in (Action.DEACTIVATE, Action.REMOVE)
        return StaffChange(
            self.action,
            key.value,
            identifiers,
            active=not ends,
            practitioner=() if ends else words,
            evidence=words if ends else (),
            roles=() if ends else (unit(self.unit),),
        )


STEPS = st.builds(
    Step,
    st.integers(0, 1),
    st.sampled_from(("hr", "hr", "pmu")),
    st.sampled_from(ACTIONS),
    st.lists(st.integers(0, len(NUMBERS) - 1), unique=True, max_size=3).map(tuple),
    st.lists(st.integers(0, len(WORDS) - 1), unique=True, max_size=3).map(tuple),
    st.sampled_from(("CARD", "ICU")),
)
ORDERS = st.sampled_from((("crosswalk", "all"), ("all",), ("crosswalk", "key", "NPI"), ("NPI", "key")))


def about(server: FakeFhir, person_id: str) -> list[JsonObject]:
    """A Practitioner, and the roles that refer to it."""
    reference = f"Practitioner/{person_id}"
    roles = [role for role in server.all("PractitionerRole") if role["practitioner"]["reference"] == reference]
    return [one for one in server.all("Practitioner") if one["id"] == person_id] + roles


@settings(max_examples=examples(40), deadline=None)
@given(steps=st.lists(STEPS, min_size=2, max_size=6), order=ORDERS, conditional=st.booleans(), there=st.booleans())
def test_nothing_that_one_key_asks_changes_the_others_person(
    steps: list[Step], order: tuple[str, ...], conditional: bool, there: bool
) -> None:
    server = FakeFhir()
    if there:  # somebody of whom no key is known yet: whoever is taken for this person first is
        numbers = [{"system": one.system, "value": one.value} for one in NUMBERS[:2]]
        somebody = {"resourceType": "Practitioner", "id": "there", "name": [{"family": "Okonkwo"}]}
        server.put({**somebody, "identifier": numbers})
    bridge = Bridge(server, rules(identity_order=order, conditional_create=conditional, withheld=frozenset()))
    bears: tuple[set[str], set[str]] = set(), set()
    for step in steps:
        others = bears[1 - step.who]
        before = [about(server, person_id) for person_id in sorted(others)]
        outcome = bridge.deliver(step.change(), step.feed)
        assert [about(server, person_id) for person_id in sorted(others)] == before
        if outcome.written and outcome.person_id:
            assert outcome.person_id not in others
            bears[step.who].add(outcome.person_id)
