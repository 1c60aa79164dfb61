"""What a feed wrote under an earlier mapping, and the one in force gives no more: it stays until a person has let that
mapping go live. Pure.

A changed rule must not strip what it used to write from everybody at the server with the next full file. As long as the
message still states the number, or the value is only withheld now, it is the rule that stopped, not the sender: the value
stays, and the plan says so. `hl7bridge reload` shows what is read differently, and asks; what a mapping that was let go live
there gives no more goes with the next message. What the sender stops sending goes as ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from hl7bridge.destinations.fhir.merging.merge import covers, essence, same
from hl7bridge.model import ElementValue, StaffChange

VERSION_MARK = "mapping.version"
"""A mark of a base: which mapping gave the values last."""

EARLIER_RULE = "earlier-mapping"
"""ElementValue.rule of a base's value that the mapping in force has not given since it changed."""

LIFECYCLE_RULE = "lifecycle"
"""ElementValue.rule of what every lifecycle decision decides anew, whatever the mapping gives."""

KEPT = "; kept {} that only the changed mapping gives no more, until `hl7bridge reload` confirms it"
"""What a plan's reason says of such values, with their number."""


def with_earlier(
    base: Sequence[ElementValue], before: str, change: StaffChange, desired: Sequence[ElementValue], confirmed: str
) -> list[ElementValue]:
    """The base, its values of an earlier mapping marked as such by their rule; none where the mapping is confirmed.

    before  the mapping version that gave the base last, "" = not known
    """
    if confirmed == change.mapping_version:
        return [value._replace(rule="") if value.rule == EARLIER_RULE else value for value in base]
    differs = before != change.mapping_version
    return [
        value._replace(rule=EARLIER_RULE)
        if (differs or value.rule == EARLIER_RULE) and value.rule != LIFECYCLE_RULE and not _is_given(value, desired)
        else value
        for value in base
    ]


def is_kept(value: ElementValue, change: StaffChange, offered: Sequence[ElementValue]) -> bool:
    """Whether only the mapping stopped giving the value: the message still has the number, or the value itself, which the
    destination does not get now. `offered`: the message's values before anything is withheld."""
    if value.rule != EARLIER_RULE:
        return False
    if value.element == "identifier":
        number = _bare(value.value.get("value"))
        return any(_bare(one.value) == number for one in change.identifiers)
    return any(one.element == value.element and same(one.value, value.value) for one in offered)


def _is_given(value: ElementValue, desired: Sequence[ElementValue]) -> bool:
    bare = essence(value.element, value.value)
    return any(one.element == value.element and covers(one.value, bare) for one in desired)


def _bare(number: object) -> str:
    """A number without what some systems leave out of it."""
    return str(number).replace("-", "").replace(" ", "")
