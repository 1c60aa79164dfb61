"""What the FHIR room needs to know of a destination: plain frozen values, made by whoever reads the configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from hl7bridge.destinations.fhir.tasks import TaskRules
from hl7bridge.destinations.policy import REPORT, Policy, checked_words
from hl7bridge.errors import ConfigError

OVERWRITE = "overwrite"
KEEP = "keep"
LIFECYCLE_SCOPES = ("practitioner", "role", "both")

CROSSWALK, STAFF_KEY, ALL_IDENTIFIERS = "crosswalk", "key", "all"
IDENTITY_ORDER = (CROSSWALK, ALL_IDENTIFIERS)

DEFAULT_WITHHELD = frozenset(
    {"birthDate", "address.home", "telecom.home", "identifier.SS", "identifier.DL", "identifier.TAX"}
)
"""Data minimisation: off until a destination asks for them."""

Credentials = Callable[[], tuple[str, str]]
"""User and password, read from where they are kept. Raises ConfigError."""

MAX_RESPONSE = 32 * 1024 * 1024  # bytes; a page of 50 roles is below 1 MiB


@dataclass(frozen=True, slots=True)
class DestinationRules(Policy):
    """One FHIR server, beside its policy. Raises ConfigError for a base URL that is not acceptable or an unknown word.

    base_url            FHIR R4 base: https, or http to this machine; no user, query or fragment
    systems             assigning authority, as the message gives it -> identifier system at this server
    withheld            what this destination must not get: "birthDate" (an element), "address.home" (the items of an
                        element with that use), "identifier.SS" (identifiers of that type code, table 0203),
                        "PractitionerRole" (no roles at all), "PractitionerRole.telecom"
    on_drift            a value of ours that someone changed at the server: "overwrite" (and report), or "keep" theirs
    owners              element -> feeds in order: a later one only fills gaps
    conditional_create  create with If-None-Exist
    verify              read a deactivated person again before the deactivation counts as done
    timeout             seconds for a connection, and for each wait on the server
    deadline            seconds for a whole exchange, however slowly it goes on; 0 = three times `timeout`
    lifecycle_scope     what a deactivation ends: "practitioner", "role" (shared directories) or "both"
    b05_deactivates     who is away for a time (PMU^B05) is inactive meanwhile; else only the roles are
    identity_order      how a person is found: "crosswalk" (where they were found before), "key" (the staff key), type codes
                        of table 0203 or systems, "all" (every identifier); each further step is a search of its own
    allow_npi_change    a person whose NPI differs from the message's is updated instead of held
    ca_file             PEM file of trusted certificates; "" = those of the system
    client_certificate  PEM file of our own, with its chain, "" = none; `client_key`: its private key, "" = in that file
    pins                public keys of which the server's certificate has to have one, "sha256//BASE64"; () = any
    proxy               forward proxy on the way there, "http://host:port"; "" = none
    proxy_credentials   gives our user and password there
    search_method       "get", or "post" ([type]/_search keeps identifiers out of URLs)
    tasks               what is asked of people
    """

    base_url: str
    systems: Mapping[str, str] = field(default_factory=dict)
    withheld: frozenset[str] = DEFAULT_WITHHELD
    on_drift: str = OVERWRITE
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conditional_create: bool = True
    verify: bool = True
    timeout: float = 10.0
    deadline: float = 0.0
    lifecycle_scope: str = "both"
    b05_deactivates: bool = True
    allow_npi_change: bool = False
    identity_order: tuple[str, ...] = IDENTITY_ORDER
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    pins: tuple[str, ...] = ()
    proxy: str = ""
    proxy_credentials: Credentials | None = field(default=None, repr=False, compare=False)
    search_method: str = "get"
    tasks: TaskRules = field(default_factory=TaskRules)
    max_response: int = MAX_RESPONSE
    max_pages: int = 20

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        checked_url(self.base_url, "base_url")
        checked_words(
            ("on_drift", self.on_drift, (OVERWRITE, KEEP)),
            ("lifecycle_scope", self.lifecycle_scope, LIFECYCLE_SCOPES),
            ("search_method", self.search_method, ("get", "post")),
        )

    def rank(self, element: str, feed: str) -> int:
        """The feed's place in `owners` for that element; feeds that are not listed stand together behind all listed."""
        order = self.owners.get(element, ())
        return order.index(feed) if feed in order else len(order)


@dataclass(frozen=True, slots=True)
class SmartRules:
    """SMART Backend Services at one destination (facts: protocols.md section 2).

    token_url    the token endpoint; "" = what `.well-known/smart-configuration` names
    token_hosts  hosts (with port, where it is not the scheme's own) that may be a token endpoint beside the base's origin
    audience     `aud` of the assertion; "" = the token endpoint
    mode         "report" for a destination that is only read; `verbs`: what is written else, "c" (create), "u" (update)
    scopes       what to ask for; () = what the mode needs, in the form (v1 or v2) that the server says it takes
    key_id       `kid`; "" = the key's RFC 7638 thumbprint
    """

    base_url: str
    client_id: str
    mode: str = REPORT
    verbs: str = "cu"
    token_url: str = ""
    token_hosts: frozenset[str] = frozenset()
    audience: str = ""
    scopes: tuple[str, ...] = ()
    key_id: str = ""
    timeout: float = 10.0
    deadline: float = 0.0
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    pins: tuple[str, ...] = ()
    proxy: str = ""
    proxy_credentials: Credentials | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        checked_url(self.base_url, "base_url")
        if self.token_url:
            checked_url(self.token_url, "token_url")
        if not self.client_id:
            raise ConfigError("missing", key="client_id", advice="Enter the client id that the server's owner gave you")


Origin = tuple[str, str, int]


def origin(url: httpx.URL | str) -> Origin:
    """Scheme, host and port of an absolute URL: what must be equal before a token is sent there."""
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.host, parsed.port or {"https": 443, "http": 80}.get(parsed.scheme, 0)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine (by name or address; nothing is looked up)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_url(url: str, key: str) -> httpx.URL:
    """The parsed URL. Raises ConfigError unless it is https, or http to this machine, without user, query, fragment."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        raise ConfigError("not a URL", key=key) from None
    if parsed.scheme not in ("https", "http") or not parsed.host:
        raise ConfigError(
            "not an https address", key=key, advice="Write it in full, such as https://fhir.example.org/r4"
        )
    if parsed.userinfo:
        raise ConfigError("holds a user name or password", key=key, advice="Leave credentials out of the address")
    if parsed.query or parsed.fragment or url.endswith(("?", "#")):
        raise ConfigError("holds a query or fragment", key=key, advice="End it after the path")
    if parsed.scheme == "http" and not is_loopback(parsed.host):
        raise ConfigError("plain http to another machine", key=key, advice="Use https")
    return parsed
