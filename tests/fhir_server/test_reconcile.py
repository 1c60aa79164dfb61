"""Drift on a server that others wrote: `reconcile` lists exactly what was seeded, and `roster` everybody, reads only."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from hl7bridge.cli.main import main
from tests.bridges import Feed, running_bridge
from tests.hapi.observer import Observer
from tests.hapi.proxy import Proxy
from tests.hapi.roster import BLOCK, FEED_SETTINGS, Member, message, roster
from tests.journey import ask

COUNT = 60


def test_exactly_the_seeded_drift(
    proxy: Proxy,
    observer: Observer,
    key_system: str,
    block: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    people = roster(COUNT, seed=block, block=block)
    assert COUNT <= BLOCK
    feed = Feed("staff", key_system, settings=FEED_SETTINGS)
    with running_bridge(tmp_path, proxy.base_url, feeds=[feed], to={"timeout": "20s"}) as bridge:

        def send(control_id: str, day: int, action: str, *members: Member) -> None:
            assert ask(bridge, message(control_id, day, [(action, member) for member in members])).code == "AA"
            bridge.wait_delivered(120)

        send(f"load-{block}", 0, "MAD", *people)
        leavers = people[:3]
        for member in leavers:
            member.active = False
        send(f"leave-{block}", 1, "MDC", *leavers)

        def reconciled(*options: str) -> tuple[int, Counter[tuple[str, str, tuple[str, ...]]]]:
            capsys.readouterr()
            code = main(["reconcile", "--json", "--config", str(tmp_path), *options])
            found = json.loads(capsys.readouterr().out)
            assert found["problem"] == ""
            assert found["people"] == COUNT
            return code, Counter(
                (one["kind"], one["source_key"], tuple(sorted(field["path"] for field in one["fields"])))
                for one in found["differences"]
            )

        assert reconciled() == (0, Counter())

        def of(member: Member) -> dict[str, object]:
            [practitioner] = observer.with_npi([member.npi])
            return practitioner

        place = len(proxy.passed)
        observer.put({**of(people[0]), "active": True})
        changed = of(people[10])
        observer.put({**changed, "gender": "unknown", "photo": [{"title": "theirs"}]})
        observer.put({**of(people[11]), "active": False})
        observer.put({**of(people[12]), "photo": [{"title": "theirs"}]})
        [role] = observer.roles_of([of(people[13])])
        observer.put({**role, "active": False})
        gone = of(people[14])
        for one in (*observer.roles_of([gone]), gone):
            assert observer.send("DELETE", f"/{one['resourceType']}/{one['id']}").is_success
        stranger = {"resourceType": "Practitioner", "active": True, "name": [{"family": "Stranger"}]}
        observer.post({**stranger, "identifier": [{"system": key_system, "value": "X1"}]})

        expected = Counter(
            [
                ("active-at-server", people[0].key, ("active",)),
                ("changed", people[10].key, ("gender",)),
                ("inactive-at-server", people[11].key, ("active",)),
                ("role-inactive-at-server", people[13].key, ("active",)),
                ("gone", people[14].key, ()),
            ]
        )
        assert reconciled() == (1, expected)
        assert reconciled("--scan") == (1, expected + Counter([("extra", "X1", ())]))

        out = tmp_path / "people.jsonl"
        assert main(["roster", "--active", "--out", str(out), "--config", str(tmp_path)]) == 0
        listed = {json.loads(line)["id"] for line in out.read_text().splitlines()}
        assert {of(member)["id"] for member in people[15:]} <= listed
        assert of(people[1])["id"] not in listed
        assert {passed.asked.method for passed in proxy.since(place)} == {"GET"}
