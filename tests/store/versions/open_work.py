"""Keep a store with open work of every kind, as this version leaves it: `python -m tests.store.versions.open_work NAME`.

Writes NAME/store.sql, NAME/server.json (the people at the server) and NAME/conf beside this file. Run it once when a version
is released, in its own checkout, and keep the old ones unchanged: `tests/service/test_open_work.py` lets each end.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from hl7bridge.store.opening import open_store
from hl7bridge.store.sqlite import SqliteStore
from hl7bridge.store.sqlite.driver import sqlite3
from tests.bridges import ROOT, Bridge, Feed, destination, wait_until, write_configuration
from tests.journey import KEY_SYSTEM, ask, mfn, person
from tests.mllp_peer import END, START, Connection
from tests.sandboxes import RunningSandbox, running_sandbox
from tests.store.versions.make import dump

LATE = {"acknowledgment": {"acknowledge_when": "delivered", "ack_deadline": "60s"}}
NOWHERE = "http://127.0.0.1:9/fhir"
PEOPLE = {"K1": "Aldous^Quim", "K2": "Brannoch^Tove", "K3": "Corvane^Ildri", "K9": "Dresk^Maelle"}
SMALL = 4000  # bytes above which a file is large here, so that what is kept is short
WRITTEN_OUT = 4  # parts of the large file, of nine


def main() -> None:
    kept = Path(__file__).parent / sys.argv[1]
    kept.mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bridge = Bridge(folder)
        with running_sandbox(folder / "sandbox", auth=False) as sandbox:
            settled(bridge, sandbox)
            server = {kind: sandbox.all(kind) for kind in ("Practitioner", "PractitionerRole")}
        configure(folder, NOWHERE)
        refused(bridge)
        waiting(folder)
        half_written(bridge.store_path)
        with closing(sqlite3.connect(bridge.store_path)) as connection:
            (kept / "store.sql").write_text("\n".join(dump(connection)) + "\n", encoding="utf-8")
        (kept / "server.json").write_text(json.dumps(server, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        shutil.copytree(folder / "conf", kept / "conf")


def configure(folder: Path, base_url: str) -> None:
    """A feed with a destination that is written and one that only reports, and one that answers when all is delivered."""
    feeds = [
        Feed("staff", KEY_SYSTEM, ("fhir", "shadow")),
        Feed("late", KEY_SYSTEM.replace("2f9a", "2f9b"), ("fhir",), settings=LATE),
    ]
    write = destination(base_url, brake={"protected": ["K9"]})
    write_configuration(folder, feeds, {"fhir": write, "shadow": destination(base_url, mode="report")})


def settled(bridge: Bridge, sandbox: RunningSandbox) -> None:
    """Four people, one of whom is protected from being ended, and two changes that are due in many years."""
    configure(bridge.folder, sandbox.base_url)
    bridge.start()
    for number, (key, name) in enumerate(PEOPLE.items()):
        ask(bridge, mfn(f"A{number}", person("MAD", key, name, unit="W3", phone="111")))
    bridge.wait_delivered()
    ask(bridge, mfn("HOLD", person("MDC", "K9", PEOPLE["K9"])))
    for control_id, key, phone, when in (("FAR", "K2", "299", "20990101"), ("NEXT", "K3", "333", "20980101")):
        record = person("MUP", key, PEOPLE[key], phone=phone)
        ask(bridge, mfn(control_id, record.replace(f"||{key}|", f"|{when}|{key}|", 1)))
    wait_until(bridge.held, 20, "one is held")
    bridge.wait_delivered()
    bridge.stop()


def refused(bridge: Bridge) -> None:
    """Somebody for whom the server could not be reached."""
    bridge.start()
    ask(bridge, mfn("RETRY", person("MAD", "K4", "Eskilda^Ruun")))
    wait_until(lambda: "retry" in str(bridge.counts()["deliveries"]["fhir"]), 20, "it was tried")
    bridge.kill("tree")


def waiting(folder: Path) -> None:
    """What nobody delivers yet, answered when stored or when delivered, and a large file."""
    patch = folder / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(
        f"from hl7bridge.intake import intake, verdict\nverdict.LARGE_FILE = intake.LARGE_FILE = {SMALL}\n"
    )
    listener = Bridge(folder, "listener", environment={"PYTHONPATH": os.pathsep.join([str(patch), str(ROOT)])})
    listener.start()
    ask(listener, mfn("QUEUED", person("MAD", "K5", "Fenwick^Olyan")))
    ask(listener, mfn("LEAVER", person("MDC", "K1", PEOPLE["K1"])))
    large = [person("MUP", f"L{n:02}", f"Gorse{n}^Yrsa", phone=f"9{n:02}") for n in range(90)]
    with ExitStack() as connections:
        for number, raw in enumerate((mfn("LATE", person("MAD", "K6", "Harrow^Bexim")), mfn("LARGE", *large)), 1):
            peer = connections.enter_context(Connection(("127.0.0.1", listener.ports["late"])))
            peer.socket.sendall(START + raw + END)
            wait_until(lambda count=number: pending(listener) == count, 20, "it is stored")
        listener.kill("listener")


def pending(bridge: Bridge) -> int:
    """Acknowledgments that wait for outcomes."""
    with closing(open_store(bridge.store_path)) as store:
        return len(store.audit.pending_acknowledgments())


def half_written(location: str) -> None:
    """Write some parts of the large file out, as the delivery role does."""
    with SqliteStore(location) as store:
        for _ in range(WRITTEN_OUT):
            with store.connection.writing():
                assert store.arrivals.write_out(time.time())


if __name__ == "__main__":
    main()
