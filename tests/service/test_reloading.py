"""What is read again is in force, or named; the thread that reads it outlives whatever happens in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import BaseModel
from twisted.internet.task import Clock

from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.config import Feed as FeedSettings
from hl7bridge.config import load
from hl7bridge.intake.intake import Intake
from hl7bridge.service.inbound.drop import _largest
from hl7bridge.service.inbound.listener import MllpListener
from hl7bridge.service.reloading import Reloader, Running, read_again
from hl7bridge.service.startup import limits_of
from hl7bridge.store.opening import open_store
from hl7bridge.store.reloads import HANGUP, confirmed_mapping
from hl7bridge.store.store import Store
from tests.bridges import Feed, destination, merged, wait_until, write_configuration
from tests.journey import KEY_SYSTEM, mfn, person

SECRET = "a value that must not be told"

OTHER: dict[str, Any] = {
    "destinations": ["fhir", "second"],
    "map": "site",
    "listener.host": "127.0.0.2",
    "listener.port": 1,
    "listener.allow": ["192.0.2.0/24"],
    "listener.max_frame": "1MiB",
    "listener.max_connections": 7,
    "listener.max_connections_per_host": 7,
    "listener.frame_timeout": "7s",
    "listener.frame_rate": "7B",
    "listener.answer_timeout": "7s",
    "listener.idle_timeout": "7s",
    "listener.end_of_block_timeout": "7s",
    "hl7.charset": "latin-1",
    "hl7.fallback_version": "2.3",
    "hl7.key_system": "urn:oid:2.999.7",
    "hl7.timezone": "Europe/Berlin",
    "hl7.takes": ["staff", "adt"],
    "hl7.unsupported": "ignore",
    "acknowledgment.mode": "original",
    "acknowledgment.acknowledge_when": "delivered",
    "acknowledgment.ack_deadline": "7s",
    "acknowledgment.when_pending": "refuse",
    "acknowledgment.acknowledge_for": ["fhir"],
    "acknowledgment.application_acknowledgment_to": "127.0.0.1:7",
    "acknowledgment.duplicate_window": "7s",
    "acknowledgment.codes.content": "AR",
    "acknowledgment.codes.unsupported": "AE",
    "acknowledgment.codes.unavailable": "close",
    "acknowledgment.codes.mixed": "AA",
    "adt.recheck": "7s",
    "drop.folder": "in",
    "drop.pattern": "*.txt",
    "drop.settle": "7s",
    "drop.done": "ok",
    "drop.failed": "bad",
    "full_file.deactivate_missing": "hold",
    "full_file.max_missing_percent": 7.0,
    "limits.max_segments": 700,
    "limits.max_record_segments": 70,
    "limits.max_repetitions": 70,
    "limits.max_records_per_key": 7,
    "authorities": {"HOSP": "urn:oid:2.999.7"},
    "tables": {"0182": {"DR": "MD"}},
}
"""Each key of a feed, and another value than it has before."""

ELSEWHERE = {"listener.tls": "test_listener_tls.py", "listener.plain": "asked at the start alone", "name": "the file's"}


def keys_of(section: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, one in section.model_fields.items():
        kind = one.annotation
        if before + name not in ELSEWHERE:
            nested = isinstance(kind, type) and issubclass(kind, BaseModel)
            yield from keys_of(kind, f"{before}{name}.") if nested else [before + name]


class Site:
    """What a running listener goes by, without its sockets and threads."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings = load(folder)
        [(name, feed)] = settings.feeds.items()
        policy = feed_policy(feed, settings)
        intake, log = Intake(policy, b"x" * 32), structlog.get_logger()
        self.listener = MllpListener(intake, None, limits_of(feed), Clock(), log)  # type: ignore[arg-type]
        self.running = Running({name: self.listener}, {name: policy}, None, limits_of, feed_policy)

    def goes_by(self) -> dict[str, Any]:
        """What counts for the next frame, connection, or file."""
        listener = self.listener
        policy, limits = listener.intake.policy, listener.limits
        seen = {f"limits.{one.name}": getattr(limits, one.name) for one in fields(limits) if one.name != "allow"}
        seen |= {
            one.name: getattr(policy, one.name) for one in fields(policy) if one.name not in ("rules", "destinations")
        }
        seen |= {f"rules.{one.name}": repr(getattr(policy.rules, one.name)) for one in fields(policy.rules)}
        return seen | {
            "destinations": sorted(policy.destinations),
            "allowed": listener.admission.allows("198.51.100.1"),
            "recheck": listener.intake.known.recheck,
            "dropped": _largest(listener),
        }

    def read_again(self) -> bool:
        """Whether anything that it goes by, or the delivery role does, has changed, or is named as waiting for a restart."""
        before = self.goes_by()
        applied = read_again(self.settings, self.settings, feed_policy)
        self.running.follow(applied)
        return self.goes_by() != before or applied.delivery_differs or bool(applied.restart)


