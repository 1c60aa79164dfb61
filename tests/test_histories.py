"""What holds of whole histories of a person: the last full record decides, whatever came before it, and however often.

A full record supplies every field that this test varies. hypothesis makes the histories; the mapping and the plan are the
real ones. The stale rule is shown with store, delivery and sandbox: messages arrive in any order.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from hl7bridge.destinations.fhir.plan import plan_practitioner, plan_role
from hl7bridge.destinations.fhir.roles import role_at_server, role_intents
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import Interaction, JsonObject, Kind, StaffChange, Written
from tests.examples import examples
from tests.mapping.building import KEY_SYSTEM, NOW, message, mfe, segment, translate
from tests.test_decision_table import World, mfn

FEED = FeedRules(KEY_SYSTEM, authorities={"NORTH": "urn:oid:2.999.1", "SOUTH": "urn:oid:2.999.2"})
RULES = DestinationRules("ehr", "http://127.0.0.1/fhir", mode="write", withheld=frozenset())


# --- full records ----------------------------------------------------------------------------------------------------


def listed(*items: str) -> st.SearchStrategy[str]:
    """One to three of them as repetitions."""
    return st.lists(st.sampled_from(items), min_size=1, max_size=3, unique=True).map("~".join)


fields = st.fixed_dictionaries(
    {
        "f2": listed("E7^^^NORTH^EI", "E8^^^NORTH^EI", "B7^^^SOUTH", "1234567893^^^^NPI"),
        "f3": st.sampled_from(["Rossi^Ada^Mia^JR^Dr^MD^L", "Bianchi^Ada", "Rossi^Ada~Bianchi^Ada^^^^^M", "Rossi^Bea"]),
        "f4": listed("RN^Nurse^L", "PHY^Physician^L", "ADM"),
        "f5": st.sampled_from("FMOU"),
        "f6": st.sampled_from(["19790412", "19790413", "1979"]),
        "f7": st.sampled_from("AAAI"),
        "f8": listed("CARD^Cardiology^L", "ONC^Oncology^L", "ICU^Intensive care^L", "ED"),
        "f9": listed("MED^Medicine^HL70069", "SUR^Surgery^HL70069"),
        "f10": listed("^WPN^PH^^44^113^4960123", "^PRN^CP^^^7700^900123", "^WPN^FX^^44^113^4960124", "^WPN^PH^^^^555"),
        "f11": listed("1 High St^^Leeds^WY^LS1^GBR^O", "2 Low Rd^^Leeds^WY^LS6^GBR^H", "3 Mid Ln^^York^^YO1"),
        "f12": st.sampled_from(["20150901", "20200101"]),
        "f15": st.sampled_from(["ada@example.org", "a.rossi@example.org"]),
    }
)
specialties = listed("207R00000X^Board^C^20050101", "KIDS^Board^C", "CARD")
languages = st.lists(st.sampled_from(["fr^French^ISO639", "es", "it^^ISO639"]), min_size=1, max_size=2, unique=True)
degrees = st.lists(st.sampled_from(["MD", "BA", "LIC^Licentiate^L"]), min_size=1, max_size=2, unique=True)
certificates = st.lists(st.sampled_from(["L1", "L2", "L3"]), min_size=1, max_size=2, unique=True)


def record(
    what: str, stf: dict[str, str], specialty: str, spoken: list[str], degree: list[str], numbers: list[str]
) -> StaffChange:
    sent = message(
        mfe(what, time="20260318"),
        segment("STF", f1="K1", **stf),
        f"PRA|K1||ST||{specialty}",
        *(f"LAN|{n}|{language}|3|1" for n, language in enumerate(spoken, 1)),
        *(f"EDU|{n}|{one}|||19890604|SCHOOL^L" for n, one in enumerate(degree, 1)),
        *(segment("CER", f1=str(n), f2=one, f4="Board", f10="RN^Nurse") for n, one in enumerate(numbers, 1)),
    )
    (found,) = translate(sent, FEED).records
    assert found.change is not None, found.findings
    return found.change


def records(*what: str) -> st.SearchStrategy[StaffChange]:
    return st.builds(record, st.sampled_from(what), fields, specialties, languages, degrees, certificates)


full = records("MAD", "MUP")
histories = st.lists(st.one_of(full, records("MDC", "MAC", "MDL")), max_size=4)


# --- a server, and what the store remembers, as values ---------------------------------------------------------------


@dataclass
class Held:
    """One person at a server, and this feed's bases."""

    person: JsonObject | None = None
    base: Written | None = None
    roles: dict[str, JsonObject] = field(default_factory=dict)
    bases: dict[str, Written] = field(default_factory=dict)
    writes: int = 0

    def hear(self, change: StaffChange) -> Held:
        self.writes = 0
        if self.person is None and change.says_staff is False and change.action.value in ("deactivate", "remove"):
            return self  # nobody is there to leave
        planned = plan_practitioner(change, "hr", RULES, self.person, self.base, (), NOW)
        self.person, self.base = self._applied(planned, self.person, "p1")
        own = tuple(self.bases.values())
        for intent in role_intents(change, own, RULES, person_active=self.person["active"]):
            taken = {base.resource_id for base in own}
            server = role_at_server(intent, "p1", list(self.roles.values()), taken, RULES)
            planned = plan_role(change, intent, "hr", RULES, "p1", server, (), NOW)
            if server is None and planned.kind is Kind.NONE:
                continue
            name = server["id"] if server else f"r{len(self.roles) + 1}"
            self.roles[name], self.bases[intent.role.key] = self._applied(planned, server, name)
        return self

    def _applied(self, planned: Interaction, server: JsonObject | None, name: str) -> tuple[JsonObject, Written]:
        self.writes += planned.kind is not Kind.NONE
        assert planned.written is not None
        now = copy.deepcopy(planned.body or server or {}) | {"id": name}
        return now, Written(**{s: getattr(planned.written, s) for s in Written.__slots__} | {"resource_id": name})

    def shown(self) -> tuple[Any, Any]:
        """The person, and their open roles by unit; the order within a list says nothing."""
        person = unordered({key: value for key, value in (self.person or {}).items() if key != "id"})
        open_roles = [unordered({k: v for k, v in r.items() if k != "id"}) for r in self.roles.values() if r["active"]]
        return person, sorted(open_roles, key=str)


def unordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: unordered(item) for key, item in sorted(value.items())}
    return sorted(map(unordered, value), key=str) if isinstance(value, list) else value


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, full)
def test_the_last_full_record_decides(history: list[StaffChange], last: StaffChange) -> None:
    alone = Held().hear(last).shown()
    held = Held()
    for change in [*history, last]:
        held.hear(change)
    event("roles that have ended" if len(held.roles) > len(alone[1]) else "open roles alone")
    assert held.shown() == alone
    assert all(role["active"] or role["period"]["end"] for role in held.roles.values())
    held.hear(last)
    assert (held.shown(), held.writes) == (alone, 0)
    for change in [*history, last]:
        held.hear(change)
    assert held.shown() == alone


# --- any order of arrival --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("histories"))
    yield made
    made.close()


SENT = datetime(2026, 3, 17, 6, 0, tzinfo=UTC)
PHONES = ["^WPN^PH^^^555^5550101", "^WPN^PH^^^555^5550102", "^WPN^PH^^^555^5550103"]
events = st.tuples(st.sampled_from(["MAD", "MUP", "MUP", "MDC", "MAC"]), st.sampled_from(PHONES))
arrivals = st.lists(events, min_size=1, max_size=4).flatmap(
    lambda sent: st.tuples(st.just(sent), st.permutations(range(len(sent))))
)


@settings(max_examples=examples(6), deadline=None, suppress_health_check=list(HealthCheck))
@given(arrivals)
def test_older_messages_never_overwrite_newer_ones(
    world: World, history: tuple[list[tuple[str, str]], list[int]]
) -> None:
    """The n-th message was sent n minutes on; they arrive as the permutation says. Each person is somebody new."""
    sent, order = history
    world.number += 1
    key = f"K{world.number}"

    def heard(number: int) -> str:
        what, phone = sent[number]
        built = mfn(what, "A" if what == "MUP" else "", f12="20150901", f10=phone, key=key, f2="", f3=f"Rossi{key}^Ada")
        world.number += 1
        world.now += timedelta(seconds=1)
        (ended,) = world.take(built(world.number, SENT + timedelta(minutes=number)))[1]
        return ended

    newest = -1
    for number in order:
        before = of(world, key)
        ended = heard(number)
        if number < newest:
            assert of(world, key) == before
            assert ended in ("unchanged", "nothing-to-do", "held out-of-order")
            continue
        assert ended not in ("stale", "held out-of-order")
        assert ended == "nothing-to-do" or of(world, key) is not None
        newest = number
        what, phone = sent[number]
        now = of(world, key)
        if now is not None:
            assert now["active"] is (what != "MDC")
            if what != "MDC":
                assert [point["value"] for point in now["telecom"]] == [phone[-11:].replace("^", " ")]


def of(world: World, key: str) -> JsonObject | None:
    people = [p for p in world.resources("Practitioner") if p["name"][0]["family"] == f"Rossi{key}"]
    assert len(people) <= 1
    return people[0] if people else None
