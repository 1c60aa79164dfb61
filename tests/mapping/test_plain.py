"""The quick ways read what the rules read: whatever stands in a field, with and without them the same comes out.

`explain` goes by the rules alone, so that a translation with a trace shows what they say. The values are plain ones, those
that are nearly plain, and those of one field in another.
"""

from __future__ import annotations

import random

import pytest

from hl7bridge.hl7.message import Message
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.mapping.plain import known
from hl7bridge.mapping.tracing import Trace
from hl7bridge.model import Record
from tests.mapping.building import KEY_SYSTEM, NOW, RULES, message, mfe

VALUES: dict[tuple[str, int], tuple[str, ...]] = {
    ("STF", 1): ("K1", "k1", "K1^x", "K1~K1", "K1~K2", '""'),
    ("STF", 2): (
        *("4711^^^HOSP^EI", "4711^^^HOSP&2.999.5&ISO^EI", "1234567893^^^NPI^NPI", "123456789^^^SSA^SS", "4711^^^^EI"),
        *("4711^^^HOSP^XX", "4711^^^HOSP^ei", "K1^^^HOSP^EI", "4711^^^HOSP&2.16.840.1.113883.4.6&ISO^MD"),
        *("٤٧١١^^^HOSP^EI", "4711^^^HOSP^WPN", "4711^WPN^^HOSP^EI", "4711^^PH^HOSP^EI"),
    ),
    ("STF", 3): (
        *("Rossi^Ada", "Rossi^Ada^B^Jr^Dr^MD^L", "Rossi^Ada^B^Jr^Dr^Jr^L", "UNKNOWN^Ada", "Rossi^Ada^^^^^N"),
        *("Rossi^Ada^^^^^B", "Rossi", "Rossi^PRN^Ada1", "Rossi^^PH^x1", "O'Neil-Li^Ada 1234", "Rossi^Ada12345"),
        *("Rossi ^Ada", "Rossi^Ada^^^^^^", "^Ada", "SELF^SELF", "Rossi^Ada^^^^^ZZ", "Rossi.", "-Rossi^Ada"),
        *(r"Rossi^Ada\T\x", "Rossi^Ada&B", "Müller^Ödön", "Росси^Ада"),
    ),
    ("STF", 4): ("P", "MD", "PHYS", "P^x^HL70182", "N", "R&D"),
    ("STF", 5): ("F", "M", "U", "X", "f", "F~M"),
    ("STF", 6): ("19800101", "18000101", "20270101", "19800230", "198001", "1980010112", "١٩٨٠٠١٠١"),
    ("STF", 7): ("A", "I", "a", "A^Active", "N", "A~I"),
    ("STF", 8): ("CARD", "CARD^Cardio", "CARD~CARD", "CARD~NEURO", "CARD^Cardio^L~CARD^Other", "R&D1"),
    ("STF", 9): ("H", "HOSP^Hospital", "CARD"),
    ("STF", 10): (
        *("^WPN^PH^^1^555^0100", "^WPN^PH^^1^555^0100~^PRN^CP^^1^555^0101", "^WPN^FX^^44^20^5550100", "^PRN^BP^^1^555^0100"),
        *("^NET^Internet^a@b.example", "^BPN^PH^^1^555^0100", "+1 555 010-0100^WPN^PH", "^WPN^PH^^1^٣٤٨^0100", "1^WPN^PH"),
        *("555 010 0100 12345678901234^WPN^PH", "^ORN^MD^^1^555^0100", "^XXX^PH^^1^555^0100", "+15550100100^VHN^CP"),
    ),
    ("STF", 11): (
        *("1 Main St^^Town^NY^12345^USA^B", "1 Main St^Apt 2^Town^NY^12345^USA^H", "555 010 0100^^Town^NY^12345^USA^B"),
        *("1 Main St^WPN^Town^NY^12345^USA^B", "1 Main^^CP^NY^12345^USA^B", "1 Main^^Town^NY^12345^USA^HV"),
        *("1 Main^^Town^NY^12345^USA^C", "12^^Town^NY^12345^USA^B", "1 Main^^Town^NY^12345^B^B"),
        "L1^SL^Town^NY^12345^USA^B",
    ),
    ("STF", 12): ("20200101", "20200101^HOSP", "20200101^CARD", "2020", "20200230", "20200101^WPN", "20200101~20210101"),
    ("STF", 13): ("20250101", "20250101^HOSP", "20280101", "2025", "19000101"),
    ("STF", 15): (
        *("a@b.example", "a@b.example~c@d.example", "home@b.example", "1home@b.example", "1home@b.example", "a@b.e1"),
        "mailto:a@b.example",
    ),
    ("STF", 16): ("O", "H", "E", "B", "Q"),
    ("STF", 18): ("Chief", "Chief^x"),
    ("PRA", 1): ("K1", "K2"),
    ("PRA", 2): ("G1", "G1^Group"),
    ("PRA", 3): ("PHYS", "MD^Doctor", "PHYS~NURSE"),
    ("PRA", 5): ("CARD^Cardiology^^CERTIFIED", "CARD^^^C", "207R00000X^Int^NUCC"),
    ("PRA", 6): (
        *("L100^SL^MN", "L100^SL^MN^20300101", "L100^WPN^MN", "L100^^MD", "L100^^MN", "1234567893^NPI", "1234567890^NPI"),
        *("L100^SL^MN^20300230", "L100^MD", "L100", "L100^SL^mn", "L100^SL^MN^٢٠٣٠٠١٠١", "L100^SL^MN~L200^SL^WI"),
    ),
    ("PRA", 9): ("HOSP^Hospital",),
}  # fmt: skip
ALL = [value for values in VALUES.values() for value in values]
ODD = ("٣", "é", '"', "&", "^", "~", " ", "1", "a", "A", "-", "\t", "\\", "²", ".", "NET")
HARD = (FeedRules(KEY_SYSTEM, authorities={"HOSP": "urn:oid:2.999.7", "RN:MN": "urn:oid:2.999.8"}), RULES)


