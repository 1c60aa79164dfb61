"""What a value of each data type may look like, so that a field that was moved is seen: the one place that decides it.

A value that can't be of its type is never written, and always said (`Draft.misfit`). So is what stands in a field that no
rule reads, and looks like a telephone number, an e-mail address, a postal address or a time: it has been moved there.

The types of the fields are those of HL7 v2.9 chapter 15.4; the forms those of chapter 2A, and what senders make of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from hl7bridge.mapping.rules.tables import code_tables
from hl7bridge.mapping.rules.times import fhir_date

STANDARD: Mapping[str, Sequence[str]] = {
    name: types.split()
    for name, types in {
        "STF": "CWE CX XPN CWE CWE DTM ID CWE CWE XTN XAD DIN DIN CWE ST CWE CWE ST JCC CWE ID DLN ID DT DT DT CWE CWE ID"
        " CWE DTM ID CWE DR DT CWE ID CWE CWE CWE ED",
        "PRA": "CWE CWE CWE ID SPD PLN PIP DT CWE DT CWE SI",
        "ORG": "SI CWE CWE ID CX CWE CWE CWE DR CWE ID ID CWE",
        "LAN": "SI CWE CWE CWE",
        "EDU": "SI CWE DR DR DT XON CWE XAD CWE",
        "CER": "SI ST ST XON XCN ED ID CWE CWE CWE CWE EI ST CWE CWE CWE ID CWE ID CWE CWE CWE DTM DTM DTM DTM DTM DTM DTM"
        " CWE CWE",
    }.items()
}
"""The data type of each field, in order, as the latest version has it."""

REPEATING: Mapping[str, frozenset[int]] = {
    "STF": frozenset({2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 17, 30, 36, 39}),
    "PRA": frozenset({2, 3, 5, 6, 7, 11}),
    "ORG": frozenset({13}),
    "LAN": frozenset({3}),
    "EDU": frozenset({9}),
    "CER": frozenset({14, 18, 22}),
}
"""The fields that may repeat in some version."""

WHOLE = frozenset({"LAN", "EDU", "CER"})
"""Segments that make one value of their fields, or none: nothing is made of one whose fields are visibly shifted."""

USES = frozenset({"WPN", "PRN", "ORN", "VHN", "PRS", "ASN", "BPN", "EMR", "NET"})
EQUIPMENT = frozenset({"PH", "FX", "MD", "CP", "SAT", "BP", "INTERNET", "X.400", "TDD", "TTY"})
_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]{2,}")
# A number as people write it: in groups, or with a sign for its country. Digits alone may be a code.
_GROUPED = re.compile(
    r"(?:\+\d[\d ()./-]{6,20}|\(\d{2,5}\) ?[\d ./-]{5,15}|\d{3}[ .-]\d{3}[ .-]\d{4})(?: ?(?:x|ext\.?) ?\d{1,6}\w{0,2})?",
    re.IGNORECASE,
)
_POSTAL = re.compile(r"\d{5}(?:-\d{4})?|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}", re.IGNORECASE)
_MARKS = frozenset(
    {
        "tel",
        "phone",
        "telephone",
        "fon",
        "fax",
        "mob",
        "mobile",
        "cell",
        "pager",
        "bleep",
        "ext",
        "extn",
        "extension",
        "int",
        "intern",
        "poste",
        "toestel",
        "nst",
        "durchwahl",
        "home",
        "work",
        "office",
        "direct",
        "switchboard",
        "ask",
        "for",
    }
)
"""Words that people write beside a number."""

_PLAIN_TELEPHONE = re.compile(r"\+\d(?:[ -]?\d){0,14}")
_TELEPHONE_START = re.compile(r"[\d+(\[#*]|(?:[a-z]{1,10}\.?[ :.]*[\d+(#*])", re.IGNORECASE)
_VANITY = re.compile(r"\+?\d[\d-]{2,}-[A-Za-z]{3,10}(?:-[A-Za-z\d]+)?")
_EXTENSION = re.compile(r"(?:[x#]|ext|durchwahl|poste|toestel|nst)", re.IGNORECASE)
_BETWEEN = re.compile(r"[;,/|~]|\bor\b|\band\b| {2,}|(?<=\d)\(|(?<=\d) ?\+", re.IGNORECASE)
_MOST_DIGITS, _FEWEST_DIGITS = 15, 6  # ITU E.164; of two numbers glued together each has so many at least
_FEW_DIGITS = 5
_RUN = re.compile(r"\d(?:[ ()./+-]*\d){6}")
_WORDS = re.compile(r"[^\W\d_]{3,}")
_SOCIAL_SECURITY = re.compile(r"\d{3}-\d{2}-\d{4}")
_TIME = re.compile(r"(?:19|20)\d{6}(?:\d{4}(?:\d\d)?)?")


# --- single texts ----------------------------------------------------------------------------------------------------


def is_mail(text: str) -> bool:
    """`name@host.domain`, and nothing else."""
    return _MAIL.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """A date with or without a time, of this century or the last: `19800512`, `20260318113000`."""
    return _TIME.fullmatch(text) is not None and bool(fhir_date(text))


def is_telephone(text: str) -> bool:
    """A telephone, fax or pager number: digits, in the groups and with the few words that people add (`555-0100 ext 12`).

    No street (`12 Main Street`), no postal code with letters, no time, no text.
    """
    if _PLAIN_TELEPHONE.fullmatch(text):
        return True
    digits = sum(map(str.isdigit, _EXTENSION.split(text, maxsplit=1)[0]))
    if not any(map(str.isdigit, text)) or digits > _MOST_DIGITS or not _TELEPHONE_START.match(text):
        return False
    if len([one for one in _BETWEEN.split(text) if sum(map(str.isdigit, one)) >= _FEWEST_DIGITS]) > 1:
        return False  # two numbers in one
    if (len(text) in (12, 14) and is_time(text)) or (_POSTAL.fullmatch(text) and not text.isdigit()):
        return False
    words = [word for word in _WORDS.findall(text) if word.casefold() not in _MARKS]
    return not words or _RUN.search(text) is not None or _VANITY.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """A part of somebody's name: letters of any script, and neither an e-mail address nor a number."""
    return text.isalpha() or (
        any(map(str.isalpha, text)) and "@" not in text and sum(map(str.isdigit, text)) < _FEW_DIGITS
    )


