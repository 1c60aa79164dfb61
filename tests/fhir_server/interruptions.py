"""A FHIR server that others wrote is stopped, killed and started again while a proxy in front breaks connections.

Traffic goes on all the time. At the end everything that was acknowledged is on the server, once and in the order of each
person: the same checker decides as after the kills of the bridge, from the server's own histories.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

from tests.acceptance import checker, plants
from tests.acceptance.traffic import FEEDS, Traffic, flowing
from tests.bridges import running_bridge
from tests.hapi.observer import Observer
from tests.hapi.proxy import Answer, Asked, Reset, proxy_to
from tests.hapi.server import Hapi
from tests.mllp_peer import read_rows

SETTLE_WITHIN = 600.0
SHARE = 0.08  # of requests that are spoiled
HTML = {"Content-Type": "text/html"}


class Trouble:
    """Spoils a share of the requests, from a seed: refused before they reach the server, or done and the answer lost."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.struck: Counter[str] = Counter()

    def before(self, asked: Asked) -> Answer | None:
        kind = self._drawn("reset", "503", "429", "502")
        if kind == "reset":
            raise Reset
        if kind == "429":
            return Answer(429, {"Retry-After": "1"})
        return Answer(int(kind), HTML, b"<html><body>try later</body></html>") if kind else None

    def after(self, asked: Asked, answer: Answer) -> Answer:
        kind = self._drawn("answer lost", "500 though done", "504 though done")
        if kind == "answer lost":
            raise Reset
        return Answer(int(kind[:3]), HTML, b"<html><body>lost</body></html>") if kind else answer

    def _drawn(self, *kinds: str) -> str:
        if self.rng.random() >= SHARE / 2:
            return ""
        kind = self.rng.choice(kinds)
        self.struck[kind] += 1
        return kind


def run(folder: Path, server: Hapi, *, rounds: int, seed: int, seconds: float = 3.0) -> checker.Report:
    """`rounds` times: stop and start, kill -9 and start, with `seconds` of traffic through the proxy around each."""
    trouble = Trouble(seed)
    to = {"timeout": "5s", "retry": {"first": "100ms", "longest": "500ms"}}
    with (
        proxy_to(server.base_url) as proxy,
        running_bridge(folder / "bridge", proxy.base_url, feeds=FEEDS, to=to) as bridge,
        flowing(Traffic(folder / "sender.jsonl", bridge, seed, pace=1.0)) as traffic,
    ):
        proxy.before, proxy.after = trouble.before, trouble.after
        for _ in range(rounds):
            for end in (server.stop, server.kill):
                time.sleep(seconds)
                end()
                server.start()
        time.sleep(seconds)
        traffic.finish()
        finished = time.monotonic()
        bridge.wait_delivered(SETTLE_WITHIN, every=0.2)
        settled = round(time.monotonic() - finished)
        held, requests = bridge.held(), len(proxy.passed)
    with Observer(server.base_url) as observer:
        journal = [{"stored": resource} for feed in FEEDS for resource in observer.versions(feed.key_system)]
    ledger = list(read_rows(traffic.path))
    report = checker.check(journal, ledger)
    if not report.faults:
        report.faults += plants.unseen(journal, ledger)
    if held:
        report.faults.append(checker.Fault("held", "", f"{held} deliveries"))
    report.figures |= {
        "messages": traffic.sent,
        "requests": requests,
        "restarts": 2 * rounds,
        "seconds to settle": settled,
    }
    report.figures |= {f"struck by {kind}": number for kind, number in sorted(trouble.struck.items())}
    return report
