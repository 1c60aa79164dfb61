"""Which forms the quick ways read, and which separators and senders: each is read with them and without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages.staff import PURPOSES, opened
from hl7bridge.mapping.plain import known
from hl7bridge.mapping.plain.compiled import compiled_for
from hl7bridge.mapping.rules.draft import Draft, never
from hl7bridge.mapping.rules.tables import field_table
from hl7bridge.mapping.tracing import Trace
from hl7bridge.model import Record
from tests.mapping.building import KEY_SYSTEM, NOW, message

SAMPLES = Path(__file__).parents[2] / "sample_messages"
SITE = FeedRules(
    KEY_SYSTEM,
    timezone="Europe/Berlin",
    authorities={"NORTH": "urn:x:north", "SL:CA": "urn:x:licences", "GMC": "urn:x:gmc"},
    tables={"0182": {"MD": "urn:x|MD|Doctor"}, "0190": {"X": ""}, "0201": {"WPX": "work"}},
)
RULES = FeedRules(KEY_SYSTEM)

PLAIN = {
    "STF-1": ["K1", "K1^Smith"],
    "STF-2": ["E1^^^NORTH&2.16.840.1.113883.19&ISO^EI", "E1^^^NORTH&2.16.840.1.113883.19&ISO^EI~7^^^&2.999&ISO^LN"],
    "STF-3": ["Smith^Ana", "O'Brien-Fernández^Ana María^B^Jr.^Dr^MD^L~Smith^Ana^^^^^M", "Smith^Ana^^MD^^MD"],
    "STF-4": ["MD", "MD^Doctor^HL70182", "RN~LPN^Nurse^99X"],
    "STF-5": ["F", "M"],
    "STF-6": ["19790412"],
    "STF-7": ["A", "I"],
    "STF-8": ["CARD^Cardiology \\T\\ Vascular^99DEP", "CARD^Cardiology~ICU^Intensive care"],
    "STF-9": ["CARD^Cardiology^HL70069"],
    "STF-10": ["^WPN^PH^^44^113^4960001", "(206)555-0100^WPN^PH~^PRN^CP^^1^206^5550101", "555-0100^WPN^FX"],
    "STF-11": ["1 High St.^Flat 3^Leeds^West Yorkshire^LS9 7TF^GBR^O~4 Elm Row^^Leeds^^LS6 2AB^GBR^H"],
    "STF-12": ["20150901^NORTH", "20150901"],
    "STF-13": ["20350901^NORTH"],
    "STF-15": ["ana.smith@example.org"],
    "PRA-1": ["K1"],
    "PRA-3": ["IP", "IP~OP"],
    "PRA-5": ["207R00000X", "Cardiology^ABIM^C^20100601~Medicine^ABIM^E"],
    "PRA-6": ["G1^GMC^ENG^20351231", "77^SL^CA~78^MD"],
}
"""Of each field with a quick way what it reads."""

NEARLY = (
    *("78^^MD", "E1^^NET", "Smith^NET^^^^^L", "1 High St.^WPN^Leeds^^LS9 7TF^GBR^O", "1 High St.^^Fx^^LS9 7TF^GBR^O"),
    *(
        "home@example.org",
        "ANA@EXAMPLE.CH",
        "20150901^PRN",
        "20991231",
        "20150231",
        "1^^^NORTH^NPI",
        "^BPN^PH^^1^2^3456789",
    ),
    *(
        "2065550100^^^^RN",
        "M123 4567^^^^12345",
        "206-555-0100^^Leeds^^LS9 7TF^GBR^O",
        "MD~MD",
        "MD^19800512",
        "19800512",
    ),
)
"""What differs from a plain form in one thing that matters somewhere."""


def both(raw: bytes, rules: FeedRules) -> tuple[list[Record] | str, list[Record] | str]:
    """The records of a message, read quickly where that is possible, and by the rules alone."""

    def read(trace: Trace | None) -> list[Record] | str:
        try:
            return list(opened(Message(raw), rules, NOW, trace).records())
        except MessageError as error:
            return error.finding.local

    return read(None), read(Trace())


def record(**fields: str) -> bytes:
    """A message of one record with these fields: `STF_3="Smith^Ana"`."""
    sent = {"STF-1": "K1", "STF-3": "Smith^Ana", "PRA-1": "K1", **{n.replace("_", "-"): v for n, v in fields.items()}}
    lines = ["MFE|MUP|C1||K1|CE"]
    for segment in ("STF", "PRA"):
        lines.append("|".join([segment, *(sent.get(f"{segment}-{number}", "") for number in range(1, 40))]))
    return message(*lines)


@pytest.mark.parametrize("place", PLAIN)
def test_what_is_plain_is_read_quickly_and_alike(place: str) -> None:
    segment, _, number = place.partition("-")
    for text in PLAIN[place]:
        for rules in (RULES, SITE):
            quickly, by_rules = both(record(**{place.replace("-", "_"): text}), rules)
            assert quickly == by_rules
    parsed = Message(record())
    opening = opened(parsed, SITE, NOW)
    row = compiled_for(SITE, parsed.separators, parsed.codec, opening.envelope.zone)[segment].rows[int(number)]
    for text in PLAIN[place]:
        draft = Draft(opening.envelope, 1, "K1", PURPOSES["update"])
        draft.segment, draft.row = parsed.all(segment)[0], row
        draft.plan = opening.envelope.plans[segment]
        draft.fields = draft.segment.text.split("|")
        assert row.quick is not never
        assert row.quick(draft, row, text), text


def test_fields_in_each_others_place_are_read_alike() -> None:
    texts = [*NEARLY, *(found[0] for found in PLAIN.values())]
    for place in PLAIN:
        for text in texts:
            raw = record(**{place.replace("-", "_"): text})
            quickly, by_rules = both(raw, SITE)
            assert quickly == by_rules, raw


@pytest.mark.parametrize("marks", ["^~\\&", "$%*@", "'.-+", "^", "^~", "^~\\"])
def test_other_separators_are_read_alike(marks: str) -> None:
    sent = record(**{place.replace("-", "_"): texts[0] for place, texts in PLAIN.items()}).decode()
    raw = sent.translate(str.maketrans("^~\\&", marks.ljust(4, "&")))
    quickly, by_rules = both(raw.encode(), SITE)
    assert quickly == by_rules


def test_a_site_has_its_rules_where_nothing_may_repeat() -> None:
    """STF-5 may not repeat: what a site reads there, two values of it are refused as ever."""
    for place in PLAIN:
        row = dict(field_table()[place])
        rules = FeedRules(KEY_SYSTEM, fields={"STF-5": row}, tables={"0201": {"C": "work"}, "0202": {"H": "phone"}})
        for text in (*PLAIN[place], "555-0100^C^H"):
            for sent in (text, f"{text}~{text}", f"{text}~X{text}"):
                raw = record(STF_5=sent)
                quickly, by_rules = both(raw, rules)
                assert quickly == by_rules, raw


def test_the_samples_are_read_alike() -> None:
    for path in sorted(SAMPLES.rglob("*.hl7")):
        quickly, by_rules = both(path.read_bytes(), RULES)
        assert quickly == by_rules, path.name


def test_no_sender_fills_what_is_known_of_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 50)
    known.KNOWN.clear()
    for number in range(120):
        both(record(STF_4=f"C{number}^{'x' * number}", STF_9="~".join("abcdef"[: number % 7])), RULES)
        assert len(known.KNOWN) <= 50
    assert known.KNOWN
    assert all(len(text) <= known.LONGEST and text.count("~") < known.MOST_REPETITIONS for _, text in known.KNOWN)
