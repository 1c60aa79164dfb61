"""`hl7bridge send`: messages over MLLP, and what the other side says of each."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import typer

from hl7bridge.cli import output
from hl7bridge.cli.messages.files import Findings, Outgoing, files_of, outgoing, size_of
from hl7bridge.cli.messages.mllp_client import MllpClient, Sent, address_of
from hl7bridge.cli.messages.resuming import Progress
from hl7bridge.cli.messages.sender_tls import CaOption, CertOption, KeyOption, SenderTls, TlsOption
from hl7bridge.cli.output import ExitCode, JsonOption
from hl7bridge.errors import Unreachable
from hl7bridge.model import Finding

T = TypeVar("T")

MOST_LINES = 50
"""Messages of which each is listed."""

RateOption = Annotated[
    float, typer.Option("--rate", metavar="N", min=0, help="Messages a second; 0 = each after the last answer.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Seconds to wait for each answer.")
]
ResultsOption = Annotated[
    Path | None,
    typer.Option("--results", metavar="FILE", help="Write what became of each message there, a JSON line each."),
]
UntilNakOption = Annotated[bool, typer.Option("--until-nak", help="Stop at the first message that is not accepted.")]


def send(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files or folders; - for standard input.")],
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="The listener.")],
    rate: RateOption = 0,
    timeout: TimeoutOption = 30,
    until_nak: UntilNakOption = False,
    results: ResultsOption = None,
    tls: TlsOption = False,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send HL7 messages over MLLP: as they are, with each answer printed.

    \b
      hl7bridge send new_physician.hl7 --to 127.0.0.1:2575
      hl7bridge send sample_messages --to 127.0.0.1:2575 --until-nak
      hl7bridge send nightly.hl7 --to engine.example.org:2575 --rate 20 --results nightly.jsonl
      hl7bridge send nightly.hl7 --to bridge.example.org:2575 --tls --ca ca.pem --cert engine.pem --key engine.key

    A file may hold one message, several, or a batch (FHS, BHS); with or without MLLP frames; its size does not matter. Of
    more than 50 messages, those that are not accepted are listed; --results and --json have all. Of a folder, its .hl7 files
    are sent by name. Where MSH-15 and MSH-16 ask for two answers, both are awaited.

    Ends with 1 when a message was not accepted or a file is not whole (another count in BTS or FTS, no trailer), with 3 when
    an answer did not come.
    """
    host, port = address_of(to)
    secured = SenderTls.asked(tls, ca, cert, key)
    chosen = files_of(files)
    job = Sending(
        host, port, rate=rate, timeout=timeout, until_nak=until_nak, as_json=as_json, results=results, tls=secured
    )
    raise typer.Exit(send_all(chosen, job))


