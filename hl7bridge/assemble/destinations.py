"""A destination's settings as planning and delivering take them, and its client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.authorization import authorization, credentials_of, way_to
from hl7bridge.config import DestinationSettings, FhirSettings
from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.tasks import TaskRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.network import within_process
from hl7bridge.destinations.policy import Brake
from hl7bridge.destinations.protocol import Destination
from hl7bridge.destinations.retry import RetryPolicy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def destination_rules(destination: FhirSettings) -> DestinationRules:
    """What planning and delivering need of a destination's settings."""
    asked = destination.tasks
    tasks = TaskRules(
        asked.leaver, asked.joiner, frozenset(asked.login_identifiers), dict(destination.security_classes)
    )
    return DestinationRules(
        **common_policy(destination),
        base_url=destination.base_url,
        systems=dict(destination.systems),
        withheld=destination.elements.withheld(),
        on_drift=destination.on_drift,
        owners=dict(destination.owners),
        lifecycle_scope=destination.lifecycle_scope,
        b05_deactivates=destination.b05_deactivates,
        allow_npi_change=destination.allow_npi_change,
        identity_order=destination.identity.order,
        search_method=destination.search_method,
        conditional_create=destination.conditional_create,
        **way_to(destination),
        tasks=tasks,
    )


def client_for(destination: FhirSettings, rules: DestinationRules) -> FhirClient:
    """A FHIR client with the destination's authorization. Raises ConfigError for a key that cannot be read."""
    return FhirClient(rules, authorization(destination))


def fhir_destination(settings: DestinationSettings) -> FhirDestination:
    """A FHIR server: it reads its key and certificates with the first request, or `open`."""
    assert isinstance(settings, FhirSettings)
    rules = destination_rules(settings)
    return FhirDestination(rules, lambda: client_for(settings, rules), credentials_of(settings))


KINDS: dict[str, Callable[[DestinationSettings], Destination]] = {"fhir": fhir_destination}
"""`kind` of a destination's file -> what makes the destination of its settings."""


def destination_of(settings: DestinationSettings) -> Destination:
    """The destination that the settings are of, ready to be asked."""
    return KINDS[settings.kind](settings)


def destination_within(name: str, application: WSGIApplication) -> Destination:
    """A FHIR server inside this process, a WSGI application, without authorization: everything is written there."""
    rules = DestinationRules(name, "http://127.0.0.1/fhir", mode="write")
    return FhirDestination(rules, lambda: FhirClient(rules, transport=within_process(application)))


def common_policy(settings: DestinationSettings) -> dict[str, Any]:
    """What the policy of every kind takes of the settings (see `hl7bridge.destinations.policy.Policy`)."""
    return {
        "name": settings.name,
        "mode": settings.mode,
        "modes": {name: mode for name, mode in settings.modes.model_dump().items() if mode},
        "cohort_feeds": frozenset(settings.cohort.feeds),
        "cohort_departments": frozenset(settings.cohort.departments),
        "cohort_staff_keys": frozenset(settings.cohort.staff_keys),
        "in_flight": settings.in_flight,
        "requests_per_second": settings.requests_per_second,
        "index_lag": settings.index_lag,
        "clock_tolerance": settings.clock_tolerance,
    }


def retry_policy(destination: DestinationSettings) -> RetryPolicy:
    """The destination's back-off."""
    return RetryPolicy(
        first=destination.retry.first,
        longest=destination.retry.longest,
        attempts=destination.retry.attempts,
        asked=destination.retry.asked_longest,
    )


def brake_of(destination: DestinationSettings) -> Brake:
    """How many people may be deactivated there without a person."""
    given = destination.brake
    return Brake(given.deactivations_per_hour, given.share_of_file, frozenset(given.protected))
