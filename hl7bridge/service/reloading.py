"""The configuration read again while the service runs: maps, tables, acknowledgments, limits, destinations, without closing
a connection.

A command asks in the store; a thread of the listener looks there. All of conf/ is read first: if anything in it is wrong,
nothing changes. Else each feed's rules are swapped between two frames, and the delivery child starts anew where what it
delivers by has changed. What needs a restart (ports, store, log) is named and stays as it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from hl7bridge.assemble.certificates import Certificates, certificates_of, refuse_the_clear
from hl7bridge.assemble.destinations import require
from hl7bridge.config import Feed, Settings, examine
from hl7bridge.config.differences import changes
from hl7bridge.desk.mapping.preview import preview
from hl7bridge.errors import ConfigError, StoreError
from hl7bridge.intake.intake import FeedPolicy
from hl7bridge.service.children import Child
from hl7bridge.service.inbound.listener import MllpListener
from hl7bridge.service.inbound.listening import Limits
from hl7bridge.service.inbound.tls import context_of
from hl7bridge.service.lasting import lasting
from hl7bridge.service.log import Log
from hl7bridge.store.reloads import HANGUP
from hl7bridge.store.store import Store

LOOKED_AT = 200  # stored messages of a feed in which a changed mapping may read something differently


@dataclass(frozen=True, slots=True)
class Applied:
    """What a reload changes: the rules and certificates of each feed; whether deliveries go by other settings; what needs a
    restart; every key that differs, with its values where they are short."""

    settings: Settings
    policies: Mapping[str, FeedPolicy]
    certificates: Mapping[str, Certificates]
    delivery_differs: bool
    restart: tuple[str, ...]
    changed: tuple[str, ...] = ()


def read_again(running: Settings, started: Settings, policy_of: Callable[[Feed, Settings], FeedPolicy]) -> Applied:
    """Read all of conf/ as it is now. Raises `ReloadRefused` with every problem.

    running   the settings in force
    started   those at the start: what needs a restart is compared with them
    """
    settings, problems = examine(running.directory)
    if settings is None:
        raise ReloadRefused(tuple(map(str, problems)))
    policies, certificates, wrong = {}, {}, []
    for name, feed in settings.feeds.items():
        try:
            policies[name] = policy_of(feed, settings)
            refuse_the_clear(feed)
            if (found := certificates_of(feed)) is not None:
                context_of(found)
                certificates[name] = found
        except ConfigError as error:
            wrong.append(str(error))
    try:
        require(settings.destinations[name] for feed in settings.feeds.values() for name in feed.destinations)
    except ConfigError as error:
        wrong.append(str(error))
    if wrong:
        raise ReloadRefused(tuple(wrong))
    restart = tuple(needs_restart(started, settings))
    changed = tuple(changes(running, settings))
    return Applied(settings, policies, certificates, delivered_by(running) != delivered_by(settings), restart, changed)


class ReloadRefused(ConfigError):
    """The configuration on disk cannot be used; `problems` are all that is wrong with it."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems[0])
        self.problems = problems


def delivered_by(settings: Settings) -> dict[str, Any]:
    """What the delivery role works by."""
    feeds = {name: (feed.destinations, feed.hl7.key_system, feed.full_file) for name, feed in settings.feeds.items()}
    used = {name for destinations, _, _ in feeds.values() for name in destinations}
    return {
        "tasks": settings.tasks,
        "feeds": feeds,
        "destinations": {name: settings.destinations[name] for name in used},
    }


def needs_restart(before: Settings, after: Settings) -> list[str]:
    """The keys that differ and that only a restart can change: `conf/feeds/staff.toml: listener.port`."""
    found = []
    for section in ("service", "store", "log"):
        one, other = getattr(before, section), getattr(after, section)
        for key in type(one).model_fields:
            if getattr(one, key) != getattr(other, key) and (section, key) != ("service", "processing_id"):
                found.append(f"conf/hl7bridge.toml: {section}.{key}")
    for name in sorted({*before.feeds, *after.feeds}):
        feed, other_feed = before.feeds.get(name), after.feeds.get(name)
        if feed is None or other_feed is None:
            found.append(f"conf/feeds/{name}.toml: {'a new feed' if feed is None else 'the feed is gone'}")
            continue
        if (feed.listener.tls.certificate is None) != (other_feed.listener.tls.certificate is None):
            found.append(f"{feed.file}: listener.tls")
        for key in ("host", "port"):
            if getattr(feed.listener, key) != getattr(other_feed.listener, key):
                found.append(f"{feed.file}: listener.{key}")
        for key in type(feed.drop).model_fields:
            if getattr(feed.drop, key) != getattr(other_feed.drop, key):
                found.append(f"{feed.file}: drop.{key}")
    return found


def read_by(policy: FeedPolicy) -> list[Any]:
    """What the messages of a feed are read by, to be compared: the site's map by what it says, for each reading of conf/
    makes it anew."""
    rules = policy.rules
    others = (getattr(rules, one.name) for one in fields(rules) if one.name not in ("caps", "site"))
    return [policy.charset, rules.site.as_data(), *others]


