"""What the journey tests share: messages of invented people written out by hand, and a sender for one question."""

from __future__ import annotations

from tests.bridges import Bridge
from tests.mllp_peer import Answer, Connection, read_answer

KEY_SYSTEM = "urn:uuid:2f9a7c1e-8d36-4f0b-9c55-1b7de2a40c11"


def mfn(
    control_id: str,
    *records: str,
    response_level: str = "AL",
    accept: str = "",
    application: str = "",
    sender: str = "HRSYS",
    when: str = "20260302080000+0000",
) -> bytes:
    """An MFN^M02 of version 2.5.1: MSH and MFI, then the records' segments (one on each line)."""
    lines = [
        f"MSH|^~\\&|{sender}|NORTHSIDE|HL7BRIDGE|FHIR|{when}||MFN^M02^MFN_M02|{control_id}|P|2.5.1|||{accept}|{application}"
        "||UNICODE UTF-8",
        f"MFI|PRA^Practitioner^HL70175||UPD|||{response_level}",
    ]
    for record in records:
        lines += [line.strip() for line in record.strip().splitlines()]
    return ("\r".join(lines) + "\r").encode()


def ask(bridge: Bridge, body: bytes, feed: str = "staff") -> Answer:
    """Send on a connection of its own; the one answer."""
    with Connection(("127.0.0.1", bridge.ports[feed])) as connection:
        return read_answer(connection.ask(body))


def person(
    action: str,
    key: str,
    name: str,
    *,
    phone: str = "",
    flag: str = "A",
    unit: str = "",
    npi: str = "",
    record: str = "",
) -> str:
    """MFE and STF of a person, PRA when there is an NPI, ORG when there is a unit. `record` = MFE-2."""
    lines = [
        f"MFE|{action}|{record or key}||{key}|CWE",
        f"STF|{key}||{name}||F||{flag}|||{f'^WPN^PH^^^^^^^^^{phone}' if phone else ''}",
    ]
    if npi:
        lines.append(f"PRA|{key}|||||{npi}^NPI")
    if unit:
        lines.append(f"ORG|1|{unit}|D^Department^HL70474|Y")
    return "\n".join(lines)
