"""`hl7bridge generate`: a feed of invented people, for trials, tests and measurements."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.cli import output
from hl7bridge.cli.output import JsonOption
from hl7bridge.errors import ConfigError
from hl7bridge.hl7.mllp import frame
from hl7bridge.invented.feed import KINDS, MOST_PEOPLE, FeedPlan, Made, feed
from hl7bridge.invented.messages import PERSONNEL_FIRST, SIZES, VERSIONS, numbers

FRAMINGS = ("none", "mllp", "batch")


def generate(
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="m02, pmu, adt or mixed.")] = "mixed",
    people: Annotated[
        int, typer.Option("--people", metavar="N", min=1, max=MOST_PEOPLE, help="How many people.")
    ] = 100,
    messages: Annotated[int, typer.Option("--messages", metavar="N", min=1, help="How many messages.")] = 100,
    version: Annotated[str, typer.Option("--version", metavar="2.3..2.9", help="HL7 version.")] = "2.5.1",
    seed: Annotated[str, typer.Option("--seed", metavar="S", help="The same seed gives the same bytes.")] = "1",
    records: Annotated[
        int,
        typer.Option("--records-per-message", metavar="N", min=1, help="Of an MFN^M02; one for each person at most."),
    ] = 1,
    size: Annotated[
        str, typer.Option("--size", metavar="SIZE", help="How full a record is: small, usual or large.")
    ] = "usual",
    malformed: Annotated[
        float,
        typer.Option("--malformed", metavar="PERCENT", min=0, max=100, help="How many of the messages are damaged."),
    ] = 0,
    framing: Annotated[
        str, typer.Option("--framing", metavar="HOW", help="none, mllp, or batch (FHS, BHS ... BTS, FTS).")
    ] = "",
    out: Annotated[
        str, typer.Option("--out", metavar="FILE|DIR|-", help="One file, one file a message in a folder, or stdout.")
    ] = "-",
    as_json: JsonOption = False,
) -> None:
    """Make a feed of invented people: they join, move, leave, come back, are away, and earn certificates.

    \b
      hl7bridge generate --kind m02 --people 50 --messages 200 --out feed.hl7
      hl7bridge generate --kind pmu --version 2.8 --messages 20 --out messages/
      hl7bridge generate --messages 1000 --malformed 5 --seed trial-7 --out hostile.mllp
      hl7bridge generate --kind m02 --people 50000 --records-per-message 50000 --messages 1 > load.hl7

    Nobody in it exists: names are made of syllables, NPIs begin with 199 and have a right check digit, telephone numbers
    begin with 555. A folder is named with a slash at the end, or is there already. Damaged messages come in MLLP frames
    unless --framing says otherwise, as without frames nobody could tell where one ends; --json lists what was done to which:
    truncated, glued, line-feeds, no-header, header-alone, wrong-separators, other-separators, undecodable, unknown-charset,
    wrong-encoding, unknown-event, unknown-version, no-type, no-control-id, wrong-time, missing-mfe, missing-stf, no-key,
    no-name, shifted-fields, control-characters, empty.
    """
    _check("--kind", kind, KINDS)
    _check("--version", version, VERSIONS)
    _check("--size", size, SIZES)
    framing = framing or ("mllp" if malformed else "none")
    _check("--framing", framing, FRAMINGS)
    if kind in ("pmu", "mixed") and numbers(version) < PERSONNEL_FIRST:
        raise ConfigError(
            f"HL7 {version} has no PMU", key="--version", advice="Choose 2.4 or later, or --kind m02 or adt."
        )
    if as_json and out == "-":
        raise ConfigError("standard output holds the messages", key="--json", advice="Name a file with --out.")
    plan = FeedPlan(kind, people, messages, version, seed, records, size, malformed)
    counts, damaged = Counter[str](), []
    folder = Path(out) if out.endswith(("/", os.sep)) or Path(out).is_dir() else None
    with _writer(out, folder, framing, plan) as write, output.progress("messages", messages) as advance:
        for made in feed(plan):
            write(made)
            counts[made.kind] += 1
            if made.damage:
                counts["malformed"] += 1
                damaged.append({"number": made.number, "damage": made.damage})
            advance()
    if as_json:
        output.show_json("generate/1", {"out": out, "counts": dict(counts), "malformed": damaged})
        return
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    output.say(f"{messages} messages{'' if out == '-' else f' in {out}'}: {told}")


def _check(option: str, given: str, known: Iterable[str]) -> None:
    if given not in known:
        raise ConfigError(f'"{given}" is not known', key=option, advice=f"Write one of {', '.join(known)}.")


@contextmanager
def _writer(out: str, folder: Path | None, framing: str, plan: FeedPlan) -> Iterator[Callable[[Made], None]]:
    """What writes one message where it belongs, with the envelope around all of them in a file."""
    framed = frame if framing == "mllp" else bytes
    if folder is not None:
        if framing == "batch":
            raise ConfigError("a batch is one file", key="--framing", advice="Name a file with --out.")
        folder.mkdir(parents=True, exist_ok=True)

        def write_file(made: Made) -> None:
            name = f"{made.number:06d}-{made.kind}{f'-{made.damage}' if made.damage else ''}.hl7"
            (folder / name).write_bytes(framed(made.body))

        yield write_file
        return
    with _stream(out) as put:
        if framing == "batch":
            put(b"FHS|^~\\&|STAFFGEN|INVENTED\rBHS|^~\\&|STAFFGEN|INVENTED\r")

        def write(made: Made) -> None:
            put(framed(made.body))

        yield write
        if framing == "batch":
            put(b"BTS|%d\rFTS|1\r" % plan.messages)


@contextmanager
def _stream(out: str) -> Iterator[Callable[[bytes], object]]:
    """What takes the bytes of a file, or of standard output."""
    if out == "-":
        yield output.show_messages if sys.stdout.isatty() else sys.stdout.buffer.write
        sys.stdout.flush()
        return
    with Path(out).open("wb") as file:
        yield file.write
