"""A connection to a store in one SQLite file: transactions, errors in plain words.

WAL with synchronous=FULL: a commit is on the disk when it returns. A connection belongs to one thread at a time; any
number of them, in any number of processes of one machine, may share the file.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hl7bridge.errors import StoreBusy, StoreDamaged, StoreError
from hl7bridge.store.connection import Rows, StoreConnection
from hl7bridge.store.sqlite.driver import SAFE, open_blob, sqlite3
from hl7bridge.store.sqlite.files import StoreFiles
from hl7bridge.store.sqlite.mark import StoreMark
from hl7bridge.store.sqlite.migrations import MIGRATIONS, migrate
from hl7bridge.store.sqlite.turn import StoreTurn

POLL = 0.0003  # seconds between two tries for the write lock, while one waits
BUSY_TIMEOUT = 5.0

LONG = 4000  # pages in the write-ahead log after which it is copied into the database: fewer, larger checkpoints
PAGE = 4096 + 24  # bytes of a page in the log, with its header

PIECE = 1024 * 1024  # bytes of a very long value that are written at once

_OPENING = threading.Lock()  # one thread makes the file and closes it again before another opens it: see `_open`

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    f"wal_autocheckpoint = {LONG if SAFE else 0}",  # 0: see `_checkpoint_alone`
    "journal_size_limit = 67108864",
    "cache_size = -16384",  # KiB
    "temp_store = MEMORY",
)

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk that holds it is full: free space there, the store goes on by itself",
    sqlite3.SQLITE_READONLY: "it cannot be written: check the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder exists and that this user may write there",
    sqlite3.SQLITE_PERM: "this user may not open it: check the permissions of the file",
    sqlite3.SQLITE_CORRUPT: "it is damaged: stop the service, keep a copy, and restore it from a backup",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database: check the path, and restore the file from a backup if it is right",
    sqlite3.SQLITE_IOERR: "the disk reports an error, or is full: check the disk, then its free space",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_TOOBIG: "a value is larger than a database can hold",
}
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


class SqliteConnection(StoreConnection):
    """A `StoreConnection` to one file."""

    def __init__(
        self, path: str | os.PathLike[str], *, busy_timeout: float = BUSY_TIMEOUT, migrations: Path = MIGRATIONS
    ) -> None:
        """Open the file; make it (readable by this user alone) where there is none; bring its schema up to date.

        busy_timeout  seconds to wait while another connection writes; StoreBusy after that
        migrations    the folder of numbered .sql files

        Raises StoreError when the file cannot be used or was written by a newer version, StoreBusy.
        """
        self.path = Path(path)
        self._files = StoreFiles(self.path)
        self._busy_timeout = busy_timeout
        self._turn: StoreTurn | None = None
        self._connection: sqlite3.Connection | None = None
        try:
            with _OPENING, self._clear_errors():
                self._open(migrations)
        except BaseException:
            self.close()
            raise

    def _open(self, migrations: Path) -> None:
        mark = StoreMark(self.path)
        if mark.lost:
            raise StoreError(
                f"there was a store at {self.path}, and it is gone. Put it back (mount its disk, restore a backup), or start"
                " with an empty one: hl7bridge run --new-store"
            )
        try:
            # Never open and close the file itself beside SQLite when it exists: closing any descriptor of a file ends the
            # POSIX locks of the whole process on it, the next program to close the store then takes itself for the last
            # one and deletes the write-ahead log under us, with what was acknowledged (sqlite.org/howtocorrupt.html, 2.2).
            try:
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                pass
            self._turn = StoreTurn(self.path.with_name(f"{self.path.name}-turn"))
            whole = self._files.enter()
        except OSError as error:
            reason = (error.strerror or "cannot be opened").lower()
            raise StoreError(
                f"the store {self.path} cannot be used ({reason}): check that its folder exists and that this user may"
                " write there"
            ) from None
        if not whole:
            raise StoreError(
                f"{self._files.log.name}, which belongs to the store {self.path}, was removed under a service that runs:"
                " start that service again first"
            )
        self._connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._files.remember_database()
        # The switch to WAL needs the file for itself for a moment, so several that start at once wait for each other.
        for pragma in _PRAGMAS:
            self._insist(lambda pragma=pragma: self.execute(f"PRAGMA {pragma}").fetchall())
        migrate(self, self.path, migrations)
        self._files.remember_log()
        mark.made()

    def looks_sound(self, seconds: float) -> bool | None:
        """Whether the database is sound (PRAGMA quick_check); None where that was not seen in so many seconds."""
        connection, end = self._open_connection(), time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        try:
            with self._clear_errors():
                return bool(connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)])
        except StoreError:
            if time.monotonic() > end:
                return None
            raise
        finally:
            connection.set_progress_handler(None, 0)

    def by_index(self, name: str) -> str:
        """The clause that keeps SQLite from choosing another one by guesses about how rare a state is."""
        return f" INDEXED BY {name}"

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._files.close()
        if self._turn is not None:
            self._turn.close()

    # -- what the parts run on --

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        connection = self._connection or self._open_connection()
        return connection.execute(sql, parameters)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> Rows:
        connection = self._connection or self._open_connection()
        return connection.executemany(sql, rows)

    def insert_large(self, sql: str, row: Sequence[Any], table: str, column: str) -> None:
        """As a value of that length, written a piece at a time: as a parameter, SQLite copies it twice."""
        *others, content = row
        before, _, after = sql.rpartition("?")
        self.execute(f"{before}zeroblob(?){after}", (*others, len(content)))
        whole = memoryview(content)
        with closing(open_blob(self._open_connection(), table, column, row[0])) as blob:
            for start in range(0, len(whole), PIECE):
                blob.write(whole[start : start + PIECE])

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the store {self.path} is closed")
        return self._connection

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._clear_errors():
            self._begin()
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            self.check()
        if not SAFE:
            self._checkpoint_alone()

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._clear_errors():
            self._insist(self._begin_reading)
            try:
                yield
            finally:
                self._roll_back()

    def _begin(self) -> None:
        """Gain the write lock, in turn with everybody else who wants it."""
        assert self._turn is not None
        self._insist(self._take_turn)
        try:
            self._insist(lambda: self.execute("BEGIN IMMEDIATE"))
        finally:
            self._turn.give()
        try:
            self.check()
        except StoreError:
            self._roll_back()
            raise

    def check(self) -> None:
        """See that the store's files are those that were opened, before anybody relies on what they hold.

        Raises StoreError when one of them is gone or was replaced. Nothing is accepted any more then, by any connection,
        until the service is started again: connections that are open, and those that are opened anew, would write into
        different files. What is in a log that is gone is written into the database first, so that it is there then.
        """
        missing = self._files.missing()
        if not missing:
            return
        if missing == self._files.database.name:
            raise StoreError(
                f"the store {self.path} was moved, removed or replaced under the service: stop it, put the right file"
                " there, and start it again"
            )
        saved = self._save_log()
        raise StoreError(
            f"{missing}, which belongs to the store {self.path}, was moved, removed or replaced under the service: start"
            " the service again, until then nothing is accepted"
            + (
                "; what it held was written into the store"
                if saved
                else "; leave the files there as they are until then"
            )
        )

    def _save_log(self) -> bool:
        """Copy a log that is gone, but that we still hold open, into the database; True when all of it is there.

        Only where nobody opened the store since (a new log would stand at its path): that one's commits are not in ours.
        """
        assert self._turn is not None
        if not self._files.log_is_gone() or not self._turn.take():
            return False
        try:
            if not self._files.log_is_gone():
                return False
            self._roll_back()
            busy, length, copied = self.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return not busy and length == copied
        except sqlite3.Error:
            return False
        finally:
            self._turn.give()

    def _checkpoint_alone(self) -> None:
        """For a SQLite with the race of `driver.py`: copy a long log into the database while nobody can write.

        Whoever has the turn lets nobody else begin to write, and the write lock, gained once, shows that nobody is still
        at it. The log is emptied, so that its size tells when the next checkpoint is due.
        """
        assert self._turn is not None
        try:
            if self._files.log.stat().st_size < LONG * PAGE:
                return
            self._insist(self._take_turn)
            try:
                self._insist(lambda: self.execute("BEGIN IMMEDIATE"))
                self.execute("COMMIT")
                self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._turn.give()
        except (OSError, StoreBusy, sqlite3.Error):
            self._roll_back()  # what was written is committed all the same; the next commit tries again

    def _take_turn(self) -> None:
        assert self._turn is not None
        if not self._turn.take():
            raise StoreBusy(self._busy_text())

    def _begin_reading(self) -> None:
        self.execute("BEGIN")
        try:
            self.execute("SELECT 1 FROM counter LIMIT 1").fetchone()  # the commit that is read from now on
        except sqlite3.Error:
            self._roll_back()
            raise

    def _insist(self, attempt: Any) -> None:
        """Try until it succeeds or the busy timeout ends."""
        deadline = 0.0
        while True:
            try:
                attempt()
                return
            except (sqlite3.OperationalError, StoreBusy) as error:
                if isinstance(error, sqlite3.Error) and _primary_code(error) not in _BUSY:
                    raise
                now = time.monotonic()
                deadline = deadline or now + self._busy_timeout
                if now >= deadline:
                    raise
                time.sleep(POLL)

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # the error that led here is the one to tell; closing undoes the transaction, too

    # -- errors --

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Turn errors of SQLite into StoreError: what is wrong and what to do, without any content."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._clear(error) from None

    def _clear(self, error: sqlite3.Error) -> StoreError:
        code = _primary_code(error)
        if code in _BUSY:
            return StoreBusy(self._busy_text())
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        advice = _ADVICE.get(code, "an unexpected error; please report it")
        kind = StoreDamaged if code in _DAMAGED else StoreError
        return kind(f"the store {self.path} failed ({name}): {advice}")

    def _busy_text(self) -> str:
        return f"the store {self.path} was busy for {self._busy_timeout:g} s: another process is writing to it"


def _primary_code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite; -1 for an error of the Python module itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF
