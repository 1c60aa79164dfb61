"""Whether a server's resource shows what an interaction was to change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hl7bridge.destinations.fhir.merging.merge import covers, same
from hl7bridge.model import Interaction, JsonObject


def happened(interaction: Interaction, resource: JsonObject) -> bool:
    """Whether the resource shows every intended difference. meta is not looked at: servers keep their own."""
    for difference in interaction.differences:
        element, _, place = difference.path.partition("[")
        now = resource.get(element)
        before, after = difference.before, difference.after
        if element.startswith("meta"):
            continue
        if place:
            items = now if isinstance(now, list) else []
            if after is not None and not any(covers(item, after) for item in items):
                return False
            meant = (interaction.body or {}).get(element, [])
            if after is None and _count(items, before) > _count(meant, before):
                return False
        elif after is None:
            if now is not None and covers(now, before):
                return False
        elif not covers(now, after) or (element == "period" and not covers(after, now)):
            return False
    return True


def _count(items: Sequence[Any], value: Any) -> int:
    return sum(same(item, value) for item in items)
