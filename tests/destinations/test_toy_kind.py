"""The seam holds a second kind of destination: cards in a folder, made known by two entries, go the whole journey. What a
kind does not say of itself has honest defaults; what it does say is all that doctor, roster and identity need.
"""

from __future__ import annotations

import inspect
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hl7bridge import config
from hl7bridge.assemble import destinations
from hl7bridge.assemble.destinations import destination_of
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.assemble.ledger import ledger_of
from hl7bridge.assemble.mapping import feed_rules
from hl7bridge.assemble.stores import store_location
from hl7bridge.config.destination import DESTINATION_KINDS, DestinationSettings
from hl7bridge.desk import go_live, holds, restore
from hl7bridge.desk.deciding import Actor
from hl7bridge.desk.identity import linking, quarantine
from hl7bridge.desk.identity.candidates import Candidates
from hl7bridge.desk.identity.linking import Decision
from hl7bridge.desk.mapping.withheld import withheld
from hl7bridge.destinations.defaults import PlainDestination, PlainWords, one_of_each
from hl7bridge.destinations.policy import Policy
from hl7bridge.destinations.protocol import Destination, DestinationWords, NothingKnown, Sought
from hl7bridge.destinations.reasons import LEAVING_REPORT
from hl7bridge.errors import ConfigError, NotOffered
from hl7bridge.hl7.message import Message
from hl7bridge.intake.intake import Intake
from hl7bridge.mapping.explain import explain
from hl7bridge.model import Image
from hl7bridge.service.outbound.reconciling import ReconcilePlan, reconcile
from hl7bridge.service.outbound.reconciling import job as reconcile_job
from hl7bridge.service.startup import start_delivery
from hl7bridge.store.opening import open_store
from tests.bridges import wait_until
from tests.cli.conftest import Ended, command
from tests.destinations import cards, cards_desk
from tests.destinations.cards import CARD, UNIT, CardDestination, CardSettings

__all__ = ["command"]

Command = Callable[..., Ended]
FEED = (
    'destinations = ["cards"]\n[listener]\nport = 0\n'
    '[hl7]\nkey_system = "urn:uuid:2f0f3f55-64a2-4d52-8f1e-5f7f2f0a7b21"\ntimezone = "UTC"\n'
)
CARDS = 'kind = "cards"\nmode = "{mode}"\nfolder = "{folder}"\n[brake]\ndeactivations_per_hour = 1\n'
HEAD = "MSH|^~\\&|HR|NORTH|HL7BRIDGE|NORTH|{time}+0000||{type}|{id}|P|2.5.1\r"
STF = "STF|{key}|{key}^^^NORTH^EI|Okonkwo^Adaeze{key}|P|F||{active}|ICU"
ANA, WHY = Actor("ana"), "checked with HR"


