"""What a FHIR server answered, as a value: its class, what it carried, and nothing of its texts.

The classes are those of the table in facts/protocols.md section 3. Of an OperationOutcome only the issue codes of FHIR's
own value set are kept (issue-type, R4): a server's diagnostics may hold the name of a person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

from hl7bridge.destinations.fhir.wire.gate import RESOURCE_TYPES
from hl7bridge.model import Exchange, JsonObject

RETRY_AFTER_LONGEST = 3600.0  # seconds; what a server asks beyond is not believed


class ReplyKind(StrEnum):
    """What a reply means for the one who asked."""

    DONE = "done"
    NOT_FOUND = "not found"
    GONE = "gone"
    CONFLICT = "conflict"  # 409, 412, 428: read again, plan again
    PERMANENT = "permanent"  # the same request will fail again
    AUTH = "auth"  # no token, or 401 with a new one
    FORBIDDEN = "forbidden"
    DISABLED = "disabled"  # 405, 501: the server does not offer this interaction
    TRANSIENT = "transient"
    AMBIGUOUS = "ambiguous"  # a write was sent and no answer came
    UNREACHABLE = "unreachable"  # nothing was sent
    REDIRECT = "redirect"  # never followed


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or what there is instead of one.

    resource    the resource that came back, None when there was none
    resources   of a search: every match of every page
    total       Bundle.total, -1 when the server did not say
    version     of `resource`, from ETag or meta.versionId, "" when unknown
    location    the id that a Location header names
    issues      issue codes of an OperationOutcome
    retry_after seconds that the server asks to wait, 0 = it did not say
    detail      our own code for what the status does not tell: "timeout", "tls", "not-fhir", "foreign-link" ...
    """

    kind: ReplyKind
    status: int = 0
    resource: JsonObject | None = field(default=None, repr=False)
    resources: tuple[JsonObject, ...] = field(default=(), repr=False)
    total: int = -1
    version: str = ""
    location: str = ""
    issues: tuple[str, ...] = ()
    retry_after: float = 0.0
    detail: str = ""
    exchanges: tuple[Exchange, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the server did what was asked."""
        return self.kind is ReplyKind.DONE


# --- classification --------------------------------------------------------------------------------------------------

_BY_STATUS = {
    401: ReplyKind.AUTH,
    403: ReplyKind.FORBIDDEN,
    404: ReplyKind.NOT_FOUND,
    405: ReplyKind.DISABLED,
    408: ReplyKind.TRANSIENT,
    409: ReplyKind.CONFLICT,
    410: ReplyKind.GONE,
    412: ReplyKind.CONFLICT,
    421: ReplyKind.TRANSIENT,
    423: ReplyKind.TRANSIENT,
    425: ReplyKind.TRANSIENT,
    428: ReplyKind.CONFLICT,
    429: ReplyKind.TRANSIENT,
    501: ReplyKind.DISABLED,
    505: ReplyKind.PERMANENT,
}

# issue-type of R4, level by level
_ISSUE_CODES = frozenset(
    {"invalid", "structure", "required", "value", "invariant"}
    | {"security", "login", "unknown", "expired", "forbidden", "suppressed"}
    | {"processing", "not-supported", "duplicate", "multiple-matches", "not-found", "deleted", "too-long"}
    | {"code-invalid", "extension", "too-costly", "business-rule", "conflict"}
    | {"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"}
    | {"informational"}
)

_BY_ISSUE = {
    **dict.fromkeys(("login", "expired", "unknown"), ReplyKind.AUTH),
    **dict.fromkeys(("security", "forbidden", "suppressed"), ReplyKind.FORBIDDEN),
    "not-supported": ReplyKind.DISABLED,
    "not-found": ReplyKind.NOT_FOUND,
    "deleted": ReplyKind.GONE,
    **dict.fromkeys(("conflict", "duplicate", "multiple-matches"), ReplyKind.CONFLICT),
    **dict.fromkeys(
        ("transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"), ReplyKind.TRANSIENT
    ),
}


def kind_of_status(status: int) -> ReplyKind:
    """The class of an HTTP status."""
    if 200 <= status < 300:
        return ReplyKind.DONE
    if 300 <= status < 400:
        return ReplyKind.REDIRECT
    return _BY_STATUS.get(status, ReplyKind.TRANSIENT if status >= 500 else ReplyKind.PERMANENT)


def kind_of_issues(issues: tuple[str, ...]) -> ReplyKind:
    """The class of an OperationOutcome with an error that came with a status of success."""
    for issue in issues:
        if issue in _BY_ISSUE:
            return _BY_ISSUE[issue]
    return ReplyKind.PERMANENT


def issue_codes(outcome: JsonObject, *, errors_only: bool = False) -> tuple[str, ...]:
    """The codes of its issues, once each; what is no code of FHIR's value set becomes "processing"."""
    issues = outcome.get("issue")
    codes = []
    for issue in issues if isinstance(issues, list) else []:
        if isinstance(issue, dict) and (not errors_only or issue.get("severity") in ("error", "fatal")):
            code = issue.get("code")
            codes.append(code if isinstance(code, str) and code in _ISSUE_CODES else "processing")
    return tuple(dict.fromkeys(codes))


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds to wait, from Retry-After (RFC 9110, 10.2.3: seconds or a date) or x-ms-retry-after-ms. 0 = not said."""
    text = headers.get("x-ms-retry-after-ms", "").strip()
    if re.fullmatch(r"\d{1,12}", text):
        return min(int(text) / 1000, RETRY_AFTER_LONGEST)
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,12}", text):
        return min(float(text), RETRY_AFTER_LONGEST)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_LONGEST)


# --- ids, versions, shape --------------------------------------------------------------------------------------------


def is_id(value: Any) -> bool:
    """Whether a value may stand as a logical id in a URL.

    Wider than R4's `[A-Za-z0-9.-]{1,64}`: servers exceed it. Never a path step, never something that ends a segment.
    """
    return (
        isinstance(value, str) and bool(re.fullmatch(r"[A-Za-z0-9._~:+=@!$-]{1,256}", value)) and value.strip(".") != ""
    )


def version_of(headers: Mapping[str, str], resource: JsonObject | None) -> str:
    """The version from the ETag, else from meta.versionId; "" when there is none that could stand in If-Match."""
    tag = re.fullmatch(r'(?:W/)?"([!#-~]{1,128})"', headers.get("etag", "").strip())
    return tag.group(1) if tag else version_in(resource)


def version_in(resource: JsonObject | None) -> str:
    """meta.versionId, "" when there is none that could stand in If-Match."""
    meta = (resource or {}).get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) and re.fullmatch(r"[!#-~]{1,128}", version) else ""


def located(location: str, resource_type: str) -> tuple[str, str]:
    """Id and version that a Location header names ("" each when none). Only the end of its path is read: behind a
    proxy the rest is often an inner host's, and nobody requests it."""
    try:
        path = urlsplit(location).path
    except ValueError:
        return "", ""
    found = re.search(rf"(?:^|/){resource_type}/([^/]+)(?:/_history/([^/]+))?/?$", path)
    if not found or not is_id(unquote(found.group(1))):
        return "", ""
    return unquote(found.group(1)), found.group(2) or ""


_LISTS = {
    "Practitioner": ("identifier", "name", "telecom", "address", "qualification", "communication"),
    "PractitionerRole": (
        "identifier", "code", "specialty", "location", "healthcareService", "telecom", "notAvailable",
    ),
}  # fmt: skip
_OBJECTS = ("meta", "period", "organization", "practitioner")


def is_sound(resource: Any) -> bool:
    """Whether a Practitioner or PractitionerRole has the shape that planning relies on: it never trusts a server so far
    as to fail on it."""
    if (
        not isinstance(resource, dict)
        or resource.get("resourceType") not in RESOURCE_TYPES
        or not is_id(resource.get("id"))
    ):
        return False
    for element in _LISTS[resource["resourceType"]]:
        items = resource.get(element, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            return False
    if not all(isinstance(resource.get(element, {}), dict) for element in _OBJECTS):
        return False
    return isinstance(resource.get("active", True), bool)
