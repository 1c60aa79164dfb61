"""A destination's settings as planning and delivering take them, and its client."""

from __future__ import annotations

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
    return DestinationRules(
        destination.name,
        destination.base_url,
        mode=destination.mode,
        modes={name: mode for name, mode in destination.modes.model_dump().items() if mode},
        cohort_feeds=frozenset(destination.cohort.feeds),
        cohort_departments=frozenset(destination.cohort.departments),
        cohort_staff_keys=frozenset(destination.cohort.staff_keys),
        systems=dict(destination.systems),
        withheld=destination.elements.withheld(),
        on_drift=destination.on_drift,
        owners=dict(destination.owners),
        lifecycle_scope=destination.lifecycle_scope,
        b05_deactivates=destination.b05_deactivates,
        allow_npi_change=destination.allow_npi_change,
        identity_order=destination.identity.order,
        search_method=destination.search_method,
        clock_tolerance=destination.clock_tolerance,
        conditional_create=destination.conditional_create,
        index_lag=destination.index_lag,
        timeout=destination.timeout,
        in_flight=destination.in_flight,
        requests_per_second=destination.requests_per_second,
        ca_file=str(destination.ca_file or ""),
        proxy=destination.proxy,
        tasks=tasks,
    )


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
