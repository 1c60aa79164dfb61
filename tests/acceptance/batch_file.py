"""A batch file of very many messages, through a drop folder and through `replay`: memory, throughput, and what kills leave.

Memory is that of the whole process tree, as the system counts it. Each way is killed twice, by kill -9, and goes on by
itself or by the same command; in the end the store holds every message of the file exactly once, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hl7bridge.store.sqlite.driver import sqlite3
from tests.acceptance import stream
from tests.acceptance.checker import Fault, Report
from tests.acceptance.large import NOWHERE, resident
from tests.acceptance.seeds import add_seed
from tests.bridges import ROOT, Bridge, Feed, running_bridge, wait_until

KEYS = "urn:uuid:6d4c1f0a-3f0e-4d0b-8a52-77a1c20b9e03"
WITHIN = 3600.0
FLAT = 64 * 10**6  # bytes that the peak may lie above what the tree takes at a tenth of the file


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=100_000, help="messages in the file (default 100000)")
    parser.add_argument("--way", choices=["drop", "replay"], help="only this one (default both)")
    add_seed(parser)


def messages_of(count: int, seed: int) -> Iterator[bytes]:
    """MFN^M02 of one invented person each, some 700 bytes."""
    rng = random.Random(seed)
    for number in range(count):
        key = f"B{number:07d}"
        family, given = rng.choice(stream.FAMILIES), rng.choice(stream.GIVEN)
        lines = [
            stream.header("NIGHTLY", f"batch-{number}", stream.BEGIN),
            "MFI|PRA^Practitioner^HL70175||UPD|||AL",
            f"MFE|MAD|{key}||{key}|CWE",
            f"STF|{key}|{key}^^^NIGHTLY^EI|{family}^{given}^^^Dr||F||A|CARD^Cardiology|CARD^Cardiology"
            f"|^WPN^PH^^1^555^{rng.randrange(10**7):07d}|12 Alder Walk^^Northside^ST^12345^USA^O|20190401||"
            f"^NET^Internet^{key}@hospital.test",
            f"PRA|{key}|||||{stream.npi(40_000_000 + number)}^NPI",
            "ORG|1|CARD^Cardiology|D^Department^HL70474|Y||||20190401",
            "NTE|1||" + " ".join(rng.choice(stream.FAMILIES) for _ in range(24)),
        ]
        yield ("\r".join(lines) + "\r").encode()


def write_file(path: Path, count: int, seed: int) -> None:
    """The batch file; under another name until it is complete, as a careful sender does it."""
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        file.write(b"FHS|^~\\&|NIGHTLY\rBHS|^~\\&|NIGHTLY\r")
        file.writelines(messages_of(count, seed))
        file.write(f"BTS|{count}\rFTS|1\r".encode())
    beside.replace(path)


class Stored:
    """What is in the store, read from outside."""

    def __init__(self, bridge: Bridge) -> None:
        self._path = bridge.store_path

    def _rows(self, sql: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=60)) as connection:
            return connection.execute(sql).fetchall()

    def count(self, state: str = "accepted") -> int:
        return int(str(self._rows(f"SELECT COUNT(*) FROM message WHERE state = '{state}'")[0][0]))

    def faults(self, count: int, seed: int) -> Iterator[Fault]:
        """Each message of the file once, as it stands there; each person with one delivery."""
        digests = [hashlib.sha256(body).digest() for body in messages_of(count, seed)]
        stored = [row[0] for row in self._rows("SELECT digest FROM message WHERE state = 'accepted' ORDER BY id")]
        if stored != digests:
            known = set(stored)
            lost = sum(digest not in known for digest in digests)
            yield Fault("store", "", f"{lost} lost, {len(stored) - len(known)} repeated, or not in the file's order")
        people = self._rows("SELECT source_key FROM delivery GROUP BY source_key HAVING COUNT(*) = 1")
        if len(people) != count:
            yield Fault("deliveries", "", f"{len(people)} people with exactly one delivery")


class Memory:
    """What a process tree (and others) has in memory: at the begin, at a tenth and half of the way, and at most; bytes."""

    def __init__(self, pids: Callable[[], list[int]], done: Callable[[], int], total: int) -> None:
        self._pids, self._done, self._total = pids, done, total
        self._stop = threading.Event()
        self.idle = self.peak = self.now()
        self.at: dict[int, int] = {}

    def now(self) -> int:
        return sum(map(resident, self._pids()))

    @contextmanager
    def watched(self) -> Iterator[Memory]:
        threads = [threading.Thread(target=work, daemon=True) for work in (self._run, self._mark)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, self.now())

    def _mark(self) -> None:
        for percent in (10, 50):
            while 100 * self._done() < percent * self._total:
                if self._stop.wait(0.2):
                    return
            self.at[percent] = self.now()

    def figures(self, way: str) -> dict[str, int]:
        marks = {f"{way}: memory at {percent} % (MB)": value // 10**6 for percent, value in self.at.items()}
        return {
            f"{way}: memory, idle (MB)": self.idle // 10**6,
            **marks,
            f"{way}: memory at most (MB)": self.peak // 10**6,
        }

    def faults(self, way: str) -> Iterator[Fault]:
        if self.peak - self.at.get(10, self.peak) > FLAT:
            yield Fault("memory", "", f"{way}: {self.peak // 10**6} MB at most, {self.at[10] // 10**6} MB at a tenth")


# The delivery role is at work, too: it tries everybody once, and then waits.
ONCE = {"retry": {"first": "30m", "longest": "1h"}}


def feed_of(folder: Path) -> list[Feed]:
    return [Feed("nightly", KEYS, settings={"drop": {"folder": str(folder / "in"), "settle": "200ms"}})]


# --- the drop folder -------------------------------------------------------------------------------------------------


def dropped(folder: Path, count: int, seed: int, kills: int) -> tuple[list[Fault], dict[str, int]]:
    """The file lies in the folder; the bridge is killed `kills` times on the way."""
    incoming = folder / "in"
    incoming.mkdir(parents=True)
    with running_bridge(folder, NOWHERE, feeds=feed_of(folder), to=ONCE) as bridge:
        stored = Stored(bridge)
        memory = Memory(lambda: [bridge.pid, *bridge.children()], stored.count, count)
        write_file(incoming / "nightly.hl7", count, seed)
        begun = time.monotonic()
        with memory.watched():
            for part in range(1, kills + 1):
                wait_until(lambda part=part: stored.count() > count * part // (kills + 1), WITHIN, "on the way", 0.05)
                bridge.kill("tree")
                bridge.start()
            done = incoming / "done" / "nightly.hl7"
            wait_until(done.exists, WITHIN, lambda: f"the file is moved\n{bridge.log_end()}", 0.05)
            seconds = time.monotonic() - begun
        listed = subprocess.run(
            [sys.executable, "-m", "hl7bridge", "drop", "list", "--json", "--config", str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        )
        log = [json.loads(line) for line in bridge.log.read_text().splitlines() if line.startswith("{")]
        faults = [*stored.faults(count, seed), *memory.faults("drop")]
        if stored.count("duplicate"):
            faults.append(Fault("repeated", "", f"{stored.count('duplicate')} messages were taken twice"))
    [file] = json.loads(listed.stdout)["files"]
    if (file["state"], file["messages"], file["accepted"]) != ("done", count, count):
        faults.append(Fault("listed", "", f"{file['state']}, {file['messages']} messages, {file['accepted']} accepted"))
    with (incoming / "done" / "nightly.hl7.results.jsonl").open() as results:
        numbers = [json.loads(line)["number"] for line in results]
    if numbers != list(range(1, count + 1)):
        faults.append(Fault("results", "", f"{len(numbers)} lines, not one for each message in order"))
    if sum(line["event"] == "a dropped file goes on" for line in log) != kills:
        faults.append(Fault("resumed", "", "the log does not say so of each start"))
    return faults, {
        "drop: messages a second": round(count / seconds),
        "drop: lines of progress": sum(line["event"] == "dropped file" for line in log),
        **memory.figures("drop"),
    }


# --- replay ----------------------------------------------------------------------------------------------------------


class Replay:
    """`hl7bridge replay FILE` as a process."""

    def __init__(self, folder: Path, file: Path, port: int) -> None:
        to = f"127.0.0.1:{port}"
        self.talk = folder / "replay.log"
        command = [sys.executable, "-m", "hl7bridge", "replay", str(file), "--to", to, "--config", str(folder)]
        with self.talk.open("ab") as talk:
            self.process = subprocess.Popen(
                [*command, "--results", str(folder / "results.jsonl")],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=talk,
            )

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


def replayed(folder: Path, count: int, seed: int, kills: int) -> tuple[list[Fault], dict[str, int]]:
    """The command is killed `kills` times on the way, and given again."""
    folder.mkdir(parents=True)
    file = folder / "nightly.hl7"
    write_file(file, count, seed)
    with running_bridge(folder, NOWHERE, feeds=[Feed("nightly", KEYS)], to=ONCE) as bridge:
        stored = Stored(bridge)
        at_work: list[Replay] = []

        def pids() -> list[int]:
            return [bridge.pid, *bridge.children(), *(one.process.pid for one in at_work[-1:])]

        memory = Memory(pids, stored.count, count)
        begun = time.monotonic()
        with memory.watched():
            for part in range(1, kills + 2):
                at_work.append(Replay(folder, file, bridge.ports["nightly"]))
                if part > kills:
                    break
                wait_until(lambda part=part: stored.count() > count * part // (kills + 1), WITHIN, "on the way", 0.05)
                at_work[-1].kill()
            code = at_work[-1].process.wait(WITHIN)
            seconds = time.monotonic() - begun
        faults = [*stored.faults(count, seed), *memory.faults("replay")]
        repeated = stored.count("duplicate")
    talk = at_work[-1].talk.read_text()
    if code != 0:
        faults.append(Fault("exit code", "", f"{code}: {talk[-300:]}"))
    if list((folder / "data" / "replays").glob("*.json")):
        faults.append(Fault("record", "", "the record of an ended run is still there"))
    return faults, {
        "replay: messages a second": round(count / seconds),
        "replay: runs that went on behind an earlier one": talk.count("by a run that did not end"),
        "replay: lines of progress": talk.count("a second, "),
        "replay: sent twice after a kill, without effect": repeated,
        **memory.figures("replay"),
    }


WAYS = {"drop": dropped, "replay": replayed}


def run(folder: Path, *, messages: int, seed: int, kills: int = 2, way: str | None = None) -> Report:
    faults: list[Fault] = []
    figures = {"messages": messages}
    for name in [way] if way else WAYS:
        more, further = WAYS[name](folder / name, messages, seed, kills)
        faults += more
        figures |= further
    return Report(faults, figures)


def main(options: argparse.Namespace, folder: Path) -> Report:
    return run(folder, messages=options.messages, seed=options.seed, way=options.way)
