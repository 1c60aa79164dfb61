"""What every setting is: its key, type, default and meaning, and how values are written.

One class per file and per section; `config` reads the files into them. A key's meaning stands beside it here, once: the
README's table and the advice in errors are made from it.
"""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from hl7bridge.errors import ConfigError
from hl7bridge.secrets import SecretReference

SCOPES = re.compile(r"system/(?:Practitioner|PractitionerRole)\.(?:read|write|\*|c?r?u?d?s?)")
# Names of `charset`, as letters and digits: those that hl7.charset reads (a test compares them).
CHARSETS = re.compile(
    r"ASCII|USASCII|UTF8|UNICODEUTF8|LATIN1|(?:ISO)?8859(?:[1-9]|1[013-6])|(?:CP|WINDOWS)125[0-8]|CP(?:437|850|852|858|866|874)|"
    r"SHIFTJIS|CP932|EUCJP|ISO2022JP|GB18030|GBK|BIG5|CP950|EUCKR|CP949"
)

R = TypeVar("R")

EPIC_BUDGET = {"in_flight": 2, "requests_per_second": 2.0}

Version = Literal[
    "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9"
]


# --- how values are written ------------------------------------------------------------------------------------------


class Wrong(ValueError):
    """A value that won't do, and what to write instead. Neither repeats the value where it might be a secret."""

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem)
        self.problem, self.advice = problem, advice


@dataclass(frozen=True, slots=True)
class Written:
    """How a value of this kind is written, for the reference and for advice."""

    kind: str


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


def _duration(value: object) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Wrong("is not a duration", 'Write "500ms", "30s", "5m", "2h" or "7d".')
    return float(match[1]) * _UNITS[match[2]]


def _some_time(value: object) -> float:
    seconds = _duration(value)
    if not seconds:
        raise Wrong("is no time at all", 'Write a duration above zero, such as "30s".')
    return seconds


def _size(value: object) -> int:
    match = re.fullmatch(r"(\d+)\s*([KMG]I?B|B)", value.strip().upper()) if isinstance(value, str) else None
    if match is None:
        raise Wrong("is not a size", 'Write "512KiB" or "10MiB".')
    return int(match[1]) * _SIZES[match[2]]


def _several(value: object) -> object:
    """A list of texts; one text stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def _absolute_uri(value: str) -> str:
    advice = 'Write an absolute URI, such as "urn:oid:2.16.840.1.113883.4.6" or "https://example.org/staff-id".'
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+", value) is None:
        raise Wrong("is not an absolute URI", advice)
    if value.lower().startswith(("http:", "https:")) and not urlsplit(value).hostname:
        raise Wrong("is an address without a host", advice)
    if value.lower().startswith("urn:oid:") and re.fullmatch(r"(?i)urn:oid:[0-2](\.(0|[1-9]\d*))+", value) is None:
        raise Wrong("is not a well-formed OID", advice)
    return value


def _server_address(value: str) -> str:
    """An http(s) URL without user, query or fragment; plain http to this machine alone. No "/" at the end."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Wrong("is not the address of a server", 'Write it in full, such as "https://fhir.example.org/r4".')
    if parts.username is not None or parts.password is not None:
        raise Wrong("holds a user or a password", "Take it out: credentials belong into [auth], by reference.")
    if parts.query or parts.fragment:
        raise Wrong("holds a query or a fragment", "Take out what follows ? or #.")
    try:
        _ = parts.port
    except ValueError:
        raise Wrong("holds a port that is none", "Write a number from 1 to 65535 after the colon.") from None
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise Wrong("is plain http to another machine: tokens and names would be readable on the way", "Write https.")
    return value.rstrip("/")


def _optional_server_address(value: str) -> str:
    return _server_address(value) if value else ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _peer(value: str) -> str:
    """HOST:PORT, or "" for none."""
    host, _, port = value.rpartition(":")
    if value and not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise Wrong("is not HOST:PORT", 'Write "engine.example.org:2576".')
    return value


def _timezone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Wrong(
            "is not a time zone that this machine knows", 'Write a name such as "America/Chicago" or "UTC".'
        ) from None
    return value


def _charset(value: str) -> str:
    folded = "".join(letter for letter in value.upper() if letter.isascii() and letter.isalnum())
    if CHARSETS.fullmatch(folded) is None:
        raise Wrong("is not a character set that HL7 frames can carry", 'Write "utf-8", "cp1252" or "iso-8859-1".')
    return value


def _scope(value: str) -> str:
    if SCOPES.fullmatch(value) is None or value.endswith("."):
        raise Wrong(
            f'"{value[:60]}" is not a scope that hl7bridge asks for',
            "Only system/Practitioner and system/PractitionerRole are ever needed; leave scopes out to follow the mode.",
        )
    return value


