"""The server refuses in every way that servers refuse, for a while each; then everything has arrived, once and in order.

Traffic goes on all the time. Authorization is on, so that tokens expire, are revoked and are refused, too.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance import checker
from tests.acceptance.seeds import add_seed
from tests.acceptance.traffic import FEEDS, Traffic, flowing
from tests.bridges import running_bridge, smart_auth, smart_keys
from tests.sandboxes import RunningSandbox, running_sandbox

SETTLE_WITHIN = 180.0


@dataclass(frozen=True)
class Refusal:
    """One way of refusing: faults that strike, habits, tokens that are revoked, or the server is gone altogether."""

    name: str
    faults: tuple[Mapping[str, Any], ...] = ()
    habits: Mapping[str, Any] = field(default_factory=dict)
    revoke_tokens: bool = False
    gone: bool = False


def _fault(kind: str, **fields: Any) -> tuple[Mapping[str, Any], ...]:
    return ({"kind": kind, **fields},)


REFUSALS = (
    Refusal("429", _fault("status", status=429)),
    Refusal("429 with Retry-After", _fault("status", status=429, retry_after="1")),
    Refusal("503", _fault("status", status=503)),
    Refusal("503 as a page of HTML", _fault("status", status=503, body="html")),
    Refusal(
        "500 to every second write, done all the same", _fault("status", on=["write"], status=500, done=True, every=2)
    ),
    Refusal("reply lost after a write", _fault("lost-reply", on=["write"])),
    Refusal("timeout after POST", _fault("lost-reply", on=["create"], seconds=2.5)),
    Refusal("request lost", _fault("lost-request")),
    Refusal("409 to updates", _fault("status", on=["update"], status=409)),
    Refusal("412 to updates", _fault("status", on=["update"], status=412)),
    Refusal("tokens that live a second", habits={"expires_in": 1}, revoke_tokens=True),
    Refusal("tokens revoked", revoke_tokens=True),
    Refusal("401 whatever the token", _fault("status", status=401)),
    Refusal("token endpoint 503", _fault("status", on=["token"], status=503), revoke_tokens=True),
    Refusal("token endpoint silent", _fault("lost-request", on=["token"]), revoke_tokens=True),
    Refusal("connection refused", gone=True),
)
# What a later search must settle takes longest: it comes first, and settles while the others are on.
SHORT = (
    "timeout after POST",
    "reply lost after a write",
    "412 to updates",
    "tokens revoked",
    "503",
    "connection refused",
    "429",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=2, help="how often each refusal comes (default 2)")
    add_seed(parser)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long a refusal lasts (default 4)")


class Server:
    """The sandbox, which may be gone for a while: it comes back on the same port, with its resources."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys, self.port = folder, smart_keys(folder), 0
        self._life = ExitStack()
        self.sandbox: RunningSandbox

    def __enter__(self) -> Server:
        self.sandbox = self._life.enter_context(running_sandbox(self.folder, keep=True, keys=self.keys, port=self.port))
        self.port = self.sandbox.port
        return self

    def __exit__(self, *_: object) -> None:
        self._life.close()

    @contextmanager
    def refusing(self, refusal: Refusal) -> Iterator[None]:
        """It refuses while the block runs."""
        if refusal.gone:
            self.__exit__()
        else:
            self.sandbox.habits(**refusal.habits)
            for fault in refusal.faults:
                self.sandbox.fault(**fault)
            if refusal.revoke_tokens:
                self.sandbox.revoke_tokens()
        yield
        if refusal.gone:
            self.__enter__()
        else:
            self.sandbox.clear()


def run(folder: Path, *, refusals: tuple[Refusal, ...], seed: int, seconds: float, pace: float = 0.3) -> checker.Report:
    """Each refusal in turn for `seconds`, half of it between two; senders send each `pace` seconds."""
    with (
        Server(folder / "sandbox") as server,
        running_bridge(
            folder / "bridge",
            server.sandbox.base_url,
            feeds=FEEDS,
            to={"timeout": "2s", "auth": smart_auth(server.sandbox)},
        ) as bridge,
        flowing(Traffic(folder / "sender.jsonl", bridge, seed, pace=pace)) as traffic,
    ):
        for refusal in refusals:
            time.sleep(seconds / 2)
            with server.refusing(refusal):
                time.sleep(seconds)
        traffic.finish()
        bridge.wait_delivered(SETTLE_WITHIN)
        report = checker.check_files(server.sandbox.journal_file, traffic.path)
        report.figures |= {"refusals": len(refusals), "messages": traffic.sent, "held": bridge.held()}
    return report


def main(options: argparse.Namespace, folder: Path) -> checker.Report:
    order = list(REFUSALS * options.count)
    random.Random(options.seed).shuffle(order)
    return run(folder, refusals=tuple(order), seed=options.seed, seconds=options.seconds)
