"""The feed and the destination that a name means: the same words wherever one is named."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from hl7bridge.assemble import choosing
from hl7bridge.config import Settings
from hl7bridge.errors import ConfigError
from tests.desk.conftest import Office


@pytest.fixture
def two(office: Office) -> Settings:
    """Settings with two destinations."""
    [one] = office.settings.destinations.values()
    both = MappingProxyType({"ehr": one, "idp": one})
    return replace(office.settings, destinations=both)


def test_the_only_one_needs_no_name(office: Office) -> None:
    assert choosing.destination_named(office.settings, "").name == "ehr"
    assert choosing.feed_named(office.settings, "").name == "staff"
    assert choosing.destination_of_feed(office.settings, "staff", "") == "ehr"


@pytest.mark.parametrize(
    ("name", "problem", "advice"),
    [
        ("", "there are several destinations", "Choose one of ehr, idp."),
        ("x", 'there is no destination "x"', "There are: ehr, idp."),
    ],
)
def test_one_of_several_has_to_be_named(two: Settings, name: str, problem: str, advice: str) -> None:
    with pytest.raises(ConfigError) as refused:
        choosing.destination_named(two, name, "--destination")
    assert (refused.value.problem, refused.value.advice, refused.value.key) == (problem, advice, "--destination")


def test_a_feed_goes_to_its_destinations_alone(office: Office) -> None:
    with pytest.raises(ConfigError, match="feed staff does not go to idp"):
        choosing.destination_of_feed(office.settings, "staff", "idp")
    with pytest.raises(ConfigError, match='there is no feed "hr"'):
        choosing.destination_of_feed(office.settings, "hr", "")