class Site:
    """A conf folder with one destination of the other kind, its store, and its cards."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.folder = directory, directory / "cards"
        for file, text in (("hl7bridge.toml", '[service]\nprocessing_id = "P"\n'), ("feeds/staff.toml", FEED)):
            (directory / "conf" / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / "conf" / file).write_text(text)
        (directory / "conf/destinations").mkdir()
        self.folder.mkdir()
        self.configure("report")
        self.store = open_store(store_location(self.settings))
        self.sent = 0

    def configure(self, mode: str) -> None:
        text = CARDS.format(mode=mode, folder=self.folder.as_posix())
        (self.directory / "conf/destinations/cards.toml").write_text(text)
        self.settings = config.load(self.directory, {})

    def take_in(self, key: str, event: str, *, away_until: str = "") -> int:
        """A message about somebody: MAD or MDC of a master file, or B05 of a PMU."""
        self.sent += 1
        kind = "PMU^B05^PMU_B01" if event == "B05" else "MFN^M02^MFN_M02"
        head = HEAD.format(time=time.strftime("%Y%m%d%H%M%S", time.gmtime()), type=kind, id=f"C{self.sent}")
        middle = "EVN||20260301120000\r"
        if event != "B05":
            middle = f"MFI|STF^Staff^HL70175||UPD|||AL\rMFE|{event}|C{self.sent}||{key}|CE\r"
        stf = STF.format(key=key, active="I" if event == "MDC" else "A") + "|" * 27 + away_until
        intake = Intake(feed_policy(self.settings.feeds["staff"], self.settings), self.store.audit.secret("duplicates"))
        [prepared] = intake.prepare((head + middle + stf + "\r").encode(), "test")
        assert prepared.new is not None
        return self.store.inbox.accept([prepared.new], time.time())[0].message_id

    @contextmanager
    def running(self) -> Iterator[None]:
        """The delivery role, as `hl7bridge run` starts it."""
        role = start_delivery(self.settings, lambda: None)
        try:
            yield
        finally:
            assert role.stop(20)

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.store.audit.counts()["deliveries"].get("cards", {})
        return {state: count for state, count in found.items() if count}

    def until(self, **counts: int) -> None:
        wait_until(lambda: self.counts() == counts, 20, lambda: str(self.counts()))

    def card(self, kind: str, number: str) -> Any:
        return json.loads((self.folder / f"{kind}-{number}.json").read_text())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Of the kind that says nothing of itself but what the journey takes."""
    monkeypatch.setitem(DESTINATION_KINDS, "cards", CardSettings)
    monkeypatch.setitem(destinations.KINDS, "cards", cards.made)
    made_here = Site(tmp_path)
    yield made_here
    made_here.store.close()


