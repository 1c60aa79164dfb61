"""Is a site ready to run: everything that can be told without talking to anyone: settings, keys, store, ports, tables."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hl7bridge.assemble.stores import engine_of, is_current, opened
from hl7bridge.desk.deciding import Clock
from hl7bridge.destinations.examining import State
from hl7bridge.errors import ConfigError

if TYPE_CHECKING:
    from hl7bridge.config import Feed, Settings
    from hl7bridge.hl7.message import Message
    from hl7bridge.store.store import Store

SHIPPED_KEY_SYSTEM = "urn:uuid:00000000-0000-0000-0000-000000000000"
VERDICTS = {State.OK: "good", State.SKIPPED: "good", State.WARNING: "warning", State.PROBLEM: "error"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report: "good", "warning" (it may run so) or "error" (it will not)."""

    verdict: str
    text: str
    file: str = ""
    key: str = ""
    problem: str = ""
    advice: str = ""

    @classmethod
    def of(cls, error: ConfigError, verdict: str = "error") -> Line:
        """A problem as a line."""
        return cls(verdict, str(error), error.file, error.key, error.problem, error.advice)

    def data(self) -> dict[str, str]:
        """For JSON, as in `check/1`."""
        return {
            "verdict": self.verdict,
            "file": self.file,
            "key": self.key,
            "problem": self.problem or self.text,
            "advice": self.advice,
        }


def report(directory: Path, *, clock: Clock = time.time) -> Iterator[Line]:
    """All lines of the report on the folder that holds conf/, in the order of what depends on what."""
    from hl7bridge import config

    settings, problems = config.examine(directory)
    if settings is None:
        yield from (Line.of(problem) for problem in problems)
        return
    counted = f"{len(settings.feeds)} feed(s), {len(settings.destinations)} destination(s)"
    yield Line("good", f"conf: {counted} in {settings.directory}")
    yield from _destinations(settings, clock())
    yield from _store(settings)
    yield from _log(settings)
    for feed in settings.feeds.values():
        yield from _port(feed)
        yield from _tls(feed, clock())
        yield from _answers(feed)
        yield from _drop_folder(feed)
        yield from _mapping(feed)
    yield from _master_files(settings)


def _destinations(settings: Settings, now: float) -> Iterator[Line]:
    """As each kind sees its own settings."""
    from hl7bridge.assemble.destinations import destination_of

    for destination in settings.destinations.values():
        for checked in destination_of(destination).check(now):
            verdict = VERDICTS[checked.state]
            yield Line.of(checked.problem, verdict) if checked.problem else Line(verdict, checked.text)


def _store(settings: Settings) -> Iterator[Line]:
    from hl7bridge.store.opening import mark_of

    location = settings.store.path
    if "://" in location:
        yield Line("good", "store: given as an address, not tried")
        yield _engine(location)
        return
    path = Path(location)
    folder = next(parent for parent in path.parents if parent.exists())  # what is missing below it will be made
    problem = ""
    if not folder.is_dir():
        problem, advice = f"{folder} is a file, not a folder", "Name a file in a folder."
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem, advice = (
            f"the folder {folder} can't be written",
            "Let the account that runs hl7bridge write there.",
        )
    elif path.is_dir():
        problem, advice = f"{path} is a folder", "Name a file in it."
    elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
        problem, advice = f"{path} can't be written", "Let the account that runs hl7bridge write it."
    elif path.exists() and path.stat().st_size and not _is_database(path):
        problem, advice = f"{path} is not a SQLite database", "Name another file, or restore this one from a backup."
    elif mark_of(path).lost:
        problem = f"there was a store at {path}, and it is gone"
        advice = "Put it back, or start with an empty one: hl7bridge run --new-store."
    if problem:
        yield Line.of(ConfigError(problem, file="conf/hl7bridge.toml", key="store.path", advice=advice))
    else:
        yield Line("good", f"store: {path} {'is there' if path.exists() else 'will be made'}")
    yield _engine(location)


def _engine(location: str) -> Line:
    try:
        engine = engine_of(location)
    except ConfigError as error:
        return Line.of(ConfigError(error.problem, file="conf/hl7bridge.toml", key="store.path", advice=error.advice))
    if engine.flaw:
        return Line("warning", f"store: {engine.text}: {engine.flaw}. {engine.cure}", advice=engine.cure)
    return Line("good", f"store: {engine.text}")


