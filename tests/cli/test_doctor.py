"""`doctor`, `lookup`, `register-help` against real sockets: a sandbox in this process, sound and broken in many ways."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from hl7bridge import config
from hl7bridge.sandbox import Client, Fault, Habits, SandboxSettings, create_app
from hl7bridge.store.opening import open_store
from hl7bridge.store.queue.creations import Looked, SecondLook
from tests.bridges import Feed, destination, merged, smart_keys, write_configuration
from tests.cli.conftest import Ended
from tests.sandboxes import ClientKeys
from tests.store.builders import accept_one, change

Command = Callable[..., Ended]
NPI, OTHER_NPI = "1234567893", "1245319599"
NPI_SYSTEM = "http://hl7.org/fhir/sid/us-npi"


class Silent(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """The tests' output is pytest's."""

    def send_response(self, code: int, message: str | None = None) -> None:
        """Without a Date of its own: the sandbox plays a wrong clock."""
        self.send_response_only(code, message)


@dataclass
class Served:
    app: Any
    base_url: str

    def post(self, resource: dict[str, Any]) -> str:
        """Someone else's create."""
        to = f"/fhir/{resource['resourceType']}"
        options = {"data": json.dumps(resource), "content_type": "application/fhir+json"}
        return str(self.app.test_client().post(to, headers={"X-Sandbox-Observer": "true"}, **options).json["id"])

    def journal(self) -> list[dict[str, Any]]:
        return list(self.app.test_client().get("/sandbox/journal").json["entries"])


@contextmanager
def served(settings: SandboxSettings) -> Iterator[Served]:
    app = create_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Served(app, f"http://127.0.0.1:{server.port}/fhir")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions["sandbox"].close()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> ClientKeys:
    return smart_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> ClientKeys:
    return smart_keys(tmp_path_factory.mktemp("other"))


def configured(folder: Path, base_url: str, keys: ClientKeys | None = None, **settings: Any) -> Path:
    auth = {"type": "none"}
    if keys is not None:
        auth = {"type": "smart", "client_id": keys.client_id, "key": f"file:{keys.private_pem}"}
    to = destination(base_url, **merged({"auth": auth}, settings))
    write_configuration(folder, [Feed("hr", "urn:uuid:6f1f4f0e-6e2b-4f0c-9d0e-0b1c2d3e4f50", ("ehr",))], {"ehr": to})
    return folder


def with_tokens(keys: ClientKeys, **settings: Any) -> SandboxSettings:
    """A sandbox where those keys are registered."""
    scopes = settings.pop("scopes", "system/*.cruds")
    return SandboxSettings(clients=(Client("hl7bridge", keys.jwks, scopes),), **settings)


def person(npi: str = NPI, system: str = NPI_SYSTEM, **more: Any) -> dict[str, Any]:
    identifier = [{"system": system, "value": npi}]
    return {"resourceType": "Practitioner", "identifier": identifier, "name": [{"family": "Okonkwo"}], **more}


def found(ended: Ended, code: str) -> dict[str, Any]:
    """The one check of that code."""
    checks = [check for one in ended.json["destinations"] for check in one["checks"]]
    matching = [check for check in checks if check["code"] == code]
    assert len(matching) == 1, [(check["code"], check["text"]) for check in checks]
    return matching[0]


def codes(ended: Ended, *states: str) -> list[str]:
    return [check["code"] for one in ended.json["destinations"] for check in one["checks"] if check["state"] in states]


# --- a server that is well -------------------------------------------------------------------------------------------


