"""`reload` and `map preview` against the real service: connections stay, answers change, a mistake changes nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge.store.sqlite import SqliteStore
from tests.bridges import Feed, destination, running_bridge, wait_until, write_configuration
from tests.cli.conftest import Ended
from tests.mapping.building import message, mfe, stf
from tests.mllp_peer import Connection, read_answer

NOWHERE = "http://127.0.0.1:9/fhir"
MAP = '[tables.0183]\nW = "A"\n'


def leave(number: int) -> bytes:
    """Somebody whose STF-7 is the site's own word."""
    raw = message(mfe(key=f"K{number}"), stf(f"K{number}", f7="W"))
    return raw.replace(b"|C1|", b"|C%d|" % number)


def test_a_reload_changes_the_answer_and_keeps_the_connection(
    tmp_path: Path, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "conf"
    with running_bridge(tmp_path, NOWHERE) as bridge:
        first_child = bridge.children()
        with Connection(("127.0.0.1", bridge.ports["staff"])) as connection:
            assert read_answer(connection.ask(leave(1))).code == "AE"

            # the map, named by the feed: previewed, then live
            (conf / "maps").mkdir()
            (conf / "maps" / "site.toml").write_text(MAP)
            feed = conf / "feeds" / "staff.toml"
            plain = feed.read_text()
            feed.write_text('map = "site"\n' + plain)
            previewed = command("map", "preview", "--json", "-c", str(tmp_path))
            assert (previewed.code, previewed.json["looked_at"], len(previewed.json["messages"])) == (1, 1, 1)
            assert previewed.json["counts"]["taken"] == 1
            monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
            declined = command("reload", "-c", str(tmp_path))
            assert (declined.code, declined.err.count("1 of 1 messages would be read differently")) == (1, 1)
            assert read_answer(connection.ask(leave(5))).code == "AE"
            done = command("reload", "--yes", "--json", "-c", str(tmp_path))
            assert (done.code, done.json["accepted"]) == (0, True)
            before, after = done.json["report"]["mappings"]["staff"]
            assert before != after
            assert not done.json["report"]["delivery"]
            assert read_answer(connection.ask(leave(2))).code == "AA"

            # a mistake: it is told, and nothing changes
            (conf / "maps" / "site.toml").write_text(MAP + '\n[fields]\n"STF-9" = { rule = "nonsense" }\n')
            refused = command("reload", "--yes", "--json", "-c", str(tmp_path))
            assert (refused.code, refused.json["accepted"]) == (2, False)
            assert refused.json["report"]["problems"][0].startswith("conf/maps/site.toml:5: fields.STF-9: unknown rule")
            assert read_answer(connection.ask(leave(3))).code == "AA"

            # a port needs a restart; the destination's change does not
            (conf / "maps" / "site.toml").write_text(MAP)
            feed.write_text(
                'map = "site"\n' + plain.replace('"port" = 0', '"port" = 1').replace("port = 0", "port = 1")
            )
            destination = conf / "destinations" / "fhir.toml"
            destination.write_text(destination.read_text().replace('timeout = "3s"', 'timeout = "2s"'))
            partly = command("reload", "--yes", "--json", "-c", str(tmp_path))
            assert (partly.code, partly.json["accepted"]) == (1, True)
            assert partly.json["report"]["restart"] == ["conf/feeds/staff.toml: listener.port"]
            assert partly.json["report"]["delivery"]
            wait_until(
                lambda: bool(bridge.children()) and bridge.children() != first_child,
                20,
                lambda: f"the delivery process is the same: {bridge.log_end()}",
            )
            assert read_answer(connection.ask(leave(4))).code == "AA"

        history = command("reload", "--history", "--json", "-c", str(tmp_path)).json["reloads"]
        assert [row["accepted"] for row in history] == [True, False, True]
        assert all(row["who"] for row in history)
        shown = command("reload", "--history", "-c", str(tmp_path))
        assert shown.out.count("staff: ") == 1
        for changed in ("destinations/fhir.toml: timeout 3 -> 2", "feeds/staff.toml: listener.port 0 -> 1"):
            assert f"conf/{changed}" in history[0]["report"]["changed"]
            assert changed in " ".join(shown.out.split())
        bridge.seen.update(bridge.children())


def test_without_a_service_nobody_answers(tmp_path: Path, command: Callable[..., Ended]) -> None:
    write_configuration(
        tmp_path, [Feed("staff", "urn:uuid:2f9a7c1e-8d36-4f0b-9c55-1b7de2a40c11")], {"fhir": destination(NOWHERE)}
    )
    SqliteStore(tmp_path / "data" / "hl7bridge.sqlite").close()
    ended = command("reload", "--yes", "--wait", "0", "-c", str(tmp_path))
    assert (ended.code, ended.err.count("no service answers")) == (3, 1)
    assert command("reload", "--history", "--json", "-c", str(tmp_path)).json["reloads"] == []
