"""A store of 1,000,000 messages of 20,000 people, 100,000 of which wait: is it as quick as an empty one?

Built once, straight through the store's own accept, claim and settle, in a folder that stays (`--at`); the next run takes it
as it is. Accept and claim rates are ratios of one run against an empty store beside it, in turns; then `run` is started on
it, and its first message timed.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rich.progress import track

from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.model import DeliveryState, Outcome, Result, Written
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import NewMessage, Settlement, Store
from tests.acceptance.checker import Report
from tests.bridges import Bridge, Feed, destination, write_configuration
from tests.journey import KEY_SYSTEM, mfn, person
from tests.mllp_peer import Connection, read_answer

NOWHERE = "http://127.0.0.1:9/fhir"
TOGETHER = 500  # messages in one transaction while the store is built
BATCH = 64  # messages of one commit, deliveries of one claim, while it is measured
ROUNDS = 12
NAMES = ("Quim^Aldous", "Tove^Brannoch", "Ildri^Corvane", "Maelle^Dresk", "Olyan^Fenwick")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=1_000_000, help="in the store (default 1,000,000)")
    parser.add_argument("--waiting", type=int, default=100_000, help="of them not delivered (default 100,000)")
    parser.add_argument("--people", type=int, default=20_000, help="whom they are about (default 20,000)")
    parser.add_argument(
        "--at", type=Path, default=Path(tempfile.gettempdir()) / "hl7bridge-million", help="where it stays"
    )


def main(options: argparse.Namespace, folder: Path) -> Report:
    """Build what is not there, and measure."""
    site: Path = options.at
    if not (site / "built").exists():
        built(site, options.messages, options.waiting, options.people)
    figures = {"bytes of the store": (site / "data" / "hl7bridge.sqlite").stat().st_size}
    (folder / "data").mkdir()
    with (
        closing(open_store(str(site / "data" / "hl7bridge.sqlite"))) as full,
        closing(open_store(str(folder / "data" / "empty.sqlite"))) as empty,
    ):
        figures |= rates(full, empty, options.people)
    configure(folder)
    figures["ms to the first answer, empty"] = first_answer(folder)
    figures["ms to the first answer, full"] = first_answer(site)
    return Report([], figures)


# --- building --------------------------------------------------------------------------------------------------------


def configure(site: Path) -> None:
    """A feed and a destination that nobody answers."""
    write_configuration(site, [Feed("staff", KEY_SYSTEM)], {"fhir": destination(NOWHERE)})


def built(site: Path, messages: int, waiting: int, people: int) -> None:
    """The store, from nothing. What a run that was stopped left there goes."""
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    configure(site)
    source = stream(people)
    with closing(open_store(str(site / "data" / "hl7bridge.sqlite"))) as store:
        for at in track(range(0, messages, TOGETHER), "messages"):
            now = time.time()
            store.inbox.accept(list(itertools.islice(source, min(TOGETHER, messages - at))), now)
            if at < messages - waiting:
                delivered(store, now)
    (site / "built").write_text("a store for measuring: no real people\n", encoding="utf-8")


def stream(people: int) -> Iterator[NewMessage]:
    """Messages without an end: each person added, then changed again and again. Translated once each, numbered anew."""
    rules = FeedRules(KEY_SYSTEM)
    to = {"fhir": FhirDestination(DestinationRules("fhir", NOWHERE, mode="write"))}
    intake = Intake(FeedPolicy("staff", rules, to), b"\0" * 32)
    made = functools.cache(functools.partial(_prepared, intake))
    for number in itertools.count():
        new = made("MAD" if number < people else "MUP", number % people)
        header = {**new.header, "control_id": f"S{number}"}
        yield replace(new, header=header, digest=b"%032d" % number, received=time.time())


def _prepared(intake: Intake, event: str, number: int) -> NewMessage:
    raw = mfn("S", person(event, f"S{number:05}", NAMES[number % len(NAMES)], phone=f"{number:06}", unit="W3"))
    (prepared,) = intake.prepare(raw, "127.0.0.1")
    assert prepared.new
    return prepared.new


def delivered(store: Store, now: float) -> None:
    """What waits is claimed and settled as written."""
    store.queue.join("builder", 600.0, now)
    while claimed := store.queue.claim("fhir", "builder", TOGETHER, now):
        settlements = []
        for one in claimed:
            person_id = one.change.source_key
            base = Written("Practitioner", person_id, version="1")
            outcome = Outcome(Result.UPDATED, http_status=200, person_id=person_id, written=(base,))
            settlements.append(Settlement(one, outcome, DeliveryState.ENDED))
        assert not store.settlements.settle(settlements, now), "a claim was lost"


# --- measuring -------------------------------------------------------------------------------------------------------


def rates(full: Store, empty: Store, people: int) -> dict[str, int]:
    """Accept and claim with both stores in turns: the median of the ratios, in percent."""
    streams = {id(full): _numbered(stream(people), "F"), id(empty): _numbered(stream(people), "E")}
    for _ in range(ROUNDS):
        empty.inbox.accept(list(itertools.islice(streams[id(empty)], BATCH)), time.time())
    accepts, claims = [], []
    for _ in range(ROUNDS):
        times = {store: _accepted(store, list(itertools.islice(streams[id(store)], BATCH))) for store in (full, empty)}
        accepts.append(times[empty] / times[full])
        times = {store: _claimed(store) for store in (full, empty)}
        claims.append(times[empty] / times[full])
    return {
        "accept: percent of an empty store's rate": round(100 * statistics.median(accepts)),
        "claim: percent of an empty store's rate": round(100 * statistics.median(claims)),
    }


def _numbered(messages: Iterator[NewMessage], mark: str) -> Iterator[NewMessage]:
    """The same under control ids that no earlier run used."""
    run = f"{mark}{time.time_ns()}"
    for number, new in enumerate(messages):
        digest = f"{run}{number}".encode().rjust(32, b"0")[-32:]
        yield replace(new, header={**new.header, "control_id": f"{run}.{number}"}, digest=digest)


def _accepted(store: Store, messages: Sequence[NewMessage]) -> float:
    """Seconds for one commit."""
    begun = time.perf_counter()
    store.inbox.accept(messages, time.time())
    return time.perf_counter() - begun


def _claimed(store: Store) -> float:
    """Seconds for a claim; what was claimed is given back."""
    now = time.time()
    store.queue.join("measure", 60.0, now)
    begun = time.perf_counter()
    claimed = store.queue.claim("fhir", "measure", BATCH, now)
    took = time.perf_counter() - begun
    assert len(claimed) == BATCH
    store.queue.leave("measure", now)
    return took


def first_answer(site: Path) -> int:
    """Milliseconds from the start of the process to the first positive answer."""
    bridge = Bridge(site)
    begun = time.monotonic()
    try:
        bridge.start()
        with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
            answer = read_answer(connection.ask(mfn(f"T{time.time_ns()}", person("MAD", "T1", "Ruun^Eskilda"))))
        took = time.monotonic() - begun
        assert answer.positive
    finally:
        bridge.stop()
    return round(took * 1000)
