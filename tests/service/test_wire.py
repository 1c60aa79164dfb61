"""What each odd input gets on the wire: the table of how other listeners fail, with what ours owes (last column).

One listener, real sockets, nothing delivered: the destination is never reached in these tests.
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hl7bridge.store.sqlite.driver import sqlite3
from tests.bridges import ROOT, Bridge, Feed, destination, running_bridge, wait_until, write_configuration
from tests.journey import KEY_SYSTEM, mfn, person
from tests.mllp_peer import END, START, Closed, Connection, read_answer

QUICK = {"listener": {"max_frame": "64KiB", "end_of_block_timeout": "300ms", "frame_timeout": "1s"}}
ADT = b"MSH|^~\\&|ADT|NORTHSIDE|B|F|20260302080000||ADT^A08^ADT_A01|adt-1|P|2.5.1\rPID|1||777^^^N^MR||Quillfeather^Odalys\r"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    feeds = [
        Feed("staff", KEY_SYSTEM, settings=QUICK),
        Feed("quiet", KEY_SYSTEM, settings={**QUICK, "hl7": {"unsupported": "ignore"}}),
        Feed("closing", KEY_SYSTEM, settings={**QUICK, "acknowledgment": {"codes": {"unavailable": "close"}}}),
    ]
    folder = tmp_path_factory.mktemp("wire")
    with running_bridge(folder, "http://127.0.0.1:9/fhir", feeds=feeds, role="listener") as running:
        yield running


@pytest.fixture
def peer(bridge: Bridge) -> Iterator[Connection]:
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        yield connection


_number = iter(range(1_000_000))


def message(**given: str) -> bytes:
    number = next(_number)
    return mfn(f"w{number}", person("MAD", f"W{number}", "Tamsworth^Ilse"), **given)


def id_of(body: bytes) -> str:
    return body.split(b"|")[9].decode()


def said(connection: Connection, count: int, timeout: float = 5.0) -> list[tuple[str, str]]:
    """The next answers: (MSA-1, MSA-2), and nothing behind them."""
    answers = []
    for _ in range(count):
        frame = connection.read(timeout)
        assert frame is not None, f"only {len(answers)} of {count} answers"
        answer = read_answer(frame)
        answers.append((answer.code, answer.control_id))
    assert connection.read(0.15) is None, "an answer too many"
    return answers


def framed(body: bytes) -> bytes:
    return START + body + END


WIRE = [
    ("good frame", lambda a, b: framed(a), "a"),
    ("junk, then a frame", lambda a, b: b"hello\r\n" + framed(a), "a"),
    ("a FS CR LF b", lambda a, b: framed(a) + b"\n" + framed(b), "ab"),
    ("FS and no CR, then silence", lambda a, b: START + a + b"\x1c", "a"),
    ("FS LF", lambda a, b: START + a + b"\x1c\n", "a"),
    ("a FS VT b", lambda a, b: START + a + b"\x1c" + framed(b), "ab"),
    ("a partial frame, then a whole one", lambda a, b: START + a[:80] + framed(b), "b"),
    ("two frames in one packet", lambda a, b: framed(a) + framed(b), "ab"),
    ("an empty frame", lambda a, b: framed(b"") + framed(a), "a"),
    ("keep-alives of CR and LF", lambda a, b: b"\r\n\r\n" + framed(a), "a"),
    ("NUL bytes between frames", lambda a, b: framed(a) + b"\0\0" + framed(b), "ab"),
    ("segments ended by LF", lambda a, b: framed(a.replace(b"\r", b"\n")), "a"),
    ("segments ended by CR LF", lambda a, b: framed(a.replace(b"\r", b"\r\n")), "a"),
    ("a byte order mark", lambda a, b: framed(b"\xef\xbb\xbf" + a), "a"),
    ("CR LF before MSH", lambda a, b: framed(b"\r\n" + a), "a"),
    ("two MSH and no BHS", lambda a, b: framed(a + b), "ab"),
    ("FHS and BHS around two", lambda a, b: framed(b"FHS|^~\\&\rBHS|^~\\&\r" + a + b + b"BTS|2\rFTS|1\r"), "ab"),
]


@pytest.mark.parametrize(("sent", "answers"), [row[1:] for row in WIRE], ids=[row[0] for row in WIRE])
def test_each_message_gets_its_one_answer(peer: Connection, sent, answers: str) -> None:
    a, b = message(), message()
    peer.write(sent(a, b))
    expected = {"a": ("AA", id_of(a)), "b": ("AA", id_of(b))}
    assert said(peer, len(answers)) == [expected[letter] for letter in answers]


@pytest.mark.parametrize("version", ["2.4", "2.5.1", "2.7", "2.9"])
@pytest.mark.parametrize("event", ["B01", "B02", "B06"])
@pytest.mark.parametrize(("accept", "application", "code"), [("", "", "AA"), ("AL", "NE", "CA"), ("AL", "AL", "CA")])
def test_a_personnel_message_is_answered_by_an_ack(
    peer: Connection, event: str, version: str, accept: str, application: str, code: str
) -> None:
    body = message(accept=accept, application=application).split(b"\r")
    head, staff = body[0].replace(b"MFN^M02^MFN_M02", f"PMU^{event}^PMU_{event}".encode()), body[3:]
    head = head.replace(b"|2.5.1", f"|{version}".encode())
    peer.write(framed(b"\r".join([head, b"EVN||20260302080000", *staff])))
    frame = peer.read(5)
    assert frame is not None
    answer = read_answer(frame)
    assert (answer.code, answer.message_type, answer.control_id) == (code, f"ACK^{event}^ACK", id_of(body[0] + b"|"))
    assert b"\rMF" not in frame
    assert (b"stored, delivery pending" in frame) == (code == "AA")
    assert peer.read(0.15) is None


def test_a_byte_at_a_time(peer: Connection) -> None:
    body = message()
    for byte in framed(body):
        peer.write(bytes([byte]))
    assert said(peer, 1) == [("AA", id_of(body))]


REFUSED = [
    ("a start block inside", lambda a: a[:90] + b"\x0b" + a[90:], "AE", True, "start-block-inside"),
    ("an end block inside", lambda a: a[:90] + b"\x1c" + a[90:], "AE", True, "end-block-inside"),
    ("not HL7", lambda a: b"GET / HTTP/1.1\r\n\r\n", "AR", False, ""),
    ("MSH and separators alone", lambda a: b"MSH|^~\\&|\r", "AR", False, "missing-msh-9"),
    ("no MSH-10", lambda a: a.replace(b"|" + id_of(a).encode() + b"|", b"||"), "AR", False, "missing-msh-10"),
    ("no MSH-9", lambda a: a.replace(b"MFN^M02^MFN_M02", b""), "AR", True, "missing-msh-9"),
    ("lower-case msh", lambda a: a.replace(b"MSH", b"msh"), "AR", False, ""),
    ("an unknown version", lambda a: a.replace(b"|2.5.1|", b"|9.9|"), "AR", True, "version"),
    ("a processing id of another system", lambda a: a.replace(b"|P|2.5.1", b"|T|2.5.1"), "AR", True, "processing-id"),
    ("an unknown event", lambda a: a.replace(b"MFN^M02^MFN_M02", b"MFN^M15"), "AR", True, "unsupported"),
    ("an unknown PMU event", lambda a: a.replace(b"MFN^M02^MFN_M02", b"PMU^B09"), "AR", True, "unsupported"),
    ("PMU before 2.4", lambda a: a.replace(b"MFN^M02^MFN_M02|", b"PMU^B01|").replace(b"2.5.1", b"2.3"), "AR", True, ""),
    ("ADT", lambda a: ADT, "AR", True, "unsupported"),
    ("undecodable", lambda a: a.replace(b"Tamsworth", b"Tam\xff\xfeworth"), "AE", True, "undecodable"),
    ("larger than max_frame", lambda a: a + b"NTE|1||" + b"x" * 70_000 + b"\r", "AR", True, "frame-too-large"),
]


@pytest.mark.parametrize(
    ("spoil", "code", "echoes", "local"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_refusal_names_its_reason_and_the_connection_goes_on(
    peer: Connection, spoil, code: str, echoes: bool, local: str
) -> None:
    body, good = message(), message()
    spoiled = spoil(body)
    peer.send(spoiled)
    frame = peer.read(5)
    assert frame is not None
    answer = read_answer(frame)
    assert answer.code == code
    assert answer.control_id == (id_of(spoiled) if echoes else "")
    assert local.encode() in frame
    for value in (b"Tamsworth", b"Quillfeather", b"Odalys"):
        assert value not in frame
    peer.send(good)
    assert said(peer, 1) == [("AA", id_of(good))]


MODES = [
    ("AL", "NE", ["CA"]),
    ("NE", "NE", []),
    ("ER", "NE", []),
    ("SU", "NE", ["CA"]),
    ("AL", "", ["CA"]),
]


def test_a_frame_of_many_messages_is_taken_some_at_a_time(peer: Connection) -> None:
    """More than a connection may have unanswered: each is answered, in order, and the next frame after them."""
    small = b"MSH|^~\\&|HR|N|B|N|20260302080000||MFN^M02^MFN_M02|many-%d|P|2.5.1\rMFI|STF||UPD|||NE\rMFE|MDC|||M%d\r"
    peer.send(framed(b"".join(small % (number, number) for number in range(600))) + framed(message()))
    answers = said(peer, 601, timeout=20.0)
    assert answers[:600] == [("AA", f"many-{number}") for number in range(600)]
    assert answers[600][0] == "AA"


@pytest.mark.parametrize(("accept", "application", "codes"), MODES)
def test_enhanced_mode_follows_msh_15_and_16(peer: Connection, accept: str, application: str, codes: list[str]) -> None:
    body = message(accept=accept, application=application)
    peer.send(body)
    assert [code for code, _ in said(peer, len(codes))] == codes


def test_enhanced_mode_refuses_an_event_with_cr(peer: Connection) -> None:
    body = message(accept="AL", application="AL").replace(b"MFN^M02^MFN_M02", b"MFN^M15")
    peer.send(body)
    assert said(peer, 1) == [("CR", id_of(body))]


def test_enhanced_mode_takes_bad_content_and_says_so_in_the_application_acknowledgment(peer: Connection) -> None:
    body = mfn("content-1", person("MAD", "W1", "^Nofamily"), accept="AL", application="AL")
    peer.send(body)
    assert said(peer, 2) == [("CA", "content-1"), ("AE", "content-1")]


def test_an_acknowledgment_is_never_answered(peer: Connection) -> None:
    peer.send(b"MSH|^~\\&|A|B|C|D|20260302||ACK^M02^ACK|x1|P|2.5.1\rMSA|AA|y1\r")
    good = message()
    peer.send(good)
    assert said(peer, 1) == [("AA", id_of(good))]


def test_separators_of_the_sender_come_back(peer: Connection) -> None:
    body = message().replace(b"|", b"#").replace(b"^", b"@")
    peer.send(body)
    frame = peer.read(5)
    assert frame is not None
    assert frame.startswith(b"MSH#@~\\&#")
    assert b"\rMSA#AA#" in frame


def test_a_feed_may_ignore_what_is_not_its_own(bridge: Bridge) -> None:
    with Connection(("127.0.0.1", bridge.ports["quiet"])) as connection:
        connection.send(ADT)
        assert said(connection, 1) == [("AA", "adt-1")]


def test_the_patient_of_an_adt_message_never_reaches_the_disk(bridge: Bridge) -> None:
    canary = b"Zyxcanarywright"
    bodies = [ADT.replace(b"Quillfeather", canary), b"ADT|" + canary, ADT.replace(b"Quillfeather", canary + b"\xff")]
    for feed in ("staff", "quiet"):
        with Connection(("127.0.0.1", bridge.ports[feed])) as connection:
            for body in bodies:
                connection.ask(body)
    with closing(sqlite3.connect(bridge.store_path)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in bridge.folder.rglob("*"):
        if path.is_file():
            assert canary not in path.read_bytes(), path.name


def test_no_frame_that_never_ends_stays_open(peer: Connection) -> None:
    peer.write(START + b"MSH|^~\\&|half")
    with pytest.raises(Closed):
        peer.read(10)


def test_a_sender_that_drips_bytes_gains_no_time(peer: Connection) -> None:
    def drip() -> None:
        for _ in range(100):
            peer.write(b"M")
            peer.read(0.1)

    peer.write(START)
    with pytest.raises(Closed):
        drip()


def test_bytes_without_a_start_block_end_the_connection(peer: Connection) -> None:
    peer.write(message() + END)
    with pytest.raises(Closed):
        peer.read(10)


def test_a_message_whose_sender_left_before_the_last_byte_is_kept(bridge: Bridge) -> None:
    body = message(accept="NE", application="NE")
    with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
        connection.write(START + body + b"\x1c")
    wait_until(lambda: id_of(body).encode() in control_ids(bridge), 10, "the message is stored")


def ended(connection: Connection) -> None:
    connection.socket.shutdown(socket.SHUT_WR)


def test_a_sender_that_ends_its_side_gets_every_answer_and_then_the_end(peer: Connection) -> None:
    bodies = [message(), message(accept="AL", application="NE"), message()]
    for body in bodies:
        peer.send(body)
    ended(peer)
    answers = [read_answer(peer.read(5) or b"") for _ in bodies]
    assert [answer.code for answer in answers] == ["AA", "CA", "AA"]
    assert [answer.control_id for answer in answers] == [id_of(body) for body in bodies]
    with pytest.raises(Closed):
        peer.read(5)


def test_the_last_byte_may_be_missing_when_the_sender_ends_its_side(peer: Connection) -> None:
    body = message()
    peer.write(START + body + b"\x1c")
    ended(peer)
    assert read_answer(peer.read(5) or b"").control_id == id_of(body)


def fates(bridge: Bridge, bodies: list[bytes]) -> set[str]:
    """What is noted of the answers to these messages; "" where one of them has none yet."""
    names = [id_of(body) for body in bodies]
    with closing(sqlite3.connect(bridge.store_path)) as store:
        rows = store.execute(
            "SELECT a.state FROM acknowledgment a JOIN message m ON m.id = a.message_id"
            f" WHERE m.control_id IN ({', '.join('?' * len(names))})",
            names,
        ).fetchall()
    return {state for (state,) in rows} | ({""} if len(rows) < len(names) else set())


def reset(connection: Connection) -> None:
    """End it as a program does that fails: without a word of farewell."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read(connection: Connection, bodies: list[bytes]) -> None:
    for _ in bodies:
        assert connection.read(5)


