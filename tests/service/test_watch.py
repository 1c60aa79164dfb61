"""What is looked after beside delivering, by a clock that is passed in, on a real store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hl7bridge.config import tasks as settings
from hl7bridge.destinations.fhir.tasks import CLASSED_BY, leaver_unverified
from hl7bridge.destinations.reasons import MAINTENANCE, SCOPE_REFUSED
from hl7bridge.destinations.retry import RetryPolicy
from hl7bridge.model import LEAVER_UNVERIFIED, Action, Known, Outcome, Result, Task
from hl7bridge.model.health import Health, Learned
from hl7bridge.service.outbound.deciding import decide
from hl7bridge.service.outbound.failing import Failing
from hl7bridge.service.outbound.hours import window_of
from hl7bridge.service.outbound.outage import over
from hl7bridge.service.outbound.pace import Pace
from hl7bridge.service.outbound.watch import EVERY, HOUR, Watch, Watched, tell_unserved
from hl7bridge.service.outbound.wording import Wording
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import Claimed, DeliveryState, Settlement, Store
from hl7bridge.store.worklist import Subject
from tests.store.builders import accept_one, change

START = 1_772_330_400.0  # 2026-03-01, a Sunday, 02:00 UTC
SUNDAY = window_of(["sun"], "02:00-04:00", "UTC")
WRITTEN = Outcome(Result.UPDATED)
PACKAGE = Path(settings.__file__).parents[1]


@dataclass
class Said:
    """A log that remembers."""

    lines: list[tuple[str, str, dict]] = field(default_factory=list)

    def __getattr__(self, level: str):
        return lambda event, **more: self.lines.append((level, event, more))

    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]


class Bench:
    def __init__(self, store: Store) -> None:
        self.store, self.now, self.log = store, START, Said()

    def watch(self, **watched: object) -> Watch:
        return Watch("main", Watched(**watched), leaver_unverified(), self.log, lambda: self.now)  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = open_store(tmp_path / "store.db")
    yield Bench(store)
    store.close()


# -- maintenance --


def test_nothing_is_sent_during_a_window_and_everything_after(bench: Bench) -> None:
    watch = bench.watch(maintenance=(SUNDAY,))
    bench.now = START - 1
    assert watch.look(bench.store)
    assert (watch.refusal(), bench.store.audit.paused()) == (None, {})
    bench.now = START
    assert not watch.look(bench.store)
    assert not watch.look(bench.store)
    assert bench.store.pauses.pauses()["main"].until == START + 7200
    assert bench.store.audit.paused() == {"main": MAINTENANCE}
    refusal = watch.refusal()
    assert refusal
    assert (refusal.result, refusal.local) == (Result.PAUSED, MAINTENANCE)
    assert bench.log.events() == ["maintenance window, nothing is sent"]
    bench.store.pauses.resume("main", START + 5, who="ana")
    assert not watch.look(bench.store), "a person cannot open it"
    assert bench.store.audit.paused() == {"main": MAINTENANCE}
    bench.now = START + 7200
    assert watch.look(bench.store)
    bench.store.queue.join("w", 60, bench.now)
    accept_one(bench.store, change("A"), now=START)
    assert len(bench.store.queue.claim("main", "w", 5, bench.now)) == 1, "the pause ends by itself"


def test_a_window_does_not_end_what_a_person_paused(bench: Bench) -> None:
    bench.store.pauses.pause("main", "paused-by-person", START, who="ana")
    watch = bench.watch(maintenance=(SUNDAY,))
    assert not watch.look(bench.store)
    bench.now = START + 7200
    assert watch.look(bench.store)
    assert bench.store.audit.paused() == {"main": "paused-by-person"}


@pytest.mark.parametrize(("reason", "stays"), [(SCOPE_REFUSED, False), (MAINTENANCE, False), ("writes-refused", True)])
def test_what_new_settings_may_have_cured_is_tried_again_by_a_new_process(
    bench: Bench, reason: str, stays: bool
) -> None:
    bench.store.pauses.pause("main", reason, START)
    watch = bench.watch()
    assert watch.look(bench.store)
    assert bool(bench.store.audit.paused()) is stays
    bench.store.pauses.pause("main", reason, START)
    watch.look(bench.store)
    assert bench.store.audit.paused() == {"main": reason}, "but not again and again"


# -- leavers and overdue tasks --


def test_a_leaver_that_waits_and_a_task_that_is_late_are_told_once(bench: Bench) -> None:
    watch, other = bench.watch(), bench.watch()
    accept_one(bench.store, change("L", Action.DEACTIVATE, active=False), now=START, received=START)
    for seconds in range(0, 1000, 5):
        bench.now = START + seconds
        watch.look(bench.store)
        other.look(bench.store)
    assert bench.log.events() == ["leavers not shown to be inactive in time", "task overdue"]
    assert bench.log.lines[1][2] | {"seconds": 0} == {
        "destination": "main", "task": 1, "kind": LEAVER_UNVERIFIED, "escalation": 1, "seconds": 0,
    }  # fmt: skip
    bench.now = START + 900 + HOUR + EVERY
    bench.watch().look(bench.store)
    assert [more["escalation"] for _, event, more in bench.log.lines if event == "task overdue"] == [1, 2]


def test_a_site_sets_when_a_leaver_is_late(bench: Bench) -> None:
    watch = bench.watch(wording=Wording(due={LEAVER_UNVERIFIED: 60.0}))
    accept_one(bench.store, change("L", Action.DEACTIVATE, active=False), now=START, received=START)
    bench.now = START + 60
    watch.look(bench.store)
    assert len(bench.store.worklist.tasks(kind=LEAVER_UNVERIFIED)) == 1


@pytest.mark.parametrize(("set_back", "late_at"), [(0.0, 900), (60.0, 960), (61.0, 0), (7200.0, 0), (1e9, 0)])
def test_a_clock_that_was_set_back_hides_no_leaver(bench: Bench, set_back: float, late_at: int) -> None:
    accept_one(bench.store, change("L", Action.DEACTIVATE, active=False), now=START, received=START)
    told = []
    for seconds in (0, 899, 900, 959, 960):
        bench.now = START - set_back + seconds
        bench.watch().look(bench.store)
        if "leavers not shown to be inactive in time" in bench.log.events():
            told.append(seconds)
    assert told[0] == late_at
    assert len(bench.store.worklist.tasks(kind=LEAVER_UNVERIFIED)) == 1


@pytest.mark.parametrize("set_back", [0.0, 7200.0])
def test_an_end_that_is_not_due_yet_is_not_late(bench: Bench, set_back: float) -> None:
    accept_one(
        bench.store,
        change("L", Action.DEACTIVATE, active=False),
        now=START,
        received=START,
        not_before=START + 2 * HOUR,
    )
    bench.now = START + HOUR - set_back
    bench.watch().look(bench.store)
    assert len(bench.store.worklist.tasks(kind=LEAVER_UNVERIFIED)) == 0


# -- odd hours --

OFFICE = window_of(["mon", "tue", "wed", "thu", "fri"], "07:00-19:00", "UTC")
MONDAY_NOON = START + 34 * HOUR


def settle_nothing(store: Store, learned: Learned, now: float = START) -> None:
    """Write down what was learned, with a settlement whose claim is lost."""
    lost = Settlement(Claimed(0, 0, 0, "hr", "main", change("A"), Known(), 0), WRITTEN, DeliveryState.ENDED)
    assert store.settlements.settle([lost], now, learned) == [0]


def written(bench: Bench, watch: Watch, *outcomes: Outcome) -> None:
    if off_hours := watch.off_hours(outcomes):
        settle_nothing(bench.store, Learned(Health(), Health(), off_hours), bench.now)
        watch.look_at_off_hours(bench.store)


def test_a_mass_of_changes_at_odd_hours_is_told_once_an_hour(bench: Bench) -> None:
    watch = bench.watch(office=(OFFICE,), off_hours_changes=50)
    for _ in range(49):
        bench.now += 1
        written(bench, watch, WRITTEN, Outcome(Result.UNCHANGED), Outcome(Result.HELD))
    assert bench.log.events() == []
    for _ in range(200):
        bench.now += 1
        written(bench, watch, WRITTEN)
    assert bench.log.events() == ["mass of changes outside of office hours"]
    assert [task.kind for task in bench.store.worklist.tasks()] == ["off-hours"]
    bench.now += HOUR
    written(bench, watch, *[WRITTEN] * 49)
    assert len(bench.log.lines) == 1, "those of an hour ago do not count"
    written(bench, bench.watch(office=(OFFICE,), off_hours_changes=50), WRITTEN)
    assert len(bench.log.lines) == 2


@pytest.mark.parametrize("office", [(OFFICE,), ()], ids=["in office hours", "no hours are set"])
def test_a_mass_of_changes_is_nothing_to_tell_else(bench: Bench, office) -> None:
    bench.now = MONDAY_NOON
    watch = bench.watch(office=office, off_hours_changes=1)
    written(bench, watch, *[WRITTEN] * 500)
    assert (bench.log.events(), bench.store.worklist.tasks().rows) == ([], ())


# -- outages --


def refused(local: str = "token-refused") -> Outcome:
    return Outcome(Result.PAUSED, "207", local)


@pytest.mark.parametrize("asks", ["token-refused", "unauthorized"])
class Outage:
    """What a destination's health becomes, and what is said of it."""

    def __init__(self) -> None:
        self.health, self.said, self.failing = Health(), [], Failing()

    def pause(self, outcome: Outcome, now: float) -> float:
        claimed = Claimed(1, 1, 1, "hr", "main", change("A"), Known(), 1)
        decisions = decide(
            [(claimed, outcome)],
            self.health,
            RetryPolicy(),
            Pace(),
            now,
            look_after=0.0,
            draw=lambda: 1.0,
            failing=self.failing,
        )
        self.health, self.failing, [settlement] = decisions.health, decisions.failing, decisions.settlements
        self.said += decisions.lines
        assert settlement.pause in ("", outcome.local)
        assert settlement.state is DeliveryState.QUEUED
        return settlement.pause_until


