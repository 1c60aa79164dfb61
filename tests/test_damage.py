"""Any damage to one field of a staff message: nothing about another person changes, or the answer is no plain AA.

The one exception is a key that becomes another valid key where nothing else names the person: nobody can see that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hl7bridge.errors import MessageError
from hl7bridge.hl7 import batch
from hl7bridge.hl7.message import Message, read_header
from hl7bridge.mapping.messages import events, staff
from hl7bridge.model import StaffChange
from tests.examples import examples
from tests.mapping.building import NOW, message, mfe, stf
from tests.test_mutations import CHARSETS, SAMPLES, STAFF_ALONE

ENVELOPE = ("MSH", "MFI", "EVN", "SFT", "UAC", "NTE")
THREE = message(
    mfe("MAD", "K1"),
    stf("K1", "Rossi^Ada", f2="K1^^^HR^EI", f7="A", f8="CARD^Cardiology", f10="5550101^WPN^PH"),
    "PRA|K1||RN||CARDIO^BOARD^C",
    "ORG|1|CARD^Cardiology",
    mfe("MDC", "K2"),
    mfe("MUP", "K3"),
    stf("K3", "Bianchi^Eva", f7="I", f11="1 High Street^^Northlake^^12345^^B"),
    "NTE|1||K2 has left",
    "LAN|1|fr",
)


def _is_of_staff(raw: bytes) -> bool:
    """MSH first, segments ended by CR: what is damaged is cut at these."""
    return (
        raw.startswith(b"MSH|")
        and b"\r" in raw
        and b"\n" not in raw
        and events.family(read_header(raw)) in events.TAKEN
    )


MESSAGES = [
    part
    for raw in [*SAMPLES.values(), THREE]
    for part in batch.split(raw).messages
    if len(part) < 20_000 and _is_of_staff(part)
]
WORDS = sorted(
    {field for raw in MESSAGES for line in raw.decode("latin-1").split("\r") for field in line.split("|") if field}
)
NAMES = [
    "MFE",
    "MFI",
    "STF",
    "PRA",
    "ORG",
    "EVN",
    "MSH",
    "PID",
    "ZFE",
    "ROL",
    "SFT",
    "NTE",
    "AFF",
    "mfe",
    "st f",
    "S",
    "",
]

Damage = Callable[[str], str]
words = st.one_of(st.sampled_from(WORDS), st.text("K123^~&\\ MDCAI\n", max_size=6))
damages: st.SearchStrategy[Damage] = st.one_of(
    st.builds(lambda word: lambda _: word, words),
    st.builds(
        lambda word, mark: lambda text: text + mark + word, words, st.sampled_from(["~", "^", "&", "", " ", "\n"])
    ),
    st.builds(lambda word, mark: lambda text: word + mark + text, words, st.sampled_from(["~", "^", "&", ""])),
    st.sampled_from([str.lower, lambda text: text[:-1], lambda text: text[1:], lambda _: "", lambda _: '""']),
)


@dataclass(frozen=True)
class Damaged:
    """A message before and after, and whom the damaged field is of: a position, or None for all."""

    before: bytes
    after: bytes
    line: int
    field: int


@st.composite
def damaged(draw: st.DrawFn) -> Damaged:
    """One field of one segment, or (field 0) the segment's name."""
    before = draw(st.sampled_from(MESSAGES))
    lines = before.decode("latin-1").split("\r")
    line = draw(st.integers(1, len(lines) - 2))
    fields = lines[line].split("|")
    at = draw(st.one_of(st.just(0), st.integers(0, len(fields) - 1)))
    fields[at] = draw(st.sampled_from(NAMES)) if at == 0 and draw(st.booleans()) else draw(damages)(fields[at])
    lines[line] = "|".join(fields)
    return Damaged(before, "\r".join(lines).encode("latin-1"), line, at)


def _changes(raw: bytes) -> tuple[dict[str, list[StaffChange]], bool]:
    """What is asked of whom, and whether the answer is a plain AA."""
    found: dict[str, list[StaffChange]] = defaultdict(list)
    try:
        translation = staff.translate(Message(raw, CHARSETS), STAFF_ALONE, NOW)
    except MessageError:
        return found, False
    for record in translation.records:
        if record.change is not None:
            found[record.change.source_key].append(record.change)
    return found, not any(record.failed for record in translation.records)


def _named_by(raw: bytes, line: int) -> tuple[str, int]:
    """The key of the record in which a line stands ("" = of none), and how many of its fields name it."""
    lines = raw.decode("latin-1").split("\r")
    key, count = "", 0
    start = next((at for at in range(line, -1, -1) if lines[at].startswith("MFE|")), 0)
    end = next((at for at in range(line + 1, len(lines)) if lines[at].startswith("MFE|")), len(lines))
    for text in lines[start:end]:
        fields = [*text.split("|"), "", "", "", "", ""]
        sent = {"MFE": fields[4], "STF": fields[1], "PRA": fields[1]}.get(fields[0], "").split("^")[0].strip()
        key, count = key or sent, count + bool(sent)
    return key, count


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_damage_to_one_field_changes_nothing_of_another_person_or_is_said(damage: Damaged) -> None:
    before, _ = _changes(damage.before)
    after, plain = _changes(damage.after)
    if not plain:
        return
    lines = damage.before.decode("latin-1").split("\r")
    key, names = _named_by(damage.before, damage.line)
    if lines[damage.line].startswith(ENVELOPE):
        assert set(after) <= set(before), "somebody else is asked about"
        return
    if names > 1 or not damage.field:
        assert key not in before or key in after, "nothing is asked any more of the person"
    if names > 1:
        for other in {*before, *after} - {key}:
            assert after.get(other) == before.get(other), f"something else is asked of another: {other}"
    elif key:  # the key may have become another's; what is asked of others stands all the same
        for other in set(before) - {key}:
            assert all(change in after.get(other, ()) for change in before[other]), f"lost: {other}"
