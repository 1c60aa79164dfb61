"""Every published message of ../shared/corpus, sent to a running bridge as a frame: what is answered, and what is not.

What must be answered is worked out here by hand from MSH-9, MSH-11, MSH-15 and MSH-16 (design.md section 5), with no code of
the bridge. After each file a message that must be answered tells that nothing else comes. Staff messages are sent a
second time for production (MSH-11 `P`), so that what their senders marked as training is mapped, too. Every resource that
comes of it must be valid FHIR R4 (fhir.resources).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir.resources.R4B.practitioner import Practitioner
from fhir.resources.R4B.practitionerrole import PractitionerRole
from pydantic import ValidationError

from tests.acceptance.checker import Fault, Report, stored_versions
from tests.bridges import Bridge, Feed, running_bridge
from tests.journey import KEY_SYSTEM, mfn
from tests.mllp_peer import Answer, Closed, Connection, read_answer, read_rows
from tests.sandboxes import running_sandbox

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
MODELS: dict[str, Any] = {"Practitioner": Practitioner, "PractitionerRole": PractitionerRole}
CONDITIONS = {"AL", "NE", "ER", "SU"}
ANSWERS_OTHERS = {"ACK", "MFK", "MCF"}
APPLICATION_WITHIN = 20.0
SEGMENT_START = re.compile(rb"(?:^|[\r\n])(?=MSH)")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", type=Path, default=CORPUS)


@dataclass(frozen=True)
class Expected:
    """What one message of a frame asks for. `accept`, `application`: AL, NE, ER or SU; both "" in original mode.

    `readable`: there is an MSH that can be answered to. `ours`: a staff master file or personnel message for production.
    `records`: it has the segments that an MFK must echo.
    """

    readable: bool
    answer: bool = True
    control_id: str = ""
    message_type: str = ""
    accept: str = ""
    application: str = ""
    ours: bool = False
    records: bool = False


def expected_of(part: bytes) -> Expected:
    """Read MSH by hand. A value of MSH-15/16 that is not in table 0155 counts as empty."""
    text = part.decode("latin-1")
    if not text.startswith("MSH") or len(text) < 5:
        return Expected(False)
    fields = re.split(r"[\r\n]", text)[0].split(text[3])
    fields.insert(1, text[3])
    fields += [""] * (20 - len(fields))
    component = fields[2][:1] or "^"
    kind = [*fields[9].split(component), ""][:2]
    accept, application = (fields[n].upper() if fields[n].upper() in CONDITIONS else "" for n in (15, 16))
    if accept or application:
        accept, application = accept or "NE", application or "NE"
    # M01 is for any master file: without MFI-1 nobody can tell.
    other_file = re.search(r"[\r\n]MFI.(?!STF|PRA)", text)
    staff = kind == ["MFN", "M02"] or (kind == ["MFN", "M01"] and not other_file)
    staff = staff or (kind[0] == "PMU" and re.fullmatch("B0[1-8]", kind[1]) is not None)
    production = fields[11].split(component)[0] in ("", "P")
    return Expected(
        True,
        kind[0].upper() not in ANSWERS_OTHERS and not re.search(r"\A[^\r\n]+[\r\n]+MSA", text),
        fields[10],
        fields[9],
        accept,
        application,
        staff and production and bool(fields[10]),
        bool(re.search(r"[\r\n]MFI", text) and re.search(r"[\r\n]MFE", text)),
    )


def parts_of(raw: bytes) -> list[bytes]:
    """The messages of a file: one, or those of a batch, or several without a wrapper."""
    content = raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    starts = [match.end() for match in SEGMENT_START.finditer(content)]
    if not starts:
        return [content]
    return [content[start:end] for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]


def judge(expected: Expected, answers: list[Answer]) -> str:
    """What is wrong with the answers to one message, "" when nothing is."""
    accepts = [answer for answer in answers if answer.code.startswith("C")]
    others = [answer for answer in answers if answer.code.startswith("A")]
    if not expected.answer:
        return "an acknowledgment was answered" if answers else ""
    if not (expected.accept or expected.application):
        if accepts or len(others) != 1:
            return f"original mode: {codes(answers)}"
        if expected.ours and expected.records and not others[0].message_type.startswith("MFK^M0"):
            return f"answered by {others[0].message_type}"
        return "" if expected.ours or not others[0].positive else "accepted what is not ours"
    if len(accepts) > 1 or len(others) > 1:
        return f"answered more than once: {codes(answers)}"
    if accepts and not wanted(expected.accept, accepts[0].positive):
        return f"MSH-15 {expected.accept}: {accepts[0].code}"
    if others and not wanted(expected.application, others[0].positive):
        return f"MSH-16 {expected.application}: {others[0].code}"
    if expected.accept == "AL" and not accepts:
        return "MSH-15 AL: no accept acknowledgment"
    refused = bool(accepts) and not accepts[0].positive
    if expected.application == "AL" and not others and not refused:
        return "MSH-16 AL: no application acknowledgment"
    if not expected.ours and any(answer.positive for answer in answers):
        return "accepted what is not ours"
    return ""


def wanted(condition: str, positive: bool) -> bool:
    return condition == "AL" or condition == ("SU" if positive else "ER")


def codes(answers: list[Answer]) -> str:
    return " ".join(answer.code for answer in answers) or "nothing"


@dataclass
class Run:
    """The files on their way, and what came back."""

    bridge: Bridge
    faults: list[Fault] = field(default_factory=list)
    table: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    asked: int = 0

    def file(self, name: str, group: str, raw: bytes) -> None:
        """Send one file on a connection of its own, then a message that must be answered."""
        expected = [expected_of(part) for part in parts_of(raw)]
        self.asked += 1
        end = f"after-{self.asked}"
        try:
            with Connection(("127.0.0.1", self.bridge.ports["staff"])) as connection:
                connection.send(raw)
                connection.send(mfn(end, "MFE|MUP|1||NOBODY|CWE\nSTF|NOBODY||Halloway^Runa||F||A"))
                answers = self._read(connection, expected, end)
        except (Closed, TimeoutError) as error:
            self.faults.append(Fault("broken", name, str(error)))
            return
        self._sort(name, group, expected, answers)

    def _read(self, connection: Connection, expected: list[Expected], end: str) -> list[Answer]:
        answers: list[Answer] = []
        missing = sum(one.answer and one.application == "AL" for one in expected)
        ended = False
        while not ended or missing > 0:
            body = connection.read(APPLICATION_WITHIN)
            if body is None:
                break
            answer = read_answer(body)
            if answer.control_id == end:
                ended = True
                continue
            answers.append(answer)
            missing -= answer.code.startswith("A") or answer.code in ("CR", "CE")
        if not ended:
            raise TimeoutError("the message after it was not answered")
        return answers

    def _sort(self, name: str, group: str, expected: list[Expected], answers: list[Answer]) -> None:
        for one in expected:
            mine = [answer for answer in answers if answer.control_id == one.control_id]
            if not one.readable:
                mine = [answer for answer in answers if not answer.control_id]
            mine = mine[: 2 if one.accept else 1]
            answers = [answer for answer in answers if not any(answer is taken for taken in mine)]
            if one.readable and (wrong := judge(one, mine)):
                self.faults.append(Fault("answer", name, wrong))
            kind = "^".join(re.split(r"\W", one.message_type)[:2]) if one.readable else "no MSH"
            if not re.fullmatch(r"[A-Z]{3}(\^\w{3})?|no MSH", kind):
                kind = "unreadable type"
            self.table[f"{group}: {kind}"][codes(mine)] += 1
        for answer in answers:
            # What stands in a batch without an MSH may be refused; more than that is too much.
            if answer.control_id or answer.positive:
                self.faults.append(Fault("answer", name, f"surplus: {answer.code}"))
            self.table[f"{group}: no MSH"][answer.code] += 1


def for_production(raw: bytes) -> bytes:
    """The same message under another control id, marked `P` in MSH-11."""
    end = min(place for place in (raw.find(b"\r"), raw.find(b"\n"), len(raw)) if place >= 0)
    fields = raw[:end].split(raw[3:4])
    fields += [b""] * (12 - len(fields))
    fields[9], fields[10] = fields[9] + b"-P", b"P"
    return raw[3:4].join(fields) + raw[end:]


def invalid(resources: list[dict[str, Any]], name: str) -> list[Fault]:
    """Faults of resources that are not valid FHIR R4."""
    faults = []
    for resource in resources:
        try:
            MODELS[resource["resourceType"]].model_validate(resource)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, item["loc"])) for item in error.errors()[:3])
            faults.append(Fault("invalid", name, f"{resource['resourceType']}: {where}"))
    return faults


def run(folder: Path, corpus: Path = CORPUS) -> tuple[Report, dict[str, Counter[str]]]:
    with (
        running_sandbox(folder / "sandbox", auth=False) as sandbox,
        running_bridge(folder / "bridge", sandbox.base_url, feeds=[Feed("staff", KEY_SYSTEM)]) as bridge,
    ):
        sending = Run(bridge)
        files = sorted(corpus.rglob("*.hl7"))
        for path in files:
            sending.file(str(path.relative_to(corpus)), path.parent.name, path.read_bytes())
        for path in files:
            raw = path.read_bytes()
            if path.parent.name == "mfn" and not expected_of(raw).ours:
                sending.file(f"{path.relative_to(corpus)} for production", "mfn (P)", for_production(raw))
        bridge.wait_delivered(60)
        held = bridge.held()
        resources = [version.resource for version in stored_versions(read_rows(sandbox.journal_file))]
        sending.faults += invalid(resources, "the journal")
    kinds = Counter(resource["resourceType"] for resource in resources)
    figures = {"files": len(files), "frames sent": 2 * sending.asked, "held": held}
    figures |= {f"{name} versions": number for name, number in sorted(kinds.items())}
    return Report(sending.faults, figures), sending.table


def main(options: argparse.Namespace, folder: Path) -> Report:
    if not options.corpus.is_dir():
        print(f"{options.corpus} is not there: the corpus is skipped", file=sys.stderr)
        return Report([], {"files": 0})
    report, table = run(folder, options.corpus)
    width = max(map(len, table))
    for kind in sorted(table):
        results = ", ".join(f"{number} x {what}" for what, number in table[kind].most_common())
        print(f"{kind:{width}}  {sum(table[kind].values()):4}  {results}")
    return report
