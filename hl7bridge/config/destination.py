"""The keys of conf/destinations/NAME.toml: those of every kind of destination, and those of a FHIR server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from hl7bridge.config.secrets import SecretReference
from hl7bridge.config.tasks import Days, Hours, MaintenanceWindow, SecurityClasses, TaskSettings
from hl7bridge.config.values import (
    Duration,
    DurationOrNone,
    Names,
    Notation,
    Section,
    Uri,
    Url,
    Wrong,
    identity_step,
    optional_server_address,
    optional_time_zone,
    path_of,
    pin,
    proxy_address,
    proxy_secret,
    scope,
    secret,
    setting,
    several,
    unknown_name,
)
from hl7bridge.errors import ConfigError

EPIC_TASKS = {"joiner": True}
EPIC_BUDGET = {"in_flight": 2, "requests_per_second": 2.0}
OWNED: tuple[str, ...] = ("name", "telecom", "address", "gender", "birthDate", "qualification", "communication")
OWNED += ("code", "specialty", "organization", "location", "healthcareService", "period")  # those of roles
PLACEHOLDER_CLIENT = "put-your-client-id-here"
"""What the files that `hl7bridge init` copies have where a site has to write its own."""


class AuthSettings(Section):
    """SMART Backend Services (OAuth 2.0 client credentials with a signed assertion)."""

    type: Literal["smart", "none"] = setting("smart", "none is for servers on this machine, such as the sandbox")
    client_id: str = setting("", "the client id that the server's owner gave you")
    key: Annotated[SecretReference | None, BeforeValidator(secret), Notation("reference")] = setting(
        None, "private key: file:PATH, env:NAME, keyring:SERVICE/NAME or exec:COMMAND; never the key itself"
    )
    key_max_age: DurationOrNone = setting(
        "365d", "a key file older than this is warned of by check and doctor; 0d = never"
    )
    algorithm: Literal["ES384", "RS384"] = setting("ES384", "signature; it must suit the key")
    token_url: Annotated[str, AfterValidator(optional_server_address), Notation("URL")] = setting(
        "", "the token endpoint; empty = what the server's .well-known/smart-configuration names"
    )
    token_hosts: Names = setting((), "hosts, beside the server's own, that .well-known/smart-configuration may name")
    key_id: str = setting("", "kid of the key, where the server gave it one; empty = its RFC 7638 thumbprint")
    audience: str = setting("", "aud of the assertion where it is not the token endpoint (behind a proxy)")
    scopes: Annotated[tuple[Annotated[str, AfterValidator(scope)], ...], BeforeValidator(several), Notation("list")] = (
        setting((), "scopes to ask for; empty = read in mode report, read and write in mode write")
    )


class RetrySettings(Section):
    """Attempts after a failure in passing."""

    first: Duration = setting("1s", "wait before the second attempt; each further wait doubles, with jitter")
    longest: Duration = setting("5m", "the longest wait between attempts")
    attempts: Annotated[int, Field(ge=0)] = setting(0, "attempts until the change is held; 0 = no limit")
    asked_longest: Duration = setting(
        "5m", "the longest wait that the server may ask for (Retry-After); a leaver's record waits 30s at most"
    )


Mode = Literal["report", "approve", "write"]
ModeOrNone = Annotated[Literal["report", "approve", "write", ""], Notation("mode")]


class ModesSettings(Section):
    """Modes of single operations; empty = `mode`."""

    create: ModeOrNone = setting("", "for what creates a resource; empty = the destination's mode")
    update: ModeOrNone = setting(
        "", "for what changes one, or makes a person active again; empty = the destination's mode"
    )
    deactivate: ModeOrNone = setting(
        "", "for what makes a person or role inactive because the person leaves; empty = the destination's mode"
    )


class CohortSettings(Section):
    """Who is written during a pilot: whoever is in one of the lists; all others are reported. All empty = everybody."""

    feeds: Names = setting((), "everybody of these feeds")
    departments: Names = setting((), "everybody of these units (codes of ORG-2 and STF-8)")
    staff_keys: Names = setting((), "these people")


class BrakeSettings(Section):
    """Deactivations that wait for a person: a mass change that nobody announced may be a mistake, or an attack."""

    office_hours: Hours = setting(
        "", "hours such as 07:00-19:00; many changes outside of them open a task, and are written; empty = never"
    )
    office_days: Days = setting(("mon", "tue", "wed", "thu", "fri"), "days with office hours")
    off_hours_changes: Annotated[int, Field(ge=1)] = setting(
        50, "how many changes within an hour, outside of office hours, open that task"
    )
    deactivations_per_hour: Annotated[int, Field(ge=0)] = setting(
        20, "people deactivated within an hour; further ones are held; 0 = no limit"
    )
    share_of_file: Annotated[float, Field(ge=0, le=100)] = setting(
        5.0, "percent of one message's records that may deactivate, from 20 records on; 0 = no limit"
    )
    protected: Names = setting((), "staff keys of people who are never deactivated without a person")


class ReconcileSettings(Section):
    """The source against the server, as a report; nothing is written."""

    every: DurationOrNone = setting("24h", "how often everybody is compared with the server; 0s = only when you ask")
    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$"), Notation("time of day")] = setting(
        "03:30", "when the first comparison of a day begins, in this machine's time"
    )
    requests_per_second: Annotated[float, Field(ge=0)] = setting(
        2.0, "most requests a second for it, beside those of deliveries; 0 = no limit"
    )
    scan: bool = setting(False, "read the server's whole roster, too, for active people whom the source does not know")


class IdentitySettings(Section):
    """How a person is found at the server."""

    order: Annotated[
        tuple[Annotated[str, AfterValidator(identity_step)], ...], BeforeValidator(several), Notation("list")
    ] = setting(
        ("crosswalk", "all"),
        "steps: crosswalk (where found before; first), key (the staff key), codes of table 0203 such as EI or NPI,"
        " identifier systems, all; what is not listed finds nobody",
    )

    @model_validator(mode="after")
    def _consistent(self) -> IdentitySettings:
        steps = self.order
        if "crosswalk" in steps[1:]:
            raise Wrong("has crosswalk behind another step", "It stands first, or is left out.")
        if not set(steps) - {"crosswalk"}:
            raise Wrong("names no identifier", "Add all, or those that find a person.")
        if len(set(steps)) < len(steps):
            raise Wrong("names a step twice")
        return self


class ElementSettings(Section):
    """Personal details that the destination may receive."""

    roles: bool = setting(True, "PractitionerRole resources; false = none are read or written")
    gender: bool = setting(True, "administrative gender (STF-5)")
    birth_date: bool = setting(False, "date of birth (STF-6)")
    home_address: bool = setting(False, "addresses that are not plainly of work (STF-11; XAD.7 B, O, S)")
    home_phone: bool = setting(False, "home telephone numbers and e-mail (STF-10, STF-15)")
    untyped_phone: Literal["withhold", "work"] = setting(
        "work",
        "telephone numbers of STF-10 that say neither home nor work (TN before 2.4 never does): withhold them with those of"
        " home, or send them as those of work",
    )
    ssn: bool = setting(False, "social security number, by its type or its system")
    driver_license: bool = setting(False, "driver licence number (STF-22), by its type or its system")
    tax_id: bool = setting(False, "tax number, by its type or its system")

    def withheld(self) -> frozenset[str]:
        """What the destination must not receive, in the words of its rules: element, element.use, identifier.TYPE."""
        found = {name for key, name in _WITHHELD.items() if not getattr(self, key)}
        if self.untyped_phone == "withhold" and not self.home_phone:
            found.add("telecom.untyped")
        return frozenset(found)


_WITHHELD = {
    "roles": "PractitionerRole",
    "gender": "gender",
    "birth_date": "birthDate",
    "home_address": "address.home",
    "home_phone": "telecom.home",
    "ssn": "identifier.SS",
    "driver_license": "identifier.DL",
    "tax_id": "identifier.TAX",
}


class DestinationSettings(Section):
    """What a file says of a destination of any kind. `name` is the file's name."""

    name: str = ""
    kind: str = setting("fhir", "what stands there: fhir = a FHIR R4 server")
    mode: Mode = setting(
        "report", "report reads and plans and writes nothing; approve holds each write for a person; write sends them"
    )
    clock_tolerance: DurationOrNone = setting(
        "1h",
        "a record that is older (MSH-7) than what was applied last of the person, by no more than this, is compared, and"
        " held where it would change something; one that is older by more is stale; 0s = never compared",
    )
    index_lag: DurationOrNone = setting(
        "60s",
        "how long the server's searches may lag behind its writes: a create whose answer was lost is not sent again earlier;"
        " a longer lag that was measured counts instead; 0s = no wait",
    )
    capabilities_interval: Duration = setting(
        "1h", "how often the server is asked what it offers (CapabilityStatement), beside each start"
    )
    in_flight: Annotated[int, Field(ge=1, le=64)] = setting(8, "requests at one time (profile epic: 2)")
    requests_per_second: Annotated[float, Field(ge=0)] = setting(
        0.0, "most requests a second; 0 = no limit (profile epic: 2)"
    )
    timezone: Annotated[str, AfterValidator(optional_time_zone)] = setting(
        "", "time zone of maintenance windows and office hours; empty = that of this machine"
    )
    maintenance: Annotated[tuple[MaintenanceWindow, ...], Notation("[[maintenance]]: days, hours")] = setting(
        (), "hours in which nothing is sent: messages are taken, answered and queued"
    )
    modes: ModesSettings = ModesSettings()
    cohort: CohortSettings = CohortSettings()
    retry: RetrySettings = RetrySettings()
    brake: BrakeSettings = BrakeSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    tasks: TaskSettings = TaskSettings()
    security_classes: SecurityClasses = setting(
        {}, "class that a joiner's task suggests for job:CODE, department:CODE or category:CODE"
    )

    @property
    def file(self) -> str:
        """The destination's file, as errors name it."""
        return f"conf/destinations/{self.name}.toml"

    @property
    def place(self) -> str:
        """Where it is, as lists show it."""
        return ""

    def problems(self, feeds: tuple[str, ...]) -> Iterator[ConfigError]:
        """What single keys do not tell: keys that contradict each other, and what is none of the `feeds`."""
        if self.retry.longest < self.retry.first:
            advice = "Write a longer wait."
            yield ConfigError("is shorter than retry.first", file=self.file, key="retry.longest", advice=advice)