def test_all_is_well(command: Command, tmp_path: Path, keys: ClientKeys) -> None:
    with served(with_tokens(keys)) as server:
        for number in range(3):
            server.post(person(f"99{number}"))
        known = server.post(person())
        ended = command("doctor", "ehr", "--npi", NPI, "-c", configured(tmp_path, server.base_url, keys), "--json")
        asked = [entry for entry in server.journal() if entry["client"] != "observer"]
    assert (ended.code, codes(ended, "warning", "problem", "skipped")) == (0, [])
    assert {"key", "connected", "clock", "fhir-version", "smart", "token", "scopes", "search", "pages"} < set(
        codes(ended, "ok")
    )
    assert known in found(ended, "npi-found")["text"]
    assert ended.json["schema"] == "doctor/1"
    assert {entry["method"] for entry in asked if entry["interaction"] != "token"} == {"GET"}, "nothing is written"
    token = [entry for entry in asked if entry["interaction"] == "token"]
    assert len(token) == 1
    assert "eyJ" not in ended.out


def test_a_search_by_post_is_one_too(command: Command, tmp_path: Path) -> None:
    with served(SandboxSettings(auth=False)) as server:
        server.post(person())
        ended = command(
            "doctor", "--npi", NPI, "-c", configured(tmp_path, server.base_url, search_method="post"), "--json"
        )
        assert (ended.code, codes(ended, "warning", "problem")) == (0, [])
        assert {entry["method"] for entry in server.journal() if entry["interaction"] == "search"} >= {"POST"}


# --- the five set-ups that break most often --------------------------------------------------------------------------


@pytest.mark.parametrize("explains", [True, False], ids=["explains", "silent"])
def test_the_wrong_key(
    command: Command, tmp_path: Path, keys: ClientKeys, other_keys: ClientKeys, explains: bool
) -> None:
    with served(with_tokens(other_keys, habits=Habits(explains_token_errors=explains))) as server:
        site = configured(tmp_path, server.base_url, keys)
        ended = command("doctor", "-c", site, "--json")
        said = command("doctor", "-c", site)
    assert (ended.code, said.code) == (1, 1)
    check = found(ended, "token-perhaps-key" if explains else "token-perhaps-client")
    assert "most likely the key" in check["text"] if explains else "they were tried" in check["cause"]
    assert any("hl7bridge keys jwks" in fix and keys.kid in fix for fix in check["fixes"])
    assert any("client id" in fix for fix in check["fixes"])
    assert found(ended, "no-token")["state"] == "skipped"
    for word in ("problem  token", "cause: ", "fix: ", "hl7bridge keys jwks", keys.kid):
        assert word in said.out


@pytest.mark.parametrize("explains", [True, False], ids=["explains", "silent"])
def test_the_wrong_audience(command: Command, tmp_path: Path, keys: ClientKeys, explains: bool) -> None:
    habits = Habits(explains_token_errors=explains)
    wrong = {"auth": {"audience": "https://proxy.example.org/token"}}
    with served(with_tokens(keys, habits=habits)) as server:
        ended = command("doctor", "-c", configured(tmp_path, server.base_url, keys, **wrong), "--json")
        expected = server.base_url.replace("/fhir", "/oauth2/token")
    check = found(ended, "token-audience")
    assert "proven" in check["cause"]
    assert check["fixes"] == [f'Write audience = "{expected}" in [auth] of conf/destinations/ehr.toml.']
    assert ended.code == 1


def test_an_audience_that_nobody_could_guess(command: Command, tmp_path: Path, keys: ClientKeys) -> None:
    with served(with_tokens(keys, audience="https://inner.example.org/token")) as server:
        ended = command("doctor", "-c", configured(tmp_path, server.base_url, keys), "--json")
    check = found(ended, "token-perhaps-audience")
    assert "auth.audience" in check["fixes"][0]
    assert "the usual ones were tried" in check["cause"]


@pytest.mark.parametrize("explains", [True, False], ids=["explains", "silent"])
@pytest.mark.parametrize("offset", [600, -600])
def test_the_clock_is_off_by_ten_minutes(
    command: Command, tmp_path: Path, keys: ClientKeys, offset: int, explains: bool
) -> None:
    habits = Habits(clock_offset=offset, explains_token_errors=explains)
    with served(with_tokens(keys, habits=habits)) as server:
        ended = command("doctor", "-c", configured(tmp_path, server.base_url, keys), "--json")
    for code in ("clock-off", "token-clock"):
        check = found(ended, code)
        assert "10 minutes apart" in check["text"]
        assert "NTP" in check["fixes"][0]
    assert "proven" in found(ended, "token-clock")["cause"]
    assert ended.code == 1


