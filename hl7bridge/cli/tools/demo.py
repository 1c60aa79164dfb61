"""`hl7bridge demo`: the whole journey on this machine, told by the sample messages."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import BAD, GOOD, QUIET, ExitCode, JsonOption
from hl7bridge.cli.setup.init import packaged
from hl7bridge.cli.tools import samples
from hl7bridge.cli.tools.samples import SampleRecord
from hl7bridge.errors import Unreachable
from hl7bridge.model import JsonObject, Result

if TYPE_CHECKING:
    from rich.console import Console

    from hl7bridge.cli.messages.mllp_client import Complaint
    from hl7bridge.cli.tools.stage import Played, SeenWrite, Stage

NPI_SYSTEM = "http://hl7.org/fhir/sid/us-npi"
NARROWEST, WIDEST, OFF_TERMINAL = 72, 120, 100  # columns
_FIXED = (17, 9, 3)  # columns of the message's name, the record and the milliseconds

# What stands in the FHIR column where nothing was written.
_NO_WRITE = {
    samples.DUPLICATE: "nothing (duplicate)",
    samples.SCHEDULED: "nothing yet",
    Result.UNCHANGED: "nothing (unchanged)",
    Result.NOTHING_TO_DO: "nothing",
}


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running until Ctrl-C, to look around and send more.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """See all of it at work: sample messages go in over MLLP, Practitioners change on a FHIR server.

    \b
      hl7bridge demo            needs no configuration, takes a few seconds
      hl7bridge demo --keep     then send your own: hl7bridge send FILE --to 127.0.0.1:PORT
      hl7bridge demo --json     the same as data

    Starts a FHIR server (the sandbox, with OAuth), the bridge and a sender (python-hl7), on this machine alone, on ports
    that the system chooses, in a temporary folder that is removed at the end. Each message is compared with what is expected
    of it.

    Ends with 0 when every expectation was met, with 1 when one was not.
    """
    from hl7bridge.cli.tools.stage import Stage

    began = time.monotonic()
    trios = samples.load()
    with _ending_in_order(), Stage() as stage:
        if not json_output:
            _show_opening(stage, len(trios))
        played = []
        rows = None if json_output else _Rows()
        for sample in trios:
            played.append(stage.play(sample))
            if rows:
                rows.show(played[-1])
        seconds = time.monotonic() - began
        if json_output:
            output.show_json("demo/1", _as_data(stage, played, seconds))
        else:
            _show_results(stage, played, seconds, keep)
        if keep:
            _wait(stage)
    if not all(one.met for one in played):
        raise typer.Exit(ExitCode.FINDINGS)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP ends the block; further ones don't disturb the clearing up."""
    asked = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]

    def end(number: int, _: FrameType | None) -> None:
        for each in asked:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, end) for each in asked}
    try:
        yield
    finally:
        for each, action in before.items():
            signal.signal(each, action)


def _wait(stage: Stage) -> None:
    """Until Ctrl-C. Raises Unreachable when one of the processes ends by itself."""
    try:
        while len(stage.processes) == 2:
            time.sleep(0.2)
    except KeyboardInterrupt:
        return
    raise Unreachable("a process of the demo ended by itself")


# --- what is shown ---------------------------------------------------------------------------------------------------


def _show_opening(stage: Stage, count: int) -> None:
    output.show(f"{count} sample messages go through the bridge, on this machine alone.")
    output.show("")
    output.show(("sandbox   ", GOOD), f"FHIR R4 at {stage.base_url}, with OAuth")
    output.show(("listener  ", GOOD), f"MLLP at {stage.host}:{stage.port}")
    output.show(("store     ", GOOD), f"{stage.store_path}")
    output.show("")


