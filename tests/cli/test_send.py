"""`send`: what goes over the wire, what comes back, and what the exit code says of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.cli.messages.mllp_client import MllpClient, address_of, read_answer
from hl7bridge.cli.messages.send import paced
from hl7bridge.errors import ConfigError, Unreachable
from tests.cli.conftest import Ended, Peer, acknowledged, message

Command = Callable[..., Ended]
StartPeer = Callable[[Callable[[bytes], list[bytes] | None]], Peer]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.hl7" for n in (1, 2, 3)]
    for n, path in enumerate(paths, 1):
        path.write_bytes(message(f"M{n}"))
    return paths


def test_sends_messages_as_they_are_and_prints_each_answer(
    command: Command, files: list[Path], peer: StartPeer
) -> None:
    other = peer(lambda body: [acknowledged(body, text="stored, delivery pending")])
    ended = command("send", *files, "--to", f"127.0.0.1:{other.port}")
    assert ended.code == 0
    assert other.received == [message("M1"), message("M2"), message("M3")]
    assert other.connections == 1
    shown = ended.out.splitlines()
    assert [line.split()[:3] for line in shown] == [[f"M{n}", "MFN^M02", "AA"] for n in (1, 2, 3)]
    assert all(line.endswith("stored, delivery pending") and " ms " in line for line in shown)
    assert ended.err.startswith("3 sent: 3 AA; ")


def test_a_nak_is_told_with_its_reasons_and_ends_with_1(command: Command, files: list[Path], peer: StartPeer) -> None:
    other = peer(lambda body: [acknowledged(body, "AE" if b"M2" in body else "AA")])
    ended = command("send", *files, "--to", f"127.0.0.1:{other.port}", "--json")
    assert ended.code == 1
    document = ended.json
    assert (document["schema"], document["to"]) == ("send/1", f"127.0.0.1:{other.port}")
    assert [one["accepted"] for one in document["messages"]] == [True, False, True]
    [refused] = document["messages"][1]["acknowledgments"]
    assert refused["code"] == "AE"
    assert refused["errors"] == [{"code": "101", "severity": "E", "location": "STF-1", "text": "the key is missing"}]
    assert refused["milliseconds"] >= 0
    assert "STF-1 101 the key is missing" in command("send", *files, "--to", f"127.0.0.1:{other.port}").out


def test_until_nak_stops_there(command: Command, files: list[Path], peer: StartPeer) -> None:
    other = peer(lambda body: [acknowledged(body, "AR" if b"M2" in body else "AA")])
    ended = command("send", *files, "--to", f"127.0.0.1:{other.port}", "--until-nak")
    assert ended.code == 1
    assert len(other.received) == 2
    assert "1 not sent" in ended.err


@pytest.mark.parametrize("ending", [Unreachable("nobody takes messages there"), KeyboardInterrupt()])
def test_what_came_back_is_told_when_the_rest_cannot_be_sent(
    command: Command,
    files: list[Path],
    peer: StartPeer,
    monkeypatch: pytest.MonkeyPatch,
    ending: BaseException,
) -> None:
    put = MllpClient.put

    def put_one(self: MllpClient, body: bytes) -> bool:
        if b"M2" in body:
            raise ending
        return put(self, body)

    monkeypatch.setattr(MllpClient, "put", put_one)
    to = f"127.0.0.1:{peer(lambda body: [acknowledged(body)]).port}"
    ended = command("send", *files, "--to", to, "--json")
    assert ended.code == (3 if isinstance(ending, Unreachable) else 130)
    assert [one["control_id"] for one in ended.json["messages"]] == ["M1"]
    assert ended.json["not_sent"] == 2
    assert "1 sent: 1 AA" in (said := command("send", *files, "--to", to).err)
    assert "2 not sent" in said


def test_nobody_there_ends_with_3(command: Command, files: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = command("send", files[0], "--to", f"127.0.0.1:{port}")
    assert ended.code == 3
    assert ended.err.startswith(f"error: nobody takes messages at 127.0.0.1:{port} (")


def test_a_closed_connection_ends_with_3_and_the_next_message_gets_another(
    command: Command, files: list[Path], peer: StartPeer
) -> None:
    other = peer(lambda body: None if b"M1" in body else [acknowledged(body)])
    ended = command("send", *files, "--to", f"127.0.0.1:{other.port}")
    assert ended.code == 3
    assert "the connection was closed without an answer" in ended.out
    assert (len(other.received), other.connections) == (3, 2)


def test_no_answer_in_time(command: Command, files: list[Path], peer: StartPeer) -> None:
    other = peer(lambda body: [])
    ended = command("send", files[0], "--to", f"127.0.0.1:{other.port}", "--timeout", "0.1")
    assert ended.code == 3
    assert "no answer within 0.1 s" in ended.out


def test_an_answer_to_another_message_is_not_taken_for_ours(
    command: Command, files: list[Path], peer: StartPeer
) -> None:
    other = peer(lambda body: [acknowledged(message("OLD"), "AE"), acknowledged(body)])
    assert command("send", files[0], "--to", f"127.0.0.1:{other.port}").code == 0
    other = peer(lambda body: [acknowledged(message("OLD"))])
    ended = command("send", files[0], "--to", f"127.0.0.1:{other.port}", "--timeout", "0.1")
    assert ended.code == 3
    assert "1 to other messages" in ended.out


@pytest.mark.parametrize(
    ("accept", "application", "answers", "code", "codes"),
    [
        ("AL", "AL", [("CA", "accept"), ("AA", "application")], 0, ["CA", "AA"]),
        ("AL", "NE", [("CA", "accept")], 0, ["CA"]),
        ("NE", "AL", [("AE", "application")], 1, ["AE"]),
        ("AL", "AL", [("CR", "accept")], 1, ["CR"]),
        ("AL", "AL", [("AA", "original")], 0, ["AA"]),
        ("AL", "AL", [("AE", "original")], 1, ["AE"]),
        ("NE", "NE", [], 0, []),
        ("ER", "NE", [], 0, []),
    ],
)
def test_enhanced_mode_waits_for_what_was_asked(
    command: Command,
    tmp_path: Path,
    peer: StartPeer,
    accept: str,
    application: str,
    answers: list[tuple[str, str]],
    code: int,
    codes: list[str],
) -> None:
    (tmp_path / "e.hl7").write_bytes(message("E1", accept, application))
    other = peer(lambda body: [acknowledged(body, code, kind) for code, kind in answers])
    ended = command("send", tmp_path / "e.hl7", "--to", f"127.0.0.1:{other.port}", "--json")
    assert ended.code == code
    [one] = ended.json["messages"]
    assert [answer["code"] for answer in one["acknowledgments"]] == codes


def test_an_acknowledgment_is_not_waited_for(command: Command, tmp_path: Path, peer: StartPeer) -> None:
    (tmp_path / "a.hl7").write_bytes(acknowledged(message()))
    other = peer(lambda body: [])
    ended = command("send", tmp_path / "a.hl7", "--to", f"127.0.0.1:{other.port}")
    assert ended.code == 0
    assert "no answer was asked for" in ended.out


def test_what_is_no_hl7_is_sent_all_the_same(command: Command, tmp_path: Path, peer: StartPeer) -> None:
    (tmp_path / "a.hl7").write_bytes(b"hello there")
    other = peer(lambda body: [acknowledged(message(""), "AR")])
    ended = command("send", tmp_path / "a.hl7", "--to", f"127.0.0.1:{other.port}")
    assert ended.code == 1
    assert other.received == [b"hello there"]


def test_a_hostile_answer_is_shown_safely(command: Command, files: list[Path], peer: StartPeer) -> None:
    other = peer(lambda body: [b"MSH|^~\\&|||||||ACK|1|P|2.3\rMSA|AE|M1|\x1b[2Jgone\xe2\x80\xae\r"])
    ended = command("send", files[0], "--to", f"127.0.0.1:{other.port}")
    assert "\\x1b[2Jgone\\u202e" in ended.out
    assert "\x1b" not in ended.out


@pytest.mark.parametrize("raw", [b"", b"junk", b"MSH|^~\\&|||||||ACK|1|P|2.3\r"])
def test_an_answer_that_cannot_be_read_is_negative(raw: bytes) -> None:
    answer = read_answer(raw)
    assert not answer.positive
    assert answer.text


def test_old_and_new_errors_read_alike() -> None:
    old = read_answer(b"MSH|^~\\&|||||||ACK|1|P|2.3\rMSA|AE|1|no key\rERR|STF^2^1^101&Required field missing\r")
    new = read_answer(b"MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|AE|1\rERR||STF^2^1|101|E|no-key|||the key is missing\r")
    assert [str(found) for found in old.complaints] == ["STF[2]-1 101 Required field missing"]
    assert [str(found) for found in new.complaints] == ["STF[2]-1 101 the key is missing"]


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:2575", ("127.0.0.1", 2575)), ("[::1]:2575", ("::1", 2575)), (":2575", ("127.0.0.1", 2575))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "host:0", "host:x", "host:70000"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        address_of(text)


def test_the_rate_is_kept_by_the_clock() -> None:
    now, waits = [0.0], []

    def sleep(seconds: float) -> None:
        waits.append(round(seconds, 3))
        now[0] += seconds

    for _ in paced([b"x"] * 4, 10, lambda: now[0], sleep):
        now[0] += 0.04  # sending takes a while
    assert waits == [0.06, 0.06, 0.06]
