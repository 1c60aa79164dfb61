"""The checker is proven by what it finds: each kind of fault, planted in a journal without one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance import checker, plants, stream
from tests.acceptance.plants import Rows, places


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


PLANTS: list[tuple[plants.Plant, str]] = [
    (plants.lose_the_last, "lost"),
    (plants.lose_one_between, "lost"),
    (plants.lose_a_person, "lost"),
    (plants.lose_a_deactivation, "lost"),
    (plants.create_twice, "doubled"),
    (plants.create_a_role_twice, "doubled"),
    (plants.swap_two, "order"),
    (plants.write_without_change, "no change"),
    (plants.apply_twice, "repeated"),
    (plants.take_the_wrong_person, "mixed up"),
    (plants.keep_the_old_value, "mixed up"),
    (plants.never_answer, "unacknowledged"),
    (plants.refuse_after_accepting, "refused"),
]


def test_a_faithful_journal_has_no_fault() -> None:
    report = checker.check(*faithful())
    assert report.faults == []
    assert report.figures["records sent"] == report.figures["records acknowledged"] > 100
    assert report.figures["people"] == 8


@pytest.mark.parametrize(("plant", "kind"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_a_planted_fault_is_found(plant: plants.Plant, kind: str) -> None:
    journal, ledger = faithful()
    plant(journal, ledger)
    assert kind in {fault.kind for fault in checker.check(journal, ledger).faults}


@pytest.mark.parametrize("seed", range(20))
def test_any_lost_version_is_found(seed: int) -> None:
    journal, ledger = faithful(seed, messages=12)
    for place, row in enumerate(journal):
        if (row.get("stored") or {}).get("resourceType") == "Practitioner":
            assert checker.check(journal[:place] + journal[place + 1 :], ledger).faults


def test_every_plant_of_a_real_run_is_found() -> None:
    assert plants.unseen(*faithful()) == []


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
