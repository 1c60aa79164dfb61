"""Outcomes in our own words, and the tasks for what no API can do.

No text holds a value of the message or a word of the server: statuses, issue codes of FHIR's value set, logical ids.
No text says that access was revoked: an inactive Practitioner ends no login (S55).
"""

from __future__ import annotations

from hl7bridge.destinations.fhir.identity.resolve import Match, Resolution
from hl7bridge.destinations.fhir.wire.replies import Reply, ReplyKind
from hl7bridge.destinations.reasons import (
    AT_ONCE,
    BY_HAND,
    DUPLICATE_KEY,
    FORBIDDEN,
    INTERNAL,
    INVALID,
    KEY_OF_ANOTHER,
    LOCKED,
    NOT_OFFERED,
    RE_HIRED,
    REQUIRED,
    UNDATED,
    UNKNOWN_KEY,
    VALUE,
    operation,
)
from hl7bridge.destinations.retry import CONFLICT, UNREACHABLE
from hl7bridge.model import WRITES_REFUSED, Outcome, Result, StaffChange, Task
from hl7bridge.model.ordering import OUT_OF_ORDER

_DETAILS = {
    "timeout": "did not answer in time",
    "connection-lost": "closed the connection before it answered",
    "tls": "could not be reached: its certificate or TLS version is not accepted",
    "unreachable": "could not be reached",
    "not-fhir": "answered with something that is no FHIR JSON",
    "unsound-json": "answered with JSON that names one member twice, or holds NaN or Infinity",
    "error-in-success": "answered with a status of success and an error in it",
    "foreign-link": "named a next page at an address outside its own base, which is never requested",
    "foreign-path": "was to be asked for an address outside its base, which is never requested",
    "endless-pages": "gave search pages without an end",
    "too-large": "answered with more than is read",
    "encoded": "answered with a compressed body, which was not asked for",
    "another-resource": "answered with another resource than the one asked for",
    "would-drop-elements": "would have lost elements by the update: it was not sent",
    "not-sendable": "was to be sent what cannot be sent: it was not sent",
    "found-strayed": "found somebody by a search, and does not find the same id by a read",
    "not-an-id": "was to be asked for an id that is not valid",
    "token-refused": "gave no token: its authorization server refused the client",
    "token-scope-refused": "gave no token: its authorization server does not grant the scopes that are asked for",
    "token-unavailable": "gave no token: its authorization server did not answer",
}


def _said(reply: Reply, otherwise: str) -> str:
    """One sentence about a reply."""
    words = _DETAILS.get(reply.detail, otherwise)
    facts = [f"HTTP {reply.status}"] if reply.status else []
    if reply.issues:
        facts.append("issue codes " + ", ".join(reply.issues))
    return f"The FHIR server {words}" + (f" ({'; '.join(facts)})" if facts else "")


def of_reply(reply: Reply, what: str) -> Outcome:
    """The outcome of a request that failed. `what` names it: "read", "search", "create", "update"."""
    kind = reply.kind
    if kind is ReplyKind.NOT_FOUND and what == "create":
        kind = ReplyKind.DISABLED
    status, wait = reply.status, reply.retry_after
    if kind is ReplyKind.AUTH:
        local = reply.detail if reply.detail.startswith("token-") else "unauthorized"
        text = _said(reply, "refuses our token")
        return Outcome(Result.PAUSED, INTERNAL, local, text, retry_after=wait, http_status=status)
    if kind is ReplyKind.UNREACHABLE:
        return Outcome(Result.RETRY, INTERNAL, UNREACHABLE, _said(reply, "could not be reached"))
    if kind is ReplyKind.AMBIGUOUS:
        text = _said(reply, "did not answer") + f"; whether the {what} arrived is not known yet"
        return Outcome(Result.UNKNOWN, INTERNAL, "reply-lost", text, http_status=status)
    if kind is ReplyKind.CONFLICT:
        words = "refused the change again and again, because the resource changes all the time"
        if what == "create":
            words = "refuses a conditional create (set conditional_create = false if it does not support that)"
        text = _said(reply, words)
        return Outcome(Result.RETRY, LOCKED, CONFLICT, text, http_status=status)
    if kind in (ReplyKind.TRANSIENT, ReplyKind.NOT_FOUND, ReplyKind.GONE):
        local = "server-busy" if status in (429, 503) else reply.detail or "server-error"
        text = _said(reply, f"could not take the {what} just now")
        return Outcome(Result.RETRY, INTERNAL, local, text, retry_after=wait, http_status=status)
    return _held(reply, kind, what)


