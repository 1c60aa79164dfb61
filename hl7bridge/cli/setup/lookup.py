"""`hl7bridge lookup`: whom a FHIR server holds under an NPI. It only reads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.assemble.choosing import fhir_server_named
from hl7bridge.cli import output
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import ConfigError, Unreachable

if TYPE_CHECKING:
    from hl7bridge.config import FhirSettings
    from hl7bridge.destinations.fhir.wire.client import FhirClient
    from hl7bridge.destinations.fhir.wire.replies import Reply


def lookup(
    destination: Annotated[
        str, typer.Argument(metavar="[DESTINATION]", help="Its name; may be left out where there is one only.")
    ] = "",
    npi: Annotated[str, typer.Option("--npi", metavar="NPI", help="Whom to look for.")] = "",
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Look a person up at a FHIR server by NPI: id, whether active, and how many roles. Nothing is written.

    \b
      hl7bridge lookup --npi 1234567893
      hl7bridge lookup ehr --npi 1234567893 --json

    Ends with 1 when nobody, or more than one, carries the NPI, or the server refuses; with 3 when it is out of reach.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.setup.examination import check_npi

    if not npi:
        raise ConfigError("is missing", key="--npi", advice="Name the person's NPI, ten digits.")
    check_npi(npi)
    chosen = fhir_server_named(load(config), destination)
    people = look_up(chosen, npi)
    if as_json:
        output.show_json("lookup/1", {"destination": chosen.name, "practitioners": people})
    elif people:
        output.show_table(
            ("id", "active", "roles", "active roles"),
            [(one["id"], _WORDS[one["active"]], one["roles"], one["active_roles"]) for one in people],
        )
    if len(people) != 1:
        output.say("Nobody carries this NPI there." if not people else "More than one carries it: have them merged.")
        raise typer.Exit(ExitCode.FINDINGS)


_WORDS = {True: "yes", False: "no", None: "not said"}


def look_up(destination: FhirSettings, npi: str) -> list[dict[str, Any]]:
    """Who carries the NPI: id, active (None = not said), roles, active_roles. Raises ConfigError, Unreachable."""
    from hl7bridge.assemble.authorization import authorization
    from hl7bridge.assemble.destinations import destination_rules
    from hl7bridge.destinations.fhir.examine.probe import carriers, npi_tokens
    from hl7bridge.destinations.fhir.examine.reach import Watching
    from hl7bridge.destinations.fhir.wire.client import FhirClient
    from hl7bridge.destinations.fhir.wire.gate import network

    rules = destination_rules(destination)
    reading = Watching(network(rules.base_url, rules.ca_file, rules.proxy), time.time)
    client = FhirClient(rules, authorization(destination), transport=reading)
    try:
        reply = _answered(client.search("Practitioner", [("identifier", npi_tokens(npi))]), destination)
        return [_person(client, destination, one) for one in carriers(reply.resources, npi)]
    finally:
        client.close()


def _person(client: FhirClient, destination: FhirSettings, person: dict[str, Any]) -> dict[str, Any]:
    asked = [("practitioner", str(person["id"])), ("_count", "50")]
    roles: tuple[dict[str, Any], ...] = ()
    if destination.elements.roles:
        from hl7bridge.destinations.fhir.roles import is_of_person

        found = _answered(client.search("PractitionerRole", asked), destination).resources
        roles = tuple(role for role in found if is_of_person(role, str(person["id"])))
    return {
        "id": person["id"],
        "active": person.get("active"),
        "roles": len(roles),
        "active_roles": sum(role.get("active") is not False for role in roles),
    }


def _answered(reply: Reply, destination: FhirSettings) -> Reply:
    """The reply, where the server did what was asked. Raises Unreachable."""
    if reply.done:
        return reply
    answer = f"answers HTTP {reply.status}" if reply.status else f"does not answer ({reply.detail or reply.kind.value})"
    name = destination.name
    raise Unreachable(f"{name}: the server {answer}. `hl7bridge doctor {name}` says why.")
