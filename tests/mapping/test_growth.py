"""The cost of one message is near linear in its size, whatever of it is large: counted, not timed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from tests import growth
from tests.mapping.building import KEY_SYSTEM

MSH = "MSH|^~\\&|HR|H|BR|B|20261130114500.123+0000||MFN^M02^MFN_M02|C1|P|2.5.1"
STF = "STF|K1||Fam^Giv||F||A|||"
INTAKE = Intake(
    FeedPolicy("staff", FeedRules(KEY_SYSTEM, authorities={"A": "urn:oid:2.999.1"}), {}), b"x" * 32, lambda: 1.8e9
)

Shape = Callable[[int], str]


def numbered(text: str, joined: str = "~") -> Shape:
    return lambda size: joined.join(text.replace("#", f"{number}") for number in range(size))


def message(staff: str = STF, *segments: str, header: str = MSH) -> bytes:
    return "\r".join([header, "MFI|STF^^HL70175||UPD|||AL", "MFE|MUP|C1-1||K1|CE", staff, *segments, ""]).encode(
        "latin-1"
    )


def field(number: int, text: str) -> Callable[[int], bytes]:
    """A message with very many repetitions of a field of STF."""
    values = numbered(text)

    def built(size: int) -> bytes:
        fields = STF.split("|") + [""] * 40
        fields[number] = values(size)
        return message("|".join(fields).rstrip("|"))

    return built


def of_practitioner(number: int, text: str) -> Callable[[int], bytes]:
    return lambda size: message(STF, "PRA|K1" + "|" * (number - 1) + numbered(text)(size))


def segments(text: str, staff: str = STF) -> Callable[[int], bytes]:
    return lambda size: message(staff, numbered(text, "\r")(size))


def characters(text: str) -> Callable[[int], bytes]:
    return lambda size: message(f"STF|K1||{text * size}^Giv||F||A|||")


def aliases(size: int) -> bytes:
    """One set of wide characters, named in ever new ways."""
    names = (f"BIG5{'-' * (at % 12)}{' ' * (at // 12 % 12)}{'.' * (at // 144)}" for at in range(size))
    return message(header=MSH.replace("|HR|", "|\xa4@|") + "||||||X|" + "|".join(names))


def as_many_numbers(size: int) -> bytes:
    """STF-2 and PRA-6 with the same systems, and other values."""
    both = numbered("#^^^A^EI")(size), numbered("9#^LN^^20301231")(size)
    return message(f"STF|K1|{both[0]}|Fam^Giv||F||A|||", f"PRA|K1|||||{both[1]}")


def dated_departments(size: int) -> bytes:
    """Departments, each with the dates of its institution."""
    fields = STF.split("|") + [""] * 40
    fields[8] = numbered("D#^Dep #")(size)
    fields[12], fields[13] = numbered("20100101^D#&Dep #")(size), numbered("20300101^D#&Dep #")(size)
    return message("|".join(fields).rstrip("|"))


def ranked(size: int) -> bytes:
    """Numbers that all want to be the first, and a preference on top."""
    fields = STF.split("|") + [""] * 40
    fields[10], fields[16] = numbered("^WPN^PH^^^555^#^^^^^^^^^^^1")(size), "B"
    return message("|".join(fields).rstrip("|"))


SHAPES: dict[str, Callable[[int], bytes]] = {
    "identifiers": field(2, "#^^^A#^EI"),
    "identifiers of one authority": field(2, "#^^^A^EI"),
    "one identifier again and again": field(2, "7^^^A^EI"),
    "one number of many authorities": field(2, "7^^^A#^EI"),
    "names": field(3, "F#^G#"),
    "roles": field(4, "C#^Code #"),
    "departments": field(8, "D#^Dep #^99U"),
    "services": field(9, "S#^Service #"),
    "telephones": field(10, "^WPN^PH^^^555^#"),
    "telephones, unformatted": field(10, "555 #"),
    "telephones, ranked": ranked,
    "addresses": field(11, "# St^^City #^MN^55599^USA^B"),
    "starts": field(12, "20100101^D#&Dep #"),
    "ends": field(13, "20300101^D#&Dep #"),
    "mail": field(15, "a#@example.org"),
    "departments with dates": dated_departments,
    "practitioner category": of_practitioner(3, "MD#"),
    "specialties": of_practitioner(5, "S#^B^C^20100601"),
    "licences": of_practitioner(6, "#^T#^MN"),
    "licences beside identifiers": as_many_numbers,
    "units": segments("ORG|#|D#^Dep^99UNIT|D^Department^HL70474|N"),
    "one unit again and again": segments("ORG|#|D^Dep^99UNIT|D^Department^HL70474|N"),
    "units beside departments": segments("ORG|#|D#^Dep #", "STF|K1||Fam^Giv||F||A|" + numbered("E#^Other #")(100)),
    "certificates": segments("CER|#|S#|V#||||||||C#^Cert #"),
    "education": segments("EDU|#|MD#^Doctor^HL70360|19970901^20010531||20010531|U#"),
    "languages": segments("LAN|#|l#^x^ISO639|3^Speak^HL70403"),
    "practitioner segments": segments("PRA|K1||MD#||S#||||"),
    "segments of a site": segments("ZZ1|#"),
    "records": lambda size: message(STF, *(f"MFE|MUP|C{at}||P{at}|CE\rSTF|P{at}||Fam^Giv{at}" for at in range(size))),
    "records of one person": lambda size: message(
        STF, *(f"MFE|MUP|C{at}||K1|CE\rSTF|K1||Fam^G{at}" for at in range(size))
    ),
    "escapes": characters("\\X41\\"),
    "escapes that are none": characters("\\X41"),
    "separators": characters("^~&"),
    "character sets": aliases,
    "separators named": lambda size: message(header=MSH.replace("^~\\&", "^~\\&" + "#" * size)),
    "messages": lambda size: b"MSH|\r" * size,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_times_the_size_is_ten_times_the_work(shape: str) -> None:
    build = SHAPES[shape]
    assert build(7) != build(8), "the shape grows"
    assert growth.growth(lambda size: partial(INTAKE.prepare, build(size), "p")) <= growth.MOST


def test_the_measure_would_notice() -> None:
    def quadratic(size: int) -> Callable[[], object]:
        return lambda: [one for one in range(size) for other in range(size) if one == other]

    assert growth.growth(quadratic) > growth.MOST
    assert growth.growth(lambda size: lambda: [len(str(one)) for one in range(size)]) <= growth.MOST