def came(connection: Connection, bodies: list[bytes]) -> None:
    """The answer is there, and is not read."""
    assert select.select([connection.socket], [], [], 5)[0]


Step = Callable[[Connection, list[bytes]], None]
FIN: Step = lambda connection, _: ended(connection)  # noqa: E731
CLOSE: Step = lambda connection, _: connection.close()  # noqa: E731
RST: Step = lambda connection, _: reset(connection)  # noqa: E731

# How many messages; what the sender does before their commit, and what after it; what is noted then.
ORDERS = {
    "reads and stays": (1, [], [read], "sent"),
    "reads and closes": (1, [], [read, CLOSE], "sent"),
    "ends its side before the commit, and reads": (1, [FIN], [read], "sent"),
    "ends its side before the commit, reads and closes": (1, [FIN], [read, CLOSE], "sent"),
    "ends its side after the answer came, and reads": (1, [], [came, FIN, read], "sent"),
    "many before the commit, and reads": (80, [], [read], "sent"),
    "many before the commit, ends its side, and reads": (80, [FIN], [read], "sent"),
    "closes before the commit": (1, [CLOSE], [], "not sent"),
    "resets before the commit": (1, [RST], [], "not sent"),
    "closes at the time of the commit": (1, [], [CLOSE], "not sent"),
    "resets at the time of the commit": (1, [], [RST], "not sent"),
    "closes when the answer came, and does not read it": (1, [], [came, CLOSE], "not sent"),
    "resets when the answer came, and does not read it": (1, [], [came, RST], "not sent"),
    "many before the commit, so that no more is read, and closes": (30, [CLOSE], [], "not sent"),
}