def _path(value: str, info: ValidationInfo) -> Path | None:
    """An absolute path; relative ones start at the folder that holds conf/."""
    if not value:
        return None
    directory: Path = (info.context or {}).get("directory", Path())
    return directory / Path(value).expanduser()


def _store_path(value: str, info: ValidationInfo) -> str:
    if not value:
        raise Wrong("is empty", "Name the file that keeps messages and their history.")
    return value if "://" in value else str(_path(value, info))


def _secret(value: object, info: ValidationInfo) -> SecretReference | None:
    if value is None or value == "":
        return None
    context = info.context or {}
    try:
        return SecretReference.parse(str(value), context.get("directory", Path()), context.get("file", ""), "auth.key")
    except ConfigError as error:
        raise Wrong(error.problem, error.advice) from None


def setting(default: Any, meaning: str) -> Any:
    """A key that may be left out. `default` is what one would write into the file; it is read and checked as that is."""
    return Field(default, description=meaning)


Duration = Annotated[float, BeforeValidator(_some_time), Written("duration")]
DurationOrNone = Annotated[float, BeforeValidator(_duration), Written("duration")]
Size = Annotated[int, BeforeValidator(_size), Written("size")]
Uri = Annotated[str, AfterValidator(_absolute_uri), Written("URI")]
Url = Annotated[str, AfterValidator(_server_address), Written("URL")]
Names = Annotated[tuple[str, ...], BeforeValidator(_several), Written("list of names")]
Code = Literal["AE", "AR"]


# --- conf/hl7bridge.toml ---------------------------------------------------------------------------------------------


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, arbitrary_types_allowed=True)


class ServiceSettings(Section):
    """The service as a whole."""

    processing_id: Literal["P", "T", "D"] = setting("P", "MSH-11 that is taken; another one is refused (202)")
    stop_timeout: Duration = setting("30s", "how long a stop waits for work that has begun")
    poll_interval: Duration = setting("1s", "how often the store is looked at for work when nobody rings")


class StoreSettings(Section):
    """The durable store."""

    path: Annotated[str, AfterValidator(_store_path), Written("path")] = setting(
        "data/hl7bridge.sqlite", "the file that keeps messages, deliveries and their history"
    )


class LogSettings(Section):
    """The log. It never holds message content."""

    level: Literal["debug", "info", "warning", "error"] = setting("info", "the least severity that is written")
    format: Literal["console", "json"] = setting("console", "for people, or one JSON object a line")
    file: Annotated[Path | None, BeforeValidator(_path), Written("path")] = setting(
        "", "where to write; empty = standard error"
    )


class ServiceFile(Section):
    service: ServiceSettings = ServiceSettings()
    store: StoreSettings = Field(default_factory=dict, validate_default=True)
    log: LogSettings = LogSettings()


# --- conf/feeds/NAME.toml --------------------------------------------------------------------------------------------


class ListenerSettings(Section):
    """Where the feed's engine connects to (MLLP)."""

    host: Annotated[str, Field(pattern=r"^\S+$")] = setting(
        "127.0.0.1", "address to listen on; 0.0.0.0 lets other machines connect"
    )
    port: Annotated[int, Field(ge=0, le=65535), Written("port")] = Field(
        description="TCP port to listen on; 0 = one that the system chooses"
    )
    max_frame: Size = setting("10MiB", "largest message; a larger one is refused and skipped")
    max_connections: Annotated[int, Field(ge=1)] = setting(64, "connections at one time; one more is closed")
    frame_timeout: Duration = setting("30s", "a message that began must end within this time")
    idle_timeout: DurationOrNone = setting("0s", "a connection silent for so long is closed; 0s = never")
    end_of_block_timeout: Duration = setting("2s", "wait for the CR after FS; then the message counts as complete")


class Hl7Settings(Section):
    """How the feed's messages are read."""

    charset: Annotated[
        tuple[Annotated[str, AfterValidator(_charset)], ...],
        BeforeValidator(_several),
        Field(min_length=1),
        Written("name, or list of names"),
    ] = setting("utf-8", "character set where MSH-18 is empty; a list is tried in order")
    fallback_version: Version = setting("2.5.1", "HL7 version where MSH-12 is empty")
    key_system: Uri = Field(
        description="code system of this feed's staff keys (STF-1); never change it once people have been written"
    )
    timezone: Annotated[str, AfterValidator(_timezone), Written("time zone")] = setting(
        "UTC", "time zone of times without an offset"
    )
    unsupported: Literal["reject", "ignore"] = setting(
        "reject", "other message types and events: refused (AR), or answered AA and counted"
    )


