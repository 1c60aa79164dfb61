"""The journey over real sockets, record by record: what each is answered with, and what it does to its own person."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.model import read_json, write_json
from tests.bridges import Bridge, Feed, running_bridge
from tests.journey import KEY_SYSTEM, ask, mfn, person
from tests.mllp_peer import Connection, read_answer, segments
from tests.sandboxes import RunningSandbox, running_sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), auth=False) as running:
        yield running


@pytest.fixture(scope="module")
def bridge(sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    folder: Path = tmp_path_factory.mktemp("bridge")
    with running_bridge(folder, sandbox.base_url, feeds=[Feed("staff", KEY_SYSTEM)]) as running:
        yield running


def found(sandbox: RunningSandbox, key: str) -> dict[str, Any]:
    """The one Practitioner with that staff key."""
    resources = sandbox.search("Practitioner", identifier=f"{KEY_SYSTEM}|{key}")
    assert len(resources) == 1
    return resources[0]


def values(resource: dict[str, Any], element: str) -> set[str]:
    return {item["value"] for item in resource[element]}


def test_of_two_records_the_good_one_is_delivered_and_the_bad_one_explained(
    bridge: Bridge, sandbox: RunningSandbox
) -> None:
    good, bad = person("MAD", "R1001", "Tessier^Odile"), person("MZZ", "R1002", "Okonjo^Chike")
    answer = ask(bridge, mfn("two-records", good, bad))
    assert (answer.message_type, answer.code, answer.control_id) == ("MFK^M02^MFK_M01", "AE", "two-records")
    assert answer.records == {"R1001": "S", "R1002": "U"}
    assert len(answer.findings) == 1
    _, location, code, severity, *_ = answer.findings[0].split("|")
    assert location.split("^")[:3] == ["MFE", "2", "1"]
    assert code.split("^")[0] == "103"
    assert severity == "E"
    bridge.wait_delivered()
    assert found(sandbox, "R1001")["active"] is True
    assert sandbox.search("Practitioner", identifier=f"{KEY_SYSTEM}|R1002") == []


@pytest.mark.parametrize(
    ("response_level", "records"), [("ER", {"B": "U"}), ("NE", {}), ("SU", {"A": "S"}), ("AL", {"A": "S", "B": "U"})]
)
def test_the_response_level_filters_the_records(bridge: Bridge, response_level: str, records: dict[str, str]) -> None:
    good = person("MAD", f"R11{response_level}A", "Tessier^Odile")
    bad = person("MZZ", f"R11{response_level}B", "Okonjo^Chike")
    answer = ask(bridge, mfn(f"level-{response_level}", good, bad, response_level=response_level))
    assert answer.code == "AE"
    assert {key[-1]: success for key, success in answer.records.items()} == records


def test_each_record_of_a_message_does_its_own_to_its_own_person(bridge: Bridge, sandbox: RunningSandbox) -> None:
    before = [
        person("MAD", f"R120{n}", f"Marangoz^Selin{n}", phone=f"555010{n}", unit="CARD^Cardiology") for n in (2, 3, 4)
    ]
    assert ask(bridge, mfn("before", *before)).code == "AA"
    bridge.wait_delivered()
    assert ask(bridge, mfn("leave", person("MDC", "R1204", "Marangoz^Selin4", flag="I"))).code == "AA"
    bridge.wait_delivered()
    assert found(sandbox, "R1204")["active"] is False
    records = [
        person("MAD", "R1201", "Marangoz^Selin1", phone="5550101"),
        person("MUP", "R1202", "Marangoz^Selin2", phone="5559999"),
        person("MDC", "R1203", "Marangoz^Selin3", flag="I"),
        person("MAC", "R1204", "Marangoz^Selin4"),
    ]
    answer = ask(bridge, mfn("all-four", *records))
    assert answer.code == "AA"
    assert answer.records == dict.fromkeys(("R1201", "R1202", "R1203", "R1204"), "S")
    bridge.wait_delivered()
    assert {key: found(sandbox, key)["active"] for key in answer.records} == {
        "R1201": True,
        "R1202": True,
        "R1203": False,
        "R1204": True,
    }
    assert values(found(sandbox, "R1201"), "telecom") == {"5550101"}
    assert values(found(sandbox, "R1202"), "telecom") == {"5559999"}


def test_what_someone_else_put_on_the_server_survives(bridge: Bridge, sandbox: RunningSandbox) -> None:
    record = person("MAD", "R1301", "Ivarsdottir^Jorunn", phone="5550131", unit="NEPH^Nephrology", npi="1245319599")
    assert ask(bridge, mfn("survive-1", record)).code == "AA"
    bridge.wait_delivered()
    theirs: dict[str, Any] = {
        "telecom": {"system": "phone", "use": "work", "value": "555 7777"},
        "photo": {"contentType": "image/png", "title": "portrait", "data": "AAEC"},
        "identifier": {"system": "https://elsewhere.example/badge", "value": "B-77"},
        "extension": {"url": "https://elsewhere.example/fte", "valueDecimal": read_json("1.10")},
    }
    edited = copy.deepcopy(found(sandbox, "R1301"))
    for element, value in theirs.items():
        edited[element] = [*edited.get(element, []), value]
    before = sandbox.put(edited)
    assert before["active"] is True
    assert '"valueDecimal":1.10' in write_json(before)

    record = person(
        "MUP", "R1301", "Ivarsdottir^Jorunn^Maria", phone="5550132", unit="NEPH^Nephrology", npi="1245319599"
    )
    assert ask(bridge, mfn("survive-2", record)).code == "AA"
    bridge.wait_delivered()
    updated = sandbox.get("Practitioner", before["id"])
    assert values(updated, "telecom") == {"5550132", "555 7777"}
    assert updated["name"][0]["given"] == ["Jorunn", "Maria"]

    record = person("MDC", "R1301", "Ivarsdottir^Jorunn", flag="I")
    assert ask(bridge, mfn("survive-3", record)).code == "AA"
    bridge.wait_delivered()
    after = sandbox.get("Practitioner", before["id"])
    assert after["active"] is False
    for now in (updated, after):
        for element, value in theirs.items():
            assert write_json(value) in [write_json(item) for item in now[element]], element
    versions = {entry["version"] for entry in sandbox.journal() if entry["id"] == before["id"] and entry["changed"]}

    assert ask(bridge, mfn("survive-4", record)).code == "AA"
    bridge.wait_delivered()
    assert sandbox.get("Practitioner", before["id"]) == after
    assert versions == {e["version"] for e in sandbox.journal() if e["id"] == before["id"] and e["changed"]}


def test_enhanced_mode_answers_twice(bridge: Bridge, sandbox: RunningSandbox) -> None:
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        body = mfn("enhanced-1", person("MAD", "R1401", "Pemberly^Thea"), accept="AL", application="AL")
        accepted = read_answer(connection.ask(body))
        assert (accepted.message_type, accepted.code, accepted.control_id) == ("ACK^M02^ACK", "CA", "enhanced-1")
        later = connection.read(20)
        assert later
        applied = read_answer(later)
        assert (applied.message_type, applied.code, applied.control_id) == ("MFK^M02^MFK_M01", "AA", "enhanced-1")
        assert applied.records == {"R1401": "S"}
        header = segments(later)[0]
        assert (header[15], header[16]) == ("NE", "NE")
        assert header[10] != "enhanced-1"
    assert found(sandbox, "R1401")["active"] is True


def test_a_frame_that_asks_for_nothing_gets_nothing(bridge: Bridge, sandbox: RunningSandbox) -> None:
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        silent = mfn("silent", person("MAD", "R1501", "Halloway^Runa"), accept="NE", application="NE")
        connection.send(silent)
        connection.send(b"MSH|^~\\&|A|B|C|D|20260302||ACK^M02^ACK|an-ack|P|2.5.1\rMSA|AA|x\r")
        answer = read_answer(connection.ask(mfn("loud", person("MUP", "R1501", "Halloway^Runa", phone="5550151"))))
        assert answer.control_id == "loud"
    bridge.wait_delivered()
    assert values(found(sandbox, "R1501"), "telecom") == {"5550151"}


def test_a_corrupt_frame_is_kept_and_its_content_judged_by_the_second_answer(bridge: Bridge) -> None:
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        whole = mfn("corrupt", person("MAD", "R1601", "Quillfeather^Barnaby"), accept="AL", application="AL")
        corrupt = whole.replace(b"^Barnaby", b"^Barn\x0baby")
        answer = read_answer(connection.ask(corrupt))
        assert (answer.code, answer.control_id) == ("CA", "corrupt")
        later = connection.read(5)
        assert later
        assert read_answer(later).code == "AE"
        assert b"\rERR||STF^1^3|207^" in later
        undecodable = mfn("undecodable", person("MAD", "R1602", "Quillfeather^B")).replace(b"^B", b"^\xc0")
        assert read_answer(connection.ask(undecodable)).code == "AE"
