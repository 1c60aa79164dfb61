"""MLLP over TLS: who gets in, who may send as whom, and certificates that change while messages come."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hl7bridge.store.opening import open_store
from tests.bridges import Bridge, Feed, running_bridge, wait_until
from tests.certificates import Authority, Issued
from tests.journey import KEY_SYSTEM, mfn, person
from tests.mllp_peer import END, START, Connection, read_answer

_number = iter(range(1_000_000))


@dataclass
class Site:
    """An authority that the listener trusts, one that it does not, and what they issued."""

    trusted: Authority
    other: Authority
    listener: Issued
    a: Issued
    b: Issued
    nobody: Issued
    expired: Issued
    strange: Issued

    @classmethod
    def made(cls, folder: Path) -> Site:
        trusted, other = Authority(folder, "engines-ca"), Authority(folder, "other-ca")
        return cls(
            trusted,
            other,
            trusted.issue("listener"),
            trusted.issue("engine-a"),
            trusted.issue("engine-b", names=("engine-b.example.org",)),
            trusted.issue("nobody"),
            trusted.issue("expired", days=-1),
            other.issue("strange"),
        )

    def feed(self, name: str = "staff", **tls: object) -> Feed:
        own = {
            "certificate": str(self.listener.certificate),
            "key": f"file:{self.listener.key}",
            "client_ca": str(self.trusted.file),
            "peers": {
                "cn:engine-a": ["HR|NORTH"],
                "san:Engine-B.example.org": ["LAB", "LABTEST"],
                f"sha256:{self.a.fingerprint.upper()}": ["PAYROLL"],
            },
        }
        return Feed(name, KEY_SYSTEM, settings={"listener": {"tls": own | tls}})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.made(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Bridge]:
    feeds = [
        site.feed("staff"),
        site.feed("newest", minimum="1.3"),
        site.feed("anybody", client_ca="", peers={}),
    ]
    folder = tmp_path_factory.mktemp("tls")
    with running_bridge(folder, "http://127.0.0.1:9/fhir", feeds=feeds, role="listener") as running:
        yield running


class Secured(Connection):
    """One MLLP connection over TLS; the certificate of the other side is checked."""

    def __init__(
        self,
        port: int,
        authority: Authority,
        own: Issued | None = None,
        version: ssl.TLSVersion | None = None,
    ) -> None:
        context = ssl.create_default_context(cafile=str(authority.file))
        if version is not None:
            context.minimum_version = context.maximum_version = version
            if version < ssl.TLSVersion.TLSv1_2:
                context.set_ciphers("ALL:@SECLEVEL=0")
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        super().__init__(("127.0.0.1", port))
        plain = self.socket
        try:
            self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        except BaseException:
            plain.close()
            raise


def message(application: str = "HR", facility: str = "NORTH") -> tuple[str, bytes]:
    number = next(_number)
    body = mfn(f"t{number}", person("MAD", f"T{number}", "Tamsworth^Ilse")).split(b"|")
    body[2:4] = [application.encode(), facility.encode()]
    return f"t{number}", b"|".join(body)


def asked(connection: Connection, application: str = "HR", facility: str = "NORTH") -> str:
    """MSA-1 of the answer; MSA-2 is checked."""
    control_id, body = message(application, facility)
    connection.send(body)
    frame = connection.read(5)
    assert frame is not None
    answer = read_answer(frame)
    assert answer.control_id == control_id
    return answer.code


def told(bridge: Bridge, event: str, after: int = 0) -> list[dict[str, Any]]:
    """The lines of the log about it that came since, one at least."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        lines = map(json.loads, bridge.log.read_text().splitlines())
        found[:] = [line for line in lines if line["event"] == event][after:]
        return bool(found)

    wait_until(look, 5, f"{event} in the log")
    return found


def count(bridge: Bridge, event: str) -> int:
    return bridge.log.read_text().count(f'"event": "{event}"')


def reload(bridge: Bridge) -> bool:
    """Have conf/ read again; whether it was accepted."""
    with closing(open_store(bridge.store_path)) as store:
        request = store.reloads.ask_reload("ana", time.time())
        wait_until(lambda: not store.reloads.reload_asked(), 10, "the reload is answered")
        return bool(store.reloads.reloads(request=request)[0].accepted)


FAILED, NOT_THEIRS = "TLS handshake failed", "refused, MSH-3 and MSH-4 are not those of the sender's certificate"