@pytest.mark.parametrize(
    ("allowed", "code", "missing"),
    [
        ("system/Practitioner.read system/PractitionerRole.read", "scopes-missing", "system/Practitioner.write"),
        ("system/Organization.read", "token-scope", "system/Practitioner.read"),
    ],
    ids=["some", "all"],
)
def test_a_scope_is_missing(
    command: Command, tmp_path: Path, keys: ClientKeys, allowed: str, code: str, missing: str
) -> None:
    with served(with_tokens(keys, scopes=allowed)) as server:
        ended = command("doctor", "-c", configured(tmp_path, server.base_url, keys), "--json")
    check = found(ended, code)
    assert missing in check["text"]
    assert "hl7bridge register-help ehr" in check["fixes"][0]
    assert ended.code == 1


def test_a_search_parameter_is_ignored(command: Command, tmp_path: Path) -> None:
    with served(SandboxSettings(auth=False, habits=Habits(ignored_parameters=("identifier",)))) as server:
        for number in range(3):
            server.post(person(f"99{number}"))
        ended = command("doctor", "--npi", NPI, "-c", configured(tmp_path, server.base_url), "--json")
    check = found(ended, "search-ignored")
    assert "search parameter ignored" in check["text"]
    assert "nobody could be told apart" in check["cause"]
    assert "switch the search by identifier on" in check["fixes"][0]
    assert found(ended, "npi-ignored")["state"] == "problem"
    assert ended.code == 1


# --- other troubles --------------------------------------------------------------------------------------------------


def test_nobody_there(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = command("doctor", "-c", configured(tmp_path, f"http://127.0.0.1:{port}/fhir"), "--json")
    assert (ended.code, codes(ended, "problem")) == (3, ["refused"])
    assert "base_url in conf/destinations/ehr.toml" in found(ended, "refused")["fixes"][0]


def test_a_server_that_takes_no_writes(command: Command, tmp_path: Path) -> None:
    """In mode report that is said, and nothing to repair; in mode write it is a problem."""
    with served(SandboxSettings(auth=False, habits=Habits(writes_refused=405))) as server:
        report = command("doctor", "-c", configured(tmp_path / "a", server.base_url, mode="report"), "--json")
        write = command("doctor", "-c", configured(tmp_path / "b", server.base_url), "--json")
    assert report.code == 0
    assert codes(report, "ok").count("not-writable") == 2
    assert write.code == 1
    assert codes(write, "problem") == ["not-writable", "not-writable"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "status", "on": ["capabilities"], "status": 503}, "metadata-later"),
        ({"kind": "status", "on": ["capabilities"], "status": 200, "body": "html"}, "metadata-not-fhir"),
        ({"kind": "status", "on": ["search"], "status": 403}, "search-forbidden"),
        ({"kind": "status", "on": ["search"], "status": 401}, "search-unauthorized"),
        ({"kind": "evil-next"}, "foreign-link"),
        ({"kind": "expired-next"}, "next-page-fails"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_trouble_has_a_name(command: Command, tmp_path: Path, fault: dict[str, Any], code: str) -> None:
    with served(SandboxSettings(auth=False, faults=(Fault.from_json(fault),))) as server:
        for number in range(3):
            server.post(person(f"99{number}"))
        ended = command("doctor", "-c", configured(tmp_path, server.base_url), "--json")
    assert code in codes(ended, "problem")
    assert ended.code == 1


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [("", 503, "token-later"), ("", 404, "token-address"), ("invalid_client", 401, "token-perhaps-client")],
)
def test_a_token_endpoint_in_trouble(
    command: Command, tmp_path: Path, keys: ClientKeys, error: str, status: int, code: str
) -> None:
    fault = Fault("status", on=("token",), status=status, error=error)
    with served(with_tokens(keys, faults=(fault,))) as server:
        ended = command("doctor", "-c", configured(tmp_path, server.base_url, keys), "--json")
    assert codes(ended, "problem") == [code]


