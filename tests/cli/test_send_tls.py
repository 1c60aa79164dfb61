"""`send` and `replay` over TLS, to a real listener."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bridges import Bridge, running_bridge
from tests.certificates import Authority
from tests.cli.conftest import Ended
from tests.journey import mfn, person
from tests.service.test_tls import Site

Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.made(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Bridge]:
    folder = tmp_path_factory.mktemp("tls")
    feeds = [site.feed("staff", peers={})]
    with running_bridge(folder, "http://127.0.0.1:9/fhir", feeds=feeds, role="listener") as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.hl7"
    path.write_bytes(mfn(f"s{tmp_path.name[-12:]}", person("MAD", "S1", "Tamsworth^Ilse")))
    return path


def shown(site: Site, name: str = "a") -> list[object]:
    own = getattr(site, name)
    return ["--cert", own.certificate, "--key", own.key]


def test_a_file_is_sent_over_tls_and_replayed(command: Command, bridge: Bridge, site: Site, file: Path) -> None:
    to = ["--to", f"127.0.0.1:{bridge.ports['staff']}", "--tls", "--ca", site.trusted.file, *shown(site)]
    sent = command("send", file, *to)
    assert (sent.code, "AA" in sent.out) == (0, True), sent.err
    again = command("replay", file, "-c", str(bridge.folder), *to)
    assert (again.code, "AA" in again.out) == (0, True), again.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (lambda site, _: ["--tls", *shown(site)], 3, "its certificate is refused"),
        (lambda site, _: ["--tls", "--ca", site.other.file, *shown(site)], 3, "its certificate is refused"),
        (lambda site, _: ["--tls", "--ca", site.trusted.file, *shown(site, "strange")], 3, "it refused us"),
        (lambda site, _: ["--tls", "--ca", site.trusted.file], 3, "it refused us"),
        (lambda site, _: [], 3, "closed without an answer"),
        (lambda site, _: ["--ca", site.trusted.file], 2, "--ca: has no effect without --tls"),
        (lambda site, file: ["--tls", "--ca", file], 2, "--ca: can't be used"),
        (lambda site, file: ["--tls", "--ca", site.trusted.file, "--cert", file], 2, "--cert: can't be used"),
        (lambda site, _: ["--tls", "--key", site.a.key], 2, "--key: is given without --cert"),
    ],
)
def test_what_is_wrong_with_tls_is_said(
    command: Command,
    bridge: Bridge,
    site: Site,
    file: Path,
    options: Callable[[Site, Path], list[object]],
    code: int,
    said: str,
) -> None:
    ended = command("send", file, "--to", f"127.0.0.1:{bridge.ports['staff']}", *options(site, file), "--timeout", "5")
    assert said in ended.out + ended.err
    assert ended.code == code


def test_the_name_of_the_listener_is_checked(command: Command, bridge: Bridge, file: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", "ca")
    issued = authority.issue("elsewhere", names=("elsewhere.example.org",))
    site = Site.made(tmp_path / "site")
    feed = site.feed("staff", certificate=str(issued.certificate), key=f"file:{issued.key}", client_ca="", peers={})
    with running_bridge(tmp_path, "http://127.0.0.1:9/fhir", feeds=[feed], role="listener") as other:
        ended = command("send", file, "--to", f"127.0.0.1:{other.ports['staff']}", "--tls", "--ca", authority.file)
    assert "IP address mismatch" in ended.out + ended.err
    assert ended.code == 3


def test_replay_says_that_its_feed_speaks_tls(command: Command, bridge: Bridge, file: Path, tmp_path: Path) -> None:
    conf = tmp_path / "site"
    (conf / "conf/feeds").mkdir(parents=True)
    for path in (bridge.folder / "conf").rglob("*.toml"):
        target = conf / path.relative_to(bridge.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text().replace("port = 0", "port = 2575"))
    ended = command("replay", file, "-c", str(conf))
    assert "Add --tls" in ended.out + ended.err
    assert ended.code == 2