def is_refused(connect: object) -> bool:
    """Whether no message is taken; in TLS 1.3 the refusal comes after the handshake."""
    try:
        with connect() as connection:  # type: ignore[operator]
            asked(connection)
    except (ssl.SSLError, ConnectionError, AssertionError):
        return True
    return False


# --- who gets in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(bridge: Bridge, site: Site, version: ssl.TLSVersion) -> None:
    with Secured(bridge.ports["staff"], site.trusted, site.a, version) as connection:
        assert connection.socket.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]  # type: ignore[attr-defined]
        assert asked(connection) == "AA"


def test_the_newest_that_both_speak_is_taken(bridge: Bridge, site: Site) -> None:
    with Secured(bridge.ports["staff"], site.trusted, site.a) as connection:
        assert connection.socket.version() == "TLSv1.3"  # type: ignore[attr-defined]


REFUSED = [
    ("staff", "a", ssl.TLSVersion.TLSv1, "protocol"),
    ("staff", "a", ssl.TLSVersion.TLSv1_1, "protocol"),
    ("newest", "a", ssl.TLSVersion.TLSv1_2, "protocol"),
    *(
        (feed, own, version, why)
        for feed, version in (("staff", ssl.TLSVersion.TLSv1_2), ("newest", ssl.TLSVersion.TLSv1_3))
        for own, why in (
            ("expired", "the sender's certificate has expired"),
            ("strange", "not signed by client_ca"),
            ("", "did not return a certificate"),
        )
    ),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("feed", "own", "version", "why"), REFUSED)
def test_whoever_has_no_good_certificate_is_refused_and_told_and_the_others_go_on(
    bridge: Bridge, site: Site, feed: str, own: str, version: ssl.TLSVersion, why: str
) -> None:
    with Secured(bridge.ports[feed], site.trusted, site.a) as neighbour:
        before = count(bridge, FAILED)
        shown = getattr(site, own) if own else None
        assert is_refused(lambda: Secured(bridge.ports[feed], site.trusted, shown, version))
        assert asked(neighbour) == "AA"
        line = told(bridge, FAILED, before)[-1]
        assert why in line["reason"]
        assert line["feed"] == feed


def test_a_sender_that_does_not_trust_the_listener_goes_away(bridge: Bridge, site: Site) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Secured(bridge.ports["staff"], site.other, site.a)


def test_plain_mllp_on_a_tls_port_is_refused_and_told(bridge: Bridge) -> None:
    before = count(bridge, FAILED)
    assert is_refused(lambda: Connection(("127.0.0.1", bridge.ports["staff"])))
    assert told(bridge, FAILED, before)


def test_without_client_ca_no_certificate_is_asked_for(bridge: Bridge, site: Site) -> None:
    with Secured(bridge.ports["anybody"], site.trusted) as connection:
        assert asked(connection, "WHOEVER", "ANYWHERE") == "AA"


# --- who may send as whom --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "application", "facility", "code"),
    [
        ("a", "HR", "NORTH", "AA"),
        ("a", "HR^1.2.3^ISO", "NORTH^4.5^ISO", "AA"),
        ("a", "PAYROLL", "ANYWHERE", "AA"),
        ("a", "HR", "SOUTH", "AR"),
        ("a", "LAB", "NORTH", "AR"),
        ("a", "", "", "AR"),
        ("b", "LAB", "", "AA"),
        ("b", "LABTEST", "X", "AA"),
        ("b", "HR", "NORTH", "AR"),
        ("nobody", "HR", "NORTH", "AR"),
    ],
)
def test_a_certificate_sends_only_as_those_that_it_is_bound_to(
    bridge: Bridge, site: Site, own: str, application: str, facility: str, code: str
) -> None:
    before = count(bridge, NOT_THEIRS)
    with (
        Secured(bridge.ports["staff"], site.trusted, site.b) as neighbour,
        Secured(bridge.ports["staff"], site.trusted, getattr(site, own)) as connection,
    ):
        assert asked(connection, application, facility) == code
        assert asked(neighbour, "LAB") == "AA"
        if code == "AR":
            (line,) = told(bridge, NOT_THEIRS, before)
            assert line["certificate"] == f"sha256:{getattr(site, own).fingerprint}"


def test_of_a_batch_only_the_messages_of_others_are_refused(bridge: Bridge, site: Site) -> None:
    bodies = [message("HR")[1], message("LAB")[1], message("HR")[1]] * 4  # so many are read beside the reactor
    with Secured(bridge.ports["staff"], site.trusted, site.a) as connection:
        connection.send(b"BHS|^~\\&\r" + b"".join(bodies) + b"BTS|12\r")
        codes = [read_answer(connection.read(5) or b"").code for _ in bodies]
    assert codes == ["AA", "AR", "AA"] * 4


