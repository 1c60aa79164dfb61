"""The certificates of a listener: what is read, what is wrong with them, when they are changed, and what is told before they
end."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

import hl7bridge
from hl7bridge.assemble.certificates import Certificates, certificates_of, names_of
from hl7bridge.assemble.feeds import feed_policy
from hl7bridge.config import Feed as FeedSettings
from hl7bridge.config import examine
from hl7bridge.desk.setup.readiness import report
from hl7bridge.errors import ConfigError
from hl7bridge.intake.senders import Senders
from hl7bridge.service.inbound.tls import LOOK_EVERY, ListenerTls, secured, watch_certificates
from hl7bridge.service.reloading import ReloadRefused, read_again
from tests.bridges import Feed, destination, write_configuration
from tests.certificates import Authority
from tests.journey import KEY_SYSTEM

DAY = 86400.0
SECRET = "a value that must not be told"


def settings_of(folder: Path, **listener: object) -> FeedSettings:
    feed = Feed("staff", KEY_SYSTEM, settings={"listener": listener})
    write_configuration(folder, [feed], {"fhir": destination("http://127.0.0.1:9/fhir")})
    settings, problems = examine(folder)
    assert settings is not None, problems
    return settings.feeds["staff"]


def tls_of(folder: Path, days: float = 365) -> dict[str, str]:
    issued = Authority(folder, "ca").issue("listener", days=days)
    return {"certificate": str(issued.certificate), "key": f"file:{issued.key}"}


def listener_tls(folder: Path, now: float = 0.0) -> ListenerTls:
    feed = settings_of(folder, tls=tls_of(folder))
    certificates = certificates_of(feed)
    assert certificates is not None
    return ListenerTls(certificates, lambda: certificates_of(feed), structlog.get_logger(), lambda: now)


# --- what is wrong with them -----------------------------------------------------------------------------------------

WRONG = {
    "no key": ({"key": ""}, "listener.tls.key", "is not set"),
    "a key alone": ({"certificate": ""}, "listener.tls.certificate", "is not set, so that key"),
    "a certificate that is missing": ({"certificate": "nowhere.crt"}, "listener.tls.certificate", "can't be read"),
    "a certificate that is none": ({"certificate": "text.pem"}, "listener.tls.certificate", "holds no certificate"),
    "a key that is none": ({"key": "file:text.pem"}, "listener.tls.key", "is no private key"),
    "another's key": ({"key": "file:other.key"}, "listener.tls.key", "is not the key of the certificate"),
    "authorities that are none": ({"client_ca": "text.pem"}, "listener.tls.client_ca", "holds no certificate"),
    "peers without authorities": ({"peers": {"cn:a": ["HR"]}}, "listener.tls.client_ca", "is not set"),
}


@pytest.mark.parametrize(("given", "key", "problem"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said_with_its_key(tmp_path: Path, given: dict[str, object], key: str, problem: str) -> None:
    (tmp_path / "text.pem").write_text("no certificate, and no key")
    Authority(tmp_path, "ca2").issue("other")
    feed = settings_of(tmp_path, tls=tls_of(tmp_path) | given)
    with pytest.raises(ConfigError, match=problem) as caught:
        certificates_of(feed)
    assert (caught.value.file, caught.value.key) == ("conf/feeds/staff.toml", key)
    assert caught.value.advice
    errors = [line for line in report(tmp_path) if line.verdict == "error"]
    assert [line.key for line in errors] == [key]


@pytest.mark.parametrize("name", ["engine-a", "cn:", "sha256:abc", "dn:x"])
def test_a_certificate_has_a_name_of_three_kinds(tmp_path: Path, name: str) -> None:
    feed = Feed("staff", KEY_SYSTEM, settings={"listener": {"tls": {"peers": {name: ["HR"]}}}})
    write_configuration(tmp_path, [feed], {"fhir": destination("http://127.0.0.1:9/fhir")})
    _, problems = examine(tmp_path)
    assert "is not the name of a certificate" in str(problems[0])


def test_names_of_a_certificate(tmp_path: Path) -> None:
    made = Authority(tmp_path, "ca").issue("Engine-A", names=("engine.example.org", "192.0.2.7"))
    found = names_of(made.made)
    assert found == (f"sha256:{made.fingerprint}", "cn:engine-a", "san:engine.example.org", "san:192.0.2.7")
    certificates = Certificates(
        b"", b"", peers={"cn:engine-a": Senders.written(["HR"]), "cn:b": Senders.written(["X"])}
    )
    assert certificates.senders(found) == Senders.written(["HR"])
    assert certificates.senders(["cn:c"]) == Senders()
    assert Certificates((), None).senders(found) is None


# --- without TLS -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listener", "refused"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "192.0.2.7"}, True),
        ({"host": "0.0.0.0", "plain": "allow"}, False),
    ],
)
def test_other_machines_are_heard_in_the_clear_only_where_somebody_said_so(
    tmp_path: Path, listener: dict[str, object], refused: bool
) -> None:
    feed = settings_of(tmp_path, **listener)  # the folder opens in any case
    lines = [line for line in report(tmp_path) if line.key == "listener.plain"]
    assert [line.verdict for line in lines] == ["error"] * refused
    if refused:
        with pytest.raises(ConfigError, match="readable on the way"):
            secured(feed, structlog.get_logger())
    else:
        assert secured(feed, structlog.get_logger()) is None


def test_a_reload_that_would_take_the_permission_away_changes_nothing(tmp_path: Path) -> None:
    settings_of(tmp_path, host="0.0.0.0", plain="allow")
    started, _ = examine(tmp_path)
    settings_of(tmp_path, host="0.0.0.0")
    assert started is not None
    with pytest.raises(ReloadRefused, match="readable on the way"):
        read_again(started, started, feed_policy)


@pytest.mark.parametrize("turned", ["on", "off"])
def test_to_turn_tls_on_or_off_takes_a_restart(tmp_path: Path, turned: str) -> None:
    plain, secure = {}, {"tls": tls_of(tmp_path)}
    before, after = (plain, secure) if turned == "on" else (secure, plain)
    settings_of(tmp_path, **before)
    started, _ = examine(tmp_path)
    settings_of(tmp_path, **after)
    assert started is not None
    applied = read_again(started, started, feed_policy)
    assert applied.restart == ("conf/feeds/staff.toml: listener.tls",)


def test_with_tls_any_address_will_do(tmp_path: Path) -> None:
    feed = settings_of(tmp_path, host="0.0.0.0", tls=tls_of(tmp_path))
    assert secured(feed, structlog.get_logger()) is not None


# --- certificates that end, and that change --------------------------------------------------------------------------


def test_the_end_of_a_certificate_is_told_before(tmp_path: Path) -> None:
    now = [0.0]
    tls = listener_tls(tmp_path)
    tls._now = lambda: now[0]
    told = {}
    for left in (400, 31, 30, 29, 15, 14, 13, 8, 7, 6, 2, 0.9, 0.5, -0.1, -5):
        now[0] = tls.certificates.expires - left * DAY
        with capture_logs() as lines:
            for _ in range(3):
                tls.renew(tls.read_again())
        told[left] = [(line["log_level"], line["days_left"]) for line in lines]
    assert {left: found for left, found in told.items() if found} == {
        30: [("warning", 30)],
        14: [("warning", 14)],
        7: [("warning", 7)],
        0.9: [("error", 0)],
        -0.1: [("error", 0)],
    }


@pytest.mark.parametrize(("days", "verdict"), [(400, "good"), (29.5, "warning"), (-1, "error")])
def test_check_says_when_a_certificate_ends(tmp_path: Path, days: float, verdict: str) -> None:
    settings_of(tmp_path, tls=tls_of(tmp_path, days=days))
    lines = [line for line in report(tmp_path) if "TLS" in line.text or line.key == "listener.tls.certificate"]
    assert [line.verdict for line in lines] == ["good", *[verdict] * (verdict != "good")]


def test_files_that_changed_are_read_again_and_what_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    tls = listener_tls(tmp_path)
    first, context = tls.certificates, tls._context
    with capture_logs() as lines:
        tls.renew(tls.read_again())
    assert (tls.certificates, lines) == (first, [])
    path = first.files[0]
    path.write_text("no certificate")
    with capture_logs() as lines:
        tls.renew(tls.read_again())
        tls.renew(tls.read_again())
    assert (tls.certificates, tls._context) == (first, context)
    assert [line["event"] for line in lines] == ["changed certificates refused, the old ones stay"]
    Authority(tmp_path, "ca").issue("listener")
    os.utime(path, (1e9, 1e9))
    with capture_logs() as lines:
        tls.renew(tls.read_again())
    assert tls.certificates != first
    assert tls._context is not context
    assert [line["event"] for line in lines] == ["certificates read again"]


def test_what_was_read_before_a_reload_does_not_undo_it(tmp_path: Path) -> None:
    tls = listener_tls(tmp_path)
    Authority(tmp_path, "ca").issue("listener")
    read = tls.read_again()
    assert read is not None
    Authority(tmp_path, "ca").issue("listener")
    reloaded = tls._read()
    assert reloaded is not None
    tls.follow(reloaded, tls._read)
    tls.renew(read)
    assert tls.certificates is reloaded


@pytest.mark.parametrize("fault", [ConfigError("is wrong"), ValueError(SECRET)])
def test_whatever_is_wrong_with_changed_files_is_told_and_looked_at_again(tmp_path: Path, fault: Exception) -> None:
    tls = listener_tls(tmp_path)
    first, read = tls.certificates, tls._read

    def broken() -> None:
        raise fault

    tls._read = broken  # type: ignore[assignment]
    os.utime(first.files[0], (1e9, 1e9))
    with capture_logs() as lines:
        tls.renew(tls.read_again())
    assert [line["event"] for line in lines] == ["changed certificates refused, the old ones stay"]
    assert SECRET not in str(lines)
    tls._read = read
    Authority(tmp_path, "ca").issue("listener")
    tls.renew(tls.read_again())
    assert tls.certificates != first


def test_files_are_read_beside_the_reactor_and_looked_at_again_whatever_happens(tmp_path: Path) -> None:
    clock = Clock()
    read: list[Deferred[Any]] = []

    def aside(work: object) -> Deferred[Any]:
        """A thread that takes its time."""
        read.append(Deferred())
        return read[-1]

    with capture_logs() as lines:
        watch_certificates(clock, [listener_tls(tmp_path)], structlog.get_logger(), aside)
        for number in (1, 2):
            clock.advance(10 * LOOK_EVERY)
            assert len(read) == number
            read[-1].errback(SystemError(SECRET))
    assert [line["event"] for line in lines] == ["certificates not looked at"] * 2
    assert SECRET not in str(lines)


def test_the_example_of_the_guide_is_a_feed(tmp_path: Path) -> None:
    page = (Path(hl7bridge.__file__).parent / "guide" / "connections.md").read_text(encoding="utf-8")
    given = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])["listener"]
    settings = settings_of(tmp_path, **given)
    assert len(settings.listener.tls.peers) == 3
    assert not settings.listener.in_the_clear
