"""What the desk's tests share: a configured site with its store, messages taken in, deliveries that wait for a person."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.assemble.stores import store_location
from hl7bridge.config import Settings
from hl7bridge.desk.deciding import Actor
from hl7bridge.intake.intake import Intake
from hl7bridge.model import Outcome, Result, Task
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import DeliveryState, Settlement, Store
from tests.cli.conftest import message

ANA, BO = Actor("ana"), Actor("bo", "console")
WHY = "checked with HR"

CONF = {
    "conf/hl7bridge.toml": '[service]\nprocessing_id = "P"\n',
    "conf/feeds/staff.toml": (
        'destinations = ["ehr"]\n[listener]\nport = 0\n'
        '[hl7]\nkey_system = "urn:uuid:6f2b9f4e-3f7e-4d7e-9a2c-0d6a4f8f0c11"\ntimezone = "UTC"\n'
    ),
    "conf/destinations/ehr.toml": 'base_url = "http://127.0.0.1:9/fhir"\nmode = "write"\n[auth]\ntype = "none"\n',
}


@dataclass
class Office:
    """A site's settings and its store, and what the service would do there."""

    settings: Settings
    store: Store

    def take_in(self, *bodies: bytes) -> list[int]:
        """What the listener does with messages; their ids."""
        policy = feed_policy(self.settings.feeds["staff"], self.settings)
        intake = Intake(policy, self.store.audit.secret("duplicates"))
        new = [prepared.new for body in bodies for prepared in intake.prepare(body, "test")]
        return [taken.message_id for taken in self.store.inbox.accept([one for one in new if one], time.time())]

    def settle(self, outcome: Outcome, state: DeliveryState) -> list[bool]:
        """Settle what is queued; says of each whether it came approved."""
        now = time.time()
        self.store.queue.join("worker", 60, now)
        claimed = self.store.queue.claim("ehr", "worker", 100, now)
        assert self.store.settlements.settle([Settlement(one, outcome, state) for one in claimed], now) == []
        self.store.queue.leave("worker", now)
        return [one.approved for one in claimed]

    def hold(self, local: str, *tasks: Task) -> list[bool]:
        """Hold what is queued."""
        outcome = Outcome(Result.HELD, "207", local, "The FHIR server refused it", tasks=tasks)
        return self.settle(outcome, DeliveryState.HELD)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    for file, text in CONF.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    settings = config.load(tmp_path, {})
    store = open_store(store_location(settings))
    yield Office(settings, store)
    store.close()


def person(key: str, control_id: str) -> bytes:
    """A message about somebody with this staff key."""
    return message(control_id).replace(b"E100", key.encode())