def test_the_npi(command: Command, tmp_path: Path) -> None:
    with served(SandboxSettings(auth=False)) as server:
        site = configured(tmp_path, server.base_url)
        assert codes(command("doctor", "--npi", NPI, "-c", site, "--json"), "warning") == ["npi-not-found"]
        server.post(person(system="urn:oid:1.2.3.4"))
        elsewhere = command("doctor", "--npi", NPI, "-c", site, "--json")
        assert "urn:oid:1.2.3.4" in found(elsewhere, "npi-other-system")["text"]
        server.post(person(OTHER_NPI))
        server.post(person(OTHER_NPI, "urn:oid:2.16.840.1.113883.4.6"))
        assert codes(command("doctor", "--npi", OTHER_NPI, "-c", site, "--json"), "problem") == ["npi-several"]
    wrong = command("doctor", "--npi", "1234567890", "-c", site)
    assert wrong.code == 2
    assert "check digit" in wrong.err


def test_keys(command: Command, tmp_path: Path, keys: ClientKeys) -> None:
    """An old key is warned of by doctor and check; one that is missing is a problem, and no search is tried."""
    with served(with_tokens(keys)) as server:
        own = smart_keys(tmp_path / "keys")
        two_years_ago = time.time() - 2 * 365 * 86400
        os.utime(own.private_pem, (two_years_ago, two_years_ago))
        site = configured(tmp_path, server.base_url, own, auth={"key_max_age": "500d"})
        old = command("doctor", "-c", site, "--json")
        assert "730 days old" in found(old, "key-old")["text"]
        assert "key_max_age is 500 days" in found(old, "key-old")["cause"]
        checked = command("check", site)
        assert checked.code == 1
        assert "older than 500 days" in checked.out
        configured(tmp_path, server.base_url, own, auth={"key_max_age": "0d"})
        assert "key" in codes(command("doctor", "-c", site, "--json"), "ok")
        own.private_pem.unlink()
        gone = command("doctor", "-c", site, "--json")
    assert codes(gone, "problem") == ["key-unusable"]
    assert "hl7bridge keys generate" in found(gone, "key-unusable")["fixes"][0]
    assert codes(gone, "skipped")[-1] == "no-token"


# --- the support file ------------------------------------------------------------------------------------------------


