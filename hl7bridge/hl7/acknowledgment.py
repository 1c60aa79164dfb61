"""Acknowledgments: what a sender asks for, and the ACK or MFK that answers it. Pure: time and control id are passed in.

HL7 v2.5.1 chapter 2: 2.9.2 (original mode), 2.9.3 (enhanced mode), 2.14.1 (ACK: also where an error precludes
application processing), 2.15.5 (ERR), 2.15.8 (MSA), 2.15.9.15 and .16 (MSH-15, MSH-16); chapter 8: 8.4.1 (MFK), 8.5.1.6
(MFI-6), 8.5.3 (MFA). Tables 0008, 0155, 0179, 0181, 0357, 0516.

    MSH-15     MSH-16     accept acknowledgment       application acknowledgment
    empty      empty      none                        one, on the same connection ("original" mode)
    NE         NE         none                        none
    AL ER SU   NE         always / CE, CR / CA        none
    NE         AL ER SU   none                        always / AE, AR / AA
    AL ER SU   AL ER SU   as its own value says       as its own value says

One of the two left empty counts as NE; what a feed makes of the two may differ (`Mode`). A value that table 0155 does not
hold counts as empty: the sender of a shifted MSH still gets its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hl7bridge.hl7 import echoing
from hl7bridge.hl7.echoing import V2_1, V2_2, V2_3, V2_3_1, V2_5, V2_6, V2_7, Version
from hl7bridge.hl7.escapes import Separators, escaping
from hl7bridge.hl7.header import Header
from hl7bridge.model import Finding, Location, RecordEcho, Severity

POSITIVE = frozenset({"AA", "CA"})

# Findings beyond this many are counted, not listed.
MOST_ERRORS = 50

# MSA-3 is ST with 80 characters up to version 2.6.
_MSA_3_LENGTH = 80

_CONDITIONS = frozenset({"AL", "NE", "ER", "SU"})

# Message types of table 0076 that answer another message: their structures begin MSH, MSA.
# fmt: off
_RESPONSES = frozenset({
    "ACK", "ADR", "BRP", "BRT", "DSR", "EDR", "ERP", "MCF", "MFK", "MFR", "NMR", "ORA", "ORB", "ORD", "ORF", "ORG",
    "ORI", "ORL", "ORN", "ORP", "ORR", "ORS", "ORX", "OSR", "PPT", "PPV", "PRR", "PTR", "QCK", "RAR", "RCI", "RCL",
    "RDR", "RDY", "RER", "RGR", "ROR", "RPA", "RPI", "RPL", "RPR", "RRA", "RRD", "RRE", "RRG", "RRI", "RRO", "RSP",
    "RTB", "SQR", "SRR", "TBR", "VXR", "VXX",
})
# fmt: on

_ERROR_TEXTS = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "104": "Value too long",
    "198": "Non-Conformant Cardinality",
    "199": "Other HL7 Error",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}

# Codes that came with 2.7 and 2.9, as the versions with the old ERR would have said them.
_ELDERS = {"104": "102", "198": "207", "199": "207"}


# --- what is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswersAsked:
    """What MSH-15 and MSH-16 ask for. `accept` and `application` hold a code of table 0155, "" in original mode."""

    mode: Literal["original", "enhanced"]
    accept: str = ""
    application: str = ""

    def wants_accept(self, positive: bool) -> bool:
        """Whether a CA (`positive`), or a CE or CR, is to be sent. Never in original mode."""
        return self.mode == "enhanced" and _wanted(self.accept, positive)

    def wants_application(self, positive: bool) -> bool:
        """Whether an AA (`positive`), or an AE or AR, is to be sent. Always in original mode."""
        return self.mode == "original" or _wanted(self.application, positive)


def _wanted(condition: str, positive: bool) -> bool:
    """Table 0155, and 0179, which says the same of records."""
    return condition == "AL" or condition == ("SU" if positive else "ER")


Mode = Literal["as-asked", "original", "enhanced"]
"""How far MSH-15 and MSH-16 are heeded. "original": not at all, one answer to each message. "enhanced": one left empty
counts as AL."""


def asked(header: Header, mode: Mode = "as-asked") -> AnswersAsked:
    """What MSH-15 and MSH-16 ask for; see the table at the top, and `Mode`."""
    return header.once(("asked", mode), lambda: _asked(header, mode))


def _asked(header: Header, mode: Mode) -> AnswersAsked:
    accept, application = header.accept_type.upper(), header.application_type.upper()
    if mode == "original" or (mode == "as-asked" and not {accept, application} & _CONDITIONS):
        return AnswersAsked("original")
    empty = "AL" if mode == "enhanced" else "NE"
    return AnswersAsked(
        "enhanced",
        accept if accept in _CONDITIONS else empty,
        application if application in _CONDITIONS else empty,
    )


def is_acknowledgment(header: Header) -> bool:
    """Whether the message answers another one (ACK, MFK, a query response): such a message is never answered."""
    return header.message_type.upper() in _RESPONSES


# --- what is answered ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MfaLine:
    """What became of one record: one MFA segment.

    `text` becomes MFA-4.2, in our own words; `completed`, an HL7 time, MFA-3.
    """

    echo: RecordEcho
    success: bool
    text: str = ""
    completed: str = ""


def hl7_time(moment: datetime) -> str:
    """An HL7 time to the second with its offset, `20260318113055+0000`. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment.strftime("%Y%m%d%H%M%S%z")