class _Rows:
    """The table of messages, a row at a time. Columns have their width beforehand: 80 of them are enough for a line each."""

    def __init__(self) -> None:
        self._console = output.console()
        rest = _width(self._console) - sum(_FIXED) - 4
        fhir = max(20, rest * 2 // 5)
        self._widths = (_FIXED[0], _FIXED[1], rest - fhir, fhir, _FIXED[2])
        self._print(("message", "record", "answer", "FHIR", "ms"), ("bold",) * 5)
        self._print(tuple("-" * width for width in self._widths), (QUIET,) * 5)

    def show(self, played: Played) -> None:
        """One message: a row for each of its records, at least one."""
        answers = played.sent.answers
        codes = " ".join(answer.code for answer in answers)
        for number, record in enumerate(played.records or (SampleRecord("", "", ""),)):
            event = record.event or samples.event_of(played.sample.message)
            first = number == 0
            cells = (
                ("" if played.met else "! ") + played.sample.name if first else "",
                f"{event} {record.person}".strip(),
                f"{codes if first else '':{len(codes)}} {_said(played, number)}".strip()
                if first
                else _said(played, number),
                _fhir(record, played.writes),
                f"{answers[0].milliseconds:.0f}" if answers and first else "",
            )
            answer_style = GOOD if played.sent.good else "yellow"
            fhir_style = QUIET if record.result in _NO_WRITE else ""
            self._print(cells, ("" if played.met else BAD, "", answer_style, fhir_style, QUIET))

    def _print(self, cells: Sequence[str], styles: Sequence[str]) -> None:
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
        for number, width in enumerate(self._widths):
            row.add_column(width=width, overflow="fold", justify="right" if number == 4 else "left")
        row.add_row(*(Text(output.visible(cell), style) for cell, style in zip(cells, styles, strict=True)))
        self._console.print(row)


def _width(console: Console) -> int:
    """The columns to use: those of the terminal within bounds, a readable number off it."""
    return OFF_TERMINAL if console.width > 400 else max(NARROWEST, min(console.width, WIDEST))


def _said(played: Played, number: int) -> str:
    """The answer's text for one record: MFA-4, or why it was refused, and what it warns of."""
    if not played.sent.answers:
        return played.sent.problem or "no answer, as asked"
    answer = played.sent.answers[-1]
    errors = [_in_words(complaint) for complaint in answer.complaints if complaint.severity != "W"]
    warnings = [_in_words(complaint) for complaint in answer.complaints if complaint.severity == "W"]
    told = {line.key: line for line in answer.records}
    line = told.get(played.records[number].person) if played.records else None
    if line is None and told:
        return "not told, as asked (MFI-6)"
    if line is None and answer.positive:
        return "stored"
    if line is None or line.code != "S":
        return "; ".join(errors) or answer.text
    return "; ".join([line.text, *warnings])


_PLACE_IN_TEXT = re.compile(r"\A[A-Z][A-Z0-9]{2}-\d+(\.\d+)? ")


def _in_words(complaint: Complaint) -> str:
    """Place and text of an ERR, the place once."""
    if "-" not in complaint.place:
        return complaint.text
    return f"{complaint.place} {_PLACE_IN_TEXT.sub('', complaint.text, count=1)}"


def _fhir(record: SampleRecord, writes: Sequence[SeenWrite]) -> str:
    """The writes of one person: `create 201 + 2 roles`, or why there were none."""
    own = [write for write in writes if write.person and write.person == record.person]
    if not own:
        return _NO_WRITE.get(record.result, "not sent")
    person = [f"{w.interaction} {w.status}" for w in own if w.resource_type == "Practitioner"]
    roles = Counter(f"{w.interaction} {w.status}" for w in own if w.resource_type != "Practitioner")
    if len(person) == 1 and set(roles) == {person[0]}:
        count = roles[person[0]]
        return f"{person[0]} + {count} role{'s' if count > 1 else ''}"
    return ", ".join([*person, *(f"{n} roles {did}" if n > 1 else f"role {did}" for did, n in roles.items())])


def _show_results(stage: Stage, played: Sequence[Played], seconds: float, keep: bool) -> None:
    output.show("")
    _show_practitioners(stage.practitioners())
    _show_refusal(played)
    _show_without_effect(played)
    _show_totals(stage, played, seconds)
    for one in played:
        for difference in one.differences:
            output.show((f"! {one.sample.name}: ", BAD), difference)
    _show_next(stage, keep)


def _show_practitioners(practitioners: Sequence[JsonObject]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = output.console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), width=_width(console), header_style="bold")
    table.add_column("Practitioner", overflow="fold", max_width=36)
    table.add_column("NPI", min_width=10, no_wrap=True)
    table.add_column("name", overflow="fold", ratio=1)
    table.add_column("active", min_width=6, no_wrap=True)
    table.add_column("version", min_width=7, no_wrap=True, justify="right")
    for row in map(_practitioner, practitioners):
        active = Text("yes", GOOD) if row["active"] else Text("no", "yellow")
        cells = [Text(output.visible(row[name])) for name in ("id", "npi", "name")]
        table.add_row(*cells, active, Text(str(row["version"])))
    console.print(table)


