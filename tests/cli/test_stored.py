"""`msg`, `replay`, `token test`: against a real store and a real FHIR server (the sandbox) on a real socket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from hl7bridge import config
from hl7bridge.assemble.destinations import client_for, destination_rules
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.destinations.fhir.deliver import deliver
from hl7bridge.intake.intake import Intake
from hl7bridge.sandbox import Client, Sandbox, SandboxSettings, create_app
from hl7bridge.store.opening import open_store
from hl7bridge.store.store import DeliveryState, Settlement, Store
from tests.cli.conftest import Ended, Peer, acknowledged, message

Command = Callable[..., Ended]
StartPeer = Callable[[Callable[[bytes], list[bytes] | None]], Peer]
DESTINATION, FEED = "conf/destinations/ehr.toml", "conf/feeds/staff.toml"


class QuietHandler(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Nothing: pytest shows what fails."""


@dataclass
class Server:
    """The sandbox on a port."""

    base_url: str
    sandbox: Sandbox

    def practitioners(self) -> list[dict[str, Any]]:
        return self.sandbox.resources.all("Practitioner")

    def requests(self) -> list[str]:
        return [entry["method"] for entry in self.sandbox.journal.entries() if entry["interaction"] != "token"]


@pytest.fixture
def serve() -> Iterator[Callable[[SandboxSettings], Server]]:
    running = []

    def start(settings: SandboxSettings) -> Server:
        app = create_app(settings)
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
        thread.start()
        running.append((server, thread, app))
        return Server(f"http://127.0.0.1:{server.port}/fhir", app.extensions["sandbox"])

    yield start
    for server, thread, app in running:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions["sandbox"].close()


@pytest.fixture
def server(serve: Callable[[SandboxSettings], Server]) -> Server:
    return serve(SandboxSettings(auth=False))


def point_at(site: Path, base_url: str, mode: str = "write") -> None:
    path = site / DESTINATION
    text = path.read_text().replace("http://127.0.0.1:8480/fhir", base_url)
    path.write_text(text.replace('mode = "report"', f'mode = "{mode}"'))


@pytest.fixture
def ready(site: Path, server: Server) -> Path:
    """A site whose destination is the sandbox, in mode write."""
    point_at(site, server.base_url)
    return site


def take_in(site: Path, *bodies: bytes) -> list[int]:
    """What the listener does with messages, without its sockets."""
    settings = config.load(site, {})
    with_store = open_store(settings.store.path)
    try:
        intake = Intake(feed_policy(settings.feeds["staff"], settings), with_store.audit.secret("duplicates"))
        new = [prepared.new for body in bodies for prepared in intake.prepare(body, "test")]
        return [accepted.message_id for accepted in with_store.inbox.accept([one for one in new if one], time.time())]
    finally:
        with_store.close()


def deliver_all(site: Path) -> None:
    """What the delivery role does with what is queued, once."""
    settings = config.load(site, {})
    destination = settings.destinations["ehr"]
    rules = destination_rules(destination)
    store: Store = open_store(settings.store.path)
    client = client_for(destination, rules)
    try:
        now = time.time()
        store.queue.join("test", 60, now)
        for claimed in store.queue.claim("ehr", "test", 10, now):
            outcome = deliver(
                claimed.change,
                claimed.known,
                claimed.feed,
                rules,
                client,
                partial(store.crosswalk.written_by, "ehr"),
                datetime.now(UTC),
            )
            assert store.settlements.settle([Settlement(claimed, outcome, DeliveryState.ENDED)], now) == []
        store.queue.leave("test", now)
    finally:
        client.close()
        store.close()


@pytest.fixture
def delivered(ready: Path) -> Path:
    """A site with one message that was delivered."""
    assert take_in(ready, message("X1")) == [1]
    deliver_all(ready)
    return ready


BAD = message("X2").replace(b"Okonkwo^Adaeze", b"")


# --- msg -------------------------------------------------------------------------------------------------------------


def test_list_shows_what_came_in(command: Command, delivered: Path) -> None:
    take_in(delivered, BAD)
    ended = command("msg", "list", "--config", delivered)
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines()[1:]]
    assert [(row[0], row[3], row[4], row[5], row[6], row[7]) for row in rows] == [
        ("2", "staff", "X2", "MFN^M02", "refused", "AE"),
        ("1", "staff", "X1", "MFN^M02", "accepted", "AA"),
    ]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), [2, 1]),
        (("--state", "refused"), [2]),
        (("--control-id", "X1"), [1]),
        (("--person", "E100"), [1]),
        (("--feed", "other"), []),
        (("--limit", "1"), [2]),
        (("--since", "1h"), [2, 1]),
    ],
)
def test_list_filters(command: Command, delivered: Path, options: tuple[str, ...], ids: list[int]) -> None:
    take_in(delivered, BAD)
    ended = command("msg", "list", *options, "--json", "--config", delivered)
    assert ended.code == 0
    assert ended.json["schema"] == "msg-list/1"
    assert [row["id"] for row in ended.json["messages"]] == ids
    for row in ended.json["messages"]:
        assert datetime.fromisoformat(row["received"]).tzinfo is not None


