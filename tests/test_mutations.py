"""Any mutation of any sample message: records or a refusal, and an answer; never an exception.

Bytes are put in and taken out, fields and segments dropped, doubled and exchanged, the separators changed, in the whole
message or in its header alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.errors import MessageError
from hl7bridge.hl7 import batch
from hl7bridge.hl7.message import Message, read_header
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.explain import explain
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.store.store import MessageState
from tests.examples import examples
from tests.mapping.building import KEY_SYSTEM, NOW
from tests.mapping.test_properties import FRAGMENTS, SAMPLE, check_change

FOLDER = Path(__file__).parents[1] / "sample_messages"
SAMPLES = {
    str(path.relative_to(FOLDER)): path.read_bytes()
    for path in sorted(FOLDER.rglob("*.hl7"))
    if not path.name.endswith(".ack.hl7")
}
CHARSETS = ("utf-8", "latin-1")
AUTHORITIES = {"NORTHLAKE": "https://northlake.example.org/physicians"}
RULES = FeedRules(KEY_SYSTEM, authorities=AUTHORITIES, takes=frozenset({"staff", "adt"}))
STAFF_ALONE = replace(RULES, takes=frozenset({"staff"}))
TO = {"ehr": FhirDestination(DestinationRules("ehr", "http://127.0.0.1/fhir", mode="write"))}
INTAKES = [
    Intake(FeedPolicy("hr", rules, TO, charset=CHARSETS), b"\0" * 32, clock=NOW.timestamp)
    for rules in (RULES, STAFF_ALONE)
]

Mutation = Callable[[bytes], bytes]
places = st.integers(0, 10_000)


def at(place: int, items: list[bytes]) -> int:
    return place % max(1, len(items))


def spliced(place: int, removed: int, added: bytes) -> Mutation:
    def apply(raw: bytes) -> bytes:
        start = place % (len(raw) + 1)
        return raw[:start] + added + raw[start + removed :]

    return apply


def arranged(separator: bytes, inside: bool, what: str, one: int, other: int, line: int) -> Mutation:
    """Drop, double or exchange what stands between separators: segments, or (`inside`) the fields of one."""

    def apply(raw: bytes) -> bytes:
        if inside:
            lines = raw.split(b"\r")
            lines[at(line, lines)] = changed(lines[at(line, lines)])
            return b"\r".join(lines)
        return changed(raw)

    def changed(raw: bytes) -> bytes:
        items = raw.split(separator)
        first, second = at(one, items), at(other, items)
        if what == "drop":
            del items[first]
        elif what == "double":
            items.insert(second, items[first])
        else:
            items[first], items[second] = items[second], items[first]
        return separator.join(items)

    return apply


def separated(marks: bytes, header_alone: bool) -> Mutation:
    def apply(raw: bytes) -> bytes:
        table = bytes.maketrans(b"|^~\\&", marks)
        end = raw.find(b"\r") if header_alone else len(raw)
        return raw[:end].translate(table) + raw[end:]

    return apply


arranging = st.sampled_from(["drop", "double", "exchange"])
mutations: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(spliced, places, st.integers(0, 12), st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=4))),
    st.builds(arranged, st.just(b"\r"), st.just(False), arranging, places, places, places),
    st.builds(arranged, st.sampled_from([b"|", b"^"]), st.just(True), arranging, places, places, places),
    st.builds(
        separated, st.sampled_from([b"!:;?@", b"|^~\\\\", b"|||||", b"|^^^^", b"#$%*+", b"\t^~\\&"]), st.booleans()
    ),
)
mutated = st.builds(
    lambda raw, changes: reduce(lambda now, change: change(now), changes, raw),
    st.sampled_from([*SAMPLES.values(), SAMPLE]),
    st.lists(mutations, max_size=5),
)


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated)
def test_any_mutation_of_any_sample_gives_records_or_a_refusal(raw: bytes) -> None:
    for part in batch.split(raw).messages:
        try:
            message = Message(part, CHARSETS)
            translation = staff.translate(message, RULES, NOW)
        except MessageError:
            continue
        for number, record in enumerate(translation.records, 1):
            assert record.position == number
            assert record.failed is any(finding.severity.value == "E" for finding in record.findings)
            assert not (record.failed and record.change)
            if record.change is not None and not record.change.revokes:
                check_change(record.change)
        found = explain(message, RULES, NOW)
        assert found.translation == translation
        assert found.valued == found.used + found.dropped + found.unused + found.unknown


@pytest.mark.parametrize("intake", INTAKES, ids=["staff and patients", "staff"])
@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raw=mutated)
def test_any_mutation_of_any_sample_is_taken_or_refused(intake: Intake, raw: bytes) -> None:
    """Each message of the frame comes to an end that is stored, and its answers can be read."""
    for prepared in intake.prepare(raw, "test"):
        if prepared.new is None:
            assert prepared.counted == "acknowledgment"
            continue
        assert prepared.new.note != "internal-error"
        assert prepared.new.state in set(MessageState)
        for acknowledgment in prepared.new.acknowledgments:
            if acknowledgment.body:
                assert read_header(acknowledgment.body).message_type in ("ACK", "MFK")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_without_a_mutation_ends_as_it_should(name: str) -> None:
    """What is said above holds of messages that reach the mapping, and not of refusals alone."""
    (prepared,) = INTAKES[0].prepare(SAMPLES[name], "test")
    assert prepared.new is not None
    assert prepared.new.note != "internal-error"
