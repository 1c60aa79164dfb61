"""`hl7bridge map test`: a site's own messages under its own map, compared with what a person once found right.

    NAME.hl7             the message, bytes as on the wire without the MLLP frame
    NAME.expected.json   records and resources that must come of it
    NAME.ack.hl7         the answer that it must get (MSH-7, MSH-10 and MFA-3 aside); empty = none

The messages are told in order of their names, as one story: against a store of this command alone and an empty FHIR
server inside it. Nothing is sent to anybody.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.cli.tools import samples
from hl7bridge.errors import ConfigError, MessageError
from hl7bridge.model import ENDED_WELL, read_json, write_json

if TYPE_CHECKING:
    from hl7bridge.config import Feed, Settings


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
    from hl7bridge.config import load

    settings = load(config)
    one = stored.feed_named(settings, feed)
    messages = sorted(path for path in directory.glob("*.hl7") if not path.name.endswith(".ack.hl7"))
    if not messages:
        raise ConfigError("no message here", file=str(directory), advice="Put NAME.hl7 files there.")
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, output.progress("testing", len(messages)) as advance:
        stage = TrioStage(one, settings, Path(folder))
        try:
            for path in messages:
                outcomes.append(_tested(path, stage, write))
                advance()
        finally:
            stage.close()
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


def _tested(path: Path, stage: TrioStage, write: bool) -> TrioResult:
    outcome = stage.play(path)
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


class TrioStage:
    """The whole journey in this process: intake, a store in a temporary folder, deliveries to an empty FHIR server.

    Every message is read at the time that it gives itself (MSH-7), so that what comes of it is the same on any day.
    """

    def __init__(self, feed: Feed, settings: Settings, folder: Path) -> None:
        import httpx

        from hl7bridge.assemble.feeds import feed_policy
        from hl7bridge.destinations.fhir.destination import FhirDestination
        from hl7bridge.destinations.fhir.rules import DestinationRules
        from hl7bridge.destinations.fhir.wire.client import FhirClient
        from hl7bridge.intake.intake import Intake
        from hl7bridge.sandbox import SandboxSettings, create_app
        from hl7bridge.store.opening import open_store

        self._app = create_app(SandboxSettings(auth=False))
        rules = DestinationRules(_SERVER, "http://127.0.0.1/fhir", mode="write")
        client = FhirClient(rules, transport=httpx.WSGITransport(app=self._app))
        self._destination = FhirDestination(rules, lambda: client)
        self._store = open_store(str(folder / "store.sqlite"))
        policy = replace(feed_policy(feed, settings), destinations={_SERVER: self._destination}, acknowledge_for=())
        self._zone, self._key_system = policy.rules.zone, policy.rules.key_system
        self._now = 0.0
        self._intake = Intake(policy, b"\0" * 32, clock=lambda: self._now)

    def close(self) -> None:
        """End it; the folder is the caller's."""
        self._destination.close()
        self._store.close()

    def play(self, path: Path) -> TrioResult:
        """One message: what is answered, how its records end, and the resources of its people after it."""
        body = path.read_bytes()
        self._now = self._time_of(body)
        outcome, answers, people = TrioResult(path.stem), [], set()
        for prepared in self._intake.prepare(body, "map test"):
            if prepared.new is None:
                continue
            (accepted,) = self._store.inbox.accept([prepared.new], self._now)
            self._deliver()
            message_id = accepted.duplicate_of or accepted.message_id
            answers += [ack.body for ack in self._store.audit.acknowledgments(message_id) if ack.body]
            for status in self._store.audit.statuses([message_id])[message_id]:
                record = samples.record_of(status)
                outcome.records.append({"event": record.event, "person": record.person, "result": record.result})
                people.add(record.person)
        outcome.acknowledgment = b"\r".join(answers)
        outcome.resources = self._resources(people)
        return outcome

    def _time_of(self, body: bytes) -> float:
        from hl7bridge.hl7.message import read_header
        from hl7bridge.mapping.rules.times import instant

        try:
            sent = instant(read_header(body).message_time.strip(), self._zone)
        except MessageError:
            sent = None
        return sent.timestamp() if sent else max(self._now, _NO_TIME)

    def _deliver(self) -> None:
        from hl7bridge.assemble.ledger import ledger_of
        from hl7bridge.destinations.protocol import Work
        from hl7bridge.store.store import DeliveryState, Settlement

        now, moment = self._now, datetime.fromtimestamp(self._now, UTC)
        self._store.queue.join("map test", 3600, now)
        ledger = ledger_of(self._store, _SERVER)
        while claimed := self._store.queue.claim(_SERVER, "map test", 8, now, self._destination.lane_keys):
            settlements = []
            for one in claimed:
                [outcome] = self._destination.deliver([Work(one.change, one.feed, one.known)], ledger, moment)
                ended = outcome.result in ENDED_WELL
                settlements.append(Settlement(one, outcome, DeliveryState.ENDED if ended else DeliveryState.HELD))
            self._store.settling.settle(settlements, now)

    def _resources(self, people: set[str]) -> list[dict[str, Any]]:
        """The resources of people by staff key, without ids and meta, roles after their person."""
        found = read_json(self._app.test_client().get("/sandbox/state?resources=true").data)["resources"]
        keys: dict[str, str] = {}
        for person in found["Practitioner"]:
            staff = (i["value"] for i in person.get("identifier", []) if i.get("system") == self._key_system)
            keys[f"Practitioner/{person['id']}"] = next(staff, "")
        told = []
        for resource in (*found["Practitioner"], *found["PractitionerRole"]):
            reference = resource.get("practitioner", {}).get("reference", f"Practitioner/{resource['id']}")
            key = keys.get(reference, "")
            if key in people:
                bare = {name: value for name, value in resource.items() if name not in ("id", "meta", "practitioner")}
                told.append((key, resource["resourceType"], write_json(bare, sort_keys=True), bare))
        return [bare for *_, bare in sorted(told, key=lambda one: one[:3])]


_SERVER = "test"
_NO_TIME = 1767225600.0  # 2026-01-01, for a message without MSH-7

__all__ = ["TrioResult", "TrioStage", "run_trios"]
