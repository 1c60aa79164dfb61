"""A destination's settings as planning and delivering take them, and its client."""

from __future__ import annotations

from dataclasses import replace

from hl7bridge.assemble.authorization import authorization
from hl7bridge.config import Destination
from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.tasks import TaskRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.policy import Brake
from hl7bridge.destinations.retry import RetryPolicy


def destination_rules(destination: Destination) -> DestinationRules:
    """What planning and delivering need of a destination's settings."""
    asked = destination.tasks
    tasks = TaskRules(
        asked.leaver, asked.joiner, frozenset(asked.login_identifiers), dict(destination.security_classes)
    )
    return replace(destination.rules(DestinationRules), tasks=tasks)


def client_for(destination: Destination, rules: DestinationRules) -> FhirClient:
    """A FHIR client with the destination's authorization. Raises ConfigError for a key that cannot be read."""
    return FhirClient(rules, authorization(destination))


def destination_of(destination: Destination) -> FhirDestination:
    """The destination, ready to be asked: it reads its key and certificates with the first request, or `open`."""
    rules = destination_rules(destination)
    return FhirDestination(rules, lambda: client_for(destination, rules))


def retry_policy(destination: Destination) -> RetryPolicy:
    """The destination's back-off."""
    return RetryPolicy(
        first=destination.retry.first, longest=destination.retry.longest, attempts=destination.retry.attempts
    )


def brake_of(destination: Destination) -> Brake:
    """How many people may be deactivated there without a person."""
    given = destination.brake
    return Brake(given.deactivations_per_hour, given.share_of_file, frozenset(given.protected))
