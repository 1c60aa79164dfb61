"""No content leaks: canaries stand in every field of the messages, in whatever a FHIR server can say, and in tokens.

A real bridge at log level debug, a sandbox, and a loud FHIR server that shouts canaries in each answer. Then everything
that people or machines read without asking for a person is searched for them: logs, answers, file names, arguments of
processes, texts of errors, outcomes, tasks and history. What stands in an ADT message may be in no file at all.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from hl7bridge.errors import Hl7BridgeError
from hl7bridge.hl7.message import Message, read_header
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages import staff
from hl7bridge.store.sqlite.driver import sqlite3
from tests.bridges import Bridge, Feed, destination, running_bridge, smart_keys, wait_until, write_configuration
from tests.journey import KEY_SYSTEM
from tests.mllp_peer import END, START, Connection
from tests.sandboxes import running_sandbox

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
_number = itertools.count(100)


class Canaries:
    """Words that occur nowhere else, and where each was planted."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.planted: dict[bytes, str] = {}

    def new(self, place: str) -> str:
        letters = "".join("abcdefghij"[int(digit)] for digit in str(next(_number)))  # many digits are no name
        word = f"Zq{self.kind}{letters}kv"
        self.planted[word.encode()] = place
        return word

    def found_in(self, content: bytes) -> set[str]:
        read = set(re.findall(rf"zq{self.kind}[a-j]+kv".encode(), content.lower()))
        if not read:
            return set()
        words = {word.lower(): (word, place) for word, place in self.planted.items()}
        found = read & words.keys()
        return {f"{words[one][0].decode()} of {words[one][1]}" for one in found}


SECRET = Canaries("s")  # content of staff messages: nowhere but in the store, and at the FHIR server
ECHOED = Canaries("e")  # header, MFI and MFE: also in acknowledgments
SERVER = Canaries("f")  # what a FHIR server says
PATIENT = Canaries("p")  # ADT, and what can't be told apart from it: in no file


# --- messages --------------------------------------------------------------------------------------------------------

FIELDS = {"STF": 40, "PRA": 12, "ORG": 13, "AFF": 5, "EDU": 9, "CER": 31, "LAN": 4, "NTE": 4, "ZHR": 6}
FIXED = {
    "STF-7": "A", "STF-4": "P", "ORG-1": "1", "AFF-1": "1", "EDU-1": "1", "CER-1": "1", "LAN-1": "1",
    "STF-10": "^WPN^PH^^^^^^^^^{0}~^PRN^PH^^^^^^^^^{1}~^NET^Internet^{2}@example.org",
    "STF-3": "{0}^{1}^{2}^^{3}^{4}", "STF-11": "{0}^{1}^{2}^{3}^{4}^^O", "STF-2": "{0}^^^{1}&{2}&ISO^EI~{3}^^^{4}^SS",
    "PRA-6": "{0}^DEA~{1}^{2}", "STF-6": "19070319", "STF-5": "F", "STF-15": "{0}@example.org",
    "EDU-5": "20010101", "STF-12": "20190101^{0}", "STF-13": "", "STF-29": "", "STF-32": "", "STF-37": "", "STF-38": "",
}  # fmt: skip


def header(event: str, control_id: str, canaries: Canaries, mode: str = "") -> str:
    plant = [canaries.new(f"MSH-{number}") for number in (3, 4, 5, 6, 8)]
    return (
        f"MSH|^~\\&|{plant[0]}|{plant[1]}|{plant[2]}|{plant[3]}|20260302080000+0000|{plant[4] if mode else ''}|{event}"
        f"|{control_id}|P|2.5.1|||{mode}||UNICODE UTF-8"
    )


def segment(name: str, key: str, canaries: Canaries, **given: str) -> str:
    """A segment whose every field holds a canary, but for those that would not be read with one."""
    fields = []
    for number in range(1, FIELDS.get(name, 8) + 1):
        place = f"{name}-{number}"
        text = given.get(f"f{number}", FIXED.get(place, "{0}"))
        fields.append(text.format(*(canaries.new(place) for _ in range(5))))
    if name in ("STF", "PRA"):
        fields[0] = key
    return "|".join([name, *fields])


def staff_message(key: str, *, event: str = "MAD", mode: str = "", **given: str) -> bytes:
    """An MFN^M02 with a canary in each field of each segment that is read, and of some that nobody knows."""
    lines = [
        header("MFN^M02^MFN_M02", ECHOED.new("MSH-10"), ECHOED, mode),
        f"MFI|PRA^{ECHOED.new('MFI-1')}|{ECHOED.new('MFI-2')}|UPD|||AL",
        f"MFE|{event}|{ECHOED.new('MFE-2')}||{key}|CWE",
        *(segment(name, key, SECRET, **(given if name == "STF" else {})) for name in FIELDS),
    ]
    return ("\r".join(lines) + "\r").encode()