@dataclass(frozen=True, slots=True)
class Sending:
    """Where and how messages are sent. `rate` a second, 0 = each after the last answer; `timeout` in seconds.

    until_nak     stop at the first message that is not accepted
    answered_only stop at the first message that gets no answer
    ahead         messages that are sent before the first of them is answered, beside it; none where a rate is kept, or one
                  that is not accepted ends it
    progress      where it is noted how far one came; None = nowhere
    skip          messages that were sent before
    tls           None = in the clear
    """

    host: str
    port: int
    rate: float = 0
    timeout: float = 30
    until_nak: bool = False
    as_json: bool = False
    results: Path | None = None
    answered_only: bool = False
    ahead: int = 0
    progress: Progress | None = None
    skip: int = 0
    tls: SenderTls | None = None

    @property
    def to(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"


def send_all(files: Sequence[Path], job: Sending) -> ExitCode:
    """Send the messages of files in order over one connection, tell what comes back; returns the exit code.

    Raises OSError, Unreachable, once what came back until then is told.
    """
    findings: Findings = []
    total, messages, tally = size_of(files), outgoing(files, job.skip, findings), Tally()
    reached = done = job.skip
    ahead = 0 if job.rate or job.until_nak else job.ahead

    def pulled() -> Iterator[Outgoing]:
        nonlocal reached
        for one in paced(messages, job.rate):
            reached = one.number
            yield one

    def not_sent() -> int:
        return reached + sum(1 for _ in messages) - job.skip - tally.messages

    with ExitStack() as open_files:
        told = _Told(job, open_files)
        try:
            with (
                MllpClient(job.host, job.port, job.timeout, job.tls) as client,
                output.progress_of_bytes("sending", total) as at,
            ):
                for one, sent in _exchanged(client, pulled(), ahead):
                    tally.add(sent)
                    told.add(sent, one.number)
                    at(one.passed, one.number)
                    if (job.until_nak and not sent.good) or (job.answered_only and sent.problem):
                        break
                    done = one.number
                    if job.progress:
                        job.progress.note(done)
                else:
                    done = 0
        except (Unreachable, KeyboardInterrupt):
            _keep_place(job, done)
            if tally.messages:
                told.end(tally, not_sent(), findings)
            raise
        _keep_place(job, done)
        told.end(tally, not_sent(), findings)
    if tally.refused or findings:
        return ExitCode.FINDINGS
    return ExitCode.UNREACHABLE if tally.problems else ExitCode.GOOD


def _exchanged(client: MllpClient, messages: Iterable[Outgoing], ahead: int) -> Iterator[tuple[Outgoing, Sent]]:
    """Each message with what came back, in order, while up to `ahead` others behind it are sent already."""
    under_way: deque[Outgoing] = deque()
    for one in messages:
        while not client.put(one.message):
            yield under_way.popleft(), client.take()
        under_way.append(one)
        while len(under_way) > ahead:
            yield under_way.popleft(), client.take()
    while under_way:
        yield under_way.popleft(), client.take()


def _keep_place(job: Sending, done: int) -> None:
    """Note how far a run came that ends before its end; 0 = it came to it, or did nothing."""
    if job.progress and done:
        job.progress.note(done, now=True)
        output.say(f"{done:,} messages are done; the same command goes on behind them, --from-start begins anew")
    elif job.progress:
        job.progress.forget()


class _Told:
    """Says what became of each message: all of a few, of many those that were not accepted; to a file, and as JSON, all."""

    def __init__(self, job: Sending, open_files: ExitStack) -> None:
        self._job, self._lines = job, 0
        self._document: output.JsonList | None = None
        self._file: TextIO | None = None
        if job.results:
            file = job.results.open("a" if job.skip else "w", encoding="ascii")
            self._file = open_files.enter_context(file)

    def add(self, sent: Sent, number: int) -> None:
        """One message was sent."""
        if self._file:
            self._file.write(json.dumps({"number": number, **as_data(sent)}) + "\n")
            self._file.flush()
        if self._job.as_json:
            self._open_document().add(as_data(sent))
        elif self._lines < MOST_LINES or not sent.good:
            show(sent)
            self._lines += 1
            if self._lines == MOST_LINES:
                output.say("from here on, only messages that are not accepted are listed")

    def end(self, tally: Tally, not_sent: int, findings: Findings) -> None:
        """The rest was not sent; and what is to be said of the files."""
        if self._job.as_json:
            rest: dict[str, Any] = {"not_sent": not_sent, "files": [file_data(*found) for found in findings]}
            if self._job.skip:
                rest["sent_before"] = self._job.skip
            self._open_document().end(rest)
        else:
            before = f"; {self._job.skip:,} sent before" if self._job.skip else ""
            output.say(tally.summary(not_sent) + before)
            show_files(findings)

    def _open_document(self) -> output.JsonList:
        self._document = self._document or output.JsonList("send/1", {"to": self._job.to}, "messages")
        return self._document


def paced(
    messages: Iterable[T],
    rate: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """The messages, no more than `rate` a second; 0 = as fast as they are taken."""
    began = clock()
    for number, message in enumerate(messages):
        if rate and (wait := began + number / rate - clock()) > 0:
            sleep(wait)
        yield message


def show_files(findings: Findings) -> None:
    """A line for each thing to say of a file as a whole."""
    for file, finding in findings:
        output.say((f"{file.name}: ", "bold"), (finding.text, output.BAD))


def file_data(file: Path, finding: Finding) -> dict[str, str]:
    """The JSON of one thing to say of a file."""
    return {"file": file.name, "code": finding.code, "local": finding.local, "text": finding.text}


def show(sent: Sent) -> None:
    """One line for each answer, and under it why, where it was negative."""
    start = f"{sent.control_id or '(no id)':<22}  {sent.kind:<9}"
    if not sent.answers:
        style = output.BAD if sent.problem else output.QUIET
        output.show(start, "  ", (sent.problem or "no answer was asked for", style))
        return
    for answer in sent.answers:
        code = (f"{answer.code:<2}", output.GOOD if answer.positive else output.BAD)
        reasons = answer.reasons()
        output.show(start, "  ", code, f"  {answer.milliseconds:7.1f} ms  ", reasons[0] if reasons else "")
        for reason in reasons[1:]:
            output.show(" " * 35, reason)
        for record in answer.records:
            if record.code == "U" or not answer.positive:
                style = output.BAD if record.code == "U" else output.GOOD
                output.show(" " * 35, f"record {record.control_id} ", (record.code, style), f" {record.text}")
    if sent.problem:
        output.show(start, "  ", (sent.problem, output.BAD))


def as_data(sent: Sent) -> dict[str, Any]:
    """The JSON of one message that was sent."""
    return {
        "control_id": sent.control_id,
        "message_type": sent.kind,
        "accepted": sent.good,
        "problem": sent.problem,
        "acknowledgments": [
            {
                "code": answer.code,
                "text": answer.text,
                "milliseconds": round(answer.milliseconds, 1),
                "errors": [
                    {"code": found.code, "severity": found.severity, "location": found.place, "text": found.text}
                    for found in answer.complaints
                ],
                "records": [
                    {"control_id": record.control_id, "key": record.key, "code": record.code, "text": record.text}
                    for record in answer.records
                ],
            }
            for answer in sent.answers
        ],
    }


class Tally:
    """What became of the messages, in numbers."""

    def __init__(self) -> None:
        self.messages = self.refused = self.problems = 0
        self._codes: Counter[str] = Counter()
        self._milliseconds, self._timed = 0.0, 0
        self._began = time.monotonic()

    def add(self, sent: Sent) -> None:
        """Count one in."""
        self.messages += 1
        self.refused += sent.refused
        self.problems += bool(sent.problem)
        self._codes.update(answer.code for answer in sent.answers)
        self._codes.update(["without answer"] * bool(sent.problem))
        for answer in sent.answers[:1]:
            self._milliseconds += answer.milliseconds
            self._timed += 1

    def summary(self, not_sent: int) -> str:
        """`3 sent: 2 AA, 1 AE; 4.2 ms each`."""
        counted = ", ".join(f"{count} {word}" for word, count in sorted(self._codes.items())) or "no answers asked for"
        average = f"; {self._milliseconds / self._timed:.1f} ms each" if self._timed else ""
        if self.messages > MOST_LINES:
            average += f", {self.messages / max(time.monotonic() - self._began, 1e-9):,.0f} a second"
        left = f"; {not_sent} not sent" if not_sent else ""
        return f"{self.messages} sent: {counted}{average}{left}"
