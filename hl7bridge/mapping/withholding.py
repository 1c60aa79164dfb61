"""Whose an address or a telephone is, as the sender stated it: what a destination withholds it by (`ElementValue.kind`).

It goes by XAD.7 and XTN.2 as sent (tables 0190, 0201), never by FHIR's `use`: a mobile at home is `mobile` there, and a
site's table may call a code what it likes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hl7bridge.mapping.rules.draft import Draft
from hl7bridge.mapping.rules.tables import Codes

HOME, WORK, UNTYPED = "home", "work", "untyped"
_NUMBER = "0123456789+()-. "

_ADDRESSES_AT_HOME = frozenset({"H", "P", "V", "HV", "RH"})
"""Where people live, whatever a site's table makes of them: home, permanent, vacation, registry home."""

_TELEPHONES_AT_HOME = frozenset({"PRN", "ORN", "VHN", "PRS"})
"""Primary, other and vacation residence, and personal numbers."""

_OF_OLD_TEXT = re.compile(
    r"C *([BCFHO])$"
)  # TN before 2.3.1: 999-9999X99999C, and letters that senders add: H home, O office
_HOME_WORDS = re.compile(r"\b(?:home|hm|hp|priv(?:at|ate)?|res(?:idence)?|domicile|thuis|h)\b", re.IGNORECASE)
_WORK_WORDS = re.compile(r"\b(?:work|office|off)\b", re.IGNORECASE)


def address_kind(draft: Draft, repetition: str) -> str:
    """ "work" where the type (XAD.7) is plainly of work, else "home".

    Of work is what the table in force calls so (B, O, S), and what is temporary (C) at an organisation (XAD.19). An address
    without a type may be anybody's home; so may one for mail, one that is legal, or bad.
    """
    return address_kind_of(draft.row.codes, draft.reader.code(repetition, 7), draft.reader.parts(repetition)[18])


def address_kind_of(codes: Codes, kind: str, addressee: str) -> str:
    """The same of a type and XAD.19."""
    if kind in _ADDRESSES_AT_HOME:
        return HOME
    return WORK if codes.get(kind) == WORK or (kind == "C" and addressee) else HOME


def kind_of_use(codes: Codes, use: str) -> str:
    """By a use of table 0201 alone: "home", "work", or "" for answering services, pagers and network addresses."""
    if use.upper() in _TELEPHONES_AT_HOME or codes.get(use) == HOME:
        return HOME
    return WORK if codes.get(use) == WORK else ""


def sounds_like_home(text: str) -> bool:
    """Whether a text with no use beside it may be said to be of a home."""
    return _HOME_WORDS.search(text.lstrip(_NUMBER)) is not None or _OF_OLD_TEXT.search(text) is not None


def telecom_kind(draft: Draft, parts: Sequence[str]) -> str:
    """By XTN.2: "home" or "work"; without a use of table 0201 by the marks of the old text form (TN: `555-0100CH`,
    `555-0100^C^H`, `555-0100 (home)`), by what stands in its place (`HOME`) and by the text beside it (XTN.9), "untyped"
    where nothing says either. "" for other uses: answering service, pager, network address.
    """
    text, use, equipment = parts[:3]
    mark = equipment if use == "C" and len(equipment) == 1 else ""
    codes = draft.row.codes
    if use.upper() in _TELEPHONES_AT_HOME or codes.get(use) == HOME or (use in codes and not mark):
        return kind_of_use(codes, use)
    mark = mark or ((found := _OF_OLD_TEXT.search(text)) and found[1]) or ""
    unknown = "" if mark else use  # a code of nobody's table, which may be a word
    comment = " ".join((text.lstrip(_NUMBER), unknown, parts[8]))
    if mark == "H" or _HOME_WORDS.search(comment):
        return HOME
    return WORK if mark == "O" or _WORK_WORDS.search(comment) else UNTYPED