@pytest.mark.parametrize("options", [("--state", "good"), ("--since", "yesterday"), ("--limit", "0")])
def test_list_refuses_what_it_does_not_know(command: Command, ready: Path, options: tuple[str, ...]) -> None:
    assert command("msg", "list", *options, "--config", ready).code == 2


def test_without_a_store(command: Command, ready: Path) -> None:
    for arguments in (("msg", "list"), ("msg", "show", "1"), ("replay", "1"), ("replay", "1", "--dry-run")):
        ended = command(*arguments, "--config", ready)
        assert ended.code == 2
        assert ended.err.count("\n") == 1
    assert list((ready / "data").iterdir()) == [], "looking must not make a store"


def test_show_tells_the_whole_story_of_a_message(command: Command, delivered: Path, server: Server) -> None:
    ended = command("msg", "show", 1, "--config", delivered)
    assert ended.code == 0
    person = server.practitioners()[0]["id"]
    assert f"-> ehr: created  Practitioner/{person}" in ended.out
    assert '+ name[0]: {"use":"official","family":"Okonkwo","given":["Adaeze"]}  <- STF-3' in ended.out
    assert "acknowledgment  original    AA" in ended.out
    assert "delivery 1 ended" in ended.out
    assert "MSH|" not in ended.out, "the text is shown on request alone"
    raw = command("msg", "show", 1, "--raw", "--config", delivered).out
    assert "    STF|E100|E100^^^NORTH^EI|Okonkwo^Adaeze" in raw


def test_show_finds_a_message_by_its_control_id(command: Command, delivered: Path) -> None:
    first = command("msg", "show", 1, "--config", delivered).out
    assert command("msg", "show", "X1", "--config", delivered).out == first
    take_in(delivered, message("1"), message("1").replace(b"Adaeze", b"Ada"), message("0042"))
    assert command("msg", "show", "1", "--config", delivered).out == first, "an id is an id first"
    newest = command("msg", "show", "0042", "--config", delivered)
    assert "message 4" in newest.out
    assert newest.err == ""
    take_in(delivered, message("X1").replace(b"Adaeze", b"Ada"))
    several = command("msg", "show", "X1", "--config", delivered)
    assert "message 5" in several.out
    assert "there are also 1." in several.err
    assert command("msg", "show", "nobody", "--config", delivered).code == 2


def test_show_says_what_was_answered(command: Command, delivered: Path) -> None:
    take_in(delivered, BAD)
    answers = command("msg", "show", 1, "--json", "--config", delivered).json["acknowledgments"]
    assert [one["code"] for one in answers] == ["AA"]
    assert answers[0]["text"].startswith("stored, delivery pending; STF-2 103 ")
    assert "stored, delivery pending" in command("msg", "show", 1, "--config", delivered).out
    raw = command("msg", "show", 2, "--raw", "--config", delivered).out
    assert "text of the acknowledgment, original\n    MSH|" in raw
    assert "    MSA|AE|" in raw