def adt(event: str = "ADT^A08^ADT_A01") -> bytes:
    lines = [header(event, PATIENT.new("MSH-10"), PATIENT)]
    lines += [segment(name, "", PATIENT) for name in ("EVN", "PID", "PD1", "PV1", "NK1", "ZPI")]
    return ("\r".join(lines) + "\r").encode()


def visit(event: str = "A01") -> bytes:
    """A patient message with a physician who is read: of everything beside them nothing may stay."""
    physician = "1234567893^Okonkwo^Adaeze^^^^^^^^^^NPI"
    lines = adt(f"ADT^{event}^ADT_A01").decode().split("\r")
    lines[4] = segment("PV1", "", PATIENT, f7=f"{physician}~{{0}}^{{1}}^{{2}}", f9="{0}^{1}^{2}^^^^^^{3}")
    lines.insert(5, segment("ROL", "", PATIENT, f2="AD", f4=physician))
    return "\r".join(lines).encode()


def cut(body: bytes) -> bytes:
    return body[:200] + b"\x0b" + body[200:]


UNTOLD: list[Callable[[], bytes]] = [
    adt,
    lambda: adt("ZZZ^Z01"),
    lambda: adt("").replace(b"|P|2.5.1", b"|T|9"),
    lambda: cut(adt()),
    lambda: adt() + b"\xff\xfe",
    lambda: adt().replace(b"MSH|", b"msh|"),
    lambda: PATIENT.new("no HL7").encode() * 3,
    lambda: adt() + b"NTE|1||" + PATIENT.new("a long note").encode() * 20_000,
    lambda: b"\x1b$B" + adt(),
]


# --- a loud server ---------------------------------------------------------------------------------------------------


def outcome(code: str) -> bytes:
    issue = {
        "severity": "error",
        "code": code,
        "diagnostics": SERVER.new("diagnostics"),
        "expression": ["Practitioner"],
    }
    issue["details"] = {"text": SERVER.new("details"), "coding": [{"code": SERVER.new("details.code")}]}
    return json.dumps({"resourceType": "OperationOutcome", "id": SERVER.new("outcome id"), "issue": [issue]}).encode()


def somebody(number: int, key: str) -> dict[str, object]:
    return {
        "resourceType": "Practitioner",
        "id": f"p{number}",
        "extension": [{"url": "urn:x", "valueString": SERVER.new("extension")}],
        "identifier": [{"system": KEY_SYSTEM, "value": key}],
        "name": [{"family": SERVER.new("family"), "text": SERVER.new("name.text")}],
        "birthDate": "1950-01-01",
    }


class Loud(BaseHTTPRequestHandler):
    """Answers by the staff key: L-<what>-<anything>. Gives tokens, and takes what it did not refuse."""

    protocol_version = "HTTP/1.1"
    once: ClassVar[set[str]] = set()
    found: ClassVar[dict[str, int]] = {}  # whom a search found, by key: the number of the resource

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith("/token"):
            token = {"access_token": SERVER.new("access token"), "token_type": "bearer", "expires_in": 300}
            return self._say(200, json.dumps({**token, "scope": SERVER.new("scope")}).encode(), "application/json")
        if b"L-refused-" in body:
            return self._say(422, outcome("invariant"))
        return self._say(201, body.replace(b"{", b'{"id":"made",', 1))

    do_PUT = do_POST

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        asked = re.search(r"L-(\w+)-\w*", unquote(" ".join(query.get("identifier", []))))
        what, key = (asked[1], asked[0]) if asked else ("", "")
        first = key not in self.once
        self.once.add(key)
        if what == "held":
            found = [somebody(1, key), somebody(2, key)]
            return self._say(200, json.dumps(bundle(found)).encode())
        if what == "disagrees":
            number = self.found.setdefault(key, 3 + len(self.found))
            return self._say(200, json.dumps(bundle([somebody(number, key)])).encode())
        for key, number in self.found.items():
            if self.path.endswith(f"/Practitioner/p{number}"):
                return self._say(200, json.dumps(somebody(number, key)).encode())
        if what == "moved":
            return self._say(302, outcome("processing"))
        if what == "forbidden":
            return self._say(403, outcome("forbidden"))
        if what == "busy" and first:
            return self._say(503, f"<html>{SERVER.new('html')}</html>".encode(), "text/html")
        if what == "garbled" and first:
            return self._say(200, b'{"resourceType":"Bundle","entry":["' + SERVER.new("garbled JSON").encode())
        if what == "expired" and first:
            return self._say(401, outcome("expired"))
        return self._say(200, json.dumps(bundle([])).encode())

    def _say(self, status: int, body: bytes, kind: str = "application/fhir+json") -> None:
        self.send_response(status, SERVER.new("reason phrase"))
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name in ("www-authenticate", "x-request-id", "server", "warning", "retry-after"):
            self.send_header(name, SERVER.new(name))
        if status != 201:
            self.send_header("location", f"http://127.0.0.1:9/{SERVER.new('location')}")
        self.end_headers()
        self.wfile.write(body)


