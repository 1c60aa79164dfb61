"""Each trio of sample_messages: its acknowledgment, its records and the resources that stand after it.

All of them in order through intake, store, plan and deliver, in this process. Over real sockets: tests/cli/test_demo.py
(the demo's processes) and tests/service/test_journey_samples.py (python-hl7 as the sender).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.practitioner import Practitioner
from fhir.resources.R4B.practitionerrole import PractitionerRole

from hl7bridge.assemble.destinations import destination_within
from hl7bridge.assemble.stores import store_in
from hl7bridge.cli.tools import samples
from hl7bridge.cli.tools.samples import DUPLICATE, FEED_SETTINGS, Sample, SampleRecord
from hl7bridge.desk.mapping.story import WORKER, deliver_due
from hl7bridge.desk.messages import record_end
from hl7bridge.errors import ConfigError
from hl7bridge.hl7.acknowledgment import asked
from hl7bridge.hl7.message import read_header
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.rules.identifiers import npi_is_valid
from hl7bridge.model import read_json, write_json
from hl7bridge.sandbox import SandboxSettings, create_app
from hl7bridge.store.store import AcknowledgmentState

TRIOS = samples.load()
NAMES = [sample.name for sample in TRIOS]
MODELS = {"Practitioner": Practitioner, "PractitionerRole": PractitionerRole}


# --- the trios themselves --------------------------------------------------------------------------------------------


def test_the_story_covers_what_it_should() -> None:
    headers = [read_header(sample.message) for sample in TRIOS if sample.message.startswith(b"MSH")]
    assert len(TRIOS) >= 18
    assert {"2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.9"} <= {h.version for h in headers}
    records = [record for sample in TRIOS for record in sample.records]
    assert {"MAD", "MUP", "MDC", "MAC", "MDL"} <= {record.event for record in records}
    assert {f"B0{number}" for number in range(1, 9)} <= {h.trigger_event for h in headers if h.message_type == "PMU"}
    assert {"created", "updated", "unchanged", "deactivated", "reactivated", "scheduled", DUPLICATE} <= {
        record.result for record in records
    }
    assert {"8859/1", "UNICODE UTF-8", "BIG-5", ""} <= {header.charset for header in headers}
    assert any(asked(header).mode == "enhanced" for header in headers)


@pytest.mark.parametrize("sample", TRIOS, ids=NAMES)
def test_a_trio_is_well_made(sample: Sample) -> None:
    assert sample.about.endswith(".")
    assert sample.teaches.endswith(".")
    assert b"\n" not in sample.message.replace(b"\r\n", b"") or not sample.message.startswith(b"MSH")
    assert sample.message.endswith(b"\r")
    for resource in sample.resources:
        read = MODELS[resource["resourceType"]].model_validate_json(write_json(resource))
        assert read.model_dump() is not None


def test_every_npi_is_invented_and_only_one_is_wrong() -> None:
    text = b"".join(sample.message for sample in TRIOS).decode("latin-1")
    numbers = {word for field in text.replace("~", "|").split("|") if (word := field.split("^")[0]).startswith("1999")}
    numbers = {number for number in numbers if len(number) == 10}
    assert len(numbers) > 10
    assert [number for number in sorted(numbers) if not npi_is_valid(number)] == ["1999010120"]


def test_a_broken_trio_is_named(tmp_path: Path) -> None:
    (tmp_path / "01-alone.hl7").write_bytes(b"MSH|^~\\&|A\r")
    with pytest.raises(ConfigError, match=r"01-alone\.expected\.json"):
        samples.load(tmp_path)
    with pytest.raises(ConfigError, match="no sample messages"):
        samples.load(tmp_path / "none")


# --- through intake, store and delivery in this process --------------------------------------------------------------


class Rehearsal:
    """The journey of one message after the other, without sockets and processes."""

    def __init__(self, folder: Path) -> None:
        self.app = create_app(SandboxSettings(auth=False))
        self.destination = destination_within("sandbox", self.app)
        self.store = store_in(folder)
        hl7_settings = FEED_SETTINGS["hl7"]
        feed = FeedRules(hl7_settings["key_system"], hl7_settings["timezone"], FEED_SETTINGS["authorities"])
        policy = FeedPolicy("staff", feed, {"sandbox": self.destination}, charset=hl7_settings["charset"])
        self.intake = Intake(policy, b"\0" * 32)
        self.store.queue.join(WORKER, 3600, time.time())

    def close(self) -> None:
        self.destination.close()
        self.store.close()

    def play(self, sample: Sample) -> tuple[list[bytes], list[SampleRecord]]:
        """The acknowledgments that are ready at once, and how the records ended."""
        now = time.time()
        news = [prepared.new for prepared in self.intake.prepare(sample.message, "test")]
        (accepted,) = self.store.inbox.accept([new for new in news if new is not None], now)
        deliver_due(self.store, self.destination, now)
        given = self.store.audit.acknowledgments(accepted.message_id)
        bodies = [ack.body for ack in given if ack.state is not AcknowledgmentState.PENDING and ack.body]
        if accepted.duplicate_of:
            return bodies, [SampleRecord(r.event, r.person, DUPLICATE) for r in sample.records]
        statuses = self.store.audit.statuses([accepted.message_id])[accepted.message_id]
        return bodies, [SampleRecord(*record_end(status)) for status in statuses]

    def resources(self) -> list[dict[str, Any]]:
        found = read_json(self.app.test_client().get("/sandbox/state?resources=true").data)["resources"]
        for kind, all_of_it in found.items():
            for resource in all_of_it:
                MODELS[kind].model_validate_json(write_json(resource))
        return samples.comparable(found["Practitioner"], found["PractitionerRole"])


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[bytes], list[SampleRecord], list[Any]]]:
    """What became of each trio, all of them played in order."""
    rehearsal = Rehearsal(tmp_path_factory.mktemp("rehearsal"))
    try:
        return {sample.name: (*rehearsal.play(sample), rehearsal.resources()) for sample in TRIOS}
    finally:
        rehearsal.close()


@pytest.mark.parametrize("sample", TRIOS, ids=NAMES)
def test_records_resources_and_answers_are_as_expected(sample: Sample, rehearsed: dict[str, Any]) -> None:
    bodies, records, resources = rehearsed[sample.name]
    assert samples.record_differences(sample.records, records) == []
    assert samples.resource_differences(sample.resources, samples.of_people(resources, sample.people)) == []
    # The application acknowledgment of enhanced mode is built from outcomes, by a part that does not play here.
    assert samples.acknowledgment_differences(sample.acknowledgments[: len(bodies)], bodies) == []


def test_a_duplicate_gets_the_very_same_bytes(rehearsed: dict[str, Any]) -> None:
    assert rehearsed["02-sent-again"][0] == rehearsed["01-add-physician"][0]
    assert rehearsed["02-sent-again"][2] == rehearsed["01-add-physician"][2]
