"""Configuration: what is read, and for every kind of mistake the one line that says where it is and what to do."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.assemble.authorization import smart_rules
from hl7bridge.assemble.destinations import destination_rules
from hl7bridge.config.destination import DESTINATION_KINDS, DestinationSettings
from hl7bridge.config.secrets import SecretReference
from hl7bridge.config.values import setting
from hl7bridge.destinations.fhir.rules import DestinationRules
from hl7bridge.errors import ConfigError
from hl7bridge.hl7.charset import codec_of

SERVICE = '[service]\nprocessing_id = "P"\n'
FEED = """
destinations = ["ehr"]
[listener]
port = 2575
[hl7]
key_system = "urn:uuid:8dd1a0a1-9c6b-4a43-8f43-2cbd2a8a9d21"
"""
DESTINATION = """
base_url = "https://fhir.example.org/r4"
[auth]
client_id = "hl7bridge"
key = "file:keys/ehr.pem"
token_url = "https://fhir.example.org/token"
"""
FEED_FILE, DESTINATION_FILE, SERVICE_FILE = "conf/feeds/hr.toml", "conf/destinations/ehr.toml", "conf/hl7bridge.toml"
PEM = "-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMG\\n-----END PRIVATE KEY-----"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a good configuration."""
    for file, text in ((SERVICE_FILE, SERVICE), (FEED_FILE, FEED), (DESTINATION_FILE, DESTINATION)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    return tmp_path


def problems(site: Path, **environment: str) -> list[tuple[str, str, str, str]]:
    settings, found = config.examine(site, environment)
    assert (settings is None) == bool(found)
    return [(error.file, error.key, error.problem, error.advice) for error in found]


def test_reads_a_good_configuration_with_its_defaults(site: Path) -> None:
    settings = config.load(site, {})
    feed, destination = settings.feeds["hr"], settings.destinations["ehr"]
    assert settings.store.path == str(site / "data" / "hl7bridge.sqlite")
    assert (feed.name, feed.listener.host, feed.listener.port, feed.destinations) == ("hr", "127.0.0.1", 2575, ("ehr",))
    assert (feed.listener.max_frame, feed.listener.idle_timeout, feed.hl7.charset) == (10 * 2**20, 0.0, ("utf-8",))
    assert (feed.acknowledgment.acknowledge_when, feed.acknowledgment.duplicate_window) == ("stored", 7 * 86400.0)
    assert dict(feed.acknowledgment.codes.items()) == {
        "content": "AE",
        "unsupported": "AR",
        "unavailable": "AR",
        "mixed": "AE",
    }
    assert (destination.mode, destination.in_flight, destination.requests_per_second) == ("report", 8, 0.0)
    assert "birthDate" in destination.elements.withheld()
    assert "gender" not in destination.elements.withheld()


def test_the_epic_profile_sets_the_budget_and_what_is_written_wins(site: Path) -> None:
    path = site / DESTINATION_FILE
    path.write_text('profile = "epic"\n' + DESTINATION)
    assert config.load(site, {}).destinations["ehr"].requests_per_second == 2.0
    path.write_text('profile = "epic"\nin_flight = 4\n' + DESTINATION)
    destination = config.load(site, {}).destinations["ehr"]
    assert (destination.in_flight, destination.requests_per_second) == (4, 2.0)


class Printer(DestinationSettings):
    """Another kind of destination, for tests."""

    paper: str = setting("A4", "what it is printed on; A0 is too large")

    def problems(self, feeds: tuple[str, ...]) -> Iterator[ConfigError]:
        yield from super().problems(feeds)
        if self.paper == "A0":
            yield ConfigError("is too large", file=self.file, key="paper")


def test_the_kind_of_a_destination_chooses_its_keys(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DESTINATION_KINDS, "printer", Printer)
    known = ", ".join(f'"{kind}"' for kind in DESTINATION_KINDS)
    path = site / DESTINATION_FILE
    path.write_text('kind = "printer"\npaper = "A5"\nmode = "approve"\n')
    settings = config.load(site, {})
    printer = settings.destinations["ehr"]
    assert isinstance(printer, Printer)
    assert (printer.kind, printer.paper, printer.mode, printer.file) == ("printer", "A5", "approve", DESTINATION_FILE)
    for written, key, problem in (
        ('kind = "fax"\n' + DESTINATION, "kind", f"no kind of destination. Write one of {known}."),
        ("kind = 7\n" + DESTINATION, "kind", "no kind of destination"),
        ("kind = []\n" + DESTINATION, "kind", "no kind of destination"),
        ('kind = "printer"\npapper = "A5"\n', "papper", 'unknown key. Did you mean "paper"?'),
        ('kind = "printer"\nsearch_method = "post"\n', "search_method", 'is a key of kind "fhir"'),
        ('paper = "A5"\n' + DESTINATION, "paper", 'is a key of kind "printer"'),
        ('kind = "printer"\npaper = "A0"\n', "paper", "is too large"),
        ('kind = "printer"\n[retry]\nlongest = "0.5s"\n', "retry.longest", "is shorter than retry.first"),
    ):
        path.write_text(written)
        _, problems = config.examine(site, {})
        assert [(one.file, one.key) for one in problems] == [(DESTINATION_FILE, key)], written
        assert problem in str(problems[0])


def test_the_reference_has_the_keys_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = config.reference()
    monkeypatch.setitem(DESTINATION_KINDS, "printer", Printer)
    [added] = [key for key in config.reference() if key not in before]
    assert (added.file, added.key, added.default) == ('conf/destinations/NAME.toml, kind = "printer"', "paper", '"A4"')
    assert [key for key in config.reference() if key != added] == before


def test_the_rooms_take_the_values_as_they_are(site: Path) -> None:
    destination = config.load(site, {}).destinations["ehr"]
    rules, smart = destination_rules(destination), smart_rules(destination)
    assert (rules.name, rules.base_url, rules.mode) == ("ehr", "https://fhir.example.org/r4", "report")
    assert rules.withheld == DestinationRules("x", rules.base_url).withheld
    assert (smart.client_id, smart.token_url, smart.scopes) == ("hl7bridge", "https://fhir.example.org/token", ())


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            "utf-8",
            "UTF8",
            "UNICODE UTF-8",
            "ascii",
            "latin-1",
            "iso-8859-1",
            "8859/15",
            "8859/16",
            "iso8859-11",
            "cp1252",
        }
        | {"windows-1250", "cp437", "cp858", "cp874", "shift_jis", "euc-jp", "iso-2022-jp", "gb18030", "gbk", "big5"}
    ),
)
def test_every_character_set_that_may_be_named_can_be_read(site: Path, name: str) -> None:
    (site / FEED_FILE).write_text(f'{FEED}charset = "{name}"\n')
    assert codec_of(config.load(site, {}).feeds["hr"].hl7.charset[0])


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("1.5m", 90.0), ("2h", 7200.0), ("7d", 604800.0), ("1 s", 1.0)]
)
def test_durations(site: Path, text: str, seconds: float) -> None:
    (site / SERVICE_FILE).write_text(f'[service]\nstop_timeout = "{text}"\n')
    assert config.load(site, {}).service.stop_timeout == seconds