def _practitioner(resource: JsonObject) -> JsonObject:
    """A Practitioner as the table and the data show it."""
    identifiers, names = resource.get("identifier", []), resource.get("name", [])
    name = next((n for n in names if n.get("use") == "official"), names[0] if names else {})
    parts = [name.get("family", ""), " ".join(name.get("given", []))]
    return {
        "id": resource["id"],
        "npi": next((str(i["value"]) for i in identifiers if i.get("system") == NPI_SYSTEM), ""),
        "name": ", ".join(part for part in parts if part),
        "active": bool(resource.get("active", True)),
        "version": resource.get("meta", {}).get("versionId", ""),
    }


def _show_refusal(played: Sequence[Played]) -> None:
    """One negative acknowledgment in plain words: that of the sample that says what to do."""
    one = next((p for p in played if p.sample.what_to_do and p.sent.refused), None)
    if one is None:
        return
    answer = one.sent.answers[-1]
    rows = [(f"MSA-1 {answer.code}", "the message as a whole: at least one record could not be used")]
    rows += [(f"MFA-4 {line.code}", f"{line.key}: {line.text}") for line in answer.records]
    for found in answer.complaints:
        rows.append(("ERR-2", f"where: {found.place}{_spelled(found.place)}"))
        rows.append(("ERR-3", f"what: {found.code}, {found.text}"))
    rows.append(("To do", one.sample.what_to_do))
    output.show("")
    output.show((f"A refusal explained: {one.sample.name}", "bold"))
    _show_pairs([(f"  {label}", text) for label, text in rows])


def _spelled(place: str) -> str:
    """`STF[2]-3.1` in words."""
    match = re.fullmatch(r"(\w{3})(?:\[(\d+)\])?-(\d+)(?:\[\d+\])?(?:\.(\d+))?", place)
    if match is None:
        return ""
    segment, occurrence, field, component = match.groups()
    which = f"segment {segment}" + (f" number {occurrence}" if occurrence else "")
    return f" ({which}, field {field}" + (f", component {component})" if component else ")")


def _show_without_effect(played: Sequence[Played]) -> None:
    """The duplicate and the no-op."""
    rows = []
    for label, result, text in (
        (
            "A duplicate",
            samples.DUPLICATE,
            "the same bytes again: the same answer again, no request to the FHIR server",
        ),
        ("A no-op", Result.UNCHANGED, "a new message with known content: {requests} reads, no write, no new version"),
    ):
        one = next((p for p in played if p.records and all(r.result == result for r in p.records)), None)
        if one is not None:
            rows.append((label, f"{one.sample.name}, {text.format(requests=one.requests)}"))
    output.show("")
    _show_pairs(rows)


