"""Files of drop folders in SQL: their messages, and how far each was read, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace

from hl7bridge.errors import ClaimLost
from hl7bridge.store.connection import StoreConnection, StorePart
from hl7bridge.store.inbox.inbox import Inbox
from hl7bridge.store.rows import Accepted, NewMessage

READING, READ, DONE, FAILED, CHANGED = "reading", "read", "done", "failed", "changed"
"""States of a file: under way; all is stored and it is to be moved; moved; or written to while it was read."""


@dataclass(frozen=True, slots=True)
class Taken:
    """How far a file was read. `messages` are all that were passed, `offset` bytes; `results`: bytes of the file of results.

    The others count what became of the messages: `others` were not taken and not refused (acknowledgments, ignored ones).
    """

    messages: int = 0
    offset: int = 0
    accepted: int = 0
    refused: int = 0
    duplicates: int = 0
    others: int = 0
    results: int = 0


@dataclass(frozen=True, slots=True)
class DropFile:
    """A file of a feed's drop folder. `identity`: tells it from another one under its name. `target`: where it is, or is
    to be, moved, below the folder. Times in Unix seconds."""

    file_id: int
    feed: str
    name: str
    identity: str
    size: int
    state: str
    began: float
    changed: float
    target: str
    taken: Taken


_KEPT = 1000  # files of a feed that were moved

_TAKEN = tuple(f'"{field.name}"' for field in fields(Taken))
_COLUMNS = "id, feed, name, identity, size, state, began, changed, target, " + ", ".join(_TAKEN)
_READ_ON = (
    f"UPDATE drop_file SET changed = ?, {', '.join(f'{name} = ?' for name in _TAKEN)}"  # noqa: S608 (our names)
    " WHERE id = ? AND state = 'reading' AND messages = ?"
)


class Drops(StorePart):
    """The part of the store that drop folders need. Times are Unix seconds."""

    def __init__(self, connection: StoreConnection, inbox: Inbox) -> None:
        super().__init__(connection)
        self._inbox = inbox

    def begin_drop_file(self, feed: str, name: str, identity: str, size: int, now: float) -> DropFile:
        """The file of that identity that is under way, with how far it was read; or a new one."""
        with self._writing():
            self._execute(
                "INSERT INTO drop_file (feed, name, identity, size, state, began, changed) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (feed, name, identity, size, READING, now, now),
            )
            where = "feed = ? AND identity = ? AND state IN ('reading', 'read')"
            [found] = self._drop_files(where, (feed, identity), 1)
        return found

    def accept_from_file(
        self, file: DropFile, messages: Sequence[NewMessage], taken: Callable[[list[Accepted]], Taken], now: float
    ) -> DropFile:
        """Accept messages and keep how far their file was read by then, in one transaction; returns the file as it stands.

        `taken(accepted)` is called within it, and says how far. Raises StoreError, ClaimLost when another process has read
        on in this file: then nothing of it is stored.
        """
        with self._writing():
            so_far = taken(self._inbox.take(messages, now))
            values = (now, *astuple(so_far), file.file_id, file.taken.messages)
            if self._execute(_READ_ON, values).rowcount != 1:
                raise ClaimLost("another process reads the same file of the drop folder")
        return replace(file, changed=now, taken=so_far)

    def settle_drop_file(self, file: DropFile, state: str, now: float, *, target: str = "") -> DropFile:
        """Keep that a file was read, moved, or changed; of files that were moved, the latest thousand of a feed stay."""
        target = target or file.target
        with self._writing():
            self._execute(
                "UPDATE drop_file SET state = ?, changed = ?, target = ? WHERE id = ?",
                (state, now, target, file.file_id),
            )
            self._execute(
                "DELETE FROM drop_file WHERE feed = ? AND state NOT IN ('reading', 'read') AND id <="
                " (SELECT id FROM drop_file WHERE feed = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (file.feed, file.feed, _KEPT),
            )
        return replace(file, state=state, changed=now, target=target)

    def drop_files(self, feed: str = "", *, under_way: bool = False, limit: int = 50) -> list[DropFile]:
        """Newest first; `under_way`: only those that are being read, or are to be moved."""
        where, values = "? IN ('', feed)", (feed,)
        with self._reading():
            return self._drop_files(where + " AND state IN ('reading', 'read')" * under_way, values, limit)

    def _drop_files(self, where: str, values: tuple[str, ...], limit: int) -> list[DropFile]:
        sql = f"SELECT {_COLUMNS} FROM drop_file WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 (our names)
        return [_file_of(*row) for row in self._execute(sql, (*values, limit)).fetchall()]


def _file_of(
    file_id: int,
    feed: str,
    name: str,
    identity: str,
    size: int,
    state: str,
    began: float,
    changed: float,
    target: str,
    *taken: int,
) -> DropFile:
    return DropFile(file_id, feed, name, identity, size, state, began, changed, target, Taken(*taken))