@pytest.mark.parametrize(("text", "size"), [("512KiB", 2**19), ("1 MiB", 2**20), ("10MB", 10**7), ("900B", 900)])
def test_sizes(site: Path, text: str, size: int) -> None:
    (site / FEED_FILE).write_text(FEED.replace("port = 2575", f'port = 2575\nmax_frame = "{text}"'))
    assert config.load(site, {}).feeds["hr"].listener.max_frame == size


def test_a_list_may_be_one_text_and_files_may_come_from_windows(site: Path) -> None:
    text = FEED.replace('["ehr"]', '"ehr"').replace("\n", "\r\n")
    (site / FEED_FILE).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert config.load(site, {}).feeds["hr"].destinations == ("ehr",)


# --- mistakes --------------------------------------------------------------------------------------------------------

# file, text in it, its replacement -> key, part of the problem, part of the advice
MISTAKES = {
    "unknown key": (FEED_FILE, "port =", "prot =", "listener.prot", "unknown key", 'Did you mean "port"?'),
    "unknown section": (FEED_FILE, "[listener]", "[listner]", "listner", "unknown key", 'Did you mean "listener"?'),
    "key of another section": (
        SERVICE_FILE,
        "[service]",
        "[service]\nlevel = 'info'",
        "service.level",
        "unknown key",
        "[log]",
    ),
    "key in no section": (FEED_FILE, "[listener]", "port = 1\n[listener]", "port", "unknown key", "[listener]"),
    "key that is none": (SERVICE_FILE, "[service]", "[service]\nzzz = 1", "service.zzz", "unknown key", "Known here:"),
    "the name as a key": (FEED_FILE, "[listener]", "name = 'hr'\n[listener]", "name", "unknown key", "file's name"),
    "missing key": (FEED_FILE, "port = 2575", "", "listener.port", "missing", "TCP port to listen on"),
    "missing section": (FEED_FILE, "[listener]\nport = 2575", "", "listener", "missing", "[listener], with port"),
    "not TOML": (FEED_FILE, "[listener]", "[listener", "", "is not TOML", "line 3"),
    "backslash in a path": (
        SERVICE_FILE,
        '"P"',
        '"P"\n[log]\nfile = "C:\\qlogs\\x.log"',
        "",
        "is not TOML",
        "single quotes",
    ),
    "not a table": (
        FEED_FILE,
        "[listener]\nport = 2575",
        "listener = 2575",
        "listener",
        "is not a table",
        "[listener]",
    ),
    "not a number": (FEED_FILE, "2575", '"mllp"', "listener.port", "is not a port", "TCP port"),
    "number out of range": (FEED_FILE, "2575", "70000", "listener.port", "out of range", "TCP port"),
    "not true or false": (
        DESTINATION_FILE,
        "[auth]",
        "[elements]\nssn = 'maybe'\n[auth]",
        "elements.ssn",
        "is not true or false",
        "social security",
    ),
    "not a duration": (
        SERVICE_FILE,
        '"P"',
        '"P"\nstop_timeout = 30',
        "service.stop_timeout",
        "not a duration",
        '"30s"',
    ),
    "no time at all": (
        SERVICE_FILE,
        '"P"',
        '"P"\npoll_interval = "0s"',
        "service.poll_interval",
        "no time",
        "above zero",
    ),
    "not a network": (
        FEED_FILE,
        "2575",
        '2575\nallow = "10.1.2.3/8"',
        "listener.allow",
        "not a network",
        '"10.20.0.0/16"',
    ),
    "not a size": (FEED_FILE, "2575", '2575\nmax_frame = "big"', "listener.max_frame", "not a size", '"10MiB"'),
    "not one of its values": (
        DESTINATION_FILE,
        "base_url",
        'mode = "reprot"\nbase_url',
        "mode",
        '"reprot" is not one of',
        'Did you mean "report"?',
    ),
    "key system not absolute": (
        FEED_FILE,
        "urn:uuid:8dd1",
        "8dd1",
        "hl7.key_system",
        "not an absolute URI",
        "urn:oid:",
    ),
    "OID not well formed": (
        FEED_FILE,
        "[listener]",
        '[authorities]\nGH = "urn:oid:1.02.3"\n[listener]',
        "authorities.GH",
        "OID",
        "urn:oid:2.16",
    ),
    "unknown time zone": (
        FEED_FILE,
        "[hl7]",
        "[hl7]\ntimezone = 'Mars/Base'",
        "hl7.timezone",
        "time zone",
        "America/Chicago",
    ),
    "unknown character set": (
        FEED_FILE,
        "[hl7]",
        "[hl7]\ncharset = 'klingon'",
        "hl7.charset",
        "character set",
        "utf-8",
    ),
    "character set that frames can't carry": (
        FEED_FILE,
        "[hl7]",
        "[hl7]\ncharset = ['utf-8', 'utf-16']",
        "hl7.charset",
        "character set",
        "utf-8",
    ),
    "no destination": (FEED_FILE, '["ehr"]', "[]", "destinations", "is empty", "names of files"),
    "unknown destination": (
        FEED_FILE,
        '["ehr"]',
        '["her"]',
        "destinations",
        "no conf/destinations/her",
        'Did you mean "ehr"?',
    ),
    "a destination twice": (FEED_FILE, '["ehr"]', '["ehr", "ehr"]', "destinations", "twice", "Take it out"),
    "acknowledge_for of another": (
        FEED_FILE,
        "[hl7]",
        "[acknowledgment]\nacknowledge_for = ['lab']\n[hl7]",
        "acknowledgment.acknowledge_for",
        "lab",
        "this feed only",
    ),
    "not HOST:PORT": (
        FEED_FILE,
        "[hl7]",
        "[acknowledgment]\napplication_acknowledgment_to = 'engine'\n[hl7]",
        "acknowledgment.application_acknowledgment_to",
        "HOST:PORT",
        "engine.example.org",
    ),
    "unknown acknowledgment code": (
        FEED_FILE,
        "[hl7]",
        "[acknowledgment.codes]\ncontent = 'CE'\n[hl7]",
        "acknowledgment.codes.content",
        "not one of",
        '"AE", "AR"',
    ),
    "plain http": (
        DESTINATION_FILE,
        "https://fhir.example.org/r4",
        "http://fhir.example.org/r4",
        "base_url",
        "plain http",
        "https",
    ),
    "plain http for tokens": (
        DESTINATION_FILE,
        '_url = "https://fhir.example.org/t',
        '_url = "http://10.0.0.9/t',
        "auth.token_url",
        "plain http",
        "https",
    ),
    "user in the address": (
        DESTINATION_FILE,
        "https://fhir",
        "https://me:pw@fhir",
        "base_url",
        "a user or a password",
        "[auth]",
    ),
    "query in the address": (DESTINATION_FILE, "/r4", "/r4?tenant=1", "base_url", "a query", "Take out"),
    "not an address": (
        DESTINATION_FILE,
        "https://fhir.example.org/r4",
        "fhir.example.org",
        "base_url",
        "address",
        "https://",
    ),
    "port that is none": (DESTINATION_FILE, "example.org/r4", "example.org:99999/r4", "base_url", "port", "65535"),
    "proxy that is none": (
        DESTINATION_FILE,
        "[auth]",
        'proxy = "proxy.example.org:3128"\n[auth]',
        "proxy",
        "forward proxy",
        '"http://proxy.example.org:3128"',
    ),
    "proxy with a password": (
        DESTINATION_FILE,
        "[auth]",
        'proxy = "http://me:pw@proxy.example.org:3128"\n[auth]',
        "proxy",
        "forward proxy",
        "proxy_password",
    ),
    "proxy that could read along": (
        DESTINATION_FILE,
        '"https://fhir.example.org/r4"',
        '"http://127.0.0.1:8480/fhir"\nproxy = "http://proxy.example.org:3128"',
        "proxy",
        "could read tokens and names",
        "https",
    ),
    "no client id": (DESTINATION_FILE, 'client_id = "hl7bridge"', "", "auth.client_id", "missing", 'type = "none"'),
    "no key": (DESTINATION_FILE, 'key = "file:keys/ehr.pem"', "", "auth.key", "missing", 'type = "none"'),
    "key that is no reference": (
        DESTINATION_FILE,
        "file:keys/ehr.pem",
        "keys/ehr.pem",
        "auth.key",
        "not a reference",
        '"file:',
    ),
    "key in the file": (DESTINATION_FILE, "file:keys/ehr.pem", PEM, "auth.key", "holds a private key", "reference"),
    "key elsewhere in the file": (
        DESTINATION_FILE,
        "hl7bridge",
        PEM,
        "auth.client_id",
        "holds a private key",
        "reference",
    ),
    "scope that is not needed": (
        DESTINATION_FILE,
        "[auth]",
        '[auth]\nscopes = ["system/Patient.read"]',
        "auth.scopes",
        "not a scope",
        "leave scopes out",
    ),
    "scope that can write in mode report": (
        DESTINATION_FILE,
        "[auth]",
        '[auth]\nscopes = ["system/Practitioner.write"]',
        "auth.scopes",
        "can write",
        "follow the mode",
    ),
    "waits the wrong way round": (
        DESTINATION_FILE,
        "[auth]",
        "[retry]\nfirst = '1m'\nlongest = '1s'\n[auth]",
        "retry.longest",
        "shorter",
        "longer",
    ),
    "owner that is no feed": (
        DESTINATION_FILE,
        "[auth]",
        "[owners]\ntelecom = ['payroll']\n[auth]",
        "owners.telecom",
        "no conf/feeds/payroll",
        "Write conf/feeds",
    ),
    "owned element that is none": (
        DESTINATION_FILE,
        "[auth]",
        "[owners]\ntelecon = ['hr']\n[auth]",
        "owners.telecon",
        "unknown element",
        'Did you mean "telecom"?',
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_file_key_and_advice(site: Path, name: str) -> None:
    file, old, new, key, problem, advice = MISTAKES[name]
    text = (site / file).read_text()
    assert old in text
    (site / file).write_text(text.replace(old, new, 1))
    found = problems(site)
    assert len(found) == 1, found
    assert found[0][:2] == (file, key)
    assert problem in found[0][2]
    assert advice in found[0][2] + " " + found[0][3]
    with pytest.raises(ConfigError) as caught:
        config.load(site, {})
    line = str(caught.value)
    assert line.startswith(f"{file}: {key}" if key else file)
    assert "\n" not in line
    assert "MIGH" not in line, "a key must not be repeated"


def test_every_problem_is_listed_and_load_names_the_first(site: Path) -> None:
    (site / SERVICE_FILE).write_text("[service]\nprocesing_id = 'P'\n")
    (site / FEED_FILE).write_text(FEED.replace("2575", "-1").replace("urn:uuid:", ""))
    (site / DESTINATION_FILE).write_text(DESTINATION.replace("https", "ftp"))
    assert [(file, key) for file, key, _, _ in problems(site)] == [
        (SERVICE_FILE, "service.procesing_id"),
        (FEED_FILE, "listener.port"),
        (FEED_FILE, "hl7.key_system"),
        (DESTINATION_FILE, "base_url"),
        (DESTINATION_FILE, "auth.token_url"),
    ]
    with pytest.raises(ConfigError, match=r"procesing_id: unknown key.*4 more: `hl7bridge check` lists them"):
        config.load(site, {})


def test_two_feeds_on_one_port(site: Path) -> None:
    (site / "conf/feeds/agency.toml").write_text(FEED.replace("[listener]", '[listener]\nhost = "0.0.0.0"'))
    [(file, key, problem, _)] = problems(site)
    assert (file, key) == (FEED_FILE, "listener.port")
    assert "conf/feeds/agency.toml" in problem
    (site / "conf/feeds/agency.toml").write_text(FEED.replace("2575", "0"))
    (site / FEED_FILE).write_text(FEED.replace("2575", "0"))
    assert problems(site) == [], "port 0 is another one each time"


@pytest.mark.parametrize("name", ["HR.toml", "staff feed.toml", "-x.toml", "ümlaut.toml"])
def test_a_file_name_that_is_no_name(site: Path, name: str) -> None:
    (site / "conf/feeds" / name).write_text(FEED)
    [(file, _, problem, advice)] = problems(site)
    assert file == f"conf/feeds/{name}"
    assert "name" in problem
    assert "a to z" in advice


def test_other_files_in_conf_are_left_alone(site: Path) -> None:
    (site / "conf/feeds/hr.toml~").write_text("rubbish [")
    (site / "conf/feeds/.hr.toml").write_text("rubbish [")
    assert problems(site) == []


def test_nothing_there(tmp_path: Path) -> None:
    [(file, _, problem, advice)] = problems(tmp_path)
    assert file == SERVICE_FILE
    assert str(tmp_path) in problem
    assert "hl7bridge init" in advice


def test_no_feed(site: Path) -> None:
    (site / FEED_FILE).unlink()
    [(file, _, problem, _)] = problems(site)
    assert (file, problem) == ("conf/feeds", "no feed is configured")


def test_not_utf8_and_not_readable(site: Path) -> None:
    (site / FEED_FILE).write_bytes("# für HR\n".encode("utf-16"))
    (site / SERVICE_FILE).unlink()
    (site / SERVICE_FILE).mkdir()
    found = problems(site)
    assert [(file, problem.partition(" (")[0]) for file, _, problem, _ in found] == [
        (SERVICE_FILE, "can't be read"),
        (FEED_FILE, "is not UTF-8 text"),
    ]


# --- the environment -------------------------------------------------------------------------------------------------


def test_the_environment_overrides(site: Path) -> None:
    (site / "conf/feeds/hr-two.toml").write_text(FEED)
    settings = config.load(
        site,
        {
            "HL7BRIDGE_STORE__PATH": "elsewhere.sqlite",
            "HL7BRIDGE_FEEDS__HR_TWO__LISTENER__PORT": "2600",
            "HL7BRIDGE_FEEDS__HR__HL7__CHARSET": '["utf-8", "cp1252"]',
            "HL7BRIDGE_DESTINATIONS__EHR__MODE": "write",
            "HL7BRIDGE_DESTINATIONS__EHR__ELEMENTS__SSN": "true",
            "HL7BRIDGE_TRACEBACK": "1",
            "HL7BRIDGE_TEST_FHIR": "http://127.0.0.1",
            "PATH": "/bin",
        },
    )
    assert settings.store.path == str(site / "elsewhere.sqlite")
    assert settings.feeds["hr-two"].listener.port == 2600
    assert settings.feeds["hr"].hl7.charset == ("utf-8", "cp1252")
    assert settings.destinations["ehr"].mode == "write"
    assert settings.destinations["ehr"].elements.ssn is True


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("HL7BRIDGE_FEEDS__HR__LISTENER__PROT", "1", "unknown key"),
        ("HL7BRIDGE_FEEDS__HR__LISTENER__PORT", "mllp", "is not a port"),
        ("HL7BRIDGE_STORE_PATH", "x", "is no setting"),
        ("HL7BRIDGE_SHOP__PATH", "x", "is no setting"),
        ("HL7BRIDGE_STORE", "x", "is no setting"),
        ("HL7BRIDGE_FEEDS__PAYROLL__LISTENER__PORT", "1", "there is no conf/feeds/payroll.toml"),
        ("HL7BRIDGE_FEEDS__HR__AUTHORITIES__GH", "urn:oid:1.2", "can't be set from the environment"),
        ("HL7BRIDGE_FEEDS__HR__DESTINATIONS", "[ehr", "is not a list"),
        ("HL7BRIDGE_FEEDS__HR__HL7__TIMEZONE", "Mars/Base", "is not a time zone"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(site: Path, variable: str, value: str, problem: str) -> None:
    (site / FEED_FILE).write_text(FEED.replace("2575", "2575", 1))
    [(file, key, found, _)] = problems(site, **{variable: value, "HL7BRIDGE_LOG__LEVEL": "debug"})
    assert (file, key) == ("environment", variable)
    assert problem in found


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_are_read_from_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.pem").write_bytes(b"from a file\n")
    monkeypatch.setenv("EHR_KEY", "from the environment")
    assert SecretReference.parse("file:key.pem", tmp_path).read() == b"from a file\n"
    assert SecretReference.parse(f"file:{tmp_path / 'key.pem'}", Path("/elsewhere")).read() == b"from a file\n"
    assert SecretReference.parse("env:EHR_KEY").read() == b"from the environment"


def test_a_secret_from_the_credential_store(monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring

    monkeypatch.setattr(keyring, "get_password", lambda service, name: f"{service} {name}" if name == "ehr" else None)
    assert SecretReference.parse("keyring:hl7bridge/ehr").read() == b"hl7bridge ehr"
    with pytest.raises(ConfigError, match='holds no "other" of "hl7bridge"'):
        SecretReference.parse("keyring:hl7bridge/other").read()


def command(*code: str) -> str:
    return f"exec:{shlex.join([sys.executable, '-c', *code])}"


def test_a_secret_from_a_command(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("from a vault")
    code = "import sys; print(open('kept').read(), sys.argv[1:])"
    read = SecretReference.parse(command(code, "$HOME", "a b"), tmp_path).read()
    assert read.split() == b"from a vault ['$HOME', 'a b']".split(), "no shell reads it"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; print('CANARY'); sys.exit('CANARY')", "ended with exit code 1"),
        ("pass", "wrote nothing"),
        ("print(' ')", "wrote nothing"),
        ("print('CANARY' * 20000)", "wrote too much"),
        ("while True: print('CANARY' * 20000)", r"wrote too much for a secret \(more than 64 KiB\)"),
        ("import sys; print('CANARY', flush=True); sys.stdout.close(); import time; time.sleep(30)", "does not end"),
        ("import time; print('CANARY', flush=True); time.sleep(30)", "does not end within 0 seconds"),
    ],
)
def test_a_command_that_gives_no_secret(
    code: str, problem: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if "sleep" in code:
        monkeypatch.setattr("hl7bridge.config.secrets.COMMAND_TIMEOUT", 0.3)
    with pytest.raises(ConfigError, match=problem) as raised:
        SecretReference.parse(command(code), file="f.toml", key="auth.key").read()
    assert raised.value.__context__ is None
    assert "CANARY" not in str(raised.value) + "".join(capfd.readouterr())


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="can't be run"):
        SecretReference.parse("exec:no-such-command-anywhere --key CANARY").read()


@pytest.mark.parametrize(
    "text", ["", "key.pem", "vault:x", "file:", "keyring:alone", "keyring:/x", "file:a\nb", "exec:", "exec:vault 'read"]
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SecretReference.parse(text, file="f.toml", key="auth.key")
    assert str(caught.value).startswith("f.toml: auth.key: ")


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "does not exist"), (b"", "is empty"), (b" \n", "is empty"), (b"x" * 70000, "is too large for a secret")],
)
def test_a_secret_that_is_not_there(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "key.pem").write_bytes(content)
    reference = SecretReference.parse("file:key.pem", tmp_path, "conf/destinations/ehr.toml", "auth.key")
    with pytest.raises(ConfigError) as caught:
        reference.read()
    assert re.match(rf"conf/destinations/ehr.toml: auth.key: .*{problem}\. \w+", str(caught.value))


@pytest.mark.parametrize(
    ("key", "advice"), [("auth.key", "keys generate"), ("proxy_password", "Write it"), ("listener.tls.key", "Write it")]
)
def test_what_to_do_about_a_missing_secret_fits_its_kind(tmp_path: Path, key: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        SecretReference.parse("file:secret", tmp_path, "conf/f.toml", key).read()


def test_a_secret_that_should_be_text_and_is_none(tmp_path: Path) -> None:
    path = tmp_path / "password"
    reference = SecretReference.parse("file:password", tmp_path, "conf/f.toml", "proxy_password")
    path.write_bytes(" gehe\u00fc\n".encode())
    assert reference.read_text() == "gehe\u00fc"
    path.write_bytes("gehe\u00fc".encode("latin-1"))
    with pytest.raises(ConfigError, match="no text in UTF-8") as caught:
        reference.read_text()
    assert caught.value.__context__ is None  # it would hold the secret


def test_a_secret_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EHR_KEY", raising=False)
    with pytest.raises(ConfigError, match="the environment variable EHR_KEY is not set"):
        SecretReference.parse("env:EHR_KEY").read()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs an account that permissions bind")
def test_a_secret_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"k")
    (tmp_path / "key.pem").chmod(0)
    with pytest.raises(ConfigError, match="can't be read"):
        SecretReference.parse("file:key.pem", tmp_path).read()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file modes")
def test_a_key_file_that_others_can_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"k")
    reference = SecretReference.parse("file:key.pem", tmp_path)
    path.chmod(0o600)
    assert reference.exposure() == ""
    path.chmod(0o644)
    assert "0644" in reference.exposure()