def _log(settings: Settings) -> Iterator[Line]:
    path = settings.log.file
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        advice = "Name a file in a folder that is there and that the account that runs hl7bridge may write."
        yield Line.of(
            ConfigError(f"{path} can't be written", file="conf/hl7bridge.toml", key="log.file", advice=advice)
        )
    else:
        yield Line("good", f"log: {path}")


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _port(feed: Feed) -> Iterator[Line]:
    """Bind the listener's address for a moment, as the listener would."""
    host, port = feed.listener.host, feed.listener.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            if os.name == "posix":  # a port that was just closed is free, as for the listener
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except socket.gaierror:
        advice = "Write an address of this machine, such as 127.0.0.1 or 0.0.0.0."
        error = ConfigError(f"{host} is no address of this machine", file=feed.file, key="listener.host", advice=advice)
        yield Line.of(error)
    except OSError as failure:
        reason = (failure.strerror or "not possible").lower()
        advice = "If hl7bridge is running, that is it; else choose another port, or stop the program that has it."
        if failure.errno != errno.EADDRINUSE:
            advice = "Write an address of this machine, and a port that its account may use (above 1023)."
        problem = f"can't listen on {host}:{port} ({reason})"
        error = ConfigError(problem, file=feed.file, key="listener.port", advice=advice)
        yield Line.of(error, "warning" if failure.errno == errno.EADDRINUSE else "error")
    else:
        yield Line("good", f"{feed.name}: {host}:{port or ' any port'} is free")


def _tls(feed: Feed, now: float) -> Iterator[Line]:
    """Whether messages come by TLS, and how long its certificate still holds."""
    from hl7bridge.assemble.certificates import certificates_of, refuse_the_clear, warning
    from hl7bridge.config import is_loopback

    try:
        refuse_the_clear(feed)
        certificates = certificates_of(feed)
    except ConfigError as error:
        yield Line.of(error)
        return
    given = feed.listener
    if certificates is None:
        why = "on this machine alone" if is_loopback(given.host) else "allowed by listener.plain"
        yield Line("good", f"{feed.name}: messages come in the clear, {why}")
        return
    who = "from senders with a certificate" if certificates.client_ca else "from senders without a certificate"
    yield Line("good", f"{feed.name}: TLS {certificates.minimum} or later, {who}")
    days = certificates.days_left(now)
    if problem := warning(days):
        advice = "Get a new one, and write it over the old files: the listener reads them again by itself."
        soon = ConfigError(problem, file=feed.file, key="listener.tls.certificate", advice=advice)
        yield Line.of(soon, "error" if days <= 0 else "warning")
    if given.tls.key is not None and (exposure := given.tls.key.exposure()):
        readable = ConfigError(
            exposure, file=feed.file, key="listener.tls.key", advice="Take the rights away: chmod 600."
        )
        yield Line.of(readable, "warning")


LOOKED_AT = 500
"""Messages of a feed whose MFI-1 is looked at, the newest."""


def _master_files(settings: Settings) -> Iterator[Line]:
    """The values of MFI-1 that came: where a sender has a name of its own for the staff file, its leavers wait until the
    name is known. A store that has to be upgraded is left alone."""
    if not is_current(settings.store.path):
        return
    with opened(settings) as store:
        for feed in settings.feeds.values():
            yield from _files_of(feed, store)


def _files_of(feed: Feed, store: Store) -> Iterator[Line]:
    from hl7bridge.assemble.mapping import feed_rules
    from hl7bridge.mapping.messages.master_file import NamedFile, file_of
    from hl7bridge.mapping.rules.reading import FieldReader

    rules = feed_rules(feed)
    count: Counter[tuple[NamedFile, str]] = Counter()
    for row in store.audit.messages(feed=feed.name, limit=LOOKED_AT):
        message = _opening_of(store.audit.body(row.id) or b"", feed) if row.message_type == "MFN" else None
        mfi = message.first("MFI") if message is not None else None
        if message is not None and mfi is not None:
            reader = FieldReader(message.separators, message.codec)
            names, name = file_of(mfi, reader, rules.codes["0175"])
            count[NamedFile.STAFF if name in rules.site.master_files else names, name[:40] or "empty"] += 1
    if not count:
        return
    listed = ", ".join(f"{name} ({number})" for (_, name), number in count.most_common())
    yield Line("good", f"{feed.name}: master files that came lately (MFI-1): {listed}")
    if unknown := [name for (names, name), _ in count.most_common() if names is NamedFile.UNKNOWN]:
        problem = f"does not say what MFI-1 {', '.join(unknown)} is: who leaves by such a file without an STF is held"
        advice = (
            f'Write [tables.0175] with {unknown[0]} = "STF" for the staff file, or the code of another, such as "LOC".'
        )
        yield Line.of(ConfigError(problem, file=feed.file, key="tables.0175", advice=advice), "warning")


