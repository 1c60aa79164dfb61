"""The sandbox as a process, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from hl7bridge.sandbox.journal import read_lines
from tests.sandbox.conftest import STAFF, practitioner
from tests.sandboxes import RunningSandbox, new_keys, running_sandbox

JSON = {"Content-Type": "application/fhir+json"}


@contextlib.contextmanager
def client(sandbox: RunningSandbox, token: str = "") -> Iterator[httpx.Client]:
    headers = JSON | {"Authorization": f"Bearer {token or sandbox.token()}"}
    with httpx.Client(base_url=sandbox.base_url, headers=headers, trust_env=False, timeout=20) as made:
        yield made


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Look again and again until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end


def test_a_client_finds_its_way_from_the_base_url(served: RunningSandbox) -> None:
    configuration = httpx.get(f"{served.base_url}/.well-known/smart-configuration", trust_env=False).json()
    assert configuration["token_endpoint"] == served.token_url
    with client(served) as http:
        made = http.post("Practitioner", json=practitioner("S1"))
        assert made.status_code == 201
        assert made.headers["Location"].startswith(f"{served.base_url}/Practitioner/")
        assert http.get(made.headers["Location"]).json() == made.json()
        found = http.get("Practitioner", params={"identifier": f"{STAFF}|S1"}).json()
        assert found["entry"][0]["fullUrl"] == f"{served.base_url}/Practitioner/{made.json()['id']}"
        names = [name for name, _ in http.get("metadata").headers.multi_items()]
        assert names.count("date") == 1


def test_the_test_sees_and_edits_beside_the_client(served: RunningSandbox) -> None:
    made = served.post(practitioner("S1"))
    edited = served.put(made | {"active": False})
    assert edited["meta"]["versionId"] == "2"
    assert served.get("Practitioner", made["id"]) == edited
    assert served.search("Practitioner", identifier="S1") == [edited] == served.all("Practitioner")
    served.delete("Practitioner", made["id"])
    assert served.all("Practitioner") == []
    since = served.state()["sequence"] - 1
    assert [entry["method"] for entry in served.journal(since)] == ["DELETE"]


@pytest.mark.parametrize(
    ("close", "error"), [("reset", httpx.ReadError), ("end", httpx.RemoteProtocolError)], ids=["reset", "end"]
)
def test_a_lost_reply_is_done_and_the_connection_closes(
    served: RunningSandbox, close: str, error: type[Exception]
) -> None:
    with client(served) as http:
        assert http.get("Practitioner").status_code == 200
        served.fault("lost-reply", on=["write"], times=1, close=close)
        with pytest.raises(error):
            http.post("Practitioner", json=practitioner("S1"))
        served.fault("lost-request", on=["write"], times=1, close=close)
        with pytest.raises(error):
            http.post("Practitioner", json=practitioner("S2"))
        assert [item["identifier"][0]["value"] for item in served.all("Practitioner")] == ["S1"]
        assert http.get("Practitioner").json()["total"] == 1
    struck = [entry for entry in served.journal() if entry.get("answered") is False]
    assert [entry.get("stored") is not None for entry in struck[-2:]] == [True, False]


def test_a_lost_reply_sends_no_byte(served: RunningSandbox) -> None:
    served.fault("lost-reply", on=["write"], times=1, close="end")
    body = json.dumps(practitioner("S1")).encode()
    head = (
        f"POST /fhir/Practitioner HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {served.token()}\r\n"
        f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as peer:
        peer.sendall(head.encode() + body)
        assert peer.recv(4096) == b""
    assert len(served.all("Practitioner")) == 1


def test_a_reply_that_comes_too_late_for_the_client(served: RunningSandbox) -> None:
    with client(served) as http:
        served.fault("lost-reply", on=["write"], times=1, seconds=30)
        with pytest.raises(httpx.ReadTimeout):
            http.post("Practitioner", json=practitioner("S1"), timeout=0.2)
        until(lambda: served.all("Practitioner"))
        assert http.get("Practitioner?identifier=S1").json()["total"] == 1


def test_a_status_strikes_the_next_three_writes(served: RunningSandbox) -> None:
    with client(served) as http:
        served.fault("status", on=["write"], status=503, times=3)
        statuses = [http.post("Practitioner", json=practitioner(f"S{n}")).status_code for n in range(5)]
        assert statuses == [503, 503, 503, 201, 201]


def test_revoked_tokens_and_a_failing_token_endpoint(served: RunningSandbox) -> None:
    with client(served) as http:
        assert http.get("Practitioner").status_code == 200
        served.revoke_tokens()
        answer = http.get("Practitioner")
        assert (answer.status_code, "invalid_token" in answer.headers["WWW-Authenticate"]) == (401, True)
    served.fault("status", on=["token"], status=503, times=1)
    with pytest.raises(AssertionError, match="503"):
        served.token()
    assert served.token()


def test_a_wrong_clock_is_seen_in_the_date(served: RunningSandbox) -> None:
    served.habits(clock_offset=-600)
    first = httpx.get(f"{served.base_url}/metadata", trust_env=False).headers
    served.clear()
    second = httpx.get(f"{served.base_url}/metadata", trust_env=False).headers
    assert first.get_list("date") != second.get_list("date")
    assert len(first.get_list("date")) == 1


def test_if_none_exist_at_once_makes_one_of_each(served: RunningSandbox) -> None:
    token = served.token()
    start = threading.Barrier(8)

    def create_all(_: int) -> list[int]:
        with client(served, token) as http:
            start.wait(20)
            return [
                http.post(
                    "Practitioner", json=practitioner(f"S{n}"), headers={"If-None-Exist": f"identifier={STAFF}|S{n}"}
                ).status_code
                for n in range(20)
            ]

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(status for row in pool.map(create_all, range(8)) for status in row)
    assert statuses == {201: 20, 200: 140}
    values = Counter(item["identifier"][0]["value"] for item in served.all("Practitioner"))
    assert values == {f"S{n}": 1 for n in range(20)}


def test_updates_at_once_are_all_counted_and_the_journal_has_their_order(served: RunningSandbox) -> None:
    made = served.post(practitioner("S1"))
    token = served.token()

    def update(worker: int) -> None:
        with client(served, token) as http:
            for n in range(15):
                body = made | {"extension": [{"url": "urn:x:n", "valueInteger": worker * 100 + n}]}
                assert http.put(f"Practitioner/{made['id']}", json=body).status_code == 200

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(update, range(4)))
    stored = [entry for entry in served.journal() if entry.get("changed") and entry["id"] == made["id"]]
    assert [entry["stored"]["meta"]["versionId"] for entry in stored] == [str(n + 1) for n in range(61)]
    assert served.get("Practitioner", made["id"]) == stored[-1]["stored"]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    acknowledged: dict[str, str] = {}
    keys = new_keys(tmp_path)
    with running_sandbox(tmp_path, keep=True, keys=keys) as first:
        with client(first) as http:

            def create(worker: int) -> None:
                with contextlib.suppress(httpx.TransportError):
                    for n in range(1000):
                        made = http.post("Practitioner", json=practitioner(f"S{worker}-{n}"))
                        acknowledged[made.json()["id"]] = made.text
                        if len(acknowledged) == 60:
                            first.process.kill()

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(create, range(4)))
        first.kill()
        assert len(acknowledged) >= 60
    with running_sandbox(tmp_path, keep=True, keys=keys) as second, client(second) as http:
        standing = {item["id"]: item for item in second.all("Practitioner")}
        for name, text in acknowledged.items():
            assert http.get(f"Practitioner/{name}").text == text
        made = second.post(practitioner("later"))
        assert made["id"] not in standing
        assert second.put(standing["1000"] | {"active": True})["meta"]["versionId"] == "2"
    journal = list(read_lines(tmp_path / "journal.jsonl"))
    assert [entry["sequence"] for entry in journal] == list(range(1, len(journal) + 1))
    told = [entry["stored"]["id"] for entry in journal if entry["interaction"] == "create" and "stored" in entry]
    assert sorted(told) == sorted({*standing, made["id"]})


def test_it_ends_quickly_and_cleanly(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "a", "--fault", '{"kind": "latency", "seconds": 600}', auth=False) as sandbox:
        with ThreadPoolExecutor(1) as pool, httpx.Client(trust_env=False, timeout=30) as http:
            waiting = pool.submit(http.get, f"{sandbox.base_url}/Practitioner")
            until(lambda: sandbox.state()["faults"][0]["struck"])
            assert sandbox.stop() == 0
            # What was in progress was answered, and the port is free again.
            assert waiting.result().status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{sandbox.base_url}/metadata", trust_env=False)
    assert (tmp_path / "a" / "sandbox.log").read_text() == ""
    with running_sandbox(tmp_path / "b", auth=False) as sandbox:
        assert sandbox.process.stdin is not None
        sandbox.process.stdin.close()
        assert sandbox.process.wait(10) == 0
    assert (tmp_path / "b" / "sandbox.log").read_text() == ""


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "hl7bridge.cli.tools.sandbox", "--no-auth", "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"hl7bridge sandbox: port: cannot listen on 127.0.0.1 port {port}")
    assert len(ended.stderr.splitlines()) == 1