def write(folder: Path, key: str = "") -> None:
    settings: Any = OTHER.get(key)
    for name in reversed(key.split(".")):
        settings = {name: settings}
    settings = settings if key else {}
    to = {name: destination("http://127.0.0.1:9/fhir") for name in ("fhir", "second")}
    write_configuration(folder, [Feed("staff", KEY_SYSTEM, settings=merged({"destinations": ["fhir"]}, settings))], to)


def test_every_key_of_a_feed_is_in_force_after_a_reload_or_named(tmp_path: Path) -> None:
    assert set(OTHER) == set(keys_of(FeedSettings))
    (tmp_path / "conf" / "maps").mkdir(parents=True)
    (tmp_path / "conf" / "maps" / "site.toml").write_text('[tables.0183]\nW = "A"\n')
    write(tmp_path)
    assert not Site(tmp_path).read_again()
    lost = []
    for key in OTHER:
        write(tmp_path)
        site = Site(tmp_path)
        write(tmp_path, key)
        if not site.read_again():
            lost.append(key)
    assert not lost


@pytest.mark.parametrize(("says", "differing"), [('[tables.0183]\nW = "A"\n', []), ('key = ["STF-1"]\n', ["staff"])])
def test_a_map_that_is_read_again_differs_when_it_says_something_else(
    tmp_path: Path, says: str, differing: list[str]
) -> None:
    path = tmp_path / "conf" / "maps" / "site.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[tables.0183]\nW = "A"\n')
    write(tmp_path, "map")
    site = Site(tmp_path)
    path.write_text(says)
    assert site.running.differing(read_again(site.settings, site.settings, feed_policy)) == differing


def test_a_fault_of_ours_refuses_the_reload_and_the_next_one_is_looked_at(tmp_path: Path) -> None:
    write_configuration(tmp_path, [Feed("staff", KEY_SYSTEM)], {"fhir": destination("http://127.0.0.1:9/fhir")})
    settings, asked = load(tmp_path), []

    def broken(*_: object) -> Any:
        asked.append(1)
        raise RuntimeError(SECRET)

    def opened() -> Any:
        return open_store(tmp_path / "store.sqlite")

    running = Running({}, {}, None, lambda feed: None, broken)  # type: ignore[arg-type, return-value]
    reloader = Reloader(settings, opened, running, lambda call, applied: call(applied), structlog.get_logger())
    store = opened()
    reloader.start()
    for number in (1, 2):
        request = store.reloads.ask_reload("ana", 1_800_000_000.0)
        wait_until(lambda: not store.reloads.reload_asked(), 20, lambda: str(asked))
        [answer] = store.reloads.reloads(request=request)
        assert (answer.accepted, len(asked)) == (False, number)
        assert "RuntimeError" in answer.report["problems"][0]
        assert SECRET not in str(answer)
    reloader.stop()
    reloader.join(20)
    store.close()


READ_OTHERWISE = {"tables": {"0001": {"F": "male"}}}
NOT_READ = {"tables": {"0182": {"ZZ": "MD"}}}
OTHER_KEYS = {"hl7": {"key_system": "urn:oid:2.999.7"}}
LIMIT = {"limits": {"max_repetitions": 77}}
BRAKE = {"brake": {"deactivations_per_hour": 900}}
RETRY = {"retry": {"longest": "9s"}}

