"""[identity] order of a destination: what it takes, and that it reaches those who search."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hl7bridge.assemble.destinations import destination_rules
from hl7bridge.config.destination import FhirSettings
from hl7bridge.destinations.fhir.rules import IDENTITY_ORDER, DestinationRules


def order_of(*steps: str) -> tuple[str, ...]:
    given: dict[str, Any] = {"base_url": "https://fhir.example.org/r4", "identity": {"order": list(steps)}}
    rules: DestinationRules = destination_rules(FhirSettings(name="ehr", **given))
    return rules.identity_order


def test_what_is_written_is_what_is_searched_by() -> None:
    assert order_of("Crosswalk", "key", "npi", "ei", "urn:oid:2.999.3") == (
        "crosswalk", "key", "NPI", "EI", "urn:oid:2.999.3",
    )  # fmt: skip
    left_out = destination_rules(FhirSettings(name="ehr", base_url="https://fhir.example.org/r4"))
    assert left_out.identity_order == IDENTITY_ORDER


@pytest.mark.parametrize(
    "steps",
    [(), ("crosswalk",), ("all", "crosswalk"), ("key", "key"), ("npi", "NPI"), ("employee id",), ("https://",)],
    ids=lambda steps: "-".join(steps) or "none",
)
def test_an_order_that_finds_nobody_or_makes_no_sense_is_refused(steps: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        order_of(*steps)
