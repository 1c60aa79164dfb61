"""The map of a destination's ids as a file: whom each record was found to be about, to be taken along to another store."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hl7bridge.assemble.destinations import destination_of
from hl7bridge.desk.deciding import Actor, Clock, Role, why
from hl7bridge.errors import ConfigError
from hl7bridge.model import JsonObject

if TYPE_CHECKING:
    from hl7bridge.config import DestinationSettings
    from hl7bridge.store.store import Store

ID_MAP = "id-map/1"
"""What a file with a map of ids says that it is."""


def id_map(store: Store, destination: DestinationSettings) -> JsonObject:
    """Feed, staff key and id at the server of everybody whom a destination knows, for `import_ids`."""
    rows = [[one.feed, one.source_key, one.person_id] for one in store.links.id_map(destination.name)]
    return {"schema": ID_MAP, "destination": destination.name, "base_url": destination.place, "ids": rows}


@dataclass(frozen=True, slots=True)
class IdsImported:
    """How many ids a map holds, how many are new, and how many name somebody else than is known and stay as they are."""

    read: int
    new: int
    different: int


def import_ids(
    store: Store,
    destination: DestinationSettings,
    content: bytes,
    file: str,
    actor: Actor,
    reason: str,
    *,
    clock: Clock = time.time,
) -> IdsImported:
    """Take in a map of ids, where nobody is known yet. Raises ConfigError for another file, or another destination's."""
    actor.must_have(Role.ADMIN)
    reason = why(reason)
    rows = _ids_in(content, file, destination)
    new, different = store.links.import_ids(destination.name, rows, clock(), who=str(actor), reason=reason)
    return IdsImported(len(rows), new, different)


def _ids_in(content: bytes, file: str, destination: DestinationSettings) -> Sequence[tuple[str, str, str]]:
    try:
        document = json.loads(content.decode("utf-8"))
        is_map = document["schema"] == ID_MAP
        rows = [(str(feed), str(key), str(person_id)) for feed, key, person_id in document["ids"]]
    except (ValueError, KeyError, TypeError):
        is_map, rows, document = False, [], {}
    if not is_map or not all(destination_of(destination).is_id(person_id) for _, _, person_id in rows):
        raise ConfigError(f"{file} is no map of ids", advice="`hl7bridge identity export` writes one.")
    theirs = (document.get("destination"), document.get("base_url"))
    if theirs != (destination.name, destination.place):
        raise ConfigError(
            f"the ids of {file} are those of another destination ({theirs[0]} at {theirs[1]})",
            advice="Ids are each server's own: they cannot be used at another one.",
        )
    return rows
