"""How values are written in the configuration: durations, sizes, addresses, paths, secrets; and what is wrong with one."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from hl7bridge.config.secrets import SecretReference
from hl7bridge.errors import ConfigError

SCOPES = re.compile(r"system/(?:Practitioner|PractitionerRole)\.(?:read|write|\*|c?r?u?d?s?)")
# Names of `charset`, as letters and digits: those that hl7.charset reads (a test compares them).
CHARSETS = re.compile(
    r"ASCII|USASCII|UTF8|UNICODEUTF8|LATIN1|(?:ISO)?8859(?:[1-9]|1[013-6])|(?:CP|WINDOWS)125[0-8]|CP(?:437|850|852|858|866|874)|"
    r"SHIFTJIS|CP932|EUCJP|ISO2022JP|GB18030|GBK|BIG5|CP950|EUCKR|CP949"
)


Version = Literal[
    "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9"
]


class Wrong(ValueError):
    """A value that won't do, and what to write instead. Neither repeats the value where it might be a secret."""

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem)
        self.problem, self.advice = problem, advice


@dataclass(frozen=True, slots=True)
class Notation:
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


def several(value: object) -> object:
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


def optional_server_address(value: str) -> str:
    return _server_address(value) if value else ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def peer_address(value: str) -> str:
    """HOST:PORT, or "" for none."""
    host, _, port = value.rpartition(":")
    if value and not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise Wrong("is not HOST:PORT", 'Write "engine.example.org:2576".')
    return value


def proxy_address(value: str, info: ValidationInfo) -> str:
    """http://HOST:PORT of a forward proxy, or "" for none. To a plain http `base_url`, only one of this machine."""
    if not value:
        return value
    if not re.fullmatch(r"http://([^/?#@\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}/?", value):
        advice = 'Write "http://proxy.example.org:3128"; user and password go into proxy_user and proxy_password.'
        raise Wrong("is not the address of a forward proxy", advice)
    parts = urlsplit(value)
    if not 0 < int(parts.netloc.rpartition(":")[2]) < 65536:
        raise Wrong("holds a port that is none", "Write a number from 1 to 65535 after the colon.")
    if str(info.data.get("base_url", "")).startswith("http:") and not is_loopback(parts.hostname or ""):
        raise Wrong(
            "could read tokens and names on the way to a plain http server", "Take it out, or write https there."
        )
    return value.rstrip("/")


def pin(value: str) -> str:
    """A public key by its hash, as curl writes it."""
    if not re.fullmatch(r"sha256//[A-Za-z0-9+/]{43}=", value):
        raise Wrong("is not the hash of a public key", 'Write "sha256//" and the 44 characters of its hash in base64.')
    return value


def network(value: str) -> str:
    """A network as CIDR, or one address."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise Wrong("is not a network", 'Write it as CIDR, such as "10.20.0.0/16", or one address.') from None


def time_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Wrong(
            "is not a time zone that this machine knows", 'Write a name such as "America/Chicago" or "UTC".'
        ) from None
    return value


def optional_time_zone(value: str) -> str:
    return time_zone(value) if value else ""


def charset_name(value: str) -> str:
    folded = "".join(letter for letter in value.upper() if letter.isascii() and letter.isalnum())
    if CHARSETS.fullmatch(folded) is None:
        raise Wrong("is not a character set that HL7 frames can carry", 'Write "utf-8", "cp1252" or "iso-8859-1".')
    return value


def scope(value: str) -> str:
    if SCOPES.fullmatch(value) is None or value.endswith("."):
        raise Wrong(
            f'"{value[:60]}" is not a scope that hl7bridge asks for',
            "Only system/Practitioner and system/PractitionerRole are ever needed; leave scopes out to follow the mode.",
        )
    return value


def identity_step(value: str) -> str:
    """A step of [identity] order: crosswalk, key, all, a code of table 0203 (in capitals), or an identifier system."""
    step = value.strip()
    if step.lower() in ("crosswalk", "key", "all"):
        return step.lower()
    if re.fullmatch(r"[A-Za-z0-9]{1,20}", step):
        return step.upper()
    try:
        return _absolute_uri(step)
    except Wrong:
        raise Wrong(
            "is no step by which a person can be found",
            'Write "crosswalk", "key", "all", a type code such as "EI" or "NPI", or an identifier system.',
        ) from None


def path_of(value: str, info: ValidationInfo) -> Path | None:
    """An absolute path; relative ones start at the folder that holds conf/."""
    if not value:
        return None
    directory: Path = (info.context or {}).get("directory", Path())
    return directory / Path(value).expanduser()


def sub_folder(value: str) -> str:
    """A name within a folder."""
    if not value or value in (".", "..") or re.search(r"[/\\:\0]", value):
        raise Wrong("is not a name within the folder", "Write a name without / and \\.")
    return value


def store_path(value: str, info: ValidationInfo) -> str:
    if not value:
        raise Wrong("is empty", "Name the file that keeps messages and their history.")
    return value if "://" in value else str(path_of(value, info))


def secret(value: object, info: ValidationInfo) -> SecretReference | None:
    return _reference(value, info, "auth.key")


def tls_key(value: object, info: ValidationInfo) -> SecretReference | None:
    return _reference(value, info, "listener.tls.key")


def proxy_secret(value: object, info: ValidationInfo) -> SecretReference | None:
    return _reference(value, info, "proxy_password")


def _reference(value: object, info: ValidationInfo, key: str) -> SecretReference | None:
    if value is None or value == "":
        return None
    context = info.context or {}
    try:
        return SecretReference.parse(str(value), context.get("directory", Path()), context.get("file", ""), key)
    except ConfigError as error:
        raise Wrong(error.problem, error.advice) from None


def certificate_name(value: str) -> str:
    """cn:NAME, san:NAME or sha256:FINGERPRINT of a certificate."""
    kind, _, name = value.partition(":")
    fingerprint = re.fullmatch(r"[0-9A-Fa-f]{64}", name.replace(":", "")) is not None
    if not name or kind.lower() not in ("cn", "san", "sha256") or (kind.lower() == "sha256" and not fingerprint):
        advice = 'Write "cn:NAME", "san:engine.example.org" or "sha256:" and the fingerprint in hexadecimal.'
        raise Wrong("is not the name of a certificate", advice)
    return value


def setting(default: Any, meaning: str) -> Any:
    """A key that may be left out. `default` is what one would write into the file; it is read and checked as that is."""
    return Field(default, description=meaning)


Duration = Annotated[float, BeforeValidator(_some_time), Notation("duration")]
DurationOrNone = Annotated[float, BeforeValidator(_duration), Notation("duration")]
Size = Annotated[int, BeforeValidator(_size), Notation("size")]
Uri = Annotated[str, AfterValidator(_absolute_uri), Notation("URI")]
Url = Annotated[str, AfterValidator(_server_address), Notation("URL")]
Names = Annotated[tuple[str, ...], BeforeValidator(several), Notation("list of names")]
Code = Literal["AE", "AR"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, arbitrary_types_allowed=True)


def unknown_name(name: str, known: tuple[str, ...], folder: str) -> tuple[str, str]:
    """What is wrong with the name of a file of conf/`folder` that is not there, and what to do."""
    close = get_close_matches(name, known, n=1)
    hint = f'Did you mean "{close[0]}"?' if close else f"Write conf/{folder}/{name}.toml, or take the name out."
    return f"there is no conf/{folder}/{name[:64]}.toml", hint
