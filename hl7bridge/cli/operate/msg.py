"""`hl7bridge msg`: what came in, what was answered, what became of it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.messages.mllp_client import read_answer
from hl7bridge.cli.output import ConfigOption, ExitCode, JsonOption
from hl7bridge.desk.messages import ids_of, open_deliveries
from hl7bridge.errors import ConfigError
from hl7bridge.hl7.boundaries import lines_of, message_uses_line_feeds
from hl7bridge.model import Location

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Messages that came in: list them, show one.",
)

_STYLES = {
    "accepted": output.GOOD,
    "refused": output.BAD,
    "withdrawn": output.BAD,
    "AA": output.GOOD,
    "CA": output.GOOD,
    "AE": output.BAD,
    "AR": output.BAD,
    "CE": output.BAD,
    "CR": output.BAD,
    "held": output.BAD,
    "retry": "yellow",
    "unknown": "yellow",
}
_MOST_TEXTS = 4  # of an acknowledgment, on its line


@app.command("list")
def list_messages(
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="Of this feed.")] = "",
    control_id: Annotated[str, typer.Option("--control-id", metavar="ID", help="With this MSH-10.")] = "",
    state: Annotated[
        str,
        typer.Option(
            "--state",
            metavar="STATE",
            help="accepted, refused, duplicate, ignored, counted or withdrawn; counted ones are listed only when asked for.",
        ),
    ] = "",
    person: Annotated[str, typer.Option("--person", metavar="KEY", help="About this staff key (MFE-4, STF-1).")] = "",
    since: Annotated[str, typer.Option("--since", metavar="AGE", help="Of the last 30m, 12h, 7d...")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="No more than this.")] = 50,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List messages, newest first.

    \b
      hl7bridge msg list
      hl7bridge msg list --state refused --since 12h
      hl7bridge msg list --person E1042 --json

    "open" counts deliveries that have not ended: queued, scheduled, being retried or held.
    """
    from hl7bridge.config import load
    from hl7bridge.desk.messages import find

    settings = load(config)
    earliest = time.time() - age(since) if since else 0.0
    with stored.opened(settings) as store:
        listed = find(store, feed=feed, control_id=control_id, state=state, person=person, since=earliest, limit=limit)
    found, pauses = listed.messages, listed.pauses
    if as_json:
        rows = [asdict(row) | {"received": stored.utc_time(row.received)} for row in found]
        output.show_json("msg-list/1", {"messages": rows, "paused": {n: pause.reason for n, pause in pauses.items()}})
        return
    output.show_table(
        ("id", "received", "feed", "control id", "event", "state", "ack", "records", "open", "note"),
        [
            (
                row.id,
                stored.local_time(row.received),
                row.feed,
                row.control_id,
                kind_of(row.message_type, row.trigger_event),
                row.state,
                row.acknowledgment,
                row.records,
                row.open_deliveries or "",
                _note(row.note, row.duplicate_of, row.repeat_of, row.replay_of),
            )
            for row in found
        ],
        _STYLES,
    )
    if not found:
        unknown = f' There is no feed "{feed}" in conf/feeds.' if feed and feed not in settings.feeds else ""
        output.say(f"No message fits.{unknown}")
    if listed.next:
        output.say(f"The newest {limit} only; --limit, --since, --state or --person show others.")
    for name, pause in pauses.items():
        if not pause.until:
            output.say(("note: ", "yellow"), f"destination {name} waits for a person ({pause.reason}); changes queue")


