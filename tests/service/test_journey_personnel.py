"""Personnel messages over real sockets, through a bridge and a sandbox of their own processes, and their answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridges import Bridge, Feed, running_bridge
from tests.journey import KEY_SYSTEM
from tests.mllp_peer import Connection, read_answer, segments
from tests.sandboxes import RunningSandbox, running_sandbox

DELIVERED = {"acknowledgment": {"acknowledge_when": "delivered", "ack_deadline": "10s"}}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), auth=False) as running:
        yield running


@pytest.fixture(scope="module")
def bridge(sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    folder: Path = tmp_path_factory.mktemp("bridge")
    with running_bridge(folder, sandbox.base_url, feeds=[Feed("staff", KEY_SYSTEM, settings=DELIVERED)]) as running:
        yield running


def pmu(event: str, number: int, *segments_: str, version: str = "2.5.1", modes: str = "", key: str = "P700") -> bytes:
    lines = [
        f"MSH|^~\\&|HR|NORTHSIDE|HL7BRIDGE|FHIR|202603020800{number:02}+0000||PMU^{event}^PMU_{event}|{key}-{number}|P|{version}"
        + modes,
        "EVN||20260302",
        f"STF||{key}|Tessier^Odile||||||||||||||||||||||||||||",
        *segments_,
    ]
    return ("\r".join(lines) + "\r").encode()


def test_each_event_is_answered_with_what_became_of_it(bridge: Bridge, sandbox: RunningSandbox) -> None:
    story = [
        ("B01", "created", True),
        ("B02", "unchanged", True),
        ("B05", "deactivated", False),
        ("B04", "reactivated", True),
        ("B06", "deactivated", False),
        ("B03", "updated", False),
    ]
    with Connection(("127.0.0.1", bridge.ports["staff"])) as peer:
        for number, (event, result, active) in enumerate(story):
            frame = peer.ask(pmu(event, number))
            answer = read_answer(frame)
            assert (answer.message_type, answer.code) == (f"ACK^{event}^ACK", "AA"), frame
            assert [row[0] for row in segments(frame)] == ["MSH", "MSA"]
            (person,) = sandbox.search("Practitioner", identifier=f"{KEY_SYSTEM}|P700")
            assert (event, person["active"]) == (event, active)
            if result != "updated":
                assert segments(frame)[1][3] in (result, "")


@pytest.mark.parametrize("version", ["2.5.1", "2.9"])
@pytest.mark.parametrize("modes", ["", "|||NE|AL"])
def test_a_grant_for_nobody_is_refused_with_204(bridge: Bridge, version: str, modes: str) -> None:
    body = pmu(
        "B07", 1, "CER|1|L1||Board||||||LIC^Licence", version=version, modes=modes, key=f"P{version}{len(modes)}"
    )
    with Connection(("127.0.0.1", bridge.ports["staff"])) as peer:
        frame = peer.ask(body)
    answer = read_answer(frame)
    assert (answer.message_type, answer.code) == ("ACK^B07^ACK", "AE")
    (err,) = [row for row in segments(frame) if row[0] == "ERR"]
    assert (err[2], err[3].split("^")[0], err[4], err[5].split("^")[0]) == ("", "204", "E", "unknown-person")
