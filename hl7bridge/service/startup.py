"""Where the parts are joined: settings in, a running role out.

`run` starts what `hl7bridge run` promises: the listener in this process and the delivery role as its child, or one of
them alone.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hl7bridge.assemble.destinations import brake_of, destination_of, retry_policy
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.assemble.stores import open_store, store_location
from hl7bridge.config import DestinationSettings, Feed, Settings
from hl7bridge.desk.reconcile import plan_of
from hl7bridge.errors import ConfigError, StoreError
from hl7bridge.intake.acquaintance import KnownPractitioners
from hl7bridge.intake.intake import FeedPolicy, Intake
from hl7bridge.service import log as logs
from hl7bridge.service.children import Child
from hl7bridge.service.inbound.acknowledging import Acknowledger
from hl7bridge.service.inbound.drop import DropFolder, DropPolicy, watch
from hl7bridge.service.inbound.frame_memory import FrameMemory
from hl7bridge.service.inbound.listener import MllpListener
from hl7bridge.service.inbound.listening import Limits
from hl7bridge.service.inbound.room import Room, telling
from hl7bridge.service.inbound.soundness import Soundness, look_over
from hl7bridge.service.inbound.tls import secured, watch_certificates
from hl7bridge.service.inbound.writer import StoreWriter
from hl7bridge.service.lasting import tell_defects, tell_reactor_defects
from hl7bridge.service.outbound.clock import came_last
from hl7bridge.service.outbound.full_file import FullFilePolicy
from hl7bridge.service.outbound.full_file import job as full_file_job
from hl7bridge.service.outbound.hours import outside, window_of
from hl7bridge.service.outbound.loop import DeliveryRole, DestinationLoop, Target
from hl7bridge.service.outbound.reconciling import job as reconcile_job
from hl7bridge.service.outbound.schedule import Job, Schedule
from hl7bridge.service.outbound.second_looks import job as second_look_job
from hl7bridge.service.outbound.watch import Watched, tell_engine, tell_unserved
from hl7bridge.service.outbound.wording import Wording
from hl7bridge.service.process import settle_in
from hl7bridge.service.reloading import Reloader, Running
from hl7bridge.service.web import stop_reactor, take_signals
from hl7bridge.store.kinds import Mark
from hl7bridge.store.opening import engine_of, file_of, mark_of
from hl7bridge.store.store import (
    Accepted,
    AcknowledgmentState,
    NewMessage,
    PendingAcknowledgment,
    Store,
)

# --- settings -> plain values ----------------------------------------------------------------------------------------


def watched_of(destination: DestinationSettings, settings: Settings) -> Watched:
    """What is looked after there beside delivering."""
    zone, brake = destination.timezone, destination.brake
    office = (window_of(brake.office_days, brake.office_hours, zone),) if brake.office_hours else ()
    return Watched(
        maintenance=tuple(window_of(one.days, one.hours, zone) for one in destination.maintenance),
        office=office,
        off_hours_changes=brake.off_hours_changes,
        wording=Wording(
            texts={kind: (text.title, text.steps) for kind, text in settings.tasks.items()},
            owner=destination.tasks.owner,
            due=dict(destination.tasks.due),
        ),
    )


# --- the listener role -----------------------------------------------------------------------------------------------


class Commits:
    """Joins connections, writer and acknowledger (see `listener.Committing`). Reactor thread only, but for `_built`."""

    def __init__(self, writer: StoreWriter, call_in_reactor: Callable[..., None]) -> None:
        self._writer, self._call_in_reactor = writer, call_in_reactor
        self.acknowledger: Acknowledger | None = None
        self._waiting: dict[tuple[int, str], list[Callable[[bytes | None], None]]] = {}
        self.elsewhere: Callable[[PendingAcknowledgment, bytes], None] = lambda pending, body: None

    @property
    def backlog(self) -> int:
        return self._writer.backlog

    def put(self, message: NewMessage, answer: Callable[[Accepted | None], None]) -> bool:
        return self._writer.put(message, answer)

    def note(self, message_id: int, kind: str, state: AcknowledgmentState) -> None:
        self._writer.note(message_id, kind, state)

    def await_outcome(self, message_id: int, kind: str, send: Callable[[bytes | None], None]) -> None:
        self._waiting.setdefault((message_id, kind), []).append(send)
        if self.acknowledger:
            self.acknowledger.expect(message_id, kind)

    def built(self, pending: PendingAcknowledgment, body: bytes | None) -> None:
        """Called on the acknowledger's thread when an acknowledgment is committed."""
        self._call_in_reactor(self._hand_out, pending, body)

    def _hand_out(self, pending: PendingAcknowledgment, body: bytes | None) -> None:
        senders = self._waiting.pop((pending.message_id, pending.kind), [])
        for send in senders:
            send(body)
        if not senders and body is not None and pending.feed:
            self.elsewhere(pending, body)

    @property
    def waiting(self) -> int:
        """Acknowledgments that connections wait for."""
        return len(self._waiting)