def build(
    header: Header,
    kind: str,
    code: str,
    *,
    control_id: str,
    now: datetime,
    findings: Sequence[Finding] = (),
    text: str = "",
    records: Sequence[MfaLine] | None = None,
    master_file: str | None = None,
    response_level: str = "",
    codec: str = "latin-1",
    fallback_version: str = "2.5.1",
) -> bytes:
    """One acknowledgment, unframed, its segments ended by CR.

    kind         "original", "accept" or "application"
    code         MSA-1, table 0008
    control_id   our own MSH-10
    now          MSH-7, aware
    findings     become ERR; before 2.5 the errors alone, as ERR has no severity there
    text         MSA-3, and from 2.7 on, where that is withdrawn, ERR-8. Without it a negative MSA-3 tells the first error
    records      one MFA each, as far as MFI-6 asks for them
    master_file  the MFI segment of the answer. It makes the answer to an MFN an MFK; without it, and as an accept
                 acknowledgment, the answer is the general ACK
    response_level  MFI-6, table 0179; "" and anything unknown count as AL
    codec        the Python codec that read the message: its echoes go back as the bytes that they were
    fallback_version  for an MSH-12 that is empty or names no version

    MSH-3/4 and MSH-5/6 change places; they, the separators, MSH-11, MSH-12, MSH-18 and MSH-20 are echoed as far as they
    are valid (`echoing`); MSA-2 is MSH-10 byte for byte. Whatever the message held, there is no VT, no FS and no line break
    within a segment.

    Raises ValueError for an unknown `kind` or a naive `now`.
    """
    if kind not in ("original", "accept", "application"):
        raise ValueError(f"not a kind of acknowledgment: {kind!r}")
    form = _form_for(header, kind, master_file is not None, codec, fallback_version)
    version, is_mfk = form.version, form.is_mfk
    writer = _Writer(form.separators, codec)
    listed, left_out = _listed(findings)
    has_err = not (is_mfk and V2_3 <= version < V2_3_1)
    _write_msa(writer, header, code, version, listed, text)
    if version >= V2_5:
        _write_err(writer, _with_text(listed, code, text, version), left_out)
    elif has_err:
        _write_old_err(writer, listed, version)
    if is_mfk:
        assert master_file is not None
        writer.segment(master_file)
        _write_mfa(writer, records or (), response_level, version)
    written = bytes(writer.written)
    return _header(form, header, writer, control_id, hl7_time(now), written) + written


class _Writer:
    """Segments as bytes: what MSH repeats goes back through latin-1, byte for byte, the rest through the message's codec."""

    def __init__(self, separators: Separators, codec: str) -> None:
        self.separators = separators
        self.written = bytearray()
        self.codec = codec
        self._escaping = escaping(separators)

    def say(self, text: str) -> str:
        """Text of ours, escaped."""
        return text.translate(self._escaping)

    def time(self, text: str) -> str:
        """An HL7 time, without its offset where the sign of that is a separator."""
        return text if echoing.is_writable(text, self.separators) else text.partition(text[14:15])[0]

    def code(self, text: str) -> str:
        """The code of an echoed field that holds a code alone (an ID)."""
        for mark in (self.separators.repetition, self.separators.component, self.separators.subcomponent):
            text = text.split(mark, 1)[0] if mark else text
        return text.strip()

    def codes(self, text: str) -> str:
        """The same of one that repeats."""
        mark = self.separators.repetition
        return mark.join(map(self.code, text.split(mark))) if mark else self.code(text)

    def components(self, *parts: str) -> str:
        """Texts of ours as components; the first alone where the message has no component separator."""
        return self._joined(self.separators.component, [self.say(part) for part in parts])

    def subcomponents(self, *parts: str) -> str:
        """Texts of ours as sub-components; the first alone where the message has no such separator."""
        return self._joined(self.separators.subcomponent, [self.say(part) for part in parts])

    def location_and_code(self, location: Sequence[str], code: str) -> str:
        """ELD: segment, sequence and field of a location, then the code."""
        parts = [self.say(part) for part in (*location, "", "")[:3]]
        return self._joined(self.separators.component, [*parts, code])

    def _joined(self, separator: str, parts: list[str]) -> str:
        return separator.join(_trimmed(parts)) if separator else parts[0]

    def segment(self, *fields: str) -> None:
        """Fields 0 (the name) to n; empty ones at the end are left out."""
        self.written += _line(self._text(fields).encode(self.codec, "replace"))

    def raw(self, fields: Sequence[str]) -> bytes:
        """A segment of raw text of the header alone; it is not added to what is written."""
        return _line(self._text(fields).encode("latin-1", "replace"))

    def header_then_ours(self, header: Sequence[str], ours: Sequence[str]) -> None:
        """The same with raw text of the header first."""
        ours = _trimmed(ours)
        begun = self._text(header) if not ours else self.separators.field.join(header)
        text = self.separators.field.join(("", *ours)) if ours else ""
        self.written += _line(begun.encode("latin-1", "replace") + text.encode(self.codec, "replace"))

    def _text(self, fields: Sequence[str]) -> str:
        return self.separators.field.join(_trimmed(fields))