@pytest.mark.parametrize("asks", ["token-refused", "unauthorized"])
def test_an_outage_of_ten_minutes_is_told_once_and_asks_ever_less_often(asks: str) -> None:
    outage, now, pauses = Outage(), START, []
    while now < START + 600:
        until = [outage.pause(refused(asks), now) for _ in range(16)]
        if asks == "unauthorized" and not pauses:
            assert until.pop(0) == 0.0, "one refusal alone may be about the person"
        assert len(set(until)) == 1, "what was under way together is one pause"
        pauses.append(until[0] - now)
        now = until[0]
    assert pauses == ([2, 4, 8] + [15] * 40 if asks == "token-refused" else [15, 30, 60, 120, 240, 300])
    assert [level for level, _, _ in outage.said] == ["error", *["info"] * (len(pauses) - 1)]
    assert Pace().at_most(outage.health) == 1, "one asks whether it is over"
    outage.health = over(outage.health)
    assert outage.health == Health()
    outage.pause(refused(asks), now)
    assert outage.said[-1][0] == "error", "a new outage is told again"


def test_a_person_who_resumes_it_lets_the_pauses_begin_anew(bench: Bench) -> None:
    outage = Outage()
    first, second = outage.pause(refused(), START), outage.pause(refused(), START + 2)
    assert (first - START, second - START - 2) == (2, 4)
    settle_nothing(bench.store, Learned(Health(), outage.health))
    bench.store.pauses.pause("main", "token-refused", START, until=second)
    bench.store.pauses.resume("main", START + 3, who="ana", note="try")
    outage.health = bench.store.health.of("main")
    assert outage.pause(refused(), START + 3) == START + 5
    assert outage.said[-1][0] == "info", "people know"