# What changed in the feed and in the destination; who asks; what waits for a person, and what is in force then.
ASKED = {
    "a limit": (LIMIT, {}, HANGUP, [], "limit"),
    "the destination": ({}, RETRY, HANGUP, [], "delivery"),
    "a mapping that reads what is stored as before": (NOT_READ, {}, HANGUP, [], "mapping"),
    "a mapping that does not": (READ_OTHERWISE, {}, HANGUP, ["mapping of staff"], ""),
    "such a mapping and all else": (
        merged(READ_OTHERWISE, LIMIT),
        RETRY,
        HANGUP,
        ["mapping of staff"],
        "limit delivery",
    ),
    "another system of the staff key": (OTHER_KEYS, {}, HANGUP, ["mapping of staff"], ""),
    "a brake": ({}, BRAKE, HANGUP, ["brake of fhir"], ""),
    "a brake and all else": (merged(NOT_READ, LIMIT), merged(BRAKE, RETRY), HANGUP, ["brake of fhir"], "limit mapping"),
    "both": (READ_OTHERWISE, BRAKE, HANGUP, ["mapping of staff", "brake of fhir"], ""),
    "both, for a person": (READ_OTHERWISE, BRAKE, "ana", [], "mapping delivery"),
}


class Child:
    """The delivery process: started anew, or not."""

    restarted = 0

    def restart(self) -> None:
        self.restarted += 1


class Asked:
    """A listener with a message in its store, and whoever asks it to reload. No thread: requests are answered when asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.child = folder, Child()
        self.configure({}, {})
        self.site = Site(folder)
        self.site.running.child = self.child  # type: ignore[assignment]
        self.store: Store = open_store(folder / "store.sqlite")
        (one,) = self.site.listener.intake.prepare(mfn("m1", person("MAD", "K1", "Tamsworth^Ilse")), "192.0.2.1:1")
        assert one.new
        self.store.inbox.accept([one.new], 1_800_000_000.0)
        opened = lambda: self.store  # noqa: E731
        follow: Any = lambda call, applied: call(applied)  # noqa: E731
        self.reloader = Reloader(self.site.settings, opened, self.site.running, follow, structlog.get_logger())
        self.version = self.site.running.versions()["staff"]

    def configure(self, feed: Any, to: Any) -> None:
        write_configuration(
            self.folder,
            [Feed("staff", KEY_SYSTEM, settings=feed)],
            {"fhir": destination("http://127.0.0.1:9/fhir", **to)},
        )

    def ask(self, who: str) -> tuple[list[str], list[dict[str, Any]]]:
        """What waits, by the record; and the lines of the log."""
        request = self.store.reloads.ask_reload(who, 1_800_000_000.0)
        with structlog.testing.capture_logs() as lines:
            self.reloader.look(self.store)
        (answer,) = self.store.reloads.reloads(request=request)
        assert answer.accepted, answer.report
        return answer.report["waits"], lines

    @property
    def in_force(self) -> str:
        limit = self.site.listener.intake.policy.rules.caps.repetitions == 77
        mapping = self.site.running.versions()["staff"] != self.version
        mapping = mapping or self.site.listener.intake.policy.rules.key_system != KEY_SYSTEM
        found = {"limit": limit, "mapping": mapping, "delivery": bool(self.child.restarted)}
        return " ".join(name for name, there in found.items() if there)


@pytest.mark.parametrize(("feed", "to", "who", "waits", "in_force"), ASKED.values(), ids=list(ASKED))
def test_a_signal_lets_nothing_go_live_that_a_person_is_asked_about(
    tmp_path: Path, feed: Any, to: Any, who: str, waits: list[str], in_force: str
) -> None:
    asked = Asked(tmp_path)
    asked.configure(feed, to)
    for _ in range(2):  # a second signal, the next night, changes nothing about it
        found, lines = asked.ask(who)
        told = [line for line in lines if line["event"] == "not reloaded by SIGHUP, waits for a person"]
        assert found == waits
        assert [line["waits"] for line in told] == ([waits] if waits else [])
        assert all("hl7bridge reload" in line["text"] for line in told)
        assert asked.in_force == in_force
    confirmed = confirmed_mapping(asked.store.connection, "staff")
    assert confirmed == (asked.site.running.versions()["staff"] if who != HANGUP else "")
    assert asked.ask("ana")[0] == []
    assert ("mapping" in asked.in_force) == ("tables" in feed or "hl7" in feed)
    assert bool(asked.child.restarted) == bool(to or "hl7" in feed)
    asked.store.close()
