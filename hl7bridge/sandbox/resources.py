"""Where the resources stand: every version of each, in memory, and on a file from which they are read at the start.

The file has one JSON line a version. A write is answered after its line is synced to the disk, so that what was
acknowledged survives a kill and a power cut; ids and versions go on from there.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hl7bridge.model import JsonObject, read_json, write_json
from hl7bridge.sandbox.habits import Habits
from hl7bridge.sandbox.journal import LineFile, iso_time, read_lines
from hl7bridge.sandbox.outcomes import Refused
from hl7bridge.sandbox.search import Criterion, Query, index_keys, meets, sought_keys
from hl7bridge.sandbox.validation import ID, check_resource

_FIRST_NUMBER = 1000
_OPAQUE = string.ascii_letters + string.digits
_ID_LENGTHS = {"opaque": 24, "long": 96}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a resource. `text` is its JSON, "" for a deletion; `updated` is in Unix seconds."""

    resource_type: str
    resource_id: str
    number: int
    text: str
    updated: float

    @property
    def resource(self) -> JsonObject:
        """The resource, read anew at each call: the caller may change it."""
        read: JsonObject = read_json(self.text)
        return read


@dataclass(frozen=True, slots=True)
class Change:
    """What a write led to: the version that stands now, whether it is new, and whether the resource is."""

    version: Version
    stored: bool
    created: bool = False


Record = Callable[[Change], None]