def test_the_support_file_holds_nothing_about_anybody(
    command: Command, tmp_path: Path, keys: ClientKeys, other_keys: ClientKeys
) -> None:
    canaries = ["CANARYKEY", "CANARYAUTH", "CANARYPEER", "canary.example.org", "CANARYNAME", "CANARYTEXT", "CANARYPATH"]
    canaries += [keys.private_pem.read_text().splitlines()[1], str(tmp_path), "canary-client", "CANARYZONE"]
    log = tmp_path / "CANARYPATH.log"
    lines = [
        {"event": "listening", "level": "info", "feed": "hr", "port": 2575, "host": "canary.example.org"},
        {"event": "delivery waits", "destination": "ehr", "local": "brake", "text": "CANARYTEXT", "peer": "CANARYPEER"},
        {"event": "CANARYTEXT = 1"},
    ]
    log.write_text(
        "\n".join(map(json.dumps, lines)) + "\nTraceback: CANARYTEXT\n"
        "2026-11-22T10:00:00.000000Z [warning  ] delivery waits                 destination=ehr peer=CANARYPEER seconds=3\n"
    )
    with served(with_tokens(other_keys)) as server:
        site = configured(
            tmp_path,
            server.base_url,
            keys,
            auth={"client_id": "canary-client", "token_hosts": ["canary.example.org"]},
            brake={"protected": ["CANARYKEY"]},
            systems={"CANARYAUTH": "https://canary.example.org/CANARYZONE"},
        )
        service = site / "conf" / "hl7bridge.toml"
        service.write_text(service.read_text() + f'file = "{log}"\n')
        assert config.load(site).log.file == log
        store = open_store(site / "data" / "hl7bridge.sqlite")
        accept_one(store, change("CANARYKEY"), body=b"MSH|^~\\&|CANARYNAME\r")
        store.close()
        bundle = tmp_path / "support.zip"
        ended = command("doctor", "--bundle", bundle, "-c", site)
        kept = command("doctor", "--bundle", tmp_path / "kept.zip", "--keep-hosts", "-c", site)
        again = command("doctor", "--bundle", bundle, "-c", site)
    assert (ended.code, kept.code, again.code) == (1, 1, 2)
    assert os.name != "posix" or bundle.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(bundle) as opened:
        texts = {name.rpartition("/")[2]: opened.read(name).decode() for name in opened.namelist()}
    for name, text in texts.items():
        for canary in [*canaries, "127.0.0.1"]:
            assert canary not in text, (name, canary)
    results = json.loads(texts["doctor.json"])
    assert "token-perhaps-client" in {check["code"] for check in results["destinations"][0]["checks"]}
    settings = json.loads(texts["settings.json"])
    assert settings["destinations"]["ehr"]["base_url"] == "http://host-1"
    assert settings["destinations"]["ehr"]["brake"]["protected"] == "1 set"
    assert settings["destinations"]["ehr"]["auth"]["key"] == "set"
    logged = [json.loads(line) for line in texts["log.jsonl"].splitlines()]
    assert [line["event"] for line in logged] == ["listening", "delivery waits", "delivery waits"]
    assert logged[2]["seconds"] == "3"
    assert json.loads(texts["versions.json"])["hl7bridge"]
    with zipfile.ZipFile(tmp_path / "kept.zip") as opened:
        assert server.base_url in opened.read("hl7bridge-support/settings.json").decode()


# --- lookup ----------------------------------------------------------------------------------------------------------


def test_lookup(command: Command, tmp_path: Path, keys: ClientKeys) -> None:
    with served(with_tokens(keys)) as server:
        site = configured(tmp_path, server.base_url, keys)
        nobody = command("lookup", "--npi", NPI, "-c", site)
        assert (nobody.code, nobody.out) == (1, "")
        known = server.post(person(active=True))
        for active in (True, False):
            reference = {"reference": f"Practitioner/{known}"}
            server.post({"resourceType": "PractitionerRole", "practitioner": reference, "active": active})
        ended = command("lookup", "ehr", "--npi", NPI, "-c", site, "--json")
        assert (ended.code, ended.json["practitioners"]) == (
            0,
            [{"id": known, "active": True, "roles": 2, "active_roles": 1}],
        )
        table = command("lookup", "--npi", NPI, "-c", site).out.splitlines()
        assert [line.split() for line in table] == [
            ["id", "active", "roles", "active", "roles"],
            [known, "yes", "2", "1"],
        ]
        server.post(person())
        twice = command("lookup", "--npi", NPI, "-c", site)
        assert twice.code == 1
        assert "More than one" in twice.err
        assert {entry["method"] for entry in server.journal() if entry["client"] == "hl7bridge"} <= {"GET", "POST"}
    assert command("lookup", "--npi", NPI, "-c", site).code == 3
    assert command("lookup", "-c", site).code == 2
    assert command("lookup", "nowhere", "--npi", NPI, "-c", site).code == 2


# --- register-help ---------------------------------------------------------------------------------------------------

