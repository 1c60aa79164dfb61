"""Mutated frames: through codec and reader within this process, and over sockets, in the clear and over TLS, to a listener.

Nothing raises, hangs or dies; memory stays flat; every single message whose MSH can be read and leaves MSH-15 and MSH-16
empty is answered with its MSH-10; and a peer in order is served all the while.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hl7bridge.errors import UnreadableMessage
from hl7bridge.hl7 import acknowledgment, batch
from hl7bridge.hl7.header import read_header
from tests.acceptance.checker import Fault, Report
from tests.acceptance.seeds import add_seed
from tests.bridges import Bridge, Feed, is_alive, running_bridge
from tests.fuzz.mutating import stream
from tests.fuzz.targets import TARGETS
from tests.journey import KEY_SYSTEM, mfn, person
from tests.mllp_peer import Closed, Connection, read_answer
from tests.service.test_tls import Secured, Site

NOWHERE = "http://127.0.0.1:9/fhir"
NEIGHBOUR_EVERY = 100  # frames
GROWTH = 40 * 1024 * 1024  # bytes: what is kept between messages is bounded, and the allocator keeps some


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--count", type=int, default=1_000_000, help="frames through codec and reader (default 1,000,000)"
    )
    parser.add_argument("--sockets", type=int, default=50_000, help="frames over sockets (default 50,000)")
    parser.add_argument("--tls", type=int, default=5_000, help="further frames over TLS (default 5,000)")
    add_seed(parser)


def main(options: argparse.Namespace, folder: Path) -> Report:
    """Both, with the options given."""
    faults, figures = within(options.count, options.seed)
    site = Site.made(folder / "certificates")
    feeds = [Feed("staff", KEY_SYSTEM), site.feed("secured", peers={})]
    with running_bridge(folder / "bridge", NOWHERE, feeds=feeds, role="listener") as bridge:
        plain, secured = ("127.0.0.1", bridge.ports["staff"]), bridge.ports["secured"]
        ways = {
            "over sockets": (lambda: Connection(plain), options.sockets),
            "over TLS": (lambda: Secured(secured, site.trusted, site.a), options.tls),
        }
        for way, (connect, count) in ways.items():
            more, seen = over_sockets(bridge, connect, count, options.seed)
            faults += more
            figures |= {f"{way}: {what}": number for what, number in seen.items()}
    return Report(faults, figures)


# --- in this process -------------------------------------------------------------------------------------------------


def within(count: int, seed: int) -> tuple[list[Fault], dict[str, int]]:
    """Through codec and reader; what the process has grown by since the first tenth."""
    frames = itertools.islice(stream(seed), count)
    faults = list(_tried(itertools.islice(frames, count // 10)))
    before = _resident("self")
    faults += _tried(frames)
    grown = _resident("self") - before
    if grown > GROWTH:
        faults.append(Fault("memory", "codec and reader", f"{grown:,} bytes stayed"))
    return faults, {"frames through codec and reader": count, "bytes more than after a tenth of them": grown}


def _tried(frames: Iterator[bytes]) -> Iterator[Fault]:
    for number, raw in enumerate(frames):
        for name in ("codec", "reader"):
            try:
                TARGETS[name](raw)
            except Exception as error:  # whatever it is: it is what is looked for
                yield Fault("exception", name, f"{type(error).__name__} at input {number:,}")


def _resident(pid: int | str) -> int:
    """Bytes of memory that a process has at the moment (Linux)."""
    gc.collect()
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


# --- over sockets ----------------------------------------------------------------------------------------------------


def over_sockets(
    bridge: Bridge, connect: Callable[[], Connection], count: int, seed: int
) -> tuple[list[Fault], dict[str, int]]:
    """As fast as the listener takes them; every so often somebody else sends a message in order, and is timed."""
    if not count:
        return [], {}
    faults: list[Fault] = []
    waits: list[float] = []
    answered = before = closed = 0
    broken = connect()
    with connect() as neighbour:
        for number, raw in enumerate(itertools.islice(stream(seed + 1), count)):
            if number % NEIGHBOUR_EVERY == 0:
                waits.append(_asked(neighbour, number, faults))
            if number == count // 10:
                before = _resident(bridge.pid)
            expected = control_id(raw)
            try:
                if expected is None:
                    broken.send(raw)
                    continue
                answered += 1
                # What earlier frames are owed comes first.
                broken.send(raw)
                while (answer := broken.read(20.0)) is not None and not re.search(
                    rb"\rMSA\|..\|%b[|\r]" % expected.encode(), answer
                ):
                    pass
                if answer is None:
                    faults.append(Fault("no answer", "listener", f"to input {number:,}"))
            except Closed:
                closed += 1
                broken = connect()
    broken.close()
    if not is_alive(bridge.pid):
        faults.append(Fault("died", "listener", bridge.log_end()))
    grown = _resident(bridge.pid) - before
    if grown > GROWTH:
        faults.append(Fault("memory", "listener", f"{grown:,} bytes stayed"))
    if "internal-error" in bridge.log.read_text(errors="replace"):
        faults.append(Fault("internal error", "listener", "the log says so"))
    figures = {"frames": count, "answers that were due and came": answered, "connections closed": closed}
    figures |= {"bytes the listener grew by": grown, "neighbour's median, us": round(statistics.median(waits) * 1e6)}
    return faults, figures | {"neighbour's longest wait, us": round(max(waits) * 1e6)}


def _asked(neighbour: Connection, number: int, faults: list[Fault]) -> float:
    begun = time.monotonic()
    answer = read_answer(neighbour.ask(mfn(f"N{number}", person("MAD", f"N{number}", "Quim^Aldous"))))
    if answer.code != "AA":
        faults.append(Fault("neighbour", "listener", f"answered {answer.code}"))
    return time.monotonic() - begun


def control_id(raw: bytes) -> str | None:
    """The MSH-10 of a frame that must be answered: one message, readable, which asks for no other answers than usual."""
    if b"\x0b" in raw or b"\x1c" in raw or len(batch.split(raw).messages) != 1:
        return None
    try:
        header = read_header(raw)
    except UnreadableMessage:
        return None
    usual = not header.text(15) and not header.text(16) and not acknowledgment.is_acknowledgment(header)
    name = header.control_id
    return name if usual and name.isascii() and name.isalnum() and raw.startswith(b"MSH|^~\\&|") else None
