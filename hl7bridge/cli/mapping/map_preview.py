"""`hl7bridge map preview`: what the mapping on disk reads differently in messages that are stored already."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.errors import MessageError
from hl7bridge.model import Record, read_json

if TYPE_CHECKING:
    from hl7bridge.config import Settings
    from hl7bridge.intake.intake import FeedPolicy


REFUSED, TAKEN = "refused", "taken"
PARTS = {
    REFUSED: "taken until now, would be refused",
    TAKEN: "refused until now, would be taken",
    "action": "what is asked for (add, update, deactivate ...)",
    "source_key": "staff key",
    "identifiers": "identifiers",
    "active": "active or not",
    "effective": "when it takes effect",
    "practitioner": "content of the Practitioner",
    "roles": "roles by unit",
    "shared_role": "content of every role",
    "cleared": "fields to clear",
    "message_time": "time of the message",
    "message_time_exact": "time of the message",
    "complete": "enough to create somebody",
    "needs_approval": "approval before a reactivation",
    "deleted_in_source": "deleted at the source",
    "ended_for": "reason of an end",
    "temporary": "away for a while, or for good",
    "until": "expected return",
    "qualifications_only": "certificates alone",
    "revokes": "certificates that end",
    "event_field": "field that says what is asked for",
    "only_if_missing": "a mention of somebody, which only creates",
}
"""Part of a staff change -> what people call it, in the order of a message; what refuses or takes a record comes first."""


@dataclass(slots=True)
class Preview:
    """What was looked at, and what differs.

    messages  id, feed, control id and differences of each message that reads differently
    counts    part of a change (`identifiers`, `roles`...) or "refused", "taken" -> in how many messages it differs; what
              else differs in a record that turns is not counted
    """

    looked_at: int = 0
    without_bytes: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def changed(self) -> bool:
        """Whether anything would be read differently."""
        return bool(self.messages)


def preview(
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="The last N stored messages.")] = 200,
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="Of this feed alone.")] = "",
    show: Annotated[int, typer.Option("--show", metavar="N", min=0, help="Show the differences of so many.")] = 20,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what the mapping on disk would read differently: in the messages that came last.

    \b
      hl7bridge map preview                      the last 200
      hl7bridge map preview --last 5000 --feed staff
      hl7bridge reload                           then: let it go live

    Nothing is written, sent or stored: stored bytes are translated with conf/ as it is now, and compared with what the
    mapping of then made of them. Counts first, then message by message.

    Ends with 1 when something would be read differently.
    """
    from hl7bridge.config import load

    settings = load(config)
    if feed:
        stored.feed_named(settings, feed)
    found = preview_of(settings, last, feed)
    if as_json:
        data = {"looked_at": found.looked_at, "without_bytes": found.without_bytes, "counts": dict(found.counts)}
        output.show_json("map-preview/1", {**data, "messages": found.messages})
    else:
        show_counts(found)
        for message in found.messages[:show]:
            output.show((f"message {message['id']}", "bold"), f"  {message['feed']}  {message['control_id']}")
            stored.show_differences([_in_words(one) for one in message["differences"]], "    ")
        if len(found.messages) > show:
            output.show(f"... and {len(found.messages) - show} more: --show {len(found.messages)}")
    if found.changed:
        raise typer.Exit(ExitCode.FINDINGS)


def show_counts(found: Preview, *, to_stderr: bool = False) -> None:
    """How many messages read differently, and in what."""
    line = output.say if to_stderr else output.show
    text = f"{len(found.messages)} of {found.looked_at} messages would be read differently"
    if found.without_bytes:
        text += f" ({found.without_bytes} more have no bytes to read)"
    line((text, "yellow" if found.changed else output.GOOD))
    order = list(PARTS)
    for what in sorted(found.counts, key=lambda part: (order.index(part) if part in PARTS else len(order), part)):
        style = output.BAD if what == REFUSED else ""
        line((f"    {found.counts[what]:>6}  {in_words(what)}", style))


def in_words(part: str) -> str:
    """What people call a part of a staff change."""
    return PARTS.get(part, part.replace("_", " "))


def preview_of(settings: Settings, last: int, feed: str = "") -> Preview:
    """Translate the last stored messages again, of one feed or of all. Raises ConfigError where there is no store."""
    from hl7bridge.assemble.feeds import feed_policy

    policies = {name: feed_policy(one, settings) for name, one in settings.feeds.items()}
    found = Preview()
    with stored.opened(settings) as store:
        rows = [row for row in store.messages(feed=feed, limit=last) if row["feed"] in policies]
        with output.progress("reading", len(rows)) as advance:
            for row in rows:
                body = store.body(row["id"])
                first = store.message(row["id"])
                advance()
                if row["duplicate_of"]:
                    continue  # the first of them is looked at, or is too old
                if body is None or first is None:
                    found.without_bytes += 1
                    continue
                found.looked_at += 1
                differences = _differences(first, body, policies[row["feed"]])
                if differences:
                    control_id = first["header"].get("control_id", "")
                    message = {"id": row["id"], "feed": row["feed"], "control_id": control_id}
                    found.messages.append({**message, "differences": differences})
                    found.counts.update({_kind(difference) for difference in differences})
    return found


def _differences(first: dict[str, Any], body: bytes, policy: FeedPolicy) -> list[dict[str, Any]]:
    """What the intake would make of the bytes today, had they come when they did: only the settings differ."""
    from hl7bridge.desk.translating import translation_differences
    from hl7bridge.hl7.message import Message
    from hl7bridge.intake.intake import Intake
    from hl7bridge.mapping.messages import staff

    received = first["received"]
    prepared = Intake(policy, b"\0" * 32, clock=lambda: received).prepare(body, "preview")
    news = [one.new for one in prepared if one.new is not None]
    records = [new.record for one in news for new in one.records]
    if not records:  # as a whole refused, ignored, or so large that its records are written out later
        if not first["records"]:
            return []
        try:
            moment = datetime.fromtimestamp(received, UTC)
            records = list(staff.translate(Message(body, policy.charset), policy.rules, moment).records)
        except MessageError as error:
            return [{"path": "message: refused", "before": None, "after": str(error), "field": ""}]
    second = {"records": [_record_data(record) for record in records]}
    before = {record["position"]: record["failed"] for record in first["records"]}
    turned = [
        record for record in second["records"] if before.get(record["position"], record["failed"]) != record["failed"]
    ]
    others = {"records": [record for record in second["records"] if record not in turned]}  # all else follows from it
    return [*map(_turned, turned), *translation_differences(first, others)]


def _turned(record: dict[str, Any]) -> dict[str, Any]:
    """A record that would be refused, or taken, unlike then; and why."""
    reasons = [finding["text"] for finding in record["findings"] if finding["severity"] == "E"]
    path = f"record {record['position']}: {REFUSED if record['failed'] else TAKEN}"
    return {"path": path, "before": None, "after": "; ".join(reasons) or "now", "field": ""}


def _record_data(record: Record) -> dict[str, Any]:
    """A record in the form in which the store gives those that it keeps."""
    return {
        "position": record.position,
        "failed": record.failed,
        "change": read_json(record.change.to_json()) if record.change else None,
        "findings": [asdict(finding) for finding in record.findings],
    }


def _kind(difference: dict[str, Any]) -> str:
    return str(difference["path"]).partition(": ")[2]


def _in_words(difference: dict[str, Any]) -> dict[str, Any]:
    place, _, part = str(difference["path"]).partition(": ")
    return {**difference, "path": f"{place}: {in_words(part)}"}
