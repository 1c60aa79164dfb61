"""`hl7bridge send`: messages over MLLP, and what the other side says of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hl7bridge.cli import output
from hl7bridge.cli.messages import messages_of
from hl7bridge.cli.mllp_client import MllpClient, Sent, address_of
from hl7bridge.cli.output import ExitCode, JsonOption
from hl7bridge.errors import Unreachable

RateOption = Annotated[
    float, typer.Option("--rate", metavar="N", min=0, help="Messages a second; 0 = each after the last answer.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Seconds to wait for each answer.")
]
UntilNakOption = Annotated[bool, typer.Option("--until-nak", help="Stop at the first message that is not accepted.")]


def send(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files or folders; - for standard input.")],
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="The listener.")],
    rate: RateOption = 0,
    timeout: TimeoutOption = 30,
    until_nak: UntilNakOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send HL7 messages over MLLP, as they are, and print each answer.

    \b
      hl7bridge send new_physician.hl7 --to 127.0.0.1:2575
      hl7bridge send sample_messages --to 127.0.0.1:2575 --until-nak
      hl7bridge send nightly.hl7 --to engine.example.org:2575 --rate 20 --json

    A file may hold one message, several, or a batch (FHS, BHS); with or without MLLP frames. Of a folder, its .hl7 files
    are sent by name. Where MSH-15 and MSH-16 ask for two answers, both are awaited.

    Ends with 1 when a message was not accepted, with 3 when an answer did not come.
    """
    messages = [message for _, message in messages_of(files)]
    host, port = address_of(to)
    raise typer.Exit(send_all(messages, host, port, rate=rate, timeout=timeout, until_nak=until_nak, as_json=as_json))


def send_all(
    messages: Sequence[bytes],
    host: str,
    port: int,
    *,
    rate: float = 0,
    timeout: float = 30,
    until_nak: bool = False,
    as_json: bool = False,
) -> ExitCode:
    """Send messages in order over one connection, print what comes back; returns the exit code.

    Raises Unreachable, once what came back until then is told.
    """
    done: list[Sent] = []
    try:
        with MllpClient(host, port, timeout) as client, output.progress("sending", len(messages)) as advance:
            for message in paced(messages, rate):
                sent = client.send(message)
                done.append(sent)
                advance()
                if not as_json:
                    show(sent)
                if until_nak and not sent.good:
                    break
    except (Unreachable, KeyboardInterrupt):
        if done:
            _tell(done, len(messages), f"{host}:{port}", as_json)
        raise
    _tell(done, len(messages), f"{host}:{port}", as_json)
    if any(sent.refused for sent in done):
        return ExitCode.FINDINGS
    return ExitCode.UNREACHABLE if any(sent.problem for sent in done) else ExitCode.GOOD


def _tell(done: Sequence[Sent], total: int, to: str, as_json: bool) -> None:
    if as_json:
        messages = [as_data(sent) for sent in done]
        output.show_json("send/1", {"to": to, "messages": messages, "not_sent": total - len(done)})
    else:
        output.say(summary(done, total))


def paced(
    messages: Iterable[bytes],
    rate: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """The messages, no more than `rate` a second; 0 = as fast as they are taken."""
    began = clock()
    for number, message in enumerate(messages):
        if rate and (wait := began + number / rate - clock()) > 0:
            sleep(wait)
        yield message


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


def summary(done: Sequence[Sent], total: int) -> str:
    """`3 sent: 2 AA, 1 AE; 4.2 ms each`."""
    codes: dict[str, int] = {}
    times = [answer.milliseconds for sent in done for answer in sent.answers[:1]]
    for sent in done:
        for word in [answer.code for answer in sent.answers] + (["without answer"] if sent.problem else []):
            codes[word] = codes.get(word, 0) + 1
    counted = ", ".join(f"{count} {word}" for word, count in sorted(codes.items())) or "no answers asked for"
    average = f"; {sum(times) / len(times):.1f} ms each" if times else ""
    left = f"; {total - len(done)} not sent" if len(done) < total else ""
    return f"{len(done)} sent: {counted}{average}{left}"
