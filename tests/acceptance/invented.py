"""Feeds of invented people at length: everything maps and is valid FHIR; a redacted copy maps alike, and holds none of what
was replaced. Every version, size and kind; then the memory that a long feed takes.
"""

from __future__ import annotations

import argparse
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

from hl7bridge.errors import MessageError
from hl7bridge.hl7.message import Message
from hl7bridge.invented.feed import FeedPlan, Made, feed
from hl7bridge.invented.messages import PERSONNEL_FIRST, SIZES, VERSIONS, numbers
from hl7bridge.invented.pseudonyms import Pseudonyms
from hl7bridge.invented.redaction import redact
from hl7bridge.mapping.feed_rules import FeedRules
from hl7bridge.mapping.messages.staff import translate
from hl7bridge.mapping.messages.visits import is_read
from hl7bridge.model import Record, Severity
from tests.acceptance.checker import Fault, Report
from tests.acceptance.seeds import add_seed
from tests.invented.test_redaction import shape
from tests.mapping.building import check_resources

RULES = FeedRules("urn:uuid:6fbb9a3e-54b3-4a55-8f0b-3f3c4d6a7b10", takes=frozenset({"staff", "adt"}))
NOW = datetime(2026, 11, 2, tzinfo=UTC)
CHARSETS = ("utf-8", "cp1252")
OF_A_PERSON = ("MFE-4", "STF-3.1", "STF-3.2", "STF-6", "STF-10.1", "STF-15", "PRA-6.1", "PID-3.1", "PID-5.1", "PV1-7.1")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=100, help="messages for each version, size and kind (default 100)")
    parser.add_argument("--long", type=int, default=50_000, help="messages of the long feed (default 50,000)")
    add_seed(parser)


def main(options: argparse.Namespace, folder: Path) -> Report:
    report = Report([], {"messages": 0, "records": 0, "resources": 0, "copies": 0})
    pseudonyms = Pseudonyms(b"a key for this run alone")
    for version in VERSIONS:
        for size in SIZES:
            for kind in ("m02", "pmu", "adt"):
                if kind == "pmu" and numbers(version) < PERSONNEL_FIRST:
                    continue
                good = FeedPlan(kind, 60, options.count, version, str(options.seed), 3, size)
                for made in feed(good):
                    _check(made, report, pseudonyms)
                for made in feed(FeedPlan(kind, 60, options.count // 4, version, str(options.seed), 3, size, 100)):
                    _check_copy(made, report, pseudonyms)
    report.figures["KiB at most, long feed"] = _memory(options.long, str(options.seed)) // 1024
    return report


def _check(made: Made, report: Report, pseudonyms: Pseudonyms) -> None:
    report.figures["messages"] += 1
    for record in _records(made):
        report.figures["records"] += 1
        wrong = [f.local for f in record.findings if f.severity in (Severity.ERROR, Severity.WARNING)]
        if wrong or record.change is None:
            report.faults.append(Fault("mapping", made.kind, f"message {made.number}: {wrong}"))
        elif report.figures["records"] % 20 == 0:
            report.figures["resources"] += check_resources(record.change)
    _check_copy(made, report, pseudonyms)


def _records(made: Made) -> tuple[Record, ...]:
    """Its records; none of a patient's event that is not read (a cancel)."""
    message = Message(made.body)
    if made.kind == "adt" and not is_read(message.header):
        return ()
    return translate(message, RULES, NOW).records


def _check_copy(made: Made, report: Report, pseudonyms: Pseudonyms) -> None:
    """Whether the copy maps like the message, and holds nothing of the people in it."""
    try:
        message = Message(made.body, CHARSETS)
    except MessageError:
        return
    report.figures["copies"] += 1
    copy = redact(message, pseudonyms)
    if shape(Message(copy, CHARSETS)) != shape(message):
        report.faults.append(Fault("copy", made.kind, f"message {made.number} {made.damage} maps differently"))
    text = copy.decode(message.codec)
    for place in OF_A_PERSON:
        value = message.read(place)
        if len(value) > 5 and value in text:
            report.faults.append(Fault("copy", made.kind, f"message {made.number} {made.damage} still holds {place}"))


def _memory(count: int, seed: str) -> int:
    """Bytes that a long feed takes at most, while nobody keeps its messages."""
    tracemalloc.start()
    for _ in feed(FeedPlan("mixed", 300, count, "2.5.1", seed, 2)):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most