@dataclass(slots=True)
class Running:
    """What a reload swaps in the running listener.

    policies   feed -> rules, shared by all who answer
    limits_of  the listener's bounds from a feed's settings
    """

    listeners: Mapping[str, MllpListener]
    policies: dict[str, FeedPolicy]
    child: Child | None
    limits_of: Callable[[Feed], Limits]
    policy_of: Callable[[Feed, Settings], FeedPolicy]

    def versions(self) -> dict[str, str]:
        """Feed -> the mapping in force."""
        return {name: policy.rules.mapping_version for name, policy in self.policies.items()}

    def differing(self, applied: Applied) -> list[str]:
        """The feeds whose messages are read by other rules."""
        return [
            name
            for name, policy in applied.policies.items()
            if name in self.policies and read_by(policy) != read_by(self.policies[name])
        ]

    def without(self, applied: Applied, mappings: Sequence[str]) -> Applied:
        """The same with the rules in force for these feeds; how much is read at most is none of them."""
        kept = {}
        for name in mappings:
            policy, now = applied.policies[name], self.policies[name]
            kept[name] = replace(policy, rules=replace(now.rules, caps=policy.rules.caps), charset=now.charset)
        return replace(applied, policies={**applied.policies, **kept})

    def follow(self, applied: Applied) -> None:
        """Put into force what was read; on the reactor's thread, so that it falls between two frames."""
        for name, listener in self.listeners.items():
            if policy := applied.policies.get(name):
                self.policies[name] = policy
                listener.follow(policy, self.limits_of(applied.settings.feeds[name]))
                if listener.tls is not None and name in applied.certificates:
                    listener.tls.follow(
                        applied.certificates[name], partial(certificates_of, applied.settings.feeds[name])
                    )
        if self.child and applied.delivery_differs:
            self.child.restart()


class Reloader(threading.Thread):
    """Looks for a request every `poll_interval`, and answers it. `in_reactor(function, applied)` runs it there and waits."""

    def __init__(
        self,
        settings: Settings,
        open_store: Callable[[], Store],
        running: Running,
        in_reactor: Callable[[Callable[[Applied], None], Applied], object],
        log: Log,
    ) -> None:
        super().__init__(name="reloader", daemon=True)
        self._at_start = self._in_force = settings
        self._open_store, self._running, self._in_reactor, self._log = open_store, running, in_reactor, log
        self._stopping = threading.Event()
        self._asked = threading.Event()

    def ask(self) -> None:
        """Read the configuration again, but for what a person has to let go live. For a signal: it is only noted here."""
        self._asked.set()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def run(self) -> None:
        """The loop. A store that fails now is looked at again later."""
        lasting(self._work, lambda text: self._log.error("reloads wait", error=text), self._stopping.is_set)

    def _work(self) -> None:
        store: Store | None = None
        while not self._stopping.wait(self._at_start.service.poll_interval):
            try:
                store = store or self._open_store()
                if self._asked.is_set():
                    store.reloads.ask_reload(HANGUP, time.time())
                    self._asked.clear()
                self.look(store)
            except StoreError as error:
                self._log.warning("store failed, reloads wait", error=str(error))
        if store is not None:
            store.close()

    def look(self, store: Store) -> None:
        """Answer the request that waits, if there is one. Raises StoreError."""
        request = store.reloads.reload_asked()
        if not request:
            return
        (row,) = store.reloads.reloads(request=request)
        try:
            self._answer(store, request, by_person=row.who != HANGUP)
        except StoreError:
            raise
        except Exception as error:  # a defect must not end this thread: without it nobody would ever be answered again
            text = f"a defect ({type(error).__name__}); please report it"
            self._log.error("reload failed by a defect", error=text)
            report = {"problems": [text], "mappings": self._running.versions()}
            store.reloads.answer_reload(request, False, report, time.time())

    def _answer(self, store: Store, request: int, *, by_person: bool) -> None:
        before = self._running.versions()
        try:
            applied = read_again(self._in_force, self._at_start, self._running.policy_of)
        except ReloadRefused as refused:
            self._log.error("reload refused, nothing changed", problems=len(refused.problems), text=str(refused))
            store.reloads.answer_reload(request, False, {"problems": refused.problems, "mappings": before}, time.time())
            return
        waits: tuple[str, ...] = ()
        in_force = applied.settings
        if not by_person:
            mappings, brakes = self._for_a_person(store, applied)
            waits = (*(f"mapping of {name}" for name in mappings), *(f"brake of {name}" for name in brakes))
            applied = self._running.without(applied, mappings)
            old, new = self._in_force.feeds, applied.settings.feeds
            if brakes or any(old[name].hl7.key_system != new[name].hl7.key_system for name in mappings):
                # The delivery process reads its settings itself, and so it goes on as it was.
                own = tuple(one for one in applied.changed if not one.startswith("conf/destinations/"))
                applied, in_force = replace(applied, delivery_differs=False, changed=own), self._in_force
        self._in_reactor(self._running.follow, applied)
        self._in_force = in_force
        after = self._running.versions()
        changed = {name: [before.get(name, ""), version] for name, version in after.items()}
        differs = applied.delivery_differs
        self._log.info("reloaded", restart=list(applied.restart), delivery=differs, mappings=after)
        if waits:
            text = "to be asked what it changes, and to let it go live: hl7bridge reload"
            self._log.warning("not reloaded by SIGHUP, waits for a person", waits=list(waits), text=text)
        report = {
            "problems": [],
            "mappings": changed,
            "restart": applied.restart,
            "delivery": differs,
            "changed": applied.changed,
            "waits": waits,
        }
        store.reloads.answer_reload(request, True, report, time.time())

    def _for_a_person(self, store: Store, applied: Applied) -> tuple[list[str], list[str]]:
        """What nobody lets go live by a signal: feeds whose mapping reads stored messages differently, and destinations that
        have another brake."""
        mappings = [
            name
            for name in self._running.differing(applied)
            if preview(store, applied.settings, LOOKED_AT, feed=name).changed
        ]
        before = self._in_force.destinations
        brakes = [
            name
            for name, one in applied.settings.destinations.items()
            if name in before and before[name].brake != one.brake
        ]
        return mappings, brakes


__all__ = ["Applied", "ReloadRefused", "Reloader", "Running", "needs_restart", "read_again"]
