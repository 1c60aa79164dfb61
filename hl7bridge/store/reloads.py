"""Reloads of the configuration: asked for by a command, answered by the listener, kept as the record of who let which
mapping go live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hl7bridge.model.listing import Listed, place
from hl7bridge.store.connection import StoreConnection, StorePart, conditions, page

_ROWS = "SELECT id, asked, who, answered, accepted, report FROM reload"

HANGUP = "SIGHUP"
"""Who asks where nobody does: a signal, often that of a program that moves logs. It confirms nothing."""

_LET_GO_LIVE = "SELECT report FROM reload WHERE accepted = 1 AND who <> ? ORDER BY id DESC LIMIT 1"


def confirmed_mapping(connection: StoreConnection, feed: str) -> str:
    """The version of the feed's mapping that a person let go live last (`hl7bridge reload`), "" when nobody has."""
    row = connection.execute(_LET_GO_LIVE, (HANGUP,)).fetchone()
    versions = json.loads(row[0]).get("mappings", {}).get(feed, "") if row and row[0] else ""
    return str(versions[-1] if isinstance(versions, list) else versions)


@dataclass(frozen=True, slots=True)
class ReloadRequest:
    """One request to read conf/ again.

    asked, answered  Unix seconds; answered 0 = not (yet)
    accepted         the service goes by what is on disk since; else `report["problems"]` says why it goes on as before
    report           mappings (feed -> version before and after), changed keys, whether the delivery process starts anew, and
                     keys that wait for a restart; {} before the answer
    """

    id: int
    asked: float
    who: str
    answered: float
    accepted: bool
    report: Mapping[str, Any]


class Reloads(StorePart):
    """Asking for a reload, answering it, and what came of earlier ones."""

    def ask_reload(self, who: str, now: float) -> int:
        """Ask the listener to read the configuration again; returns the request's id."""
        with self._writing():
            self._execute("INSERT INTO reload (asked, who) VALUES (?, ?)", (now, who))
            asked: int = self._execute("SELECT MAX(id) FROM reload").fetchone()[0]
            return asked

    def reload_asked(self) -> int:
        """The request that waits for an answer, the youngest where there are several; 0 = none."""
        asked: int = self._execute("SELECT COALESCE(MAX(id), 0) FROM reload WHERE answered = 0").fetchone()[0]
        return asked

    def answer_reload(self, request: int, accepted: bool, report: dict[str, Any], now: float) -> None:
        """Answer a request, and every older one that waits. `report`: versions, texts and keys; never message content."""
        with self._writing():
            self._execute(
                "UPDATE reload SET answered = ?, accepted = ?, report = ? WHERE id <= ? AND answered = 0",
                (now, int(accepted), json.dumps(report), request),
            )

    def withdraw_reload(self, request: int) -> bool:
        """Take back a request that nobody answered. False when it was answered after all."""
        with self._writing():
            return self._execute("DELETE FROM reload WHERE id = ? AND answered = 0", (request,)).rowcount > 0

    def reloads(self, *, request: int = 0, limit: int = 20, after: str = "") -> Listed[ReloadRequest]:
        """Newest first, from behind `after` (a `Listed.next`; ValueError for else)."""
        where, values = conditions({"id = ?": request, "id < ?": place("reloads", after)})
        found = self._dicts(f"{_ROWS} WHERE 1 = 1{where} ORDER BY id DESC LIMIT ?", [*values, limit + 1])
        for row in found:
            row["accepted"] = bool(row["accepted"])
            row["report"] = json.loads(row["report"]) if row["report"] else {}
        return page("reloads", [ReloadRequest(**row) for row in found], limit)
