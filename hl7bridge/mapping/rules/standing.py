"""Rules for who a record is about and in what standing: the key, active or not, dead, a placeholder, on leave."""

from __future__ import annotations

from hl7bridge.mapping.rules.draft import Draft, Row, field_rule
from hl7bridge.model import Action, Severity

_ADD = Action.ADD  # to ask an enumeration for a member costs more than a name
UNTOLD_KEY = "repeats, or holds a character or escape sequence that would be lost: a key is taken whole or not at all"
"""What to say of a field whose key `FieldReader.key` cannot tell."""


@field_rule
def primary_key(draft: Draft, row: Row, raw: str) -> None:
    """STF-1, PRA-1: in a master file they repeat MFE-4; only the first component is compared (names may follow it)."""
    key = draft.reader.key(raw)
    if key != "" and key != draft.key and not draft.envelope.master_file:
        # By the standard it repeats the key in master files alone; a number of this person may stand there all the same.
        draft.leave("repeats the key in master files alone")
        if row.label != "STF-1" and key not in draft.said.follow(draft.identifiers).values:
            draft.say(Severity.ERROR, "102", "key-mismatch", f"{row.label} is no number of this person", component=1)
    elif key is None:
        text = f"{row.label} {UNTOLD_KEY}"
        draft.say(Severity.ERROR, "102", "key-unreadable", text, component=1)
    elif key and key != draft.key:
        text = f"{row.label} is not the key of this record (MFE-4)"
        draft.say(Severity.ERROR, "102", "key-mismatch", text, component=1)
    elif key:
        draft.decide("identity", key)


@field_rule
def active_flag(draft: Draft, row: Row, raw: str) -> None:
    """STF-7: A or I, plain or coded. Another word is never guessed: it may be how a site says that someone has left.

    An error, then, where the flag decides; beside an event that decides by itself, a warning."""
    code = draft.reader.first(raw)
    target = row.codes.get(code)
    if target in ("true", "false"):
        draft.active = target == "true"
        draft.decide("active", draft.active)
        if code not in ("A", "I"):
            draft.warn("103", "active-flag-alias", "not of table 0183 (A, I): read through the table of the feed")
        return
    if target == "":
        draft.leave("table 0183 of the feed has no word for it")
        return
    if not code and draft.reader.is_blank(raw):
        draft.leave("no code")
        return
    # A word that is no flag at all says that the sender's fields are shifted; a short unknown code does not.
    if len(code) > 8 or any(character.isdigit() for character in code[1:]):
        draft.misfit("not a flag of table 0183 (A, I)")
    if draft.purpose.heeds_flag:
        text = "not a flag of table 0183 (A, I): map it to A or I in [tables.0183] of the feed"
        draft.say(Severity.ERROR, "103", "unknown-active-flag", text)
    elif draft.row.label not in draft.misfits:
        draft.warn("103", "unknown-active-flag", "not a flag of table 0183 (A, I): ignored, as the event decides")
        draft.leave("not a flag of table 0183")


def _is_yes(draft: Draft, row: Row, raw: str, matters: bool) -> bool | None:
    """A yes/no indicator of table 0136; None for anything else, which is an error where the answer `matters`: a state of the
    person that is not understood. Else a warning."""
    code = draft.reader.first(raw)
    if not code and draft.reader.is_blank(raw):
        return None
    target = row.codes.get(code)
    if target is None:
        if matters:
            text = "neither Y nor N: map it to one of them in [tables.0136] of the feed"
            draft.say(Severity.ERROR, "103", "unknown-indicator", text)
        else:
            draft.unmapped(code, row.table, lost=True)
        return None
    return target == "true"


@field_rule
def reactivation_approval(draft: Draft, row: Row, raw: str) -> None:
    """STF-29: whether somebody has to approve a reactivation."""
    answer = _is_yes(draft, row, raw, draft.purpose.action is Action.REACTIVATE)
    if answer is not None:
        draft.approval = answer
        draft.decide("needs_approval", answer)


@field_rule
def death_indicator(draft: Draft, row: Row, raw: str) -> None:
    """STF-32: R4 Practitioner has no such element; Y makes the person inactive."""
    answer = _is_yes(draft, row, raw, not draft.purpose.ending)
    if answer is not None:
        draft.dead = answer
        draft.decide("active", not answer)


@field_rule
def real_person(draft: Draft, row: Row, raw: str) -> None:
    """STF-37: N is a placeholder for somebody not yet known; no Practitioner is made of it."""
    answer = _is_yes(draft, row, raw, not draft.purpose.ending)
    if answer is not None:
        draft.placeholder = not answer
        draft.decide("placeholder", not answer)


@field_rule
def inactive_reason(draft: Draft, row: Row, raw: str) -> None:
    """STF-38: what PractitionerRole.notAvailable may say; table 0540 has words only for a leave."""
    words = draft.coded(row, raw)
    if words is None:
        return
    draft.ended_for = words
    if not words:
        draft.leave("the end itself says it")


def settle(draft: Draft, action: Action) -> None:
    """What the event and the flags say together: the event wins, and a contradiction is said."""
    flag = draft.active
    if action is _ADD:
        draft.active = flag is not False and not draft.dead
    elif action is Action.UPDATE:
        draft.active = False if draft.dead else flag
    elif action is Action.REACTIVATE:
        draft.active = True
        if draft.dead:
            # Somebody has to look: the same record says that the person has died.
            draft.approval = True
            _contradiction(draft, 32, "the event reactivates, STF-32 says that the person has died: needs approval")
        if flag is False:
            _contradiction(draft, 7, "the event reactivates, STF-7 says inactive: the event stands")
    else:
        draft.active = False
        if flag is True:
            _contradiction(draft, 7, "the event deactivates, STF-7 says active: the event stands")
    if draft.ended_for and draft.active is not False:
        _contradiction(draft, 38, "a reason for being inactive, but nothing says inactive: ignored")
        draft.ended_for = ""


def _contradiction(draft: Draft, field: int, text: str) -> None:
    draft.say(Severity.WARNING, "103", "event-conflict", text, number=field)
