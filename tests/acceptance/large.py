"""One very large master file: how much memory it takes, whether other senders notice, and what a kill leaves of it.

A file of `records` people goes in while another feed sends a message every few milliseconds. Memory is that of the whole
process tree, as the system counts it; the other feed's waiting times are compared with those before. Then the bridge is
killed while it reads the file, and again while it writes the records out: in the end each record is there once.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hl7bridge.store.sqlite.driver import sqlite3
from tests.acceptance import stream
from tests.acceptance.checker import Fault, Report
from tests.acceptance.seeds import add_seed
from tests.bridges import Bridge, Feed, running_bridge, wait_until
from tests.journey import mfn, person
from tests.mllp_peer import Closed, Connection, read_answer

BIG_KEYS = "urn:uuid:6d4c1f0a-3f0e-4d0b-8a52-77a1c20b9e01"
SMALL_KEYS = "urn:uuid:6d4c1f0a-3f0e-4d0b-8a52-77a1c20b9e02"
FEEDS = [
    Feed("nightly", BIG_KEYS, settings={"listener": {"max_frame": "64MiB", "frame_timeout": "2m"}}),
    Feed("other", SMALL_KEYS),
]
NOWHERE = "http://127.0.0.1:9/fhir"  # nothing is delivered: what is looked at is the way in
READ_WITHIN = 900.0
TIMES_THE_FRAME = 8  # memory beyond idle
TIMES_SLOWER = 5  # the other feed's 99th percentile
EVERY = 0.02  # seconds between two messages of the other feed


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=int, default=50_000, help="people in the file (default 50000)")
    add_seed(parser)


def file_of(records: int, control_id: str, seed: int) -> bytes:
    """An MFN^M02 of some 650 bytes a record."""
    rng = random.Random(seed)
    lines = [stream.header("NIGHTLY", control_id, stream.BEGIN), "MFI|PRA^Practitioner^HL70175||UPD|||AL"]
    for number in range(records):
        key = f"N{number:07d}"
        family, given = rng.choice(stream.FAMILIES), rng.choice(stream.GIVEN)
        phone = f"^WPN^PH^^1^555^{rng.randrange(10**7):07d}"
        mobile = f"^PRN^CP^^1^555^{rng.randrange(10**7):07d}"
        office = "12 Alder Walk^^Northside^ST^12345^USA^O"
        lines += [
            f"MFE|MAD|{key}||{key}|CWE",
            f"STF|{key}|{key}^^^NIGHTLY^EI|{family}^{given}^^^Dr||F||A|CARD^Cardiology|CARD^Cardiology|{phone}~{mobile}"
            f"|{office}|20190401||^NET^Internet^{key}@hospital.test",
            f"PRA|{key}|||||{stream.npi(30_000_000 + number)}^NPI",
            "ORG|1|CARD^Cardiology|D^Department^HL70474|Y||||20190401",
            "LAN|1|eng^English^ISO639|2^SPEAK^HL70403",
            f"CER|1||{number}|State Board^L|||||||LIC^License^L|MED^Medicine^L||||||||||20300101",
            "NTE|1||" + " ".join(rng.choice(stream.FAMILIES) for _ in range(14)),
        ]
    return ("\r".join(lines) + "\r").encode()


class OtherFeed:
    """Sends one message after the other on one connection, and keeps the waiting times in seconds."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._stop = threading.Event()
        self.waits: list[float] = []
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def sending(self) -> Iterator[OtherFeed]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        with Connection(("127.0.0.1", self._bridge.ports["other"]), timeout=60.0) as connection:
            while not self._stop.is_set():
                self.sent += 1
                key = f"O{self.sent % 500}"
                body = mfn(f"other-{time.time_ns()}", person("MAD", key, "Tamsworth^Ilse"))
                begun = time.perf_counter()
                answer = read_answer(connection.ask(body, timeout=120.0))
                self.waits.append(time.perf_counter() - begun)
                assert answer.code == "AA"
                self._stop.wait(EVERY)


def slowest(waits: list[float]) -> float:
    """The 99th percentile in seconds."""
    return statistics.quantiles(waits, n=100)[98]


class Memory:
    """The most that the process tree has had in memory at one time, in bytes."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._stop = threading.Event()
        self.peak = self.now()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def now(self) -> int:
        return sum(resident(pid) for pid in (self._bridge.pid, *self._bridge.children()))

    @contextmanager
    def watched(self) -> Iterator[Memory]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, self.now())


def resident(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it has just ended
    return 0


class Stored:
    """What is in the store of the nightly feed's messages, read from outside."""

    def __init__(self, bridge: Bridge) -> None:
        self._path = bridge.store_path

    def one(self, sql: str, *values: object) -> int:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=30)) as connection:
            found = connection.execute(sql, values).fetchone()
            return int(found[0] or 0)

    def arriving(self) -> int:
        return self.one("SELECT SUM(records) FROM arrival")

    def messages(self) -> int:
        return self.one("SELECT COUNT(*) FROM message WHERE feed = 'nightly' AND state = 'accepted'")

    def records(self) -> int:
        return self.one("SELECT COUNT(*) FROM record r JOIN message m ON m.id = r.message_id WHERE m.feed = 'nightly'")

    def people(self) -> int:
        """Different people with exactly one delivery."""
        return self.one(
            "SELECT COUNT(*) FROM"
            " (SELECT source_key FROM delivery WHERE feed = 'nightly' GROUP BY source_key HAVING COUNT(*) = 1)"
        )