def near(rng: random.Random, value: str) -> str:
    """The value itself, mostly; or one that is nearly it."""
    match rng.randrange(10):
        case 0:
            return value + rng.choice(("^", "^^^", "~", " ", "&x", "~" + value))
        case 1:
            at = rng.randrange(len(value))
            return value[:at] + rng.choice(ODD) + value[at + rng.randint(0, 1) :]
        case 2:
            return value.swapcase()
        case 3:
            return value + "~" + rng.choice(ALL)
    return value


def written(rng: random.Random) -> bytes:
    fields = {"STF": ["STF", "K1", "", "Rossi^Ada", *[""] * 36], "PRA": ["PRA", *[""] * 12]}
    for (segment, number), values in VALUES.items():
        if rng.random() < 0.4:
            fields[segment][number] = near(rng, rng.choice(values))
    if rng.random() < 0.2:
        fields["STF"][rng.choice((14, 17, 20, 22, 30, 36))] = near(rng, rng.choice(ALL))
    event = rng.choice(("MAD", "MUP", "MUP", "MDC", "MAC"))
    return message(mfe(event), "|".join(fields["STF"]).rstrip("|"), "|".join(fields["PRA"]).rstrip("|"))


@pytest.mark.parametrize("rules", HARD, ids=["with authorities", "without"])
def test_with_and_without_the_quick_ways_the_same_is_read(rules: FeedRules) -> None:
    rng = random.Random(20260318)
    known.KNOWN.clear()
    for _ in range(200):
        raw = written(rng)

        def read(trace: Trace | None = None, raw: bytes = raw) -> list[tuple[str, Record]]:
            records = staff.opened(Message(raw), rules, NOW, trace).records()
            return [(one.change.to_json() if one.change else "", one._replace(change=None)) for one in records]

        assert read() == read(Trace()), raw