# --- the shipped files -----------------------------------------------------------------------------------------------

CONF = Path(__file__).parents[1] / "conf"
SHIPPED = {
    SERVICE_FILE: CONF / "hl7bridge.toml",
    "conf/feeds/NAME.toml": CONF / "feeds" / "staff.toml",
    "conf/destinations/NAME.toml": CONF / "destinations" / "ehr.toml",
    "conf/maps/NAME.toml": CONF / "maps" / "example.toml",
    "conf/tasks/NAME.toml": CONF / "tasks" / "leaver-access.toml",
}


def test_the_shipped_files_are_good() -> None:
    settings = config.load(CONF.parent, {})
    assert list(settings.feeds) == ["staff"]
    assert settings.destinations["ehr"].mode == "report"


@pytest.mark.parametrize("key", [key for key in config.reference() if key.file in SHIPPED], ids=lambda key: key.key)
def test_the_shipped_files_show_every_key_with_its_default(key: config.Key) -> None:
    section, _, name = key.key.rpartition(".")
    text = SHIPPED[key.file].read_text(encoding="utf-8")
    if key.default == "none":  # a section of free names
        assert re.search(rf"^(# )?\[?\[{key.key}[\].]", text, re.MULTILINE)
        return
    part = re.split(r"^\[(?=[\w.]+\]$)", text, flags=re.MULTILINE)
    body = part[0] if not section else next(found for found in part if found.startswith(f"{section}]"))
    line = re.search(rf"^(# )?{name} = (.*)$", body, re.MULTILINE)
    assert line, f"{key.key} is not shown"
    if line[1]:
        assert line[2] == key.default
