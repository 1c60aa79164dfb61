"""A message that comes again: after a refusal it is processed afresh, after a positive answer it has no second effect."""

from __future__ import annotations

from pathlib import Path

from tests.bridges import Bridge, Feed, running_bridge
from tests.journey import KEY_SYSTEM, ask, mfn, person
from tests.mllp_peer import Connection
from tests.sandboxes import RunningSandbox, running_sandbox


def changes(sandbox: RunningSandbox) -> int:
    return sum(bool(entry["changed"]) for entry in sandbox.journal())


def answer_of(bridge: Bridge, body: bytes) -> bytes:
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        return connection.ask(body)


def test_a_refused_message_is_taken_once_the_table_is_mended(tmp_path: Path) -> None:
    refused = mfn("mend-1", person("NEW", "D2001", "Brandvold^Casimir"))
    with running_sandbox(tmp_path / "sandbox", auth=False) as sandbox:
        with running_bridge(tmp_path / "bridge", sandbox.base_url, feeds=[Feed("staff", KEY_SYSTEM)]) as bridge:
            for _ in range(2):
                answer = ask(bridge, refused)
                assert (answer.code, answer.records) == ("AE", {"D2001": "U"})
            assert changes(sandbox) == 0

        mended = Feed("staff", KEY_SYSTEM, settings={"tables": {"0180": {"NEW": "add"}}})
        with running_bridge(tmp_path / "bridge", sandbox.base_url, feeds=[mended]) as bridge:
            first = answer_of(bridge, refused)
            assert b"MSA|AA|mend-1" in first
            bridge.wait_delivered()
            assert [p["active"] for p in sandbox.all("Practitioner")] == [True]
            done = changes(sandbox)
            # The same bytes again, whatever happened on the server meanwhile: the same answer, no second effect.
            theirs = sandbox.all("Practitioner")[0]
            sandbox.put({**theirs, "active": False})
            assert answer_of(bridge, refused) == first
            bridge.wait_delivered()
            assert changes(sandbox) == done + 1
            assert sandbox.all("Practitioner")[0]["active"] is False
            # The same control id with another content is another message.
            other = mfn("mend-1", person("NEW", "D2001", "Brandvold^Casimir", phone="5550201"))
            assert ask(bridge, other).code == "AA"
            bridge.wait_delivered()
            assert sandbox.all("Practitioner")[0]["telecom"][0]["value"] == "5550201"