REGISTRATION = """\
To register for ehr (mode write)
  application type  backend system: no user signs in (SMART Backend Services, confidential client)
  redirect URI      none: nobody is sent to a browser; if one must be entered, any page of your own
  grant type        client_credentials, with private_key_jwt
  FHIR version      R4
  FHIR base         https://fhir.example.org/r4
  client id         hl7bridge
  scopes            system/Practitioner.read
                    system/Practitioner.write
                    system/PractitionerRole.read
                    system/PractitionerRole.write
  in SMART v2       system/Practitioner.rs
                    system/Practitioner.cu
                    system/PractitionerRole.rs
                    system/PractitionerRole.cu
  APIs              Practitioner.Read (R4)
                    Practitioner.Search (R4)
                    Practitioner.Create (R4)
                    Practitioner.Update (R4)
                    PractitionerRole.Read (R4)
                    PractitionerRole.Search (R4)
                    PractitionerRole.Create (R4)
                    PractitionerRole.Update (R4)
  never needed      Patient, any other type, delete, refresh tokens, launch contexts
  signature         ES384
  kid               {kid}
  public key set    as below; the same as `hl7bridge keys jwks`
"""


def test_register_help(command: Command, tmp_path: Path, keys: ClientKeys) -> None:
    site = configured(tmp_path, "https://fhir.example.org/r4", keys)
    ended = command("register-help", "-c", site)
    assert ended.code == 0
    assert ended.out.startswith(REGISTRATION.format(kid=keys.kid))
    printed, _, checklist = ended.out.removeprefix(REGISTRATION.format(kid=keys.kid)).partition("Until it goes live\n")
    assert json.loads(printed) == json.loads(keys.jwks.read_text())
    assert [line[:6] for line in checklist.splitlines()] == ["  [ ] "] * 10
    for word in (
        "review",
        "tied to a user",
        "requests a second",
        "hl7bridge doctor ehr --npi",
        "mode report",
        "[brake]",
    ):
        assert word in checklist
    assert "PRIVATE" not in ended.out


@pytest.mark.parametrize(
    ("settings", "scopes", "apis"),
    [
        ({"mode": "report"}, ["read"], ["Read", "Search"]),
        ({"mode": "report", "modes": {"create": "write"}}, ["read", "write"], ["Read", "Search", "Create"]),
        ({"mode": "approve", "modes": {"create": "report"}}, ["read", "write"], ["Read", "Search", "Update"]),
    ],
    ids=["report", "creates", "updates"],
)
def test_scopes_and_apis_follow_the_modes(
    command: Command, tmp_path: Path, keys: ClientKeys, settings: dict[str, Any], scopes: list[str], apis: list[str]
) -> None:
    site = configured(tmp_path, "https://fhir.example.org/r4", keys, elements={"roles": False}, **settings)
    (facts,) = command("register-help", "ehr", "-c", site, "--json").json["destinations"]
    assert facts["scopes"] == [f"system/Practitioner.{word}" for word in scopes]
    assert facts["apis"] == [f"Practitioner.{word} (R4)" for word in apis]
    assert facts["jwks"]["keys"][0]["kid"] == keys.kid


def test_register_help_without_a_key(command: Command, tmp_path: Path) -> None:
    ended = command("register-help", "-c", configured(tmp_path, "https://fhir.example.org/r4"))
    assert ended.code == 0
    assert "not yet: auth.type is none" in ended.out
    assert "hl7bridge keys generate" in ended.out


@pytest.mark.parametrize(("seconds", "code"), [(1.5, "index-lag"), (80.0, "index-slow")])
def test_how_far_the_index_lags_is_shown_where_it_was_measured(
    command: Command, tmp_path: Path, keys: ClientKeys, seconds: float, code: str
) -> None:
    site = configured(tmp_path, "http://127.0.0.1:1/fhir", keys)
    [before] = command("doctor", "-c", site, "--json").json["destinations"]
    assert not [check for check in before["checks"] if check["check"] == "index"]
    settings = config.load(site, {})
    Path(settings.store.path).parent.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.store.path)
    created = SecondLook("Practitioner", "p1", "p1", "staff", "S1", 1, 1, 1000.0, 1000.0 + 60, 1)
    store.creations.looked("ehr", [Looked(created, True)], 1000.0 + seconds)
    store.close()
    check = found(command("doctor", "-c", site, "--json"), code)
    assert f"{seconds}" in check["text"]