@dataclass(slots=True)
class ListenerRole:
    """The running listener: its ports, threads and child."""

    listeners: dict[str, MllpListener]
    ports: dict[str, Any]
    writer: StoreWriter
    acknowledger: Acknowledger
    commits: Commits
    child: Child | None
    reloader: Reloader
    drops: list[DropFolder]
    stop_timeout: float
    log: logs.Log
    mark: Mark
    soundness: Soundness

    def addresses(self) -> dict[str, dict[str, Any]]:
        """Host and port of each feed, as the system gave them."""
        return {name: {"host": port.getHost().host, "port": port.getHost().port} for name, port in self.ports.items()}

    def stop(self, reactor: Any) -> Any:
        """Take nothing more, answer what is owed, stop the child, close the store. A Deferred."""
        from twisted.internet import defer, threads

        self.log.info("stopping")
        for listener in self.listeners.values():
            listener.finish()
        for port in self.ports.values():
            port.stopListening()
        done: defer.Deferred[None] = defer.Deferred()
        deadline = time.monotonic() + self.stop_timeout

        def owed() -> int:
            return sum(listener.owes for listener in self.listeners.values())

        def look() -> None:
            if owed() and time.monotonic() < deadline:
                reactor.callLater(0.02, look)
            else:
                self.writer.hand_over()  # of senders that are gone, nobody waits for the end of the turn
                threads.deferToThread(self._end).addBoth(lambda _: done.callback(None))

        look()
        return done

    def _end(self) -> None:
        self.reloader.stop()
        for folder in self.drops:
            folder.stop()
        self.writer.stop()
        self.writer.join(self.stop_timeout)
        for folder in self.drops:
            folder.join(self.stop_timeout)
        if self.child:
            self.child.stop(self.stop_timeout)
        self.acknowledger.stop()
        self.acknowledger.join(self.stop_timeout)
        if self.soundness.holds and not (self.writer.is_alive() or self.acknowledger.is_alive()):
            self.mark.end()
        self.log.info("stopped")