def _line(line: bytes) -> bytes:
    return line.translate(None, b"\x0b\x1c\r\n") + b"\r"


def _trimmed(parts: Sequence[str]) -> Sequence[str]:
    end = len(parts)
    while end and not parts[end - 1]:
        end -= 1
    return parts[:end]


@dataclass(frozen=True, slots=True)
class _Form:
    """What the answers to one sender's messages have in common. `fields`: MSH, without what differs from one to the next:
    MSH-7, MSH-10, and MSH-18, which must be true of what is written. `plain_set`: MSH-18 of an answer in plain ASCII."""

    version: Version
    separators: Separators
    is_mfk: bool
    fields: tuple[str, ...]
    plain_set: str


def _form_for(header: Header, kind: str, echoes_file: bool, codec: str, fallback_version: str) -> _Form:
    key = "form", kind, echoes_file, codec, fallback_version
    return header.once(key, lambda: _form(header, kind, echoes_file, codec, fallback_version))


def _form(header: Header, kind: str, echoes_file: bool, codec: str, fallback_version: str) -> _Form:
    version = echoing.version_of(header.version) or echoing.version_of(fallback_version) or V2_5
    separators = echoing.separators_for(header, version)
    asks = echoes_file and kind != "accept" and header.message_type == "MFN"
    is_mfk = asks and version > V2_1 and bool(echoing.trigger_event(header))
    # What acknowledges must not be acknowledged (2.9.3): it says so, and names no mode where the sender named none.
    condition = "" if kind == "original" or version < V2_2 else "NE"
    fields = (
        "MSH",
        separators.encoding_characters,
        *(echoing.name(header, number, separators, version, codec) for number in (5, 6, 3, 4)),
        "",
        "",
        _message_type(header, version, is_mfk, separators),
        "",
        echoing.processing_id(header, separators, version),
        echoing.version_id(header, separators, version),
        "",
        "",
        condition,
        condition,
        *[""] * 3,
        echoing.set_handling(header, version),
    )
    plain_set = echoing.character_set(header, b"", separators.repetition, version)
    return _Form(version, separators, is_mfk, fields, plain_set)


def _header(form: _Form, header: Header, writer: _Writer, control_id: str, now: str, behind: bytes) -> bytes:
    """MSH; what it says of the character set is true of all that is written, `behind` it as well."""
    fields = [*form.fields]
    fields[6], fields[9], fields[17] = writer.time(now), control_id, form.plain_set
    written = writer.raw(fields)
    if not (written.isascii() and behind.isascii()) or b"\x1b" in written + behind:
        fields[17] = ""
        written = writer.raw(fields) + behind
        fields[17] = echoing.character_set(header, written, form.separators.repetition, form.version)
        written = writer.raw(fields)
    return written


def _message_type(header: Header, version: Version, is_mfk: bool, separators: Separators) -> str:
    """MSH-9: the type alone in 2.1, with the event from 2.2 on, with the structure from 2.3.1 on (or where it was sent)."""
    name = "MFK" if is_mfk else "ACK"
    event = echoing.trigger_event(header)
    if version < V2_2 or not event:
        return name
    parts = [name, event]
    if version >= V2_3_1 or header.structure:
        # Up to 2.3 each event had its own structure; from 2.3.1 on all of them share MFK_M01.
        own = event if version < V2_3_1 else "M01"
        structure = f"MFK_{own}" if is_mfk else "ACK"
        parts += [structure] if echoing.is_writable(structure, separators) else []
    return separators.component.join(parts)


