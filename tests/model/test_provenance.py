"""Provenance as a value: what is stored of it is read back as it was, from every version of the program."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.model import Location, Provenance, StaffChange, values_from_json, values_to_json

SEGMENTS = st.sampled_from(["STF", "PRA", "ORG", "CER", "PV1", "ZP9", "Z12"])
NUMBERS = st.integers(1, 99)


@st.composite
def places(draw: st.DrawFn) -> Location:
    """A segment, a field, a repetition of it (the first is not numbered), a component."""
    if draw(st.booleans()):
        return Location(draw(SEGMENTS))
    repetition, component = draw(st.sampled_from([0, 2, 3, 17])), draw(st.integers(0, 20))
    return Location(draw(SEGMENTS), field=draw(NUMBERS), repetition=repetition, component=component)


@given(st.lists(places(), max_size=3).map(tuple).map(Provenance))
def test_its_text_is_read_back(provenance: Provenance) -> None:
    assert Provenance.read(provenance.text) == provenance
    assert str(Provenance.read(provenance.text)) == provenance.text


@given(SEGMENTS, NUMBERS, st.integers(1, 40))
def test_one_field_is_one_value_however_it_was_made(segment: str, number: int, repetition: int) -> None:
    label = f"{segment}-{number}" if repetition == 1 else f"{segment}-{number}[{repetition}]"
    made = Provenance.of(segment, number, repetition)
    assert made == Provenance.of(segment, number).at(repetition) == Provenance.read(label)
    assert (made.text, made.whole_field) == (label, (segment, number))


STORED = {
    "action": "update", "source_key": "E1",
    "identifiers": [["E1", "urn:k", "", "", "MFE-4", {}], ["7", "urn:n", "A", "MD", "STF-2[2]", {"use": "official"}]],
    "active": True, "effective": "", "practitioner": [["telecom", {"value": "1"}, "STF-10[2]", "phone", "work"]],
    "roles": [["ward", "ORG", [["period", {"start": "2020", "end": "2030"}, "STF-12,STF-13", "dates"]]]],
    "shared_role": [["mapping.version", "m", "", "lifecycle"]], "cleared": ["STF-11", "LAN-2"],
    "message_time": "", "message_time_exact": False, "mapping_version": "m", "complete": True,
    "needs_approval": False, "deleted_in_source": False, "ended_for": "", "temporary": False, "until": "",
    "qualifications_only": False, "revokes": False, "event_field": "MSH-9", "only_if_missing": False,
}  # fmt: skip


def test_a_change_that_an_earlier_version_stored_is_read_and_written_alike() -> None:
    """Earlier versions had the same texts as labels."""
    text = json.dumps(STORED, separators=(",", ":"))
    change = StaffChange.from_json(text)
    assert change.to_json() == text
    assert [one.provenance.fields for one in change.identifiers] == [
        (Location("MFE", field=4),), (Location("STF", field=2, repetition=2),),
    ]  # fmt: skip
    assert change.roles[0].values[0].provenance.fields == (Location("STF", field=12), Location("STF", field=13))
    assert change.cleared == (Location("STF", field=11), Location("LAN", field=2))
    assert (change.event_field, change.shared_role[0].provenance.fields) == (Provenance.of("MSH", 9), ())


@pytest.mark.parametrize("label", ["STF-10", "STF-10[2].1", "PRA-8,PRA-10", "ORG", "ZSF-3", "mention", "odd-1", ""])
def test_the_label_of_a_stored_value_survives(label: str) -> None:
    rows = [["name", {"family": "Okonkwo"}, label, "person_name"]]
    assert values_to_json(values_from_json(rows)) == rows
