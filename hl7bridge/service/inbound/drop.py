"""Drop folders: files of messages taken into the store as if they had come by MLLP, but that nobody is answered.

A thread for each folder. Files are taken in the order of their names, once they have settled; their messages are stored in
groups, and how far the file was read is kept in the same transaction, so that a stop at any moment, kill -9 too, neither
loses nor repeats one. What became of each message stands in FILE.results.jsonl, beside the file, which is moved to `done`
or, where a message was refused or the file seems to be cut off, to `failed`.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from hl7bridge.errors import ClaimLost, StoreError
from hl7bridge.hl7.stream import MessageStream, Piece
from hl7bridge.intake.intake import Intake, Prepared
from hl7bridge.model import Finding, Severity
from hl7bridge.service.inbound.listener import MllpListener
from hl7bridge.service.lasting import lasting
from hl7bridge.service.log import Log, get_logger
from hl7bridge.store.inbox.arrivals import unpack
from hl7bridge.store.inbox.drops import CHANGED, DONE, FAILED, READ, DropFile, Taken
from hl7bridge.store.store import Accepted, AcknowledgmentState, MessageState, NewMessage, Store

RESULTS = ".results.jsonl"
GROUP = 64  # messages of one transaction,
GROUP_BYTES = 1024 * 1024  # and about so many bytes
CHUNK = 256 * 1024  # bytes read at once
TELL_EVERY = 10.0  # seconds between two log lines of one file
FIRST_BYTES = 64 * 1024  # that tell a file from another one of its name and size
MOST_ERRORS = 100  # errors told of one message; `msg show` has them all


@dataclass(frozen=True, slots=True)
class DropPolicy:
    """What a feed's settings say of its drop folder. `settle` in seconds."""

    feed: str
    folder: Path
    pattern: str = "*.hl7"
    settle: float = 2.0
    done: str = "done"
    failed: str = "failed"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Unix seconds for the store, and a clock that never turns back for waits; given in tests."""

    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


class DropFolder(threading.Thread):
    """Watches one folder. `open_store` is called on this thread, which alone uses that store."""

    def __init__(
        self,
        policy: DropPolicy,
        intake: Callable[[], Intake],
        open_store: Callable[[], Store],
        log: Log,
        *,
        largest: Callable[[], int] = lambda: 10 * 1024 * 1024,
        room: Callable[[], bool] = lambda: True,
        committed: Callable[[], None] = lambda: None,
        stored: Callable[[NewMessage], None] = lambda _: None,
        poll_interval: float = 1.0,
        clocks: Clocks | None = None,
    ) -> None:
        """`intake()`: the feed's rules as they are now. `largest()`: bytes of one message, likewise. `room()`: whether
        there is room for messages. `committed()` is called after each group, `stored(message)` for each patient message
        that asks about somebody (see `Intake.stored`).
        `poll_interval`: seconds between two looks."""
        super().__init__(name=f"drop-{policy.feed}", daemon=True)
        self._policy, self._intake, self._open_store, self._log = policy, intake, open_store, log
        self._largest = largest
        self._room, self._committed, self._stored, self._poll_interval = room, committed, stored, poll_interval
        self._clocks = clocks or Clocks()
        self._stopping = threading.Event()
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}  # size and time of change, and since when
        self._told: dict[str, str] = {}  # trouble that was logged, by file

    def stop(self) -> None:
        """Look no more; a file under way goes on after the next start."""
        self._stopping.set()

    def run(self) -> None:
        """The loop. A store that fails now is asked again later."""
        lasting(self._work, lambda text: self._log.error("drop folder", error=text), self._stopping.is_set)

    def _work(self) -> None:
        store: Store | None = None
        while not self._stopping.wait(self._poll_interval):
            if not self._room():
                continue
            try:
                store = store or self._open_store()
                self.look(store)
                self._told.pop("", None)
            except StoreError as error:
                self._trouble("", "store failed, dropped files wait", error=str(error))
            except OSError as error:
                self._trouble("", "the drop folder cannot be used", error=_reason(error))
        if store is not None:
            store.close()

    def look(self, store: Store) -> None:
        """Take every file that has settled; first move those of which only that is left. Raises StoreError, OSError."""
        self._policy.folder.mkdir(parents=True, exist_ok=True)
        for file in reversed(store.drops.drop_files(self._policy.feed, under_way=True, limit=1000)):
            if file.state == READ:
                self._try(file.name, partial(self._move, store, file))
        for path in self._settled():
            if not self.goes_on():
                return
            self._try(path.name, partial(self._take, store, path))

    def goes_on(self) -> bool:
        """Whether more is taken now: the service does not stop, and there is room."""
        return not self._stopping.is_set() and self._room()

    def _try(self, name: str, step: Callable[[], None]) -> None:
        """A file that cannot be read or moved now is tried again at the next look, and keeps no other one waiting."""
        try:
            step()
            self._told.pop(name, None)
        except OSError as error:
            self._trouble(name, "a dropped file waits", error=_reason(error))
        except ClaimLost as error:
            self._trouble(name, "a dropped file waits", error=str(error))
        except StoreError:
            raise
        except Exception as error:  # a defect met in one file must not stop the others
            self._trouble(name, "a dropped file waits", error=f"a defect ({type(error).__name__})")

    # -- which files --

    def _settled(self) -> list[Path]:
        """The files that have been as they are for long enough, by name."""
        policy, now = self._policy, self._clocks.steady()
        found, settled = {}, []
        with os.scandir(policy.folder) as entries:
            for entry in entries:
                wanted = fnmatch(entry.name, policy.pattern) and not entry.name.endswith(RESULTS)
                if not wanted or not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    stat = Path(entry.path).stat()  # not the entry's own, which Windows may have from before
                except OSError:
                    continue  # it has just gone
                looks = (stat.st_size, stat.st_mtime_ns)
                before, since = self._seen.get(entry.name, (looks, now))
                since = since if before == looks else now
                found[entry.name] = (looks, since)
                if now - since >= policy.settle:
                    settled.append(Path(entry.path))
        self._seen = found
        return sorted(settled, key=lambda path: path.name)

    # -- one file --

    def _take(self, store: Store, path: Path) -> None:
        """Read a file from where it was left, and move it. Raises OSError, StoreError."""
        with path.open("rb") as content:
            size, identity = _identity(path.name, content)

            def same() -> bool:
                stands = os.path.samestat(os.fstat(content.fileno()), path.stat())
                return stands and _identity(path.name, content) == (size, identity)

            file = store.drops.begin_drop_file(self._policy.feed, path.name, identity, size, self._clocks.now())
            if file.state != READ:
                with _Results(Path(f"{path}{RESULTS}"), file.taken.results) as results:
                    reading = _FileReading(self, store, file, results)
                    findings = reading.read(content, same)
                file = reading.file
                if findings is None:
                    return
                if not same():
                    file = store.drops.settle_drop_file(file, CHANGED, self._clocks.now())
                    text = "a dropped file was changed while it was read, it is read again"
                    self._log.warning(text, path=path.name, count=file.taken.messages)
                    return
                folder = self._policy.failed if file.taken.refused or findings else self._policy.done
                target = _free_name(self._policy.folder, folder, path.name)
                file = store.drops.settle_drop_file(file, READ, self._clocks.now(), target=target)
        self._move(store, file)

    def _move(self, store: Store, file: DropFile) -> None:
        """Move a file that was read, with its results; again, if that failed or was cut off. Raises OSError, StoreError."""
        source, target = self._policy.folder / file.name, self._policy.folder / file.target
        results = Path(f"{source}{RESULTS}")
        target.parent.mkdir(exist_ok=True)
        if source.exists() and not target.exists():
            source.replace(target)
        if results.exists():
            results.replace(f"{target}{RESULTS}")
        state = DONE if target.parent.name == self._policy.done else FAILED
        taken = store.drops.settle_drop_file(file, state, self._clocks.now()).taken
        self._log.info("dropped file taken", path=file.target, state=state, count=taken.messages, refused=taken.refused)

    def _trouble(self, name: str, event: str, *, error: str) -> None:
        """Say it once; what goes on is not said again."""
        if self._told.get(name) != error:
            self._told[name] = error
            self._log.warning(event, path=name, error=error)


def _largest(listener: MllpListener) -> int:
    return listener.limits.max_frame


def watch(
    policies: Sequence[DropPolicy],
    listeners: Mapping[str, MllpListener],
    reactor: Any,
    open_store: Callable[[], Store],
    room: Callable[[], bool],
    committed: Callable[[], None],
    poll_interval: float,
) -> list[DropFolder]:
    """Start a thread for each folder. It reads by the rules that its feed's listener has at the moment."""
    watched = []
    for policy in policies:
        listener, log = listeners[policy.feed], get_logger("listener", feed=policy.feed)
        folder = DropFolder(
            policy,
            partial(getattr, listener, "intake"),
            open_store,
            log,
            largest=partial(_largest, listener),
            room=room,
            committed=committed,
            stored=partial(reactor.callFromThread, listener.intake.stored),  # whom it knows is shared by later rules
            poll_interval=poll_interval,
        )
        folder.start()
        log.info("watching drop folder", path=str(policy.folder))
        watched.append(folder)
    return watched


