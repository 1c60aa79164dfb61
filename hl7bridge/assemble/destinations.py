"""A destination's settings as planning and delivering take them, and its client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hl7bridge.assemble.authorization import authorization, credentials_of, way_to
from hl7bridge.config import DestinationSettings, FhirSettings
from hl7bridge.config.destination import PLACEHOLDER_CLIENT
from hl7bridge.destinations.examining import State
from hl7bridge.destinations.fhir.destination import FhirDestination
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.destinations.fhir.tasks import TaskRules
from hl7bridge.destinations.fhir.wire.client import FhirClient
from hl7bridge.destinations.fhir.wire.network import within_process
from hl7bridge.destinations.policy import Brake
from hl7bridge.destinations.protocol import Destination
from hl7bridge.destinations.retry import RetryPolicy
from hl7bridge.errors import ConfigError

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
    return FhirDestination(rules, lambda: client_for(settings, rules), credentials_of(settings), oddities(settings))


def oddities(destination: FhirSettings) -> tuple[ConfigError, ...]:
    """What may run as it is written, and is hardly what the site meant."""
    auth, elements, found = destination.auth, destination.elements, []
    if auth.type == "none" and (auth.client_id or auth.key):
        problem, advice = "is none, so that client_id and key are not used", 'Write type = "smart".'
        found.append(ConfigError(problem, file=destination.file, key="auth.type", advice=advice))
    elif auth.client_id == PLACEHOLDER_CLIENT:
        problem, advice = "is still that of `hl7bridge init`", "Write the one that the server's owner gave."
        found.append(ConfigError(problem, file=destination.file, key="auth.client_id", advice=advice))
    if not elements.home_phone and "untyped_phone" not in elements.model_fields_set:
        problem = (
            "is not set: telephone numbers that say neither home nor work are sent, though those of home are withheld"
        )
        advice = 'Write untyped_phone = "withhold", or "work" where your senders give work numbers alone.'
        found.append(ConfigError(problem, file=destination.file, key="elements.untyped_phone", advice=advice))
    return tuple(found)


KINDS: dict[str, Callable[[DestinationSettings], Destination]] = {"fhir": fhir_destination}
"""`kind` of a destination's file -> what makes the destination of its settings."""


def destination_of(settings: DestinationSettings) -> Destination:
    """The destination that the settings are of, ready to be asked."""
    return KINDS[settings.kind](settings)


def require(chosen: Iterable[DestinationSettings]) -> None:
    """Raises ConfigError for the first destination that would not open, a key or certificate of it being out of order:
    better now than later, in a child process that would be started again and again."""
    for settings in chosen:
        for checked in destination_of(settings).check(time.time()):
            if checked.state is State.PROBLEM and checked.problem is not None:
                raise checked.problem


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
