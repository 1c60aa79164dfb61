"""What is mapped and a destination does not get, as its settings say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hl7bridge.assemble.destinations import destination_of
from hl7bridge.model import NO_FIELD, ElementValue

if TYPE_CHECKING:
    from hl7bridge.config import Feed, Settings
    from hl7bridge.destinations.protocol import Destination
    from hl7bridge.mapping.explain import ExplainedValue, Explanation


def withheld(settings: Settings, feed: Feed, found: Explanation) -> dict[str, list[ExplainedValue]]:
    """Of each destination of the feed, the explained values that it does not get. No server is asked."""
    names = (name for name in feed.destinations if name in settings.destinations)
    return {name: _withheld(found, destination_of(settings.destinations[name])) for name in names}


def _withheld(found: Explanation, destination: Destination) -> list[ExplainedValue]:
    kept_back = {
        (record.position, one.provenance.text, one.value)
        for record in found.translation.records
        for one in (record.change.identifiers if record.change else ())
        if one.system and not destination.receives(one)
    }
    kinds = {
        (record.position, one.element, one.provenance.text, json.dumps(one.value, sort_keys=True)): one.kind
        for record in found.translation.records
        for one in (record.change.practitioner if record.change else ())
    }

    def stays(row: ExplainedValue) -> bool:
        part, _, element = row.element.partition(".")
        if not element:
            return False
        if element == "identifier" and isinstance(row.value, dict):
            return (row.position, row.field, row.value.get("value")) in kept_back
        kind = kinds.get((row.position, element, row.field, json.dumps(row.value, sort_keys=True)), "")
        return not destination.receives(ElementValue(element, row.value, NO_FIELD, kind=kind), part)

    return [row for row in found.rows if stays(row)]