def test_view_shows_a_stored_message(command: Command, delivered: Path, tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(message("X1"))
    of_the_file = command("view", tmp_path / "a.hl7").out
    assert command("view", "1", "--config", delivered).out == of_the_file
    assert command("view", "99", "--config", delivered).code == 2


def test_list_says_that_there_is_more_and_that_a_feed_is_not_there(command: Command, delivered: Path) -> None:
    take_in(delivered, BAD)
    assert "The newest 1 only" in command("msg", "list", "--limit", 1, "--config", delivered).err
    assert command("msg", "list", "--limit", 2, "--config", delivered).err == ""
    said = command("msg", "list", "--feed", "other", "--config", delivered).err
    assert said == 'No message fits. There is no feed "other" in conf/feeds.\n'


def test_times_in_json_are_iso_8601(command: Command, delivered: Path) -> None:
    listed = command("msg", "list", "--json", "--config", delivered).json["messages"][0]
    shown = command("msg", "show", 1, "--json", "--config", delivered).json
    assert shown["received"] == listed["received"]
    [delivery] = shown["records"][0]["deliveries"]
    assert delivery["ended"][:10] == listed["received"][:10]
    assert delivery["next_attempt"] == ""
    assert delivery["tried"][0]["at"].endswith("+00:00")
    assert all(row["at"].endswith("+00:00") for row in shown["history"])


def test_show_as_json(command: Command, delivered: Path) -> None:
    document = command("msg", "show", 1, "--json", "--config", delivered).json
    assert document["schema"] == "msg-show/1"
    assert document["records"][0]["deliveries"][0]["result"] == "created"
    assert "body" not in document
    assert all("body" not in answer for answer in document["acknowledgments"])
    document = command("msg", "show", 1, "--json", "--raw", "--config", delivered).json
    assert document["body"].encode() == message("X1")
    assert document["acknowledgments"][0]["body"].startswith("MSH|")


def test_show_ends_with_4_while_something_is_queued(command: Command, ready: Path) -> None:
    take_in(ready, message("X1"))
    ended = command("msg", "show", 1, "--config", ready)
    assert ended.code == 4
    assert "-> ehr: queued" in ended.out


def test_show_says_why_a_record_was_not_taken(command: Command, ready: Path) -> None:
    take_in(ready, BAD)
    ended = command("msg", "show", 1, "--config", ready)
    assert "E STF-3.1: family-name-missing" in ended.out
    assert command("msg", "show", 99, "--config", ready).code == 2


# --- replay ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_reads_and_writes_nothing(command: Command, delivered: Path, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "new.hl7"
    file.write_bytes(message("X9").replace(b"Adaeze", b"Adaobi"))
    before = server.requests()
    ended = command("replay", file, "--dry-run", "--config", delivered)
    assert ended.code == 0
    assert "update Practitioner/" in ended.out
    assert "Adaobi" in ended.out
    assert "<- STF-3" in ended.out
    assert set(server.requests()[len(before) :]) == {"GET"}
    assert [row["id"] for row in command("msg", "list", "--json", "--config", delivered).json["messages"]] == [1]


def test_a_dry_run_knows_what_the_feed_wrote(command: Command, delivered: Path) -> None:
    document = command("replay", "1", "--dry-run", "--json", "--config", delivered).json
    assert document["schema"] == "replay-dry-run/1"
    [planned] = document["messages"][0]["records"][0]["destinations"]
    assert (planned["destination"], planned["result"]) == ("ehr", "reported")
    assert planned["person_id"]
    assert {one["kind"] for one in planned["interactions"]} == {"none"}


def test_a_dry_run_of_what_cannot_be_mapped(command: Command, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.hl7").write_bytes(BAD)
    (tmp_path / "junk.hl7").write_bytes(b"junk")
    ended = command("replay", tmp_path / "bad.hl7", "--dry-run", "--config", ready)
    assert ended.code == 1
    assert "family-name-missing" in ended.out
    ended = command("replay", tmp_path / "junk.hl7", "--dry-run", "--config", ready)
    assert ended.code == 1
    assert "does not begin with an MSH segment" in ended.out


def test_a_dry_run_without_the_server(command: Command, site: Path, tmp_path: Path) -> None:
    point_at(site, "http://127.0.0.1:9/fhir")
    (tmp_path / "a.hl7").write_bytes(message())
    ended = command("replay", tmp_path / "a.hl7", "--dry-run", "--config", site)
    assert ended.code == 3
    assert "unreachable" in ended.out


def test_a_stored_message_is_translated_and_queued_again(command: Command, delivered: Path) -> None:
    ended = command("replay", "1", "--wait", "0", "--json", "--config", delivered)
    assert ended.code == 4, "nobody delivers in this test"
    document = ended.json
    assert (document["schema"], document["replay_of"], document["read_differently"]) == ("replay/1", 1, [])
    again = document["message"]
    assert (again["id"], again["replay_of"], again["duplicate_of"]) == (2, 1, 0)
    deliver_all(delivered)
    shown = command("msg", "show", 2, "--config", delivered)
    assert shown.code == 0
    assert "-> ehr: unchanged" in shown.out
    assert "replay of 1" in shown.out


def test_a_replay_under_another_mapping_shows_what_is_read_differently(command: Command, delivered: Path) -> None:
    with (delivered / FEED).open("a") as file:
        file.write('\n[tables.0001]\nF = "M"\n')
    ended = command("replay", "1", "--wait", "0", "--config", delivered)
    assert "read differently" in ended.out
    assert '"female"' in ended.out
    assert '"male"' in ended.out


def test_what_a_later_message_has_overtaken_is_sent_by_force_alone(command: Command, delivered: Path) -> None:
    later = message("X3").replace(b"20260301120000", b"20260302120000").replace(b"Adaeze", b"Adaobi")
    take_in(delivered, later)
    deliver_all(delivered)
    assert command("replay", "1", "--wait", "0", "--config", delivered).code == 4
    deliver_all(delivered)
    assert "-> ehr: stale" in command("msg", "show", 3, "--config", delivered).out
    assert command("replay", "1", "--force", "--wait", "0", "--config", delivered).code == 4
    deliver_all(delivered)
    assert "-> ehr: updated" in command("msg", "show", 4, "--config", delivered).out


def test_a_file_goes_through_the_feeds_listener(command: Command, site: Path, tmp_path: Path, peer: StartPeer) -> None:
    other = peer(lambda body: [acknowledged(body)])
    (tmp_path / "a.hl7").write_bytes(message("F1"))
    ended = command("replay", tmp_path / "a.hl7", "--config", site)
    assert ended.code == 2
    assert "the system chooses the port" in ended.err
    (site / FEED).write_text((site / FEED).read_text().replace("port = 0", f"port = {other.port}"))
    assert command("replay", tmp_path / "a.hl7", "--config", site).code == 0
    assert command("replay", tmp_path / "a.hl7", "--to", f"127.0.0.1:{other.port}", "--config", site).code == 0
    assert other.received == [message("F1")] * 2


def test_with_several_feeds_one_must_be_named(command: Command, site: Path, tmp_path: Path) -> None:
    (site / "conf/feeds/agency.toml").write_text((site / FEED).read_text())
    (tmp_path / "a.hl7").write_bytes(message())
    ended = command("replay", tmp_path / "a.hl7", "--config", site)
    assert ended.code == 2
    assert "agency, staff" in ended.err
    assert command("replay", tmp_path / "a.hl7", "--feed", "none", "--config", site).code == 2


def test_a_stored_message_is_explained(command: Command, delivered: Path) -> None:
    ended = command("map", "explain", "1", "--config", delivered)
    assert ended.code == 0
    assert ended.out.startswith("message 1\n")
    assert "Okonkwo^Adaeze" in ended.out
    assert command("map", "explain", "99", "--config", delivered).code == 2


# --- token test ------------------------------------------------------------------------------------------------------


@pytest.fixture
def smart(command: Command, site: Path, serve: Callable[[SandboxSettings], Server]) -> Path:
    """A site with a key that the sandbox knows."""
    key = site / "keys" / "ehr.pem"
    command("keys", "generate", key)
    jwks = json.loads(command("keys", "jwks", key).out)
    server = serve(SandboxSettings(clients=(Client("hl7bridge", jwks),)))
    point_at(site, server.base_url, "report")
    path = site / DESTINATION
    new = 'type = "smart"\nclient_id = "hl7bridge"\nkey = "file:keys/ehr.pem"'
    path.write_text(path.read_text().replace('type = "none"', new))
    return site


def test_a_token_is_got_and_never_shown(command: Command, smart: Path) -> None:
    ended = command("token", "test", "--config", smart, "--json")
    assert ended.code == 0, ended
    [result] = ended.json["destinations"]
    assert result["granted_scopes"] == ["system/Practitioner.read", "system/PractitionerRole.read"]
    assert result["missing_scopes"] == []
    assert result["seconds"] > 0
    assert "access_token" not in ended.out
    human = command("token", "test", "ehr", "--config", smart)
    assert human.code == 0
    assert human.out.startswith("ehr: a token for ")


def test_no_token_lists_likely_causes(command: Command, smart: Path) -> None:
    path = smart / DESTINATION
    path.write_text(path.read_text().replace('client_id = "hl7bridge"', 'client_id = "stranger"'))
    ended = command("token", "test", "--config", smart)
    assert ended.code == 3
    assert "invalid_client" in ended.err
    assert "Likely causes:" in ended.err
    assert "client id" in ended.err
    assert ended.out == ""


def test_nobody_at_the_token_endpoint(command: Command, smart: Path) -> None:
    path = smart / DESTINATION
    path.write_text(path.read_text().replace('# token_url = ""', 'token_url = "http://127.0.0.1:9/token"'))
    ended = command("token", "test", "--config", smart)
    assert ended.code == 3
    assert "firewall" in ended.err


def test_a_destination_that_is_not_there_or_asks_for_none(command: Command, site: Path) -> None:
    assert command("token", "test", "nobody", "--config", site).code == 2
    ended = command("token", "test", "--config", site)
    assert ended.code == 0
    assert "No destination asks for a token" in ended.err
