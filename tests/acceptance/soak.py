"""Minutes of ordinary and of bad company: 64 connections, refusals on both sides, peers that reset. Does memory stay flat?

Senders send without an end. Beside them, peers send what is refused, leave frames unfinished, never read, and reset; the
server refuses in one way after the other. Meanwhile the resident memory of each role is sampled, and a line is laid through
the samples by least squares. At the end everything has arrived, once and in order.
"""

from __future__ import annotations

import argparse
import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.acceptance import checker
from tests.acceptance.refusals import REFUSALS, Server
from tests.acceptance.seeds import add_seed
from tests.acceptance.traffic import FEEDS, Traffic, flowing
from tests.bridges import Bridge, merged, running_bridge, smart_auth
from tests.journey import mfn, person
from tests.mllp_peer import END, START, Connection, read_answer

SENDERS, BAD_PEERS = 56, 8
REFUSED_FOR, WELL_FOR = 3.0, 9.0  # seconds of each refusal of the server, and between two
SAMPLE_EVERY = 1.0
WARMING = 0.3  # of the time: caches fill, and the largest batch of each kind has come once
SETTLE_WITHIN = 180.0

LEAK = 512.0
"""Bytes a message that may stay. The least that code keeps of a message by mistake is an object with a few fields, and an
entry in a container: about 500 bytes. What is less is the noise of the allocator."""

BREATHING = 10 * 1024 * 1024
"""Bytes by which a process in order comes and goes: what its allocator keeps (a few arenas of 1 MiB), SQLite's caches (2 MiB
a connection), frames that happen to be under way. What a line rises by in all is a leak only beyond that."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="how long (default 10; less sees only larger leaks)"
    )
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between two messages of a sender (default 1)")
    add_seed(parser)


# --- memory ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Resident bytes of one process at a moment, and how many messages had been sent by then."""

    seconds: float
    messages: int
    resident: int


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line by least squares; 0 where all stand at one place."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def judged(role: str, samples: Sequence[Sample]) -> checker.Report:
    """What one process grew by after it was warm."""
    last = samples[-1].seconds
    warm = [sample for sample in samples if sample.seconds >= last * WARMING]
    by_second = slope([(one.seconds, one.resident) for one in warm])
    by_message = slope([(one.messages, one.resident) for one in warm])
    messages = warm[-1].messages - warm[0].messages
    figures = {
        f"{role}: most, KiB": max(one.resident for one in samples) // 1024,
        f"{role}: slope, bytes a second": round(by_second),
        f"{role}: slope, bytes a message": round(by_message),
        f"{role}: least leak seen, bytes a message": round(max(LEAK, BREATHING / max(1, messages))),
    }
    faults = []
    if by_message > LEAK and by_message * messages > BREATHING:
        faults.append(checker.Fault("memory", role, f"rises by {by_message:,.0f} bytes a message over {messages:,}"))
    return checker.Report(faults, figures)


@dataclass
class Watch:
    """Samples the roles of a bridge while the block runs. A role that is started anew is another process."""

    bridge: Bridge
    traffic: Traffic
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(SAMPLE_EVERY):
            roles = {"listener": self.bridge.pid}
            roles |= {f"delivery ({number})": pid for number, pid in enumerate(self.bridge.children(), 1)}
            now, sent = time.monotonic() - self._began, self.traffic.sent
            for role, pid in roles.items():
                if resident := resident_of(pid):
                    self.samples.setdefault(role, []).append(Sample(now, sent, resident))


