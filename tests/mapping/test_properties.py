"""Whatever stands in the fields: records or a refusal, and resources that a FHIR server can take."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.explain import explain
from hl7bridge.mapping.messages import staff
from hl7bridge.model import StaffChange
from tests.examples import examples
from tests.mapping.building import NOW, RULES, check_json, check_resources, message, mfe, segment, stf

SAMPLE = message(
    mfe("MAD", "K1", "20260401"),
    stf(
        name="Rossi&van&Rossi^Ada^Mia^JR^Dr^MD^L^^^20200101&20251231~Bianchi^Ada^^^^^M",
        f2="E7^^^NORTH&1.2.3&ISO^EI^^20200101^20301231~1234567893^^^^NPI~K1",
        f4="RN^Nurse^L",
        f5="F",
        f6="19790412",
        f7="A",
        f8="CARD^Cardiology \\T\\ more^L~ONC",
        f9="MED^Medicine^HL70069",
        f10="^WPN^PH^^44^113^4960123^9~^PRN^CP^ada@example.org^^7700^900123^^^^^x^20200101^20301231^^^^1",
        f11="1 High St^^Leeds^WY^LS1^GBR^O~&Elm&4^^Leeds^^LS6^^H^^Yorks",
        f12="20150901^N&North&L",
        f13="20301231^N",
        f15="a@example.org",
        f16="O",
        f18="Matron",
        f19="J1&Porter^F^Duty",
        f22="D1^CA^20300101",
        f29="Y",
        f32="N",
        f34="20150901^20301231",
        f35="20270101",
        f37="Y",
        f38="L",
        f39="T",
    ),
    "PRA|K1|GRP^Group|ST||207R00000X^Board^C^20050101~KIDS|L1^SL^CA^20301231~AB1234563^DEA||20100101|NORTH|20301231",
    "ORG|1|CARD^Cardiology|D|Y|7^^^N&1.2.3&ISO|20^Doc|207R00000X|207RC0000X^Cardio|20150901^20301231",
    "LAN|1|fr^French^ISO639|3|1",
    "EDU|1|M.D.|||19890604|SCHOOL^L||||^History",
    segment("CER", f1="1", f2="7", f4="Board", f10="RN", f11="PED", f25="20200101", f27="20301231", f31="V"),
    mfe("MDC", "K2"),
    stf("K2", f13="20260401", f38="L"),
    mfe("MAC", "K3"),
    stf("K3"),
    "ZZZ|1|2",
)
FRAGMENTS = [
    *(b"|", b"^", b"~", b"&", b"\\", b'""', b" ", b"\r", b"\n", b"\t", b"\0", b"\x0b", b"\x1c", b"\x1f", b"\x7f"),
    *(b"\\T\\", b"\\X00\\", b"\\X0D0A\\", b"\\.br\\", b"\\Z\\", b"\\XC3A9\\", b"||", b"^^", b"~~", b"&&"),
    *(b"\xc2\xa0", b"\xe2\x80\xa8", b"\xc2\x85", b"\xe2\x80\x8b", b"\xef\xbc\x91", b"\xf0\x9f\x98\x80", b"\xff"),
    *(
        b"20260230",
        b"99999999999999",
        b"0",
        b"-",
        b"+0100",
        b"A",
        b"I",
        b"Y",
        b"N",
        b"MUP",
        b"MDC",
        b"MDL",
        b"REP",
        b"M01",
    ),
    *(b"STF|", b"PRA|", b"\rSTF|", b"\rMFE|MUP|||K1\r", b"\rORG|1|CARD", b"\rLAN|1|", b"2.2", b"2.3", b"9" * 400),
]

mutations = st.lists(
    st.tuples(
        st.integers(0, len(SAMPLE)),
        st.integers(0, 12),
        st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=4)),
    ),
    max_size=6,
)


def mutated(changes: list[tuple[int, int, bytes]]) -> bytes:
    raw = SAMPLE
    for at, removed, added in changes:
        raw = raw[:at] + added + raw[at + removed :]
    return raw


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations)
@example([])
def test_any_mutation_gives_records_or_a_refusal(changes: list[tuple[int, int, bytes]]) -> None:
    try:
        read = Message(mutated(changes), ("utf-8", "latin-1"))
        translation = staff.translate(read, RULES, NOW)
    except MessageError:
        return
    assert translation == staff.translate(read, RULES, NOW)
    for position, record in enumerate(translation.records, 1):
        assert record.position == position
        assert all(finding.position == position for finding in record.findings)
        assert record.failed is any(finding.severity.value == "E" for finding in record.findings)
        if record.change is not None:
            check_change(record.change)
    found = explain(read, RULES, NOW)
    assert found.translation == translation
    assert found.valued == found.used + found.dropped + found.unused + found.unknown


def check_change(change: StaffChange) -> None:
    check_resources(change)
    assert change.source_key == change.source_key.strip() != ""
    for identifier in change.identifiers:
        check_json(identifier.value)
        if identifier.extra:
            check_json(identifier.extra)
    json.dumps(change.to_json())
    if not change.complete:
        assert change.action.value != "add"


@settings(max_examples=examples(60), deadline=None)
@given(
    st.dictionaries(st.integers(1, 41), st.text(alphabet="AIYN0129^~&\\T. @'\"é\u3000\x07", max_size=12), max_size=12)
)
def test_any_text_in_any_field_of_stf(fields: dict[int, str]) -> None:
    texts = {f"f{number}": text for number, text in fields.items() if number not in (1, 3)}
    for event in ("MAD", "MUP", "MDC"):
        (record,) = staff.translate(Message(message(mfe(event), stf(**texts))), RULES, NOW).records
        if record.change is not None:
            check_change(record.change)


def test_nothing_is_left_over_from_the_record_before() -> None:
    """The same record gives the same change wherever it stands in the message."""
    body = SAMPLE.decode().split("\r")
    record = [line for line in body if line[:3] in ("STF", "PRA", "ORG", "LAN", "EDU", "CER")][:6]
    alone, *_ = staff.translate(Message(message(mfe(), *record)), RULES, NOW).records
    repeated = staff.translate(Message(message(*(line for _ in range(3) for line in (mfe(), *record)))), RULES, NOW)
    for other in repeated.records:
        assert other.change == alone.change
        assert [finding.local for finding in other.findings] == [finding.local for finding in alone.findings]
        assert all(f.location is not None and f.location.occurrence == other.position for f in other.findings)