def test_a_scope_that_is_not_granted_waits_for_a_person(bench: Bench) -> None:
    outage = Outage()
    assert outage.pause(refused(SCOPE_REFUSED), START) == 0.0
    assert outage.pause(refused(SCOPE_REFUSED), START + 1) == 0.0
    assert [level for level, _, _ in outage.said] == ["error", "info"]
    assert "auth.scopes" in outage.said[0][2]["text"]
    settle_nothing(bench.store, Learned(Health(), outage.health))
    bench.store.pauses.pause("main", SCOPE_REFUSED, START)
    bench.watch().look(bench.store)
    outage.health = bench.store.health.of("main")
    outage.pause(refused(SCOPE_REFUSED), START + 2)
    assert outage.said[-1][0] == "error", "another process, other settings perhaps: told anew"


# -- words --


def test_a_site_words_a_task() -> None:
    words = Wording(
        {"leaver-access": ("{source_key} leaves {destination}", ("Open {person_id}.", "Two\n  lines {other}."))},
        owner="access team",
        due={"leaver-access": 60.0},
    )
    made = words(Task("leaver-access", "End access", ("Look.",), 900.0), Subject("ehr", "B1", ""))
    assert (made.title, made.owner, made.due_within) == ("B1 leaves ehr", "access team", 60.0)
    assert made.steps == ("Open (not known yet).", "Two lines {other}.")
    assert words(Task("brake", "Brake", ("hold list {destination}",)), Subject("ehr")).steps == ("hold list ehr",)


def test_a_value_that_looks_like_a_placeholder_is_left_alone() -> None:
    made = Wording()(Task("x", "{source_key}"), Subject("ehr", "{person_id}", "p1"))
    assert made.title == "{person_id}"


def test_every_kind_of_task_can_be_worded() -> None:
    """The kinds that the settings know are those that the package opens."""
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    constants = dict(re.findall(r'^([A-Z_]+) = "([a-z-]+)"', "\n".join(sources), re.MULTILINE))
    opened = set()
    for text in sources:
        for quoted, name in re.findall(r'(?<![\w.])Task\(\s*(?:"([a-z-]+)"|([A-Z_]+)\b)', text):
            opened.add(quoted or constants[name])
    for packaged in PACKAGE.rglob("tasks.toml"):
        opened |= set(re.findall(r"^\[([a-z-]+)\]", packaged.read_text(encoding="utf-8"), re.MULTILINE))
    assert opened == set(settings.KINDS), "settings/tasks.py lists them all"
    assert settings.CLASSED_BY == CLASSED_BY


def test_changes_for_a_destination_that_nobody_serves_any_more_are_told(bench: Bench) -> None:
    accept_one(bench.store, change("a"), change("b"), destinations=["main", "gone"])
    accept_one(bench.store, change("c"), destinations=["gone"], not_before=START + 10**9)
    tell_unserved(bench.store, {"main", "gone"}, bench.log)
    assert bench.log.lines == []
    tell_unserved(bench.store, {"main"}, bench.log)
    [(level, _, more)] = bench.log.lines
    assert (level, more["destination"], more["count"]) == ("error", "gone", 3)