# --- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("how", ["close_notify", "FIN", "both"])
def test_a_sender_that_ended_its_side_gets_what_it_is_owed(
    bridge: Bridge, site: Site, version: ssl.TLSVersion, how: str
) -> None:
    """Sent in one piece with the end, so that no answer can have gone out before."""
    context = ssl.create_default_context(cafile=str(site.trusted.file))
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(site.a.certificate, site.a.key)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with closing(socket.create_connection(("127.0.0.1", bridge.ports["staff"]), timeout=5)) as plain:

        def exchange() -> None:
            plain.sendall(outgoing.read())
            incoming.write(plain.recv(1 << 16))

        for _ in range(20):
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                exchange()
        bodies = [message() for _ in range(5)]
        tls.write(b"".join(START + body + END for _, body in bodies))
        if how != "FIN":
            with pytest.raises(ssl.SSLWantReadError):
                tls.unwrap()
        plain.sendall(outgoing.read())
        if how != "close_notify":
            plain.shutdown(socket.SHUT_WR)
        cipher = b""
        while piece := plain.recv(1 << 16):
            cipher += piece
        incoming.write(cipher)
        # What came is read as OpenSSL reads it after its own close_notify: by a connection that did not end its side.
        answers = b""
        try:
            while piece := tls.read(1 << 16):
                answers += piece
        except ssl.SSLError:
            pass
    if how == "FIN":
        assert answers.count(b"MSA|AA|") == 5
    else:  # Python's TLS reads nothing after its own close_notify; five answers are longer than a goodbye
        assert len(cipher) > 5 * 150
    with closing(open_store(bridge.store_path)) as store:

        def states() -> list[str]:
            ids = [row.id for row in store.audit.messages(limit=5)]
            return [str(one.state) for message_id in ids for one in store.audit.acknowledgments(message_id)]

        wait_until(lambda: states() == ["sent"] * 5, 5, lambda: str(states()))


def test_an_answer_counts_as_read_however_its_reader_goes(bridge: Bridge, site: Site) -> None:
    """What TLS says at its end is data, and a system answers data for a sender that is gone by a reset."""
    ids = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for goodbye in (False, True):
            with closing(Secured(bridge.ports["staff"], site.trusted, site.a, version)) as connection:
                control_id, body = message()
                connection.send(body)
                assert connection.read(5) is not None
                secured = connection.socket
                assert isinstance(secured, ssl.SSLSocket)
                if goodbye:
                    secured.setblocking(False)
                    with suppress(ssl.SSLWantReadError):  # it says it, and does not wait for ours
                        secured.unwrap()
            ids.append(control_id)
    with closing(open_store(bridge.store_path)) as store:

        def states() -> list[str]:
            found = [row.id for one in ids for row in store.audit.messages(control_id=one)]
            return [str(one.state) for message_id in found for one in store.audit.acknowledgments(message_id)]

        wait_until(lambda: "owed" not in states(), 10, lambda: str(states()))
        assert states() == ["sent"] * 4


# --- certificates that change ----------------------------------------------------------------------------------------


def test_certificates_are_changed_under_load_without_a_lost_answer(tmp_path: Path) -> None:
    site = Site.made(tmp_path / "certificates")
    with running_bridge(tmp_path, "http://127.0.0.1:9/fhir", feeds=[site.feed()], role="listener") as bridge:
        port = bridge.ports["staff"]
        with Secured(port, site.trusted, site.a) as old:
            first = old.socket.getpeercert(binary_form=True)  # type: ignore[attr-defined]
            assert asked(old) == "AA"
            for _ in range(3):
                renewed = site.trusted.issue("listener")
                assert reload(bridge)
                for _ in range(5):
                    assert asked(old) == "AA"
                with Secured(port, site.trusted, site.a) as new:
                    shown = new.socket.getpeercert(binary_form=True)  # type: ignore[attr-defined]
                    assert shown != first
                    assert shown == ssl.PEM_cert_to_DER_cert(renewed.certificate.read_text())
                    assert asked(new) == "AA"
            site.listener.certificate.write_text("no certificate")
            assert not reload(bridge)
            assert asked(old) == "AA"
            with Secured(port, site.trusted, site.a) as new:
                assert asked(new) == "AA"
