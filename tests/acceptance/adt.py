"""A patient feed: many messages, few practitioners. Who is missing is created once, known people cost no request, and
nothing of a patient is in any file below the bridge's folder: store, write-ahead log, logs, temporary files.

Every value of a patient that is sent holds a word that occurs nowhere else, among them in messages that are malformed,
undecodable, of another type, or shifted. Knows nothing of the package that it tests but the command.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance import stream
from tests.acceptance.checker import Fault, Report
from tests.acceptance.seeds import add_seed
from tests.bridges import Bridge, Feed, running_bridge
from tests.journey import KEY_SYSTEM, mfn, person
from tests.mllp_peer import END, START, Connection, read_answer
from tests.sandboxes import RunningSandbox, running_sandbox

TOKEN = "Zqpat"
NPI = "http://hl7.org/fhir/sid/us-npi"
AT_ONCE = 100  # messages that the sender has under way
EVENTS = (
    "A01",
    "A01",
    "A02",
    "A03",
    "A04",
    "A04",
    "A05",
    "A08",
    "A08",
    "A08",
    "A11",
    "A13",
    "A28",
    "A31",
    "A40",
    "A61",
    "A77",
)
SETTINGS = {"hl7": {"takes": ["staff", "adt"]}, "listener": {"max_frame": "2MiB"}}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=100_000, help="messages (default 100,000)")
    parser.add_argument("--people", type=int, default=300, help="practitioners that they name (default 300)")
    add_seed(parser)


@dataclass(frozen=True)
class Physician:
    npi: str
    family: str
    given: str

    @property
    def xcn(self) -> str:
        return f"{self.npi}^{self.family}^{self.given}^^^Dr^MD^^&2.16.840.1.113883.4.6&ISO^L^^^NPI"

    def resource(self) -> dict[str, Any]:
        """As somebody else wrote them: a telephone number that no patient message must touch."""
        return {
            "resourceType": "Practitioner",
            "identifier": [{"system": NPI, "value": self.npi}],
            "name": [{"family": self.family}],
            "telecom": [{"system": "phone", "value": "555-0199"}],
        }


def physicians(count: int, seed: int) -> list[Physician]:
    rng = random.Random(seed)
    return [
        Physician(stream.npi(30_000_000 + place), rng.choice(stream.FAMILIES), rng.choice(stream.GIVEN))
        for place in range(count)
    ]


class Patients:
    """Messages about patients of whom every value can be found again."""

    def __init__(self, people: list[Physician], seed: int) -> None:
        self.people = people
        self._rng = random.Random(seed)
        self._words = itertools.count(1)
        self._messages = itertools.count(1)

    def word(self) -> str:
        return f"{TOKEN}{next(self._words)}x"

    def message(self, event: str, *physicians: Physician, kind: str = "ADT") -> str:
        """One message with a patient in PID, PD1, NK1, PV1, IN1, OBX and ZPD, and physicians where they belong."""
        w = self.word
        doctors = [one.xcn for one in physicians] + [""] * 4
        role = "PRT" if next(self._words) % 2 else "ROL"
        named = f"PRT|1|AD||AT|{doctors[3]}" if role == "PRT" else f"ROL|1|AD|AT|{doctors[3]}"
        clerk = f"{w()}^{w()}^{w()}"
        pv1 = [""] * 52
        pv1[1], pv1[2], pv1[4] = "I", f"{w()}^{w()}", w()
        pv1[6], pv1[7], pv1[8], pv1[16] = doctors[0], doctors[1], f"^{w()}^{w()}", doctors[2]
        pv1[18], pv1[49] = f"{w()}^^^NORTH^VN", w()
        return "\r".join(
            [
                f"MSH|^~\\&|REG|NORTH|BRIDGE|FHIR|20260302080000+0000|{w()}|{kind}^{event}^{kind}_A01|V{next(self._messages)}"
                "|P|2.5.1|||||USA|UNICODE UTF-8",
                f"EVN|{event}|20260302080000+0000||{w()}|{clerk}",
                f"PID|1||{w()}^^^NORTH^MR~{w()}^^^&2.16.840.1.113883.4.1&ISO^SS||{w()}^{w()}^{w()}||19510101|F"
                f"|||{w()}^^{w()}||{w()}",
                f"PD1||||{doctors[1]}",
                f"NK1|1|{w()}^{w()}|SPO|{w()}",
                "|".join(["PV1", *pv1]),
                named,
                f"IN1|1|{w()}|{w()}||||||||||||{w()}^{w()}",
                f"OBX|1|TX|{w()}||{w()}",
                f"ZPD|{w()}|{w()}^{w()}",
                "",
            ]
        )

    def ordinary(self) -> bytes:
        chosen = self._rng.sample(self.people, self._rng.randint(1, min(4, len(self.people))))
        return self.message(self._rng.choice(EVENTS), *chosen).encode()

    def stream(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield self.ordinary()

    def odd(self) -> list[bytes]:
        """What can go wrong with such a message: none of it may leave a trace of the patient."""
        one = self.people[0]
        plain = lambda event="A01": self.message(event, one)  # noqa: E731 (a word for it)
        patient_as_physician = self.message("A01").replace(
            "PV1|", f"PV1||||||||{self.word()}^{self.word()}^^^^^^^NPI|", 1
        )
        shifted = "\r".join(
            line.replace("|", "||", 1) if line[:3] in ("PID", "PV1") else line for line in plain().split("\r")
        )
        unshifted = plain().replace("PV1||I|", "PV1|", 1)
        in_place_of_pid = plain().replace("PID|", "PV1|", 1)
        batch = f"FHS|^~\\&|{self.word()}\rBHS|^~\\&|{self.word()}\r{plain()}{plain('A08')}BTS|2\rFTS|1\r"
        mixed = batch.replace("BTS", mfn("M1", person("MAD", "K1", "Bello^Ife")).decode() + plain("A03") + "BTS")
        everything = [
            plain("A99"), plain(""), self.message("R01", one, kind="ORU"), self.message("S12", one, kind="SIU"),
            self.message("M02", one, kind="MFN"), self.message("B01", one, kind="PMU"), self.message("Z01", one, kind="ZZZ"),
            patient_as_physician, shifted, unshifted, in_place_of_pid, batch, mixed,
            plain().replace("\r", "\n"), plain().replace("\r", "\r\n"), plain().replace("\r", " "),
            plain().replace("\r", ""), plain().replace("MSH|", "msh|"), plain().replace("MSH|^~\\&|", "MSH|^~\\&"),
            plain()[10:], plain()[: len(plain()) // 2],
            plain().replace("|P|2.5.1", "|T|2.5.1"), plain().replace("|P|2.5.1", f"|P|{self.word()}"),
            plain().replace("UNICODE UTF-8", self.word()), plain().replace("^~\\&", "ab c"), plain().replace("|V", "||", 1),
            plain().replace("ADT^", f"{self.word()}^", 1), plain().replace("MSH|^~\\&|REG", "MSH|^~\\&|REG\rPID"),
            plain() + f"NTE|1||{self.word() * 60_000}\r", self.word() * 3, plain().replace("PV1|", f"PV1|{self.word() * 9}"),
            plain().replace("|", "#"), plain() + plain("A04"), plain().replace("PID|1||", f"PID|1|{one.npi}|"),
        ]  # fmt: skip
        found = [one.encode() for one in everything]
        found += [
            plain().encode() + b"\xff\xfe\r",
            plain().encode().replace(b"PID", b"\xc3PID"),
            b"\xef\xbb\xbf" + plain().encode(),
        ]
        found += [
            plain().encode("utf-16"),
            plain().encode().replace(b"\rPV1", b"\x0b\rPV1"),
            plain().encode()[:300] + b"\x0b" + plain().encode(),
        ]
        found += [plain().encode() + b"OBX|1|TX|" + self.word().encode() * 300_000]  # beyond max_frame
        return found


def send(bridge: Bridge, bodies: Iterator[bytes], faults: list[Fault]) -> int:
    """Send them, `AT_ONCE` under way; each must be answered AA. Returns how many."""
    sent = 0
    with Connection(("127.0.0.1", bridge.ports["visits"])) as connection:
        while group := list(itertools.islice(bodies, AT_ONCE)):
            connection.write(b"".join(START + body + END for body in group))
            for _ in group:
                answer = connection.read(30)
                if answer is None or b"\rMSA|AA|" not in answer or TOKEN.encode() in answer:
                    faults.append(
                        Fault("answer", "visits", "not AA, or with something of the patient" if answer else "none")
                    )
            sent += len(group)
    return sent


def send_odd(bridge: Bridge, bodies: list[bytes], faults: list[Fault]) -> None:
    """Each on a connection of its own, which must go on working."""
    for number, body in enumerate(bodies):
        with Connection(("127.0.0.1", bridge.ports["visits"])) as connection:
            connection.send(body)
            connection.send(mfn(f"after{number}", person("MUP", "K0", "Halloway^Runa")))
            while (answer := connection.read(20)) is not None:
                if read_answer(answer).control_id == f"after{number}":
                    break
            else:
                faults.append(Fault("answer", f"odd {number}", "the message after it was not answered"))


def traces(folder: Path) -> list[Fault]:
    """Files that hold a word of a patient, and file names that do."""
    found = []
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        for text in (TOKEN, TOKEN.upper(), TOKEN.lower()):
            for kind in ("utf-8", "utf-16-le", "utf-16-be"):
                at = content.find(text.encode(kind))
                if at >= 0 or text in path.name:
                    found.append(Fault("patient", path.name, f"at byte {at}"))
    return found


def run(folder: Path, count: int, people: int, seed: int) -> Report:
    """The feed, then what is wrong with such messages, then the figures."""
    known = physicians(people, seed)
    patients = Patients(known, seed)
    faults: list[Fault] = []
    work = folder / "bridge"
    (work / "tmp").mkdir(parents=True)
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(work / "tmp")
    try:
        with (
            running_sandbox(folder / "sandbox", auth=False) as sandbox,
            running_bridge(
                work,
                sandbox.base_url,
                feeds=[Feed("visits", KEY_SYSTEM, settings=SETTINGS)],
                service={"log": {"level": "debug"}},
            ) as bridge,
        ):
            for one in known[::3]:
                sandbox.post(one.resource())
            asked = len(sandbox.journal())
            first = [patients.message("A01", *known[place : place + 4]).encode() for place in range(0, people, 4)]
            sent = send(bridge, iter(first), faults)
            bridge.wait_delivered(120)
            small = sum(path.stat().st_size for path in (work / "data").iterdir())
            begun = time.monotonic()
            sent += send(bridge, patients.stream(count - len(first)), faults)
            took = time.monotonic() - begun
            bridge.wait_delivered(120)
            large = sum(path.stat().st_size for path in (work / "data").iterdir())
            faults += traces(work)  # while everything is open, the write-ahead log, too
            requests = len(sandbox.journal(asked))
            faults += _people(sandbox, known)
            send_odd(bridge, patients.odd(), faults)
            bridge.wait_delivered(60)
            faults += traces(work)
            counts = bridge.counts()["messages"]
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
    faults += traces(work)
    if requests > 3 * people + 20:
        faults.append(Fault("requests", "visits", f"{requests} for {people} practitioners"))
    figures = {
        "messages": sent,
        "practitioners": people,
        "FHIR requests": requests,
        "messages a second": round((sent - len(first)) / took),
        "bytes of the store a message": round((large - small) / max(1, sent - len(first))),
    }
    return Report(faults, figures | {f"messages {state}": number for state, number in sorted(counts.items())})


def _people(sandbox: RunningSandbox, known: list[Physician]) -> list[Fault]:
    """Each physician is there once, under the name that the messages give."""
    faults = []
    there = sandbox.all("Practitioner")
    families = {
        identifier["value"]: one["name"][0]["family"]
        for one in there
        for identifier in one["identifier"]
        if identifier["system"] == NPI
    }
    if len(there) != len(families):
        faults.append(Fault("doubled", "practitioners", f"{len(there)} for {len(families)} NPIs"))
    if any(one["meta"]["versionId"] != "1" for one in there):
        faults.append(Fault("overwritten", "practitioners", "a second version"))
    for one in known:
        if families.get(one.npi) != one.family:
            faults.append(Fault("lost", one.npi, "not created as the messages name them"))
    return faults


def main(options: argparse.Namespace, folder: Path) -> Report:
    return run(folder, options.count, options.people, options.seed)