def measured(folder: Path, raw: bytes, records: int) -> tuple[list[Fault], dict[str, int]]:
    """The file goes in beside another feed: memory, waiting times, one answer for each record."""
    faults: list[Fault] = []
    with running_bridge(folder, NOWHERE, feeds=FEEDS) as bridge:
        stored = Stored(bridge)
        with OtherFeed(bridge).sending() as other:
            wait_until(lambda: len(other.waits) >= 300, 120, "the other feed is answered")
            before = list(other.waits)
            idle = Memory(bridge).now()
            with Memory(bridge).watched() as memory, Connection(("127.0.0.1", bridge.ports["nightly"])) as connection:
                begun = time.monotonic()
                answer = read_answer(connection.ask(raw, timeout=READ_WITHIN))
                answered = time.monotonic() - begun
                at_answer = len(other.waits)
                wait_until(lambda: not stored.arriving(), READ_WITHIN, "all records are written out", 0.1)
                written = time.monotonic() - begun
            during, after = other.waits[len(before) : at_answer], other.waits[at_answer:]
        if (answer.code, len(answer.records), set(answer.records.values())) != ("AA", records, {"S"}):
            faults.append(Fault("refused", "", f"{answer.code}, {len(answer.records)} records answered"))
        faults += complete(stored, records)
    extra = memory.peak - idle
    if extra > TIMES_THE_FRAME * len(raw):
        faults.append(Fault("memory", "", f"{extra / len(raw):.1f} times the file"))
    for when, waits in (("until the answer", during), ("while records are written out", after)):
        if (ratio := slowest(waits) / slowest(before)) > TIMES_SLOWER:
            faults.append(
                Fault("slow", "", f"{when}, the other feed's 99th percentile is {ratio:.1f} times what it was")
            )
    return faults, {
        "records": records,
        "bytes of the file": len(raw),
        "memory, idle (MB)": idle // 10**6,
        "memory beyond that at most (MB)": extra // 10**6,
        "... in percent of the file": round(100 * extra / len(raw)),
        "answered after (s)": round(answered),
        "written out after (s)": round(written),
        "messages of the other feed until the answer": len(during),
        "its 99th percentile before (us)": round(1e6 * slowest(before)),
        "its 99th percentile until the answer (us)": round(1e6 * slowest(during)),
        "... while records are written out (us)": round(1e6 * slowest(after)),
        "its longest wait (us)": round(1e6 * max(during + after)),
    }


def complete(stored: Stored, records: int) -> Iterator[Fault]:
    found = (stored.messages(), stored.records(), stored.people())
    if found != (1, records, records):
        yield Fault(
            "lost", "", f"messages, records, people with one delivery: {found} instead of {(1, records, records)}"
        )


def killed(folder: Path, raw: bytes, records: int) -> tuple[list[Fault], dict[str, int]]:
    """kill -9 while it is read (no answer: the sender sends it again), and again while its records are written out."""
    faults: list[Fault] = []
    with running_bridge(folder, NOWHERE, feeds=FEEDS) as bridge:
        stored = Stored(bridge)
        with Connection(("127.0.0.1", bridge.ports["nightly"])) as connection:
            connection.send(raw)
            time.sleep(0.2)
            bridge.kill("tree")
            with_answer = True
            try:
                with_answer = connection.read(1.0) is not None
            except Closed:
                with_answer = False
        if with_answer:
            faults.append(Fault("early", "", "an answer before the file can have been read"))
        if stored.messages():
            faults.append(Fault("early", "", "stored before it can have been read"))
        bridge.start()
        with Connection(("127.0.0.1", bridge.ports["nightly"])) as connection:
            answer = read_answer(connection.ask(raw, timeout=READ_WITHIN))
        if answer.code != "AA":
            faults.append(Fault("refused", "", answer.code))
        wait_until(lambda: stored.records() > records // 4, READ_WITHIN, "a quarter is written out", 0.02)
        bridge.kill("tree")
        left = stored.arriving()
        bridge.start()
        with Connection(("127.0.0.1", bridge.ports["nightly"])) as connection:
            again = read_answer(connection.ask(raw, timeout=READ_WITHIN))
        if again.code != "AA":
            faults.append(Fault("refused", "", f"sent again: {again.code}"))
        wait_until(lambda: not stored.arriving(), READ_WITHIN, "all records are written out", 0.1)
        faults += complete(stored, records)
    return faults, {"records left to write out at the kill": left}


def run(folder: Path, *, records: int, seed: int) -> Report:
    raw = file_of(records, "nightly-1", seed)
    faults, figures = measured(folder / "measured", raw, records)
    more, further = killed(folder / "killed", raw, records)
    return Report([*faults, *more], {**figures, **further})


def main(options: argparse.Namespace, folder: Path) -> Report:
    return run(folder, records=options.records, seed=options.seed)