def _show_totals(stage: Stage, played: Sequence[Played], seconds: float) -> None:
    totals = _totals(stage, played)
    codes = ", ".join(f"{count} {code}" for code, count in sorted(totals["acknowledgments"].items()))
    silent = f", {totals['unanswered']} without, as asked" if totals["unanswered"] else ""
    writes = ", ".join(f"{count} {did}" for did, count in sorted(totals["writes"].items()))
    held = ", ".join(f"{count} {kind}" for kind, count in totals["resources"].items())
    verdict = f"{totals['met']} of {totals['messages']} met, in {seconds:.1f} s"
    rows = [
        ("Messages", f"{totals['messages']} sent; answers: {codes}{silent}"),
        ("FHIR", f"{writes}; the server now holds {held}"),
        ("Expectations", verdict),
    ]
    _show_pairs(rows, GOOD if totals["met"] == totals["messages"] else BAD)


def _show_pairs(rows: Sequence[tuple[str, str]], last_style: str = "") -> None:
    """Labels and texts; the texts folded within the terminal's width."""
    from rich.table import Table
    from rich.text import Text

    console = output.console()
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.width = _width(console)
    table.add_column(min_width=12, no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for number, (label, text) in enumerate(rows, 1):
        style = last_style if number == len(rows) else ""
        table.add_row(Text(label, "bold"), Text(output.visible(text), style))
    console.print(table)


def _totals(stage: Stage, played: Sequence[Played]) -> JsonObject:
    answers = [answer for one in played for answer in one.sent.answers]
    return {
        "messages": len(played),
        "acknowledgments": Counter(answer.code for answer in answers),
        "unanswered": sum(1 for one in played if not one.sent.answers),
        "records": Counter(record.result for one in played for record in one.records),
        "writes": Counter(f"{w.interaction} {w.status}" for one in played for w in one.writes),
        "resources": stage.counts(),
        "met": sum(1 for one in played if one.met),
    }


def _show_next(stage: Stage, keep: bool) -> None:
    folder = packaged("sample_messages")
    output.show("")
    if keep:
        output.show(("All of it goes on running; Ctrl-C ends it. Try in another terminal:", "bold"))
        output.show(f"  hl7bridge send {folder / '11-one-bad-record.hl7'} --to {stage.host}:{stage.port}")
        output.show(f"  hl7bridge msg list --config {stage.folder}")
        output.show(f"  curl -H 'X-Sandbox-Observer: true' {stage.base_url}/Practitioner")
        return
    output.show(("Next", "bold"))
    output.show(f"  hl7bridge view {folder / '11-one-bad-record.hl7'}")
    output.show(f"  hl7bridge map explain {folder / '10-three-units.hl7'}")
    output.show("  hl7bridge demo --keep   leave it running, send your own messages")
    output.show("  hl7bridge init          a first configuration for your own feed")


# --- the same as data ------------------------------------------------------------------------------------------------


def _as_data(stage: Stage, played: Sequence[Played], seconds: float) -> dict[str, Any]:
    return {
        "sandbox": stage.base_url,
        "listener": f"{stage.host}:{stage.port}",
        "store": str(stage.store_path),
        "processes": stage.processes,
        "messages": [_message_data(one) for one in played],
        "practitioners": [_practitioner(resource) for resource in stage.practitioners()],
        "totals": _totals(stage, played),
        "seconds": round(seconds, 3),
        "met": all(one.met for one in played),
    }


def _message_data(one: Played) -> JsonObject:
    return {
        "name": one.sample.name,
        "about": one.sample.about,
        "acknowledgments": [
            {"code": a.code, "text": a.text, "milliseconds": round(a.milliseconds, 1), "reasons": a.reasons()}
            for a in one.sent.answers
        ],
        "records": [{"event": r.event, "person": r.person, "result": r.result} for r in one.records],
        "requests": one.requests,
        "writes": [
            {"interaction": w.interaction, "type": w.resource_type, "status": w.status, "person": w.person}
            for w in one.writes
        ],
        "met": one.met,
        "differences": list(one.differences),
    }
