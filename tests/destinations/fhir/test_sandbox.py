"""The whole room over real HTTP and real tokens, against the sandbox: a person's life under one habit after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.destinations import keys
from hl7bridge.destinations.fhir.rules import DestinationRules, SmartRules
from hl7bridge.destinations.fhir.wire.capabilities import Capabilities, read_capabilities
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.smart_auth import BackendServicesAuth, TokenSource
from hl7bridge.model import Action, JsonObject, Number, Outcome, Result, StaffChange, write_json
from tests.destinations.fhir.people import GOOD_NPI, OTHER_KEYS, Bridge, change, name, phone, unit, value
from tests.destinations.fhir.server import FakeFhir
from tests.sandboxes import RunningSandbox, new_keys, running_sandbox

ADA = change(
    Action.ADD,
    name(),
    phone("555-1"),
    value("gender", "female", "STF-5"),
    npi=GOOD_NPI,
    roles=(unit("ICU"), unit("ER")),
)
LEAVES = change(Action.DEACTIVATE, effective="2026-03-04T18:00:00+01:00")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@dataclass
class Desk:
    """A bridge before the sandbox, and the journal since it began."""

    sandbox: RunningSandbox
    bridge: Bridge
    began: int

    def journal(self) -> list[JsonObject]:
        """What clients asked of Practitioner and PractitionerRole."""
        asked = self.sandbox.journal(self.began)
        return [line for line in asked if line["client"] not in ("", "observer") and line["type"]]

    def until_settled(self, one: StaffChange, feed: str = "hr", attempts: int = 12) -> Outcome:
        """Deliver again and again, as the delivery role does, until it is settled; results on the way must be passing."""
        for _ in range(attempts):
            outcome = self.bridge.deliver(one, feed)
            if outcome.result not in (Result.RETRY, Result.UNKNOWN, Result.PAUSED):
                return outcome
        raise AssertionError(f"{outcome.result}: {outcome.text}")


@contextmanager
def desk_at(sandbox: RunningSandbox, **rule: Any) -> Iterator[Desk]:
    sandbox.reset()
    assert sandbox.keys is not None
    destination = DestinationRules("ehr", sandbox.base_url, mode="write", **rule)
    smart = SmartRules(sandbox.base_url, sandbox.keys.client_id, "write", key_id=sandbox.keys.kid)
    source = TokenSource(smart, keys.load_file(sandbox.keys.private_pem))
    client = FhirClient(destination, BackendServicesAuth(source))
    try:
        yield Desk(sandbox, Bridge(FakeFhir(), destination, client), sandbox.journal()[-1]["sequence"])
    finally:
        client.close()


@pytest.fixture
def desk(sandbox: RunningSandbox) -> Iterator[Desk]:
    with desk_at(sandbox) as made:
        yield made


def live(desk: Desk) -> list[Result]:
    """Join, nothing new, an edit by somebody else, move, leave, leave again, come back."""
    sandbox = desk.sandbox
    results = [desk.until_settled(ADA).result, desk.until_settled(ADA).result]
    (person,) = sandbox.all("Practitioner")
    second = {"system": "phone", "value": "555-8", "use": "work"}
    fte = {"url": "http://example.org/fte", "valueDecimal": Number("1.10")}
    sandbox.put({**person, "telecom": [*person["telecom"], second], "extension": [fte]})
    moved = replace(ADA, practitioner=(name(), phone("555-2")), roles=(unit("ER"), unit("OR")))
    results += [desk.until_settled(moved).result, desk.until_settled(LEAVES).result]
    (person,) = sandbox.all("Practitioner")
    assert person["active"] is False
    assert [point["value"] for point in person["telecom"]] == ["555-2", "555-8"]
    assert write_json(person["extension"]) == write_json([fte])
    assert {role["active"] for role in sandbox.all("PractitionerRole")} == {False}
    results += [desk.until_settled(LEAVES).result, desk.until_settled(change(Action.REACTIVATE)).result]
    (person,) = sandbox.all("Practitioner")
    assert person["active"] is True
    units = {role["organization"]["identifier"]["value"]: role["active"] for role in sandbox.all("PractitionerRole")}
    assert units == {"ICU": False, "ER": True, "OR": True}
    stored = [line for line in desk.journal() if line["changed"]]
    assert not any(line.get("unchanged") for line in stored), "a version equal to its predecessor"
    assert not any(line["method"] in ("DELETE", "PATCH") for line in desk.journal())
    return results


PLAIN = [
    Result.CREATED, Result.UNCHANGED, Result.UPDATED, Result.DEACTIVATED, Result.UNCHANGED, Result.REACTIVATED,
]  # fmt: skip


@pytest.mark.parametrize(
    ("habits", "rule"),
    [
        ({}, {}),
        ({}, {"search_method": "post"}),
        ({"id_style": "opaque", "version_conflict": 412, "unknown_parameters": "ignore"}, {}),
        ({"id_style": "long"}, {}),
        ({"page_size": 1, "page_limit": 1}, {}),
        ({"conditional_create": "ignored"}, {}),
        ({"conditional_create": "refused"}, {"conditional_create": False}),
        ({"versioned": False}, {}),
        ({"unchanged_makes_version": True, "update_creates": True}, {}),
        ({"ignored_parameters": ["practitioner", "_count"]}, {}),
    ],
    ids=lambda item: " ".join(f"{key}={text}" for key, text in item.items()) or "-",
)
def test_a_life_under_each_habit(sandbox: RunningSandbox, habits: dict[str, Any], rule: dict[str, Any]) -> None:
    with desk_at(sandbox, **rule) as desk:
        sandbox.habits(**habits)
        assert live(desk) == PLAIN


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "on": ["any"], "status": 503, "every": 2, "times": 9},
        {"kind": "status", "on": ["any"], "status": 429, "retry_after": "0", "every": 4},
        {"kind": "status", "on": ["write"], "status": 500, "done": True, "every": 3},
        {"kind": "lost-reply", "on": ["write"], "every": 3},
        {"kind": "lost-reply", "on": ["write"], "every": 2, "close": "end"},
        {"kind": "lost-request", "on": ["any"], "every": 4},
        {"kind": "expired-next", "times": 5},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('status', '')}".strip(),
)
def test_everything_arrives_once_though_the_server_stumbles(desk: Desk, fault: JsonObject) -> None:
    desk.sandbox.fault(**fault)
    live(desk)
    assert len(desk.sandbox.all("Practitioner")) == 1
    assert len(desk.sandbox.all("PractitionerRole")) == 3


def test_a_server_that_insists_on_if_match(desk: Desk) -> None:
    desk.sandbox.habits(if_match_required=True)
    assert desk.bridge.deliver(ADA).result is Result.CREATED
    assert desk.bridge.deliver(LEAVES).result is Result.DEACTIVATED


def test_success_with_an_error_in_it(desk: Desk) -> None:
    desk.sandbox.fault("error-outcome", on=["create"], times=1)
    refused = desk.bridge.deliver(ADA)
    assert (refused.local, desk.sandbox.all("Practitioner")) == ("error-in-success", [])
    assert desk.bridge.deliver(ADA).result is Result.CREATED


@pytest.mark.parametrize("echo", [True, False])
def test_an_update_without_effect_is_never_called_done(desk: Desk, echo: bool) -> None:
    desk.bridge.deliver(ADA)
    desk.sandbox.fault("no-change", on=["update"], type="Practitioner", echo=echo)
    left = desk.bridge.deliver(LEAVES)
    assert (left.result, left.local) == (Result.HELD, "not-verified")
    desk.sandbox.clear()
    assert desk.bridge.deliver(LEAVES).result is Result.DEACTIVATED


@pytest.mark.parametrize("without", [[], ["Location"], ["ETag"], ["Location", "ETag"]])
def test_answers_without_a_body(desk: Desk, without: list[str]) -> None:
    desk.sandbox.fault("empty-body", type="Practitioner", without=without)
    assert live(desk) == PLAIN


def test_a_search_that_ignores_the_identifier(desk: Desk) -> None:
    for number in range(3):
        desk.bridge.deliver(
            replace(ADA, identifiers=change(key=f"S{number}").identifiers, source_key=f"S{number}", roles=())
        )
    desk.sandbox.fault("ignored-parameters", parameters=["identifier"])
    held = desk.bridge.deliver(change(Action.ADD, name(), key="S77"))
    assert (held.result, held.local) == (Result.HELD, "search-not-honoured")
    assert len(desk.sandbox.all("Practitioner")) == 3


@pytest.mark.parametrize(("kind", "local"), [("evil-next", "foreign-link"), ("looping-next", "endless-pages")])
def test_links_that_lead_astray(desk: Desk, kind: str, local: str) -> None:
    desk.sandbox.fault(kind)
    held = desk.bridge.deliver(ADA)
    assert (held.result, held.local) == (Result.HELD, local)
    assert desk.sandbox.all("Practitioner") == []


@pytest.mark.parametrize("status", [403, 405, 501])
def test_writes_that_are_refused_become_tasks(desk: Desk, status: int) -> None:
    desk.sandbox.habits(writes_refused=status)
    held = desk.bridge.deliver(ADA)
    assert (held.result, [task.kind for task in held.tasks]) == (Result.HELD, ["write-by-hand"])
    assert [line["interaction"] for line in desk.journal()] == ["search", "create"]


def test_a_token_that_ends_in_the_middle(desk: Desk) -> None:
    desk.bridge.deliver(ADA)
    desk.sandbox.revoke_tokens()
    left = desk.bridge.deliver(LEAVES)
    assert left.result is Result.DEACTIVATED
    assert [exchange.status for exchange in left.exchanges].count(401) == 1


def test_a_token_endpoint_that_is_down_pauses_and_loses_nothing(desk: Desk) -> None:
    desk.sandbox.fault("status", on=["token"], status=401, error="invalid_client", times=2)
    paused = [desk.bridge.deliver(ADA) for _ in range(2)]
    assert [(one.result, one.local, one.tasks) for one in paused] == [(Result.PAUSED, "token-refused", ())] * 2
    desk.sandbox.fault("status", on=["token"], status=503, times=1)
    assert desk.bridge.deliver(ADA).local == "token-unavailable"
    assert desk.bridge.deliver(ADA).result is Result.CREATED


def test_the_other_algorithm(tmp_path: Path) -> None:
    made = new_keys(tmp_path, algorithm="RS384")  # all other tests here sign with ES384
    with running_sandbox(tmp_path, keys=made) as sandbox, desk_at(sandbox) as desk:
        assert live(desk) == PLAIN


def test_two_feeds_at_the_sandbox(desk: Desk) -> None:
    other = change(Action.ADD, name(), key="C9", keys=OTHER_KEYS, npi=GOOD_NPI, roles=(unit("OR", "ORG"),))
    assert desk.bridge.deliver(ADA, "hr").result is Result.CREATED
    assert desk.bridge.deliver(other, "credentialing").result is Result.UPDATED
    assert desk.bridge.deliver(LEAVES, "hr").result is Result.UPDATED
    (person,) = desk.sandbox.all("Practitioner")
    assert person["active"] is True
    roles = desk.sandbox.all("PractitionerRole")
    assert {role["organization"]["identifier"]["value"] for role in roles if role["active"]} == {"OR"}


def test_what_the_sandbox_says_that_it_can(desk: Desk) -> None:
    found = read_capabilities(desk.bridge.client)
    assert isinstance(found, Capabilities)
    for resource_type in ("Practitioner", "PractitionerRole"):
        assert found.of(resource_type).offers("create")
        assert found.of(resource_type).offers("update")
    assert found.of("Practitioner").conditional_create


def test_requests_per_person(desk: Desk) -> None:
    """Practitioner alone: new <= 3, changed <= 2, deactivated <= 3, unchanged <= 1; with roles one search more and one
    per role written."""
    alone = replace(ADA, roles=())
    counts = []
    for one in (alone, alone, replace(alone, practitioner=(name(), phone("555-7"))), LEAVES, LEAVES):
        counts.append(len(desk.bridge.deliver(one).exchanges))
    assert counts == [2, 1, 2, 3, 1]
    with_roles = [len(desk.bridge.deliver(one).exchanges) for one in (change(Action.REACTIVATE), ADA, ADA, LEAVES)]
    assert with_roles == [2, 2 + 1 + 2, 1 + 1, 3 + 1 + 2]