@pytest.fixture(scope="module")
def sent(bridge: Bridge) -> Iterator[dict[str, list[bytes]]]:
    """All of them, one after the other: what is noted of each is waited for at the end, once."""
    bodies = {name: [message() for _ in range(order[0])] for name, order in ORDERS.items()}
    with ExitStack() as open_ones, closing(sqlite3.connect(bridge.store_path, isolation_level=None)) as other:
        for name, (_, before, after, _) in ORDERS.items():
            connection = open_ones.enter_context(Connection(("127.0.0.1", bridge.ports["staff"])))
            other.execute("BEGIN IMMEDIATE")
            connection.write(b"".join(framed(body) for body in bodies[name]))
            for step in before:
                step(connection, bodies[name])
            other.execute("ROLLBACK")
            for step in after:
                step(connection, bodies[name])
        yield bodies


@pytest.mark.parametrize("name", ORDERS)
def test_an_answer_that_nobody_reads_is_not_sent(bridge: Bridge, sent: dict[str, list[bytes]], name: str) -> None:
    """A sender that is gone looks at first like one that waits: only what it says to the answer tells."""
    fate = ORDERS[name][-1]
    wait_until(lambda: fates(bridge, sent[name]) == {fate}, 10, lambda: f"noted: {fates(bridge, sent[name])}")


