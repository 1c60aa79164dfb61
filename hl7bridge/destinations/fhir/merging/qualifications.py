"""Single qualifications, granted or revoked (PMU^B07, B08): one is added, renewed or ended, the others stay. Pure.

A certificate is told by its number and issuer (CER-2; CER-4, -5), without a number by what it certifies and its issuer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hl7bridge.destinations.fhir.identity.systems import canonical_system
from hl7bridge.destinations.fhir.merging.merge import Merged, covers, essence, rebase, same
from hl7bridge.model import Difference, ElementValue, JsonObject

ELEMENT = "qualification"


def merge_certificates(
    wanted: Sequence[ElementValue],
    base: Sequence[ElementValue],
    server: Any,
    others: Sequence[Any],
    *,
    revokes: bool,
    keep_drift: bool = False,
) -> tuple[Merged, bool]:
    """The element once these certificates are granted, or revoked, and whether each of them could be.

    base    what this feed wrote of the element; others: what other feeds did, which a grant does not change
    server  the element at the server; not changed, only copied from
    A certificate that is revoked and is not there is not added: there is nothing to end.
    """
    items: list[Any] = list(server or [])
    stands_for = list(base)
    differences: list[Difference] = []
    drift: list[Difference] = []
    complete = True
    for one in wanted:
        mine = next((value for value in stands_for if _is_same(value.value, one.value)), None)
        slot = _slot(items, one.value, mine)
        path = f"{ELEMENT}[{len(items) if slot is None else slot}]"
        if slot is None:
            if revokes or "code" not in one.value:
                complete = False
                continue
            if mine is not None:
                drift.append(Difference(ELEMENT, None, one.value, one.provenance.text))
                if keep_drift:
                    continue
            items.append(one.value)
            differences.append(Difference(path, None, one.value, one.provenance.text))
        else:
            item = items[slot]
            changed = mine is not None and not covers(item, essence(ELEMENT, mine.value))
            bare = mine.value if mine is not None else {}
            if changed:
                drift.append(Difference(path, item, one.value, one.provenance.text))
                if keep_drift:
                    continue
            protected = any(covers(item, essence(ELEMENT, value)) for value in others)
            after = _ended(item, one.value) if revokes else item if protected else _granted(item, bare, one.value)
            if after != item:
                items[slot] = after
                differences.append(Difference(path, item, after, one.provenance.text))
            one = one._replace(value=_ended({**one.value, **bare}, one.value)) if revokes else one
            if "code" not in one.value or not covers(after, one.value):
                if revokes and changed:  # ended as it stands: this feed stands for what it wrote no longer
                    stands_for = [value for value in stands_for if value is not mine]
                continue  # another feed's, and it stays another feed's
        stands_for = [value for value in stands_for if value is not mine and not same(value.value, one.value)]
        stands_for.append(one)
    return Merged(items or None, tuple(stands_for), tuple(differences), tuple(drift)), complete


def _granted(item: JsonObject, before: JsonObject, wanted: JsonObject) -> JsonObject:
    """The item with what is granted; its period as a whole, for an end that stood there is over."""
    after: JsonObject = rebase(ELEMENT, item, before, wanted)
    return {**after, "period": wanted["period"]} if "period" in wanted else after


def _ended(item: JsonObject, wanted: JsonObject) -> JsonObject:
    """The item with the end of its period; one that ended earlier has ended earlier. Never before its start (per-1)."""
    period = item.get("period", {})
    end, start = wanted["period"]["end"], period.get("start", "")
    if period.get("end") and str(period["end"])[: len(end)] <= end[: len(str(period["end"]))]:
        return item
    return {**item, "period": {**period, "end": max(end, start[:10]) if isinstance(start, str) else end}}


def _slot(items: Sequence[Any], wanted: JsonObject, mine: ElementValue | None) -> int | None:
    """The one item that is this certificate. Of several, the one that this feed wrote: another's with the same number may
    have other dates, and a revocation that names those dates still means ours. Else the one that says exactly the same."""
    found = [slot for slot, item in enumerate(items) if isinstance(item, dict) and _is_same(item, wanted)]
    if len(found) == 1:
        return found[0]
    if mine is not None:
        ours = [slot for slot in found if covers(items[slot], mine.value)]
        if ours:
            return next((slot for slot in ours if same(items[slot], mine.value)), ours[0])
    return next((slot for slot in found if same(items[slot], wanted)), None)


def _is_same(one: JsonObject, other: JsonObject) -> bool:
    ours, theirs = _numbers(one), _numbers(other)
    if ours and theirs:
        return any(_is_same_number(a, b, one, other) for a in ours for b in theirs)
    if bool(ours) != bool(theirs) or "code" not in one or "code" not in other:
        return False
    alike = same(essence(ELEMENT, one["code"]), essence(ELEMENT, other["code"]))
    return alike and _issuer(one) == _issuer(other)


def _numbers(value: JsonObject) -> list[JsonObject]:
    return [one for one in value.get("identifier", []) if isinstance(one, dict) and one.get("value")]


def _is_same_number(one: JsonObject, other: JsonObject, of_one: JsonObject, of_other: JsonObject) -> bool:
    """Equal numbers of one system, or, without systems, of one issuer; where one side names none, that is no objection."""
    if str(one["value"]).strip() != str(other["value"]).strip():
        return False
    systems = [canonical_system(str(number["system"])) for number in (one, other) if number.get("system")]
    if len(systems) == 2:
        return systems[0] == systems[1]
    issuers = {_issuer(of_one), _issuer(of_other)} - {""}
    return len(issuers) < 2


def _issuer(value: JsonObject) -> str:
    issuer = value.get("issuer")
    return str(issuer.get("display", "")).strip().casefold() if isinstance(issuer, dict) else ""
