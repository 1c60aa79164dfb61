"""The same person in the character sets that senders use: the same Practitioner, whatever bytes the name is made of.

In the sets of several bytes some of the bytes are those of a separator or of the escape character: what is split before it
is decoded comes out wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hl7bridge.hl7.message import Message
from hl7bridge.intake.intake import FeedPolicy, Intake, Prepared
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.model import StaffChange
from tests.mapping.building import KEY_SYSTEM, NOW, RULES, check_resources, values
from tests.mllp_peer import read_answer

LATIN = ("Müller", "Zoë", "Großöd 4")
HAN = ("許能東", "育培運館", "葉右宮時放折吾 4")  # in every set below but the Latin ones
KANA = ("ソポウ", "タミマ", "表ボ 4")
NAMES = {"latin": LATIN, "han": HAN, "kana": KANA}
SEPARATORS = b"|^~\\&"


@dataclass(frozen=True)
class Sent:
    """How a sender writes: MSH-18 and MSH-20, the codec of the bytes, or the feed's `charset` where MSH-18 is blank.

    `escaped`: what is not ASCII travels as \\X..\\ of its bytes in that codec.
    """

    name: str
    msh18: str
    codec: str
    charset: str | tuple[str, ...] = "utf-8"
    msh20: str = ""
    escaped: bool = False


SETS = [
    Sent("latin", "", "utf-8"),
    Sent("latin", "UNICODE UTF-8", "utf-8"),
    Sent("latin", "8859/1", "iso8859-1"),
    Sent("latin", "8859/2", "iso8859-2"),
    Sent("latin", "8859/15", "iso8859-15"),
    Sent("latin", "GB 18030-2000", "gb18030"),
    Sent("latin", "8859/1", "iso8859-1", escaped=True),
    Sent("latin", "UNICODE UTF-8", "utf-8", escaped=True),
    Sent("latin", "8859/1~8859/2", "iso8859-1"),
    Sent("latin", "", "cp1252", "windows-1252"),
    Sent("latin", "", "cp1252", ("utf-8", "windows-1252")),
    Sent("latin", "", "utf-8", ("utf-8", "windows-1252")),
    Sent("latin", "", "iso8859-2", ("ascii", "utf-8", "8859/2")),
    Sent("han", "UNICODE UTF-8", "utf-8"),
    Sent("han", "GB 18030-2000", "gb18030"),
    Sent("han", "BIG-5", "big5"),
    Sent("han", "ISO IR14", "shift_jis"),
    Sent("han", "ISO IR87", "iso2022_jp"),
    Sent("han", "~ISO IR87", "iso2022_jp", msh20="ISO 2022-1994"),
    Sent("han", "ISO IR6~ISO IR87", "iso2022_jp", msh20="ISO 2022-1994"),
    Sent("han", "GB 18030-2000", "gb18030", escaped=True),
    Sent("han", "", "big5", ("utf-8", "big5")),
    Sent("han", "", "shift_jis", ("utf-8", "shift_jis")),
    Sent("kana", "UNICODE UTF-8", "utf-8"),
    Sent("kana", "ISO IR14", "shift_jis"),
    Sent("kana", "ISO IR87", "iso2022_jp"),
    Sent("kana", "~ISO IR87", "iso2022_jp", msh20="ISO 2022-1994"),
    Sent("kana", "ISO IR13~ISO IR87", "iso2022_jp", msh20="ISO 2022-1994"),
    Sent("kana", "GB 18030-2000", "gb18030"),
    Sent("kana", "", "shift_jis", ("utf-8", "shift_jis")),
    Sent("kana", "", "euc_jp", ("utf-8", "euc_jp")),
]


def message(sent: Sent) -> bytes:
    def written(text: str) -> str:
        if not sent.escaped:
            return text
        return "".join(c if c.isascii() else f"\\X{c.encode(sent.codec).hex().upper()}\\" for c in text)

    family, given, street = map(written, NAMES[sent.name])
    lines = [
        f"MSH|^~\\&|HR|NORTH|BRIDGE|FHIR|20260318113000+0000||MFN^M02|C1|P|2.5.1||||||{sent.msh18}||{sent.msh20}",
        "MFI|PRA||UPD|||AL",
        "MFE|MAD|R1||K1|CWE",
        f"STF|K1|1234567893^^^^NPI|{family}^{given}^Ann \\T\\ Bea|O|F|19790412|A|{family} \\T\\ {given}||"
        f"^WPN^PH^^44^113^4960123|{street}^^{given}^^LS1",
        f"EDU|1|MD|||19890604|{given}{family}",
    ]
    return ("\r".join(lines) + "\r").encode("ascii" if sent.escaped else sent.codec)


def change_of(sent: Sent) -> StaffChange:
    (record,) = staff.translate(Message(message(sent), sent.charset), RULES, NOW).records
    assert record.change is not None, record.findings
    return record.change


def set_name(sent: Sent) -> str:
    listed = sent.charset if isinstance(sent.charset, str) else "+".join(sent.charset)
    return f"{sent.name} {sent.msh18 or 'by the feed ' + listed}{' escaped' if sent.escaped else ''} as {sent.codec}"


@pytest.mark.parametrize("sent", SETS, ids=set_name)
def test_the_same_person(sent: Sent) -> None:
    change = change_of(sent)
    family, given, street = NAMES[sent.name]
    assert values(change, "name") == [{"use": "official", "family": family, "given": [given, "Ann & Bea"]}]
    (address,) = values(change, "address")
    assert (address["line"], address["city"], address["postalCode"]) == ([street], given, "LS1")
    assert values(change, "qualification")[0]["issuer"] == {"display": given + family}
    assert [role.key for role in change.roles] == [f"STF-8:{family} & {given}"]
    assert change == change_of(next(one for one in SETS if one.name == sent.name))
    check_resources(change)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("han", "big5"), ("han", "gb18030"), ("han", "shift_jis"), ("han", "iso2022_jp"), ("kana", "shift_jis")],
)
def test_the_names_hold_bytes_of_separators(name: str, codec: str) -> None:
    """What makes the cases above hard."""
    assert set("".join(NAMES[name]).encode(codec)) >= set(b"|^\\")


def test_a_switch_of_the_set_by_escape_is_left_out_and_said() -> None:
    raw = message(SETS[0]).replace("Zoë".encode(), b"Zo\\C2842\\e\\C2D41\\")
    (record,) = staff.translate(Message(raw), RULES, NOW).records
    assert record.change is not None
    assert values(record.change, "name")[0]["given"][0] == "Zoe"
    assert "escape-left-out" in Message(raw).deviations


# --- what cannot be decoded ------------------------------------------------------------------------------------------


def taken(raw: bytes, charset: str | tuple[str, ...] = "utf-8", takes: str = "staff") -> Prepared:
    policy = FeedPolicy("hr", FeedRules(KEY_SYSTEM, takes=frozenset(takes.split())), {}, charset=charset)
    (prepared,) = Intake(policy, b"\0" * 32, clock=NOW.timestamp).prepare(raw, "test")
    return prepared


@pytest.mark.parametrize(
    ("sent", "charset"),
    [
        (Sent("latin", "UNICODE UTF-8", "iso8859-1"), "utf-8"),
        (Sent("latin", "ASCII", "utf-8"), "utf-8"),
        (Sent("latin", "", "iso8859-1"), "utf-8"),
        (Sent("latin", "", "iso8859-1"), ("ascii", "utf-8")),
        (Sent("latin", "UNICODE UTF-8", "iso8859-1"), ("utf-8", "8859/1")),
        (Sent("han", "UNICODE UTF-8", "big5"), "utf-8"),
    ],
    ids=["utf-8 said", "ascii said", "feed", "feed, a list", "what is said beats the feed", "big5"],
)
def test_undecodable_bytes_are_refused_by_place_and_kept(sent: Sent, charset: str | tuple[str, ...]) -> None:
    raw = message(sent)
    prepared = taken(raw, charset)
    assert prepared.new is not None
    assert prepared.new.body == raw
    (given,) = prepared.new.acknowledgments
    answer = read_answer(given.body)
    assert answer.code == "AE"
    first = raw.index(b"STF") + next(n for n, byte in enumerate(raw[raw.index(b"STF") :]) if byte > 127)
    assert f"byte {first} (in STF-3)".encode() in given.body
    # A field's text is not repeated: neither as it came nor as it reads in another set.
    assert b"M\xfcller" not in given.body
    assert "Müller".encode() not in given.body


def test_undecodable_bytes_are_not_kept_beside_patient_messages() -> None:
    prepared = taken(message(Sent("latin", "", "iso8859-1")), takes="staff adt")
    assert prepared.new is not None
    assert prepared.new.body is None
    assert read_answer(prepared.new.acknowledgments[0].body).code == "AE"