# --- repetitions, by their components ----------------------------------------------------------------------------------


def holds_coded_telephone(parts: Sequence[str]) -> bool:
    """XTN: a use (XTN.2) or equipment (XTN.3) of tables 0201 and 0202 in its place, with a number."""
    coded = parts[1] in USES or (parts[2].upper() in EQUIPMENT and not parts[1])
    return coded and any(any(map(str.isdigit, part)) for part in (parts[0], *parts[3:12]) if "@" not in part)


def holds_telephone(parts: Sequence[str]) -> bool:
    """The same, or a number as people write it: with a country, an area, in groups."""
    return holds_coded_telephone(parts) or _GROUPED.fullmatch(parts[0]) is not None


def holds_mail(parts: Sequence[str]) -> bool:
    """An e-mail address in any component."""
    return "@" in "".join(parts) and any(map(is_mail, parts))


def holds_address(parts: Sequence[str]) -> bool:
    """XAD: a postal code in its place, and a street with a number or a state before it."""
    if not parts[4] or not _POSTAL.fullmatch(parts[4]) or holds_coded_telephone(parts):
        return False
    street = " " in parts[0] and any(map(str.isdigit, parts[0]))
    return street or (len(parts[3]) == 2 and parts[3].isalpha() and parts[2][:1].isalpha())


def holds_time(parts: Sequence[str]) -> bool:
    """A time alone."""
    return is_time(parts[0]) and not any(parts[1:])


def holds_identifier(parts: Sequence[str]) -> bool:
    """CX: a number without check digit, with a type of table 0203 in its place: `4711^^^HR^EI`."""
    return not parts[1] and parts[4] in code_tables()["0203"] and any(map(str.isdigit, parts[0]))


def holds_private_number(parts: Sequence[str]) -> bool:
    """A social security number as people write it, which is no code and no text."""
    return _SOCIAL_SECURITY.fullmatch(parts[0]) is not None


def holds_licence(parts: Sequence[str]) -> bool:
    """PLN: a number with its type (tables 0203, 0338) behind it: `L100^SL`."""
    known = code_tables()
    return (parts[1] in known["0203"] or parts[1] in known["0338"]) and any(map(str.isdigit, parts[0]))


TELEPHONE, CODED = "a telephone number", "a telephone number with its use"
MAIL, ADDRESS, TIME = "an e-mail address", "a postal address", "a date or time"

IDENTIFIER, PRIVATE, LICENCE = "an identifier", "a social security number", "a licence number"

_FORMS: Mapping[str, Callable[[Sequence[str]], bool]] = {
    MAIL: holds_mail,
    TELEPHONE: holds_telephone,
    CODED: holds_coded_telephone,
    ADDRESS: holds_address,
    TIME: holds_time,
    IDENTIFIER: holds_identifier,
    PRIVATE: holds_private_number,
    LICENCE: holds_licence,
}

