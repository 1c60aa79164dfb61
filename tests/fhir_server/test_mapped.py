"""What the mapping makes of the samples and of the published messages of ../shared/corpus, before a judge that others wrote.

The server only validates: nothing is written. A part drawn by a seed; all of it where HL7BRIDGE_TEST_EXAMPLES asks for more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.errors import MessageError
from hl7bridge.hl7 import batch
from hl7bridge.hl7.message import Message
from hl7bridge.mapping.messages import staff
from hl7bridge.model import JsonObject
from tests.examples import examples
from tests.hapi.observer import Observer
from tests.mapping import corpus_golden
from tests.mapping.building import NOW
from tests.mapping.test_corpus import visits_with_authorities
from tests.test_mutations import CHARSETS, RULES, SAMPLES

WITH_ALL = DestinationRules("all", "http://127.0.0.1/fhir", mode="write", withheld=frozenset())
DRAWN, SEED = 25, 20260302


def resources_of(raw: bytes) -> Iterator[JsonObject]:
    for part in batch.split(raw).messages:
        try:
            message = Message(part, CHARSETS)
            known = {**RULES.authorities, **visits_with_authorities(message).authorities}
            translation = staff.translate(message, replace(RULES, authorities=known), NOW)
        except MessageError:
            continue
        for record in translation.records:
            if record.change is not None and not record.change.qualifications_only:
                yield from corpus_golden.resources(record.change, WITH_ALL)


def test_a_server_that_others_wrote_finds_no_error(observer: Observer) -> None:
    messages = [*SAMPLES.values(), *(path.read_bytes() for path in corpus_golden.files())]
    made = [resource for raw in messages for resource in resources_of(raw)]
    assert len(made) > DRAWN
    drawn = random.Random(SEED).sample(made, min(examples(DRAWN), len(made)))
    errors = [error for resource in drawn for error in observer.validate(resource)]
    assert errors == []