def _held(reply: Reply, kind: ReplyKind, what: str) -> Outcome:
    if kind is ReplyKind.FORBIDDEN:
        local, text = FORBIDDEN, _said(reply, f"does not permit the {what}")
        task = by_hand(
            what, "The server does not permit our client this interaction: ask its owner for the permission."
        )
    elif kind is ReplyKind.DISABLED:
        local, text = NOT_OFFERED, _said(reply, f"does not offer the {what}")
        task = by_hand(what, "The server does not offer this interaction.")
    elif kind is ReplyKind.REDIRECT:
        local, text = "redirected", _said(reply, "answered with a redirection, which is never followed")
        task = Task(
            "identity-review",
            "A person's resource has moved, perhaps merged with another",
            (
                "The FHIR server redirects requests for this person's resource; some servers do so after a merge.",
                "Find out which resource stands for the person now.",
                "Then send the record again.",
            ),
        )
    else:
        local, text = reply.detail or "server-refused", _said(reply, f"refused the {what} as invalid")
        task = Task(
            "refused-change",
            "The FHIR server refuses a change",
            (
                f"The server refused the {what} for good; it will not be sent again by itself.",
                "Compare the planned resource with what the server accepts.",
                "Mend the record at its source or the mapping, then release or resend it.",
            ),
        )
    return Outcome(Result.HELD, INTERNAL, local, text, http_status=reply.status, tasks=(task,))


def not_offered(what: str, resource_type: str) -> Outcome:
    """The CapabilityStatement does not list the interaction."""
    text = f"The FHIR server does not offer {what} of {resource_type} (CapabilityStatement)"
    task = by_hand(what, "The server does not offer this interaction.")
    return Outcome(Result.HELD, INTERNAL, NOT_OFFERED, text, tasks=(task,), refused=operation(resource_type, what))


def latched(refused: str, text: str) -> Outcome:
    """For a change that needs an interaction that the server has refused before: nothing is sent. `text`: what it said."""
    task = by_hand(refused.partition(" ")[2], f"{text}.")
    return Outcome(Result.HELD, INTERNAL, NOT_OFFERED, text, tasks=(task,), refused=refused)


def writes_refused_task(name: str, text: str) -> Task:
    """One for the destination, however many changes wait. `text`: what the server said, in our words."""
    steps = (
        f"{text}. Nothing more is sent to {name}; changes are taken and queued.",
        'Ask the server\'s owner for the interaction or the permission; or set mode = "report", if writing is not meant.',
        "If it is about PractitionerRole alone, roles = false in [elements] leaves roles out.",
        f"Then: hl7bridge destination retry-writes {name} --reason WHY.",
        "See to leavers by hand meanwhile: their access goes on.",
    )
    return Task(WRITES_REFUSED, "The FHIR server takes no writes from us", steps, due_within=15 * 60.0)


def by_hand(what: str, reason: str) -> Task:
    """A write that a person has to make."""
    return Task(
        BY_HAND,
        f"A change waits that the FHIR server does not take ({what})",
        (
            reason,
            "Make the planned change in the application itself.",
            "Record who did it and when, then close this task.",
        ),
    )


def not_verified(resource_type: str, status: int) -> Outcome:
    """The server said done, and the resource does not show it."""
    text = f"The FHIR server answered that it is done, but the {resource_type} does not show the change"
    task = Task(
        "not-verified",
        "A change was answered as done and is not visible",
        (
            f"Look at the {resource_type} at the FHIR server and compare it with the planned change.",
            "If it is about a leaver, end the access by hand now: nothing shows that the person is inactive.",
            "Find out why the server leaves out what it was sent, then send the record again.",
        ),
    )
    return Outcome(Result.HELD, INTERNAL, "not-verified", text, http_status=status, tasks=(task,))


def of_resolution(found: Resolution, *, ends: bool) -> Outcome:
    """The outcome where nobody, or not one, was found. `ends`: the record is about a leaver."""
    if found.match is Match.FAILED and found.reply is not None:
        return of_reply(found.reply, "search" if found.reply.resource is None else "read")
    code = {"no-identifier": REQUIRED, "search-not-honoured": INTERNAL, "deleted-at-server": UNKNOWN_KEY}.get(
        found.local, DUPLICATE_KEY
    )
    steps = [f"{found.text}."]
    steps += [f"Practitioner/{resource_id} {carries}." for resource_id, carries in found.candidates]
    if found.local == "search-not-honoured":
        steps.append(
            "Ask the server's owner how Practitioner is searched by identifier; nothing is written until then."
        )
    else:
        steps.append(
            "Compare both sides, decide who the record is about, and mend the identifiers where they are wrong."
        )
        steps.append("`hl7bridge identity list` shows both; `hl7bridge identity link` says whom the record is about.")
        if found.local in (KEY_OF_ANOTHER, RE_HIRED):
            steps.append(
                "If it is the same person under another staff key: `hl7bridge identity link FEED KEY PERSON-ID --also"
                " --release`. If they are two people: `hl7bridge identity link FEED KEY new --release`."
            )
    if ends:
        steps.append("The record is about a leaver: see to it that the person's access is ended meanwhile.")
    task = Task("identity-review", "It is not clear which Practitioner a record is about", tuple(steps))
    return Outcome(Result.HELD, code, found.local, found.text, tasks=(task,), candidates=found.people)