_FOREIGN: Mapping[str, Sequence[str]] = {
    "XTN": (ADDRESS, IDENTIFIER),
    "XAD": (MAIL, TELEPHONE, IDENTIFIER),
    "XPN": (MAIL, TELEPHONE, ADDRESS, TIME, IDENTIFIER, PRIVATE),
    "CWE": (MAIL, TELEPHONE, ADDRESS, TIME, IDENTIFIER, PRIVATE),
    "XON": (MAIL, TELEPHONE, ADDRESS, TIME, IDENTIFIER, PRIVATE),
    "XCN": (ADDRESS, PRIVATE),
    "ST": (MAIL, TELEPHONE, ADDRESS, TIME, IDENTIFIER, PRIVATE),
    "mail": (TELEPHONE, ADDRESS, TIME),
    "JCC": (MAIL, TELEPHONE, ADDRESS, TIME, IDENTIFIER, PRIVATE),
    "SPD": (MAIL, TELEPHONE, ADDRESS, TIME, IDENTIFIER, PRIVATE, LICENCE),
    "ID": (MAIL, TELEPHONE, ADDRESS, TIME, IDENTIFIER, PRIVATE),
    "CX": (CODED, ADDRESS),
    "PLN": (CODED, ADDRESS),
    "DLN": (CODED, ADDRESS, MAIL),
    "DT": (MAIL, TELEPHONE, ADDRESS),
    "DTM": (MAIL, TELEPHONE, ADDRESS),
    "DR": (MAIL, TELEPHONE, ADDRESS),
    "DIN": (MAIL, TELEPHONE, ADDRESS),
}
"""Data type -> the forms that no value of it has. What is not listed (ED, PIP, SI, EI) may look like anything."""

_FOREIGN_FORMS = {kind: [(form, _FORMS[form]) for form in forms] for kind, forms in _FOREIGN.items()}

_NO_MARK = "\udfff"  # no character set decodes to it

SHORTEST_FORM = 8
"""Letters and digits alone, and fewer of them, have none of these forms: the shortest is that of a day."""

BEYOND = "ST"
"""What a field that no version has is held to: text."""

OF_RULES: Mapping[str, str] = {
    "staff_identifier": "CX",
    "person_name": "XPN",
    "role_code": "CWE",
    "healthcare_service": "CWE",
    "gender": "CWE",
    "birth_date": "DTM",
    "department": "CWE",
    "phone": "XTN",
    "postal_address": "XAD",
    "institution_start": "DIN",
    "institution_end": "DIN",
    "email": "mail",
    "preferred_contact": "CWE",
    "job_title": "ST",
    "job_code": "JCC",
    "driver_licence": "DLN",
    "relationship_period": "DR",
    "expected_return": "DT",
    "inactive_reason": "CWE",
    "practitioner_group": "CWE",
    "institution": "CWE",
    "specialty": "SPD",
    "practitioner_number": "PLN",
    "practice_start": "DT",
    "practice_end": "DT",
}
"""The data type that a rule reads, wherever a site has it. A rule that is not listed judges its values itself."""


def type_of_field(segment: str, number: int) -> str:
    """The data type of a field by the standard; "" where it has none."""
    types = STANDARD.get(segment, ())
    return types[number - 1] if 0 < number <= len(types) else ""


def may_repeat(segment: str, number: int) -> bool:
    """Whether a field may repeat by some version of the standard; a field that none has may."""
    return not type_of_field(segment, number) or number in REPEATING[segment]


@lru_cache(maxsize=64)
def glances(component: str, subcomponent: str) -> Mapping[str, tuple[str, re.Pattern[str]]]:
    """By data type a mark and a pattern: a repetition, as sent and without escape sequences, that holds the mark or matches
    is worth a closer look by `foreign_form`: a quick answer for the many that are not, never wrong for those that are."""
    component, subcomponent = map(re.escape, (component, subcomponent))
    part = f"[^{component}]*+{component}"  # a component with the separator behind it
    end = rf" *(?:[{component}{subcomponent}]|\Z)"

    def one_of(codes: Iterable[str]) -> str:
        return f" *(?:{'|'.join(map(re.escape, sorted(codes)))}){end}"

    known = code_tables()
    coded = f"{part}{one_of(USES)}|{part}{part}(?i:{one_of(EQUIPMENT)})"
    likely = {
        TELEPHONE: rf"{coded}| *(?:\+\d|\(\d|\d{{3}}[ .-]\d{{3}})",
        CODED: coded,
        ADDRESS: f"(?:{part}){{4}} *(?i:{_POSTAL.pattern}){end}",
        TIME: r" *(?:19|20)\d{6}",
        IDENTIFIER: f"(?:{part}){{4}}{one_of(known['0203'])}",
        PRIVATE: r" *\d{3}-\d{2}-\d{4}",
        LICENCE: f"{part}{one_of({*known['0203'], *known['0338']})}",
    }
    return {
        kind: ("@" if MAIL in forms else _NO_MARK, re.compile("|".join(likely[form] for form in forms if form != MAIL)))
        for kind, forms in _FOREIGN.items()
    }


def foreign_form(data_type: str, parts: Sequence[str]) -> str:
    """What a repetition looks like that can't be of its type ("a telephone number"); "" where it may be of it."""
    for form, holds in _FOREIGN_FORMS.get(data_type, ()):
        if holds(parts):
            return form
    return ""