def resident_of(pid: int) -> int:
    """Bytes of memory that a process has at the moment (Linux), 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


# --- bad company -----------------------------------------------------------------------------------------------------


@dataclass
class BadPeer:
    """One habit after the other, each on a connection of its own; what must be refused is asked for its answer."""

    number: int
    bridge: Bridge
    seed: int
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[checker.Fault] = field(default_factory=list)

    def run(self, done: threading.Event) -> None:
        """Until `done`. A fault of its own is one of the run: a peer that ended unseen would prove nothing."""
        try:
            self._run(done)
        except Exception as error:
            self.faults.append(checker.Fault("harness", f"bad peer {self.number}", type(error).__name__))

    def _run(self, done: threading.Event) -> None:
        dice = random.Random(f"{self.seed} {self.number}")
        habits = [self.refused, self.unfinished, self.resets_before, self.resets_after, self.reads_nothing, self.noise]
        for number in itertools.count():
            habit = dice.choice(habits)
            address = ("127.0.0.1", self.bridge.ports[FEEDS[number % len(FEEDS)].name])
            try:
                with Connection(address) as connection:
                    habit(connection, f"bad{self.number}x{number}", dice)
                self.counts[habit.__name__] = self.counts.get(habit.__name__, 0) + 1
            except OSError:  # Closed is one
                self.counts["closed by the listener"] = self.counts.get("closed by the listener", 0) + 1
            if done.wait(dice.uniform(0.2, 1.0)):
                return

    def refused(self, connection: Connection, name: str, dice: random.Random) -> None:
        good = mfn(name, person("MAD", name, "Tamsworth^Ilse"))
        body = dice.choice(
            [
                good.replace(b"MFN^M02^MFN_M02", b"ORU^R01^ORU_R01"),
                good.replace(b"|2.5.1", b"|9.9"),
                good.replace(b"STF|", b"STF|" + b"~" * 2000, 1),
                good.replace(b"Tamsworth", b"Tams\xff\xfeworth"),
                good.split(b"MFE")[0],
            ]
        )
        answer = connection.read(20.0) if not connection.send(body) else None
        if answer is None or read_answer(answer).positive or read_answer(answer).control_id != name:
            self.faults.append(checker.Fault("refusal", "listener", "a message was not refused, or not answered"))

    def unfinished(self, connection: Connection, name: str, _: random.Random) -> None:
        connection.write(START + mfn(name, person("MAD", name, "Tamsworth^Ilse")) * 20)

    def resets_before(self, connection: Connection, name: str, dice: random.Random) -> None:
        self.unfinished(connection, name, dice)
        reset(connection)

    def resets_after(self, connection: Connection, name: str, dice: random.Random) -> None:
        """Messages that are refused, and the answers to them break: nothing of them is delivered."""
        many = [mfn(f"{name}n{n}", "no such record").replace(b"M02", b"M05") for n in range(dice.randrange(1, 200))]
        connection.write(b"".join(START + body + END for body in many))
        reset(connection)

    def reads_nothing(self, connection: Connection, name: str, dice: random.Random) -> None:
        connection.write((START + mfn(name, "x").replace(b"M02", b"M05") + END) * 500)
        time.sleep(dice.uniform(0.0, 2.0))

    def noise(self, connection: Connection, _: str, dice: random.Random) -> None:
        connection.write(dice.randbytes(dice.randrange(1, 20_000)))


def reset(connection: Connection) -> None:
    """End it as a program does that fails."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def bad_company(bridge: Bridge, seed: int) -> Iterator[list[BadPeer]]:
    """`BAD_PEERS` of them while the block runs."""
    done, peers = threading.Event(), [BadPeer(number, bridge, seed) for number in range(BAD_PEERS)]
    threads = [threading.Thread(target=peer.run, args=(done,), name=f"bad peer {peer.number}") for peer in peers]
    for thread in threads:
        thread.start()
    try:
        yield peers
    finally:
        done.set()
        for thread in threads:
            thread.join(60)


# --- the run ---------------------------------------------------------------------------------------------------------


def main(options: argparse.Namespace, folder: Path) -> checker.Report:
    """All of it, for so many minutes."""
    own: Mapping[str, object] = {"listener": {"frame_timeout": "5s", "answer_timeout": "5s"}}
    feeds = [replace(feed, settings=merged(feed.settings, own)) for feed in FEEDS]
    with (
        Server(folder / "sandbox") as server,
        running_bridge(
            folder / "bridge",
            server.sandbox.base_url,
            feeds=feeds,
            to={"timeout": "2s", "auth": smart_auth(server.sandbox)},
        ) as bridge,
    ):
        traffic = Traffic(folder / "sender.jsonl", bridge, options.seed, SENDERS, pace=options.pace)
        with (
            flowing(traffic),
            bad_company(bridge, options.seed) as peers,
            Watch(bridge, traffic) as watch,
        ):
            until = time.monotonic() + options.minutes * 60
            for refusal in itertools.cycle(REFUSALS):
                time.sleep(max(0.0, min(WELL_FOR, until - time.monotonic())))
                if time.monotonic() >= until:
                    break
                with server.refusing(refusal):
                    time.sleep(REFUSED_FOR)
        bridge.wait_delivered(SETTLE_WITHIN)
        found = checker.check_files(server.sandbox.journal_file, traffic.path)
        found.figures |= {"messages": traffic.sent, "held": bridge.held()}
    for peer in peers:
        found.faults.extend(peer.faults)
        for what, count in peer.counts.items():
            name = f"bad peers: {what.replace('_', ' ')}"
            found.figures[name] = found.figures.get(name, 0) + count
    for role, samples in watch.samples.items():
        seen = judged(role, samples)
        found.faults.extend(seen.faults)
        found.figures |= seen.figures
    return found
