"""MLLP over TLS with clients that others wrote: the `openssl` command and the TLS of Java; and certificates that change
under eight senders."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)

from tests.bridges import Bridge, running_bridge
from tests.certificates import Authority, Issued
from tests.mllp_peer import END, START, read_answer
from tests.service.test_tls import FAILED, Secured, Site, count, message, reload, told

OPENSSL, JAVA = shutil.which("openssl"), shutil.which("java")
CLIENT = Path(__file__).with_name("MllpClient.java")
WITHIN = 60  # seconds: a JVM that compiles a file takes some on a busy machine


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.made(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Bridge]:
    folder = tmp_path_factory.mktemp("tls")
    with running_bridge(folder, "http://127.0.0.1:9/fhir", feeds=[site.feed()], role="listener") as running:
        yield running


def by_openssl(bridge: Bridge, authority: Authority, own: Issued, version: str, body: bytes) -> bytes:
    """The frame that came back, b"" where none did."""
    assert OPENSSL
    command = [OPENSSL, "s_client", "-connect", f"127.0.0.1:{bridge.ports['staff']}", f"-{version}", "-quiet"]
    command += ["-CAfile", str(authority.file), "-verify_return_error", "-verify_ip", "127.0.0.1"]
    command += ["-cert", str(own.certificate), "-key", str(own.key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin
        assert process.stdout
        answer, until = b"", time.monotonic() + WITHIN
        try:
            process.stdin.write(START + body + END)
            process.stdin.flush()
            while END not in answer and select.select([process.stdout], [], [], until - time.monotonic())[0]:
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    break
                answer += piece
        except BrokenPipeError:
            pass
        finally:
            process.kill()
    return answer


@pytest.mark.skipif(not OPENSSL, reason="no openssl command here")
@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_openssl_sends_and_is_answered(bridge: Bridge, site: Site, version: str) -> None:
    control_id, body = message()
    frame = by_openssl(bridge, site.trusted, site.a, version, body)
    assert frame.startswith(START)
    assert frame.endswith(END)
    answer = read_answer(frame[1 : -len(END)])
    assert (answer.code, answer.control_id) == ("AA", control_id)


@pytest.mark.skipif(not OPENSSL, reason="no openssl command here")
@pytest.mark.parametrize("own", ["strange", "expired"])
def test_openssl_with_no_good_certificate_gets_no_answer(bridge: Bridge, site: Site, own: str) -> None:
    before = count(bridge, FAILED)
    assert by_openssl(bridge, site.trusted, getattr(site, own), "tls1_3", message()[1]) == b""
    assert told(bridge, FAILED, before)


@pytest.mark.slow
@pytest.mark.skipif(not JAVA, reason="no Java here")
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_java_sends_and_is_answered(bridge: Bridge, site: Site, tmp_path: Path, version: str) -> None:
    assert JAVA
    control_id, body = message()
    (tmp_path / "message").write_bytes(body)
    key = load_pem_private_key(site.a.key.read_bytes(), None)
    authority = x509.load_pem_x509_certificate(site.trusted.file.read_bytes())
    held = pkcs12.serialize_key_and_certificates(
        b"own",
        key,  # type: ignore[arg-type]
        site.a.made,
        [authority],
        BestAvailableEncryption(b"test"),
    )
    (tmp_path / "own.p12").write_bytes(held)
    command = [JAVA, str(CLIENT), str(bridge.ports["staff"]), version, str(site.trusted.file)]
    command += [str(tmp_path / "own.p12"), str(tmp_path / "message")]
    ended = subprocess.run(command, capture_output=True, timeout=WITHIN, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    answer = read_answer(ended.stdout)
    assert (answer.code, answer.control_id) == ("AA", control_id)
    assert ended.stderr.decode().strip() == version


CONNECTIONS, RELOADS = 8, 5


@pytest.mark.slow
def test_certificates_change_five_times_under_eight_senders_and_no_answer_is_lost(tmp_path: Path) -> None:
    """Each sends without a pause, and takes a new connection with every tenth message: all of them are answered."""
    site = Site.made(tmp_path / "certificates")
    done, sent, wrong = threading.Event(), [0] * CONNECTIONS, list[str]()
    with running_bridge(tmp_path, "http://127.0.0.1:9/fhir", feeds=[site.feed()], role="listener") as bridge:
        port = bridge.ports["staff"]

        def send(number: int) -> None:
            try:
                with Secured(port, site.trusted, site.a) as lasting:
                    while not done.is_set():
                        ask(lasting, number)
                        if sent[number] % 10 == 0:
                            with Secured(port, site.trusted, site.a) as fresh:
                                ask(fresh, number)
            except Exception as error:  # a thread that ended unseen would prove nothing
                wrong.append(f"{type(error).__name__} after {sent[number]} messages: {error}")

        def ask(connection: Secured, number: int) -> None:
            control_id, body = message()
            answer = read_answer(connection.ask(body, 20))
            assert (answer.code, answer.control_id) == ("AA", control_id)
            sent[number] += 1

        senders = [threading.Thread(target=send, args=(number,)) for number in range(CONNECTIONS)]
        for sender in senders:
            sender.start()
        shown = set()
        try:
            for _ in range(RELOADS):
                before = list(sent)
                while not wrong and any(now - then < 5 for now, then in zip(sent, before, strict=True)):
                    time.sleep(0.01)
                site.trusted.issue("listener")
                assert reload(bridge)
                with Secured(port, site.trusted, site.a) as new:
                    shown.add(new.socket.getpeercert(binary_form=True))  # type: ignore[attr-defined]
        finally:
            done.set()
            for sender in senders:
                sender.join(30)
        assert wrong == []
        assert len(shown) == RELOADS
        assert min(sent) > 5 * RELOADS
