"""What the store costs, as ratios of one run: `python -m tests.store.measure [accepting] [turns] [claiming]`. No test:
nothing is asserted.

accept   messages of one record, in batches, beside bare inserts of the same bodies into one table with two indexes
turns    one process accepts without a pause, another claims 64, delivers them (sleeps), settles them, again and again:
         with turns at the write lock, and without
claim    64 of 50,000; with 10,000 in one lane; with the head of the line blocked by a retried delivery
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path

from hl7bridge.model import Action
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.sqlite import connection as sqlite_connection
from hl7bridge.store.sqlite.driver import sqlite3
from hl7bridge.store.store import DeliveryState, NewMessage
from tests.store.builders import change, full_outcome, message, settlement

BODY = b"x" * 1500
ROUNDS = 5
DELIVERY = 0.15  # seconds in which 64 are delivered: about 400/s, more than httpx does


def made(
    count: int, first: int = 0, person: Callable[[int], str] = lambda n: f"P{n}", **given: object
) -> list[NewMessage]:
    found = []
    for n in range(first, first + count):
        key = person(n)
        lane = (
            f"hr/{key}",
            f"urn:uuid:0d6f0f6e-8f67-4a5c-9a5e-27ad6a1d5e01|{key}",
            f"http://hl7.org/fhir/sid/us-npi|{key}",
        )
        found.append(message(change(key, **given), control_id=f"C{n:08}", lane=lane, body=BODY))  # type: ignore[arg-type]
    return found


def rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def bare(folder: Path, count: int, batch: int) -> float:
    """The floor: one table, two indexes, the same pragmas."""
    connection = sqlite3.connect(folder / f"bare-{time.time_ns()}.db", isolation_level=None)
    for pragma in sqlite_connection._PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute(
        "CREATE TABLE msg (id INTEGER PRIMARY KEY, conn TEXT NOT NULL, control_id TEXT NOT NULL, received REAL NOT NULL,"
        " state INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL)"
    )
    connection.execute("CREATE INDEX msg_todo ON msg (id) WHERE state = 0")
    connection.execute("CREATE INDEX msg_dup ON msg (conn, control_id)")
    rows = [("hr", f"C{n:08}", time.time(), BODY) for n in range(count)]

    def work() -> None:
        for first in range(0, count, batch):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO msg (conn, control_id, received, body) VALUES (?, ?, ?, ?)", rows[first : first + batch]
            )
            connection.execute("COMMIT")

    found = rate(count, work)
    connection.close()
    return found


def accepting(folder: Path) -> None:
    print("accept: batch, bare rows/s, accepted messages/s, bare / accepted (medians)")
    for batch, count in ((1, 1000), (8, 4000), (64, 12_800), (256, 12_800)):
        floors, rates = [], []
        for _ in range(ROUNDS):
            floors.append(bare(folder, count, batch))
            with SqliteStore(folder / f"accept-{time.time_ns()}.db") as store:
                messages = made(count)
                rates.append(rate(count, lambda: accept(store, messages, batch)))  # noqa: B023 (called at once)
        ratio = statistics.median(floor / found for floor, found in zip(floors, rates, strict=True))
        print(f"  {batch:4} {statistics.median(floors):8.0f} {statistics.median(rates):8.0f} {ratio:6.2f}")


def accept(store: SqliteStore, messages: Sequence[NewMessage], batch: int) -> None:
    for first in range(0, len(messages), batch):
        store.inbox.accept(messages[first : first + batch], time.time())


class NoTurn:
    """Leaves it to SQLite who writes next."""

    def take(self) -> bool:
        return True

    def give(self) -> None:
        pass

    def close(self) -> None:
        pass


def opened(path: Path, turns: bool) -> SqliteStore:
    store = SqliteStore(path)
    if not turns:
        store.connection._turn = NoTurn()  # type: ignore[assignment]
        store.connection.execute("PRAGMA busy_timeout = 5000")
    return store


def saturate(path: Path, turns: bool, batch: int, stop: Event, count: object) -> None:
    store, first = opened(path, turns), 10_000_000
    while not stop.is_set():
        store.inbox.accept(made(batch, first), time.time())
        first += batch
        count.value += batch  # type: ignore[attr-defined]
    store.close()


def turns(folder: Path) -> None:
    print("turns: batch, accepted/s alone, then together: accepted/s, settled/s, milliseconds a claim, a settlement")
    for batch in (1, 8, 64):
        for with_turns in (False, True):
            path = folder / f"turns-{time.time_ns()}.db"
            with opened(path, with_turns) as store:
                backlog = 6400
                accept(store, made(backlog), 256)
                store.queue.join("w", 1e9, time.time())
                stop, count = multiprocessing.Event(), multiprocessing.Value("l", 0)
                child = multiprocessing.Process(target=saturate, args=(path, with_turns, batch, stop, count))
                child.start()
                while not count.value:
                    time.sleep(0.01)
                before, began = count.value, time.perf_counter()
                time.sleep(1.5)
                alone = (count.value - before) / (time.perf_counter() - began)
                before, began, settled = count.value, time.perf_counter(), 0
                claims, settlements = [], []
                while time.perf_counter() - began < 4 and settled < backlog:
                    start = time.perf_counter()
                    claimed = store.queue.claim("main", "w", 64, time.time())
                    claims.append(time.perf_counter() - start)
                    time.sleep(DELIVERY)
                    outcomes = [settlement(one, outcome=full_outcome("p" + one.change.source_key)) for one in claimed]
                    start = time.perf_counter()
                    store.settlements.settle(outcomes, time.time())
                    settlements.append(time.perf_counter() - start)
                    settled += len(claimed)
                seconds = time.perf_counter() - began
                print(
                    f"  {batch:4} {'with turns' if with_turns else 'without   '} {alone:8.0f}"
                    f" {(count.value - before) / seconds:8.0f} {settled / seconds:8.0f}"
                    f" {statistics.mean(claims) * 1e3:8.1f} {statistics.mean(settlements) * 1e3:8.1f}"
                )
                stop.set()
                child.join()


def claiming(folder: Path) -> None:
    print("claim of 64 and settlement of 64, milliseconds (median, worst of 50)")
    cases: list[tuple[str, list[NewMessage]]] = [
        ("50,000 persons", made(50_000)),
        ("40,000 persons behind 10,000 changes of one", made(10_000, 0, lambda n: "BIG") + made(40_000, 10_000)),
        ("50,000 changes of 500 persons", made(50_000, 0, lambda n: f"P{n % 500}")),
        ("50,000, a leaver at the end of each 100", made(49_500) + made(500, 49_500, action=Action.DEACTIVATE)),
    ]
    for name, messages in cases:
        with SqliteStore(folder / f"claim-{time.time_ns()}.db") as store:
            accept(store, messages, 256)
            store.queue.join("w", 1e9, time.time())
            began = time.perf_counter()
            (first,) = store.queue.claim("main", "w", 1, time.time())
            lined_up = time.perf_counter() - began
            # The head of the line is retried for ever.
            store.settlements.settle([settlement(first, DeliveryState.RETRY, next_attempt=1e12)], time.time())
            claims, settlements = [], []
            for _ in range(50):
                began = time.perf_counter()
                claimed = store.queue.claim("main", "w", 64, time.time())
                claims.append(time.perf_counter() - began)
                outcomes = [settlement(one, outcome=full_outcome("p-" + one.change.source_key)) for one in claimed]
                began = time.perf_counter()
                store.settlements.settle(outcomes, time.time())
                settlements.append(time.perf_counter() - began)
            print(
                f"  {name}: claim {statistics.median(claims) * 1e3:.1f} {max(claims) * 1e3:.1f},"
                f" settle {statistics.median(settlements) * 1e3:.1f} {max(settlements) * 1e3:.1f};"
                f" the first claim lined up all in {lined_up:.2f} s"
            )


def main() -> None:
    """All three, or those that are named."""
    named = [part for part in (accepting, turns, claiming) if part.__name__ in sys.argv] or [accepting, turns, claiming]
    with tempfile.TemporaryDirectory() as folder:
        print(f"{os.cpu_count()} cores, SQLite {sqlite3.sqlite_version}, load {os.getloadavg()[0]:.1f}")
        for part in named:
            part(Path(folder))


if __name__ == "__main__":
    main()
