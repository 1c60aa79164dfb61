"""Two delivery processes beside one listener, and parallel connections: nobody comes to be twice.

Half of the people come from two feeds at once, with different staff keys and the same NPI; the other half's messages are
spread over many connections, so that changes of one person are under way in both processes' reach. One of the two
processes is killed in the middle and started again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance import stream
from tests.acceptance.checker import Fault, Report, markers
from tests.bridges import Bridge, Feed, running_bridge
from tests.fhir_server.story import place_of
from tests.hapi.observer import JsonObject, Observer, values
from tests.hapi.proxy import Asked, proxy_to
from tests.hapi.roster import BLOCK
from tests.mllp_peer import Connection, read_answer

FEEDS = {"hospital": "CARD^Cardiology", "clinic": "NEPH^Nephrology"}
ROUNDS = ("MAD", "MUP", "MUP")  # of each person, one after the other
CONNECTIONS = 3  # of each feed
SLOW = 0.05  # seconds that a create takes longer
Pair = dict[str, stream.Person]  # as each feed that knows the person knows them


def run(
    folder: Path, base_url: str, key_systems: dict[str, str], *, count: int, block: int, seed: int, conditional: bool
) -> Report:
    """`count` people; `conditional`: whether the bridge creates with If-None-Exist."""
    rng = random.Random(seed)
    people = crowd(count, block, rng)
    feeds = [Feed(name, key_systems[name]) for name in FEEDS]
    with Observer(base_url) as observer, proxy_to(base_url) as proxy:
        proxy.before = slow_create
        to = {"conditional_create": conditional, "timeout": "20s"}
        with (
            running_bridge(folder, proxy.base_url, feeds=feeds, to=to, role="listener") as listener,
            delivery(folder) as first,
            delivery(folder),
        ):
            faults = send_all(listener, people, halfway=lambda: again(first))
            listener.wait_delivered(60 + 2 * count, every=0.2)
            held = listener.held()
        faults += judge(observer, people, key_systems)
        created = sum(p.asked.line == "POST /Practitioner" and p.status == 201 for p in proxy.passed)
        statuses = proxy.statuses()
    if held:
        faults.append(Fault("held", "", f"{held} deliveries"))
    if created != count:
        faults.append(Fault("doubled", "", f"{created} Practitioners were created for {count} people"))
    return Report(
        faults,
        {
            "people": count,
            "of two feeds": sum(len(pair) == 2 for pair in people),
            "messages": sum(len(pair) for pair in people) * len(ROUNDS),
            "requests": len(proxy.passed),
            "conflicts": statuses["PUT 409"] + statuses["POST 409"] + statuses["POST 412"],
        },
    )


@contextmanager
def delivery(folder: Path) -> Iterator[Bridge]:
    """A delivery process on the configuration that is there."""
    bridge = Bridge(folder, "delivery")
    try:
        bridge.start()
        yield bridge
        assert bridge.stop() == 0, bridge.log_end()
    finally:
        if bridge.process and bridge.process.poll() is None:
            bridge.kill("tree")


def again(bridge: Bridge) -> None:
    """kill -9, and a new one."""
    bridge.kill("tree")
    bridge.start()


def crowd(count: int, block: int, rng: random.Random) -> list[Pair]:
    """Known to one feed, or to both, in an order that both send in: the same person is under way in both at once."""
    made = []
    for place in range(count):
        number, family, given = (
            stream.npi(block * BLOCK + place),
            rng.choice(stream.FAMILIES),
            rng.choice(stream.GIVEN),
        )
        known_to = list(FEEDS) if place % 2 else [list(FEEDS)[place // 2 % 2]]
        made.append(
            {
                # The marker's mail address needs keys of a letter K and digits (tests/acceptance/stream.py).
                feed: stream.Person(f"K{list(FEEDS).index(feed) + 1}{place:06d}", number, family, given, FEEDS[feed])
                for feed in known_to
            }
        )
    rng.shuffle(made)
    return made


def slow_create(asked: Asked) -> None:
    """Time for somebody else between the search that found nobody and the create."""
    if asked.method == "POST":
        time.sleep(SLOW)


def send_all(listener: Bridge, people: list[Pair], halfway: Callable[[], None]) -> list[Fault]:
    """Both feeds at once, each over several connections. A person's messages stay on one, so that their order is known."""
    faults: list[Fault] = []
    failures: list[BaseException] = []
    reached = threading.Barrier(len(FEEDS) * CONNECTIONS + 1)

    def send(feed: str, number: int, mine: list[stream.Person]) -> None:
        try:
            with Connection(("127.0.0.1", listener.ports[feed])) as connection:
                for turn, action in enumerate(ROUNDS):
                    if turn == 1:
                        reached.wait(120)
                    for place, person in enumerate(mine):
                        person.marker, person.active = turn + 1, True
                        control_id = f"{feed}-{number}-{turn}-{place}"
                        answer = read_answer(connection.ask(message(feed, control_id, action, person)))
                        if (answer.code, answer.control_id) != ("AA", control_id):
                            faults.append(Fault("refused", person.key, f"{action} on {feed}: {answer.code}"))
        except BaseException as error:
            failures.append(error)
            reached.abort()

    threads = []
    for feed in FEEDS:
        known = [pair[feed] for pair in people if feed in pair]
        for number in range(CONNECTIONS):
            threads.append(threading.Thread(target=send, args=(feed, number, known[number::CONNECTIONS])))
    for thread in threads:
        thread.start()
    try:
        reached.wait(120)
        halfway()
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return faults


def message(feed: str, control_id: str, action: str, person: stream.Person) -> bytes:
    lines = [stream.header(feed.upper(), control_id, stream.BEGIN), "MFI|PRA^Practitioner^HL70175||UPD|||AL"]
    lines += stream.staff_record(person, action, f"{control_id}.1")
    return ("\r".join(lines) + "\r").encode()


def judge(observer: Observer, people: list[Pair], key_systems: dict[str, str]) -> list[Fault]:
    """One Practitioner for each NPI and for each staff key, with every key, the last content, and a role for each feed."""
    faults = []
    by_npi: dict[str, list[JsonObject]] = {}
    for resource in observer.with_npi(next(iter(pair.values())).npi for pair in people):
        for value in values(resource, "identifier"):
            by_npi.setdefault(value, []).append(resource)
    by_key: dict[str, set[str]] = {}
    for feed, system in key_systems.items():
        for resource in observer.of_system(system):
            for value in values(resource, "identifier"):
                by_key.setdefault(f"{feed} {value}", set()).add(resource["id"])
    roles: dict[str, list[JsonObject]] = {}
    for role in observer.roles_of([found[0] for found in by_npi.values()]):
        roles.setdefault(role["practitioner"]["reference"], []).append(role)
    for pair in people:
        who = next(iter(pair.values())).npi
        found = by_npi.get(who, [])
        ids = set().union(*(by_key.get(f"{feed} {person.key}", set()) for feed, person in pair.items()))
        if len(found) != 1 or ids != {found[0]["id"]}:
            faults.append(Fault("doubled", who, f"{len(found)} by NPI, {len(ids)} by staff key"))
            continue
        wanted = {(person.key.lower(), person.marker) for person in pair.values()}
        if set(markers(found[0])) != wanted:
            faults.append(Fault("lost", who, f"{place_of(found[0])} has the content {sorted(markers(found[0]))}"))
        units = sorted(role.get("organization", {}).get("display", "") for role in roles.get(place_of(found[0]), []))
        if units != sorted(FEEDS[feed].partition("^")[2] for feed in pair):
            faults.append(Fault("doubled", who, f"roles in {units}"))
    return faults
