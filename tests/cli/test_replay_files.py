"""`replay FILE`: files of any length through a listener, what is told of them, and going on after a run that did not end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.cli import output
from hl7bridge.cli.messages.mllp_client import AHEAD_BYTES, MllpClient, Sent
from hl7bridge.cli.messages.resuming import FORGET_AFTER, Progress
from tests.cli.conftest import Ended, Peer, acknowledged, message

Command = Callable[..., Ended]
StartPeer = Callable[[Callable[[bytes], list[bytes] | None]], Peer]


@pytest.fixture
def nightly(tmp_path: Path) -> Path:
    path = tmp_path / "nightly.hl7"
    body = b"".join(message(f"M{number}") for number in range(1, 61))
    path.write_bytes(b"FHS|^~\\&\rBHS|^~\\&\r" + body + b"BTS|60\rFTS|1\r")
    return path


def ids(bodies: list[bytes]) -> list[str]:
    return [body.split(b"|")[9].decode() for body in bodies]


def numbered(first: int, last: int) -> list[str]:
    return [f"M{number}" for number in range(first, last + 1)]


@pytest.fixture
def records(site: Path) -> Path:
    return site / "data" / "replays"


def test_of_many_only_those_that_are_not_accepted_are_listed(
    command: Command, site: Path, nightly: Path, peer: StartPeer, tmp_path: Path
) -> None:
    other = peer(lambda body: [acknowledged(body, "AE" if b"|M55|" in body else "AA")])
    results = tmp_path / "results.jsonl"
    ended = command("replay", nightly, "--to", f":{other.port}", "--config", site, "--results", results)
    assert ended.code == 1
    assert ids(other.received) == numbered(1, 60)
    assert [line.split()[0] for line in ended.out.splitlines() if line[:1] == "M"] == [*numbered(1, 50), "M55"]
    assert "only messages that are not accepted" in ended.err
    assert "60 sent: 59 AA, 1 AE; " in ended.err
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(line["number"], line["accepted"]) for line in lines] == [(n, n != 55) for n in range(1, 61)]


def test_messages_go_ahead_of_the_answers_and_each_gets_its_own(
    command: Command, site: Path, nightly: Path, peer: StartPeer, tmp_path: Path
) -> None:
    """By a peer that says nothing before it has 32, and answers the last of them first."""
    waiting: list[bytes] = []

    def together(body: bytes) -> list[bytes]:
        waiting.append(body)
        if len(waiting) < 32 and b"|M60|" not in body:
            return []
        answers = [acknowledged(one, "AE" if b"|M7|" in one else "AA") for one in reversed(waiting)]
        waiting.clear()
        return answers

    other, results = peer(together), tmp_path / "results.jsonl"
    ended = command("replay", nightly, "--to", f":{other.port}", "--config", site, "--results", results)
    assert (ended.code, ids(other.received)) == (1, numbered(1, 60))
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(line["control_id"], line["accepted"]) for line in lines] == [(f"M{n}", n != 7) for n in range(1, 61)]


@pytest.mark.parametrize(
    "second", [message("M1"), message(""), b"no HL7", message("M2") + b"NTE|1||" + b"x" * AHEAD_BYTES]
)
def test_what_could_not_be_told_apart_or_is_long_does_not_go_ahead(peer: StartPeer, second: bytes) -> None:
    other = peer(lambda body: [acknowledged(body if body[:3] == b"MSH" else message(""))])
    with MllpClient("127.0.0.1", other.port) as client:
        assert client.put(message("M1"))
        assert client.put(message("M3"))
        assert not client.put(second)
        assert (client.take().good, client.take().good) == (True, True)
        assert client.put(second)
        assert client.take().good
    assert other.received[:3] == [message("M1"), message("M3"), second]


def test_of_those_under_way_when_the_connection_is_lost_none_is_taken_for_answered(peer: StartPeer) -> None:
    other = peer(lambda body: None if b"|M2|" in body else [acknowledged(body)])
    with MllpClient("127.0.0.1", other.port) as client:
        assert client.send(message("M1")).good
        assert client.put(message("M2"))
        assert client.put(message("M3"))
        assert all(client.take().problem for _ in range(2))
        assert client.send(message("M4")).good


@pytest.mark.parametrize("how", ["interrupted", "unanswered", "gone", "killed"])
def test_a_run_that_did_not_end_is_gone_on_with(
    command: Command,
    site: Path,
    nightly: Path,
    peer: StartPeer,
    records: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    silent = [True]
    other = peer(lambda body: None if silent[0] and how == "unanswered" and b"|M31|" in body else [acknowledged(body)])
    put, take, to = MllpClient.put, MllpClient.take, f"127.0.0.1:{other.port}"

    def put_until_gone(self: MllpClient, body: bytes) -> bool:
        if b"|M31|" in body and how == "gone":
            self.close()
            self._address = ("127.0.0.1", 1)
        return put(self, body)

    def take_until_interrupted(self: MllpClient) -> Sent:
        sent = take(self)
        if sent.control_id == "M31" and how == "interrupted":
            raise KeyboardInterrupt
        return sent

    arguments = ("replay", nightly, "--to", to, "--config", site, "--json")
    if how == "killed":  # what is left of it is the last note
        Progress(site / "data", [nightly], to).note(30, now=True)
    else:
        monkeypatch.setattr(MllpClient, "put", put_until_gone)
        monkeypatch.setattr(MllpClient, "take", take_until_interrupted)
        ended = command(*arguments, *(["--rate", "10000"] if how == "gone" else []))  # none is under way then
        assert ended.code == (130 if how == "interrupted" else 3)
        assert ended.json["not_sent"] == (29 if how == "unanswered" else 30)
        assert "30 messages are done" in ended.err
    [record] = records.iterdir()
    assert "nightly" not in record.name
    assert json.loads(record.read_text()) == {"schema": "replay-progress/1", "messages": 30}
    monkeypatch.undo()
    silent[0] = False
    other.received.clear()
    ended = command(*arguments)
    assert ended.code == 0
    assert "30 messages were sent by a run that did not end" in ended.err
    assert ids(other.received)[-30:] == numbered(31, 60)  # behind what the first run had under way when it ended
    assert (len(ended.json["messages"]), ended.json["not_sent"], ended.json["sent_before"]) == (30, 0, 30)
    assert list(records.iterdir()) == []
    other.received.clear()
    assert command(*arguments).code == 0
    assert ids(other.received) == numbered(1, 60)


def test_from_start_another_file_and_another_address_begin_anew(
    command: Command, site: Path, nightly: Path, peer: StartPeer
) -> None:
    other, third = peer(lambda body: [acknowledged(body)]), peer(lambda body: [acknowledged(body)])
    note = Progress(site / "data", [nightly], f"127.0.0.1:{other.port}")
    note.note(40, now=True)
    assert command("replay", nightly, "--to", f":{third.port}", "--config", site).code == 0
    assert len(third.received) == 60
    assert command("replay", nightly, "--to", f":{other.port}", "--config", site, "--from-start").code == 0
    assert len(other.received) == 60
    note.note(40, now=True)
    nightly.write_bytes(nightly.read_bytes().replace(b"|M1|", b"|N1|"))
    other.received.clear()
    assert command("replay", nightly, "--to", f":{other.port}", "--config", site).code == 0
    assert ids(other.received) == ["N1", *numbered(2, 60)]


def test_until_nak_the_refused_one_is_sent_again(command: Command, site: Path, nightly: Path, peer: StartPeer) -> None:
    codes = {b"M7": "AE"}
    other = peer(lambda body: [acknowledged(body, codes.get(body.split(b"|")[9], "AA"))])
    arguments = ("replay", nightly, "--to", f":{other.port}", "--config", site, "--until-nak")
    assert command(*arguments).code == 1
    codes.clear()
    other.received.clear()
    assert command(*arguments).code == 0
    assert ids(other.received) == numbered(7, 60)


def test_what_is_noted_and_what_is_forgotten(tmp_path: Path, nightly: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    progress = Progress(tmp_path / "data", [nightly], "a:1", clock=lambda: now[0])
    progress.note(1)
    assert progress.messages() == 0
    now[0] = 1.0
    progress.note(2)
    progress.note(3)
    assert progress.messages() == 2
    progress.path.write_text("{")
    assert progress.messages() == 0
    old = Progress(tmp_path / "data", [nightly], "b:1")
    old.note(5, now=True)
    stood = old.path.stat().st_mtime
    progress.forget()
    assert old.messages() == 5
    monkeypatch.setattr("hl7bridge.cli.messages.resuming.time.time", lambda: stood + FORGET_AFTER + 1)
    progress.forget()
    assert old.messages() == 0


def test_progress_off_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with output.progress_of_bytes("sending", 1_000, clock=lambda: now[0]) as at:
        for step in range(1, 25):
            now[0] += 1.0
            at(step * 10, step * 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "sending: 10 %, 1,000 messages, 90 a second, 0:01:40 left",
        "sending: 20 %, 2,000 messages, 95 a second, 0:01:24 left",
    ]


HEAD, TAIL = b"FHS|^~\\&\rBHS|^~\\&\r", b"BTS|2\rFTS|1\r"
NOT_WHOLE = {
    "another count of messages": (HEAD, b"BTS|3\rFTS|1\r", "batch-count"),
    "another count of batches": (HEAD, b"BTS|2\rFTS|4\r", "file-count"),
    "no trailer": (HEAD, b"", "batch-open file-open"),
    "no trailer of the file": (HEAD, b"BTS|2\r", "file-open"),
    "in frames": (b"\x0b" + HEAD, b"BTS|3\rFTS|1\r\x1c\r", "batch-count"),
}


@pytest.mark.parametrize("name", NOT_WHOLE)
def test_a_file_that_is_not_whole_is_told_and_ends_with_1(
    command: Command, site: Path, peer: StartPeer, tmp_path: Path, name: str
) -> None:
    """What the drop folder knows of a file, sending it knows, too: its messages are sent, and the sender hears of it."""
    head, tail, local = NOT_WHOLE[name]
    path = tmp_path / "part.hl7"
    path.write_bytes(head + message("M1") + message("M2") + tail)
    other = peer(lambda body: [acknowledged(body)])
    at = ("--to", f"127.0.0.1:{other.port}")
    for arguments in (("replay", path, *at, "--config", site), ("send", path, *at)):
        ended = command(*arguments)
        assert (ended.code, ids(other.received)[-2:]) == (1, ["M1", "M2"])
        assert "part.hl7: " in ended.err
        document = command(*arguments, "--json").json
        assert [(one["file"], one["local"]) for one in document["files"]] == [
            ("part.hl7", one) for one in local.split()
        ]
    document = command("replay", path, "--dry-run", "--config", site, "--json").json
    assert [(one["file"], one["local"]) for one in document["files"]] == [("part.hl7", one) for one in local.split()]


def test_a_whole_file_is_nothing_to_tell_of(command: Command, site: Path, nightly: Path, peer: StartPeer) -> None:
    other = peer(lambda body: [acknowledged(body)])
    ended = command("replay", nightly, "--to", f"127.0.0.1:{other.port}", "--config", site, "--json")
    assert (ended.code, ended.json["files"]) == (0, [])