def start_listener(settings: Settings, reactor: Any, arguments: Sequence[str], *, with_delivery: bool) -> ListenerRole:
    """Bind the ports, start the threads and (with_delivery) the child. Raises ConfigError for a port that is taken."""
    log = logs.get_logger("listener")
    location = store_location(settings)
    tell_engine(log, engine_of(location))
    first = open_store(location)  # creates and migrates it before any thread needs it
    mark = mark_of(location)
    if not mark.begin():
        look_over(first, log)
    store_settings = settings.store
    file = file_of(location)
    room = Room(file.parent if file else None, store_settings.keep_free, store_settings.keep_free_percent, telling(log))
    secret = first.audit.secret("duplicates")
    policies = {name: feed_policy(feed, settings) for name, feed in settings.feeds.items()}
    known = {name: known_practitioners(first, policy) for name, policy in policies.items()}
    came = came_last(first, time.time())
    first.close()

    def settled() -> None:
        acknowledger.hint()

    def nothing() -> None:
        """Without a child of ours, the delivery role looks at the store by itself."""

    soundness = Soundness(lambda: open_store(location), log)

    def may_take() -> bool:
        return soundness.holds and room.left()

    child = None
    if with_delivery:
        child = Child("delivery", arguments, logs.get_logger("delivery"), settled, soundness.doubt)
    hint = child.hint if child else nothing
    writer = StoreWriter(
        lambda: open_store(location),
        reactor.callFromThread,
        room=may_take,
        committed=hint,
        at_end_of_turn=partial(reactor.callLater, 0),
        failed=lambda what, why: log.error(what, error=why),
    )
    commits = Commits(writer, reactor.callFromThread)
    acknowledger = Acknowledger(
        lambda: open_store(location),
        policies,
        commits.built,
        is_down=destination_is_down,
        failed=lambda text: log.error("store failed, acknowledgments wait", error=text),
    )
    commits.acknowledger = acknowledger
    listeners: dict[str, MllpListener] = {}
    ports: dict[str, Any] = {}
    sender = ApplicationSender(policies, reactor, commits, log)
    commits.elsewhere = sender.send_pending
    memory = FrameMemory(settings.service.frame_memory)
    try:
        for name, feed in settings.feeds.items():
            listeners[name] = MllpListener(
                Intake(policies[name], secret, known=known[name], came=came),
                commits,
                limits_of(feed),
                reactor,
                logs.get_logger("listener", feed=name),
                send_elsewhere=partial(sender.send, name),
                memory=memory,
                tls=secured(feed, logs.get_logger("listener", feed=name)),
            )
            ports[name] = bind(reactor, feed, listeners[name])
    except ConfigError:
        for port in ports.values():
            port.stopListening()
        raise
    reloader = Reloader(
        settings,
        lambda: open_store(location),
        Running(listeners, policies, child, limits_of, feed_policy),
        partial(call_in_reactor, reactor),
        log,
    )
    writer.start()
    acknowledger.start()
    if child:
        child.start()
    reloader.start()
    watch_certificates(reactor, [listener.tls for listener in listeners.values() if listener.tls], log)
    poll_interval = settings.service.poll_interval
    drops = watch(
        drop_policies(settings), listeners, reactor, lambda: open_store(location), may_take, hint, poll_interval
    )
    stop_timeout = settings.service.stop_timeout
    role = ListenerRole(
        listeners, ports, writer, acknowledger, commits, child, reloader, drops, stop_timeout, log, mark, soundness
    )
    for name, address in role.addresses().items():
        log.info("listening", feed=name, host=address["host"], port=address["port"])
    return role


def drop_policies(settings: Settings) -> list[DropPolicy]:
    """What the settings say of each feed's drop folder, where it has one."""
    feeds = [(feed.name, feed.drop) for feed in settings.feeds.values()]
    return [
        DropPolicy(name, drop.folder, drop.pattern, drop.settle, drop.done, drop.failed)
        for name, drop in feeds
        if drop.folder is not None
    ]


