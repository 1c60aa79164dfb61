"""python-hl7's MLLPClient sends every sample message to a running bridge and reads the expected acknowledgment back.

That client reads its socket once, 4,096 bytes: an answer in two writes, or a longer one, would be cut.
"""

from __future__ import annotations

from pathlib import Path

import hl7.client
import pytest

from hl7bridge.cli.tools.samples import FEED_SETTINGS, KEY_SYSTEM, acknowledgment_differences, load
from tests.acceptance.checker import stored_versions
from tests.acceptance.corpus import invalid
from tests.bridges import ROOT, Bridge, Feed, running_bridge
from tests.mllp_peer import Connection, read_rows
from tests.sandboxes import running_sandbox

FOLDER = ROOT / "sample_messages"
ONE_READ = 4096


def unframed(block: bytes) -> bytes:
    assert block.startswith(b"\x0b"), block[:20]
    assert block.endswith(b"\x1c\r"), block[-20:]
    assert block.count(b"\x1c\r") == 1
    return block[1:-2]


def answers(bridge: Bridge, message: bytes, count: int) -> list[bytes]:
    """What python-hl7's client reads: one read for each answer that is expected."""
    port = bridge.ports["staff"]
    if not count:
        with Connection(("127.0.0.1", port)) as connection:
            connection.send(message)
            return []
    with hl7.client.MLLPClient("127.0.0.1", port, "utf-8") as client:
        client.socket.settimeout(20)
        got = [unframed(client.send_message(message))]
        for _ in range(count - 1):
            got.append(unframed(client.socket.recv(ONE_READ)))
    return got


@pytest.mark.skipif(not any(FOLDER.glob("*.hl7")), reason=f"there are no sample messages in {FOLDER}")
def test_the_client_of_python_hl7_reads_every_expected_acknowledgment(tmp_path: Path) -> None:
    samples = load(FOLDER)
    feed = Feed("staff", KEY_SYSTEM, settings=FEED_SETTINGS)
    differences: dict[str, list[str]] = {}
    with (
        running_sandbox(tmp_path / "sandbox", auth=False) as sandbox,
        running_bridge(tmp_path / "bridge", sandbox.base_url, feeds=[feed]) as bridge,
    ):
        for sample in samples:
            got = answers(bridge, sample.message, len(sample.acknowledgments))
            found = acknowledgment_differences(sample.acknowledgments, got)
            if found:
                differences[sample.name] = found
            bridge.wait_delivered()
        resources = [version.resource for version in stored_versions(read_rows(sandbox.journal_file))]
    assert differences == {}
    assert invalid(resources, "sample_messages") == []
    assert len(resources) >= len(samples) // 2
