"""The trios of sample_messages/adt: patient messages on a feed that takes them, through intake, store and delivery."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.cli.setup.init import packaged
from hl7bridge.cli.tools import samples
from hl7bridge.cli.tools.samples import Sample, SampleRecord
from hl7bridge.desk.mapping.story import deliver_due
from hl7bridge.desk.messages import record_end
from hl7bridge.hl7.message import Message
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.mapping.feed_rules import FeedRules
from tests.test_samples import Rehearsal

FOLDER = packaged("sample_messages") / "adt"
AUTHORITIES = {"NORTHLAKE": "https://northlake.example.org/physicians"}
TRIOS = samples.load(FOLDER)
NAMES = [sample.name for sample in TRIOS]


class Visits(Rehearsal):
    """The journey of patient messages."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rules = FeedRules(samples.KEY_SYSTEM, authorities=AUTHORITIES, takes=frozenset({"adt"}))
        self.intake = Intake(FeedPolicy("adt", rules, {"sandbox": self.destination}, unsupported="ignore"), b"\0" * 32)

    def played(self, sample: Sample) -> tuple[list[bytes], list[SampleRecord], list[dict[str, Any]]]:
        """The answers, how the records ended, and everybody who is on the server then."""
        (prepared,) = self.intake.prepare(sample.message, "test")
        assert prepared.new is not None
        (accepted,) = self.store.inbox.accept([prepared.new], prepared.new.received)
        self.intake.stored(prepared.new)
        deliver_due(self.store, self.destination, time.time())
        statuses = self.store.audit.statuses([accepted.message_id]).get(accepted.message_id, [])
        answers = [one.body for one in prepared.new.acknowledgments if one.body]
        return answers, [SampleRecord(*record_end(status)) for status in statuses], self.resources()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    visits = Visits(tmp_path_factory.mktemp("visits"))
    try:
        return {sample.name: visits.played(sample) for sample in TRIOS}
    finally:
        visits.close()


@pytest.mark.parametrize("sample", TRIOS, ids=NAMES)
def test_answers_records_and_people_are_as_expected(sample: Sample, played: dict[str, Any]) -> None:
    answers, records, resources = played[sample.name]
    assert samples.acknowledgment_differences(sample.acknowledgments, answers) == []
    assert samples.record_differences(sample.records, records) == []
    assert list(sample.resources) == resources


def test_the_samples_cover_what_they_should() -> None:
    messages = [Message(sample.message) for sample in TRIOS]
    assert {"A01", "A04", "A08", "A11", "A40"} <= {message.header.trigger_event for message in messages}
    assert {"ROL", "PRT"} <= {segment.name for message in messages for segment in message.segments}
    assert "2.9" in {message.header.version for message in messages}
    assert all(sample.about.endswith(".") and sample.teaches.endswith(".") for sample in TRIOS)
