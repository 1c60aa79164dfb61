"""`hl7bridge map test`: a site's own messages under its own map, compared with what a person once found right.

    NAME.hl7             the message, bytes as on the wire without the MLLP frame
    NAME.expected.json   records and resources that must come of it
    NAME.ack.hl7         the answer that it must get (MSH-7, MSH-10 and MFA-3 aside); empty = none

The messages are told in order of their names, as one story: against a store of this command alone and an empty FHIR
server inside it. Nothing is sent to anybody.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.cli.tools import samples
from hl7bridge.errors import ConfigError
from hl7bridge.model import read_json, write_json

if TYPE_CHECKING:
    from hl7bridge.desk.mapping.story import Story


@dataclass(slots=True)
class TrioResult:
    """What came of one message, in the form of the expectations; and what it has against them."""

    name: str
    records: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    acknowledgment: bytes = b""
    differences: list[str] = field(default_factory=list)
    written: bool = False


def run_trios(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the messages.", exists=True)],
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="By the rules of this feed.")] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Write the expectations that are missing, for a person to review.")
    ] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Run a site's own test messages under its map: what is not as expected?

    \b
      hl7bridge map test tests/kings --write     write what comes out now; read it; keep what is right
      hl7bridge map test tests/kings             from then on: is it still so?

    Each NAME.hl7 has a NAME.expected.json (records, resources) and a NAME.ack.hl7 (the answer). With --write, those that
    are missing are written and the command says so: nobody has found them right yet.

    Ends with 1 when something is not as expected, or an expectation is missing.
    """
    from hl7bridge.assemble.destinations import destination_within
    from hl7bridge.config import load
    from hl7bridge.desk.mapping.story import Story
    from hl7bridge.sandbox import SandboxSettings, create_app

    settings = load(config)
    one = stored.feed_named(settings, feed)
    messages = sorted(path for path in directory.glob("*.hl7") if not path.name.endswith(".ack.hl7"))
    if not messages:
        raise ConfigError("no message here", file=str(directory), advice="Put NAME.hl7 files there.")
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, output.progress("testing", len(messages)) as advance:
        story = Story(one, settings, destination_within("test", create_app(SandboxSettings(auth=False))), Path(folder))
        try:
            for path in messages:
                outcomes.append(_tested(path, story, write))
                advance()
        finally:
            story.close()
    bad = [outcome for outcome in outcomes if outcome.differences]
    if as_json:
        rows = [{"name": o.name, "differences": o.differences, "written": o.written} for o in outcomes]
        output.show_json("map-test/1", {"feed": one.name, "messages": rows})
    else:
        for outcome in outcomes:
            word, style = ("not as expected", output.BAD) if outcome.differences else ("as expected", output.GOOD)
            word, style = ("written, to be reviewed", "yellow") if outcome.written else (word, style)
            output.show((f"{word:<24}", style), outcome.name)
            for line in outcome.differences:
                output.show("    ", line)
        output.say(f"{len(outcomes)} messages, {len(bad)} not as expected")
    if bad or any(outcome.written for outcome in outcomes):
        raise typer.Exit(ExitCode.FINDINGS)


def _tested(path: Path, story: Story, write: bool) -> TrioResult:
    told = story.tell(path.read_bytes())
    records = [record._asdict() for record in told.records]
    outcome = TrioResult(path.stem, records, list(told.resources), told.acknowledgment)
    expected, acknowledgment = path.with_suffix(".expected.json"), path.with_suffix(".ack.hl7")
    if expected.exists():
        outcome.differences += _against(expected, outcome)
    if acknowledgment.exists():
        wanted = samples.split_acknowledgments(acknowledgment.read_bytes())
        got = samples.split_acknowledgments(outcome.acknowledgment)
        outcome.differences += samples.acknowledgment_differences(wanted, got)
    for file, content in ((expected, _document(outcome)), (acknowledgment, outcome.acknowledgment)):
        if file.exists():
            continue
        if write:
            file.write_bytes(content)
            outcome.written = True
        else:
            outcome.differences.append(f"{file.name} is missing: --write makes it")
    return outcome


def _document(outcome: TrioResult) -> bytes:
    import json

    text = write_json({"records": outcome.records, "resources": outcome.resources})
    return (json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n").encode()


def _against(file: Path, outcome: TrioResult) -> list[str]:
    try:
        wanted = read_json(file.read_text(encoding="utf-8"))
        records, resources = list(wanted["records"]), list(wanted["resources"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError("is no expectation", file=str(file), advice="Take it away; --write makes it anew.") from None
    found = []
    if len(records) != len(outcome.records):
        found.append(f"{len(records)} records expected, {len(outcome.records)} came")
    for number, (one, other) in enumerate(zip(records, outcome.records, strict=False), 1):
        for key in ("event", "person", "result"):
            if one.get(key) != other[key]:
                found.append(f"record {number}: {key} expected {one.get(key)!r}, got {other[key]!r}")
    if len(resources) != len(outcome.resources):
        found.append(f"{len(resources)} resources expected, {len(outcome.resources)} came")
    for number, (one, other) in enumerate(zip(resources, outcome.resources, strict=False), 1):
        for element in sorted({*one, *other}):
            if one.get(element) != other.get(element):
                before, after = (write_json(r[element]) if element in r else "nothing" for r in (one, other))
                kind = other.get("resourceType", "")
                found.append(f"resource {number} ({kind}).{element}: expected {before}, got {after}")
    return found
