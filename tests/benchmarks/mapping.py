"""Read and map: messages a second from bytes to staff changes, beside the plain splitter of ../shared/bench.

Ours reads every element, keeps where each value came from and checks it; `plain_parse.py` splits and builds one dict.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hl7bridge.hl7.message import Message
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages.staff import translate
from tests.benchmarks import bench

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
RULES = FeedRules(key_system="urn:uuid:6fbb9a3e-54b3-4a55-8f0b-3f3c4d6a7b10")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)


def rate(work: Callable[[], int], seconds: float) -> float:
    """Records a second."""
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        done += work()
    return done / (time.perf_counter() - begun)


def main(options: argparse.Namespace) -> None:
    if not bench.reference("plain_parse.py"):
        return
    samples: Any = importlib.import_module("hl7_samples")
    plain: Any = importlib.import_module("plain_parse")
    bench.pin_self(0)
    table = []
    for records in (1, 500):
        raw = samples.mfn_m02(records).encode()

        def theirs(raw: bytes = raw) -> int:
            message = plain.Lazy(raw.decode())
            return len([plain.practitioner(message, group) for group in message.groups()])

        def read(raw: bytes = raw) -> int:
            return len(Message(raw).all("MFE"))

        def ours(raw: bytes = raw) -> int:
            return len(translate(Message(raw), RULES, NOW).records)

        def kept(raw: bytes = raw) -> int:
            changes = [record.change for record in translate(Message(raw), RULES, NOW).records]
            return len([change.to_json() for change in changes if change])

        programs = {"plain_parse.py": theirs, "read": read, "read + map": ours, "read + map + to_json": kept}
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
        for _ in range(options.rounds):
            for name, work in programs.items():
                rows[name].append({"rate": rate(work, options.seconds)})
        for name, got in rows.items():
            of = bench.ratio(bench.median(got, "rate"), bench.median(rows["plain_parse.py"], "rate"))
            table.append([str(records), name, bench.span(got, "rate"), "" if name == "plain_parse.py" else of])
    bench.show(
        f"Read and map, one core, medians of {options.rounds} rounds in turn",
        ["records in the message", "program", "records/s", "ratio"],
        table,
    )