def test_a_frame_that_does_not_end_is_answered_and_the_connection_goes_on(peer: Connection) -> None:
    half, good = message(), message()
    peer.write(START + half)
    frame = peer.read(5)
    assert frame is not None
    assert (read_answer(frame).code, read_answer(frame).control_id) == ("AR", id_of(half))
    peer.write(b"STF|1\r" + END)
    peer.send(good)
    assert said(peer, 1) == [("AA", id_of(good))]


def control_ids(bridge: Bridge) -> set[bytes]:
    with closing(sqlite3.connect(bridge.store_path)) as store:
        return {row[0].encode() for row in store.execute("SELECT control_id FROM message")}


def test_a_store_that_cannot_be_written_refuses_and_the_message_is_taken_later(bridge: Bridge) -> None:
    """Another program holds the write lock for longer than we wait: AR, nothing stored; then it goes on."""
    body = message()
    with (
        closing(sqlite3.connect(bridge.store_path, isolation_level=None)) as other,
        Connection(("127.0.0.1", bridge.ports["staff"])) as connection,
        Connection(("127.0.0.1", bridge.ports["closing"])) as closes,
    ):
        other.execute("BEGIN IMMEDIATE")
        connection.send(body)
        closes.send(message())
        answer = read_answer(connection.read(20) or b"")
        assert (answer.code, answer.control_id) == ("AR", id_of(body))
        with pytest.raises(Closed):
            closes.read(20)
        other.execute("ROLLBACK")
        connection.send(body)
        assert said(connection, 1) == [("AA", id_of(body))]


def test_the_port_of_a_running_instance_is_one_clear_line(bridge: Bridge, tmp_path: Path) -> None:
    taken = Feed("staff", KEY_SYSTEM, port=bridge.ports["staff"])
    write_configuration(tmp_path, [taken], {"fhir": destination("http://127.0.0.1:9/fhir")})
    second = subprocess.run(
        [sys.executable, "-m", "hl7bridge", "run", "-c", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2
    (line,) = [line for line in second.stderr.splitlines() if "error" in line]
    assert "feeds/staff.toml: listener.port: cannot listen on" in line