@pytest.fixture
def catalog(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Of the kind that can be looked into."""
    monkeypatch.setitem(destinations.KINDS, "cards", cards_desk.made)
    return site


def test_it_goes_the_whole_journey(site: Site) -> None:
    site.take_in("E1", "MAD")
    site.take_in("E2", "MAD")
    with site.running():  # report: planned, and nothing written
        site.until(reported=2)
        assert list(site.folder.iterdir()) == []

    site.configure("write")
    with site.running():
        # go-live: it stands still until a person has seen what was reported
        wait_until(
            lambda: site.store.audit.paused() == {"cards": LEAVING_REPORT}, 20, lambda: str(site.store.audit.paused())
        )
        seen: list[str] = []
        plan = go_live.plan(site.store, site.settings, "cards", each=lambda one: seen.append(one.outcome.result.value))
        assert (seen, plan.people, list(site.folder.iterdir())) == (["created", "created"], 2, [])
        go_live.confirm(site.store, site.settings, plan, ANA, WHY)
        site.until(created=2)
        assert site.card(UNIT, "ICU") == {"E1": "always", "E2": "always"}, "one card that both share"

        # an end that is announced: the place in what is shared has it
        site.take_in("E1", "B05", away_until="20270131")
        site.until(created=2, updated=1)
        assert site.card(UNIT, "ICU") == {"E1": "2027-01-31", "E2": "always"}

        # the brake lets one leave, and holds the next until a person decides
        site.take_in("E1", "MDC")
        last = site.take_in("E2", "MDC")
        site.until(created=2, updated=1, deactivated=1, held=1)
        assert (site.card(CARD, "staff-E1"), site.card(CARD, "staff-E2")) == ({"active": False}, {"active": True})
        assert site.card(UNIT, "ICU") == {"E2": "always"}
        [hold] = site.store.holds.holds(limit=10)
        assert (hold.source_key, hold.local) == ("E2", "brake")
        decided = holds.release(site.store, site.settings, holds.Which((hold.id,)), ANA, WHY)
        assert [one.problem for one in decided.holds] == [""]
        site.until(created=2, updated=1, deactivated=2)
        assert (site.card(CARD, "staff-E2"), site.card(UNIT, "ICU")) == ({"active": False}, {})

        # restore: what that delivery wrote is taken back, on the shared card, too, and nothing else
        [restored] = restore.take_back(site.store, site.settings, restore.deliveries_of(site.store, last), ANA, WHY)
        assert (restored.state, restored.problem, restored.complete) == (restore.APPLIED, "", True)
        assert (site.card(CARD, "staff-E2"), site.card(UNIT, "ICU")) == ({"active": True}, {"E2": "always"})
        assert site.card(CARD, "staff-E1") == {"active": False}


def test_whoever_shares_a_unit_shares_a_lane_and_compares(site: Site) -> None:
    site.configure("write")
    there = destination_of(site.settings.destinations["cards"])
    assert isinstance(there, CardDestination)
    with site.running():
        site.take_in("E1", "MAD")
        site.take_in("E2", "MAD")
        site.until(created=2)
    plan = ReconcilePlan(requests_per_second=0.0)
    assert reconcile(site.store, there, plan).found == ()
    (site.folder / f"{CARD}-staff-E1.json").write_text('{"active": true, "note": "by hand"}')
    site.configure("report")
    with site.running():
        site.take_in("E1", "MDC")
        site.until(created=2, reported=1)
    [found] = reconcile(site.store, there, plan).found
    assert (found.kind, found.source_key, found.resource_type) == ("active-at-server", "E1", CARD)
    changes = [site.store.reconciliations.source_person("cards", "staff", key).latest for key in ("E1", "E2")]
    first, second = (set(there.lane_keys(change, "staff")) for change in changes if change)
    assert first & second == {"unit ICU"}
    assert ledger_of(site.store, "cards").written_by(UNIT, "ICU") != ()


def test_a_person_says_whose_a_card_is(catalog: Site) -> None:
    catalog.configure("write")
    store, settings = catalog.store, catalog.settings
    (catalog.folder / f"{CARD}-staff-E7.json").write_text('{"active": true, "name": "Berg, Nils"}')
    (catalog.folder / f"{CARD}-staff-E9.json").write_text('{"active": false}')
    with catalog.running():
        catalog.take_in("E7", "MAD")
        catalog.until(held=1)
        with Candidates(settings) as candidates:
            [unclear] = quarantine.find(store, candidates).rows
            row = unclear.row
            [card] = candidates.of(row)
            assert (card.shown, [fact.text for fact in card.facts]) == ("card staff-E7", ["Berg, Nils", "active"])
            assert unclear.data()["candidates"] == [
                {"id": "staff-E7", "active": True, "name": "Berg, Nils", "linked": False}
            ]
            assert quarantine.duplicates(store, candidates, "cards") == []
            assert quarantine.sharing("cards", candidates.everybody("cards")) == []
            given = (store, settings, candidates)
            for person_id, why_not in (
                ("staff-E8", "there is no card staff-E8 at cards"),
                ("staff-E7", "family name of the record and of that card differ"),
                ("new", "card staff-E7 carries the record's own staff key"),
            ):
                with pytest.raises(ConfigError, match=why_not):
                    linking.link(*given, Decision("staff", "E7", person_id), ANA, WHY)
            file = b"feed,key,practitioner\nstaff,E7,../E7\nstaff,E7,staff-E8\n"
            wrong = linking.link_by_file(*given, file, "decided.csv", ANA, WHY).wrong
            assert [line.split(":")[0] for line in wrong] == ["line 2", "line 3"]
            (catalog.folder / f"{CARD}-staff-E7.json").write_text('{"active": false, "name": "Okonkwo"}')
            row = candidates.refreshed(row)
            assert [fact.text for one in candidates.of(row) for fact in one.facts] == ["Okonkwo", "inactive"]
            done = linking.link(*given, Decision("staff", "E7", "staff-E7"), ANA, WHY, release=True)
            assert (done.released, done.person, done.made[0].person_id) == ((row.id,), "card", "staff-E7")
        catalog.until(updated=1)
    assert catalog.card(CARD, "staff-E7") == {"active": True, "name": "Okonkwo"}
    assert catalog.card(UNIT, "ICU") == {"E7": "always"}


def test_a_card_gets_little_of_what_is_mapped(catalog: Site) -> None:
    feed = catalog.settings.feeds["staff"]
    pmu = HEAD.format(time="20270115080000", type="PMU^B01", id="C1") + "EVN||20270115080000\r"
    message = Message((pmu + STF.format(key="E1", active="A") + "\r").encode(), ("utf-8",))
    found = explain(message, feed_rules(feed), datetime(2027, 1, 15, tzinfo=UTC))
    kept_back = withheld(catalog.settings, feed, found)
    assert {row.element for row in kept_back["cards"]} >= {"Practitioner.name"}
    assert "Practitioner.identifier" not in {row.element for row in kept_back["cards"]}


def test_the_kind_needs_its_own_keys(site: Site) -> None:
    path = site.directory / "conf/destinations/cards.toml"
    path.write_text('kind = "cards"\nbase_url = "https://fhir.example.org"\nfolder = "x"\n')
    with pytest.raises(ConfigError, match='is a key of kind "fhir"'):
        config.load(site.directory, {})


def test_the_doctor_examines_it(catalog: Site, command: Command, tmp_path: Path) -> None:
    """The same command, its document and its support file; what it says is the kind's own."""
    catalog.folder.rmdir()
    missing = command("doctor", "-c", catalog.directory)
    assert (missing.code, "problem  folder: there is no folder" in missing.out) == (3, True)
    assert "cards:  (mode report)\n" in missing.out
    assert "fix:   Make the folder, or correct folder in conf/destinations/cards.toml." in missing.out
    catalog.folder.mkdir()
    (catalog.folder / f"{CARD}-1234567893.json").write_text("{}")
    bundle = tmp_path / "support.zip"
    well = command("doctor", "cards", "--npi", "1234567893", "--bundle", bundle, "--json", "-c", catalog.directory)
    [cards] = well.json["destinations"]
    assert (well.code, cards["name"], [check["code"] for check in cards["checks"]]) == (0, "cards", ["folder", "card"])
    assert "1234567893" in cards["checks"][1]["text"]
    with zipfile.ZipFile(bundle) as opened:
        assert "1234567893" not in opened.read("hl7bridge-support/doctor.json").decode(), (
            "nobody is in the support file"
        )
    looked = command("lookup", "--npi", "1234567893", "--json", "-c", catalog.directory)
    assert (looked.code, looked.json["practitioners"][0]["id"]) == (0, "1234567893")
    assert command("roster", "--json", "-c", catalog.directory).json["people"] == [{"practitioner": {}, "roles": []}]
    assert "No destination asks for a token" in command("token", "test", "-c", catalog.directory).err
    assert "needs no registration" in command("register-help", "cards", "-c", catalog.directory).err
    (catalog.folder / f"{UNIT}-ICU.json").write_text("{")
    assert (command("doctor", "-c", catalog.directory).code) == 1


@pytest.mark.parametrize(
    ("asked", "answer", "code"),
    [
        (["roster"], "destination cards offers no roster", 2),
        (["lookup", "--npi", "1234567893"], "destination cards offers no look-up of people by an identifier", 2),
        (["identity", "duplicates", "--scan"], "destination cards offers no roster", 2),
        (["check"], "good     cards: mode report", 0),
        (["keys", "jwks"], "no destination signs with a key", 2),
        (["token", "test"], "No destination asks for a token", 0),
        (["register-help", "cards"], '"cards" needs no registration. Its kind is cards.', 2),
        (["doctor"], "ok       open: it can be used; more is not examined at this kind of destination", 0),
        (["doctor", "--npi", "1234567893"], "skipped  person: nobody can be looked up at it", 0),
    ],
)
def test_what_a_kind_does_not_offer_is_said(
    site: Site, command: Command, asked: list[str], answer: str, code: int
) -> None:
    ended = command(*asked, *([site.directory] if asked == ["check"] else ["-c", site.directory]))
    assert (answer in ended.out + ended.err, ended.code) == (True, code), ended.out + ended.err


def test_a_kind_says_what_is_to_be_checked_without_a_server(catalog: Site, command: Command) -> None:
    assert "good     cards: 0 cards" in command("check", catalog.directory).out
    assert json.loads(command("keys", "jwks", "-c", catalog.directory).out)["keys"] == [
        {"kid": "of-the-shelf", "kty": "OKP"}
    ]
    catalog.folder.rmdir()
    wrong = command("check", catalog.directory)
    assert (wrong.code, "conf/destinations/cards.toml: folder: is no folder. Make it" in wrong.out) == (2, True)
    refused = command("run", "-c", catalog.directory)
    assert (refused.code, "folder: is no folder" in refused.err) == (2, True), "no child is started again and again"


def test_a_kind_that_examines_nothing_says_whether_it_opens(site: Site, command: Command) -> None:
    site.folder.rmdir()
    ended = command("doctor", "-c", site.directory)
    assert (ended.code, "problem  open: it can't be used" in ended.out) == (3, True)
    assert "fix:   Make it, or name another." in ended.out


def test_nobody_is_linked_where_nobody_can_be_read(site: Site) -> None:
    site.configure("write")
    with site.running():
        site.take_in("E1", "MAD")
        site.until(created=1)
    with Candidates(site.settings) as candidates:
        with pytest.raises(NotOffered, match="offers no way to read a person by their id"):
            linking.link(site.store, site.settings, candidates, Decision("staff", "E1", "staff-E2"), ANA, WHY)
        [one] = [candidates.described("cards", {"id": "staff-E1", "name": "Okonkwo", "active": True})]
        assert (one.shown, [fact.text for fact in one.facts]) == ("staff-E1", ["Okonkwo"])


class Bare(PlainDestination):
    """A kind that says nothing of itself at all."""


def test_a_bare_kind_takes_nothing_back_and_compares_nothing(site: Site) -> None:
    bare: Any = Bare(Policy("bare", mode="write"))
    image = Image(CARD, "1", None, {"active": True})
    taken = bare.take_back(image, ("staff", "E1"), NothingKnown(), datetime.now(UTC), write=True)
    assert (taken.problem, taken.differences) == ("destination bare offers no way to take a write back", ())
    lines: list[tuple[str, str]] = []
    log: Any = SimpleNamespace(info=lambda event, **given: lines.append((event, given["text"])))
    turn: Any = SimpleNamespace(store=site.store, go_on=lambda: True)
    reconcile_job(bare, ReconcilePlan(), log).run(turn)
    assert lines == [("not reconciled", "destination bare offers no comparison with the source")]
    assert bare.look_again(CARD, [Sought("1", "1", ())], lambda number: True) == ({}, None)


def members(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in reversed(kind.__mro__):
        found |= {name: member for name, member in vars(one).items() if not name.startswith("_")}
    return found


def test_the_defaults_are_those_of_the_whole_seam() -> None:
    """Each part but delivering has a default, which is called as the protocol says."""
    seam, given = members(Destination), members(PlainDestination)
    assert set(seam) - set(given) == {"deliver", "rehearsal", "policy"}
    for name in set(seam) & set(given):
        if inspect.isfunction(seam[name]):
            wanted, there = inspect.signature(seam[name]), inspect.signature(given[name])
            assert list(wanted.parameters.values()) == list(there.parameters.values()), name
    assert set(members(DestinationWords)) == set(members(PlainWords))


def test_one_of_each_is_as_found_first_and_left_last() -> None:
    first, other, last = Image("A", "1", {"a": 1}, {"a": 2}), Image("B", "1", None, {}), Image("A", "1", {}, {"a": 3})
    assert one_of_each([first, other, last]) == (other, Image("A", "1", {"a": 1}, {"a": 3}))


def test_every_kind_has_keys_and_a_factory() -> None:
    assert set(DESTINATION_KINDS) == set(destinations.KINDS)
    kinds = DestinationSettings.model_fields["kind"].description or ""
    assert [kind for kind in DESTINATION_KINDS if f"{kind} = " not in kinds] == [], "conf/README.md says what each is"
