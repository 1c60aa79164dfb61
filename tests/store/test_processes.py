"""Several processes at one store: kills, claims at once, and fair turns at the write lock."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from hl7bridge.model import Result
from hl7bridge.store.opening import open_store as open_at
from hl7bridge.store.store import Store
from tests.examples import examples, seed
from tests.store.builders import change, claim, message, settlement
from tests.store.worker import PERSONS

ROOT = Path(__file__).parents[2]

# What the last history row about a delivery must be for each state or result.
EXPLAINED_BY = {
    "queued": {"accepted", "given back"},
    "claimed": {"claimed"},
    "retry": {"retry"},
    "unknown": {"unknown", "taken over"},
    "held": {"held"},
    "updated": {"ended"},
    "superseded": {"superseded"},
}


def start(*arguments: str, stdout: IO[bytes] | int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.worker", *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=stdout
    )


def lines(path: Path) -> list[list[object]]:
    """Whole lines only: a killed process may leave half a one."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def check(store: Store) -> None:
    """Every state is explained by history, and no delivery has two results."""
    for row in store.audit.messages(limit=100_000):
        found = store.audit.message(row.id)
        assert found
        for record in found["records"]:
            for delivery in record["deliveries"]:
                about = [e["event"] for e in found["history"] if e["delivery_id"] in (0, delivery["id"])]
                state = delivery["result"] if delivery["state"] == "ended" else delivery["state"]
                assert about[-1] in EXPLAINED_BY[state], (state, about)
                assert about.count("ended") <= 1
                tried = about.count("ended") + sum(map(about.count, ("retry", "unknown", "held")))
                assert len(delivery["tried"]) == tried
                assert delivery["attempts"] == tried + about.count("taken over")


def test_killed_at_any_moment(new_location: Callable[[], str], tmp_path: Path) -> None:
    location = new_location()
    open_at(location).close()
    drawn = seed()
    draw = random.Random(drawn)
    reported: list[int] = []
    for number in range(examples(8)):
        log = tmp_path / f"round-{number}.log"
        with log.open("wb") as out:
            child = start("both", location, str(number * 1_000_000), "w", stdout=out)
            while not log.stat().st_size:
                assert child.poll() is None
                time.sleep(0.01)
            time.sleep(draw.uniform(0.0, 0.12))
            child.kill()
            child.wait()
            assert child.stdin
            child.stdin.close()
        for line in lines(log):
            if line[0] == "accepted":
                reported += line[1]  # type: ignore[arg-type]
    store = open_at(location)
    stored = {row.id for row in store.audit.messages(limit=100_000)}
    assert set(reported) <= stored, f"lost after an answer, seed {drawn}"
    assert len(reported) == len(set(reported))
    assert reported == sorted(reported)
    check(store)
    drain(store)
    check(store)
    assert set(store.audit.counts()["deliveries"].get("main", {})) <= {"updated", "held", "superseded"}
    store.close()


def drain(store: Store) -> None:
    later = time.time() + 3600
    while claimed := claim(store, later, owner="last"):
        assert store.settlements.settle([settlement(one) for one in claimed], later) == []
    assert store.queue.next_due("main", later) is None


def test_two_processes_never_hold_one_lane(new_location: Callable[[], str], tmp_path: Path) -> None:
    """Between a claim and its settlement, as each process reports them, nobody else is handed that person."""
    location = new_location()
    store = open_at(location)
    logs = [tmp_path / f"{owner}.log" for owner in ("w1", "w2")]
    children = []
    for owner, log in zip(("w1", "w2"), logs, strict=True):
        with log.open("wb") as out:
            children.append(start("deliver", location, owner, stdout=out))
    count = 300
    made = [message(change(f"P{n % PERSONS}"), control_id=f"C{n}", lane=(f"hr/P{n % PERSONS}",)) for n in range(count)]
    for first in range(0, count, 30):
        store.inbox.accept(made[first : first + 30], time.time())
    deadline = time.monotonic() + 30
    while set(store.audit.counts()["deliveries"]["main"]) - {"updated", "held", "superseded"}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for child in children:
        assert child.stdin
        child.stdin.close()
        assert child.wait(30) == 0
    fences: dict[str, list[tuple[int, int]]] = {}
    seen = [line for log in logs for line in lines(log)]
    for line in seen:
        if line[1:2] == ["claimed"]:
            _, _, delivery_id, person, fence = line
            fences.setdefault(str(person), []).append((int(str(fence)), int(str(delivery_id))))
    workers = {str(line[0]) for line in seen if line[1:2] == ["claimed"]}
    assert workers == {"w1", "w2"}
    assert not [line for line in seen if line[1:2] == ["lost"]]
    for person, claims in fences.items():
        # One claim of a person at a time: each has a fence of its own, and in order of the fences, which is the order
        # in which claims were committed, deliveries never go back in line (a retried one comes again, none overtakes).
        ordered = [delivery_id for _, delivery_id in sorted(claims)]
        assert len({fence for fence, _ in claims}) == len(claims), person
        assert ordered == sorted(ordered), person
    check(store)
    store.close()


def test_a_saturated_writer_lets_another_one_write(tmp_path: Path) -> None:
    """One process commits in a tight loop; another gets its turn after about one commit each time. On a disk: in memory a
    commit takes no longer than the other one's wait between two tries."""
    with tempfile.TemporaryDirectory() as disk:
        meanwhile, writes = saturated(str(Path(disk) / "store.db"), tmp_path / "accept.log")
    assert meanwhile <= writes * 4, "the other process committed many times for each of ours: we starved"
    assert meanwhile > 0


def saturated(location: str, log: Path) -> tuple[int, int]:
    """How often the busy process committed while we wrote, and how often we did."""
    store = open_at(location)
    with log.open("wb") as out:
        child = start("accept", location, "0", "w", stdout=out)
        while log.stat().st_size < 200:
            assert child.poll() is None
            time.sleep(0.01)
        before = len(lines(log))
        writes = 60
        for n in range(writes):
            store.queue.join(f"worker {n}", 60, time.time())
        meanwhile = len(lines(log)) - before
        assert child.stdin
        child.stdin.close()
        child.wait(30)
    store.close()
    return meanwhile, writes


@pytest.mark.parametrize("processes", [4])
def test_many_open_a_new_store_at_once(new_location: Callable[[], str], processes: int) -> None:
    location = new_location()
    children = [start("accept", location, str(n * 1000), "w") for n in range(processes)]
    for child in children:
        assert child.stdout
        assert child.stdin
        assert json.loads(child.stdout.readline()) == ["ready"]
        assert json.loads(child.stdout.readline())[0] == "accepted"
        child.stdin.close()
    for child in children:
        assert child.stdout
        child.stdout.read()
        child.stdout.close()
        assert child.wait(30) == 0
    store = open_at(location)
    assert store.audit.messages()
    (one, *_) = claim(store, time.time())
    assert store.settlements.settle([settlement(one, result=Result.UPDATED)], time.time()) == []
    store.close()