def approval_needed() -> Outcome:
    """STF-29."""
    text = "The record says that a reactivation needs approval (STF-29)"
    task = Task(
        "approval",
        "A reactivation needs approval",
        ("Check with the department that the person is back.", "Approve the change, or reject it with the reason."),
    )
    return Outcome(Result.HELD, "", "approval-needed", text, tasks=(task,))


_UNKNOWN_FILE = Task(
    "unknown-master-file",
    "A record ends somebody, and it is not certain that it is about staff",
    (
        f"{UNDATED['unknown-master-file']}. Its key is that of a person. Nothing was written.",
        "Ask the source which master file it is.",
        "If it is about staff: hl7bridge hold release, and write its name into the feed's file, so that no other waits:"
        ' [tables.0175] NAME = "STF". If it is not: hl7bridge hold discard.',
    ),
    due_within=AT_ONCE,
)


def undated(change: StaffChange) -> Outcome:
    """Somebody would be ended, or brought back, at a time that is not certain."""
    text = f"{UNDATED[change.undated]}: nothing is written until a person decides"
    if change.undated == "unknown-master-file":
        return Outcome(Result.HELD, VALUE, change.undated, text, tasks=(_UNKNOWN_FILE,))
    task = Task(
        "uncertain-time",
        "A record ends somebody, or brings them back, and it is not certain when",
        (
            f"{UNDATED[change.undated]} (MFE-3 or MFI-5; EVN-6, EVN-3 or EVN-2). Nothing was written.",
            "Ask the source from when on the record applies.",
            "If it applies now: hl7bridge hold release. If later, or not at all: hl7bridge hold discard, and have the"
            " source send it with a full time (YYYYMMDD or YYYYMMDDHHMMSS).",
        ),
        due_within=AT_ONCE,
    )
    return Outcome(Result.HELD, INVALID, change.undated, text, tasks=(task,))


def out_of_order(*, ends: bool) -> Outcome:
    """By its sender's clock the change is older than what was applied last, by less than clocks may differ. `ends`: it is
    about a leaver."""
    text = "The record is older than what was applied last of the person (MSH-7), and would change something"
    task = Task(
        OUT_OF_ORDER,
        "A leaver's record came out of order, and waits for a person",
        (
            f"{text}. Clocks of senders may be wrong (clock_tolerance), so it was neither applied nor dropped.",
            "Find out from the source whether the person has left.",
            "If so: hl7bridge hold release; else: hl7bridge hold discard.",
            "Until then the person stays active: if they have left, see to their access now.",
        ),
        due_within=AT_ONCE,
    )
    return Outcome(Result.HELD, "", OUT_OF_ORDER, text, tasks=(task,) if ends else ())


def look_again(what: str, wait: float = 0.0) -> Outcome:
    """A create whose answer was lost, and which cannot be found so far. `wait`: seconds until the next look, at least."""
    text = f"An earlier {what} got no answer and cannot be found yet: it is looked for again before it is sent again"
    return Outcome(Result.UNKNOWN, INTERNAL, "reply-lost", text, retry_after=wait)


AWAY = Task(
    "away-access",
    "Decide on the access of somebody who is away",
    (
        "The source says that the person is unavailable for a time; the Practitioner is inactive until the return. "
        "That does not end a login.",
        "Where your rules say so, suspend the login in the application for that time, and have shared work taken over.",
        "When the person is back, undo it.",
    ),
)

SHARED = Task(
    "shared-person",
    "A person leaves one source and stays in another",
    (
        "One source deactivates the person, another holds the person active: the roles of the first end.",
        "Check with both departments whether that is right.",
        "If the person has left altogether, have the other source say so; review what access the ended roles gave.",
    ),
)

DELETED = Task(
    "deleted-in-source",
    "A record was deleted in the source",
    (
        "The source deleted the person's record. The FHIR server deletes nothing: the Practitioner is inactive and tagged.",
        "Find out whether the record was a mistake, a duplicate, or the person has left.",
        "If it was a duplicate, see that the surviving record carries its identifiers.",
    ),
)
