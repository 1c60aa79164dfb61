"""`map unmapped` and `map explain --plan`: against a real store and a real FHIR server (the sandbox)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hl7bridge.desk.mapping.unmapped import AUTHORITIES, Unmapped, to_paste
from tests.cli import test_stored
from tests.cli.conftest import Ended, message
from tests.cli.test_stored import Server, take_in

Command = Callable[..., Ended]
serve, server, ready = test_stored.serve, test_stored.server, test_stored.ready


def with_codes(control_id: str) -> bytes:
    """Its STF-2 names an authority, and STF-10 a use, that no table knows."""
    return message(control_id).replace(b'|A|""\r', b'|A|""||5551234^QQQ~5559999^QQQ\r')


def test_codes_that_nobody_knows_are_counted_and_done_once_they_are_mapped(command: Command, site: Path) -> None:
    first, second = take_in(site, with_codes("X1"), with_codes("X2"))
    told = command("map", "unmapped", "--config", site, "--json")
    assert told.code == 0
    found = {one["code"]: one for one in told.json["unmapped"]}
    north, use = found["NORTH"], found["QQQ"]
    assert (north["table"], north["field"], north["count"], north["lost"]) == ("authorities", "STF-2", 2, True)
    assert (use["table"], use["field"], use["count"], use["example"]) == ("0201", "STF-10", 4, second)
    assert tomllib.loads(use["line"]) == {"tables": {"0201": {"QQQ": "..."}}}
    assert north["first"] <= north["last"]
    shown = command("map", "unmapped", "--config", site)
    pasted = tomllib.loads(shown.out[shown.out.index("# for conf/feeds/staff.toml") :])
    assert pasted["tables"]["0201"]["QQQ"] == "..."
    assert pasted["authorities"]["NORTH"] == "urn:oid:..."
    feed = site / "conf/feeds/staff.toml"
    feed.write_text(feed.read_text().replace("[authorities]\n", '[authorities]\nNORTH = "urn:oid:1.2.3"\n'))
    feed.write_text(feed.read_text() + '\n[tables.0201]\nQQQ = "work"\n')
    later = command("map", "unmapped", "--config", site)
    assert "NORTH" not in later.out
    assert "QQQ" not in later.out
    done = {one["code"]: one for one in command("map", "unmapped", "--all", "-c", site, "--json").json["unmapped"]}
    assert done["NORTH"]["mapped"]
    assert done["QQQ"]["mapped"]
    assert (done["NORTH"]["line"], done["QQQ"]["table"]) == ("", "0201")
    assert first < second


def test_only_what_was_asked_for_is_looked_at(command: Command, site: Path) -> None:
    take_in(site, with_codes("X1"), with_codes("X2"))
    newest = command("map", "unmapped", "--config", site, "--limit", 1, "--since", "1d", "--json").json
    assert newest["looked_at"] == 1
    assert {one["count"] for one in newest["unmapped"] if one["code"] == "NORTH"} == {1}
    assert command("map", "unmapped", "--config", site, "--feed", "none").code == 2


def test_explain_shows_the_plan_and_writes_nothing(command: Command, ready: Path, server: Server) -> None:
    [message_id] = take_in(ready, message("X1"))
    ended = command("map", "explain", message_id, "--plan", "--config", ready)
    assert ended.code == 0
    assert "-> ehr: reported" in ended.out
    assert server.practitioners() == []
    told = command("map", "explain", message_id, "--plan", "--config", ready, "--json").json
    [document] = told["plans"]
    assert document["records"][0]["destinations"][0]["interactions"][0]["kind"] == "create"


def test_explain_with_a_plan_needs_a_server(command: Command, site: Path) -> None:
    test_stored.point_at(site, "http://127.0.0.1:9/fhir")
    [message_id] = take_in(site, message("X1"))
    assert command("map", "explain", message_id, "--plan", "--config", site).code == 3


@given(codes=st.lists(st.tuples(st.sampled_from(["0201", "0186", AUTHORITIES]), st.text(min_size=1)), unique=True))
def test_what_is_to_paste_is_toml_whatever_the_code(codes: list[tuple[str, str]]) -> None:
    found = [Unmapped("staff", table, code, "STF-10", True, False, 1, 0.0, 0.0, 1) for table, code in codes]
    pasted = tomllib.loads("\n".join(to_paste(found)))
    tables = {**pasted.get("tables", {}), AUTHORITIES: pasted.get(AUTHORITIES, {})}
    assert {(table, code) for table, entries in tables.items() for code in entries} == set(codes)
    for one in found:
        assert tomllib.loads(one.line)
