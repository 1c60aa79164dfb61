"""`init`, `check`, `keys`: from nothing to a configuration that is right."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from hl7bridge import config
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.assemble.stores import store_location
from hl7bridge.cli.mapping.map_lint import mistakes
from hl7bridge.cli.setup import init as init_module
from hl7bridge.cli.setup.init import FILES, set_key
from hl7bridge.desk.setup.readiness import SHIPPED_KEY_SYSTEM
from hl7bridge.errors import ConfigError
from hl7bridge.intake.intake import Intake
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.sqlite.driver import sqlite3
from tests.cli.conftest import MESSAGE, Ended

Command = Callable[..., Ended]


def test_init_writes_files_that_check_accepts(command: Command, site: Path) -> None:
    ended = command("check", site)
    assert ended.code == 0, ended
    assert all(line.startswith("good") for line in ended.out.splitlines())
    settings = config.load(site, {})
    assert settings.destinations["ehr"].mode == "report"
    assert settings.feeds["staff"].hl7.key_system.startswith("urn:uuid:")


def test_each_init_has_a_key_system_of_its_own(command: Command, tmp_path: Path) -> None:
    systems = set()
    for name in ("a", "b"):
        assert command("init", tmp_path / name).code == 0
        systems.add(config.load(tmp_path / name, {}).feeds["staff"].hl7.key_system)
    assert len(systems) == 2
    assert "urn:uuid:00000000-0000-0000-0000-000000000000" not in systems


def test_init_never_overwrites(command: Command, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / FILES[0]).write_text("# mine\n")
    ended = command("init", tmp_path, "--json")
    assert ended.code == 0
    assert ended.json["left"] == [FILES[0]]
    assert ended.json["written"] == list(FILES[1:])
    assert (tmp_path / FILES[0]).read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        (("mirth",), {"unavailable": "close", "mode": "original", "profile": "generic"}),
        (("rhapsody",), {"unavailable": "AR", "mode": "original", "profile": "generic"}),
        (("epic",), {"unavailable": "AR", "mode": "as-asked", "profile": "epic"}),
        (("epic", "mirth"), {"unavailable": "close", "mode": "original", "profile": "epic"}),
    ],
)
def test_profiles_set_starting_values(
    command: Command, tmp_path: Path, profiles: tuple[str, ...], expected: dict[str, str]
) -> None:
    arguments = [part for name in profiles for part in ("--profile", name)]
    ended = command("init", tmp_path, *arguments)
    assert ended.code == 0
    settings = config.load(tmp_path, {})
    answers, destination = settings.feeds["staff"].acknowledgment, settings.destinations["ehr"]
    said = {"unavailable": answers.codes.unavailable, "mode": answers.mode, "profile": destination.profile}
    assert said == expected
    assert answers.ack_deadline < 5
    assert destination.mode == "report"
    assert settings.feeds["staff"].map == ("" if profiles == ("epic",) else profiles[-1])
    assert set(settings.maps) == {"example", *profiles}
    assert list(mistakes(tmp_path)) == []
    for name in profiles:
        used = "is used by conf/feeds/staff.toml" if settings.feeds["staff"].map == name else "is used by no feed yet"
        assert f"conf/maps/{name}.toml {used}" in ended.err
    if "epic" in profiles:
        assert "keys generate" in ended.err
        assert destination.requests_per_second == 2


def test_an_unknown_profile(command: Command, tmp_path: Path) -> None:
    ended = command("init", tmp_path, "--profile", "cerner")
    assert ended.code == 2
    assert "epic" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_every_starting_value_has_a_line_in_its_file() -> None:
    for values in init_module.STARTING_VALUES.values():
        for file, section, key, value in values:
            text = (init_module.packaged("conf") / file.removeprefix("conf/")).read_text()
            changed = tomllib.loads(set_key(text, section, key, value))
            for part in section.split(".") if section else ():
                changed = changed[part]
            assert changed[key] == tomllib.loads(f"v = {value}")["v"]
    with pytest.raises(ConfigError):
        set_key("a = 1\n", "", "b", "2")


def test_the_machines_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":America/Chicago")
    assert init_module.machine_timezone() == "America/Chicago"
    monkeypatch.setenv("TZ", "Nowhere/Land")
    assert init_module.machine_timezone() != "Nowhere/Land"


# --- check -----------------------------------------------------------------------------------------------------------


def edit(site: Path, file: str, old: str, new: str) -> None:
    text = (site / file).read_text()
    assert old in text
    (site / file).write_text(text.replace(old, new, 1))


FEED, DESTINATION, SERVICE = FILES[1], FILES[2], FILES[0]


def smart(site: Path, key: str) -> None:
    edit(site, DESTINATION, 'type = "none"', f'type = "smart"\nclient_id = "me"\nkey = "{key}"')


def line_of(ended: Ended, verdict: str) -> str:
    [line] = [line for line in ended.out.splitlines() if line.startswith(verdict)]
    return line.removeprefix(verdict).strip()


def came(site: Path, *files: str) -> None:
    """Messages with these in MFI-1 came to the feed."""
    settings = config.load(site, {})
    policy = feed_policy(settings.feeds["staff"], settings)
    store = SqliteStore(store_location(settings))
    for number, name in enumerate(files):
        raw = MESSAGE.format(id=f"F{number}", tail="").replace("MFI|STF^Staff^HL70175", f"MFI|{name}").encode()
        (prepared,) = Intake(policy, b"k" * 32).prepare(raw, "peer")
        assert prepared.new is not None
        store.inbox.accept([prepared.new], 1_771_000_000.0)
    store.close()


def test_check_lists_the_master_files_that_came(command: Command, site: Path) -> None:
    assert "MFI-1" not in command("check", site).out
    came(site, "STF", "PRA^Practitioner", "STF", "LOC")
    ended = command("check", site)
    assert ended.code == 0
    assert "staff: master files that came lately (MFI-1): STF (2), LOC (1), PRA (1)" in " ".join(ended.out.split())


@pytest.mark.parametrize(("means", "code"), [("STF", 0), ("LOC", 0), ("", 1)])
def test_check_asks_what_a_master_file_is_that_no_table_knows(
    command: Command, site: Path, means: str, code: int
) -> None:
    came(site, "DOC", "STF", "DOC")
    if means:
        with (site / FEED).open("a") as file:
            file.write(f'[tables.0175]\nDOC = "{means}"\n')
    ended = command("check", site)
    assert ended.code == code, ended
    assert "DOC (2), STF (1)" in ended.out
    if code:
        line = line_of(ended, "warning")
        assert line.startswith(f"{FEED}: tables.0175: does not say what MFI-1 DOC is: ")
        assert 'DOC = "STF"' in line


def test_check_upgrades_no_store(command: Command, site: Path) -> None:
    came(site, "DOC")
    path = store_location(config.load(site, {}))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM migration WHERE number > 1")
    before = Path(path).read_bytes()
    assert "MFI-1" not in command("check", site).out
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("as-asked", "as MSH-15 and MSH-16 of each message ask; both empty = one answer"),
        ("original", "one to each message, whatever MSH-15 and MSH-16 ask"),
        ("enhanced", "as MSH-15 and MSH-16 of each message ask; one left empty counts as AL"),
    ],
)
@pytest.mark.parametrize("late", ["", "127.0.0.1:2576"])
def test_check_says_which_answers_a_feed_gives(command: Command, site: Path, mode: str, said: str, late: str) -> None:
    for key, value in (("mode", mode), ("application_acknowledgment_to", late)):
        path = site / "conf/feeds/staff.toml"
        path.write_text(set_key(path.read_text(), "acknowledgment", key, f'"{value}"'))
    ended = command("check", site)
    unused = mode == "original" and bool(late)
    assert ended.code == (1 if unused else 0)
    assert f'staff: answers (acknowledgment.mode "{mode}"): {said}' in " ".join(ended.out.split())
    assert ("acknowledgment.application_acknowledgment_to: is not used" in ended.out) is unused


def test_check_lists_every_problem_with_place_and_advice(command: Command, site: Path) -> None:
    edit(site, FEED, "port = 0", "prot = 0")
    edit(site, SERVICE, "[service]", "[servise]")
    ended = command("check", site, "--json")
    assert ended.code == 2
    assert [(line["file"], line["key"], line["verdict"]) for line in ended.json["lines"]] == [
        (SERVICE, "servise", "error"),
        (FEED, "listener.prot", "error"),
    ]
    assert all(line["problem"] and line["advice"] for line in ended.json["lines"])


def test_plain_http_to_another_machine(command: Command, site: Path) -> None:
    edit(site, DESTINATION, "http://127.0.0.1:8480/fhir", "http://fhir.example.org/r4")
    ended = command("check", site)
    assert ended.code == 2
    assert line_of(ended, "error").startswith(f"{DESTINATION}: base_url: is plain http to another machine")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("file:keys/none.pem", "none.pem does not exist"),
        ("env:NO_SUCH_KEY", "NO_SUCH_KEY is not set"),
        ("file:keys/junk.pem", "Make one with"),
    ],
)
def test_a_key_that_is_not_there(command: Command, site: Path, key: str, said: str) -> None:
    (site / "keys").mkdir()
    (site / "keys" / "junk.pem").write_text("junk")
    smart(site, key)
    ended = command("check", site)
    assert ended.code == 2
    line = line_of(ended, "error")
    assert line.startswith(f"{DESTINATION}: auth.key: ")
    assert said in line


def test_a_key_that_is_there(command: Command, site: Path) -> None:
    smart(site, "file:keys/ehr.pem")
    assert command("keys", "generate", site / "keys" / "ehr.pem").code == 0
    ended = command("check", site)
    assert ended.code == 0, ended
    assert "ehr: ES384 key " in ended.out


def test_a_key_that_is_not_used_deserves_a_look(command: Command, site: Path) -> None:
    edit(site, DESTINATION, '# client_id = ""', 'client_id = "me"')
    ended = command("check", site)
    assert ended.code == 1
    assert line_of(ended, "warning").startswith(f"{DESTINATION}: auth.type: is none, so that client_id and key are not")


def test_what_the_example_holds_deserves_a_look(command: Command, tmp_path: Path) -> None:
    assert command("init", tmp_path, "--profile", "epic").code == 0
    assert command("keys", "generate", tmp_path / "keys" / "ehr.pem").code == 0
    feed = tmp_path / FEED
    current = config.load(tmp_path, {}).feeds["staff"].hl7.key_system
    feed.write_text(feed.read_text().replace(current, SHIPPED_KEY_SYSTEM).replace("port = 2575", "port = 0"))
    ended = command("check", tmp_path)
    assert ended.code == 1
    assert f"{DESTINATION}: auth.client_id: is still that of" in ended.out
    assert f"{FEED}: hl7.key_system: is that of the example" in ended.out


def test_the_size_of_a_key_that_has_none(command: Command, tmp_path: Path) -> None:
    ended = command("keys", "generate", tmp_path / "a.pem", "--bits", "4096")
    assert ended.code == 2
    assert "--algorithm RS384" in ended.err
    assert not (tmp_path / "a.pem").exists()


def test_a_key_for_another_algorithm(command: Command, site: Path) -> None:
    smart(site, "file:keys/ehr.pem")
    command("keys", "generate", site / "keys" / "ehr.pem", "--algorithm", "RS384", "--bits", "2048")
    ended = command("check", site)
    assert ended.code == 2
    assert line_of(ended, "error").startswith(f"{DESTINATION}: auth.algorithm: is ES384, the key is for RS384")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file modes")
def test_a_key_that_others_can_read_deserves_a_look(command: Command, site: Path) -> None:
    smart(site, "file:keys/ehr.pem")
    command("keys", "generate", site / "keys" / "ehr.pem")
    (site / "keys" / "ehr.pem").chmod(0o644)
    ended = command("check", site)
    assert ended.code == 1
    assert "0644" in line_of(ended, "warning")


def test_a_port_in_use_deserves_a_look(command: Command, site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        edit(site, FEED, "port = 0", f"port = {port}")
        ended = command("check", site)
    assert ended.code == 1
    line = line_of(ended, "warning")
    assert line.startswith(f"{FEED}: listener.port: can't listen on 127.0.0.1:{port} (address already in use)")
    assert "choose another port" in line


def test_an_address_of_another_machine(command: Command, site: Path) -> None:
    edit(site, FEED, 'host = "127.0.0.1"', 'host = "192.0.2.1"\nplain = "allow"')
    ended = command("check", site)
    assert ended.code == 2
    assert line_of(ended, "error").startswith(f"{FEED}: listener.port: can't listen on 192.0.2.1:0 (")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("conf/hl7bridge.toml/x.sqlite", "is a file, not a folder"),
        ("conf", "is a folder"),
        ("conf/hl7bridge.toml", "is not a SQLite database"),
    ],
)
def test_a_store_that_cannot_be(command: Command, site: Path, path: str, said: str) -> None:
    edit(site, SERVICE, '# path = "data/hl7bridge.sqlite"', f'path = "{path}"')
    ended = command("check", site)
    assert ended.code == 2
    line = line_of(ended, "error")
    assert line.startswith(f"{SERVICE}: store.path: ")
    assert said in line


def test_a_log_that_cannot_be_written(command: Command, site: Path) -> None:
    edit(site, SERVICE, '# file = ""', 'file = "nowhere/hl7bridge.log"')
    ended = command("check", site)
    assert ended.code == 2
    assert line_of(ended, "error").startswith(f"{SERVICE}: log.file: ")


def test_a_certificate_file_without_certificates(command: Command, site: Path) -> None:
    edit(site, DESTINATION, "http://127.0.0.1:8480/fhir", "https://127.0.0.1:8480/fhir")
    edit(site, DESTINATION, '# ca_file = ""', 'ca_file = "conf/hl7bridge.toml"')
    ended = command("check", site)
    assert ended.code == 2
    assert line_of(ended, "error").startswith(f"{DESTINATION}: ca_file: no certificates can be read")


def test_a_table_that_nothing_uses_deserves_a_look(command: Command, site: Path) -> None:
    with (site / FEED).open("a") as file:
        file.write('\n[tables.9876]\nX = "Y"\n')
    ended = command("check", site)
    assert ended.code == 1
    assert line_of(ended, "warning").startswith(f"{FEED}: tables.9876: ")


def test_the_folder_may_come_from_the_environment(
    command: Command, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL7BRIDGE_CONFIG", str(site))
    assert command("check").code == 0


# --- keys ------------------------------------------------------------------------------------------------------------


def test_keys_generate_writes_for_the_owner_alone_and_never_overwrites(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ehr.pem"
    ended = command("keys", "generate", path, "--json")
    assert ended.code == 0
    assert (ended.json["algorithm"], ended.json["file"]) == ("ES384", str(path))
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    assert content.startswith(b"-----BEGIN PRIVATE KEY-----")
    again = command("keys", "generate", path)
    assert again.code == 2
    assert "exists already" in again.err
    assert path.read_bytes() == content
    assert "PRIVATE" not in ended.out + ended.err + again.out + again.err


def test_keys_jwks_prints_public_halves_only(command: Command, site: Path) -> None:
    import json

    first, second = site / "keys" / "a.pem", site / "keys" / "b.pem"
    command("keys", "generate", first)
    command("keys", "generate", second, "--algorithm", "RS384", "--bits", "2048")
    keys = json.loads(command("keys", "jwks", first, second).out)["keys"]
    assert [(key["kty"], key["alg"]) for key in keys] == [("EC", "ES384"), ("RSA", "RS384")]
    assert not {"d", "p", "q"} & {name for key in keys for name in key}
    smart(site, "file:keys/a.pem")
    assert json.loads(command("keys", "jwks", "--config", site).out)["keys"] == keys[:1]


def test_keys_jwks_without_a_key(command: Command, site: Path) -> None:
    ended = command("keys", "jwks", "--config", site)
    assert ended.code == 2
    assert "no destination signs with a key" in ended.err
    assert command("keys", "jwks", site / "none.pem").code == 2
