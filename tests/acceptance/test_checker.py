"""The checker is proven by what it finds: each kind of fault, planted in a journal without one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance import checker, stream

Rows = list[dict[str, Any]]


def faithful(seed: int = 5, messages: int = 40) -> tuple[Rows, Rows]:
    """Journal and log of a bridge that does everything right: one version for each state that differs from the last."""
    journal: Rows = []
    ledger: Rows = []
    now: dict[str, dict[str, Any]] = {}
    for line in stream.lines(seed, connections=2, people=4):
        for message in line.messages(messages):
            ledger.append({"event": "sent", "control_id": message.control_id, "records": list(message.records)})
            if message.enhanced:
                ledger.append({"event": "broken", "control_id": message.control_id})
            code = "CA" if message.enhanced else "AA"
            ledger.append({"event": "answered", "control_id": message.control_id, "code": code})
            for record in message.records:
                before = now.get(record["person"])
                after = practitioner(record, int(before["meta"]["versionId"]) + 1 if before else 1)
                if before is None and record["unit"]:
                    journal.append({"stored": role(record)})
                if before is None or {**before, "meta": {}} != {**after, "meta": {}}:
                    journal.append({"method": "PUT", "stored": after})
                    now[record["person"]] = after
                journal.append({"method": "GET"})
    return journal, ledger


def practitioner(record: dict[str, Any], version: int) -> dict[str, Any]:
    return {
        "resourceType": "Practitioner",
        "id": f"p-{record['person']}",
        "meta": {"versionId": str(version)},
        "identifier": [{"value": record["person"]}, {"value": record["npi"]}],
        "active": record["active"],
        "telecom": [
            {"system": "phone", "value": "+1 555 0100001"},
            {"system": "email", "value": f"{record['person'].lower()}.n{record['marker']}@staff.example"},
        ],
    }


def role(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "PractitionerRole",
        "id": f"r-{record['person']}",
        "meta": {"versionId": "1"},
        "practitioner": {"reference": f"Practitioner/p-{record['person']}"},
        "organization": {"identifier": {"value": record["unit"]}},
    }


def places(journal: Rows, person: str = "") -> list[int]:
    """Where in the journal the versions of the busiest person (or the one named) stand."""
    by_id: dict[str, list[int]] = {}
    for place, row in enumerate(journal):
        if row.get("stored", {}).get("resourceType") == "Practitioner":
            by_id.setdefault(row["stored"]["id"], []).append(place)
    return by_id[f"p-{person}"] if person else max(by_id.values(), key=len)


def lose_the_last(journal: Rows, _: Rows) -> None:
    del journal[places(journal)[-1]]


def lose_one_between(journal: Rows, _: Rows) -> None:
    """The one marker that nothing repeats: a version whose neighbours have other markers."""
    for place, after in zip(places(journal)[1:], places(journal)[2:], strict=False):
        if checker.markers(journal[place]["stored"]) != checker.markers(journal[after]["stored"]):
            del journal[place]
            return


def lose_a_person(journal: Rows, _: Rows) -> None:
    for place in reversed(places(journal)):
        del journal[place]


def lose_a_deactivation(journal: Rows, _: Rows) -> None:
    for place in places(journal):
        if not journal[place]["stored"]["active"]:
            del journal[place]
            return


def create_twice(journal: Rows, _: Rows) -> None:
    second = copy.deepcopy(journal[places(journal)[0]])
    second["stored"]["id"] = "another"
    second["stored"]["identifier"] = second["stored"]["identifier"][1:]  # the NPI alone gives it away
    journal.append(second)


def create_a_role_twice(journal: Rows, _: Rows) -> None:
    first = next(row for row in journal if row.get("stored", {}).get("resourceType") == "PractitionerRole")
    second = copy.deepcopy(first)
    second["stored"]["id"] = "another"
    journal.append(second)


def swap_two(journal: Rows, _: Rows) -> None:
    *_, one, other = places(journal)
    for place, after in zip(places(journal), places(journal)[1:], strict=False):
        if checker.markers(journal[place]["stored"]) != checker.markers(journal[after]["stored"]):
            one, other = place, after
    journal[one], journal[other] = journal[other], journal[one]


def write_without_change(journal: Rows, _: Rows) -> None:
    place = places(journal)[-1]
    again = copy.deepcopy(journal[place])
    again["stored"]["meta"]["versionId"] = "99"
    journal.insert(place + 1, again)


def apply_twice(journal: Rows, _: Rows) -> None:
    """A lifecycle change that had effect once more when the sender sent it again."""
    last = copy.deepcopy(journal[places(journal)[-1]])
    flipped = copy.deepcopy(last)
    flipped["stored"]["active"] = not flipped["stored"]["active"]
    journal += [flipped, last]


def take_the_wrong_person(journal: Rows, _: Rows) -> None:
    one, other = journal[places(journal, "K0050001")[0]], journal[places(journal, "K0050002")[0]]
    one["stored"]["telecom"] = other["stored"]["telecom"]


def keep_the_old_value(journal: Rows, _: Rows) -> None:
    first, *_, last = places(journal)
    journal[last]["stored"]["telecom"].append(journal[first]["stored"]["telecom"][1])


def never_answer(_: Rows, ledger: Rows) -> None:
    del ledger[max(place for place, row in enumerate(ledger) if row["event"] == "answered")]


def refuse_after_accepting(_: Rows, ledger: Rows) -> None:
    ledger.append({**ledger[-1], "code": "AE"})


PLANTS: list[tuple[Callable[[Rows, Rows], None], str]] = [
    (lose_the_last, "lost"),
    (lose_one_between, "lost"),
    (lose_a_person, "lost"),
    (lose_a_deactivation, "lost"),
    (create_twice, "doubled"),
    (create_a_role_twice, "doubled"),
    (swap_two, "order"),
    (write_without_change, "no change"),
    (apply_twice, "repeated"),
    (take_the_wrong_person, "mixed up"),
    (keep_the_old_value, "mixed up"),
    (never_answer, "unacknowledged"),
    (refuse_after_accepting, "refused"),
]


def test_a_faithful_journal_has_no_fault() -> None:
    report = checker.check(*faithful())
    assert report.faults == []
    assert report.figures["records sent"] == report.figures["records acknowledged"] > 100
    assert report.figures["people"] == 8


@pytest.mark.parametrize(("plant", "kind"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_a_planted_fault_is_found(plant: Callable[[Rows, Rows], None], kind: str) -> None:
    journal, ledger = faithful()
    plant(journal, ledger)
    assert kind in {fault.kind for fault in checker.check(journal, ledger).faults}


@pytest.mark.parametrize("seed", range(20))
def test_any_lost_version_is_found(seed: int) -> None:
    journal, ledger = faithful(seed, messages=12)
    for place, row in enumerate(journal):
        if row.get("stored", {}).get("resourceType") == "Practitioner":
            assert checker.check(journal[:place] + journal[place + 1 :], ledger).faults


def test_what_was_never_acknowledged_may_be_applied_or_not() -> None:
    journal, ledger = faithful()
    last = max(place for place, row in enumerate(ledger) if row["event"] == "sent")
    unanswered = ledger[: last + 1]
    keys = {record["person"] for record in ledger[last]["records"]}
    without = [row for place, row in enumerate(journal) if not any(place == places(journal, key)[-1] for key in keys)]
    for rows in (journal, without):
        assert {fault.kind for fault in checker.check(rows, unanswered).faults} == {"unacknowledged"}


def test_check_digits_of_the_stream() -> None:
    assert stream.npi(23456789) == "1234567893"
    assert stream.npi(24531959) == "1245319599"
    assert stream.npi(55859879) == "1558598797"


def test_the_stream_is_the_same_for_the_same_seed() -> None:
    def bodies(seed: int) -> list[bytes]:
        return [message.body for line in stream.lines(seed, 2, 3) for message in line.messages(20)]

    assert bodies(3) == bodies(3) != bodies(4)
    actions = {record["action"] for line in stream.lines(3, 2, 3) for m in line.messages(60) for record in m.records}
    assert actions == {"MAD", "MUP", "MDC", "MAC"}
