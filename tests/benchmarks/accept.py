"""Durable accept: messages a second that are on the disk before their acknowledgment, beside the reference server.

`hl7bridge run --role listener` and `../shared/bench/durable_server.py thread` are loaded in turn by the reference load
generator at 1, 8 and 64 connections, both with their files on the same disk, server on one core, load on the other.
No message comes twice: the bridge would answer a duplicate without storing it. `--messages adt` sends patient messages
whose practitioners are known, the most that a site sends: each is read, answered and written down, and leads to nothing.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks import bench
from tests.bridges import Feed, running_bridge

Pool = list[tuple[bytes, bytes]]
Row = dict[str, Any]
_serial = itertools.count()


MESSAGES = {"mfn": "MFN^M02 of one record", "adt": "ADT^A01 of known practitioners"}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", choices=list(MESSAGES), default="mfn")
    parser.add_argument("--connections", default="1,8,64")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where both write (default: the temporary folder)")


def pool(count: int, messages: str = "mfn") -> Pool:
    """Frames with control ids that were never used: the reference's messages, their control id replaced. Staff messages are
    of 500 people."""
    samples = importlib.import_module("hl7_samples")
    mark = "BENCHCONTROLID"
    if messages == "adt":
        bodies = [samples.frame(samples.adt_a01(mark))]
    else:
        head = samples.mfn_m02(0, mark)
        bodies = [samples.frame(head + "\r".join(samples.staff(person)) + "\r") for person in range(500)]
    made = []
    for place in range(count):
        control_id = f"B{next(_serial):013d}".encode()
        made.append((bodies[place % len(bodies)].replace(mark.encode(), control_id), control_id))
    return made


@contextmanager
def reference_server(folder: Path) -> Iterator[int]:
    port = bench.free_port()
    command = [sys.executable, bench.REFERENCE / "durable_server.py", "thread", str(port), folder]
    with bench.child(command, core=0):
        assert importlib.import_module("mllp_load").wait_port("127.0.0.1", port)
        yield port


@contextmanager
def our_server(folder: Path, messages: str = "mfn") -> Iterator[int]:
    gmc = {"GMC": "https://fhir.hl7.org.uk/Id/gmc-number"}
    patients = {"hl7": {"takes": ["staff", "adt"]}, "authorities": gmc} if messages == "adt" else {}
    feed = Feed("bench", key_system="urn:uuid:6fbb9a3e-54b3-4a55-8f0b-3f3c4d6a7b10", settings=patients)
    with running_bridge(folder, "http://127.0.0.1:9/fhir", feeds=[feed], role="listener", core=0) as bridge:
        yield bridge.ports["bench"]


def main(options: argparse.Namespace) -> None:
    if not bench.reference("mllp_load.py"):
        return
    load = importlib.import_module("mllp_load")
    connections = [int(part) for part in options.connections.split(",")]
    kind, ours = options.messages, partial(our_server, messages=options.messages)
    servers = {"durable_server.py thread": (reference_server, b"MSA|AA|"), "hl7bridge": (ours, b"MSA|CA|")}
    rows: dict[tuple[str, int], list[Row]] = defaultdict(list)
    bench.pin_self(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for round_ in range(options.rounds):
            for name, (server, code) in servers.items():
                place = Path(folder) / f"{name.split('.')[0]}-{round_}"
                place.mkdir()
                with server(place) as port:
                    load.run("127.0.0.1", port, 2, 0.3, pool(5_000, kind), code)
                    for count in connections:
                        messages = pool(int(35_000 * options.seconds * min(1.0, 0.15 + count / 32)), kind)
                        rows[name, count].append(load.run("127.0.0.1", port, count, options.seconds, messages, code))
    report(rows, connections, options)


def report(rows: dict[tuple[str, int], list[Row]], connections: list[int], options: argparse.Namespace) -> None:
    theirs, ours = "durable_server.py thread", "hl7bridge"
    table = []
    for count in connections:
        for name in (theirs, ours):
            got = rows[name, count]
            rate = bench.median(got, "per_s")
            table.append(
                [
                    str(count),
                    name,
                    bench.span(got, "per_s"),
                    f"{bench.median(got, 'p50_ms'):.2f}",
                    f"{bench.median(got, 'p99_ms'):.2f}",
                    str(sum(row["bad"] + row["closed"] + row["unanswered"] for row in got)),
                    bench.ratio(rate, bench.median(rows[theirs, count], "per_s")) if name == ours else "",
                ]
            )
    bench.show(
        f"Durable accept, {MESSAGES[options.messages]}, {options.rounds} rounds of {options.seconds:g} s in turn",
        ["connections", "server", "messages/s", "p50 ms", "p99 ms", "wrong or missing", "ratio"],
        table,
    )