def _write_msa(
    writer: _Writer, header: Header, code: str, version: Version, listed: Sequence[Finding], text: str
) -> None:
    """MSA-3 up to 2.6, as many senders show nothing else; MSA-6 from 2.2 to 2.4, where ERR says less."""
    ours = []
    first = next((f for f in listed if f.severity is Severity.ERROR), None) if code not in POSITIVE else None
    if version < V2_7:
        if not text and first is not None:
            text = f"{first.location}: {first.text}" if first.location else first.text
        ours.append(writer.say(text if len(text) <= _MSA_3_LENGTH else text[: _MSA_3_LENGTH - 3] + "..."))
        if first is not None and V2_2 <= version < V2_5:
            ours += ["", "", writer.components(*_coded(first, version))]
    writer.header_then_ours(["MSA", code, header.field(10)], ours)


def _listed(findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The findings that ERR lists, errors first, and those beyond the bound."""
    order = (Severity.ERROR, Severity.WARNING, Severity.INFORMATION)
    ordered = sorted(findings, key=lambda finding: order.index(finding.severity))
    return ordered[:MOST_ERRORS], ordered[MOST_ERRORS:]


def _with_text(listed: list[Finding], code: str, text: str, version: Version) -> list[Finding]:
    """The findings with `text` among them where there is no MSA-3 to hold it."""
    if not text or version < V2_7 or any(finding.text == text for finding in listed):
        return listed
    if code in POSITIVE:
        return [*listed, Finding("0", "", text, Severity.INFORMATION)]
    return [Finding("207", "", text), *listed]


def _write_err(writer: _Writer, listed: Sequence[Finding], left_out: Sequence[Finding]) -> None:
    """ERR from 2.5 on, one per finding: ERR-2 location, ERR-3 table 0357, ERR-4 severity, ERR-5 our code, ERR-8 text."""
    if left_out:
        more = left_out[0]._replace(local="more-findings", text=f"{len(left_out)} more are not listed", location=None)
        listed = [*listed, more._replace(position=0)]
    for finding in listed:
        writer.segment(
            "ERR",
            "",
            writer.components(*_place(finding)),
            writer.components(*_coded(finding, V2_5)),
            finding.severity,
            writer.components(finding.local, "", "L") if finding.local else "",
            "",
            "",
            writer.say(finding.text),
        )


def _write_old_err(writer: _Writer, listed: Sequence[Finding], version: Version) -> None:
    """The one ERR of 2.1 to 2.4: ERR-1 repeats `segment^sequence^field^code`, the errors alone."""
    repetitions = []
    for finding in listed:
        if finding.severity is Severity.ERROR:
            coded = _coded(finding, version)
            code = writer.subcomponents(*coded) if version >= V2_3 else writer.say(coded[0])
            repetitions.append(writer.location_and_code(_place(finding), code))
    if repetitions:
        mark = writer.separators.repetition
        writer.segment("ERR", mark.join(repetitions) if mark else repetitions[0])


def _place(finding: Finding) -> tuple[str, ...]:
    """ERL (2.A.28): segment, sequence, field, repetition, component; the record's MFE where nothing narrower is known."""
    location = finding.location or (Location("MFE", finding.position) if finding.position else None)
    if location is None:
        return ("",)
    numbers = (location.occurrence, location.field, location.repetition, location.component)
    return (location.segment, *(str(number) if number else "" for number in numbers))


def _coded(finding: Finding, version: Version) -> tuple[str, str, str]:
    """The code of table 0357 with its text; in the old forms a newer code is given as the older one that stands for it."""
    code = finding.code
    if version < V2_5:
        code = _ELDERS.get(code, code)
    return code, _ERROR_TEXTS.get(code, ""), "HL70357"


def _write_mfa(writer: _Writer, records: Sequence[MfaLine], response_level: str, version: Version) -> None:
    """One MFA per record that MFI-6 asks for (8.5.1.6); MFA-6 from 2.3.1 on."""
    level = response_level.strip().upper()
    if level not in _CONDITIONS:
        level = "AL"
    for record in records:
        if not _wanted(level, record.success):
            continue
        echo, status = record.echo, "S" if record.success else "U"
        key_type = writer.codes(echo.key_type) or ("" if not echo.key else "CWE" if version >= V2_6 else "CE")
        writer.segment(
            "MFA",
            writer.code(echo.event),
            echo.control_id,
            writer.time(record.completed),
            writer.components(status, record.text, "HL70181") if record.text else status,
            echo.key,
            key_type if version >= V2_3_1 else "",
        )