@app.command("show")
def show_message(
    which: Annotated[str, typer.Argument(metavar="ID", help="The id that `msg list` shows, or a control id (MSH-10).")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Also the text of the message and of its acknowledgments.")
    ] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show one message: its records, what each delivery changed and why, its acknowledgments, tasks and history.

    \b
      hl7bridge msg show 42
      hl7bridge msg show 42 --raw
      hl7bridge msg show HR-2026-0117
      hl7bridge msg show 42 --json | jq .records

    Ends with 4 while deliveries of the message are open.
    """
    from hl7bridge.config import load

    with stored.opened(load(config)) as store:
        message_id, *namesakes = ids_of(store, which)
        if namesakes:
            output.say(
                f"Several messages have that control id: {message_id} is shown, the newest;"
                f" there are also {', '.join(map(str, namesakes))}."
            )
        message = stored.message_of(store, message_id)
        body = store.audit.body(message_id) if raw else None
    for acknowledgment in message["acknowledgments"]:
        sent = acknowledgment["body"] if raw else acknowledgment.pop("body")
        acknowledgment["text"] = text_of_answer(sent)
    if as_json:
        text = body.decode("utf-8", "backslashreplace") if body is not None else None
        output.show_json("msg-show/1", stored.with_times(message) | ({"body": text} if raw else {}))
    else:
        show_message_data(message)
        if raw:
            _show_raw(body, message["acknowledgments"])
    if open_deliveries(message):
        raise typer.Exit(ExitCode.QUEUED)


def age(text: str) -> float:
    """`30m`, `12h`, `7d` in seconds. Raises ConfigError."""
    match = re.fullmatch(r"(\d+)\s*([smhd])", text)
    if match is None:
        raise ConfigError(f'"{text}" is not an age', key="--since", advice="Write 30m, 12h or 7d.")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def kind_of(message_type: str, trigger_event: str) -> str:
    """`MFN^M02`."""
    return "^".join(filter(None, (message_type, trigger_event)))


def _note(note: str, duplicate_of: int, repeat_of: int, replay_of: int) -> str:
    links = {"duplicate of": duplicate_of, "repeat of": repeat_of, "replay of": replay_of}
    return ", ".join(filter(None, [note, *(f"{what} {number}" for what, number in links.items() if number)]))


def show_message_data(message: dict[str, Any]) -> None:
    """One message as `Store.message` gives it."""
    header = message["header"]
    state = message["state"]
    output.show(
        (f"message {message['id']}", "bold"),
        f"  {kind_of(header['message_type'], header['trigger_event'])}  {header['control_id']}  feed {message['feed']}  ",
        (state, _STYLES.get(state, "")),
    )
    sender = " / ".join(filter(None, (header["sending_application"], header["sending_facility"])))
    output.show(
        f"  received  {stored.local_time(message['received'])}  from {message['peer'] or '?'}, {message['size']} bytes"
    )
    output.show(f"  sender    {sender}  version {header['version'] or '?'}, sent {header['message_time'] or '?'}")
    if message["mapping_version"]:
        output.show(f"  mapping   {message['mapping_version']}")
    if note := _note(*(message[name] for name in ("note", "duplicate_of", "repeat_of", "replay_of"))):
        output.show(f"  note      {note}")
    for record in message["records"]:
        show_record(record)
    for answer in message["acknowledgments"]:
        style = _STYLES.get(answer["code"], "")
        text = answer.get("text", "")
        output.show(
            f"acknowledgment  {answer['kind']:<12}", (answer["code"] or "-", style), f"  {answer['state']}  {text}"
        )
    show_tasks(message["tasks"])
    show_history(message["history"])


def show_tasks(tasks: Sequence[dict[str, Any]]) -> None:
    """Tasks with their steps."""
    for task in tasks:
        output.show(("task  ", "yellow"), f"{task['title']} ({task['kind']}, {task['state']})")
        for step in task["steps"]:
            output.show(f"    - {step}")


def show_history(history: Sequence[dict[str, Any]]) -> None:
    """What happened, one line each."""
    if history:
        output.show("history")
    for row in history:
        delivery = f"delivery {row['delivery_id']} " if row["delivery_id"] else ""
        details = "  ".join(f"{name}={value}" for name, value in row["detail"].items())
        output.show(f"    {stored.local_time(row['at'])}  {delivery}{row['event']}  ", (details, output.QUIET))


def show_record(record: dict[str, Any]) -> None:
    """A record as `Store.message` gives it, with its deliveries."""
    echo, change = record["echo"], record["change"]
    what = change["action"] if change else "nothing to do" if not record["failed"] else "not taken"
    key = change["source_key"] if change else echo["key"]
    output.show(
        (f"record {record['position']}", "bold"),
        f"  {what}  {key}  ",
        (f"{echo['event']} {echo['control_id']}", output.QUIET),
    )
    show_findings(record["findings"], "    ")
    for delivery in record["deliveries"]:
        _show_delivery(delivery)


def show_findings(findings: list[dict[str, Any]], indent: str) -> None:
    """Errors, warnings and information about a record, one line each."""
    for finding in findings:
        style = output.BAD if finding["severity"] == "E" else "yellow" if finding["severity"] == "W" else output.QUIET
        place = f"{Location(**finding['location'])}: " if finding["location"] else ""
        output.show(indent, (f"{finding['severity']} ", style), f"{place}{finding['local']}: {finding['text']}")


def _person(delivery: dict[str, Any]) -> str:
    """Whom a delivery is about: the id, with the type of what was planned for it; the person always comes first."""
    number = str(delivery["person_id"])
    planned = [one for attempt in delivery["tried"] for one in attempt.get("interactions", ())]
    kinds = [one["resource_type"] for one in planned if one["resource_id"] == number]
    return "/".join([*(kinds or [one["resource_type"] for one in planned])[:1], number])


def _show_delivery(delivery: dict[str, Any]) -> None:
    word = delivery["result"] if delivery["state"] == "ended" else delivery["state"]
    about = f"  {_person(delivery)}" if delivery["person_id"] else ""
    when = ""
    if delivery["state"] == "scheduled":
        when = f"  due {stored.local_time(delivery['not_before'])}"
    elif delivery["state"] in ("retry", "unknown"):
        when = f"  next attempt {stored.local_time(delivery['next_attempt'])}"
    output.show(f"    -> {delivery['destination']}: ", (word, _STYLES.get(word, output.GOOD)), f"{about}{when}")
    if delivery["state"] == "held":
        output.show("       ", (f"waits for a person: hl7bridge hold show {delivery['id']}", output.QUIET))
    if delivery["text"] or delivery["local"]:
        why = " ".join(filter(None, (delivery["code"], delivery["local"], delivery["text"])))
        output.show(f"       {why}")
    for attempt in delivery["tried"]:
        exchanges = ", ".join(
            f"{e['method']} {e['resource_type']} {e['status'] or 'no answer'} ({e['milliseconds']:.0f} ms)"
            for e in attempt["exchanges"]
        )
        output.show(f"       attempt {attempt['number']}: {attempt['result']}  ", (exchanges, output.QUIET))
        for interaction in attempt.get("interactions", ()):
            show_interaction(interaction, "         ")


def show_interaction(interaction: dict[str, Any], indent: str) -> None:
    """A planned interaction with its differences, and what someone else had changed at the server."""
    place = "/".join(filter(None, (interaction["resource_type"], interaction["resource_id"])))
    output.show(indent, (interaction["kind"], "bold"), f" {place}  {interaction['reason']}")
    stored.show_differences(interaction["differences"], indent + "  ")
    if interaction["drift"]:
        output.show(indent, ("  changed at the server by someone else:", "yellow"))
        stored.show_differences(interaction["drift"], indent + "    ")


def text_of_answer(body: str) -> str:
    """What an acknowledgment says in words, each text once: MSA-3, the MFA segments, the ERR segments."""
    if not body:
        return ""
    answer = read_answer(body.encode("utf-8", "surrogatepass"))
    texts = [answer.text, *(record.text for record in answer.records), *map(str, answer.complaints)]
    said = list(dict.fromkeys(filter(None, texts)))
    more = f"; and {len(said) - _MOST_TEXTS} more" if len(said) > _MOST_TEXTS else ""
    return "; ".join(said[:_MOST_TEXTS]) + more


def _show_raw(body: bytes | None, acknowledgments: list[dict[str, Any]]) -> None:
    if body is None:
        output.show("text: not kept (only staff messages are)")
    else:
        _show_lines("text", body)
    for answer in acknowledgments:
        if answer["body"]:
            _show_lines(
                f"text of the acknowledgment, {answer['kind']}", answer["body"].encode("utf-8", "surrogatepass")
            )


def _show_lines(title: str, body: bytes) -> None:
    output.show(title)
    for line in lines_of(body.decode("utf-8", "backslashreplace"), message_uses_line_feeds(body)):
        if line.strip():
            output.show(f"    {line}")