class _FileReading:
    """One reading of a file, from where it was left."""

    def __init__(self, folder: DropFolder, store: Store, file: DropFile, results: _Results) -> None:
        self.file = file
        self._folder, self._store, self._results = folder, store, results
        self._log, self._clocks = folder._log, folder._clocks
        self._tell_at = self._clocks.steady() + TELL_EVERY
        self._number = 0  # of messages that were passed

    def read(self, content: BinaryIO, same: Callable[[], bool]) -> tuple[Finding, ...] | None:
        """Take its messages; the findings about the file as a whole, or None where it is left before its end: the service
        stops, or there is no room.

        `same()`: whether the file is still the one that it was. If not, what stands last may be half a message, and is left.
        """
        begun = "a dropped file goes on" if self.file.taken.messages else "a dropped file begins"
        self._log.info(begun, path=self.file.name, bytes=self.file.size, count=self.file.taken.messages)
        stream = MessageStream(self._folder._largest())
        group: list[Piece] = []
        size = 0
        for piece in _pieces(content, stream, same):
            self._number += 1
            if self._number <= self.file.taken.messages:
                continue
            if len(group) == GROUP or size > GROUP_BYTES:
                self._commit(group, alone=False)
                group, size = [], 0
                if not self._folder.goes_on():
                    return None
            group.append(piece)
            size += len(piece.raw)
        if group:
            self._commit(group, alone=self._number == 1)
        self._results.add([{"file": _told_of(finding)} for finding in stream.findings])
        return stream.findings

    def _commit(self, group: Sequence[Piece], *, alone: bool) -> None:
        """Store some messages, and with them how far the file was read. `alone`: it is the only one of the file."""
        intake, peer = self._folder._intake().for_files(), f"file {self.file.name}"
        prepared = [
            intake.unread(piece.raw, piece.size, peer)
            if piece.too_large
            else intake.prepare_one(piece.raw, peer, slices=True, alone=alone)
            for piece in group
        ]
        new = [_unanswered(one.new) for one in prepared if one.new is not None]

        def taken(accepted: list[Accepted]) -> Taken:
            lines = list(self._lines(prepared, new, accepted))
            results = self._results.add([line for line, _ in lines])
            counted = {name: sum(kind == name for _, kind in lines) for name in _KINDS}
            before = self.file.taken
            sums = {name: getattr(before, name) + count for name, count in counted.items()}
            return Taken(before.messages + len(group), group[-1].end, **sums, results=results)

        self._results.forget_beyond(self.file.taken.results)
        self.file = self._store.drops.accept_from_file(self.file, new, taken, self._clocks.now())
        for message in new:
            if message.recheck:  # it asks about people whom nobody was asked about
                self._folder._stored(message)
        self._folder._committed()
        if self._clocks.steady() >= self._tell_at:
            self._tell_at += TELL_EVERY
            percent = round(100 * self.file.taken.offset / max(1, self.file.size))
            self._log.info("dropped file", path=self.file.name, count=self.file.taken.messages, percent=percent)

    def _lines(
        self, prepared: Sequence[Prepared], new: Sequence[NewMessage], accepted: Sequence[Accepted]
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """A line for each message, and which count it belongs to."""
        stored = iter(zip(new, accepted, strict=True))
        for number, one in enumerate(prepared, self.file.taken.messages + 1):
            if one.new is None:  # an acknowledgment: never answered, never stored
                yield {"number": number, "control_id": "", "state": one.counted, "counted": "others"}, "others"
                continue
            message, result = next(stored)
            acks = result.acknowledgments if result.duplicate_of else message.acknowledgments
            state = MessageState.DUPLICATE if result.duplicate_of else message.state
            line = {
                "number": number,
                "control_id": message.header.get("control_id", ""),
                "message_id": result.message_id,
                "state": state.value,
                "acknowledgment_code": next((ack.code for ack in acks if ack.code), ""),
                "records": len(message.records) + sum(part.records for part in message.parts),
                "errors": [] if result.duplicate_of else list(_errors(message)),
            }
            if result.duplicate_of:
                line["duplicate_of"] = result.duplicate_of
            bad = line["acknowledgment_code"] not in ("", "AA", "CA") and not result.duplicate_of
            kind = "refused" if bad else _KIND.get(state, "others")
            yield {**line, "counted": kind}, kind


_KINDS = ("accepted", "refused", "duplicates", "others")
_KIND = {MessageState.ACCEPTED: "accepted", MessageState.REFUSED: "refused", MessageState.DUPLICATE: "duplicates"}


def _unanswered(message: NewMessage) -> NewMessage:
    """Its verdict is kept, for a duplicate that comes by MLLP; nobody waits for it."""
    acks = tuple(replace(ack, state=AcknowledgmentState.NONE) for ack in message.acknowledgments)
    return replace(message, acknowledgments=acks)


def _errors(message: NewMessage) -> Iterator[dict[str, str]]:
    """What the answer would say in ERR: codes, places, texts, no values."""
    records = [*message.records]
    for part in message.parts:
        records += unpack(part.content)
        if len(records) > 100 * MOST_ERRORS:
            break
    left = MOST_ERRORS
    for new in records:
        for finding in new.record.findings:
            if finding.severity is not Severity.INFORMATION and left:
                left -= 1
                yield _told_of(finding)


def _told_of(finding: Finding) -> dict[str, str]:
    place = str(finding.location) if finding.location else ""
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "local": finding.local,
        "location": place,
        "text": finding.text,
    }


