"""What an invented person does, as an HL7 message: MFN^M02 with many records, or PMU^B01 to B08, in any version from 2.3 on.

HL7 v2.9 chapters 8.4 (MFN^M02) and 15.3 (PMU); segments appear in the versions that have them (ORG, LAN and EDU from 2.4,
CER from 2.5 on), and identifiers, names and telephone numbers in the form of each version.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from hl7bridge.hl7.escapes import Separators, escape
from hl7bridge.invented.people import DEGREES, LANGUAGES, SPECIALTIES, UNITS, Person

VERSIONS = ("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9")
SIZES = ("small", "usual", "large")
"""How much of a record is filled: who it is; all that a directory uses; education, certificates, a note as well."""

PERSONNEL_FIRST = (2, 4)
MASTER_FILE_STEPS = frozenset({"join", "update", "move", "leave", "return", "mistake"})
_RECORD_EVENTS = {"join": "MAD", "leave": "MDC", "return": "MAC", "mistake": "MDL"}
_TRIGGER_EVENTS = {
    "join": "B01",
    "update": "B02",
    "move": "B02",
    "mistake": "B03",
    "return": "B04",
    "away": "B05",
    "leave": "B06",
    "certify": "B07",
    "revoke": "B08",
}
_STRUCTURES = {"B02": "B01", "B08": "B08"}

_SEPARATORS = Separators()


def numbers(version: str) -> tuple[int, ...]:
    """ "2.5.1" -> (2, 5, 1), to compare."""
    return tuple(map(int, version.split(".")))


def personnel_steps(version: str) -> frozenset[str]:
    """The steps that PMU of a version can tell: certificates from 2.5 on."""
    steps = frozenset(_TRIGGER_EVENTS)
    return steps if numbers(version) >= (2, 5) else steps - {"certify", "revoke"}


def text(value: str) -> str:
    """A value as it stands in a field."""
    return escape(value, _SEPARATORS)


def stamp(moment: datetime) -> str:
    """A time in UTC, exact to the second, with its offset."""
    return f"{moment:%Y%m%d%H%M%S}+0000"


def header(kind: str, event: str, structure: str, control_id: str, version: str, when: datetime) -> str:
    """MSH. The structure (MSH-9.3) came with 2.3.1."""
    name = f"{kind}^{event}" + (f"^{kind}_{structure}" if numbers(version) > (2, 3) else "")
    sent = f"MSH|^~\\&|STAFFGEN|INVENTED|HL7BRIDGE|DIRECTORY|{stamp(when)}"
    return f"{sent}||{name}|{control_id}|P|{version}||||||UNICODE UTF-8"


def joined(lines: Iterable[str]) -> bytes:
    """The bytes of a message."""
    return ("\r".join(lines) + "\r").encode()


def master_file(control_id: str, version: str, when: datetime, size: str, steps: Iterable[tuple[str, Person]]) -> bytes:
    """One MFN^M02 with a record for each (step, person)."""
    lines = [header("MFN", "M02", "M02", control_id, version, when), "MFI|STF^Staff master file^HL70175||UPD|||AL"]
    key_type = "" if numbers(version) <= (2, 3) else "|CE" if numbers(version) < (2, 6) else "|CWE"
    for place, (step, someone) in enumerate(steps, 1):
        event = _RECORD_EVENTS.get(step, "MUP")
        lines.append(f"MFE|{event}|{control_id}.{place}|{stamp(when)}|{someone.key}{key_type}")
        lines += staff(someone, version, when, size)
    return joined(lines)


def personnel(control_id: str, version: str, when: datetime, size: str, step: str, someone: Person) -> bytes:
    """One PMU^B01 to B08 about what the person did."""
    event = _TRIGGER_EVENTS[step]
    structure = "B04" if event in ("B05", "B06") else _STRUCTURES.get(event, event)
    lines = [header("PMU", event, structure, control_id, version, when), f"EVN|{event}|{stamp(when)}"]
    if event in ("B03", "B07", "B08"):
        lines.append("|".join(_staff_fields(someone, version, when)[:4]))
    elif event == "B05":
        fields = _staff_fields(someone, version, when)
        if numbers(version) >= (2, 4):
            fields += [""] * (36 - len(fields))
            fields[35] = f"{when + timedelta(days=30):%Y%m%d}"
        lines.append("|".join(fields))
    else:
        lines += staff(someone, version, when, size)
    if event in ("B07", "B08"):
        lines.append(certificate(someone, version, when))
    return joined(lines)


def staff(someone: Person, version: str, when: datetime, size: str) -> list[str]:
    """STF and what goes with it, as much as `size` says."""
    lines = ["|".join(_staff_fields(someone, version, when))]
    if size == "small":
        return lines
    lines.append(f"PRA|{someone.key}||{someone.degree}||{someone.specialty}|{someone.npi}^NPI")
    if numbers(version) < (2, 4):
        return lines
    unit, specialty = someone.unit, f"{someone.specialty}^{text(SPECIALTIES[someone.specialty])}^NUCC"
    lines.append(
        f"ORG|1|{unit}^{text(UNITS[unit])}^99UNIT|D^Department^HL70474|Y||||{specialty}|{someone.joined:%Y%m%d}"
    )
    lines.append(f"LAN|1|{someone.language}^{LANGUAGES[someone.language]}^ISO639|3^Speak^HL70403")
    if size == "large":
        graduated = someone.born.year + 26
        lines.append(
            f"EDU|1|{someone.degree}^{DEGREES[someone.degree]}^HL70360|{graduated - 4}0901^{graduated}0531"
            f"||{graduated}0531|Invented School of Medicine"
        )
        if numbers(version) >= (2, 5) and someone.certified:
            lines.append(certificate(someone, version, when))
    return lines


def _staff_fields(someone: Person, version: str, when: datetime) -> list[str]:
    """STF up to field 16. STF-2 is a CE up to 2.3, XTN.1 gave way to its parts with 2.7."""
    own, national = someone.key, someone.npi
    identifiers = own
    if numbers(version) > (2, 3):
        identifiers = f"{own}^^^INVENTED&2.999.7.1&ISO^EI~{national}^^^NPI&2.16.840.1.113883.4.6&ISO^NPI"
    number = f"{someone.extension:04d}"
    phone = f"^WPN^PH^^1^555^555{number}" if numbers(version) >= (2, 7) else f"(555)555-{number}^WPN^PH"
    left = someone.standing in ("left", "removed")
    active = "" if someone.standing == "away" else "I" if left else "A"
    start = f"{someone.joined:%Y%m%d}"
    return [
        "STF",
        own,
        identifiers,
        f"{someone.family}^{someone.given}^{someone.middle}^^Dr",
        "",
        someone.sex,
        f"{someone.born:%Y%m%d}",
        active,
        f"{someone.unit}^{text(UNITS[someone.unit])}^99UNIT" if numbers(version) < (2, 4) else "",
        "",
        phone,
        f"{100 + someone.number % 900} Invented Street^^Sampleton^MN^55599^USA^B",
        start,
        f"{when:%Y%m%d}" if left else "",
        "",
        someone.mail,
    ]


def certificate(someone: Person, version: str, when: datetime) -> str:
    """CER: granted, or revoked where the person has it no more."""
    fields = ["CER", "1", f"C{someone.number:06d}", "", "Invented Safety Board"] + [""] * 27
    fields[10] = "FLUORO^Fluoroscopy permit^99CERT"
    if someone.certified:
        fields[23] = fields[25] = f"{someone.joined:%Y%m%d}"
        fields[27] = f"{when.year + 3}1231"
    else:
        fields[29] = f"{when:%Y%m%d}"
        fields[31] = "R^Revoked^HL70536"
    return "|".join(fields).rstrip("|")