def bundle(found: list[dict[str, object]]) -> dict[str, object]:
    entries = [{"resource": resource, "search": {"mode": "match"}} for resource in found]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries}


@pytest.fixture(scope="module")
def loud() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Loud)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


# --- the journey -----------------------------------------------------------------------------------------------------

SAID = ["held", "disagrees", "moved", "forbidden", "busy", "garbled", "expired", "refused", "good"]


class Journey:
    """What was said while it ran, for the tests to search."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: list[bytes] = []
        self.arguments = b""
        self.output = b""
        self.errors = b""


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory, loud: str) -> Journey:
    folder = tmp_path_factory.mktemp("bridge")
    journey = Journey(folder)
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), auth=False) as sandbox:
        keys = smart_keys(tmp_path_factory.mktemp("keys"))
        auth = {"type": "smart", "client_id": "canary", "key": f"file:{keys.private_pem}", "token_url": f"{loud}/token"}
        small = {"listener": {"max_frame": "128KiB"}}
        delivered = {"acknowledgment": {"acknowledge_when": "delivered", "ack_deadline": "2s"}}
        feeds = [
            Feed("staff", KEY_SYSTEM, ("fhir", "loud"), settings=small),
            Feed("waits", KEY_SYSTEM, ("loud",), settings={**small, **delivered}),
            Feed("ignores", KEY_SYSTEM, settings={**small, "hl7": {"unsupported": "ignore"}}),
            Feed("visits", KEY_SYSTEM, settings={**small, "hl7": {"takes": ["staff", "adt"]}}),
        ]
        log = {"log": {"level": "debug"}}
        write_configuration(folder, feeds, {"loud": destination(f"{loud}/fhir", auth=auth)})
        with running_bridge(folder, sandbox.base_url, feeds=feeds, service=log) as bridge:
            _tell(bridge, journey)
            wait_until(lambda: bridge.undelivered() == 0, 60, bridge.log_end)
            for pid in (bridge.pid, *bridge.children()):
                journey.arguments += Path(f"/proc/{pid}/cmdline").read_bytes()
            assert bridge.held() > 0
            assert bridge.process
            assert bridge.process.stdout
            assert bridge.stop() == 0
        journey.errors = bridge.log.read_bytes()
    return journey


def _tell(bridge: Bridge, journey: Journey) -> None:
    bodies = {feed: [staff_message(f"L-{what}-{feed}") for what in SAID] for feed in ("staff", "waits")}
    hr = bodies["staff"]
    hr += [
        enhanced := staff_message("L-good-enhanced", mode="AL||AL"),
        refused := staff_message("L-good-nofamily", f3="^{0}"),
        staff_message("L-good-shifted", f5="{0}", f15="{0}", f6="{0}"),
        staff_message("L-good-event", event="MZZ"),
        staff_message("L-good-foreign") + segment("QQQ", "", SECRET).encode() + b"\r",
        staff_message("L-good-nameless") + SECRET.new("a line without a name").encode() + b"\r",
        staff_message("L-good-bytes") + b"NTE|\xff\xfe\r",
        cut(staff_message("L-good-cut")),
        staff_message("L-good-when", f12="99999999^{0}", f13="{0}"),
        staff_message("L-good-leaver", event="MDC"),
        staff_message("L-good-removed", event="MDL"),
        staff_message("L-good-personnel").replace(b"MFN^M02^MFN_M02", b"PMU^B01^PMU_B01"),
    ]
    hr += [hr[0], enhanced, refused]
    bodies["visits"] = [visit(), visit("A08"), cut(visit()), visit() + b"\xff", visit().replace(b"ADT^", b"MFN^M02^")]
    for feed in ("staff", "ignores", "visits"):
        bodies.setdefault(feed, []).extend(make() for make in UNTOLD)
    for feed, all_of_it in bodies.items():
        with Connection(("127.0.0.1", bridge.ports[feed])) as connection:
            for body in all_of_it:
                connection.write(START + body + END)
                answer = connection.read(15)
                assert answer is not None, f"no answer on {feed}"
                journey.answers.append(answer)
            while (late := connection.read(0.5)) is not None:
                journey.answers.append(late)


# --- what must not be found ------------------------------------------------------------------------------------------

ALL = (SECRET, ECHOED, SERVER, PATIENT)


def test_the_journey_is_one(journey: Journey) -> None:
    """The canaries would have been found: the store holds those of staff messages, and every kind of answer came."""
    stored = everything(journey.folder)
    assert SECRET.found_in(stored)
    codes = {re.search(rb"\rMSA.(A[AER]|C[AER])", answer)[1] for answer in journey.answers}  # type: ignore[index]
    assert codes == {b"AA", b"AE", b"AR", b"CA"}
    assert b"delivery waits" in journey.errors
    duplicates = rows(journey.folder, "SELECT COUNT(*) FROM message WHERE link = 'duplicate'")
    assert duplicates[0][0] == 2  # what was refused is taken afresh
    results = dict(rows(journey.folder, "SELECT local, COUNT(*) FROM delivery GROUP BY local"))
    assert {"several-people", "recycled-key", "redirected", "forbidden", "server-refused"} <= results.keys()


@pytest.mark.parametrize("canaries", ALL, ids=lambda canaries: canaries.kind)
def test_no_canary_in_logs_and_arguments(journey: Journey, canaries: Canaries) -> None:
    assert not canaries.found_in(journey.errors)
    assert not canaries.found_in(journey.arguments)
    assert b"Traceback" not in journey.errors


def test_acknowledgments_echo_the_header_and_the_keys_alone(journey: Journey) -> None:
    for answer in journey.answers:
        assert not SECRET.found_in(answer)
        assert not SERVER.found_in(answer)
        for line in answer.split(b"\r"):
            if line[:3] not in (b"MSH", b"MFI", b"MFA"):
                echoes = ECHOED.found_in(line) | PATIENT.found_in(line)
                assert all(echo.endswith("MSH-10") for echo in echoes), line[:3]
            elif line[:3] != b"MSH":
                assert not PATIENT.found_in(line)


@pytest.mark.parametrize("canaries", ALL, ids=lambda canaries: canaries.kind)
def test_no_canary_in_file_names(journey: Journey, canaries: Canaries) -> None:
    names = "\n".join(str(path) for path in journey.folder.rglob("*"))
    assert not canaries.found_in(names.encode())


def test_what_stands_in_an_adt_message_is_in_no_file(journey: Journey) -> None:
    """But for its header, MSH-3 to MSH-12."""
    found = PATIENT.found_in(everything(journey.folder))
    assert not {one for one in found if "MSH-" not in one}


EXPLANATIONS = [
    "SELECT note FROM message",
    "SELECT findings FROM record",
    "SELECT text || code || local FROM delivery",
    "SELECT exchanges || warnings || local FROM attempt",
    "SELECT title || steps FROM task",
    "SELECT event || detail FROM history",
    "SELECT reason FROM pause",
]


@pytest.mark.parametrize("explanation", EXPLANATIONS)
def test_no_canary_in_what_we_say_of_messages(journey: Journey, explanation: str) -> None:
    said = "\n".join(str(row) for row in rows(journey.folder, explanation)).encode()
    for canaries in ALL:
        assert not canaries.found_in(said)


def test_tokens_and_keys_are_in_no_file_of_ours(journey: Journey) -> None:
    content = everything(journey.folder)
    assert "access token" in SERVER.planted.values()
    assert not {one for one in SERVER.found_in(content) if one.endswith("access token")}
    assert b"PRIVATE KEY" not in content


def test_no_canary_in_the_texts_of_errors() -> None:
    """Whatever is wrong with a message, the error that says so holds nothing of it."""
    body = staff_message("L-good-error")
    spoilt = [
        body[:at] + what + body[at:] for at in range(4, len(body), 37) for what in (b"\xff", b"|", b"\r", b"~^\\")
    ]
    spoilt += [body.replace(b"UNICODE UTF-8", SECRET.new("MSH-18").encode()), body.replace(b"^~\\&", b"ab c")]
    spoilt += [body.replace(b"2.5.1", SECRET.new("MSH-12").encode()), body.replace(b"^M02^", b"^M99^"), body[4:]]
    rules, raised = FeedRules(KEY_SYSTEM), 0
    for raw in spoilt:
        try:
            read_header(raw)
            message = Message(raw)
            repr(message)
            translation = staff.translate(message, rules, NOW)
        except Hl7BridgeError as error:
            raised += 1
            said = f"{error} {error!r} {error.args} {getattr(error, 'finding', '')}"
        else:
            findings = [*translation.findings, *(f for record in translation.records for f in record.findings)]
            said = repr(findings)
        assert not re.search("zq[sefp][0-9]+kv", said.lower())
    assert raised > 10


# --- looking ---------------------------------------------------------------------------------------------------------


def everything(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "data" / "hl7bridge.sqlite")) as store:
        return store.execute(query).fetchall()