class CodeSettings(Section):
    """MSA-1 in original mode, by the reason of a refusal."""

    content: Code = setting("AE", "unreadable or unmappable content")
    unsupported: Code = setting("AR", "type, event, version or processing id that is not taken")
    unavailable: Literal["AR", "AE", "close"] = setting(
        "AR", "storage failed, stopping; close = no answer, for engines that skip a message on any NAK"
    )
    mixed: Literal["AE", "AA"] = setting("AE", "some records of the message are good, some are not")

    def items(self) -> Iterable[tuple[str, str]]:
        """(reason, code) pairs; the reasons are those of `model.Refusal`."""
        return tuple(self.model_dump().items())


class AcknowledgmentSettings(Section):
    """When and how the feed's messages are answered."""

    acknowledge_when: Literal["stored", "delivered"] = setting(
        "stored", "answer when the message is safe on disk, or when the FHIR server's answer is known"
    )
    ack_deadline: Duration = setting("4s", "the longest wait for outcomes; keep it below the sender's own limit")
    when_pending: Literal["accept", "refuse"] = setting(
        "accept", "at the deadline: accept and say so, or refuse and withdraw what has not been sent"
    )
    acknowledge_for: Names = setting((), "destinations whose outcome counts; empty = all of the feed")
    application_acknowledgment_to: Annotated[str, AfterValidator(_peer), Written("host:port")] = setting(
        "", "enhanced mode: where a late application acknowledgment goes when its connection is gone"
    )
    duplicate_window: DurationOrNone = setting(
        "7d", "the same message again within this time has no second effect; 0s = no such rule"
    )
    codes: CodeSettings = CodeSettings()


class Feed(Section):
    """One staff feed. `name` is the file's name."""

    name: str = ""
    destinations: Annotated[Names, Field(min_length=1), Written("list of names")] = Field(
        description="where its changes go: names of files in conf/destinations"
    )
    listener: ListenerSettings
    hl7: Hl7Settings
    acknowledgment: AcknowledgmentSettings = AcknowledgmentSettings()
    authorities: Annotated[dict[str, Uri], Written("name = URI")] = setting(
        {}, "identifier system of an assigning authority, by the name that the sender gives it"
    )
    tables: Annotated[dict[str, dict[str, str]], Written("table of code = code")] = setting(
        {}, 'local codes, by HL7 table number: [tables.0182] "DR" = "MD"'
    )

    @property
    def file(self) -> str:
        """The feed's file, as errors name it."""
        return f"conf/feeds/{self.name}.toml"


# --- conf/destinations/NAME.toml -------------------------------------------------------------------------------------


class AuthSettings(Section):
    """SMART Backend Services (OAuth 2.0 client credentials with a signed assertion)."""

    type: Literal["smart", "none"] = setting("smart", "none is for servers on this machine, such as the sandbox")
    client_id: str = setting("", "the client id that the server's owner gave you")
    key: Annotated[SecretReference | None, BeforeValidator(_secret), Written("reference")] = setting(
        None, "private key: file:PATH, env:NAME or keyring:SERVICE/NAME; never the key itself"
    )
    algorithm: Literal["ES384", "RS384"] = setting("ES384", "signature; it must suit the key")
    token_url: Annotated[str, AfterValidator(_optional_server_address), Written("URL")] = setting(
        "", "the token endpoint; empty = what the server's .well-known/smart-configuration names"
    )
    token_hosts: Names = setting((), "hosts, beside the server's own, that .well-known/smart-configuration may name")
    key_id: str = setting("", "kid of the key, where the server gave it one; empty = its RFC 7638 thumbprint")
    audience: str = setting("", "aud of the assertion where it is not the token endpoint (behind a proxy)")
    scopes: Annotated[
        tuple[Annotated[str, AfterValidator(_scope)], ...], BeforeValidator(_several), Written("list")
    ] = setting((), "scopes to ask for; empty = read in mode report, read and write in mode write")


class RetrySettings(Section):
    """Attempts after a failure in passing."""

    first: Duration = setting("1s", "wait before the second attempt; each further wait doubles, with jitter")
    longest: Duration = setting("5m", "the longest wait between attempts")
    attempts: Annotated[int, Field(ge=0)] = setting(0, "attempts until the change is held; 0 = no limit")