def _pieces(content: BinaryIO, stream: MessageStream, same: Callable[[], bool]) -> Iterator[Piece]:
    content.seek(0)
    while chunk := content.read(CHUNK):
        stream.receive_data(chunk)
        while piece := stream.next_piece():
            yield piece
    if not same():
        return
    stream.end()
    while piece := stream.next_piece():
        yield piece


def _identity(name: str, content: BinaryIO) -> tuple[int, str]:
    """Size, and a digest that tells this file from any other, and from itself once it is changed."""
    stat = os.fstat(content.fileno())
    content.seek(0)
    digest = hashlib.sha256(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode(errors="surrogateescape"))
    digest.update(content.read(FIRST_BYTES))
    return stat.st_size, digest.hexdigest()


def _free_name(folder: Path, below: str, name: str) -> str:
    """Where a file can be moved: `done/a.hl7`, or `done/a.2.hl7` where there is one already."""
    stem, dot, suffix = name.rpartition(".") if "." in name[1:] else (name, "", "")
    number = 1
    while True:
        target = f"{below}/{name if number == 1 else f'{stem}.{number}{dot}{suffix}'}"
        if not (folder / target).exists() and not (folder / f"{target}{RESULTS}").exists():
            return target
        number += 1


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


class _Results:
    """The file of results: what stands behind what the store knows of was written by a transaction that failed.

    It is not synced to disk: a power cut may cost lines of it, never a message."""

    def __init__(self, path: Path, known: int) -> None:
        self._file = path.open("r+b" if path.exists() else "w+b")
        try:
            self.forget_beyond(known)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> _Results:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def forget_beyond(self, known: int) -> None:
        """Cut what the store does not know of."""
        if self._file.seek(0, os.SEEK_END) > known:
            self._file.truncate(known)
            self._file.seek(known)

    def add(self, lines: Sequence[dict[str, Any]]) -> int:
        """Append lines; returns how many bytes there are by now."""
        self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        self._file.flush()
        return self._file.tell()
