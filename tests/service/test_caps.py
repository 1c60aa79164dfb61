"""What is too much of a kind is refused with a name: never cut off, and never at the cost of other senders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.intake.intake import FeedPolicy, Intake, Prepared
from hl7bridge.intake.verdict import LONG, takes_long
from hl7bridge.mapping.feed_rules import Caps, FeedRules
from hl7bridge.store.store import MessageState
from tests.bridges import Feed, destination, write_configuration
from tests.mapping import building

CAPS = Caps(segments=60, record_segments=10, repetitions=5, records_per_key=3, role_values=12)


def taken(raw: bytes, takes: str = "staff") -> Prepared:
    rules = FeedRules(building.KEY_SYSTEM, takes=frozenset({takes}), caps=CAPS)
    (one,) = Intake(FeedPolicy("staff", rules, {}), b"x" * 32, lambda: 1.8e9).prepare(raw, "peer")
    return one


def locals_of(prepared: Prepared) -> list[str]:
    assert prepared.new is not None
    return [
        finding.local
        for record in prepared.new.records
        for finding in record.record.findings
        if finding.severity == "E"
    ]


def repeated(text: str, count: int) -> str:
    return "~".join(text.replace("#", str(at)) for at in range(count))


def records(count: int) -> bytes:
    segments = [part for at in range(count) for part in (building.mfe(), building.stf(name=f"Rossi^A{'a' * at}"))]
    return building.message(*segments)


def people(count: int) -> list[str]:
    return [part for at in range(count) for part in (building.mfe(key=f"K{at}"), building.stf(key=f"K{at}"))]


# what is large -> (a message with so many of it, the most that is taken, what the answer calls one more)
CASES: dict[str, tuple[Callable[[int], bytes], int, str]] = {
    "repetitions that are read": (
        lambda count: building.message(building.mfe(), building.stf(f10=repeated("^WPN^PH^^^555^100000#", count))),
        5,
        "too-many-repetitions",
    ),
    "repetitions that are not read": (
        lambda count: building.message(building.mfe(), building.stf(f36=repeated("x#", count))),
        5,
        "too-many-repetitions",
    ),
    "repetitions of another segment": (
        lambda count: building.message(building.mfe(), building.stf(), f"PRA|K1|||||{repeated('L#^SL', count)}"),
        5,
        "too-many-repetitions",
    ),
    "segments of a record": (
        lambda count: building.message(building.mfe(), building.stf(), *["ZZ1|x"] * (count - 1)),
        10,
        "too-many-segments",
    ),
    "segments of a message": (
        lambda count: building.message(*people((count - 2) // 2), *["ZZ1|x"] * (count % 2)),
        60,
        "too-many-segments",
    ),
    "records of one person": (records, 3, "too-many-records"),
    "values of roles": (
        lambda count: building.message(
            building.mfe(), building.stf(f4=repeated("C#^Code #", 4)), *(f"ORG|{at}|D{at}^Dep" for at in range(count))
        ),
        3,
        "too-many-values",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_more_than_is_read_is_refused_by_name(case: str) -> None:
    build, most, local = CASES[case]
    assert local not in locals_of(taken(build(most)))
    refused = taken(build(most + 1))
    assert locals_of(refused) == [local]
    assert refused.new is not None
    (answer,) = refused.new.acknowledgments
    assert b"MSA|AE|" in answer.body
    assert b"|198^" in answer.body


@pytest.mark.parametrize("ending", [b"\r", b"\r\n", b"\n"])
@pytest.mark.parametrize("lines_of_text", [0, 50])
def test_segments_are_counted_however_they_end(ending: bytes, lines_of_text: int) -> None:
    build, most, local = CASES["segments of a message"]
    text = b"NTE|" + b"\n".join([b"x"] * lines_of_text) + b"\r" if ending != b"\n" else b"NTE|x\r"
    for count, wanted in ((most - 1, False), (most, True)):
        raw = (build(count) + text).replace(b"\r", ending)
        assert (local in locals_of(taken(raw))) is wanted


def test_records_beyond_the_cap_fail_alone() -> None:
    prepared = taken(records(5))
    assert prepared.new is not None
    assert prepared.new.state is MessageState.ACCEPTED
    assert [record.record.change is None for record in prepared.new.records] == [False, False, False, True, True]


def test_a_personnel_message_and_a_patient_message_are_capped_too() -> None:
    many = building.message(building.stf(), *["ZZ1|x"] * 20, event="PMU^B01").replace(b"\rMFI|", b"\rZMF|")
    assert "too-many-segments" in locals_of(taken(many))
    names = repeated("100000000#^Rossi^Ada^^^^^^NPI", 6)
    visit = "\r".join([building.msh(event="ADT^A01"), "EVN|A01|20260318", "PID|1", f"PV1|1|I|||||{names}", ""]).encode()
    prepared = taken(visit, "adt")
    assert prepared.new is not None
    assert prepared.new.state is MessageState.COUNTED


def test_the_keys_of_a_feed_say_how_much(tmp_path: Path) -> None:
    write_configuration(
        tmp_path, [Feed("staff", building.KEY_SYSTEM)], {"fhir": destination("http://127.0.0.1:9/fhir")}
    )
    feed = tmp_path / "conf/feeds/staff.toml"
    settings = config.load(tmp_path)
    assert feed_policy(settings.feeds["staff"], settings).rules.caps == Caps()
    limits = "\n[limits]\nmax_segments = 200\nmax_record_segments = 20\nmax_repetitions = 11\nmax_records_per_key = 2\n"
    feed.write_text(feed.read_text() + limits)
    settings = config.load(tmp_path)
    assert feed_policy(settings.feeds["staff"], settings).rules.caps == Caps(200, 20, 11, 2)


@pytest.mark.parametrize(
    ("body", "long"),
    [
        (building.message(building.mfe(), building.stf()), False),
        (building.message(building.mfe(), building.stf(f10=repeated("555 #", 200))), True),
        (building.message(building.mfe(), building.stf(f10=repeated("555 #", 200))).replace(b"~", b"*"), True),
        (building.message(*["ZZ1|x"] * 200), True),
        (b"MSH|^~\\&|" + b"|" * 300 + b"\rMFI|", True),
        (b"MSH|^~\\&|" + b"x" * LONG, True),
        (b"", False),
    ],
)
def test_what_takes_long_is_read_beside_the_reactor(body: bytes, long: bool) -> None:
    assert takes_long(body) is long