class BrakeSettings(Section):
    """Deactivations that wait for a person: a mass change that nobody announced may be a mistake, or an attack."""

    deactivations_per_hour: Annotated[int, Field(ge=0)] = setting(
        20, "people deactivated within an hour; further ones are held; 0 = no limit"
    )
    share_of_file: Annotated[float, Field(ge=0, le=100)] = setting(
        5.0, "percent of one message's records that may deactivate, from 20 records on; 0 = no limit"
    )
    protected: Names = setting((), "staff keys of people who are never deactivated without a person")


class ElementSettings(Section):
    """Personal details that the destination may receive."""

    roles: bool = setting(True, "PractitionerRole resources at all")
    gender: bool = setting(True, "administrative gender (STF-5)")
    birth_date: bool = setting(False, "date of birth (STF-6)")
    home_address: bool = setting(False, "home addresses (STF-11)")
    home_phone: bool = setting(False, "home telephone numbers and e-mail (STF-10, STF-15)")
    ssn: bool = setting(False, "social security number")
    driver_license: bool = setting(False, "driver licence number (STF-22)")
    tax_id: bool = setting(False, "tax number")

    def withheld(self) -> frozenset[str]:
        """What the destination must not receive, in the words of its rules: element, element.use, identifier.TYPE."""
        return frozenset(name for key, name in _WITHHELD.items() if not getattr(self, key))


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


class Destination(Section):
    """One FHIR server. `name` is the file's name."""

    name: str = ""
    base_url: Url = Field(description="FHIR R4 base address, such as https://fhir.example.org/r4")
    mode: Literal["report", "write"] = setting(
        "report", "report reads and plans and writes nothing; write sends the changes"
    )
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
        False, "update a person whose NPI is another than the message's, instead of holding the change"
    )
    search_method: Literal["get", "post"] = setting(
        "get", "post keeps identifiers out of addresses and proxy logs, where the server offers _search"
    )
    conditional_create: bool = setting(True, "create with If-None-Exist, where the server offers it")
    timeout: Duration = setting("10s", "longest wait for one answer of the server")
    in_flight: Annotated[int, Field(ge=1, le=64)] = setting(8, "requests at one time (profile epic: 2)")
    requests_per_second: Annotated[float, Field(ge=0)] = setting(
        0.0, "most requests a second; 0 = no limit (profile epic: 2)"
    )
    ca_file: Annotated[Path | None, BeforeValidator(_path), Written("path")] = setting(
        "", "certificates to trust (PEM); empty = those of the system"
    )
    auth: AuthSettings = AuthSettings()
    retry: RetrySettings = RetrySettings()
    brake: BrakeSettings = BrakeSettings()
    systems: Annotated[dict[str, Uri], Written("name = URI")] = setting(
        {}, "identifier system of an assigning authority at this server, where it differs from the feed's"
    )
    elements: ElementSettings = ElementSettings()
    owners: Annotated[dict[str, Names], Written("element = list of feeds")] = setting(
        {}, "where several feeds give one element: feeds in order, a later one only fills gaps"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_profile(cls, data: Any) -> Any:
        return {**EPIC_BUDGET, **data} if isinstance(data, dict) and data.get("profile") == "epic" else data

    @property
    def file(self) -> str:
        """The destination's file, as errors name it."""
        return f"conf/destinations/{self.name}.toml"

    def rules(self, make: Callable[..., R]) -> R:
        """What planning and delivery need, as `make` (the class of their rules) takes it."""
        return make(
            name=self.name,
            base_url=self.base_url,
            mode=self.mode,
            systems=dict(self.systems),
            withheld=self.elements.withheld(),
            on_drift=self.on_drift,
            owners=dict(self.owners),
            lifecycle_scope=self.lifecycle_scope,
            b05_deactivates=self.b05_deactivates,
            allow_npi_change=self.allow_npi_change,
            search_method=self.search_method,
            conditional_create=self.conditional_create,
            timeout=self.timeout,
            in_flight=self.in_flight,
            requests_per_second=self.requests_per_second,
            ca_file=str(self.ca_file or ""),
        )

    def smart_rules(self, make: Callable[..., R]) -> R:
        """What SMART Backend Services needs, as `make` (the class of its rules) takes it; the key aside."""
        return make(
            base_url=self.base_url,
            client_id=self.auth.client_id,
            mode=self.mode,
            token_url=self.auth.token_url,
            token_hosts=frozenset(self.auth.token_hosts),
            audience=self.auth.audience,
            scopes=self.auth.scopes,
            key_id=self.auth.key_id,
            timeout=self.timeout,
            ca_file=str(self.ca_file or ""),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one installation. `directory` is the folder that holds `conf/`."""

    directory: Path
    service: ServiceSettings
    store: StoreSettings
    log: LogSettings
    feeds: Mapping[str, Feed]
    destinations: Mapping[str, Destination]