def call_in_reactor(reactor: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run it on the reactor's thread, and wait for it."""
    from twisted.internet import threads

    return threads.blockingCallFromThread(reactor, function, *arguments)


def known_practitioners(store: Store, policy: FeedPolicy) -> KnownPractitioners:
    """Whom a feed's patient messages named lately, as the store remembers it."""
    known = KnownPractitioners(policy.recheck)
    if "adt" in policy.rules.takes:
        known.load(store.inbox.known_practitioners(policy.name, time.time() - policy.recheck))
    return known


def limits_of(feed: Feed) -> Limits:
    """The listener's bounds from the feed's settings."""
    given = feed.listener
    return Limits(
        max_frame=given.max_frame,
        max_connections=given.max_connections,
        max_connections_per_host=given.max_connections_per_host,
        frame_timeout=given.frame_timeout,
        frame_rate=given.frame_rate,
        answer_timeout=given.answer_timeout,
        idle_timeout=given.idle_timeout,
        end_of_block_timeout=given.end_of_block_timeout,
        allow=given.allow,
    )


def bind(reactor: Any, feed: Feed, listener: MllpListener) -> Any:
    """Listen on the feed's address. Raises ConfigError that says which file and what to do."""
    from twisted.internet.error import CannotListenError

    host, port = feed.listener.host, feed.listener.port
    try:
        bound = listener.tls.factory(listener) if listener.tls is not None else listener
        return reactor.listenTCP(port, bound, interface=host, backlog=256)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or "the address cannot be used"
        advice = "Choose another port, or stop the program that has it."
        if getattr(error.socketError, "errno", errno.EADDRINUSE) != errno.EADDRINUSE:
            advice = "Write an address of this machine, and a port that its account may use (above 1023)."
        raise ConfigError(
            f"cannot listen on {host}:{port} ({reason.lower()})",
            file=feed.file,
            key="listener.port",
            advice=advice,
        ) from None


def destination_is_down(store: Store, name: str) -> bool:
    """Whether the store says that the destination is paused."""
    return name in store.audit.paused()


class ApplicationSender:
    """Application acknowledgments whose connection is gone: to `application_acknowledgment_to`, else kept as not sent."""

    def __init__(self, policies: dict[str, FeedPolicy], reactor: Any, commits: Commits, log: logs.Log) -> None:
        self._policies, self._reactor, self._commits, self._log = policies, reactor, commits, log

    def send_pending(self, pending: PendingAcknowledgment, body: bytes) -> None:
        """One that nobody waits for any more."""
        if pending.kind == "application":
            self.send(pending.feed, pending.message_id, body)
        else:
            self._commits.note(pending.message_id, pending.kind, AcknowledgmentState.NOT_SENT)

    def send(self, feed: str, message_id: int, body: bytes) -> None:
        """Send it over a connection of our own, or note that it was not sent."""
        address = self._policies[feed].application_acknowledgment_to
        if not address:
            self._note(message_id, False)
            return
        from twisted.internet import protocol
        from twisted.internet.endpoints import HostnameEndpoint, connectProtocol

        from hl7bridge.hl7.mllp import frame

        host, _, port = address.rpartition(":")
        endpoint = HostnameEndpoint(self._reactor, host, int(port), timeout=5)
        connection = connectProtocol(endpoint, protocol.Protocol())  # type: ignore[no-untyped-call]

        def connected(made: Any) -> None:
            made.transport.write(frame(body))
            made.transport.loseConnection()
            self._note(message_id, True)

        def refused(_: Any) -> None:
            self._log.warning("application acknowledgment not sent", feed=feed, message_id=message_id)
            self._note(message_id, False)

        connection.addCallbacks(connected, refused)

    def _note(self, message_id: int, sent: bool) -> None:
        state = AcknowledgmentState.SENT if sent else AcknowledgmentState.NOT_SENT
        self._commits.note(message_id, "application", state)


# --- the delivery role -----------------------------------------------------------------------------------------------


def start_delivery(settings: Settings, settled: Callable[[], None]) -> DeliveryRole:
    """Start a loop for each destination that a feed names."""
    location, log = store_location(settings), logs.get_logger("delivery")
    used = {name for feed in settings.feeds.values() for name in feed.destinations}
    store = open_store(location)
    tell_unserved(store, used, log)
    store.close()
    role = DeliveryRole()
    for name in sorted(used):
        destination = settings.destinations[name]
        there = destination_of(destination)
        there.open()
        log.info("delivering", destination=name, mode=str(destination.mode))
        role.loops.append(
            DestinationLoop(
                Target(
                    there,
                    retry_policy(destination),
                    brake_of(destination),
                    destination.capabilities_interval,
                    watched_of(destination, settings),
                ),
                lambda: open_store(location),
                log,
                settled=settled,
                poll_interval=settings.service.poll_interval,
                stop_timeout=settings.service.stop_timeout,
            )
        )
    role.schedule = Schedule(scheduled(role, settings), lambda: open_store(location), log)
    role.start()
    return role


def scheduled(role: DeliveryRole, settings: Settings) -> list[Job]:
    """What runs by the clock beside the deliveries."""
    log = logs.get_logger("delivery")
    jobs = [full_file_job({name: full_file_policy(feed, settings) for name, feed in settings.feeds.items()}, log)]
    for target in (loop.target for loop in role.loops):
        there = target.destination
        theirs = [second_look_job(there, log)] if there.policy.writes else []
        if (plan := plan_of(settings.destinations[there.policy.name], settings)).every:
            theirs.append(reconcile_job(there, plan, log))
        jobs += [replace(job, due=outside(target.watched.maintenance, job.due)) for job in theirs]
    return jobs


def full_file_policy(feed: Feed, settings: Settings) -> FullFilePolicy:
    """What the feed's whole files (MFI-3 REP) lead to."""
    destinations = {name: destination_of(settings.destinations[name]) for name in feed.destinations}
    return FullFilePolicy(feed.full_file.deactivate_missing, feed.full_file.max_missing_percent, destinations)


# --- the command -----------------------------------------------------------------------------------------------------


def run(
    settings: Settings,
    directory: Path,
    *,
    role: str = "all",
    as_json: bool = False,
    is_child: bool = False,
    new_store: bool = False,
    ready: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Run a role until it is told to stop; returns the exit code.

    role      "all" (listener, with delivery as its child), "listener" or "delivery"
    is_child  end when standard input closes; take a line there as a hint that something was committed
    new_store begin with an empty store although there was one, and it is gone
    ready     called once with what `--json` prints
    Raises ConfigError, StoreError.
    """
    settle_in()
    logs.configure(settings.log.level, settings.log.format, settings.log.file)
    tell_defects(logs.get_logger(role))
    say = ready or (lambda what: _say(what, as_json))
    mark = mark_of(store_location(settings))
    if new_store and mark.lost:
        mark.forget()
    if role == "delivery":
        return _run_delivery(settings, say, is_child)
    return _run_listener(settings, directory, role == "all", say, is_child)


def _say(what: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def _run_listener(
    settings: Settings, directory: Path, with_delivery: bool, say: Callable[[dict[str, Any]], None], is_child: bool
) -> int:
    from twisted.internet import reactor as twisted_reactor

    reactor: Any = twisted_reactor  # its type is chosen at import, and zope interfaces say little to mypy
    arguments = ["run", "--config", str(directory.resolve()), "--role", "delivery", "--child"]
    tell_reactor_defects(logs.get_logger("listener"))
    role = start_listener(settings, reactor, arguments, with_delivery=with_delivery)
    reactor.addSystemEventTrigger("before", "shutdown", role.stop, reactor)
    said = {
        "event": "ready",
        "pid": os.getpid(),
        "feeds": role.addresses(),
        "children": {"delivery": role.child.pid} if role.child else {},
    }
    reactor.callWhenRunning(take_signals, reactor)
    reactor.callWhenRunning(take_hangup, role.reloader.ask)
    # What is in memory by now stays there: a garbage collection that walks it lets every sender wait for 60 ms.
    gc.collect()
    gc.freeze()
    reactor.callWhenRunning(say, said)
    if is_child:
        closed = partial(reactor.callFromThread, stop_reactor, reactor)
        threading.Thread(target=_read_hints, args=(_ignore, closed), daemon=True).start()
    reactor.run()
    return 0


def take_hangup(reload: Callable[[], None]) -> None:
    """SIGHUP opens the log anew and reads the configuration again. In a terminal it ends the service, as ever: the terminal
    goes."""
    if not hasattr(signal, "SIGHUP") or os.isatty(0) or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return

    def hung_up(*_: object) -> None:
        logs.reopen()
        reload()

    signal.signal(signal.SIGHUP, hung_up)


def _ignore() -> None:
    """The listener needs no hints: messages wake it."""


def _run_delivery(settings: Settings, say: Callable[[dict[str, Any]], None], is_child: bool) -> int:
    stopping = threading.Event()
    hint = Hint(sys.stdout.fileno()) if is_child else None
    role = start_delivery(settings, hint.give if hint else lambda: None)
    if is_child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which stops us in order
        threading.Thread(target=_read_hints, args=(role.hint, stopping.set), daemon=True).start()
    else:
        signal.signal(signal.SIGINT, lambda *_: stopping.set())
        say({"event": "ready", "pid": os.getpid(), "feeds": {}, "children": {}})
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    take_hangup(lambda: None)  # the configuration is the listener's to read
    while not stopping.wait(0.5):
        if role.failed:
            break
    ended = role.stop(settings.service.stop_timeout)
    if role.loops and any(loop.failed for loop in role.loops):
        raise StoreError(next(loop.failed for loop in role.loops if loop.failed))
    return 0 if ended else 1


def _read_hints(hinted: Callable[[], None], closed: Callable[[], None]) -> None:
    while os.read(sys.stdin.fileno(), 65536):
        hinted()
    closed()


class Hint:
    """A line to the parent, at most a few hundred a second, never blocking the work."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = threading.Event()
        threading.Thread(target=self._write, name="hint", daemon=True).start()

    def give(self) -> None:
        """Something settled."""
        self._waiting.set()

    def _write(self) -> None:
        while True:
            self._waiting.wait()
            self._waiting.clear()
            try:
                os.write(self._descriptor, b"settled\n")
            except OSError:
                return
            time.sleep(0.005)