class Resources:
    """The resources of all types. Thread-safe: one lock, held from the look at what is there to the line in the journal.

    Each write calls `record` with its result while the lock is held; what that raises undoes nothing.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        """Read what the file holds. Raises OSError."""
        self._lock = threading.RLock()
        self._clock = clock
        self._versions: dict[tuple[str, str], list[Version]] = {}
        self._current: dict[str, dict[str, JsonObject]] = defaultdict(dict)
        self._carriers: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._places: dict[tuple[str, str], int] = {}
        self._next_number = _FIRST_NUMBER
        self._file: LineFile | None = None
        self.last_line: JsonObject | None = None
        if path is not None:
            self._file = LineFile(path)
            for line in read_lines(path):
                self._keep(_version_of(line))
                self.last_line = line

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, resource_type: str, resource_id: str) -> Version:
        """The current version. Raises Refused: 404 when there never was one, 410 when it was deleted."""
        with self._lock:
            return self._standing(resource_type, resource_id)

    def version(self, resource_type: str, resource_id: str, number: str) -> Version:
        """That version. Raises Refused: 404, or 410 where it is a deletion."""
        for version in self.history(resource_type, resource_id):
            if str(version.number) == number:
                return _not_deleted(version)
        raise Refused(404, "not-found", f"{resource_type} has no such version")

    def history(self, resource_type: str, resource_id: str) -> list[Version]:
        """All versions, the newest first. Raises Refused (404)."""
        with self._lock:
            versions = self._versions.get((resource_type, resource_id))
            if not versions:
                raise _not_known(resource_type)
            return versions[::-1]

    def current(self, resource_type: str, resource_id: str) -> JsonObject | None:
        """The resource as it stands, not to be changed; None when it is not there."""
        with self._lock:
            return self._current[resource_type].get(resource_id)

    def find(self, resource_type: str, criteria: Iterable[Criterion]) -> list[str]:
        """The ids of the resources that meet the criteria, in the order of their creation."""
        criteria = tuple(criteria)
        keys = sought_keys(criteria)
        with self._lock:
            standing = self._current[resource_type]
            if keys is None:
                return [name for name, resource in standing.items() if meets(resource, criteria)]
            near = set().union(*(self._carriers.get((resource_type, key), ()) for key in keys))
            return [
                name
                for name in sorted(near, key=lambda name: self._places[resource_type, name])
                if meets(standing[name], criteria)
            ]

    def counts(self) -> dict[str, dict[str, int]]:
        """Per type: how many resources stand, how many versions there are."""
        with self._lock:
            found = {kind: {"resources": len(standing), "versions": 0} for kind, standing in self._current.items()}
            for (kind, _), versions in self._versions.items():
                found.setdefault(kind, {"resources": 0, "versions": 0})["versions"] += len(versions)
            return found

    def all(self, resource_type: str) -> list[JsonObject]:
        """Every resource of that type as it stands, not to be changed."""
        with self._lock:
            return list(self._current[resource_type].values())

    # --- writing -----------------------------------------------------------------------------------------------------

    def create(
        self, resource_type: str, body: object, condition: Query | None, habits: Habits, record: Record
    ) -> Change:
        """Store a new resource, unless `condition` (If-None-Exist) finds one: then nothing is stored.

        Raises Refused: 412 when it finds several, 400 when the new resource would not meet it (as HAPI), and what
        `check_resource` raises.
        """
        with self._lock:
            if condition is not None:
                found = self.find(resource_type, condition.criteria)
                if len(found) > 1:
                    raise Refused(412, "multiple-matches", f"If-None-Exist matches {len(found)} resources")
                if found:
                    change = Change(self._standing(resource_type, found[0]), stored=False)
                    record(change)
                    return change
            resource = check_resource(resource_type, body, self._holds)
            resource_id = self.new_id(habits.id_style)
            if condition is not None and not meets({**resource, "id": resource_id}, condition.criteria):
                raise Refused(400, "invalid", "The resource does not meet its own If-None-Exist")
            change = Change(self._store(resource_type, resource_id, resource), stored=True, created=True)
            record(change)
        self._sync()
        return change

    def update(
        self, resource_type: str, resource_id: str, body: object, if_match: str, habits: Habits, record: Record
    ) -> Change:
        """Replace a resource. The same content makes no new version (as HAPI), unless the habit says so.

        Raises Refused: 400 (id), 404, 410, 409 or 412 (stale If-Match), 428 (no If-Match though it is required), and
        what `check_resource` raises.
        """
        with self._lock:
            resource = check_resource(resource_type, body, self._holds)
            if resource.get("id") != resource_id:
                raise Refused(400, "invalid", "The id of the body is not that of the URL", path=f"{resource_type}.id")
            versions = self._versions.get((resource_type, resource_id), [])
            standing = versions[-1] if versions and versions[-1].text else None
            if habits.versioned:
                _check_if_match(if_match, versions, habits)
            if standing is None and not (habits.update_creates and ID.fullmatch(resource_id)):
                self._standing(resource_type, resource_id)
            if (
                standing is not None
                and not habits.unchanged_makes_version
                and same_content(standing.resource, resource)
            ):
                change = Change(standing, stored=False)
            else:
                stored = self._store(resource_type, resource_id, resource)
                change = Change(stored, stored=True, created=standing is None)
            record(change)
        self._sync()
        return change

    def delete(self, resource_type: str, resource_id: str, record: Record) -> Change:
        """Mark a resource as deleted. Raises Refused (404, 410)."""
        with self._lock:
            self._standing(resource_type, resource_id)
            change = Change(self._store(resource_type, resource_id, None), stored=True)
            record(change)
        self._sync()
        return change

    def clear(self, record: Callable[[], None]) -> None:
        """Forget everything; ids go on."""
        with self._lock:
            self._versions.clear()
            self._current.clear()
            self._carriers.clear()
            self._places.clear()
            if self._file is not None:
                self._file.clear()
            record()

    def new_id(self, style: str) -> str:
        """An id that no resource has."""
        with self._lock:
            if style == "number":
                self._next_number += 1
                return str(self._next_number - 1)
            return "e" + "".join(secrets.choice(_OPAQUE) for _ in range(_ID_LENGTHS[style] - 1))

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    # --- inside ------------------------------------------------------------------------------------------------------

    def _holds(self, resource_type: str, resource_id: str) -> bool:
        return resource_id in self._current[resource_type]

    def _standing(self, resource_type: str, resource_id: str) -> Version:
        versions = self._versions.get((resource_type, resource_id))
        if not versions:
            raise _not_known(resource_type)
        return _not_deleted(versions[-1])

    def _store(self, resource_type: str, resource_id: str, body: JsonObject | None) -> Version:
        number = len(self._versions.get((resource_type, resource_id), ())) + 1
        now = self._clock()
        text = ""
        if body is not None:
            meta = {"versionId": str(number), "lastUpdated": iso_time(now), **_own_meta(body)}
            rest = {name: value for name, value in body.items() if name not in ("resourceType", "id", "meta")}
            text = write_json({"resourceType": resource_type, "id": resource_id, "meta": meta, **rest})
        version = Version(resource_type, resource_id, number, text, now)
        if self._file is not None:
            self._file.append(line_of(version))
        self._keep(version)
        return version

    def _keep(self, version: Version) -> None:
        kind, name = version.resource_type, version.resource_id
        self._versions.setdefault((kind, name), []).append(version)
        self._places.setdefault((kind, name), len(self._places))
        for key in index_keys(self._current[kind].get(name, {})):
            self._carriers[kind, key].discard(name)
        if version.text:
            self._current[kind][name] = version.resource
            for key in index_keys(self._current[kind][name]):
                self._carriers[kind, key].add(name)
        else:
            self._current[kind].pop(name, None)
        if name.isdecimal():
            self._next_number = max(self._next_number, int(name) + 1)

    def _sync(self) -> None:
        # Outside the lock: several writers then wait for the disk side by side.
        if self._file is not None:
            self._file.sync()


def line_of(version: Version) -> JsonObject:
    """A version as a line of the file; it has what the journal needs to repeat it."""
    return {
        "interaction": ("create" if version.number == 1 else "update") if version.text else "delete",
        "type": version.resource_type,
        "id": version.resource_id,
        "version": str(version.number),
        "updated": iso_time(version.updated),
        "stored": version.resource if version.text else None,
    }


def _version_of(line: JsonObject) -> Version:
    updated = datetime.fromisoformat(line["updated"]).timestamp()
    text = write_json(line["stored"]) if line["stored"] is not None else ""
    return Version(line["type"], line["id"], int(line["version"]), text, updated)


def same_content(one: JsonObject, other: JsonObject) -> bool:
    """Equal as JSON, numbers by their text, apart from what the server sets in `meta`."""
    return _content(one) == _content(other)


def _content(resource: JsonObject) -> str:
    return write_json({**resource, "meta": _own_meta(resource)}, sort_keys=True)


def _own_meta(resource: JsonObject) -> JsonObject:
    meta = resource.get("meta", {})
    return {name: value for name, value in meta.items() if name not in ("versionId", "lastUpdated")}


def _not_known(resource_type: str) -> Refused:
    return Refused(404, "not-found", f"There is no such {resource_type}")


def _not_deleted(version: Version) -> Version:
    if not version.text:
        raise Refused(410, "deleted", f"This {version.resource_type} was deleted")
    return version


def _check_if_match(if_match: str, versions: list[Version], habits: Habits) -> None:
    if not if_match:
        if habits.if_match_required and versions:
            raise Refused(428, "required", "If-Match is required")
        return
    wanted = if_match.strip().removeprefix("W/")
    if wanted != "*" and not (len(wanted) > 2 and wanted[0] == wanted[-1] == '"'):
        raise Refused(400, "value", 'If-Match is not of the form W/"1"')
    if versions and wanted != "*" and wanted.strip('"') != str(versions[-1].number):
        raise Refused(habits.version_conflict, "conflict", "The resource has another version by now")