class FhirSettings(DestinationSettings):
    """One FHIR server (kind = "fhir")."""

    base_url: Url = Field(description="FHIR R4 base address, such as https://fhir.example.org/r4")
    profile: Literal["generic", "epic"] = setting("generic", "starting values: epic = 2 requests/s, 2 in flight")
    on_drift: Literal["overwrite", "keep"] = setting(
        "overwrite", "a value of ours that someone changed at the server: write it again, or leave theirs"
    )
    lifecycle_scope: Literal["both", "practitioner", "role"] = setting(
        "both", "what a deactivation ends: the person, this feed's roles, or both"
    )
    b05_deactivates: bool = setting(
        True, "who is away for a time (PMU^B05) is inactive meanwhile; false: only the roles are"
    )
    allow_npi_change: bool = setting(
        False,
        "update a person whose NPI is another than the message's although neither names nor birth date confirm who it is",
    )
    search_method: Literal["get", "post"] = setting(
        "get", "post keeps identifiers out of addresses and proxy logs, where the server offers _search"
    )
    conditional_create: bool = setting(True, "create with If-None-Exist, where the server offers it")
    timeout: Duration = setting("10s", "longest wait for one answer of the server")
    deadline: DurationOrNone = setting(
        "0s", "longest time for one request and its whole answer, however slowly it comes; 0s = three times timeout"
    )
    ca_file: Annotated[Path | None, BeforeValidator(path_of), Notation("path")] = setting(
        "", "certificates to trust (PEM); empty = those of the system"
    )
    proxy: Annotated[str, AfterValidator(proxy_address), Notation("URL")] = setting(
        "", "forward proxy on the way to the server and its token endpoint, http://HOST:PORT; empty = none"
    )
    proxy_user: str = setting("", "our name at the proxy, where it asks for one")
    proxy_password: Annotated[SecretReference | None, BeforeValidator(proxy_secret), Notation("reference")] = setting(
        None, "our password there, kept elsewhere as auth.key is"
    )
    client_certificate: Annotated[Path | None, BeforeValidator(path_of), Notation("path")] = setting(
        "", "our own certificate with its chain (PEM), where the server asks for one (mutual TLS)"
    )
    client_key: Annotated[Path | None, BeforeValidator(path_of), Notation("path")] = setting(
        "", "its private key (PEM, not encrypted); empty = in the same file"
    )
    pins: Annotated[tuple[Annotated[str, AfterValidator(pin)], ...], BeforeValidator(several), Notation("list")] = (
        setting(
            (),
            "public keys of which the server has to have one, sha256//BASE64: the present one and the next; empty = any",
        )
    )
    auth: AuthSettings = AuthSettings()
    systems: Annotated[dict[str, Uri], Notation("name = URI")] = setting(
        {}, "identifier system of an assigning authority at this server, where it differs from the feed's"
    )
    identity: IdentitySettings = IdentitySettings()
    elements: ElementSettings = ElementSettings()
    owners: Annotated[dict[str, Names], Notation("element = list of feeds")] = setting(
        {}, "where several feeds give one element: feeds in order, a later one only fills gaps"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_profile(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("profile") != "epic":
            return data
        tasks = data.get("tasks", {})
        return {**EPIC_BUDGET, **data, "tasks": {**EPIC_TASKS, **tasks} if isinstance(tasks, dict) else tasks}

    @field_validator("pins")
    @classmethod
    def _with_the_next(cls, pins: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(pins)) == 1:
            raise Wrong(
                "is one key", "Add the hash of the next one: else nothing is delivered on the day it is changed."
            )
        return pins

    @property
    def place(self) -> str:
        """The base address."""
        return self.base_url

    def problems(self, feeds: tuple[str, ...]) -> Iterator[ConfigError]:
        """Also those of the authorization, and of [owners]."""
        yield from super().problems(feeds)
        auth, file = self.auth, self.file
        if auth.type == "smart":
            for key, value in (("client_id", auth.client_id), ("key", auth.key)):
                if not value:
                    advice = 'Add it, or write type = "none" for a server on this machine that asks for no token.'
                    yield ConfigError("missing", file=file, key=f"auth.{key}", advice=advice)
        if self.mode == "report" and any(re.search(r"\.(?:write|\*|\w*[cud])", scope) for scope in auth.scopes):
            problem = "asks for a scope that can write, in mode report"
            advice = 'Leave scopes out: they then follow the mode. (With mode = "write" it may stay.)'
            yield ConfigError(problem, file=file, key="auth.scopes", advice=advice)
        for element, order in self.owners.items():
            if element not in OWNED:
                close = get_close_matches(element, OWNED, n=1)
                advice = f'Did you mean "{close[0]}"?' if close else f"Known here: {', '.join(OWNED)}."
                yield ConfigError("unknown element", file=file, key=f"owners.{element}", advice=advice)
            for name in order:
                if name not in feeds:
                    problem, advice = unknown_name(name, feeds, "feeds")
                    yield ConfigError(problem, file=file, key=f"owners.{element}", advice=advice)


DESTINATION_KINDS: dict[str, type[DestinationSettings]] = {"fhir": FhirSettings}
"""`kind` of a destination's file -> the keys that it may hold."""