def _opening_of(body: bytes, feed: Feed) -> Message | None:
    """A message up to its first record; None where that can't be read."""
    from hl7bridge.errors import MessageError
    from hl7bridge.hl7.message import Message

    first = re.search(rb"[\r\n]MFE[^A-Za-z0-9]", body)
    try:
        return Message(body[: first.start() + 1] if first else body, feed.hl7.charset)
    except MessageError:
        return None


_ANSWERS = {
    "as-asked": "as MSH-15 and MSH-16 of each message ask; both empty = one answer",
    "original": "one to each message, whatever MSH-15 and MSH-16 ask",
    "enhanced": "as MSH-15 and MSH-16 of each message ask; one left empty counts as AL (always)",
}


def _answers(feed: Feed) -> Iterator[Line]:
    """Which answers a message gets, and a setting that has no effect with them."""
    given = feed.acknowledgment
    yield Line("good", f'{feed.name}: answers (acknowledgment.mode "{given.mode}"): {_ANSWERS[given.mode]}')
    if given.mode == "original" and given.application_acknowledgment_to:
        problem = 'is not used: with mode = "original" no message has an application acknowledgment of its own'
        advice = 'Take it out, or write mode = "as-asked".'
        error = ConfigError(problem, file=feed.file, key="acknowledgment.application_acknowledgment_to", advice=advice)
        yield Line.of(error, "warning")


def _drop_folder(feed: Feed) -> Iterator[Line]:
    """Files must be readable there, and be moved within it."""
    folder = feed.drop.folder
    if folder is None:
        return
    wrong = ""
    for one in (folder, folder / feed.drop.done, folder / feed.drop.failed):
        there = next(parent for parent in (one, *one.parents) if parent.exists())  # what is missing will be made
        if not there.is_dir():
            wrong = wrong or f"{there} is a file, not a folder"
        elif not os.access(there, os.R_OK | os.W_OK | os.X_OK):
            wrong = wrong or f"{there} can't be read and written"
    if wrong:
        advice = "Name a folder in which the account that runs hl7bridge may read, write and move files."
        yield Line.of(ConfigError(wrong, file=feed.file, key="drop.folder", advice=advice))
    else:
        yield Line("good", f"{feed.name}: drop folder {folder} {'is there' if folder.exists() else 'will be made'}")


def _mapping(feed: Feed) -> Iterator[Line]:
    from hl7bridge.assemble.mapping import feed_rules
    from hl7bridge.mapping.rules.tables import code_tables

    if feed.hl7.key_system == SHIPPED_KEY_SYSTEM:
        advice = f'Before anybody is written, write one that is yours alone: "{uuid.uuid4().urn}".'
        problem = "is that of the example, which every copy of it shares"
        yield Line.of(ConfigError(problem, file=feed.file, key="hl7.key_system", advice=advice), "warning")
    known = code_tables()
    for number in feed.tables:
        if number not in known:
            advice = f"Use one of {', '.join(sorted(known))}."
            problem = "no mapping uses this table"
            yield Line.of(ConfigError(problem, file=feed.file, key=f"tables.{number}", advice=advice), "warning")
    try:
        rules = feed_rules(feed)
        _ = rules.codes, rules.systems_by_authority, rules.zone
    except ConfigError as error:
        key = error.key or "hl7"
        yield Line.of(ConfigError(error.problem, file=error.file or feed.file, key=key, advice=error.advice))
    else:
        yield Line("good", f"{feed.name}: mapping {rules.mapping_version}")
